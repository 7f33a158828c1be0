"""Sizes of the shapes world, and which solids each split may hold."""

from dataclasses import dataclass

from itma.data.synthetic.generated import WorldConfig
from itma.data.synthetic.shapes.scenes import COLOURS, POSITIONS, SHAPES
from itma.errors import ConfigError

SPLITS = ("train", "test")
THINGS = "things in the reference"
"""How recalls are divided beside the kinds."""

HELD_OUT: dict[str, tuple[str, ...]] = {
    "gray": ("cube",),
    "red": ("sphere",),
    "blue": ("cylinder",),
    "green": ("cube",),
    "brown": ("sphere",),
    "purple": ("cylinder",),
    "cyan": ("cube", "sphere"),
    "yellow": ("cube", "cylinder"),
}
"""Colour → the shapes that are seen in this colour only in the test.

Ten of the 24 combinations. Every colour has a shape on either side; each shape is held out three or four times; cyan
and yellow have two held-out shapes, so that a shape can be changed in the test as well.
"""

COMBINATIONS: dict[str, frozenset[tuple[str, str]]] = {
    "train": frozenset((shape, colour) for colour in COLOURS for shape in SHAPES if shape not in HELD_OUT[colour]),
    "test": frozenset((shape, colour) for colour in COLOURS for shape in HELD_OUT[colour]),
}
"""Split → the (shape, colour) that its scenes are made of: 14 in `train`, 10 in `test`, none in both."""


@dataclass(frozen=True)
class ShapesConfig(WorldConfig):
    """How large a shapes world is.

    >>> ShapesConfig(height=64, width=96, train_scenes=300, test_scenes=100, changes=9).images("test")
    1000
    """

    train_scenes: int
    """Base scenes in `train`: the references."""
    test_scenes: int
    """Base scenes in `test`."""
    changes: int
    """Changes of each base scene; each makes one query and one more image."""
    repeats: int = 3
    """Base scenes that share one sentence, where there are as many that it applies to."""
    objects: tuple[int, int] = (1, len(POSITIONS))
    """The fewest and the most things in a scene."""
    seed: int = 0
    """Decides scenes, sentences and images."""

    def __post_init__(self) -> None:
        self.check((8, 4096), train_scenes=1, test_scenes=1, changes=1, repeats=1, seed=0)
        fewest, most = self.objects
        if not 1 <= fewest <= most <= len(POSITIONS):
            raise ConfigError(
                f"objects={self.objects} must be (fewest, most) with 1 ≤ fewest ≤ most ≤ {len(POSITIONS)}"
            )

    def scenes(self, split: str) -> int:
        """How many base scenes a split has."""
        return {"train": self.train_scenes, "test": self.test_scenes}[split]

    def images(self, split: str) -> int:
        """How many images a split has: each base scene and all its changes."""
        return self.scenes(split) * (1 + self.changes)


SIZES: dict[str, ShapesConfig] = {
    "tiny": ShapesConfig(height=32, width=48, train_scenes=4, test_scenes=4, changes=5),
    "demo": ShapesConfig(height=64, width=96, train_scenes=600, test_scenes=100, changes=9),
    "hour": ShapesConfig(height=64, width=96, train_scenes=1000, test_scenes=200, changes=12),
    "css": ShapesConfig(height=120, width=180, train_scenes=1000, test_scenes=1000, changes=18),
}
"""Size by name, from tiny (for tests) to that of CSS."""
