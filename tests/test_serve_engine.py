"""When many ask at once: questions are taken together, too many are refused, a stop finishes what began."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra is not installed: pip install 'itma[serve]'")

from itma.records import Hit, Hits
from itma.retrieval.request import SearchRequest
from itma.server.config import ServeConfig
from itma.server.engine import Engine
from itma.server.memory import Memory
from itma.server.metrics import Metrics
from itma.server.pool import Pool
from itma.server.problems import ProblemError


class Slow:
    """Stands for a catalogue whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.stamp = "items-1-1"

    def answer(self, requests: Sequence[SearchRequest]) -> list[Any]:
        self.batches.append(len(requests))
        self.begun.set()
        assert self.go.wait(30)
        return [Hits([Hit(1, str(request.k), 1.0, "")]) for request in requests]


class _OneSnapshot(Engine):
    """An engine whose questions all go to one snapshot."""

    def __init__(self, snapshot: Any, **settings: Any) -> None:
        super().__init__(Metrics(), ServeConfig("catalogue", **settings))
        self._snapshot = snapshot

    async def ask(self, request: SearchRequest, snapshot: Any = None) -> Any:
        return await super().ask(request, snapshot or self._snapshot)


def make_engine(catalogue: Any, **settings: Any) -> Engine:
    return _OneSnapshot(
        catalogue, **{"batch": 8, "batch_milliseconds": 0.0, "waiting": 100, "seconds": 30.0, **settings}
    )


async def begun(catalogue: Slow) -> None:
    while not catalogue.begun.is_set():
        await asyncio.sleep(0.001)


def test_questions_that_wait_are_answered_together_each_with_its_own() -> None:
    catalogue = Slow()
    engine = make_engine(catalogue)

    async def story() -> list[str]:
        first = asyncio.create_task(engine.ask(SearchRequest(text="a", k=1, id="x")))
        await begun(catalogue)
        others = [asyncio.create_task(engine.ask(SearchRequest(id="x", k=k))) for k in range(2, 12)]
        await asyncio.sleep(0)
        catalogue.go.set()
        return [(await task).hits[0].id for task in (first, *others)]

    catalogue.model = _Model()  # type: ignore[attr-defined]
    assert asyncio.run(story()) == [str(k) for k in range(1, 12)]
    assert catalogue.batches == [1, 8, 2]
    engine.close()


class _Model:
    class tokenizer:
        @staticmethod
        def unknown(text: str) -> list[str]:
            return []

        @staticmethod
        def read_as(text: str) -> dict[str, str]:
            return {}


def test_those_that_are_ready_wait_for_one_that_is_known_to_come() -> None:
    catalogue = Slow()
    catalogue.go.set()
    engine = make_engine(catalogue, batch_milliseconds=5_000.0)

    async def story() -> None:
        with engine.coming(), engine.coming():
            first = asyncio.create_task(engine.ask(SearchRequest(id="x")))
            await asyncio.sleep(0.05)
            assert catalogue.batches == []
            await asyncio.gather(first, engine.ask(SearchRequest(id="y")))

    asyncio.run(story())
    assert catalogue.batches == [2]
    engine.close()


def test_one_alone_does_not_wait() -> None:
    catalogue = Slow()
    catalogue.go.set()
    engine = make_engine(catalogue, batch_milliseconds=60_000.0)

    async def story() -> None:
        with engine.coming():
            await engine.ask(SearchRequest(id="x"))

    asyncio.run(story())  # would take a minute
    engine.close()


