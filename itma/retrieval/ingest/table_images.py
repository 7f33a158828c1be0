"""Images in the catalogue's own folder: those that stood in a table, each named after its content, and uploads."""

import logging
import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from itma.errors import StorageError
from itma.retrieval.ingest.image_names import FOLDER, ImageNames, inside_own, own_folder
from itma.retrieval.ingest.rows import to_shown, to_stored
from itma.retrieval.stores.base import Items, arrow, read_column

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

_FILE_NAME = re.compile(r"[0-9a-f]{40}\.img")
"""The names of files of images that stood in a table; others in the folder are left alone."""


def sweep(address: str, items: Items) -> None:
    """Remove files of images that stood in a table and are no item's now; where that fails, the log says so.

    Args:
        address: of the catalogue, which nobody else writes meanwhile.
        items: its table.
    """
    own = own_folder(address)
    if own is None or not (own / FOLDER).is_dir():
        return
    try:
        used = set(_inside(items))
        for path in (own / FOLDER).iterdir():
            if _FILE_NAME.fullmatch(path.name) and f"{FOLDER}/{path.name}" not in used:
                path.unlink()
    except OSError as error:
        log.warning("images without an item could not be removed from %r: %s", str(own / FOLDER), error)


def copy(source: str, items: Items, target: str) -> None:
    """Copy the files of all items to another catalogue's folder; to one that is none, nothing.

    Raises:
        StorageError: the disk is full, or a file cannot be read.
    """
    here, there = own_folder(source), own_folder(target)
    names = sorted({*_inside(items)})
    if here is None or not names:
        return
    if there is None:
        log.warning("the images that are in %r stay there, where the copy looks for them", str(here))
        return
    try:
        for name in map(to_shown, names):
            if (here / name).is_file():
                (there / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(here / name, there / name)
    except OSError as error:
        raise StorageError(f"the images in {str(here)!r} cannot be copied to {str(there)!r}: {error}") from error


def with_whole_names(items: "pa.RecordBatch", names: ImageNames) -> "pa.RecordBatch":
    """Items as others get them: images in the catalogue's own folder are named by their whole paths."""
    column = items.schema.get_field_index("_image")
    whole = [
        name if inside_own(name) is None else to_stored(names.file(name).as_posix())
        for name in items.column(column).to_pylist()
    ]
    return items.set_column(column, items.schema.field(column), arrow().array(whole, items.schema.field(column).type))


def _inside(items: Items) -> Iterator[str]:
    """Where images are in the catalogue's own folder."""
    return filter(None, map(inside_own, read_column(items, "_image")))
