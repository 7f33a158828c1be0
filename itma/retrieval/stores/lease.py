"""One writer at a time where no file can be locked: a token that shows signs of life, and says who put it there.

Who wants to write puts a token, then looks which others are there, and takes its own back where another lives: of two
that come at once at least one sees the other. The holder renews the time in its token every few seconds. A token
without a sign of life is removed by the next who comes: at once where its process is known to be gone, or else after a
minute, by the clocks of the machines, which must agree within half a minute.
"""

import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from itma.errors import BusyError, CatalogueError

SILENT = 60.0
"""Seconds without a sign of life after which a token counts no more."""
_EVERY = 10.0


class Tokens(Protocol):
    """Where the tokens of one catalogue's writers are; all of it seen at once by everybody."""

    @property
    def place(self) -> str:
        """Of the catalogue, for messages."""
        ...

    def all(self) -> list[str]:
        """The names of the tokens."""
        ...

    def put(self, others: Sequence[str], sign: str, text: str) -> str:
        """A new token; raises CatalogueError where another of its name was put at the same moment.

        Args:
            others: the tokens there were just before.
            sign: nobody else's.
            text: who puts it.

        Returns:
            Its name.
        """
        ...

    def read(self, name: str) -> str | None:
        """Who put it; absent where it is gone."""
        ...

    def renew(self, name: str, sign: str, text: str) -> None:
        """Write another text into it."""
        ...

    def is_there(self, name: str, sign: str) -> bool:
        """Whether it is there, and still the same."""
        ...

    def remove(self, name: str) -> None:
        """Take it away."""
        ...


class Lease:
    """The writer's lock of one catalogue."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._mine: tuple[str, str] | None = None

    @contextmanager
    def held(self, what: str) -> Iterator[None]:
        """Hold it; see `itma.retrieval.stores.base.Store.writing`."""
        name, sign, about = self._taken(what)
        over = threading.Event()
        told = (name, sign, about, over)
        beating = threading.Thread(target=self._beat, args=told, name="itma writer's lock", daemon=True)
        beating.start()
        try:
            yield
        finally:
            over.set()
            beating.join()
            self._mine = None
            with suppress(CatalogueError):  # where it cannot be reached it ends by its silence
                self._tokens.remove(name)

    def check(self) -> None:
        """Whether it is still held, where it was taken; asked before a commit.

        Raises:
            CatalogueError: another process has taken it over.
        """
        if self._mine is not None and not self._tokens.is_there(*self._mine):
            raise CatalogueError(
                f"the catalogue {self._tokens.place!r} was taken over by another writer, as this one had shown no sign "
                f"of life for {SILENT:.0f} seconds; nothing of the last step was kept, run it again"
            )

    def _taken(self, what: str) -> tuple[str, str, dict[str, Any]]:
        before = self._tokens.all()
        self._refuse(before)
        sign = secrets.token_hex(8)
        about = {"process": os.getpid(), "machine": platform.node(), "where": _where(), "what": what, "since": _now()}
        try:
            name = self._tokens.put(before, sign, json.dumps({**about, "beat": time.time()}))
        except CatalogueError:
            self._refuse(self._tokens.all())  # somebody was faster: say who
            raise
        others = [other for other in self._tokens.all() if other != name]
        try:
            self._refuse(others)
        except CatalogueError:
            self._tokens.remove(name)
            raise
        for other in others:
            self._tokens.remove(other)
        self._mine = (name, sign)
        return name, sign, about

    def _refuse(self, names: Sequence[str]) -> None:
        for name in names:
            text = self._tokens.read(name)
            about = None if text is None else json.loads(text)
            if about is not None and _alive(about):
                raise BusyError(
                    f"the catalogue {self._tokens.place!r} is being written by process {about['process']} on "
                    f"{about['machine']} ({about['what']}, since {about['since']}); wait until it is done, or stop it "
                    f"(a process that was killed elsewhere counts as writing for {SILENT:.0f} seconds)"
                )

    def _beat(self, name: str, sign: str, about: dict[str, Any], over: threading.Event) -> None:
        while not over.wait(_EVERY):
            with suppress(CatalogueError):  # it is tried again, and `check` tells whether the lock was lost
                if self._tokens.is_there(name, sign):
                    self._tokens.renew(name, sign, json.dumps({**about, "beat": time.time()}))


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
