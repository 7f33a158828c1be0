"""All that a worker holds while it runs: the engine, the browser, the pools of threads, the memories."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import torch

from itma.data.images import Preprocess
from itma.errors import ItmaError
from itma.models.embedder import Embedder
from itma.models.retriever import Retriever
from itma.retrieval.catalogue import Catalogue
from itma.server.browsing import Browser
from itma.server.changing import Changer
from itma.server.config import Keys, ServeConfig, check
from itma.server.engine import Engine
from itma.server.memory import Memory
from itma.server.metrics import Metrics
from itma.server.pictures import Thumbnails
from itma.server.problems import overloaded, too_slow
from itma.server.suggestions import suggestions

log = logging.getLogger(__name__)

T = TypeVar("T")

_EXPLANATIONS = 8
"""Explanations that may be under way or wait: each takes seconds, so that more would only be given up."""
_LOOK_SECONDS = 0.3
"""How often a worker sees what others wrote."""


class Pool:
    """Threads for work that would hold up the event loop.

    Args:
        threads: how many.
        waiting: pieces of work that may be under way or wait; further ones are refused.
        seconds: after so long a result is given up.
        name: of the threads.

    Attributes:
        under_way: pieces of work that were begun or wait.
    """

    def __init__(self, threads: int, waiting: int, seconds: float, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"itma {name}")
        self._most, self._seconds, self.under_way = waiting, seconds, 0

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` gives.

        Raises:
            ProblemError: too much is waiting, or it took too long.
        """
        if self.under_way >= self._most:
            raise overloaded(f"{self._most} requests of this kind are waiting already")
        self.under_way += 1
        try:
            future = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        except BaseException:
            self.under_way -= 1
            raise
        future.add_done_callback(self._done)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(future)
        except TimeoutError:
            raise too_slow() from None

    def _done(self, future: "asyncio.Future[Any]") -> None:
        self.under_way -= 1
        if not future.cancelled():
            future.exception()  # looked at, so that nobody is told that it was not

    def close(self) -> None:
        """Finish what was begun."""
        self._threads.shutdown(wait=True)


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
        catalogue = Catalogue.open(config.catalogue, model or config.run, runtime=config.runtime)
        self.embeds = catalogue.info().fingerprint is not None
        self.model = catalogue.model if self.embeds else None
        self.suggestions = list(suggestions(catalogue)) if self.embeds else []
        self.explaining: Catalogue | None = None
        """What answers are explained by, beside the searches; absent where they cannot be, or are not to be."""
        if config.explain and isinstance(self.model, Retriever):
            self.explaining = Catalogue.open(config.catalogue, self.model)
        self.browser = Browser(config.catalogue)
        self.changer = Changer(config, self.model) if config.write else None
        self.metrics = Metrics()
        self.answers = Memory(config.cache_bytes)
        self.thumbnails = Thumbnails(2 * config.cache_bytes)
        self.engine = Engine(
            catalogue,
            self.metrics,
            batch=config.batch,
            milliseconds=config.batch_milliseconds,
            waiting=config.waiting,
            seconds=config.seconds,
        )
        threads = max(2, torch.get_num_threads())
        self.decoding = Pool(threads, config.waiting, config.seconds, "pictures")
        self.reading = Pool(2, 4 * config.waiting, config.seconds, "reading")
        self.writing = Pool(2, 32, config.seconds + config.lock_seconds, "writing")
        self.reckoning = Pool(1, min(_EXPLANATIONS, config.waiting), config.seconds, "explanations")
        self._looking: asyncio.Task[None] | None = None
        self.stopping = False

    @property
    def preprocess(self) -> Preprocess | None:
        """How a reference becomes pixels; absent where there is no model."""
        return None if self.model is None else self.model.preprocess

    async def start(self) -> None:
        """Begin to look for what others write."""
        self.metrics.items.set((await self.reading.run(self.browser.told))[1].items)
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

    async def look(self) -> None:
        """See what was written."""
        before = self.browser.stamp
        if await self.reading.run(self.browser.look) != before:
            told = await self.reading.run(self.browser.told)
            self.metrics.items.set(told[1].items)

    async def stop(self) -> None:
        """Finish what was accepted."""
        self.stopping = True
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        await asyncio.to_thread(self.engine.close, float(self.config.stop_seconds))
        for pool in (self.decoding, self.reading, self.writing, self.reckoning):
            await asyncio.to_thread(pool.close)

    def ready(self) -> bool:
        """Whether searches can be answered."""
        return not self.stopping and self.engine.alive and self.browser.ready()
