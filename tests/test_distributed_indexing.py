"""Indexing on a Ray cluster: the same catalogue as without, whoever dies on the way."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itma.errors import ConfigError, DataError, MissingExtraError, RunError, UnknownNameError
from itma.models.retriever import Retriever
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest import indexing
from itma.retrieval.ingest.embedding import MISSING, Image, Looked
from tests import made_up

pytest.importorskip("lance")

IMAGES = 600


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    made_up.model().save(folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of noise, and one file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    made_up.photos(folder, [f"{number:04d}.png" for number in range(IMAGES)])
    return folder


CLUSTER = """
import sys
from ray.cluster_utils import Cluster
node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
try:
    made.add_node(**node)
    made.wait_for_nodes()
    print(made.address, flush=True)
    sys.stdin.read()
finally:
    made.shutdown()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of two machines with a core each; both are processes of this machine."""
    pytest.importorskip("ray", reason="the extra is not installed: pip install 'itma[ray]'")
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": paths}
    command = [sys.executable, "-c", CLUSTER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def contents(catalogue: Catalogue) -> dict[str, np.ndarray]:
    return {name: np.asarray(catalogue.get(name).embedding) for name in catalogue.ids}


def assert_whole(catalogue: Catalogue, run: Path, photos: Path) -> None:
    """Every image is there once, with the model's embedding; what is broken is named."""
    assert catalogue.ids == [f"{number:04d}.png" for number in range(IMAGES)] and len(catalogue) == IMAGES
    assert [(each.id, each.reason) for each in catalogue.skipped] == [
        ("broken.png", "not an image in any format that Pillow reads, or empty")
    ]
    model = Retriever.load(run)
    some = [f"{number:04d}.png" for number in range(0, IMAGES, 37)]
    for name in some:
        expected = model.embed_images(model.preprocess.read(photos / name)[None])[0].numpy()
        assert np.abs(np.asarray(catalogue.get(name).embedding) - expected).max() < 1e-6


@pytest.mark.slow
def test_two_machines_make_the_catalogue_that_one_process_makes(
    cluster: str, run: Path, photos: Path, tmp_path: Path
) -> None:
    alone = Catalogue.build(run, photos, tmp_path / "alone")
    catalogue = Catalogue.build(run, photos, tmp_path / "made", engine="ray", address=cluster, batch=16)
    assert_whole(catalogue, run, photos)
    expected, actual = contents(alone), contents(catalogue)
    assert expected.keys() == actual.keys()
    assert max(np.abs(expected[name] - actual[name]).max() for name in expected) < 1e-6
    again = Catalogue.build(run, photos, tmp_path / "made", update=True, engine="ray", address=cluster)
    assert again.outcome is not None and (again.outcome.embedded, again.outcome.unchanged) == (0, IMAGES)


def watched(monkeypatch: pytest.MonkeyPatch, begin: Callable[[list[int]], None], after: Callable[[], None]) -> None:
    """Call `begin` with the workers' processes when the first images are embedded, and `after` after a hundred."""
    import ray

    from itma.retrieval import distributed

    pids: list[int] = []
    start, embed = distributed.RayWorkers._start, distributed.RayWorkers.embed

    def started(self: Any, number: int | None = None) -> list[Any]:
        new = start(self, number)
        pids.extend(ray.get([actor.__ray_call__.remote(lambda _: os.getpid()) for actor in new]) if not pids else [])
        return new

    def embedded(self: Any, *args: Any, **named: Any) -> Iterator[Looked]:
        for number, looked in enumerate(embed(self, *args, **named)):
            if number in (0, 100):
                begin(pids) if not number else after()
            yield looked

    monkeypatch.setattr(distributed.RayWorkers, "_start", started)
    monkeypatch.setattr(distributed.RayWorkers, "embed", embedded)
    monkeypatch.setattr(indexing, "COMMIT_ROWS", 32)


