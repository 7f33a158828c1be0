"""Public data sets as people have them on disk, generated ones, and one's own, known by name."""

from collections.abc import Sequence
from pathlib import Path

from itma.data.datasets.base import NAMES, REGISTRY, WORLDS, DataConfig, Dataset, dataset_named, register
from itma.data.triplets import Split
from itma.errors import UnknownNameError

__all__ = ["NAMES", "REGISTRY", "WORLDS", "DataConfig", "Dataset", "Split", "dataset_named", "load", "register"]


def load(name: str, root: str | Path, split: str, *, categories: Sequence[str] = ()) -> Split:
    """Read one split of a data set on disk.

    Args:
        name: one of `NAMES`, or one that is registered from outside.
        root: the folder that holds it; see `docs/datasets.md` for what is expected there.
        split: train, val or test, as the data set has them.
        categories: which of the data set's categories; empty: all. The files of the others need not be there.

    Raises:
        UnknownNameError: no such data set, split or category.
        ConfigError: categories of a data set that is not divided into any.
        DataError: a file is missing or damaged; the message names file and row, and what was expected.
    """
    if dataset_named(name).generated:
        raise UnknownNameError("data set on disk", name, NAMES)
    return dataset_named(name)(DataConfig(name, root=str(root), categories=tuple(categories))).load(split)
