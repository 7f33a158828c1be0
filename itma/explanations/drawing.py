"""An explanation as one image: the reference with its maps, the words coloured by their effect, the target."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from itma.display import wrap

if TYPE_CHECKING:
    from itma.explanations.explanation import Explanation

FOR, AGAINST, SHARE = (230, 97, 1), (94, 60, 153), (0, 128, 96)
"""Colours of what speaks for the target, of what speaks against it, and of shares: told apart by the colour-blind."""
_INK, _PALE = (25, 25, 25), (110, 110, 110)
_WIDE, _SMALL, _GAP, _LINE = 232, 148, 14, 18
_COLUMNS = 4
_MOST_WORDS = 12
_FONTS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf")
"""The first that the system has is taken: Pillow's own font knows little beyond ASCII."""


@dataclass(frozen=True)
class _Panel:
    title: str
    image: Image.Image
    under: str = ""


def overlaid(image: np.ndarray, values: np.ndarray, width: int, *, shares: bool = False) -> Image.Image:
    """An image with a map laid over it: the stronger the colour, the larger the value, of the map's largest.

    Args:
        image: (height, width, 3) uint8.
        values: (rows, columns) of any grid.
        width: of the answer, in pixels.
        shares: whether values are shares, rather than signed.
    """
    size = (width, max(1, round(width * image.shape[0] / image.shape[1])))
    grey = np.asarray(Image.fromarray(image).convert("L").resize(size), dtype=np.float32)[..., None] * 0.6 + 90
    most = np.abs(values).max()
    level = np.zeros(values.shape, dtype=np.float32) if not most > 0 else (values / most).astype(np.float32)
    smooth = Image.Resampling.BILINEAR if values.size > 1000 else Image.Resampling.NEAREST
    large = np.asarray(Image.fromarray(level, "F").resize(size, smooth))[..., None]
    colour = np.where(large >= 0, SHARE if shares else FOR, AGAINST).astype(np.float32)
    mixed = grey + (colour - grey) * np.abs(large).clip(0, 1) * 0.85
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def draw(explanation: "Explanation") -> Image.Image:
    """The whole image."""
    blocks = [_grid(panels) for panels in (_panels(explanation), _word_panels(explanation)) if panels]
    width = max([block.width for block in blocks] + [_COLUMNS * (_WIDE + _GAP) - _GAP])
    text = [_headline(explanation, width), _sentence(explanation, width)]
    parts = [part for part in (*text, *blocks, _foot(explanation, width)) if part is not None]
    canvas, _ = _canvas(width + 2 * _GAP, sum(part.height for part in parts) + _GAP * (len(parts) + 1))
    top = _GAP
    for part in parts:
        canvas.paste(part, (_GAP, top))
        top += part.height + _GAP
    return canvas


def _panels(explanation: "Explanation") -> list[_Panel]:
    panels = []
    reference, target = explanation.reference, explanation.target
    softmax = explanation.attention is not None and explanation.attention.kind == "softmax"
    titles = {
        "regions": "reference: effect of regions",
        "attention_of_words": "attention of all words" if softmax else "scores of all words (signed)",
        "attention_of_embedding": "attention: whole embedding",
        "gradients": "integrated gradients",
    }
    if reference is not None:
        panels.append(_Panel("reference", _resize(reference, _WIDE)))
        for name, values in explanation.maps().items():
            shares = softmax and name.startswith("attention")
            values = _sum(values) if name == "gradients" else values
            panels.append(_Panel(titles[name], overlaid(reference, values, _WIDE, shares=shares), _range(values)))
    if target is not None:
        panels.append(_Panel("target", _resize(target, _WIDE)))
        if explanation.target_regions is not None:
            values = explanation.target_regions.map
            panels.append(_Panel("target: effect of regions", overlaid(target, values, _WIDE), _range(values)))
    return panels


def _word_panels(explanation: "Explanation") -> list[_Panel]:
    attention, reference = explanation.attention, explanation.reference
    if attention is None or reference is None:
        return []
    shares = attention.kind == "softmax"
    panels = []
    for row, word in enumerate(explanation.words[:_MOST_WORDS]):
        if word.tokens:
            values = attention.of_word(row)
            image = overlaid(reference, values, _SMALL, shares=shares)
            panels.append(_Panel(("reads: " if shares else "scores: ") + word.text, image, _range(values)))
    return panels


