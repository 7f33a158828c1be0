"""Which triplets a step learns from, as a pure function of (seed, step), and how they become tensors."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional as F

from itma.data.images import Preprocess
from itma.data.triplets import Rows, Triplets
from itma.errors import ConfigError, DataError


@dataclass(frozen=True)
class Batch:
    """One step's images, each once, and the rows that speak of them."""

    pixels: torch.Tensor
    """(images, 3, height, width) uint8; every image of the batch once. Empty where `begun` stands for it."""
    references: torch.Tensor
    """(rows,) int64: index of the image; −1 where a row has words only."""
    targets: torch.Tensor
    """(rows,) int64: index of the image."""
    feedback: tuple[str, ...]
    begun: tuple[torch.Tensor, ...] = ()
    """What the image encoder's frozen levels made of the images, see `itma.ImageEncoder.begin`."""

    @property
    def count(self) -> int:
        """How many images there are."""
        return len(self.begun[0] if self.begun else self.pixels)

    def part(self, begin: int, end: int) -> "Batch":
        """Some of the rows, with the images that they speak of."""
        references, targets = self.references[begin:end], self.targets[begin:end]
        images = torch.cat([references[references >= 0], targets]).unique()
        rows = torch.searchsorted(images, references.clamp(min=0))
        return Batch(
            self.pixels if self.begun else self.pixels[images],
            torch.where(references < 0, -1, rows),
            torch.searchsorted(images, targets),
            self.feedback[begin:end],
            tuple(level[images] for level in self.begun),
        )