def test_more_than_may_wait_are_refused_and_told_when_to_come_again() -> None:
    catalogue = Slow()
    engine = make_engine(catalogue, waiting=2)

    async def story() -> ProblemError:
        tasks = [asyncio.create_task(engine.ask(SearchRequest(id="x")))]
        await begun(catalogue)
        tasks += [asyncio.create_task(engine.ask(SearchRequest(id="x"))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ProblemError) as refused:
            await engine.ask(SearchRequest(id="x"))
        catalogue.go.set()
        await asyncio.gather(*tasks)
        return refused.value

    problem = asyncio.run(story())
    assert (problem.status, problem.code, problem.headers["Retry-After"]) == (503, "overloaded", "1")
    engine.close()


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    catalogue = Slow()
    engine = make_engine(catalogue, seconds=0.05)

    async def story() -> None:
        with pytest.raises(ProblemError) as refused:
            await engine.ask(SearchRequest(id="x"))
        assert (refused.value.status, refused.value.code) == (503, "timeout")
        catalogue.go.set()

    asyncio.run(story())
    engine.close()


def test_a_question_that_nobody_waits_for_any_more_is_not_answered() -> None:
    catalogue = Slow()
    engine = make_engine(catalogue)

    async def story() -> None:
        first = asyncio.create_task(engine.ask(SearchRequest(id="x")))
        await begun(catalogue)
        gone = asyncio.create_task(engine.ask(SearchRequest(id="y")))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        last = asyncio.create_task(engine.ask(SearchRequest(id="z")))
        await asyncio.sleep(0)
        catalogue.go.set()
        await asyncio.gather(first, last)

    asyncio.run(story())
    assert catalogue.batches == [1, 1]
    engine.close()


def test_a_stop_answers_what_was_accepted_and_nothing_more() -> None:
    catalogue = Slow()
    engine = make_engine(catalogue)

    async def story() -> None:
        tasks = [asyncio.create_task(engine.ask(SearchRequest(id="x", k=k))) for k in range(1, 6)]
        await begun(catalogue)
        closing = asyncio.create_task(asyncio.to_thread(engine.close))
        while engine.alive:
            await asyncio.sleep(0.001)
        with pytest.raises(ProblemError, match="stopping"):
            await engine.ask(SearchRequest(id="x"))
        catalogue.go.set()
        assert [(await task).hits[0].id for task in tasks] == ["1", "2", "3", "4", "5"]
        await closing

    asyncio.run(story())


def test_a_fault_while_searching_ends_no_thread() -> None:
    class Broken(Slow):
        def answer(self, questions: Sequence[SearchRequest]) -> list[Any]:
            if questions[0].k == 13:
                raise RuntimeError("a fault")
            return super().answer(questions)

    catalogue = Broken()
    catalogue.go.set()
    engine = make_engine(catalogue)

    async def story() -> None:
        with pytest.raises(ProblemError) as refused:
            await engine.ask(SearchRequest(id="x", k=13))
        assert refused.value.status == 500
        assert (await engine.ask(SearchRequest(id="x", k=2))).hits[0].id == "2"

    asyncio.run(story())
    engine.close()


def test_a_pool_refuses_what_is_too_much_and_counts_what_is_done() -> None:
    pool = Pool(1, 2, 30.0, "test")
    go = threading.Event()

    async def story() -> None:
        tasks = [asyncio.create_task(pool.run(go.wait, 30)) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(ProblemError, match="waiting already"):
            await pool.run(go.wait, 30)
        go.set()
        await asyncio.gather(*tasks)
        assert await pool.run(lambda: 5) == 5

    asyncio.run(story())
    pool.close()


def test_the_event_loop_is_free_while_the_model_works() -> None:
    catalogue = Slow()
    engine = make_engine(catalogue)

    async def story() -> int:
        task = asyncio.create_task(engine.ask(SearchRequest(id="x")))
        await begun(catalogue)
        turns = 0
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            await asyncio.sleep(0)
            turns += 1
        catalogue.go.set()
        await task
        return turns

    assert asyncio.run(story()) > 20
    engine.close()


def test_memory_holds_the_latest_up_to_its_size() -> None:
    memory = Memory(100)
    for number in range(50):
        memory.put(number, bytes(10))
        memory.get(0)
    assert memory.get(0) is not None
    assert [number for number in range(1, 50) if memory.get(number)] == list(range(41, 50))
    memory.put("large", bytes(101))
    assert memory.get("large") is None


def test_memory_keeps_nothing_where_there_is_none_for_it() -> None:
    memory = Memory(0)
    memory.put("a", b"1")
    assert memory.get("a") is None


def test_file_of_settings_travels_to_workers_without_keys(tmp_path: Path) -> None:
    from itma.server.config import ServeConfig

    config = ServeConfig(str(tmp_path), hosts=("a", "b"), workers=3)
    assert ServeConfig.from_json(config.to_json()) == config
    assert "key" not in config.to_json()
