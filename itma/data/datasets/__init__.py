"""Public data sets as people have them on disk, and one's own: annotation files → triplets and protocols."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from itma.data.triplets import Split
from itma.errors import ConfigError, UnknownNameError

Load = Callable[..., Split]

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

__all__ = ["NAMES", "Load", "Split", "image_folders", "load"]


def load(name: str, root: str | Path, split: str, *, categories: Sequence[str] = ()) -> Split:
    """Read one split of a data set.

    Args:
        name: css, fashion200k, fashioniq, mitstates, own or products.
        root: the folder that holds it; see `docs/datasets.md` for what is expected there.
        split: train, val or test, as the data set has them.
        categories: which of the data set's categories; empty: all. The files of the others need not be there.

    Raises:
        UnknownNameError: no such data set, split or category.
        ConfigError: categories of a data set that is not divided into any.
        DataError: a file is missing or damaged; the message names file and row, and what was expected.
    """
    if name not in _HOMES:
        raise UnknownNameError("data set", name, _HOMES)
    module = import_module(_HOMES[name])
    loader: Load = module.load
    if not categories:
        return loader(Path(root), split)
    known: Sequence[str] = getattr(module, "CATEGORIES", ())
    if not known:
        raise ConfigError(f"{name} is not divided into categories; leave out data.categories={','.join(categories)}")
    for category in categories:
        if category not in known:
            raise UnknownNameError(f"category of {name}", category, known)
    return loader(Path(root), split, categories)


def image_folders(name: str) -> Sequence[str]:
    """Where a data set's images are looked for, relative to its root; empty where its annotation says it."""
    return getattr(import_module(_HOMES[name]), "IMAGE_FOLDERS", ())
