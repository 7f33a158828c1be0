"""Writing that leaves no half-written file behind: a temporary name first, then a rename."""

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from itma.errors import DataError, StorageError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path` in one step.

    On any failure the temporary file is removed and what stood at `path` stays as it was. Nothing takes the place of a
    pipe or a device such as `/dev/stdout`: what was written goes into it.

    Raises:
        StorageError: the disk is full, or nothing can be written there.
    """
    path = Path(path)
    if is_stream(path):
        with TemporaryDirectory() as folder:
            yield Path(folder) / path.name
            try:
                # without waiting for somebody to read a pipe
                writing = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
                with (Path(folder) / path.name).open("rb") as file, os.fdopen(writing, "wb") as stream:
                    os.set_blocking(writing, True)
                    shutil.copyfileobj(file, stream)
            except OSError as error:
                raise to_storage_error(path, error) from error
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _discarding(draft, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(path)


@contextmanager
def new_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it is renamed to `path`.

    Args:
        path: must not exist yet, unless it is to be replaced.
        replace: put the new folder in the place of an old one, which is removed once the new one is complete.

    Raises:
        StorageError: `path` exists, the disk is full, or nothing can be written there.
    """
    path = Path(path)
    draft, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("tmp", "old"))
    with _discarding(draft, path):
        _discard(draft)
        draft.mkdir(parents=True)
        yield draft
        if replace and path.exists():
            path.rename(old)
            try:
                draft.rename(path)
            except OSError:
                old.rename(path)
                raise
            _discard(old)
        else:
            draft.rename(path)


@contextmanager
def _discarding(draft: Path, path: Path) -> Iterator[None]:
    """Remove the draft of what is to stand at `path` where that fails."""
    try:
        yield
    except BaseException as error:
        _discard(draft)
        if isinstance(error, OSError):
            raise to_storage_error(path, error) from error
        raise


def check_path(path: object, what: str) -> Path:
    """A path, refused where it is none.

    Args:
        path: what somebody gave as one.
        what: it is a path of, for the message.

    Raises:
        StorageError: it is neither a text nor a path.
    """
    if not isinstance(path, str | Path):
        raise StorageError(f"{path!r:.60} is a {type(path).__name__}; expected the path of {what}")
    return Path(path)


def check_writable(folder: str | Path) -> None:
    """Say before the work whether its results can be written to `folder`, which need not exist yet; makes nothing.

    Raises:
        StorageError: it cannot be written to, is a file, or no path at all.
    """
    folder = check_path(folder, "a folder").absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise to_storage_error(folder, OSError(errno.EEXIST, "a file is in its place"))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise to_storage_error(folder, OSError(errno.EACCES, "no permission"))


def free_folder(first: str | Path, mark: str = "-") -> Path:
    """The folder itself, or else the first of `first-2`, `first-3`, … that is not there."""
    folder, number = Path(first), 2
    while folder.exists():
        folder, number = Path(f"{first}{mark}{number}"), number + 1
    return folder


def is_stream(path: Path) -> bool:
    """Whether a pipe, a socket or a device is there: reading it may wait for ever, or never end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def refuse_stream(path: Path) -> None:
    """Refuse to read what is neither a file nor a folder, but for what a shell fills (`<(…)`, `/dev/stdin`).

    Raises:
        DataError: it is a pipe, a socket or a device.
    """
    if is_stream(path) and not str(path).startswith(("/dev/fd/", "/dev/stdin", "/proc/self/fd/")):
        raise DataError(f"{str(path)!r} is a pipe, a socket or a device, not a file; give a file")


def is_lfs_pointer(path: Path) -> bool:
    """Whether git-lfs left a pointer there, because it did not fetch the true file."""
    begins = b"version https://git-lfs"
    with path.open("rb") as file:
        return file.read(len(begins)) == begins


def file_sum(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    refuse_stream(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(text: str | bytes) -> Any:
    """What a JSON document holds; one that is nested too deep for the parser is none either.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as draft:
        draft.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    r"""Write `text` to `path` as UTF-8 with `\n` line ends, whole or not at all."""
    write_bytes(path, text.encode())


def write_with(path: str | Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, which then takes the place of `path`."""
    with replacing(path) as draft:
        write(draft)


def _discard(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        with suppress(OSError):  # what went wrong first is what the person must hear of
            draft.unlink(missing_ok=True)


_NO_ENTRY = "the folder cannot be written to; choose another folder or change its permissions"
_TAKEN = "something of that name is there already; choose another name or remove it first"
_ADVICE: dict[int | None, str] = {
    errno.ENOSPC: "the disk is full; free some space and try again",
    errno.ENXIO: "it is a pipe that nobody reads",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _NO_ENTRY),
    **dict.fromkeys((errno.EEXIST, errno.ENOTEMPTY), _TAKEN),
}


def to_storage_error(path: Path, error: OSError) -> StorageError:
    """An error of the operating system while writing to `path`, as a person can use it."""
    if isinstance(error, StorageError):
        return error
    advice = _ADVICE.get(error.errno) or error.strerror or str(error)
    return StorageError(f"could not write {str(path)!r}: {advice}. What was there before is untouched.")
