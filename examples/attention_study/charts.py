"""Dots with their intervals on a common axis, as an image: drawn by Pillow, so that nothing else is needed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0))
"""Told apart by colour-blind people (Okabe & Ito)."""
_INK, _PALE, _GRID = (25, 25, 25), (120, 120, 120), (225, 225, 225)
_LABELS, _PANEL, _ROW, _TOP, _GAP = 210, 280, 15, 62, 26
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


@dataclass(frozen=True)
class Dot:
    """One number with its interval."""

    variant: int
    """Which colour and marker."""
    value: float
    low: float
    high: float


def dot_chart(
    panels: Mapping[str, Mapping[str, Sequence[Dot]]], *, rows: Sequence[str], title: str, variants: Sequence[str]
) -> Image.Image:
    """Panels side by side, each with the same rows, on one logarithmic axis with a line at 1.

    Args:
        panels: title → name of a row → its dots; panels without any dot are left out.
        rows: names, in their order.
        title: of the whole.
        variants: names, by number.
    """
    panels = {name: panel for name, panel in panels.items() if any(panel.values())}
    dots = [dot for panel in panels.values() for row in panel.values() for dot in row]
    low = min([0.5] + [max(0.01, dot.low) for dot in dots]) / 1.1
    high = max([2.0] + [dot.high for dot in dots]) * 1.1
    tall = max(1, len(variants)) * _ROW + 12
    height = _TOP + len(rows) * tall + 36 + 20 * len(variants) + 12
    canvas = Image.new("RGB", (_LABELS + len(panels) * (_PANEL + _GAP) + 10, height), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((12, 10), title, _INK, ImageFont.load_default(17))
    bottom = _TOP + len(rows) * tall

    for number, (name, panel) in enumerate(panels.items()):
        left = _LABELS + number * (_PANEL + _GAP)

        def across(value: float, left: int = left) -> float:
            share = math.log(min(max(value, low), high) / low) / math.log(high / low)
            return left + share * _PANEL

        draw.text((left, _TOP - 24), name, _INK, ImageFont.load_default(14))
        for step in _STEPS:
            if low <= step <= high:
                x = across(step)
                draw.line((x, _TOP, x, bottom), _INK if step == 1 else _GRID)
                text = f"{step:g}"
                font = ImageFont.load_default(11)
                draw.text((x - font.getlength(text) / 2, bottom + 4), text, _PALE, font)
        for line, row in enumerate(rows):
            top = _TOP + line * tall
            if number == 0:
                draw.text((12, top + tall / 2 - 8), row, _INK, ImageFont.load_default(13))
            draw.line((left, top + tall, left + _PANEL, top + tall), _GRID)
            for dot in panel.get(row, ()):
                y = top + 12 + dot.variant * _ROW
                colour = COLOURS[dot.variant % len(COLOURS)]
                draw.line((across(dot.low), y, across(dot.high), y), colour, 2)
                _mark(draw, dot.variant, across(dot.value), y)
    for number, name in enumerate(variants):
        y = bottom + 36 + 20 * number
        _mark(draw, number, 20, y)
        draw.text((32, y - 8), name, _INK, ImageFont.load_default(13))
    return canvas


def _mark(draw: ImageDraw.ImageDraw, variant: int, x: float, y: float) -> None:
    colour, size = COLOURS[variant % len(COLOURS)], 4
    if variant % 3 == 0:
        draw.ellipse((x - size, y - size, x + size, y + size), colour)
    elif variant % 3 == 1:
        draw.rectangle((x - size, y - size, x + size, y + size), colour)
    else:
        draw.polygon([(x, y - size - 1), (x + size + 1, y + size), (x - size - 1, y + size)], colour)
