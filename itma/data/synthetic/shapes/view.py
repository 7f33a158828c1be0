"""The camera: which ray each sample of an image sends, and which rectangle of it can see a thing or its shadow.

Axes: x to the right, y away from the camera, z up; the floor is z = 0; places are 1 apart, their middle at (0, 0).
Letters of shapes: T things, R rows of rectangles, P pairs of a thing and a sample.
"""

import math
from dataclasses import dataclass

import torch

ELEVATION = math.radians(43)
"""How far the camera looks down."""
_DISTANCE = 6.2
_AIM = (0.0, 0.02, 0.08)
_HALF_WIDTH = 0.315
"""Tangent of half the angle that is seen across the width of a 3:2 image."""

_COS, _SIN = math.cos(ELEVATION), math.sin(ELEVATION)
EYE = (_AIM[0], _AIM[1] - _DISTANCE * _COS, _AIM[2] + _DISTANCE * _SIN)
"""Where the camera stands."""


@dataclass(frozen=True)
class Rays:
    """The rays of a regular grid of samples, to depth 1: x depends on the column, y and z on the row."""

    x: torch.Tensor
    """(columns,) float32."""
    y: torch.Tensor
    """(rows,) float32."""
    z: torch.Tensor
    """(rows,) float32; always below 0: the horizon is never seen."""
    step: float
    """Width of a sample at depth 1."""

    @classmethod
    def of(cls, height: int, width: int, samples: int, device: torch.device) -> "Rays":
        """Rays of `samples` × `samples` to each pixel of an image."""
        step = 2 * _HALF_WIDTH / min(width, 1.5 * height) / samples
        across = (torch.arange(width * samples, dtype=torch.float64) + 0.5 - width * samples / 2) * step
        up = (height * samples / 2 - torch.arange(height * samples, dtype=torch.float64) - 0.5) * step
        up = up.clamp(max=0.98 * math.tan(ELEVATION))  # very tall images: floor as far as the horizon
        return cls(
            across.float().to(device),
            (_COS + _SIN * up).float().to(device),
            (-_SIN + _COS * up).float().to(device),
            step,
        )

    @property
    def rows(self) -> int:
        """Rows of samples."""
        return len(self.y)

    @property
    def columns(self) -> int:
        """Samples to a row."""
        return len(self.x)


@dataclass(frozen=True)
class Pairs:
    """Pairs of a thing and a sample in its rectangle, row by row."""

    thing_R: torch.Tensor
    """The thing that a row belongs to."""
    row_R: torch.Tensor
    """The row of samples."""
    row_P: torch.Tensor
    """Index into the R axis."""
    column_P: torch.Tensor
    """The column of samples."""


def rectangles(points: torch.Tensor, rays: Rays) -> torch.Tensor:
    """The samples that can see any part of the hull of some points.

    Args:
        points: (T, corners, 3).
        rays: of the image.

    Returns:
        (T, 4) int64: top, bottom, left, right; first included, last not.
    """
    x, y, z = ((points[..., axis] - EYE[axis]) for axis in range(3))
    depth = _COS * y - _SIN * z
    column = x / depth / rays.step + rays.columns / 2
    row = rays.rows / 2 - (_SIN * y + _COS * z) / depth / rays.step
    edges = torch.stack([row.amin(1), row.amax(1) + 1, column.amin(1), column.amax(1) + 1], 1).floor().long()
    edges[:, :2].clamp_(0, rays.rows)
    edges[:, 2:].clamp_(0, rays.columns)
    return edges


def pairs(rectangles: torch.Tensor) -> Pairs:
    """Every thing with every sample of its rectangle."""
    top, bottom, left, right = rectangles.unbind(1)
    thing_R, row_R = runs(top, bottom - top)
    row_P, column_P = runs(left[thing_R], (right - left)[thing_R])
    return Pairs(thing_R, row_R, row_P, column_P)


def runs(starts: torch.Tensor, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The whole numbers of several runs, one after the other.

    >>> runs(torch.tensor([5, 8]), torch.tensor([2, 3]))
    (tensor([0, 0, 1, 1, 1]), tensor([ 5,  6,  8,  9, 10]))

    Args:
        starts: the first number of each run.
        counts: how many numbers each run has.

    Returns:
        The run that each number belongs to, and the number.
    """
    run = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    before = counts.cumsum(0) - counts
    return run, torch.arange(len(run), device=run.device) + (starts - before)[run]
