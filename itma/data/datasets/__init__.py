"""Public data sets as people have them on disk, and one's own: annotation files → triplets and protocols."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from itma.data.triplets import Split
from itma.errors import UnknownNameError

Load = Callable[[Path, str], Split]

_HOMES = {
    "css": "itma.data.datasets.css",
    "fashion200k": "itma.data.datasets.fashion200k",
    "fashioniq": "itma.data.datasets.fashioniq",
    "mitstates": "itma.data.datasets.mitstates",
    "own": "itma.data.datasets.own",
    "products": "itma.data.datasets.products",
}
"""Name → the module whose `load(root, split)` reads it."""

NAMES = tuple(_HOMES)

__all__ = ["NAMES", "Load", "Split", "load"]


def load(name: str, root: str | Path, split: str) -> Split:
    """Read one split of a data set.

    Args:
        name: css, fashion200k, fashioniq, mitstates, own or products.
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
