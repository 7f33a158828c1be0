"""The wardrobe world: images of clothes as a shop shows them, and sentences that ask for other ones.

Eight categories of clothes in sixteen colours, with patterns, sleeves, lengths, necklines, fits, fastenings, trims and
prints, all drawn here; feedback as people write it in FashionIQ (Wu et al., arXiv:1905.12794), from a grammar. Train
and test hold different combinations of category and colour (`config.HELD_OUT`), and the test asks in forms and phrases
that were never trained on.

>>> world = World(SIZES["tiny"])
>>> world.split("test").requests[0]
'...'
>>> world.triplets("test").images.names[0]
'test_000000'
"""

from itma.data.synthetic.wardrobe.config import SHOP, SIZES, SPLITS, WardrobeConfig
from itma.data.synthetic.wardrobe.disk import WardrobeSplit, read, read_config
from itma.data.synthetic.wardrobe.products import CATEGORIES
from itma.data.synthetic.wardrobe.world import World, add_protocols, find_known_requests, table

__all__ = [
    "CATEGORIES",
    "SHOP",
    "SIZES",
    "SPLITS",
    "WardrobeConfig",
    "WardrobeSplit",
    "World",
    "add_protocols",
    "find_known_requests",
    "read",
    "read_config",
    "table",
]
