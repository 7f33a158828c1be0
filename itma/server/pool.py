"""Threads for work that would hold up the event loop, which never hold up the end of the process."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from itma.server.problems import overload_error, timeout_error

T = TypeVar("T")


async def wait_for(future: "asyncio.Future[T]", seconds: float) -> T:
    """What a future gives within so many seconds.

    Raises:
        ProblemError: it took too long.
    """
    try:
        async with asyncio.timeout(seconds):
            return await future
    except TimeoutError:
        raise timeout_error() from None


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
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._most, self._seconds, self.under_way = waiting, seconds, 0
        # daemons: what never ends does not keep the process from ending, as an executor's threads would
        self._threads = [
            threading.Thread(target=self._work, name=f"itma {name} {number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` gives.

        Raises:
            ProblemError: too much is waiting, or it took too long.
        """
        if self.under_way >= self._most:
            raise overload_error(f"{self._most} requests of this kind are waiting already")
        self.under_way += 1
        job: Future[T] = Future()
        future = asyncio.wrap_future(job)
        future.add_done_callback(self._done)
        self._jobs.put((job, lambda: work(*arguments)))
        return await wait_for(asyncio.shield(future), self._seconds)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, work = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

    def _done(self, future: "asyncio.Future[Any]") -> None:
        self.under_way -= 1
        if not future.cancelled():
            future.exception()  # looked at, so that nobody is told that it was not

    def close(self, seconds: float = 30.0) -> None:
        """Finish what was begun, for so long at most."""
        end = time.monotonic() + seconds
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
