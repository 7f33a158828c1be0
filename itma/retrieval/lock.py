"""One writer at a time: a lock that ends with the process that holds it, and says who that is."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from itma.errors import BusyError
from itma.io import parse_json, to_storage_error

NAME = "writer.lock"


@dataclass(frozen=True)
class WriterLock:
    """A lock that is held."""

    path: Path
    file: IO[str]

    def check(self) -> None:
        """Refuse to go on once the lock's file was removed or replaced: somebody else may hold the new one by now.

        Raises:
            BusyError: that is so.
        """
        if not self.is_there():
            raise BusyError(
                f"{str(self.path)!r} was removed while this process was writing, and so it writes no more; what it "
                "committed before stays. Do the rest by the same command again, and leave that file alone"
            )

    def is_there(self) -> bool:
        """Whether the path still leads to the file that is locked."""
        try:
            return os.path.samestat(os.fstat(self.file.fileno()), self.path.stat())
        except OSError:
            return False


@contextmanager
def writing(folder: Path, what: str) -> Iterator[WriterLock]:
    """Hold the folder's lock.

    The lock belongs to the open file, not to what stands in it: whoever is killed lets go of it at once, and a file
    that is left behind locks nobody out. On network drives it works as well as their locks do.

    Args:
        folder: whose lock.
        what: what is being done, for the message that others get.

    Raises:
        BusyError: another process, or another thread of this one, is writing.
        StorageError: the folder cannot be written to.
    """
    lock = _lock(folder)
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    with lock.file as file:
        about = {"process": os.getpid(), "machine": platform.node(), "what": what, "since": since}
        with suppress(OSError):  # a full disk shall not keep anybody from deleting
            file.seek(0)
            file.truncate()
            file.write(json.dumps(about))
            file.flush()
        try:
            yield lock
        finally:
            with suppress(OSError):
                file.truncate(0)


def _lock(folder: Path) -> WriterLock:
    """The lock, of the file that stands at the path now: between opening and locking it may have been replaced."""
    while True:
        try:
            lock = WriterLock(folder / NAME, (folder / NAME).open("a+", encoding="utf-8"))
        except OSError as error:
            raise to_storage_error(folder, error) from error
        try:
            if not _take(lock.file):
                raise BusyError(f"the catalogue {str(folder)!r} is being written by {_holder(lock.file)}")
            if lock.is_there():
                return lock
        except BaseException:
            lock.file.close()
            raise
        lock.file.close()


def _take(file: IO[str]) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(2**30)  # beyond what stands in the file, so that others can read who holds it
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        about = parse_json(file.read())
        return (
            f"process {about['process']} on {about['machine']} ({about['what']}, since {about['since']}); wait until "
            "it is done, or stop it"
        )
    except (ValueError, KeyError, TypeError):  # it has just begun, or has just ended
        return "another process; wait a moment and try again"
