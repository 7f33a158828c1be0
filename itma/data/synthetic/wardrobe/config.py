"""Sizes of the wardrobe world, and which products each split may hold."""

from dataclasses import dataclass

from itma.data.synthetic.generated import WorldConfig
from itma.data.synthetic.wardrobe.products import CATEGORIES, COLOURS
from itma.errors import ConfigError

SPLITS = ("train", "test")
SHOP = "shop"
"""The catalogue to search in; its products are of all combinations."""

HELD_OUT: dict[str, tuple[str, ...]] = {
    category: tuple(tuple(COLOURS)[(2 * index + step) % len(COLOURS)] for step in (0, 1, 5, 6))
    for index, category in enumerate(CATEGORIES)
}
"""Category → the colours in which it is seen only in the test: 32 of the 128 combinations, each colour in two
categories."""


def colours(split: str, category: str) -> tuple[str, ...]:
    """The colours of a category in a split: 12 in `train`, the other 4 in `test`, all in `shop`.

    >>> set(colours("train", "dress")) & set(colours("test", "dress"))
    set()
    """
    return (
        tuple(COLOURS)
        if split == SHOP
        else tuple(one for one in COLOURS if (one in HELD_OUT[category]) == (split == "test"))
    )


@dataclass(frozen=True)
class WardrobeConfig(WorldConfig):
    """How large a wardrobe world is.

    >>> WardrobeConfig(height=96, width=96, train_families=30, test_families=10, shop_families=20).images("test")
    80
    """

    train_families: int
    """Families in `train`: a product and others that differ from it in one to three attributes."""
    test_families: int
    """Families in `test`."""
    shop_families: int
    """Families in the catalogue to search in."""
    members: int = 8
    """Products of a family; each has one image."""
    queries: int = 4
    """Queries that start at each product."""
    other_categories: float = 0.06
    """Share of a family's products that are the same in another category, as far as it has such a one."""
    mistakes: float = 0.04
    """Share of the training sentences with a spelling mistake; the test has none."""
    conversations: float = 0.25
    """Share of the training samples in which something was said before, see `EARLIER`."""
    seed: int = 0
    """Decides products, sentences and images."""

    def __post_init__(self) -> None:
        self.check((16, 2048), train_families=1, test_families=1, shop_families=1, queries=1, seed=0)
        if not 3 <= self.members <= 40:
            raise ConfigError(f"members={self.members} must be from 3 to 40")
        for name in ("mistakes", "other_categories", "conversations"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be a share from 0 to 1")

    def families(self, split: str) -> int:
        """How many families a split has."""
        return {"train": self.train_families, "test": self.test_families, SHOP: self.shop_families}[split]

    def images(self, split: str) -> int:
        """How many images a split has: one of each product."""
        return self.families(split) * self.members


SIZES: dict[str, WardrobeConfig] = {
    "tiny": WardrobeConfig(height=32, width=32, train_families=6, test_families=5, shop_families=4, members=5),
    "demo": WardrobeConfig(height=96, width=96, train_families=450, test_families=75, shop_families=125),
    "hour": WardrobeConfig(height=96, width=96, train_families=3000, test_families=150, shop_families=625),
    "look-alikes": WardrobeConfig(
        height=96, width=96, train_families=3000, test_families=150, shop_families=625, other_categories=0.3
    ),
    "shop": WardrobeConfig(height=224, width=224, train_families=8, test_families=8, shop_families=625),
    "full": WardrobeConfig(height=224, width=224, train_families=3000, test_families=300, shop_families=625),
}
"""Size by name, from tiny (for tests) to full; `look-alikes` is `hour` with more of the same in other categories,
`shop` is a catalogue of 5,000 products with next to nothing else."""
