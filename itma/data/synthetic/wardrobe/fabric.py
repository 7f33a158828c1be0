"""Cloth as a function of where one looks: colours, patterns, lace; all in garment units, sharp to a pixel."""

import math
from collections.abc import Callable

import numpy as np

from itma.data.synthetic.generated import Dice
from itma.data.synthetic.wardrobe.products import COLOURS

_LIGHT = {"white": "navy", "beige": "brown"}
"""Colours on which white would hardly show → what is put on them instead."""
_PRINTED = {**_LIGHT, "yellow": "navy", "light blue": "navy", "pink": "burgundy", "grey": "navy"}
_FLOWERS = {
    True: ((255, 250, 240), (252, 208, 92), (250, 178, 192)),
    False: ((216, 60, 82), (240, 150, 60), (96, 110, 190)),
}
"""Petals on dark and on light ground."""
_BROWN_BELTS = ("white", "beige", "light blue", "navy", "black", "teal", "green", "grey")
"""Colours of cloth that brown leather goes with."""


def rgb(red: float, green: float, blue: float) -> np.ndarray:
    """A colour: (3,) from 0 to 1."""
    return np.array((red, green, blue), dtype=np.float32) / 255


def accent(colour: str) -> np.ndarray:
    """The second colour of patterns and trims on a ground of this colour: (3,) from 0 to 1."""
    return rgb(*COLOURS[_LIGHT.get(colour, "white")])


def _ink(colour: str) -> np.ndarray:
    return rgb(*COLOURS[_PRINTED.get(colour, "white")])


EVEN: dict[str, Callable[[str], np.ndarray]] = {
    "accent": accent,
    "ink": _ink,
    "leather": lambda colour: rgb(104, 64, 38) if colour in _BROWN_BELTS else rgb(44, 38, 38),
    "metal": lambda _: np.array((0.78, 0.77, 0.74), dtype=np.float32),
    "button": lambda colour: 0.5 * _ink(colour) + 0.5 * np.array((0.95, 0.92, 0.86), dtype=np.float32),
    "inside": lambda colour: rgb(*COLOURS[colour]) * 0.56 + 0.02,
}
"""What is all one colour → that colour, (3,) from 0 to 1, on a garment of some colour."""


def cloth(colour: str, pattern: str, u: np.ndarray, v: np.ndarray, pixel: float) -> np.ndarray:
    """Colours of cloth.

    Args:
        colour: of its ground.
        pattern: one of `PATTERNS`.
        u: (height, width) across, in garment units.
        v: (height, width) down.
        pixel: the size of a pixel, in garment units; edges are that wide.

    Returns:
        (height, width, 3) float32 from 0 to 1; or (3,) where it is all one colour.
    """
    ground = rgb(*COLOURS[colour])
    if pattern == "plain":
        return ground
    if pattern == "floral":
        return _floral(ground, colour in _PRINTED, u, v, pixel)
    shares: dict[str, Callable[[], np.ndarray]] = {
        "horizontal stripes": lambda: _stripes(v, 0.2, 0.4, pixel),
        "vertical stripes": lambda: _stripes(u, 0.16, 0.3, pixel),
        "dots": lambda: _dots(u, v, pixel),
        "checks": lambda: 0.42 * _stripes(u, 0.26, 0.42, pixel) + 0.42 * _stripes(v, 0.26, 0.42, pixel),
    }
    return _mix(ground, accent(colour), shares[pattern]())


def lace(u: np.ndarray, v: np.ndarray, pixel: float) -> np.ndarray:
    """How much of lace covers what is under it: (height, width) from 0 to 1."""
    rows = np.floor(v / 0.06)
    x = (u + 0.03 * (rows % 2)) / 0.06 % 1 - 0.5
    y = v / 0.06 % 1 - 0.5
    hole = _cover(0.3 - np.hypot(x, y), pixel / 0.06)
    return (0.96 - 0.75 * hole).astype(np.float32)


def _mix(ground: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    return np.asarray(ground + share[..., None] * (second - ground))


def _cover(inside: np.ndarray, pixel: float) -> np.ndarray:
    """Distance inside an edge → how much of a pixel is covered."""
    return np.asarray(np.clip(inside / pixel + 0.5, 0, 1), dtype=np.float32)


def _stripes(x: np.ndarray, period: float, share: float, pixel: float) -> np.ndarray:
    return _cover(share / 2 - np.abs(x / period % 1 - 0.5), pixel / period)


def _dots(u: np.ndarray, v: np.ndarray, pixel: float) -> np.ndarray:
    period = 0.17
    row = np.floor(v / period)
    x = (u / period + 0.5 * (row % 2)) % 1 - 0.5
    y = v / period % 1 - 0.5
    return _cover(0.29 - np.hypot(x, y), pixel / period)


def _cells() -> np.ndarray:
    """(64, 5): for each of 64 cells, where its flower stands, how large and turned it is, and which petals it has."""
    dice = Dice("wardrobe/flowers").random
    return np.array([[dice() for _ in range(5)] for _ in range(64)], dtype=np.float32)


_CELLS = _cells()


def _floral(ground: np.ndarray, light: bool, u: np.ndarray, v: np.ndarray, pixel: float) -> np.ndarray:
    period = 0.25
    row = np.floor(v / period)
    x, y = u / period + 0.5 * (row % 2), v / period
    cell = (np.floor(x) * 7 + row * 13).astype(np.int64) % 64
    shape = _CELLS[cell]
    x, y = x % 1 - 0.5 + 0.24 * (shape[..., 0] - 0.5), y % 1 - 0.5 + 0.24 * (shape[..., 1] - 0.5)
    far, turn = np.hypot(x, y), np.arctan2(y, x) + 2 * math.pi * shape[..., 3]
    size, edge = 0.26 + 0.1 * shape[..., 2], pixel / period
    leaf = _cover(np.minimum(1.35 * size - far, 0.16 - np.abs(np.sin(turn)) * far * 1.2), edge)
    petals = _cover(size * (0.74 + 0.26 * np.cos(5 * turn)) - far, edge)
    centre = _cover(0.3 * size - far, edge)
    green = rgb(84, 140, 84) if light else rgb(150, 190, 140)
    colours = np.array(_FLOWERS[not light], dtype=np.float32) / 255
    image = _mix(ground, green, leaf)
    image = image + petals[..., None] * (colours[(3 * shape[..., 4]).astype(np.int64) % 3] - image)
    return _mix(image, rgb(250, 196, 60), centre)
