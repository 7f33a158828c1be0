"""The model's thread: requests that arrive together are answered together, and the event loop never waits for it."""

import asyncio
import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from itma.errors import ItmaError
from itma.records import Hits
from itma.retrieval.request import SearchRequest
from itma.retrieval.snapshot import Snapshot
from itma.server.config import ServeConfig
from itma.server.metrics import Metrics
from itma.server.pool import wait_for
from itma.server.problems import overload_error, problem_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """The hits of one request."""

    hits: Hits
    stamp: str
    """The state of the catalogue that was searched."""
    ignored: Sequence[str] = ()
    """Words of the sentence that the model never saw and passes over."""
    read_as: Mapping[str, str] = field(default_factory=dict)
    """Words of the sentence that the model never saw → the words that it reads in their place."""


@dataclass(eq=False)
class _Job:
    request: SearchRequest
    snapshot: Snapshot
    answer: "Future[Answer]" = field(default_factory=Future)


class Engine:
    """Answers requests, as many at once as are there.

    Args:
        metrics: what is counted.
        config: of the server: its `batch`, `batch_milliseconds`, `waiting` and `seconds`.
    """

    def __init__(self, metrics: Metrics, config: ServeConfig) -> None:
        self._metrics, self._config = metrics, config
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._coming, self._closed = 0, False
        self._thread = threading.Thread(target=self._work, name="itma model", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether requests are answered."""
        return self._thread.is_alive() and not self._closed

    @contextmanager
    def coming(self) -> Iterator[None]:
        """A request is on its way: those that are ready may wait some milliseconds for it."""
        self._coming += 1  # only the event loop's thread counts
        try:
            yield
        finally:
            self._coming -= 1

    async def ask(self, request: SearchRequest, snapshot: Snapshot) -> Answer:
        """The answer to a request; cancelling this takes the request back, if the model has not begun with it.

        Args:
            request: what is asked; pixels in it are made for this snapshot's model.
            snapshot: what is searched.

        Raises:
            ProblemError: too many are waiting, or it took too long.
            ItmaError: see `Catalogue.search`.
        """
        if self._closed:
            raise overload_error("the server is stopping", 5)
        if self._jobs.qsize() >= self._config.waiting:
            raise overload_error(f"{self._config.waiting} searches are waiting already")
        job = _Job(request, snapshot)
        self._jobs.put(job)
        self._metrics.waiting.set(self._jobs.qsize())
        return await wait_for(asyncio.wrap_future(job.answer), self._config.seconds)

    def close(self, seconds: float = 30.0) -> None:
        """Answer what was accepted, then end the thread."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        self._thread.join(seconds)

    def _work(self) -> None:
        while (first := self._jobs.get()) is not None:
            jobs = [first]
            until = time.monotonic() + self._config.batch_milliseconds / 1000
            while len(jobs) < self._config.batch:
                try:
                    # those that are ready are taken at once; it waits only for those that are known to come
                    left = until - time.monotonic() if len(jobs) < self._coming else 0.0
                    job = self._jobs.get(timeout=left) if left > 0 else self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    self._jobs.put(None)  # it is the end when these are answered
                    break
                jobs.append(job)
            self._answer(jobs)

    def _answer(self, jobs: Sequence[_Job]) -> None:
        by_snapshot: dict[int, list[_Job]] = defaultdict(list)
        for job in jobs:
            if job.answer.set_running_or_notify_cancel():  # else whoever asked has hung up, or was answered "timeout"
                by_snapshot[id(job.snapshot)].append(job)
        self._metrics.waiting.set(self._jobs.qsize())
        if by_snapshot:
            self._metrics.batch.observe(sum(map(len, by_snapshot.values())))
        for some in by_snapshot.values():
            self._answer_by(some[0].snapshot, some)

    def _answer_by(self, snapshot: Snapshot, jobs: Sequence[_Job]) -> None:
        try:
            answers = snapshot.answer([job.request for job in jobs])
        except Exception as error:  # one fault shall not end the thread that all depend on
            answers = [error] * len(jobs)
        for job, answer in zip(jobs, answers, strict=True):
            try:
                if isinstance(answer, Exception):
                    raise answer
                unknown = _unknown_words(snapshot, job.request.text or "") if job.request.has_feedback else ()
                job.answer.set_result(Answer(answer, snapshot.stamp, *unknown))
            except Exception as error:
                if not isinstance(error, ItmaError):
                    log.exception("a fault while searching")
                job.answer.set_exception(error if isinstance(error, ItmaError) else problem_of(error))


def _unknown_words(snapshot: Snapshot, text: str) -> tuple[list[str], dict[str, str]]:
    """The first words of a sentence that the model never saw: what it passes over, and what it reads others as."""
    tokenizer = snapshot.model.tokenizer
    return list(dict.fromkeys(tokenizer.unknown(text)))[:20], dict(list(tokenizer.read_as(text).items())[:20])
