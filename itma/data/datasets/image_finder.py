"""Where the images are that a table names."""

import re
import unicodedata
from functools import cache
from pathlib import Path

from itma.data.images import image_endings, list_names

IMAGES = "images"
"""A folder beside the table that images may also be in."""
_NO_FILES = (
    (r"[a-z]:[/\\]", "that is a path of Windows"),
    (r"\\\\\w", "that is a path of Windows"),
    (r"(https?|ftp|s3|gs|blob|cid|mailto):|www\.|([a-z0-9-]+\.)+[a-z]{2,}/", "that looks like an address"),
    (r".*\.\w+[?#]", "that looks like an address"),
    (r"~|\$\w|%\w+%", "what stands for a folder is not replaced"),
    (r"[\[{<=(!'\"]", "the cell holds more than a name"),
)
"""How a cell begins that is no file's name → what it is."""


class Finder:
    """Where the images are that a table names; looks into each folder once.

    A name that no file has is that of the one file which differs from it in capitals only, or which has an ending of
    images besides.

    Args:
        folder: where the table is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._paths: dict[str, Path] = {}
        self._look, self._alike = cache(_look), cache(self._group_alike)

    def path(self, name: str) -> Path:
        """The file of an image: relative to the folder or to `images` in it; where it is not there, as named.

        However a file is named, its path is the same: whole, and without links to folders.
        """
        if name not in self._paths:
            candidates = [base / spelt for spelt in _spellings(name) for base in (self.folder, self.folder / IMAGES)]
            there = (path for path in candidates if self.exists(path))
            alike = (path.with_name(other) for path in candidates if (other := self._like(path)))
            path = next(there, None) or next(alike, candidates[0])
            self._paths[name] = self._look(path.parent)[0] / path.name
        return self._paths[name]

    def exists(self, path: Path) -> bool:
        """Whether there is something at a path that came from here."""
        return path.name in self._look(path.parent)[1]

    def hint(self, name: str) -> str:
        """What may be meant by a name that no file has: a file that is there, or something else than a file's name.

        Returns:
            A part of a sentence, to follow "the file does not exist; "; empty where nothing is known.
        """
        for word in dict.fromkeys(re.split(r"[\s'\"<>()\[\]{},;:|?#=\u200b\ufeff]+", name)):
            last = re.split(r"[/\\]", word)[-1].strip(".")
            for each in filter(None, (last, Path(last).stem)):
                if self.exists(path := self.path(each)) and path.is_file():
                    return f"but {path.name!r} is there: write that name alone"
        for pattern, meaning in _NO_FILES:
            if re.match(pattern, name, re.IGNORECASE):
                return f"{meaning}: name the file as it is called here, relative to the table's folder"
        return ""

    def _like(self, path: Path) -> str | None:
        """The only file beside a path that has its name but for capitals and an ending. None: there is not one."""
        names = self._alike(path.parent).get(path.name.casefold(), set())
        return next(iter(names)) if len(names) == 1 else None

    def _group_alike(self, folder: Path) -> dict[str, set[str]]:
        """Name in small letters, with and without an ending of images → the files of a folder that have it."""
        alike: dict[str, set[str]] = {}
        for name in self._look(folder)[1]:
            small = Path(name.casefold())
            for key in (small.name, *([small.stem] if small.suffix in image_endings() else [])):
                alike.setdefault(key, set()).add(name)
        return alike


def _look(folder: Path) -> tuple[Path, frozenset[str]]:
    """A folder without links on the way to it, and what is in it."""
    return folder.resolve() if folder.is_dir() else folder, list_names(folder)


def _spellings(name: str) -> list[str]:
    """A name as written; with slashes, if it comes from Windows; and as other systems compose its accents."""
    spelt = [name, name.replace("\\", "/")]
    if not name.isascii():
        spelt += [unicodedata.normalize(form, spelt[-1]) for form in ("NFC", "NFD")]
    return list(dict.fromkeys(spelt))
