"""What a region or a word does: cover it, leave it out, and see what becomes of the score and the rank.

An effect is the score with the part minus the score without it: above 0 the part speaks for the target. Sliding
windows as in Zeiler & Fergus 2014 (arXiv:1311.2901, section 4.2).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from itma.errors import ExplanationError, UnknownNameError
from itma.explanations.case import AT_ONCE, Case
from itma.records import Fill

FILLS = ("mean", "blur")
"""What covers a region: the mean colour of the image, or the image itself, blurred."""
CELLS = 8
"""Cells along the shorter side of an image; a window is two cells wide and high."""


@dataclass(frozen=True)
class Cells:
    """A grid over an image, fine enough for maps; those at the right and lower edge may be smaller."""

    height: int
    """Of the image, in pixels."""
    width: int
    """Of the image, in pixels."""

    @property
    def side(self) -> int:
        """Of a cell, in pixels."""
        return max(1, round(min(self.height, self.width) / CELLS))

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns."""
        return math.ceil(self.height / self.side), math.ceil(self.width / self.side)

    def windows(self) -> np.ndarray:
        """(windows, 4) int64: top, bottom, left, right in pixels, the second of each not included.

        >>> Cells(2, 3).windows().tolist()
        [[0, 2, 0, 2], [0, 2, 1, 3]]
        """
        rows, columns = self.grid
        side = self.side
        return np.array(
            [
                [row * side, min((row + 2) * side, self.height), column * side, min((column + 2) * side, self.width)]
                for row in range(max(1, rows - 1))
                for column in range(max(1, columns - 1))
            ],
            dtype=np.int64,
        )

    def masks(self) -> torch.Tensor:
        """(cells, height, width) bool: the pixels of each cell."""
        rows, columns = self.grid
        row = torch.arange(self.height) // self.side
        column = torch.arange(self.width) // self.side
        number = row[:, None] * columns + column[None, :]
        return number[None] == torch.arange(rows * columns)[:, None, None]

    def average(self, windows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """(rows, columns) float32: the mean over the windows that cover a cell."""
        total, count = np.zeros(self.grid), np.zeros(self.grid)
        for (top, bottom, left, right), value in zip(windows, values, strict=True):
            part = np.s_[
                top // self.side : math.ceil(bottom / self.side), left // self.side : math.ceil(right / self.side)
            ]
            total[part] += value
            count[part] += 1
        return (total / count).astype(np.float32)


@dataclass(frozen=True, eq=False)
class RegionEffects:
    """What each window of an image does."""

    windows: np.ndarray
    """(windows, 4) int64: top, bottom, left, right in pixels; the second of each is not included."""
    effects: np.ndarray
    """(windows,) float32: the score minus what it is with the window covered."""
    ranks: np.ndarray | None
    """(windows,) int64: the target's rank with the window covered."""
    map: np.ndarray
    """(rows, columns) float32: for each cell the mean effect of the windows that cover it."""
    fill: Fill

    @property
    def most(self) -> int:
        """The window of the largest effect, of either sign."""
        return int(np.abs(self.effects).argmax())


@dataclass(frozen=True, eq=False)
class WordEffects:
    """What each word does."""

    effects: np.ndarray
    """(words,) float32: the score minus what it is without the word; no number where nothing would be left."""
    ranks: np.ndarray | None
    """(words,) int64: the target's rank without the word; 0 where nothing would be left."""


def cover(pixels: torch.Tensor, masks: torch.Tensor, fill: Fill = "mean") -> torch.Tensor:
    """An image (3, height, width) uint8 with each of (n, height, width) bool masks covered: (n, 3, height, width).

    Raises:
        UnknownNameError: there is no such fill.
    """
    images: torch.Tensor = torch.where(masks[:, None], filling(pixels, fill)[None], pixels[None])
    return images


def filling(pixels: torch.Tensor, fill: Fill) -> torch.Tensor:
    """What is seen where an image is covered: (3, height, width) uint8.

    Raises:
        UnknownNameError: there is no such fill.
    """
    if fill not in FILLS:
        raise UnknownNameError("fill", fill, FILLS)
    plain = pixels.float()
    if fill == "mean":
        return plain.mean((1, 2), keepdim=True).round().to(torch.uint8).expand_as(pixels)
    radius = max(1, min(min(pixels.shape[1:]) // CELLS, min(pixels.shape[1:]) - 1))
    blurred = plain[None]
    for _ in range(3):  # three box filters are nearly a Gaussian one
        padded = F.pad(blurred, (radius,) * 4, mode="replicate")
        blurred = F.avg_pool2d(padded, 2 * radius + 1, stride=1)
    return blurred[0].round().to(torch.uint8)


def window_masks(windows: np.ndarray, height: int, width: int) -> torch.Tensor:
    """(windows, height, width) bool: the pixels of each window."""
    masks = torch.zeros(len(windows), height, width, dtype=torch.bool)
    for mask, (top, bottom, left, right) in zip(masks, windows, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def _window_effects(
    case: Case, pixels: torch.Tensor, fill: Fill, measure: Callable[[torch.Tensor], tuple[torch.Tensor, np.ndarray]]
) -> RegionEffects:
    """Cover each window of an image; `measure`: the n covered images → the queries (n, dim) and the scores (n,)."""
    cells = Cells(*pixels.shape[1:])
    windows = cells.windows()
    queries, scores = measure(cover(pixels, window_masks(windows, cells.height, cells.width), fill))
    effects = case.scores(case.query)[0] - scores
    return RegionEffects(windows, effects, case.ranks(queries, scores), cells.average(windows, effects), fill)


def region_effects(case: Case, fill: Fill = "mean") -> RegionEffects:
    """Cover each window of the reference.

    Raises:
        ExplanationError: there is no reference.
    """
    if case.reference is None:
        raise ExplanationError("regions are those of a reference, and this query has none")

    def measure(images: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
        queries = case.embed(images, None if case.text is None else [case.text] * len(images))
        return queries, case.scores(queries)

    return _window_effects(case, case.reference, fill, measure)


def target_effects(case: Case, fill: Fill = "mean") -> RegionEffects:
    """Cover each window of the target.

    Raises:
        ExplanationError: the target's image is not there.
    """
    if case.target_pixels is None:
        raise ExplanationError(f"the image of {case.target_name!r} is not there, so that nothing of it can be covered")

    def measure(images: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
        targets = torch.cat([case.model.embed_images(some).cpu() for some in images.split(AT_ONCE)])
        return case.query.expand(len(targets), -1), (targets @ case.query[0]).numpy()

    return _window_effects(case, case.target_pixels, fill, measure)


def word_effects(case: Case) -> WordEffects:
    """Leave out one word after the other.

    Raises:
        ExplanationError: there is no feedback.
    """
    words = case.words()
    if case.text is None:
        raise ExplanationError("words are those of a feedback, and this query has none")
    without = [case.text[: word.begin] + case.text[word.end :] for word in words]
    queries = torch.zeros(len(words), len(case.target))
    rows = [row for row, text in enumerate(without) if case.model.tokenizer.pieces(text)]
    if rows:
        queries[rows] = case.embed_said([without[row] for row in rows])
    silent = sorted(set(range(len(words))) - set(rows))
    if silent and case.reference is not None:
        queries[silent] = case.embed_said(None)
    scores = case.scores(queries)
    effects = case.scores(case.query)[0] - scores
    ranks = case.ranks(queries, scores)
    if silent and case.reference is None:
        effects[silent] = np.nan
        if ranks is not None:
            ranks[silent] = 0
    return WordEffects(effects, ranks)
