"""Adding, replacing and deleting for somebody who holds a key; several processes may do so, each waits its turn."""

import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from itma.errors import BusyError, DataError, UnknownItemError
from itma.io import write_bytes
from itma.models.embedder import Embedder
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.rows import Item
from itma.server.config import ServeConfig
from itma.server.pictures import checked

T = TypeVar("T")


@dataclass(frozen=True)
class Given:
    """An item as somebody sent it."""

    id: str
    picture: bytes | None = None
    embedding: Sequence[float] | None = None
    fields: Mapping[str, Any] | None = None


class Changer:
    """Changes a catalogue; pictures that come with items are kept in a folder of the server's.

    Args:
        config: of the server.
        model: what embeds; absent where the catalogue has none.
    """

    def __init__(self, config: ServeConfig, model: Embedder | None) -> None:
        self._config, self._folder = config, config.uploads_folder
        self._catalogue = Catalogue.open(config.catalogue, model, without_model=model is None)
        self._lock = threading.Lock()

    def put(self, given: Sequence[Given], *, new: bool) -> None:
        """Add items, or put them in the place of those of the same ids; all or none.

        Raises:
            BusyError: others were writing all the time.
            ItemExistsError, DataError, PictureError, StorageError: see `Catalogue.add`.
        """
        kinds = self._catalogue.info().columns
        written: list[Path] = []
        try:
            items = []
            for one in given:
                path = None
                if one.picture is not None:
                    # the name is ours alone: no name of a request becomes a path
                    path = self._folder / f"{secrets.token_hex(16)}.{checked(one.picture, self._config)}"
                    write_bytes(path, one.picture)
                    written.append(path)
                embedding = None if one.embedding is None else np.asarray(one.embedding)
                fields = {name: _dated(value, kinds.get(name, "")) for name, value in (one.fields or {}).items()}
                if path is None and embedding is None and not new:
                    items.append(self._kept(one.id, fields))
                else:
                    items.append(Item(one.id, path, embedding, fields))
            with self._lock:
                before = [] if new else self._pictures([item.id for item in items])
                self._patiently(lambda: (self._catalogue.add if new else self._catalogue.replace)(items))
        except BaseException:
            _remove(written)
            raise
        self._tidy(before)

    def delete(self, ids: Sequence[str]) -> int:
        """Remove items, and their pictures where the server keeps them; how many there were."""
        with self._lock:
            before = self._pictures(ids)
            removed = self._patiently(lambda: self._catalogue.delete(ids))
        self._tidy(before)
        return removed

    def _kept(self, id: str, fields: Mapping[str, Any]) -> Item:
        """The item that is there with other metadata: its picture and its embedding stay."""
        there = self._catalogue.get(id)
        return Item(id, there.picture, there.embedding, fields)

    def _patiently(self, change: Callable[[], T]) -> T:
        end = time.monotonic() + self._config.lock_seconds
        pause = 0.01
        while True:
            try:
                return change()
            except BusyError:
                if time.monotonic() + pause > end:
                    raise
                time.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(0.2, pause * 2)

    def _pictures(self, ids: Sequence[str]) -> list[Path]:
        """Pictures of these items that are the server's own."""
        found = []
        for id in ids:
            try:
                path = Path(str(self._catalogue.get(id).picture or ""))
            except (UnknownItemError, DataError):
                continue
            if path.parent.resolve() == self._folder.resolve():
                found.append(path)
        return found

    def _tidy(self, paths: Sequence[Path]) -> None:
        _remove([path for path in paths if not self._catalogue.ids_of(path)])


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _dated(value: Any, kind: str) -> Any:
    """Dates and times come as texts in JSON."""
    if kind not in ("dates", "times") or not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise DataError(f"{value!r} is no date; write it as 2026-01-31 or 2026-01-31T12:00:00") from error
    return moment.date() if kind == "dates" else moment
