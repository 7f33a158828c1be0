"""How a catalogue names its items' images, so that it can be moved, and the files of those that lie in its own folder.

Those are the images that stood in a table, each named after its content, and uploads.
"""

import logging
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from itma.errors import StorageError
from itma.retrieval.ingest.rows import to_shown, to_stored
from itma.retrieval.stores.base import Items, arrow, read_column

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

FOLDER = "embedded-images"
"""In the catalogue's own folder: images that stood in a table."""
_OWN = "./"
"""Before the name of an image that lies in the catalogue's own folder; no other name begins so."""
_FILE_NAME = re.compile(r"[0-9a-f]{40}\.img")
"""The names of files of images that stood in a table; others in the folder are left alone."""


def own_folder(address: str) -> Path | None:
    """The folder of the catalogue at an address. None: it is no folder."""
    return None if "://" in address else Path(address).absolute()


@dataclass(frozen=True)
class ImageNames:
    """Names as the store holds them, and files.

    >>> names = ImageNames(Path("/shop/photos"), Path("/shop/catalogue"))
    >>> names.name("/shop/photos/a.jpg"), names.name("/shop/catalogue/uploads/b.jpg"), names.name("/c.jpg")
    ('a.jpg', './uploads/b.jpg', '/c.jpg')
    >>> names.file("./uploads/b.jpg").as_posix()
    '/shop/catalogue/uploads/b.jpg'
    """

    root: Path | None
    """The folder that images are named in. None: each has its whole path."""
    own: Path | None
    """The catalogue's own folder. None: it is no folder."""

    def file(self, name: str) -> Path:
        """Where an image is."""
        if name.startswith(_OWN) and self.own is not None:
            return self.own / to_shown(name.removeprefix(_OWN))
        return (self.root or Path()) / to_shown(name)

    def name(self, path: str | Path) -> str:
        """What an image is called: as the nearer of the two folders sees it, or by its whole path."""
        return self.all_names(path)[0]

    def all_names(self, path: str | Path, *, follow: bool = False) -> list[str]:
        """Every name that an image could have been given, that of `name` first.

        Args:
            path: its file.
            follow: go by where links lead.
        """
        whole = _plain(path, follow)
        folders = [(_plain(folder, follow), before) for folder, before in ((self.root, ""), (self.own, _OWN)) if folder]
        folders = sorted(
            (each for each in folders if whole.is_relative_to(each[0])), key=lambda each: -len(each[0].parts)
        )
        return [*(before + whole.relative_to(folder).as_posix() for folder, before in folders), whole.as_posix()]


def inside_own(name: str | None) -> str | None:
    """The path of an image in the catalogue's own folder. None: it lies elsewhere, or there is none."""
    return name.removeprefix(_OWN) if name is not None and name.startswith(_OWN) else None


def own_name(inside: str) -> str:
    """The name of an image in the catalogue's own folder, by its path in there."""
    return _OWN + inside


def keep_given_name(name: str | None) -> str | None:
    """A name that somebody else gave, so that it is not taken for that of an image in the catalogue's own folder."""
    while name is not None and name.startswith(_OWN):
        name = name.removeprefix(_OWN)
    return name


def _plain(path: str | Path, follow: bool) -> Path:
    return Path(path).resolve() if follow else Path(os.path.normpath(Path(path).absolute()))


# -- files in the catalogue's own folder -------------------------------------------------------------------------------


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
        names_used = set(_inside(items))
        for path in (own / FOLDER).iterdir():
            if _FILE_NAME.fullmatch(path.name) and f"{FOLDER}/{path.name}" not in names_used:
                path.unlink()
    except OSError as error:
        log.warning("images without an item could not be removed from %r: %s", str(own / FOLDER), error)


def copy_files(source: str, items: Items, target: str) -> None:
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
