"""What a run says of its data and its checkpoint, and how it is begun, extended and measured."""

import json
import os
from pathlib import Path

import pytest

from itma import api
from itma.data.triplets import Triplets
from itma.errors import ConfigError, RunError, StorageError, UnwrittenReportError
from itma.models.provenance import how_chosen
from itma.training.presets import PRESETS
from tests.made_up import triplets

STEPS = {"train.steps": "2", "train.evaluate_every": "2"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return api.train("shapes", preset="tiny", changes=STEPS, out=tmp_path_factory.mktemp("runs") / "run")


def test_only_presets_that_say_so_choose_by_the_test_split() -> None:
    for name, preset in PRESETS.items():
        assert preset.train.metric.startswith("test/") == name.endswith("-published")
        assert (preset.train.hold_out == 0) == name.endswith("-published")
    assert "itma-css-published" in PRESETS


def test_a_report_says_how_the_checkpoint_was_chosen(run: Path, tmp_path: Path) -> None:
    (report,) = api.evaluate_by([], run, out=tmp_path)
    expected = "step 2 of 2, the best by validation/recall@1, on the 25.0 % of the training references that were held"
    assert report.chosen.startswith(expected)
    assert f"checkpoint: {expected}" in str(report)


@pytest.mark.parametrize(
    ("metric", "best", "words"),
    [
        ("test/recall@10", True, "on the split of shapes that recall is measured on, as the published code does"),
        ("validation/recall@10", True, "on the 25.0 % of the training references that were held out"),
        ("train/recall@10", True, "on rows that it learned from"),
        ("train/recall@1", False, "the last that was saved"),
    ],
)
def test_how_a_checkpoint_was_chosen_is_said_in_words(metric: str, best: bool, words: str) -> None:
    settings = {"train": {"steps": 9, "metric": metric, "hold_out": 0.25}, "data": {"name": "shapes"}}
    assert words in how_chosen(settings, 6, best=best)


def external() -> tuple[Triplets, Triplets]:
    return triplets(), triplets()


def test_triplets_from_memory_are_external_data_of_their_own_name(tmp_path: Path) -> None:
    out = api.train(preset="tiny", changes=STEPS, out=tmp_path / "run", triplets=external())
    data = json.loads((out / "run.json").read_text())["data"]
    assert (data["name"], data["external"]) == ("made-up", True)
    with pytest.raises(RunError, match="external data 'made-up'"):
        api.evaluate(out)
    named = api.train("my shop", preset="tiny", changes=STEPS, out=tmp_path / "named", triplets=external())
    assert api.read_run(named).data.name == "my shop"


def test_a_known_name_does_not_make_other_triplets_that_data_set(tmp_path: Path) -> None:
    out = api.train("css", preset="tiny", changes=STEPS, out=tmp_path / "run", triplets=external())
    assert api.read_run(out).data.external


def test_a_run_is_extended(run: Path, tmp_path: Path) -> None:
    out = api.train("shapes", preset="tiny", changes=STEPS, out=tmp_path / "run")
    api.resume(out, changes={"train.steps": "4"})
    assert json.loads((out / "checkpoints.json").read_text())["last"] == "step-000004"
    plain = json.loads((out / "run.json").read_text())
    assert plain["train"]["steps"] == 4
    assert plain["changes"] == [{"step": 2, "settings": {"train.steps": "4"}}]
    with pytest.raises(ConfigError, match="has done 4 steps already"):
        api.resume(out, changes={"train.steps": "3"})
    with pytest.raises(ConfigError, match=r"model\.dim stays as it is"):
        api.resume(out, changes={"model.dim": "8"})


def test_a_run_that_never_saved_is_begun_again(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    plain = json.loads((run / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(plain))
    (tmp_path / "run" / ".step-000001.7.tmp").mkdir()
    (tmp_path / "run" / ".step-000001.7.tmp" / "model.safetensors").write_bytes(b"half")
    (tmp_path / "run" / ".run.json.7.tmp").write_bytes(b"half")
    api.resume(tmp_path / "run")
    assert not list((tmp_path / "run").glob(".*"))
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "run.json").write_text(json.dumps(plain))
    api.train("shapes", preset="tiny", changes=STEPS, out=tmp_path / "again")
    sums = [(tmp_path / name / "step-000002" / "manifest.json").read_text() for name in ("run", "again")]
    assert sums[0] == sums[1] == (run / "step-000002" / "manifest.json").read_text()
    with pytest.raises(RunError, match="holds a run already"):
        api.train("shapes", preset="tiny", out=tmp_path / "again")


def test_an_evaluation_that_cannot_be_written_is_refused_before_the_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StorageError, match="cannot be written to"):
        api.evaluate_by([], "nowhere", out=tmp_path)
    measured = api.evaluate_by([], run)
    assert measured.folder is None
    assert "recall@1" in str(measured)
    assert "shown, not kept" in caplog.text


def test_results_are_in_the_message_where_writing_fails(run: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(UnwrittenReportError, match="recall@1"):
        api.evaluate_by([], run, out=tmp_path)


def test_a_shipped_model_is_measured_into_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = api.results_folder("wardrobe", "evaluation", "own-test")
    assert first == Path("evaluation-wardrobe-own-test")
    first.mkdir()
    assert api.results_folder("wardrobe", "evaluation", "own-test") == Path("evaluation-wardrobe-own-test-2")
    assert api.results_folder(tmp_path / "run", "conversations", "test") == tmp_path / "run" / "conversations-test"


def test_a_composer_and_its_options_are_changed_together() -> None:
    changes = {"model.options.blocks": "1", "model.composer": "itma", "model.dim": "64"}
    assert api.settings_for("mitstates", changes=changes).model.options.blocks == 1
    assert api.settings_for("shapes", changes={"model.composer": "tirg"}).model.composer == "tirg"