def _sum(values: np.ndarray) -> np.ndarray:
    """Gradients of single pixels flicker; sums over small squares show where they are."""
    height, width = values.shape
    side = max(1, min(height, width) // 24)
    rows, columns = height // side, width // side
    cut: np.ndarray = values[: rows * side, : columns * side].reshape(rows, side, columns, side).sum((1, 3))
    return cut


def _grid(panels: Sequence[_Panel]) -> Image.Image:
    wide = panels[0].image.width
    columns = max(1, (_COLUMNS * (_WIDE + _GAP)) // (wide + _GAP))
    high = max(panel.image.height for panel in panels) + 2 * _LINE
    rows = -(-len(panels) // columns)
    canvas, draw = _canvas(min(columns, len(panels)) * (wide + _GAP) - _GAP, rows * (high + _GAP) - _GAP)
    for index, panel in enumerate(panels):
        left, top = index % columns * (wide + _GAP), index // columns * (high + _GAP)
        draw.text((left, top), _cut(panel.title, wide), _INK, _font(13))
        canvas.paste(panel.image, (left, top + _LINE))
        draw.text((left, top + _LINE + panel.image.height + 2), _cut(panel.under, wide, 11), _PALE, _font(11))
    return canvas


def _headline(explanation: "Explanation", width: int) -> Image.Image:
    rank = "" if explanation.rank is None else f"   rank {explanation.rank:,}"
    among = f" of {explanation.items:,}" if explanation.rank is not None and explanation.items else ""
    line = f"{explanation.target_name}   score {explanation.score:+.3f}{rank}{among}   ({explanation.model})"
    canvas = Image.new("RGB", (width, 22), "white")
    ImageDraw.Draw(canvas).text((0, 0), _cut(line, width, 16), _INK, _font(16))
    return canvas


def _sentence(explanation: "Explanation", width: int) -> Image.Image | None:
    """The words on grounds that are the stronger the larger their effect; the effect stands below each."""
    if not explanation.words:
        return None
    effects = explanation.word_effects
    values = np.zeros(len(explanation.words)) if effects is None else np.nan_to_num(effects.effects)
    most = max(float(np.abs(values).max()), 1e-12)
    canvas, draw = _canvas(width, 48 * 12)
    left = top = 0
    for row, word in enumerate(explanation.words):
        text = _cut(word.text, width - 20, 17)
        under = "not read" if not word.tokens else "" if effects is None else f"{values[row]:+.3f}"
        wide = max(_font(17).getlength(text), _font(11).getlength(under)) + 12
        if left and left + wide > width:
            left, top = 0, top + 48
        if top + 48 > canvas.height:
            break
        strength = abs(values[row]) / most * 0.8
        colour = FOR if values[row] > 0 else AGAINST
        ground = tuple(round(255 + (part - 255) * strength) for part in colour)
        draw.rectangle((left, top, left + wide - 2, top + 26), ground)
        dark = strength > 0.55 and colour == AGAINST
        draw.text((left + 5, top + 3), text, "white" if dark else _INK if word.tokens else _PALE, _font(17))
        draw.text((left + 5, top + 29), under, _PALE, _font(11))
        left += int(wide) + 4
    return canvas.crop((0, 0, width, min(top + 44, canvas.height)))


def _foot(explanation: "Explanation", width: int) -> Image.Image:
    head = "Orange speaks for the target, violet against it. An effect is what the score loses without the part."
    lines: list[tuple[str, tuple[int, int, int]]] = [(head, _INK)]
    if explanation.attention is not None:
        softmax = explanation.attention.kind == "softmax"
        legend = "Green: shares of attention" if softmax else "Attention here: raw scores of either sign, no shares"
        lines.append((f"{legend}. Attention is a hint; what an intervention does is the evidence.", _INK))
    lines += [(f"Check of {check}", FOR if check.fails else _PALE) for check in explanation.checks]
    lines += [(f"Note: {note}", _PALE) for note in explanation.notes]
    wrapped = [(part, colour) for line, colour in lines for part in wrap(line, _font(12), width)]
    canvas, draw = _canvas(width, 16 * len(wrapped) + 2)
    for row, (line, colour) in enumerate(wrapped):
        draw.text((0, 16 * row), _cut(line, width, 12), colour, _font(12))
    return canvas


def _canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    canvas = Image.new("RGB", (width, height), "white")
    return canvas, ImageDraw.Draw(canvas)


def _range(values: np.ndarray) -> str:
    return f"{values.min():+.3g} to {values.max():+.3g}"


def _resize(image: np.ndarray, width: int) -> Image.Image:
    return Image.fromarray(image).resize((width, max(1, round(width * image.shape[0] / image.shape[1]))))


def _cut(text: str, width: int, size: int = 13) -> str:
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@cache
def _font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    for name in _FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)
