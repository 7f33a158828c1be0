"""Annotation files as people have them on disk: roots that are one level off, byte-order marks, Windows line ends."""

import codecs
import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from itma.errors import DataError
from itma.io import parse_json, refuse_stream

T = TypeVar("T")


def check_root(root: Path, data_set: str, expected: Sequence[str]) -> None:
    """Refuse a folder that does not hold a data set, and say which one near it does.

    Args:
        root: the folder that was given.
        data_set: how the message calls the data set.
        expected: names of files and folders that stand in the right folder, or paths relative to it.

    Raises:
        DataError: the folder does not exist, is a file, cannot be read, or lacks any of `expected`.
    """
    try:
        if not root.is_dir():
            what = "is a file" if root.exists() else "does not exist"
            raise DataError(f"{str(root)!r} {what}; give the folder of {data_set}, which holds {_list(expected)}")
        if _holds(root, expected):
            return
        inside = sorted(root.iterdir())
        whole = root.resolve()
        near = [*(path for path in inside if path.is_dir()), *whole.parents[:2]]
        right = next((path for path in near if _holds(path, expected)), None)
    except OSError as error:
        raise DataError(f"the folder {str(root)!r} cannot be read: {error.strerror}") from error
    contents = _list([path.name for path in inside]) if inside else "nothing"
    advice = f"give {str(right)!r} instead" if right else f"give the folder that holds {_list(expected)}"
    raise DataError(
        f"{str(root)!r} is not the folder of {data_set}: expected {_list(expected)} in it, found {contents}; {advice}"
    )


def _holds(folder: Path, expected: Sequence[str]) -> bool:
    try:
        return all((folder / name).exists() for name in expected)
    except OSError:  # a neighbour that may not be looked into is not the right folder
        return False


