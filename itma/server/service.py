"""All that a worker holds while it runs: the catalogue, the engine, the pools of threads, the memories."""

import asyncio
import logging
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any

from itma.errors import ItmaError
from itma.models.embedder import Embedder
from itma.models.retriever import Retriever
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.snapshot import Snapshot
from itma.server.browsing import Browser
from itma.server.changing import Changer
from itma.server.config import Keys, ServeConfig, check
from itma.server.decoding import Decoder
from itma.server.engine import Engine
from itma.server.images import Thumbnails
from itma.server.memory import Memory
from itma.server.metrics import Metrics
from itma.server.pool import Pool, T

log = logging.getLogger(__name__)

_EXPLANATIONS = 8
"""Explanations that may be under way or wait: each takes seconds, so that more would only be given up."""
_DECODERS = 8
"""Images that are decoded at once; each takes at most `decode_seconds`."""
_LOOK_SECONDS = 0.3
"""How often a worker sees what others wrote."""


def stop_parts(config: ServeConfig) -> tuple[int, float]:
    """`stop_seconds` in two: for requests that were accepted, then for threads that still work."""
    threads = min(5.0, config.stop_seconds / 3)
    return max(1, int(config.stop_seconds - threads)), threads


class Service:
    """What the routes stand on.

    Args:
        config: of the server.
        keys: who may do what.
        model: the model, where it is in memory already.
    """

    def __init__(self, config: ServeConfig, keys: Keys, model: Embedder | None = None) -> None:
        check(config, keys)
        self.config, self.keys = config, keys
        self.catalogue = Catalogue.open(config.catalogue, model or config.run, runtime=config.runtime)
        self.browser = Browser(self.catalogue)
        self.decoder = Decoder(pixels=config.upload_pixels, seconds=config.decode_seconds, memory=config.decode_bytes)
        self.changer = Changer(config, self.catalogue, self.decoder) if config.write else None
        self.metrics = Metrics()
        self.answers = Memory(config.cache_bytes)
        self.thumbnails = Thumbnails(2 * config.cache_bytes, self.decoder)
        self.engine = Engine(self.metrics, config)
        self.decoding = Pool(_DECODERS, config.waiting, config.seconds, "images")
        self.fetching = Pool(_DECODERS, config.waiting, config.seconds, "addresses")
        self.reading = Pool(2, 4 * config.waiting, config.seconds, "reading")
        self.writing = Pool(2, 32, config.seconds + config.lock_seconds, "writing")
        self.reckoning = Pool(1, min(_EXPLANATIONS, config.waiting), config.seconds, "explanations")
        self._looking: asyncio.Task[None] | None = None
        self.stopping = False

    @property
    def snapshot(self) -> Snapshot:
        """The state of the catalogue that a request which begins now is answered by, from begin to end."""
        return self.catalogue.snapshot

    def cached(self, key: Hashable) -> bytes | None:
        """An answer that was given before, if it is still there."""
        answer = self.answers.get(key)
        if answer is not None:
            self.metrics.cached.inc()
        return answer

    def explains(self, snapshot: Snapshot) -> bool:
        """Whether its answers can be explained, and are to be."""
        return self.config.explain and snapshot.has_model and isinstance(snapshot.model, Retriever)

    async def start(self) -> None:
        """Begin to look for what others write; remove uploads that a killed server has left."""
        await asyncio.to_thread(self.decoder.start)
        if self.changer is not None:
            await self.writing.run(self.changer.sweep)
        await self.look()
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.look()
            except ItmaError as error:  # it may be there again a moment later
                log.warning("the catalogue cannot be looked at: %s", error)
            except Exception:
                log.exception("a fault while looking at the catalogue")

    async def write(self, change: Callable[..., T], *arguments: Any) -> T:
        """Change the catalogue, and see it."""
        result = await self.writing.run(change, *arguments)
        await self.look()
        return result

    async def look(self) -> None:
        """See what was written."""
        await self.reading.run(self._refresh)

    def _refresh(self) -> None:
        self.catalogue.refresh()
        self.metrics.items.set(self.browser.summary().info.items)

    async def stop(self) -> None:
        """Finish what was accepted; what takes longer than its part of `stop_seconds` is given up."""
        end = time.monotonic() + stop_parts(self.config)[1]
        self.stopping = True
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        for part in (self.engine, self.decoding, self.fetching, self.reading, self.writing, self.reckoning):
            await asyncio.to_thread(part.close, max(0.1, end - time.monotonic()))

    def ready(self) -> bool:
        """Whether searches can be answered."""
        return not self.stopping and self.engine.alive and self.browser.ready()
