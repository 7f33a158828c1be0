"""How a catalogue names its items' images, so that it can be moved, and where their files are."""

import os
from dataclasses import dataclass
from pathlib import Path

from itma.retrieval.ingest.rows import to_shown

FOLDER = "embedded-images"
"""In the catalogue's own folder: images that stood in a table."""
_OWN = "./"
"""Before the name of an image that lies in the catalogue's own folder; no other name begins so."""


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
