"""What every test gets: a fixed seed, no network, real data where it is to be had, and reasons for what is skipped."""

import gc
import os
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when transformers is imported; tests never reach for a network

import hypothesis
import numpy as np
import pytest
import torch

REAL_DATA = Path(os.environ.get("ITMA_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")

LONGEST = (
    "test_serve_page",
    "milvus",
    "test_onnx",
    "test_store",
    "test_model_checks",
    "test_plugins",
    "test_explain",
    "test_imports",
    "test_towers",
    "test_serve_fuzz",
    "test_wardrobe",
    "test_hub",
    "test_docs",
    "test_demo",
    "test_distributed",
    "test_catalogue_processes",
    "test_benchmark",
    "test_cache",
    "test_examples",
    "test_doctor",
    "s3",
)
"""Files that begin first, so that no process is left alone with a long one at the end."""

hypothesis.settings.register_profile("itma", deadline=None, derandomize=True, max_examples=15)
hypothesis.settings.register_profile("slow", deadline=None, derandomize=True, max_examples=100)

SERVERS = {"milvus": "tests/test_milvus.py", "s3": "tests/test_bucket.py"}
"""Each with the file that is all about it; of the store's tests, those need it that have its name in brackets."""

_running: dict[str, ExitStack] = {}
"""What ends the servers that run now."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("slow" if config.getoption("--slow") else "itma")
    torch.set_num_threads(min(torch.get_num_threads(), _cores()))
    # modules and tests that are loaded are no garbage; looking for it among them is a third of the start
    gc.set_threshold(100_000, 20, 100)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one file run in one process, and so do all that need one server."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    first = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(Path(group_of(item.nodeid)).stem, len(first)))
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow; runs with --slow"))
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device; there is none here"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Stop a server after the last test that needs it: one takes a third of a core while it waits."""
    yield
    group = group_of(item.nodeid)
    if group in _running and (nextitem is None or group_of(nextitem.nodeid) != group):
        _running.pop(group).close()


def group_of(nodeid: str) -> str:
    """Which tests stay together: those of a file, or of a server."""
    file, _, test = nodeid.partition("::")
    servers = [
        name for name, own in SERVERS.items() if file == own or (file == "tests/test_store.py" and f"[{name}" in test)
    ]
    return servers[0] if servers else file


def start(name: str, server: AbstractContextManager[str]) -> str:
    """Start a server, which ends after the last test that needs it, and return its address."""
    with ExitStack() as stack:
        address = stack.enter_context(server)
        _running[name] = stack.pop_all()
    return address


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests keep their images in a cache folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ITMA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def unexplained(request: pytest.FixtureRequest) -> Iterator[None]:
    """Trainings explain no queries in TensorBoard, which takes most of the time of a short one; with --slow they do."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.config.getoption("--slow"):
            patch.setattr("itma.api._EXPLANATIONS", 0)
        yield


@pytest.fixture(autouse=True)
def seed() -> int:
    """Every test begins with the same random state."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global state is what is to be fixed
    torch.manual_seed(0)
    return 0


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """The path of a part of the real data, as in `real_data("photos/images")`; skips the test where it is absent."""

    def part(name: str) -> Path:
        path = REAL_DATA / name
        if not path.exists():
            pytest.skip(f"real data {name!r} is not in {REAL_DATA}; name its folder in ITMA_REAL_DATA")
        return path

    return part


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`milvus://host:port` of a real server, started for the tests; without one they are skipped, with the reason."""
    pytest.importorskip("pymilvus", reason="the extra is not installed: pip install 'itma[milvus]'")
    pytest.importorskip("milvus", reason="no server for tests is installed: pip install milvus (Linux, x86-64)")
    from tests.milvus_server import running

    try:
        return start("milvus", running(tmp_path_factory.mktemp("milvus")))
    except TimeoutError as error:
        pytest.skip(f"the Milvus server for tests did not start on this machine: {error}")


@pytest.fixture(scope="session")
def bucket() -> str:
    """`s3://bucket` of a server that speaks S3, started for the tests; without one they are skipped by name."""
    pytest.importorskip("moto", reason="no S3 server for tests is installed: pip install 'moto[s3]' flask flask-cors")
    from tests.s3_server import running

    return start("s3", running())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
