"""Adding, replacing and deleting for somebody who holds a key; several processes may do so, each waits its turn."""

import logging
import random
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from itma.errors import BusyError, DataError, ItmaError
from itma.io import write_bytes
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.rows import Item
from itma.retrieval.ingest.writing import Writer
from itma.retrieval.stores.base import metadata_of
from itma.retrieval.stores.conditions import SHOWN, kind_of
from itma.server.config import ServeConfig
from itma.server.decoding import Decoder
from itma.server.problems import timeout_error

log = logging.getLogger(__name__)

_UPLOAD = re.compile(r"[0-9a-f]{32}\.[a-z]{3,4}")
"""The names of files that were sent."""


class Changer:
    """Changes a catalogue; images that come with items are kept in a folder of the server's.

    Args:
        config: of the server.
        catalogue: what is changed.
        decoder: looks at the images first.
    """

    def __init__(self, config: ServeConfig, catalogue: Catalogue, decoder: Decoder) -> None:
        self._config, self._folder = config, config.uploads_folder
        self._catalogue, self._decoder = catalogue, decoder

    def put(self, items: Sequence[Item], *, new: bool) -> None:
        """Add items, whose images are bytes, or put them in the place of those of the same ids; all or none.

        All is read and written under one lock: an image that is replaced and metadata that is replaced at the same time
        do not undo one another.

        Raises:
            BusyError: others were writing all the time.
            UnknownItemError: an item that is to have other metadata is not there.
            ItemExistsError, DataError, ImageError, StorageError: see `Catalogue.add`.
            ProblemError: the images take too long to decode.
        """
        end, files = time.monotonic() + self._config.seconds, {}
        for item in items:
            if not isinstance(item.image, bytes):
                continue
            if time.monotonic() > end:  # its sender was told that it takes too long: nothing of it may be written
                raise timeout_error()
            # the name is ours alone: no name of a request becomes a path
            files[item.id] = self._folder / f"{secrets.token_hex(16)}.{self._decoder.ending(item.image)}"
        with self._writing("adding items" if new else "replacing items") as writer:
            kinds = {name: SHOWN[kind_of(kind)] for name, kind in metadata_of(writer.table.schema).items()}
            changed = [item.id for item in items if item.id in files or item.embedding is not None]
            before = [] if new else writer.images_of(changed)
            rows = []
            for item in items:
                fields = {name: _to_date(value, kinds.get(name, "")) for name, value in item.fields.items()}
                rows.append(replace(item, image=files.get(item.id), fields=fields))
            try:
                for item in items:
                    if isinstance(item.image, bytes):
                        write_bytes(files[item.id], item.image)
                writer.put(rows, new=new, keep=not new)
            finally:
                self._tidy(writer, [*files.values(), *before])

    def delete(self, ids: Sequence[str]) -> int:
        """Remove items, and their images where the server keeps them; how many there were."""
        with self._writing("deleting items") as writer:
            before = writer.images_of(ids)
            removed = writer.delete(ids)
            self._tidy(writer, before)
            return removed

    def sweep(self) -> None:
        """Remove uploads that belong to no item: a server that was killed has left them."""
        if not self._folder.is_dir():
            return
        try:
            with self._catalogue.writing("removing uploads without an item") as writer:
                self._tidy(writer, [path for path in self._folder.iterdir() if _UPLOAD.fullmatch(path.name)])
        except ItmaError as error:  # somebody else writes: the next start finds them
            log.warning("uploads without an item were not looked for: %s", error)

    @contextmanager
    def _writing(self, what: str) -> Iterator[Writer]:
        """As `Catalogue.writing`, after waiting for others for a while."""
        end = time.monotonic() + self._config.lock_seconds
        pause = 0.01
        with ExitStack() as stack:
            while True:
                try:
                    writer = stack.enter_context(self._catalogue.writing(what))
                    break
                except BusyError:
                    if time.monotonic() + pause > end:
                        raise
                    time.sleep(pause * random.uniform(0.5, 1.5))
                    pause = min(0.2, pause * 2)
            yield writer

    def _tidy(self, writer: Writer, paths: Sequence[Path]) -> None:
        """Remove those of some files that are the server's own and no item's image; a failure undoes nothing."""
        own = [path for path in paths if path.parent.resolve() == self._folder.resolve()]
        try:
            for path in writer.find_unused(own):
                path.unlink(missing_ok=True)
        except (OSError, ItmaError) as error:
            log.warning("uploads without an item could not be removed: %s", error)


def _to_date(value: Any, kind: str) -> Any:
    """Dates and times come as texts in JSON."""
    if kind not in ("dates", "times") or not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise DataError(f"{value!r} is no date; write it as 2026-01-31 or 2026-01-31T12:00:00") from error
    return moment.date() if kind == "dates" else moment
