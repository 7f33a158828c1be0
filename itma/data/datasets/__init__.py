"""Public data sets as people have them on disk, and one's own: annotation files → triplets and protocols."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from itma.data.triplets import Protocol, Triplets
from itma.errors import UnknownNameError


@dataclass(frozen=True)
class Split:
    """One split of a data set, complete as annotated, whether or not its pictures are there."""

    triplets: Triplets
    """All rows; the pictures are `FilePictures`, whose paths need not exist. In an evaluation split the rows of every
    way to ask (caption orders, single captions) stand here, and protocols choose among them."""
    protocols: Mapping[str, Protocol]
    """By name, the one to use where none is named first; empty for training."""


Load = Callable[[Path, str], Split]

_HOMES = {
    "css": "itma.data.datasets.css",
    "fashion200k": "itma.data.datasets.fashion200k",
    "fashioniq": "itma.data.datasets.fashioniq",
    "mitstates": "itma.data.datasets.mitstates",
}
"""Name → the module whose `load(root, split)` reads it."""

NAMES = tuple(_HOMES)


def load(name: str, root: str | Path, split: str) -> Split:
    """Read one split of a data set.

    Args:
        name: css, fashion200k, fashioniq or mitstates.
        root: the folder that holds it; see `docs/datasets.md` for what is expected there.
        split: train, val or test, as the data set has them.

    Raises:
        UnknownNameError: no such data set or split.
        DataError: a file is missing or damaged; the message names file and row, and what was expected.
    """
    if name not in _HOMES:
        raise UnknownNameError("data set", name, _HOMES)
    loader: Load = import_module(_HOMES[name]).load
    return loader(Path(root), split)
