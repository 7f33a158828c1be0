"""What differs between two images of one product: how it hangs, where it lies in the frame, the light, the wall."""

import math
from dataclasses import dataclass

from itma.data.synthetic.generated import Dice

BACKDROPS = (
    (226, 222, 216), (214, 219, 224), (233, 224, 212), (206, 212, 205), (224, 211, 208), (203, 208, 218),
    (190, 192, 194), (219, 206, 190), (178, 186, 190), (230, 230, 232), (196, 186, 178), (212, 224, 222),
)  # fmt: skip
"""Colours of walls, as red, green and blue; all muted, and darker than white cloth."""


@dataclass(frozen=True)
class Look:
    """The accidents of one image."""

    scale: float
    """Of the product in the frame; 1 on average."""
    shift: tuple[float, float]
    """Of its middle from the middle of the frame, to the right and down; the frame is 1 wide."""
    turn: float
    """In radians."""
    sway: tuple[float, float]
    """How far it swings to the side as it hangs, and where along its height."""
    width: float
    """Stretch across; 1 on average."""
    arms: tuple[float, float]
    """How far the left and the right sleeve are held from the body, in radians."""
    bend: tuple[float, float]
    """How far the left and the right sleeve or leg are bent."""
    folds: tuple[float, ...]
    """Eight phases from 0 to 2π that lay out the folds."""
    depth: float
    """Of folds; 1 on average."""
    light: tuple[float, float]
    """Unit vector towards the light: right, down."""
    strength: float
    """Of the light; 1 on average."""
    warmth: float
    """Of the light: from −1 (bluish) to 1 (yellowish)."""
    backdrop: int
    """Index of `BACKDROPS`."""
    floor: float
    """Where the floor begins, from the top of the frame; beyond 1: there is none."""
    glow: tuple[float, float]
    """Where the wall is brightest."""
    pattern: tuple[float, float]
    """Where the pattern begins, in garment units."""

    @classmethod
    def draw(cls, seed: str) -> "Look":
        """The look that belongs to a text; the same on every machine."""
        dice = Dice(seed)
        between = dice.between
        azimuth = math.radians(between(200, 340))
        return cls(
            scale=between(0.86, 1.06),
            shift=(between(-0.045, 0.045), between(-0.035, 0.035)),
            turn=between(-0.075, 0.075),
            sway=(between(-0.045, 0.045), between(0, 2 * math.pi)),
            width=between(0.95, 1.05),
            arms=(between(0.16, 0.5), between(0.16, 0.5)),
            bend=(between(-0.05, 0.16), between(-0.05, 0.16)),
            folds=tuple(between(0, 2 * math.pi) for _ in range(8)),
            depth=between(0.7, 1.3),
            light=(math.cos(azimuth), math.sin(azimuth)),
            strength=between(0.94, 1.05),
            warmth=between(-1, 1),
            backdrop=dice.below(len(BACKDROPS)),
            floor=between(0.78, 1.25),
            glow=(between(0.25, 0.75), between(0.15, 0.5)),
            pattern=(between(0, 0.3), between(0, 0.3)),
        )
