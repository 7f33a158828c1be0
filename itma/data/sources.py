"""Data by name: what `itma train NAME` and `itma evaluate NAME` look up, generated or on disk."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch

from itma.data.cache import cached
from itma.data.datasets.base import DataConfig, dataset_named
from itma.data.images import Preprocess
from itma.data.triplets import Coverage, Split, covered
from itma.errors import DataError

log = logging.getLogger(__name__)


def load(config: DataConfig, split: str, *, progress: bool = False, device: torch.device | None = None) -> Split:
    """One split: triplets and protocols, without the rows whose pictures are not there.

    Args:
        config: which data.
        split: `train`, `test` or, where there is one, `val`.
        progress: show a progress bar while pictures are generated.
        device: where a generated world is rendered; the pictures come back to the CPU.

    Raises:
        UnknownNameError: no such split or size.
        DataError: the data under `config.root` cannot be read, or is a training split that lacks too many pictures.
    """
    dataset = dataset_named(config.name)(config)
    found = dataset.load(split, progress=progress, device=device)
    if dataset.generated:
        return found
    found, coverage = complete(found)
    if not coverage.kept:
        raise DataError(f"{found.triplets.name}: {coverage}; there is nothing to work on")
    if coverage.missing:
        log.warning("%s: %s; itma doctor says more", found.triplets.name, coverage)
    if split == "train" and coverage.share < config.coverage:
        raise DataError(
            f"{found.triplets.name}: {coverage}; that is {coverage.share:.1%}, and training wants at least "
            f"{config.coverage:.0%}. Get the pictures that are missing, or train on what there is: --set "
            f"data.coverage={max(0, int(100 * coverage.share)) / 100:g}"
        )
    return found


def sentences(config: DataConfig, split: str) -> Sequence[str]:
    """The feedback of one split alone: no picture is rendered, and none has to be there.

    Raises:
        UnknownNameError, DataError: see `load`.
    """
    return dataset_named(config.name)(config).sentences(split)


def kept(split: Split, config: DataConfig, preprocess: Preprocess) -> Split:
    """A split whose pictures, where they are files, are decoded once and then read from the cache."""
    if not config.cache:
        return split
    pictures = cached(split.triplets.pictures, preprocess)
    return replace(split, triplets=replace(split.triplets, pictures=pictures))


def complete(split: Split) -> tuple[Split, Coverage]:
    """A split without what needs pictures that are not there, and how much of it that leaves."""
    return covered(split, split.triplets.pictures.missing())
