"""Data by name: what `itma train NAME` and `itma evaluate NAME` look up, generated or on disk."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itma.data.datasets.base import REGISTRY, DataConfig, Dataset
from itma.data.image_cache import open_cache
from itma.data.images import FileImages, Images, Preprocess, image_size
from itma.data.triplets import Split, cover
from itma.data.validation.inspection import inspect
from itma.errors import DataError, ImageError
from itma.sharing import share

log = logging.getLogger(__name__)

_LOOKED_AT = 32
"""Images whose sizes stand for those of all."""


def load(config: DataConfig, split: str, *, progress: bool = False, device: torch.device | None = None) -> Split:
    """One split: triplets and protocols, without the rows whose images are not there.

    Args:
        config: which data.
        split: `train`, `test` or, where there is one, `val`.
        progress: show a progress bar while images are generated.
        device: where a generated world is rendered; the images come back to the CPU.

    Raises:
        UnknownNameError: no such split or size.
        DataError: the data under `config.root` cannot be read, or is a training split that lacks too many images.
    """
    return share(f"data {split}", lambda: config, lambda: _load(config, split, progress=progress, device=device))


def _load(config: DataConfig, split: str, *, progress: bool, device: torch.device | None) -> Split:
    if config.external:
        raise DataError(
            f"the data {config.name!r} were handed over in Python and cannot be loaded by their name; hand them over "
            f"again (triplets=…), or name data that itma reads: {', '.join(REGISTRY)}"
        )
    dataset = config.dataset(config)
    annotated = dataset.load(split, progress=progress, device=device)
    if dataset.generated:
        return annotated
    images = annotated.triplets.images
    missing = images.missing()
    unreadable = np.zeros_like(missing)
    if config.unreadable == "missing":
        paths = [None if absent else path for path, absent in zip(image_paths(images), missing.tolist(), strict=True)]
        files = inspect(list(dict.fromkeys(path for path in paths if path is not None)), progress=progress)
        unreadable = np.array([path is not None and files[path].problem is not None for path in paths])
    if unreadable.any():
        names = [images.names[index] for index in np.flatnonzero(unreadable).tolist()]
        listed = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        problem = f"{len(names)} images are there but cannot be read, and count as missing: {listed}"
        log.warning("%s: %s; itma doctor lists all", annotated.triplets.name, problem)
    usable, coverage = cover(annotated, missing | unreadable)
    if not coverage.usable:
        raise DataError(
            f"{usable.triplets.name}: {coverage}; there is nothing to work on{_say_where(dataset, annotated, missing)}"
        )
    if coverage.missing:
        log.warning("%s: %s; itma doctor says more", usable.triplets.name, coverage)
    if split == "train" and coverage.share < config.coverage:
        raise DataError(
            f"{usable.triplets.name}: {coverage}; that is {coverage.share:.1%}, and training wants at least "
            f"{config.coverage:.0%}{_say_where(dataset, annotated, missing)}. Get the images that are missing, or "
            f"train on what there is: --set data.coverage={max(0, int(100 * coverage.share)) / 100:g}"
        )
    return usable


def _say_where(dataset: Dataset, split: Split, missing: np.ndarray) -> str:
    """Where images were looked for, as the end of a message; nothing where none is missing."""
    if not missing.any():
        return ""
    if folders := dataset.image_folders:
        return f"; looked under {str(dataset.root)!r} (and each folder in it) in {', '.join(folders)}"
    first = image_paths(split.triplets.images)[int(missing.argmax())]
    return "" if first is None else f"; the first of them was looked for at {str(first)!r}"


def image_paths(images: Images) -> list[Path | None]:
    """The file of every image; none of those that are drawn when they are asked for, which follow the others in CSS."""
    files: Any = images
    if not isinstance(images, FileImages):  # those of CSS, and those of GeneCIS that are cut out of others
        files = getattr(images, "rendered", getattr(images, "files", None))
    paths: list[Path] = [] if files is None else list(files.paths)
    return [*paths, *[None] * (len(images.names) - len(paths))]


def other_size(images: Images, preprocess: Preprocess) -> tuple[int, int] | None:
    """Width and height in pixels of images that are smaller than a model's, or of another shape where it says one.

    Args:
        images: of which a few are looked at.
        preprocess: the model's; where it is as wide as it is high, images of any shape are expected.

    Returns:
        The middle size. None: it fits, or is not known.
    """
    paths, sizes = [path for path in image_paths(images) if path is not None], []
    for path in paths[:: max(1, len(paths) // _LOOKED_AT)]:
        with suppress(ImageError):
            sizes.append(image_size(path))
    if not sizes:
        return None
    width, height = sorted(sizes)[len(sizes) // 2]
    smaller = width < preprocess.width and height < preprocess.height
    ratio = preprocess.width / preprocess.height
    other = preprocess.width != preprocess.height and not 0.9 < width / height / ratio < 1.1
    return (width, height) if smaller or other else None


def sentences(config: DataConfig, split: str) -> Sequence[str]:
    """The feedback of one split alone: no image is rendered, and none has to be there.

    Raises:
        UnknownNameError, DataError: see `load`.
    """
    return config.dataset(config).sentences(split)


def cache_images(split: Split, config: DataConfig, preprocess: Preprocess) -> Split:
    """A split whose images, where they are files, are decoded once and then read from the cache."""
    if not config.cache:
        return split
    return replace(split, triplets=replace(split.triplets, images=open_cache(split.triplets.images, preprocess)))
