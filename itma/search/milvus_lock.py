"""One writer at a time on a server: a lock that shows signs of life, and says who holds it.

The lock is a collection: the server makes one of a name and a description only once. Whoever holds it renews its time
every few seconds. A lock without a sign of life is taken over: at once where its process is known to be gone, or else
after a minute, by the clocks of the machines, which must agree within half a minute.
"""

import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itma.errors import BusyError, CatalogueError

if TYPE_CHECKING:
    from itma.search.milvus import MilvusStore

SILENT = 60.0
"""Seconds without a sign of life after which a lock is taken over."""
_EVERY = 10.0


class MilvusLock:
    """The writer's lock of one catalogue."""

    def __init__(self, store: "MilvusStore") -> None:
        self._store = store
        self._mine: tuple[str, str] | None = None

    @contextmanager
    def held(self, what: str) -> Iterator[None]:
        """Hold it; see `itma.search.store.Store.writing`."""
        lock, about = self._taken(what)
        over = threading.Event()
        beating = threading.Thread(target=self._beat, args=(lock, about, over), name="itma writer's lock", daemon=True)
        beating.start()
        try:
            yield
        finally:
            over.set()
            beating.join()
            self._mine = None
            with suppress(CatalogueError):  # a server that is gone frees it later by itself
                self._store.drop_collection(lock)

    def check(self) -> None:
        """Whether it is still held, where it was taken; asked before a commit is named the newest.

        Raises:
            CatalogueError: another process has taken it over.
        """
        if self._mine is None:
            return
        lock, sign = self._mine
        found = self._store.described(lock)
        if found is None or found["description"] != sign:
            raise CatalogueError(
                f"the catalogue {self._store.place!r} was taken over by another writer, as this one had shown no sign "
                f"of life for {SILENT:.0f} seconds; nothing of the last step was kept, run it again"
            )

    def _taken(self, what: str) -> tuple[str, dict[str, Any]]:
        before = self._all()
        self._refuse(before)
        numbers = [int(name.rpartition("_")[2]) for name in before]
        lock, sign = f"{self._store.name}__lock_{max(numbers, default=0) + 1}", secrets.token_hex(8)
        about = {"process": os.getpid(), "machine": platform.node(), "where": _where(), "what": what, "since": _now()}
        try:
            self._store.make_note(lock, {"holder": json.dumps({**about, "beat": time.time()})}, sign)
        except CatalogueError:
            self._refuse(self._all())  # somebody was faster: say who
            raise
        others = [name for name in self._all() if name != lock]
        try:
            self._refuse(others)
        except CatalogueError:
            self._store.drop_collection(lock)
            raise
        for name in others:
            self._store.drop_collection(name)
        self._mine = (lock, sign)
        return lock, about

    def _all(self) -> list[str]:
        first = f"{self._store.name}__lock_"
        return [name for name in self._store.collections() if name.startswith(first)]

    def _refuse(self, locks: list[str]) -> None:
        for name in locks:
            holder = self._store.properties(name).get("holder")
            about = None if holder is None else json.loads(holder)
            if about is not None and _alive(about):
                raise BusyError(
                    f"the catalogue {self._store.place!r} is being written by process {about['process']} on "
                    f"{about['machine']} ({about['what']}, since {about['since']}); wait until it is done, or stop it "
                    f"(a process that was killed elsewhere counts as writing for {SILENT:.0f} seconds)"
                )

    def _beat(self, lock: str, about: dict[str, Any], over: threading.Event) -> None:
        while not over.wait(_EVERY):
            with suppress(CatalogueError):  # it is tried again, and `check` tells whether the lock was lost
                self._store.set_properties(lock, {"holder": json.dumps({**about, "beat": time.time()})})


def _alive(about: dict[str, Any]) -> bool:
    if time.time() - about["beat"] > SILENT:
        return False
    if about["where"] and about["where"] == _where():
        try:
            os.kill(about["process"], 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass
    return True


def _where() -> str:
    """A sign of the machine and its processes' numbers; empty where there is none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
