"""Outlines as arrays of points, and the parts that a garment is put together from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Point = tuple[float, float]
"""(right, down) in garment units: a body's shoulders are about 0.9 wide; (0, 0) is the middle of neck or waist."""
Outline = Sequence[Point] | np.ndarray
"""Points one after the other, also as an array (points, 2)."""

_STEPS = 14
"""Straight pieces that stand for one curve."""


@dataclass
class Part:
    """One piece of a garment, painted over those before it."""

    outlines: list[Outline]
    """Polygons, in garment units; together they are one surface."""
    cloth: str = "main"
    """main, accent, inside, ink, metal, leather, lace, button or seam."""
    origin: Point = (0.0, 0.0)
    """Where the pattern's own axes begin."""
    angle: float = 0.0
    """How far the pattern's axes are turned, in radians."""
    relief: float = 1.0
    """How far it bulges."""
    folds: float = 0.0
    """How deep its folds are."""
    spread: float = 0.0
    """How far folds fan out below the origin."""
    rib: float = 0.0
    """How strongly it is ribbed."""
    shade: float = 1.0
    """Brightness."""
    lines: Sequence[Outline] = ()
    """Polylines, drawn `thickness` wide in the same cloth."""
    thickness: float = 0.012


def path(*pieces: Sequence[Point]) -> list[Point]:
    """Pieces joined: two points are a line, four a Bézier curve; a piece begins where the one before ended."""
    points: list[Point] = []
    for piece in pieces:
        points += bezier(*piece) if len(piece) == 4 else list(piece)
    return points


def bezier(start: Point, one: Point, other: Point, end: Point) -> list[Point]:
    """A cubic curve as points."""
    t = np.linspace(0, 1, _STEPS + 1)[:, None]
    p = np.array([start, one, other, end], dtype=np.float64)
    curve = (1 - t) ** 3 * p[0] + 3 * (1 - t) ** 2 * t * p[1] + 3 * (1 - t) * t**2 * p[2] + t**3 * p[3]
    return [(float(x), float(y)) for x, y in curve]


def arc(half: float, height: float, inner: float, middle: float) -> list[Point]:
    """A curve from left to right, whose ends are at one height, and which bends towards another between `inner`."""
    return bezier((-half, height), (-inner, middle), (inner, middle), (half, height))


def mirror(half: Sequence[Point]) -> list[Point]:
    """A closed outline from its right half, which goes from the middle at the top to the middle at the bottom."""
    return [*half, *((-x, y) for x, y in reversed(half))]


def flip(outline: Outline) -> np.ndarray:
    """The same on the left."""
    return np.asarray(np.array(outline) * (-1.0, 1.0))


def both(outline: Outline) -> list[Outline]:
    """The same at the right and on the left."""
    return [outline, flip(outline)]


def band(left: Sequence[Point], depth: float) -> list[Point]:
    """A strip below a line of points, which goes from left to right."""
    return [*left, *((x, y + depth) for x, y in reversed(left))]


def disc(x: float, y: float, radius: float) -> np.ndarray:
    """A circle."""
    turn = np.linspace(0, 2 * math.pi, 20, endpoint=False)
    return np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], 1)


def rectangle(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """A rectangle by its edges."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def box(x: float, y: float, width: float, height: float) -> list[Point]:
    """A rectangle around a middle."""
    return rectangle(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def star(x: float, y: float, radius: float) -> np.ndarray:
    """A star of five points."""
    turn = np.arange(10) * math.pi / 5 - math.pi / 2
    far = np.where(np.arange(10) % 2, 0.42, 1.0) * radius
    return np.stack([x + far * np.cos(turn), y + far * np.sin(turn)], 1)


def heart(x: float, y: float, radius: float) -> np.ndarray:
    """A heart; the curve is the usual one of sines and cosines."""
    t = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    across = 16 * np.sin(t) ** 3
    down = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x + radius / 16 * across, y + radius / 16 * down], 1)


def wave(left: Point, right: Point, waves: float, height: float, phase: float = 0.0) -> list[Point]:
    """A wavy line between two points."""
    t = np.linspace(0, 1, 48)
    x, y = (begin + t * (end - begin) for begin, end in zip(left, right, strict=True))
    y = y + height * np.sin(2 * math.pi * waves * t + phase) * np.sin(math.pi * t) ** 0.3
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
