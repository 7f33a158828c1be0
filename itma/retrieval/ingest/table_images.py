"""Images that stood in a table itself: files in the catalogue's own folder, each named after its content."""

import logging
import re
import shutil
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

from itma.errors import StorageError
from itma.retrieval.stores.base import Items, arrow

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

FOLDER = "embedded-images"
_OURS = re.compile(r"[0-9a-f]{40}\.img")
"""The names of such files; others in the folder are left alone."""


def folder_of(place: str) -> Path | None:
    """Where the catalogue at a place keeps them. None: it is no folder, and keeps none."""
    return None if "://" in place else Path(place).absolute() / FOLDER


def sweep(place: str, items: Items) -> None:
    """Remove files that are the image of no item; where that fails, the log says so.

    Args:
        place: of the catalogue, which nobody else writes meanwhile.
        items: its table.
    """
    folder = folder_of(place)
    if folder is None or not folder.is_dir():
        return
    try:
        used = _used(items)
        for path in folder.iterdir():
            if _OURS.fullmatch(path.name) and path.name not in used:
                path.unlink()
    except OSError as error:
        log.warning("images without an item could not be removed from %r: %s", str(folder), error)


def copy(source: str, items: Items, target: str) -> None:
    """Copy the files of all items to another catalogue's folder; to one that is none, nothing.

    Raises:
        StorageError: the disk is full, or a file cannot be read.
    """
    here, there = folder_of(source), folder_of(target)
    if here is None or not here.is_dir():
        return
    if there is None:
        log.warning("the images that stood in a table stay in %r, where the copy looks for them", str(here))
        return
    try:
        for name in sorted(_used(items)):
            if (here / name).is_file():
                there.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(here / name, there / name)
    except OSError as error:
        raise StorageError(f"the images in {str(here)!r} cannot be copied to {str(there)!r}: {error}") from error


def moved(images: "pa.Array", source: str, target: str) -> "pa.Array":
    """The names of items' images as another catalogue has them that was copied from this one."""
    here, there = folder_of(source), folder_of(target)
    if here is None or there is None:
        return images
    names = [
        (there / name.rpartition("/")[2]).as_posix() if name is not None and f"/{FOLDER}/" in name else name
        for name in images.to_pylist()
    ]
    return arrow().array(names, images.type)


def _used(items: Items) -> Set[str]:
    """The names of the files that are an item's image."""
    names = (name for part in items.scan(["_image"]) for name in part.column("_image").to_pylist())
    return {name.rpartition("/")[2] for name in names if name is not None and f"/{FOLDER}/" in name}