class Plan:
    """An endless, reproducible order of a training set's rows.

    Every row comes once in each pass. With `per_reference` above 1, up to so many rows of one reference stand side by
    side: its image is then computed once for them, and their targets are near misses of one another (in CSS's
    published rule two feedbacks of one reference follow each other).

    >>> plan = Plan(np.array([0, 0, 1, 1]), batch=2, seed=1, per_reference=2)
    >>> sorted([*plan.rows(0).tolist(), *plan.rows(1).tolist()])
    [0, 1, 2, 3]
    >>> bool((plan.rows(5) == plan.rows(5)).all())
    True

    Args:
        references: (rows,) the reference of each row.
        batch: rows for each step.
        seed: decides the order.
        per_reference: rows of one reference that stay together.
        targets: (rows,) the target of each row, for `per_family`.
        per_family: rows of one family that stay together: images that queries lead from one to the other, over any
            number of steps. The batch then holds the near misses that a gallery holds.
    """

    def __init__(
        self,
        references: np.ndarray,
        *,
        batch: int,
        seed: int,
        per_reference: int = 1,
        targets: np.ndarray | None = None,
        per_family: int = 1,
    ) -> None:
        if len(references) == 0:
            raise DataError("there are no triplets to learn from")
        if batch < 2 or per_reference < 1:
            raise ConfigError(f"batch={batch} must be at least 2 and per_reference={per_reference} at least 1")
        self._references, self._batch, self._seed, self._together = references, batch, seed, per_reference
        self._pieces = per_family // per_reference if targets is not None else 1
        self._families = families(references, targets) if targets is not None and self._pieces > 1 else None
        self._pass = lru_cache(maxsize=2)(self._shuffle)

    def rows(self, step: int) -> np.ndarray:
        """The rows of step `step` (from 0): (batch,) int64."""
        begin, end, total = step * self._batch, (step + 1) * self._batch, len(self._references)
        passes = range(begin // total, (end - 1) // total + 1)
        starts = ((number, number * total) for number in passes)
        return np.concatenate([self._pass(number)[max(0, begin - start) : end - start] for number, start in starts])

    def _shuffle(self, number: int) -> np.ndarray:
        """The order of pass `number` over all rows."""
        random = np.random.Generator(np.random.PCG64([self._seed, number]))
        order = random.permutation(len(self._references))
        if self._together == 1 and self._families is None:
            return order
        order = order[np.argsort(self._references[order], kind="stable")]
        pieces = _split(order, self._references[order], self._together)
        pieces = [pieces[index] for index in random.permutation(len(pieces))]
        if self._families is not None:  # those of one family side by side, a few at a time; these in random order
            family = self._families[[piece[0] for piece in pieces]]
            order = np.argsort(family, kind="stable")
            bundles = _split(order, family[order], self._pieces)
            pieces = [pieces[index] for number in random.permutation(len(bundles)) for index in bundles[number]]
        return np.concatenate(pieces)


def _split(order: np.ndarray, grouped: np.ndarray, most: int) -> list[np.ndarray]:
    """`order` cut where its group, ascending, changes, and after every `most` of one group."""
    position = np.arange(len(order)) - np.searchsorted(grouped, grouped)  # within its group
    starts = np.flatnonzero(np.r_[True, (np.diff(grouped) != 0) | (np.diff(position // most) != 0)])
    return np.split(order, starts[1:])


def families(references: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Which rows speak of connected images: (rows,) int64, the lowest image that a row's images lead to.

    >>> families(np.array([0, 1, 5]), np.array([1, 2, 6])).tolist()
    [0, 0, 5]
    """
    lowest = np.arange(max(references.max(), targets.max()) + 1)
    while True:
        least = np.minimum(lowest[references], lowest[targets])
        before = lowest.copy()
        np.minimum.at(lowest, references, least)
        np.minimum.at(lowest, targets, least)
        lowest = lowest[lowest]  # halves the way that is left
        if (lowest == before).all():
            return np.asarray(lowest[references])


def load_batch(triplets: Triplets, samples: Rows, preprocess: Preprocess) -> Batch:
    """Load the images of some training samples, each once.

    Raises:
        ImageError: an image that cannot be read, by name.
    """
    images, references, targets = number_images(samples)
    return Batch(triplets.images.load(images, preprocess), references, targets, tuple(samples.feedback))


def number_images(samples: Rows) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """The images of some samples, each once, and which of them each row's reference and target is.

    >>> images, references, targets = number_images(Rows(np.array([7, -1]), np.array([9, 7]), ["red", "a blue shirt"]))
    >>> images.tolist(), references.tolist(), targets.tolist()
    ([7, 9], [0, -1], [1, 0])
    """
    ends = np.concatenate([samples.references, samples.targets])
    images = np.unique(ends[ends >= 0])
    positions = np.where(ends >= 0, np.searchsorted(images, ends), -1)
    references, targets = torch.from_numpy(positions.astype(np.int64)).chunk(2)
    return images, references, targets


def augment(pixels: torch.Tensor, *, seed: int, step: int, strength: float) -> torch.Tensor:
    """Images moved, brightened and recoloured a little, as a pure function of (seed, step).

    Each image moves by up to `strength` × 10 % of its height (edges are repeated), and its channels are multiplied
    by a common and a separate factor of up to 1 ± `strength`, 1 ± `strength` / 4.

    Args:
        pixels: (images, 3, height, width) uint8, on any device, where they stay.
        seed, step: decide the changes.
        strength: 0 changes nothing.

    Returns:
        uint8, the same shape.
    """
    if strength == 0:
        return pixels
    B, _, H, W = pixels.shape
    random = torch.Generator().manual_seed(hash_seed(seed, step, "augment"))
    reach = round(0.1 * strength * H)
    moves = torch.randint(-reach, reach + 1, (2, B, 1), generator=random)
    rows = (torch.arange(H) + moves[0]).clamp(0, H - 1)
    columns = (torch.arange(W) + moves[1]).clamp(0, W - 1)
    factors = 1 + strength * (2 * torch.rand(B, 1, generator=random) - 1)
    factors = factors * (1 + strength / 4 * (2 * torch.rand(B, 3, generator=random) - 1))
    index = torch.arange(B)[:, None, None]
    moved = pixels[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return (moved * factors[:, :, None, None].to(pixels.device)).clamp_(0, 255).to(torch.uint8)


def vary(pixels: torch.Tensor, *, seed: int, step: int, crop: float, flip: bool, noise: float) -> torch.Tensor:
    """Images cropped, mirrored and overlaid with noise at random, as a pure function of (seed, step).

    The augmentation of MAAF's code for FashionIQ: a crop of a share of the area between `crop` and 1 whose sides are
    stretched by a ratio of 0.75 to 1.3, mirrored half of the time. There the crop is taken from the file, here from
    the fitted image.

    Args:
        pixels: (images, 3, height, width) uint8.
        seed, step: decide the changes.
        crop: smallest share of the area; 0 switches cropping off.
        flip: whether to mirror.
        noise: standard deviation, of values from 0 to 1.

    Returns:
        uint8, the same shape.
    """
    if not (crop or flip or noise):
        return pixels
    B, _, H, W = pixels.shape
    random = torch.Generator().manual_seed(hash_seed(seed, step, "vary"))
    if crop:
        area = crop + (1 - crop) * torch.rand(B, generator=random)
        ratio = torch.exp(torch.empty(B).uniform_(math.log(0.75), math.log(1.3), generator=random))
        heights = (H * (area / ratio).sqrt()).round().clamp(1, H).long().tolist()
        widths = (W * (area * ratio).sqrt()).round().clamp(1, W).long().tolist()
        corners = torch.rand(B, 2, generator=random).tolist()
        parts = []
        for image, h, w, (down, right) in zip(pixels, heights, widths, corners, strict=True):
            top, left = round(down * (H - h)), round(right * (W - w))
            part = image[None, :, top : top + h, left : left + w]
            if pixels.is_cuda:  # where whole numbers cannot be resized
                part = part.float()
            parts.append(torch.nn.functional.interpolate(part, (H, W), mode="bilinear", antialias=True))
        pixels = torch.cat(parts).round().clamp(0, 255).to(torch.uint8) if pixels.is_cuda else torch.cat(parts)
    if flip:
        mirrored = (torch.rand(B, generator=random) < 0.5).to(pixels.device)
        pixels = torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)
    if noise:
        grain = torch.randn(pixels.shape, generator=random).to(pixels.device) * (255 * noise)
        pixels = (pixels + grain).round_().clamp_(0, 255).to(torch.uint8)
    return pixels


_WHITE, _SOFT = 246, 24
"""Values from which a ground counts as white, and over how many below it is mixed with what stands before it."""
_SPREAD = 16
"""Steps by which a white ground is followed around corners."""


def replace_grounds(pixels: torch.Tensor, *, seed: int, step: int, share: float) -> torch.Tensor:
    """Images of things before white, some of them before another ground, as a pure function of (seed, step).

    A shop's photographs show products before white, upright and large; people's do not. What stands before the white
    is turned by up to 20° and made smaller, down to six tenths, and keeps its colours; the white that reaches the
    border becomes one colour, a run of two, or soft blotches.

    Args:
        pixels: (images, 3, height, width) uint8.
        seed, step: decide the changes.
        share: of the images, from 0 to 1.

    Returns:
        uint8, the same shape.
    """
    if not share:
        return pixels
    random = torch.Generator().manual_seed(hash_seed(seed, step, "ground"))
    B, _, H, W = pixels.shape
    chosen = torch.rand(B, generator=random) < share
    kinds = torch.randint(0, 4, (B,), generator=random)
    colours = torch.rand(B, 3, 6, 5, generator=random)
    middle = torch.rand(B, 3, 1, 1, generator=random)
    grain = torch.randn(B, 1, H, W, generator=random) * (0.06 * torch.rand(B, 1, 1, 1, generator=random))
    size = _white_ground(pixels.float()).mean((1, 2, 3))
    whole = (size > 0.05) & (size < 0.85)  # more, and a white thing would go with its ground
    set_down = _set_down(pixels, random)
    ground, lightest = _white_ground(set_down), set_down.amin(1, keepdim=True)
    soft = (lightest - (_WHITE - _SOFT)).div(_SOFT).clamp(0, 1)
    mixed = torch.maximum(ground, F.max_pool2d(ground, 5, 1, 2) * soft)
    colours = (middle + (colours - 0.5) * torch.tensor([0.0, 0.5, 0.9, 0.4])[kinds][:, None, None, None]).clamp(0, 1)
    colours[kinds == 1] = colours[kinds == 1][:, :, :1].expand(-1, -1, 6, -1)  # runs from side to side
    grey = colours.mean(1, keepdim=True)
    colours = grey + (colours - grey) * torch.rand(B, 1, 1, 1, generator=random)  # rooms are duller than paint boxes
    painted = F.interpolate(colours, (H, W), mode="bilinear", align_corners=True) + grain
    new = set_down * (1 - mixed) + 255 * painted.clamp(0, 1) * mixed
    use = (chosen & whole)[:, None, None, None]
    return torch.where(use, new.round().clamp(0, 255).to(torch.uint8), pixels)


def _white_ground(pixels: torch.Tensor) -> torch.Tensor:
    """The white that reaches the border: (images, 1, height, width) float32, 1 where it is."""
    white = (pixels.amin(1, keepdim=True) >= _WHITE).float()
    ground = torch.zeros_like(white)
    for axis in (2, 3):
        ground = torch.maximum(ground, white.cumprod(axis))
        ground = torch.maximum(ground, white.flip(axis).cumprod(axis).flip(axis))
    for _ in range(_SPREAD):
        ground = F.max_pool2d(ground, 3, 1, 1) * white
    return ground


def _set_down(pixels: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Images turned, made smaller and moved at random before white: float32 from 0 to 255, the same shape."""
    B, _, H, W = pixels.shape
    angles = (torch.rand(B, generator=random) * 2 - 1) * math.radians(20)
    sizes = 0.6 + 0.4 * torch.rand(B, generator=random)
    moves = (torch.rand(B, 2, generator=random) * 2 - 1) * (1 - sizes)[:, None]
    cosines, sines = angles.cos() / sizes, angles.sin() / sizes
    # grid coordinates run from −1 to 1 along both sides, so a turn has to know how they differ
    turned = torch.stack([cosines, -sines * H / W, sines * W / H, cosines], 1).view(B, 2, 2)
    shifts = -(turned @ moves[:, :, None])
    grid = F.affine_grid(torch.cat([turned, shifts], 2), list(pixels.shape), align_corners=False)
    return 255 - F.grid_sample(255 - pixels.float(), grid, align_corners=False)  # outside is 0: white


def hash_seed(*parts: int | str) -> int:
    """One seed from several numbers and names, the same on every platform."""
    words = [part if isinstance(part, int) else int.from_bytes(part.encode(), "little") for part in parts]
    return int(np.random.SeedSequence([abs(word) for word in words]).generate_state(1, np.uint64)[0] >> np.uint64(1))
