"""What differs between two images of one scene: where exactly the things stand, how they turn, and the light."""

import math
from dataclasses import dataclass

from itma.data.synthetic.generated import Dice
from itma.data.synthetic.shapes.scenes import POSITIONS, Thing

SHIFT = 0.1
"""The farthest a thing stands from the middle of its position, along either side; positions are 1 apart."""

_LARGE = {"cube": (0.28, 0.56), "sphere": (0.35, 0.7), "cylinder": (0.32, 0.62)}
_SMALL_RATIO = 0.56


def extent(thing: Thing) -> tuple[float, float]:
    """A thing's radius (of a cube: half its side) and height; positions are 1 apart."""
    radius, height = _LARGE[thing.shape]
    ratio = 1.0 if thing.size == "large" else _SMALL_RATIO
    return radius * ratio, height * ratio


@dataclass(frozen=True)
class Look:
    """The accidents of one image."""

    shifts: tuple[tuple[float, float], ...]
    """For each of `POSITIONS`, how far (to the right, away from the camera) its thing stands from the middle."""
    turns: tuple[float, ...]
    """For each of `POSITIONS`, how far its thing is turned about the vertical, in radians."""
    light: tuple[float, float, float]
    """Unit vector towards the light: right, away, up."""
    strength: float
    """Of the light; 1 on average."""
    warmth: float
    """Of the light: from −1 (bluish) to 1 (yellowish)."""
    floor: float
    """Brightness of the floor; 1 on average."""
    centre: tuple[float, float]
    """Where the floor is brightest: right, away."""

    @classmethod
    def draw(cls, seed: str) -> "Look":
        """The look that belongs to a text; the same on every machine.

        A position's draws do not depend on what stands there, so a thing can be taken away and all else stays.
        """
        between = Dice(seed).between
        azimuth, height = math.radians(between(200, 240)), math.radians(between(50, 60))
        return cls(
            light=(math.cos(height) * math.cos(azimuth), math.cos(height) * math.sin(azimuth), math.sin(height)),
            strength=between(0.92, 1.08),
            warmth=between(-1, 1),
            floor=between(0.92, 1.08),
            centre=(between(-0.6, 0.6), between(-1.4, -0.2)),
            shifts=tuple((between(-SHIFT, SHIFT), between(-SHIFT, SHIFT)) for _ in POSITIONS),
            turns=tuple(between(0, math.pi / 2) for _ in POSITIONS),
        )
