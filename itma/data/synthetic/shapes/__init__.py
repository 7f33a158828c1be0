"""The shapes world: images of coloured solids, and sentences that change them.

A copy in small of CSS ("Colour, Shape, Size"; Vo et al., arXiv:1812.07119, section 4) that needs no download: scenes of
one to nine solids on a 3×3 grid, drawn by a ray-caster. Train and test hold different combinations of shape and colour
(`config.HELD_OUT`), so a model is asked about solids that it has never seen.

>>> world = World(SIZES["tiny"])
>>> world.split("test").feedback[0]
'...'
>>> world.triplets("test").images.names[0]
'css_test_000000.png'
"""

from itma.data.synthetic.shapes.config import SIZES, ShapesConfig
from itma.data.synthetic.shapes.disk import ShapesSplit, read, read_config
from itma.data.synthetic.shapes.render import render, visible
from itma.data.synthetic.shapes.scenes import Change
from itma.data.synthetic.shapes.world import World

__all__ = ["SIZES", "Change", "ShapesConfig", "ShapesSplit", "World", "read", "read_config", "render", "visible"]