@pytest.mark.slow
def test_a_worker_that_is_killed_midway_costs_nothing(
    cluster: str, run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[int] = []

    def stop(pids: list[int]) -> None:
        assert len(pids) == 2
        stopped.append(pids[0])
        os.kill(pids[0], signal.SIGSTOP)  # so that it surely has images in hand when it dies

    watched(monkeypatch, stop, lambda: os.kill(stopped[0], signal.SIGKILL))
    catalogue = Catalogue.build(run, photos, tmp_path / "made", engine="ray", address=cluster, batch=16)
    assert stopped
    assert_whole(catalogue, run, photos)


@pytest.mark.slow
def test_an_indexing_that_is_killed_is_finished_by_the_same_call(
    cluster: str, run: Path, photos: Path, tmp_path: Path
) -> None:
    code = f"""
import sys
from pathlib import Path
from itma.retrieval.ingest import indexing
from itma.retrieval.catalogue import Catalogue
indexing.COMMIT_ROWS = 32
insert = indexing._Writer.commit
def commit(self):
    insert(self)
    print("committed", flush=True)
indexing._Writer.commit = commit
Catalogue.build({str(run)!r}, {str(photos)!r}, {str(tmp_path / "made")!r}, engine="ray", address={cluster!r}, batch=16)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline() == "committed\n"
        process.kill()
    there = len(Catalogue.open(tmp_path / "made"))
    assert 96 <= there < IMAGES
    catalogue = Catalogue.build(run, photos, tmp_path / "made", update=True, engine="ray", address=cluster, batch=16)
    assert catalogue.outcome is not None and catalogue.outcome.embedded == IMAGES - there
    assert_whole(catalogue, run, photos)


@pytest.mark.slow
def test_without_an_address_a_cluster_is_started_and_stopped(run: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra is not installed: pip install 'itma[ray]'")
    some = tmp_path / "some"
    some.mkdir()
    for number in range(20):
        (some / f"{number:04d}.png").write_bytes((photos / f"{number:04d}.png").read_bytes())
    # in a process of its own: Ray does not like to go from one cluster to another within one
    command = [sys.executable, "-m", "itma", "--quiet", "index", run, some, tmp_path / "made", "--engine", "ray"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert result.stdout.startswith("indexed 20 images into") and "not fork-safe" not in result.stderr
    assert len(Catalogue.open(tmp_path / "made")) == 20


@pytest.mark.slow
def test_a_model_that_workers_cannot_open_is_named(
    cluster: str, run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from itma.retrieval import distributed

    missing = tmp_path / "gone"
    with distributed.RayWorkers(partial(Retriever.load, missing), cluster) as workers:
        images = iter([Image("0000.png", photos / "0000.png")])
        with pytest.raises(RunError, match="gone"):
            list(workers.embed(images, batch=2, tokens=False))


@pytest.mark.slow
def test_no_cluster_at_the_address_is_said(run: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra is not installed: pip install 'itma[ray]'")
    with pytest.raises(ConfigError, match=r"no Ray cluster can be joined at '127\.0\.0\.1:9'.*ray start --head"):
        Catalogue.build(run, photos, tmp_path / "made", engine="ray", address="127.0.0.1:9")
    assert not (tmp_path / "made").exists()


# -- without a cluster ------------------------------------------------------------------------------------------------


def test_a_worker_that_does_not_see_the_images_stops_the_indexing(photos: Path) -> None:
    from itma.retrieval.distributed import _check_paths, _Parcel

    there, gone = Image("a", photos / "0000.png"), Image("b", photos / "none.png")
    _check_paths([Looked("b", problem=MISSING)], _Parcel([there, gone]))
    with pytest.raises(DataError, match=r"does not see the image '.*0000\.png', which is there"):
        _check_paths([Looked("a", problem=MISSING)], _Parcel([there, gone]))


def test_images_that_kill_worker_after_worker_are_named(photos: Path) -> None:
    from itma.retrieval.distributed import _DEATHS, _Parcel

    parcel = _Parcel([Image("a", photos / "0000.png"), Image("b", photos / "0001.png")])
    for _ in range(_DEATHS):
        parcel = parcel.after_death(RuntimeError("died"))
    with pytest.raises(DataError, match=r"6 workers died over the images 'a' to 'b'.*\(died\)"):
        parcel.after_death(RuntimeError("died"))


def test_without_ray_the_install_line_is_named(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'itma\[ray\]'"):
        Catalogue.build(run, photos, tmp_path / "made", engine="ray")
    assert not (tmp_path / "made").exists()


def test_what_cannot_be_spread_is_refused(run: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'rya'.*Did you mean 'ray'"):
        Catalogue.build(run, photos, tmp_path / "made", engine="rya")
    with pytest.raises(ConfigError, match="a model in memory cannot be sent"):
        Catalogue.build(made_up.model(), photos, tmp_path / "made", engine="ray")
    with pytest.raises(ConfigError, match="say so with engine='ray'"):
        Catalogue.build(run, photos, tmp_path / "made", address="127.0.0.1:6379")
    assert not (tmp_path / "made").exists()
