"""What a command does not need is not imported: imports are most of the time of a search."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import itma
from itma.allocation import choose_threads, cores
from tests import made_up

FOREIGN = {
    "transformers",
    "huggingface_hub",
    "tensorboard",
    "torch._dynamo",
    "onnxruntime",
    "fastapi",
    "pymilvus",
}
OWN = {
    "itma.training.loop",
    "itma.evaluation.evaluate",
    "itma.explanations",
    "itma.demo",
    "itma.server",
    "itma.data.synthetic",
}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, indexed by a tiny model in a folder."""
    home = tmp_path_factory.mktemp("startup")
    (home / "images").mkdir()
    made_up.photos(home / "images", ["a.png", "b.png", "c.png"])
    (home / "images" / "broken.png").unlink()
    made_up.model().save(home / "run")
    itma.index(home / "run", home / "images", home / "catalogue")
    return home / "catalogue"


def loaded(*arguments: str) -> set[str]:
    """The modules that a new process has after `itma ARGUMENTS`."""
    program = (
        "import sys; from itma.cli import cli; code = cli(sys.argv[1:], standalone_mode=False); "
        "print('LOADED', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(itma.__file__).parents[1],
    )
    return set(done.stdout.rpartition("LOADED")[2].split())


def test_the_modules_that_must_not_be_imported_exist() -> None:
    assert [name for name in OWN if importlib.util.find_spec(name) is None] == []  # else a rename would blind the tests


def test_a_search_imports_neither_training_nor_networks_that_it_does_not_use(catalogue: Path) -> None:
    image = str(catalogue.parent / "images" / "a.png")
    modules = loaded("search", str(catalogue), "--image", image, "--text", "make red cube", "-k", "1")
    assert {"torch", "lance", "itma.models.retriever"} <= modules  # a model of our own parts was opened
    assert not modules & (FOREIGN | OWN)


def test_what_a_training_imports_searches_in_no_catalogue() -> None:
    program = "import sys, itma.api, itma.training.loop, itma.explanations.explaining; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert "itma.training.loop" in modules
    assert not modules & {"lance", "itma.retrieval.catalogue", "itma.retrieval.ingest", "itma.retrieval.stores.lance"}


@pytest.mark.parametrize("words", [["--help"], ["search", "--help"], ["catalogue", "--help"], ["serve", "--help"]])
def test_help_imports_nothing_that_computes(words: list[str]) -> None:
    assert not loaded(*words) & (FOREIGN | OWN | {"torch", "numpy", "PIL", "pyarrow", "lance", "tokenizers"})


def test_a_command_does_not_search_all_that_it_loaded_for_garbage_when_it_ends() -> None:
    program = (
        "import atexit, gc; atexit.register(lambda: print('FROZEN', gc.get_freeze_count())); "
        "from itma.cli import cli; cli(['search', '--help'], standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout.rpartition("FROZEN ")[2]) > 1000


def test_one_query_takes_one_thread_and_everything_else_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    choose_threads(queries=1)
    assert os.environ.pop("OMP_NUM_THREADS") == "1"
    choose_threads()
    assert os.environ["OMP_NUM_THREADS"] == str(cores())


def test_threads_that_somebody_set_stay_unless_a_number_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    choose_threads(queries=1)
    assert os.environ["OMP_NUM_THREADS"] == "3"
    choose_threads(2)
    assert os.environ["OMP_NUM_THREADS"] == "2"
