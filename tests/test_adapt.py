"""`itma adapt`: a catalogue's own model goes on learning from the table of its items."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from itma import api
from itma.adaptation import Adaptation, adapt
from itma.cli import cli
from itma.errors import CatalogueError, DataError, RunError
from itma.models.checkpoint import weights_sum
from itma.records import Report
from itma.retrieval.catalogue import Catalogue
from tests.shop_table import items, shop

SMALL = {"train.batch": "12", "train.warmup": "1", "train.evaluate_every": "2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop's table with its images, a run that never saw it, a catalogue by that run, and another run."""
    folder = tmp_path_factory.mktemp("made")
    shop(folder / "shop", items(), folders=["images"])
    for name, seed in (("run", "0"), ("other", "1")):
        changes = {"train.steps": "1", "train.evaluate_every": "1", "train.seed": seed}
        api.train("shapes", preset="tiny", changes=changes, out=folder / name)
    api.index(folder / "run", folder / "shop" / "images", folder / "catalogue")
    return folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A folder whose catalogue may be changed."""
    shutil.copytree(folder / "catalogue", tmp_path / "catalogue")
    return tmp_path


def call(folder: Path, *words: str) -> Result:
    small = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    command = ["--quiet", "adapt", str(folder / "catalogue"), str(folder / "shop"), "--steps", "2", *small, *words]
    return CliRunner().invoke(cli, command, catch_exceptions=False)


def searched_by(folder: Path) -> Path | None:
    return Catalogue.open(folder / "catalogue", without_model=True).run


def test_the_catalogue_s_model_is_trained_and_measured_before_and_after(folder: Path, tmp_path: Path) -> None:
    result = adapt(folder / "catalogue", folder / "shop", steps=2, out=tmp_path / "adapted", changes=SMALL)
    assert result.before.weights == weights_sum(folder / "run")
    assert result.after.weights == weights_sum(tmp_path / "adapted") != result.before.weights
    assert result.before.protocol == result.after.protocol and "products" in result.after.protocol
    plain = json.loads((tmp_path / "adapted" / "run.json").read_text())
    assert plain["made_with"]["started_from"]["sha256"] == result.before.weights
    assert plain["train"]["steps"] == 2
    assert json.loads((tmp_path / "adapted" / "before" / "report.json").read_text())["weights"] == result.before.weights
    assert searched_by(folder) == folder / "run"


def test_without_a_terminal_the_command_says_how_to_go_on(folder: Path, tmp_path: Path) -> None:
    result = call(folder, "--out", str(tmp_path / "adapted"))
    assert result.exit_code == 0, result.output
    assert f"itma reindex {folder / 'catalogue'} {tmp_path / 'adapted'}" in result.output
    assert "recall@1" in result.output and "before" in result.output
    assert searched_by(folder) == folder / "run"


def report(recall: float) -> Report:
    kinds = {"colour": {1: 1 - recall}}
    return Report("m", "products: x", 10, 20, {1: recall}, {}, 1.0, 0.5, 0, kinds, {"colour": 5})


def fake(monkeypatch: pytest.MonkeyPatch, run: Path, before: float, after: float) -> None:
    """Take a finished run for the training's result, so that only what follows is tested."""
    monkeypatch.setattr("itma.adaptation.adapt", lambda *_, **__: Adaptation(run, report(before), report(after)))


def test_yes_reindexes_with_the_new_model(folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, folder / "other", 0.2, 0.3)
    result = call(copy, "--yes")
    assert "is now searched by the model in" in result.output
    assert searched_by(copy) == folder / "other"


def test_yes_does_not_move_to_a_model_that_is_worse(folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, folder / "other", 0.3, 0.2)
    result = call(copy, "--yes")
    assert "the catalogue stays as it is" in result.output and "itma reindex" in result.output
    assert searched_by(copy) == folder / "run"


@pytest.mark.parametrize(("answer", "expected"), [(True, "other"), (False, "run")])
def test_at_a_terminal_the_command_asks(
    folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, answer: bool, expected: str
) -> None:
    fake(monkeypatch, folder / "other", 0.2, 0.3)
    monkeypatch.setattr(sys.modules["itma.cli.catalogue"], "at_a_terminal", lambda: True)
    monkeypatch.setattr("click.confirm", lambda _: answer)
    call(copy)
    assert searched_by(copy) == folder / expected


def test_what_was_forgotten_is_shown_by_kind_of_change() -> None:
    text = str(Adaptation(Path("run"), report(0.2), report(0.3)))
    assert text.splitlines()[2].split() == ["recall@1", "20.0%", "30.0%", "+10.0"]
    assert text.splitlines()[3].split() == ["recall@1,", "colour", "80.0%", "70.0%", "-10.0"]


def test_a_table_that_cannot_be_used_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        adapt(folder / "catalogue", folder / "none.csv", out=tmp_path / "adapted")
    assert not (tmp_path / "adapted").exists()


def test_a_folder_that_holds_a_run_is_refused_before_anything_is_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("itma.adaptation.evaluate", lambda *_, **__: pytest.fail("it was measured"))
    with pytest.raises(RunError, match="holds a run already"):
        adapt(folder / "catalogue", folder / "items.csv", out=folder / "run")


def test_a_catalogue_without_a_model_cannot_be_adapted(folder: Path, tmp_path: Path) -> None:
    Catalogue.open(folder / "catalogue").export(tmp_path / "e.parquet")
    Catalogue.from_embeddings(tmp_path / "e.parquet", tmp_path / "bare")
    with pytest.raises(CatalogueError, match="has no model"):
        adapt(tmp_path / "bare", folder / "shop", out=tmp_path / "adapted")
