"""Small things on garments: seams, buttons, zips, pockets, belts, trimmed hems, letters."""

import numpy as np

from itma.data.synthetic.wardrobe.look import Look
from itma.data.synthetic.wardrobe.paths import Outline, Part, Point, band, both, box, disc, wave


def seam(*lines: Outline) -> Part:
    """Stitched lines, a little darker than the cloth."""
    return Part([], cloth="seam", lines=lines, thickness=0.014, relief=0)


def buttons(begin: float, end: float, *, large: bool = False) -> list[Part]:
    """A row of buttons, from top to bottom."""
    gap, radius = (0.2, 0.034) if large else (0.15, 0.026)
    heights = np.linspace(begin, end, max(2, round((end - begin) / gap) + 1))
    return [
        Part([disc(0.006, y + 0.008, radius) for y in heights], cloth="seam", relief=0),
        Part([disc(0.0, y, radius) for y in heights], cloth="button", relief=0),
        Part([disc(0.0, y, 0.28 * radius) for y in heights], cloth="seam", relief=0),
    ]


def zipper(begin: float, end: float, *, whole: bool) -> list[Part]:
    """A zip; one that goes all the way has wide tapes beside it."""
    tape = 0.055 if whole else 0.04
    line = [(0.0, begin), (0.0, end)]
    teeth = [[(-0.016, y), (0.016, y)] for y in np.arange(begin + 0.02, end, 0.035)]
    return [
        Part([], cloth="seam", lines=[line], thickness=tape + 0.02, relief=0),
        Part([], cloth="metal", lines=[line], thickness=0.034, relief=0),
        Part([], cloth="seam", lines=teeth, thickness=0.01, relief=0),
        Part([box(0, begin + 0.05, 0.05, 0.09)], cloth="metal", relief=0.6),
    ]


def pockets(x: float, y: float, *, flap: bool, both_sides: bool = True, width: float = 0.19) -> list[Part]:
    """Pockets that are sewn on; with a flap where wanted."""
    left, right, height = x - width / 2, x + width / 2, 0.2
    low = y + 0.78 * height
    shape = [(left, y), (right, y), (right, low), (x, y + height), (left, low)]
    parts = []
    for one in both(shape) if both_sides else [shape]:
        parts += [Part([one], relief=0.7, shade=0.94), seam(np.concatenate([one, one[:1]]))]
    if not flap:
        return [*parts, seam([(left, y + 0.045), (right, y + 0.045)])]
    top = box(x, y + 0.02, width + 0.02, 0.07)
    return [*parts, Part(both(top) if both_sides else [top], relief=0.8, shade=1.04)]


def belt(half: float, y: float) -> list[Part]:
    """A leather belt with a buckle."""
    sag, height = 0.02, 0.085
    line = wave((-half - 0.012, y - height / 2), (half + 0.012, y - height / 2), 0.5, sag)
    return [
        Part([band(line, height)], cloth="leather", relief=0.9),
        Part([box(0.0, y + sag, 0.12, height + 0.03)], cloth="metal", relief=0.5),
        Part([box(0.0, y + sag, 0.065, height - 0.03)], cloth="leather", relief=0),
    ]


def hem_trim(trim: str | None, half: float, length: float, look: Look) -> list[Part]:
    """What is sewn to a hem: a ruffle, lace, or a band of another colour."""
    if trim == "ruffles":
        parts = []
        for row, (rise, deep) in enumerate(((0.17, 0.13), (0.06, 0.14))):
            w = half * (1 - 0.35 * (rise / length)) + 0.045
            upper = wave((-w + 0.03, length - rise), (w - 0.03, length - rise), 0.5, 0.045)
            lower = wave((-w, length - rise + deep), (w, length - rise + deep), 3.5 + 4 * half, 0.026, look.folds[row])
            lower = [(x, y + 0.045 * (1 - (x / w) ** 2)) for x, y in lower]
            parts.append(Part([[*upper, *reversed(lower)]], relief=1.3, rib=0.0, folds=1.6, shade=1.02))
            parts.append(seam(upper))
        return parts
    if trim == "lace":
        upper = wave((-half, length - 0.13), (half, length - 0.13), 0.5, 0.045)
        lower = wave((-half - 0.01, length + 0.015), (half + 0.01, length + 0.015), 5 + 6 * half, 0.02, 0)
        lower = [(x, y + 0.05 * (1 - (x / half) ** 2)) for x, y in lower]
        return [Part([[*upper, *reversed(lower)]], cloth="lace", relief=0.5)]
    if trim == "contrast":
        line = wave((-half, length - 0.09), (half, length - 0.09), 0.5, 0.045)
        return [Part([band(line, 0.1)], cloth="accent", relief=0.5)]
    return []


_HEY: tuple[tuple[tuple[Point, Point], ...], ...] = (
    (((0, 0), (0, 1)), ((1, 0), (1, 1)), ((0, 0.5), (1, 0.5))),
    (((0, 0), (0, 1)), ((0, 0), (1, 0)), ((0, 0.5), (0.85, 0.5)), ((0, 1), (1, 1))),
    (((0, 0), (0.5, 0.5)), ((1, 0), (0.5, 0.5)), ((0.5, 0.5), (0.5, 1))),
)
"""The strokes of three letters, in a square of side 1."""


def letters(x: float, y: float) -> Part:
    """The word HEY in straight strokes."""
    w, h, gap = 0.15, 0.26, 0.055
    strokes = []
    for index, letter in enumerate(_HEY):
        left = x - 1.5 * w - gap + index * (w + gap)
        strokes += [[(left + w * right, y - h / 2 + h * down) for right, down in stroke] for stroke in letter]
    return Part([], cloth="ink", lines=strokes, thickness=0.052, relief=0)
