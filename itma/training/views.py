"""What the frozen levels of an image encoder make of the training images, computed once instead of in every step.

Each image is seen in several views: decoded once, then cropped, mirrored, recoloured and set before another ground in
as many ways as there are views. A step takes one of them.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from itma.data.batching import augment, hash_seed, replace_grounds, vary
from itma.data.image_cache import default_folder
from itma.data.images import Images
from itma.errors import StorageError
from itma.models.retriever import Retriever, add_tensors
from itma.progress import bar
from itma.sharing import share
from itma.training.config import TrainConfig
from itma.training.speed import load_ahead

log = logging.getLogger(__name__)

_AT_ONCE = 64


def make_views(
    model: Retriever, images: Images, indices: np.ndarray, config: TrainConfig, *, progress: bool = False
) -> "Views":
    """`Views` of the same arguments; the last ones again where several runs share the data and the image encoder."""

    def key() -> tuple[object, ...]:
        weights = hashlib.sha256()
        add_tensors(weights, model.image_encoder.state_dict())
        changes = (config.seed, config.augment, config.crop, config.flip, config.noise, config.grounds)
        return (
            weights.digest(),
            model.preprocess,
            tuple(images.names),
            indices.tobytes(),
            config.frozen_levels,
            config.views,
            changes if config.views > 1 else (),
        )

    return share("views", key, lambda: Views(model, images, indices, config, progress=progress))


class Views:
    """The maps that `HubImageEncoder.begin` makes of every view of some images, as float16 in a file without a name.

    The file lies in the cache folder and is gone when the process ends.

    Args:
        model: its image encoder's levels up to `config.frozen_levels` are frozen.
        images: all images.
        indices: (n,) of the images that training uses.
        config: how many views, and how they differ.
        progress: show a progress bar.

    Raises:
        ImageError: an image that cannot be read, by name.
        StorageError: there is no room for the maps.
    """

    def __init__(
        self, model: Retriever, images: Images, indices: np.ndarray, config: TrainConfig, *, progress: bool = False
    ) -> None:
        self._rows = np.full(len(images.names), -1, dtype=np.int64)
        self._rows[indices] = np.arange(len(indices))
        self._config = config
        self._parts: list[np.ndarray] = []
        total = config.views * len(indices)
        with bar(
            f"looking at {len(indices):,} images in {config.views} views", show=progress, total=total, unit="view"
        ) as meter:
            for start, view, pixels in self._pixels(model, images, indices):
                maps = self._begin(model, pixels)
                if not self._parts:
                    self._parts = [_room((config.views, len(indices), *level.shape[1:])) for level in maps]
                for part, level in zip(self._parts, maps, strict=True):
                    part[view, start : start + len(level)] = level
                meter.update(len(pixels))

    def load(self, images: np.ndarray, *, step: int) -> tuple[torch.Tensor, ...]:
        """Maps of some images, each in one of its views, as a function of the seed and the step.

        Args:
            images: (n,) indices among all images.
            step: decides the views.

        Returns:
            What `HubImageEncoder.finish` takes: float32 tensors of n rows each.
        """
        random = np.random.Generator(np.random.PCG64(hash_seed(self._config.seed, step, "views")))
        views = random.integers(0, self._config.views, len(images))
        rows = self._rows[images]
        assert rows.min(initial=0) >= 0, "an image that is not among the wanted ones"
        return tuple(torch.from_numpy(part[views, rows].astype(np.float32)) for part in self._parts)

    def _pixels(self, model: Retriever, images: Images, indices: np.ndarray) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Batches of views: the place of the first image, the number of the view, the pixels; the first is plain."""

        def decode(start: int) -> torch.Tensor:
            return images.load(indices[start : start + _AT_ONCE], model.preprocess)

        for start, plain in load_ahead(decode, range(0, len(indices), _AT_ONCE)):
            for view in range(self._config.views):
                yield start, view, plain if view == 0 else change_images(plain, self._config, step=view, part=start)

    def _begin(self, model: Retriever, pixels: torch.Tensor) -> Sequence[np.ndarray]:
        training = model.image_encoder.training
        model.image_encoder.eval()
        try:
            with torch.inference_mode():
                images = model.preprocess.normalise(pixels.to(model.device))
                maps = model.image_encoder.begin(images, self._config.frozen_levels)
        finally:
            model.image_encoder.train(training)
        return [level.cpu().half().contiguous().numpy() for level in maps]


def change_images(pixels: torch.Tensor, config: TrainConfig, *, step: int, part: int = 0) -> torch.Tensor:
    """Images cropped, mirrored, recoloured and set before another ground as `config` says, by (seed, part, step).

    Args:
        pixels: (images, 3, height, width) uint8.

    Returns:
        uint8, the same shape.
    """
    seed = hash_seed(config.seed, part)
    pixels = replace_grounds(pixels, seed=seed, step=step, share=config.grounds)
    pixels = augment(pixels, seed=seed, step=step, strength=config.augment)
    return vary(pixels, seed=seed, step=step, crop=config.crop, flip=config.flip, noise=config.noise)


def _room(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of float16 in a file without a name."""
    folder = Path(default_folder())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:  # the array has a handle of its own
            size = 2 * int(np.prod(shape))
            if hasattr(os, "posix_fallocate"):  # else a full disk would end the process where it is first written to
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return np.memmap(file, np.float16, "r+", shape=shape)
    except OSError as error:
        needed = 2 * int(np.prod(shape)) / 1e9
        raise StorageError(
            f"the maps of the frozen levels need {needed:.1f} GB in {str(folder)!r}: {error.strerror}; make room, name "
            "another folder with ITMA_CACHE, or take fewer views (train.views)"
        ) from error
