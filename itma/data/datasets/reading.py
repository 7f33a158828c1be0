"""Annotation files as people have them on disk: roots that are one level off, byte-order marks, Windows line ends."""

import codecs
import gzip
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

from itma.errors import DataError


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
            raise DataError(f"{str(root)!r} {what}; give the folder of {data_set}, which holds {_listed(expected)}")
        if _holds(root, expected):
            return
        inside = sorted(root.iterdir())
        whole = root.resolve()
        near = [*(path for path in inside if path.is_dir()), *whole.parents[:2]]
        right = next((path for path in near if _holds(path, expected)), None)
    except OSError as error:
        raise DataError(f"the folder {str(root)!r} cannot be read: {error.strerror}") from error
    found = _listed([path.name for path in inside]) if inside else "nothing"
    advice = f"give {str(right)!r} instead" if right else f"give the folder that holds {_listed(expected)}"
    raise DataError(
        f"{str(root)!r} is not the folder of {data_set}: expected {_listed(expected)} in it, found {found}; {advice}"
    )


def _holds(folder: Path, expected: Sequence[str]) -> bool:
    try:
        return all((folder / name).exists() for name in expected)
    except OSError:  # a neighbour that may not be looked into is not the right folder
        return False


def _listed(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def read_text(path: Path, way_out: str) -> str:
    r"""A text file, UTF-8 or by its byte-order mark UTF-16, with `\n` line ends and without such a mark.

    Args:
        path: the file.
        way_out: what the person is to do where it cannot be used, e.g. where to get it anew.

    Raises:
        DataError: the file is missing, cannot be read, or is not UTF-8.
    """
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
    text = read_text(path, way_out)
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{str(path)!r} is damaged or was cut off: {error} (it begins with {text[:30]!r}); {way_out}"
        ) from error
    if not isinstance(rows, list):
        raise DataError(f"{str(path)!r} holds {_kind(rows)}; expected a list of rows, [ … ]; {way_out}")
    return rows


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