def _list(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def scan(folder: Path) -> list[str]:
    """The names in a folder, at one go; none where there is no such folder.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with os.scandir(folder) as inside:
            return [entry.name for entry in inside]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(
            f"the folder {str(folder)!r} cannot be read: {error.strerror}; change its permissions, or move it elsewhere"
        ) from error


def read_text(path: Path, way_out: str) -> str:
    r"""A text file, UTF-8 or by its byte-order mark UTF-16, with `\n` line ends and without such a mark.

    Args:
        path: the file.
        way_out: what the person is to do where it cannot be used, e.g. where to get it anew.

    Raises:
        DataError: the file is missing, cannot be read, or is not UTF-8.
    """
    refuse_stream(path)
    try:
        stored = path.read_bytes()
        plain = gzip.decompress(stored) if path.name.lower().endswith(".gz") else stored
        utf16 = plain.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # spreadsheets: “Unicode text”
        return plain.decode("utf-16" if utf16 else "utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError as error:
        raise DataError(f"the file {str(path)!r} does not exist; {way_out}") from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{str(path)!r} is no whole gzip file ({error}); {way_out}") from error
    except OSError as error:
        raise DataError(f"the file {str(path)!r} cannot be read: {error.strerror}; {way_out}") from error
    except UnicodeDecodeError as error:
        row = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise DataError(f"{str(path)!r}, line {row}: not UTF-8 text (byte {byte:#04x}); {way_out}") from error


def read_lines(path: Path, way_out: str) -> list[str]:
    """The lines of a text file without their ends, blank ones included.

    Only line feeds and carriage returns end a line: the other separators that Unicode knows may stand inside one.

    Raises:
        DataError: see `read_text`.
    """
    lines = read_text(path, way_out).split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def read_json_rows(path: Path, way_out: str) -> list[object]:
    """The rows of a JSON file that holds one list.

    Raises:
        DataError: see `read_text`; or the file is truncated, is not JSON, or holds something other than a list.
    """
    return _read_json(path, way_out, list, "a list of rows, [ … ]")


def read_json_object(path: Path, way_out: str) -> dict[str, object]:
    """The fields of a JSON file that holds one object.

    Raises:
        DataError: see `read_json_rows`.
    """
    return _read_json(path, way_out, dict, "an object, { … }")


def _read_json(path: Path, way_out: str, kind: type[T], expected: str) -> T:
    text = read_text(path, way_out)
    try:
        value = parse_json(text)
    except ValueError as error:
        raise DataError(
            f"{str(path)!r} is damaged or was cut off: {error} (it begins with {text[:30]!r}); {way_out}"
        ) from error
    if not isinstance(value, kind):
        raise DataError(f"{str(path)!r} holds {_kind(value)}; expected {expected}; {way_out}")
    return value


class FileRow:
    """One row of a file, for what is to be said of it.

    Args:
        path: the file.
        row: counted from 0.
        way_out: what the person is to do where it cannot be used.
    """

    def __init__(self, path: Path, row: int, way_out: str) -> None:
        self.path, self.index, self.way_out = path, row, way_out

    def error(self, problem: str) -> DataError:
        """What to raise for this row; the way out is added."""
        return row_error(self.path, self.index, f"{problem}; {self.way_out}")


def read_text_rows(path: Path, way_out: str) -> Iterator[tuple[str, FileRow]]:
    """The lines of a text file that are not blank, and what to raise for each.

    Raises:
        DataError: see `read_text`.
    """
    for number, line in enumerate(read_lines(path, way_out)):
        if line.strip():
            yield line, FileRow(path, number, way_out)


class JsonRow(FileRow):
    """One row of a JSON file, whose fields are taken by name and kind.

    Args:
        path, row, way_out: see `FileRow`.
        fields: what stands in the row.

    Raises:
        DataError: the row is no object; here and below the message names file and row.
    """

    def __init__(self, path: Path, row: int, fields: object, way_out: str) -> None:
        super().__init__(path, row, way_out)
        if not isinstance(fields, dict):
            raise self.error(f"it holds {_kind(fields)}; expected an object, {{ … }}")
        self._fields: dict[str, object] = fields

    def text(self, name: str) -> str:
        """A field that holds a text.

        Raises:
            DataError: it is missing, or holds something else; so below.
        """
        return self._take(name, str, "a text")

    def number(self, name: str) -> int:
        """A field that holds a whole number."""
        return self._take(name, int, "a whole number")

    def numbers(self, name: str) -> list[int]:
        """A field that holds a list of whole numbers, which is not empty."""
        return self._list(name, int, "whole numbers")

    def texts(self, name: str) -> list[str]:
        """A field that holds a list of texts, which is not empty."""
        return self._list(name, str, "texts")

    def items(self, name: str) -> list[object]:
        """A field that holds a list."""
        return self._take(name, list, "a list")

    def inner(self, name: str) -> "JsonRow":
        """A field that holds an object with fields of its own."""
        return JsonRow(self.path, self.index, self._take(name, dict, "an object"), self.way_out)

    def inners(self, name: str) -> list["JsonRow"]:
        """A field that holds a list of objects with fields of their own, which is not empty."""
        return [JsonRow(self.path, self.index, one, self.way_out) for one in self._list(name, dict, "objects")]

    def value(self, name: str) -> object:
        """A field, whatever it holds."""
        if name not in self._fields:
            raise self.error(f"{name!r} is missing, found {_list(list(self._fields)) or 'nothing'}")
        return self._fields[name]

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def _take(self, name: str, kind: type[T], expected: str) -> T:
        value = self.value(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(f"{name!r} is {short(value)}; expected {expected}")
        return value

    def _list(self, name: str, kind: type[T], expected: str) -> list[T]:
        expected = f"a list of {expected}, at least one"
        values = self._take(name, list, expected)
        if not values or not all(isinstance(one, kind) and not isinstance(one, bool) for one in values):
            raise self.error(f"{name!r} is {short(values)}; expected {expected}")
        return values


def read_rows(path: Path, way_out: str, *, key: str | None = None) -> Iterator[JsonRow]:
    """The rows of a JSON file that holds a list of objects.

    Args:
        path: the file.
        way_out: what the person is to do where it cannot be used.
        key: a field that holds another whole number in each row.

    Raises:
        DataError: see `read_json_rows` and `JsonRow`; or a key stands in two rows.
    """
    known: dict[int, int] = {}
    for index, fields in enumerate(read_json_rows(path, way_out)):
        row = JsonRow(path, index, fields, way_out)
        if key is not None and (first := known.setdefault(number := row.number(key), index)) != index:
            raise row.error(f"the {key} {number} also stands in row {first + 1:,}; expected another in each row")
        yield row


def stem(name: str) -> str:
    """An image's name without folder and ending, since some annotations write these and some do not.

    >>> stem("./dev/dev-1-0-img0.png"), stem("dev-1-0-img0")
    ('dev-1-0-img0', 'dev-1-0-img0')
    """
    return without_ending(name.replace("\\", "/").rpartition("/")[2])


def without_ending(name: str) -> str:
    """An image's name as it is, but for the ending of an image file.

    >>> without_ending("women/a/1.jpeg"), without_ending("css_test_000000.2d")
    ('women/a/1', 'css_test_000000.2d')
    """
    begin, dot, ending = name.rpartition(".")
    return begin if dot and ending.lower() in _ENDINGS else name


def find_images(root: Path) -> dict[str, Path]:
    """Every image file below a folder, by its stem; of several with one stem, the first by path."""
    paths: dict[str, Path] = {}
    for folder, inner, names in os.walk(root):
        inner.sort()
        for name in sorted(names):
            if name.rpartition(".")[2].lower() in _ENDINGS:
                paths.setdefault(stem(name), Path(folder) / name)
    return paths


def find_below(root: Path, homes: Sequence[str], relative_paths: Iterable[str]) -> list[Path]:
    """Where some files are, each in the first of the homes in a root that holds the folder its path begins with."""
    home_of: dict[str, Path] = {}
    paths = []
    for relative in relative_paths:
        inner = Path(relative)
        first = inner.parts[0] if len(inner.parts) > 1 else ""
        if first not in home_of:
            home_of[first] = next((root / home for home in homes if (root / home / first).is_dir()), root)
        paths.append(home_of[first] / inner)
    return paths


def is_name(value: object) -> bool:
    """Whether a value of an annotation file can be an image's name in one folder."""
    return isinstance(value, str) and value != "" and not {"/", "\\", "\0"} & set(value)


def is_inside(path: str) -> bool:
    """Whether a path from an annotation file names something below its root.

    >>> is_inside("./dev/a.png"), is_inside("../a.png"), is_inside("/a.png")
    (True, False, False)
    """
    inner = PurePosixPath(path.replace("\\", "/"))
    return bool(inner.parts) and not inner.is_absolute() and ".." not in inner.parts and "\0" not in path


_ENDINGS = ("jpg", "jpeg", "png", "webp", "gif")


def short(value: object) -> str:
    """A value as JSON, cut to a readable length."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def row_error(path: Path, row: int, problem: str) -> DataError:
    """What to raise for one row of a file.

    Args:
        path: the file.
        row: counted from 0 here, from 1 in the message.
        problem: what is wrong, what was expected, and the way out.
    """
    return DataError(f"{str(path)!r}, row {row + 1:,}: {problem}")


def _kind(value: object) -> str:
    names = {dict: "an object", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), "a list")
