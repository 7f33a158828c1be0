"""Models at equal budget: trained, measured and put side by side; what is done is not done again."""

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from itma import benchmark as module
from itma.benchmark import benchmark, seconds_per_step, title_of
from itma.cli import cli
from itma.data import sources
from itma.errors import ConfigError, RunError, TrainingError, UnknownNameError
from itma.models.composers import REGISTRY
from itma.training.run import read_metrics

CHANGES = {"train.steps": "2", "train.evaluate_every": "2"}
WORDS = ["--preset", "tiny", "--steps", "2", "--set", "train.evaluate_every=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two composers with two seeds each, by the command."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    words = ["--quiet", "benchmark", "shapes", "--models", "add,words-only", "--out", str(out), "--seeds", "2", *WORDS]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return out


def test_each_model_has_a_run_for_each_seed_and_a_row_with_interval_and_cost(folder: Path) -> None:
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        f"{model}-{seed}" for model in ("add", "words-only") for seed in (0, 1)
    }
    plain = json.loads((folder / "comparison.json").read_text())
    assert [variant["name"] for variant in plain["variants"]] == ["add", "words-only"]
    for variant in plain["variants"]:
        assert variant["seeds"] == [0, 1] and variant["steps"] == [2, 2]
        assert all(value > 0 for value in variant["cost"].values())
        (measurement,) = plain["measurements"]
        assert set(measurement["recall"][variant["name"]]["1"]["interval"]) == {"low", "high"}
    text = (folder / "comparison.md").read_text(encoding="utf-8")
    assert "| add | 2 |" in text and "## Cost" in text


def test_the_page_has_the_tables_and_loads_nothing(folder: Path) -> None:
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    assert "<h2>Cost</h2>" in page and '<th scope="row" role="rowheader">words-only</th>' in page
    assert "http://" not in page and "https://" not in page and "<script" not in page
    assert "<h2>Recall by step</h2>" not in page  # there was one measure only


def test_a_title_names_up_to_three_models_and_counts_more() -> None:
    assert title_of("shapes", ["itma", "tirg", "add"]) == "shapes: itma, tirg, add"
    assert title_of("shapes", ["itma", "tirg", "add", "val"]) == "shapes: 4 models"


def test_curves_are_the_means_over_seeds_of_what_was_measured_by_step(tmp_path: Path) -> None:
    changes = {"train.steps": "2", "train.evaluate_every": "1", "train.metric": "train/recall@10"}
    comparison = benchmark("shapes", ["image-only", "words-only"], tmp_path, seeds=2, preset="tiny", changes=changes)
    for variant in comparison.variants:
        assert list(variant.curve) == [1, 2]
        for step, figure in variant.curve.items():
            lines = [line for run in variant.runs for line in read_metrics(run) if line["step"] == step]
            assert list(figure.values) == [line["train/recall@10"] for line in lines if "train/recall@10" in line]
    text, page = ((tmp_path / f"comparison.{kind}").read_text(encoding="utf-8") for kind in ("md", "html"))
    assert "## By step: train/recall@10" in text and "| model | 1 | 2 |" in text
    assert (
        "<h2>Recall by step</h2>" in page and 'aria-label="train/recall@10: ' in page and "words-only ends at" in page
    )


def test_without_names_all_composers_take_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **options: object) -> Path:
        raise TrainingError(f"no {options['model']}")

    monkeypatch.setattr(module, "train", failing)
    with pytest.raises(RunError) as refused:
        benchmark("shapes", None, tmp_path, seeds=1, preset="tiny", changes=CHANGES)
    assert all(f"no {name}" in str(refused.value) for name in REGISTRY)


def test_what_is_finished_is_not_trained_or_measured_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train", "resume", "evaluate_by", "measure_cost"):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("done again"))
    again = benchmark("shapes", ["add", "words-only"], folder, seeds=2, preset="tiny", changes=CHANGES)
    assert again.to_json() == (folder / "comparison.json").read_text(encoding="utf-8")


def test_an_interrupted_run_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {**CHANGES, "train.steps": "4"}
    called = []
    real = module.train

    def stopped(*words: object, **options: object) -> Path:
        from itma.training import loop

        whole = loop.train
        with monkeypatch.context() as patch:
            patch.setattr(loop, "train", lambda *a, **k: whole(*a, **k, stop_after=2))
            return real(*words, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train", stopped)
    with pytest.raises(TrainingError, match="stopped after step 2"):
        benchmark("shapes", ["add"], tmp_path, seeds=1, preset="tiny", changes=changes)
    monkeypatch.setattr(module, "train", lambda *_, **__: called.append("train"))
    comparison = benchmark("shapes", ["add"], tmp_path, seeds=1, preset="tiny", changes=changes)
    assert comparison.variants[0].steps == (4,) and called == []


def test_a_run_that_ended_before_its_last_measures_is_measured_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder / "add-0", tmp_path / "add-0")
    pointer = json.loads((tmp_path / "add-0" / "checkpoints.json").read_text())
    (tmp_path / "add-0" / "checkpoints.json").write_text(json.dumps({**pointer, "measured": False}))
    monkeypatch.setattr(module, "train", lambda *_, **__: pytest.fail("trained again"))
    benchmark("shapes", ["add"], tmp_path, seeds=1, preset="tiny", changes=CHANGES)
    assert json.loads((tmp_path / "add-0" / "checkpoints.json").read_text())["measured"] is True


def test_every_cell_of_the_page_says_its_column_where_the_head_has_no_room(folder: Path) -> None:
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    cells = re.findall(r"<td[^>]*>", page)
    assert cells and all('data-label="' in cell for cell in cells)
    assert 'data-label="recall@1"' in page and 'data-label="ms per query"' in page


def test_runs_of_other_settings_are_refused_before_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(RunError, match="holds a run of other settings"):
        benchmark("shapes", ["concat", "add"], folder, preset="tiny", changes={**CHANGES, "train.batch": "4"})


def test_a_run_that_fails_is_noted_and_the_others_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> Path:
        raise TrainingError("the loss is nan")

    monkeypatch.setattr(module, "train", failing)
    comparison = benchmark("shapes", ["concat", "add"], folder, seeds=1, preset="tiny", changes=CHANGES)
    assert [variant.name for variant in comparison.variants] == ["add"]
    assert any("concat-0 failed: the loss is nan" in note for note in comparison.notes)


@pytest.mark.parametrize(
    ("models", "changes", "message"),
    [
        ([], {}, "give at least one model"),
        (["addd"], {}, "Did you mean 'add'"),
        (["add"], {"train.seed": "3"}, "leave it out and give seeds"),
        (["add"], {"model.composer": "tirg"}, "leave it out and give models"),
        (["add"], {"train.stepz": "3"}, "Did you mean 'steps'"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(
    models: list[str], changes: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        benchmark("shapes", models, tmp_path / "out", preset="tiny", changes=changes)
    assert not (tmp_path / "out").exists()


def test_the_time_of_a_step_leaves_evaluations_out() -> None:
    lines = [
        {"step": 10, "seconds": 10.0, "loss": 1.0},
        {"step": 20, "seconds": 20.0, "loss": 1.0},
        {"step": 20, "seconds": 90.0, "test/recall@1": 0.5},
        {"step": 30, "seconds": 100.0, "loss": 1.0},
    ]
    assert seconds_per_step(lines) == 1.0


def test_all_runs_of_a_benchmark_load_the_data_once_and_learn_what_a_run_alone_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    load = sources._load
    monkeypatch.setattr(
        sources, "_load", lambda config, split, **rest: (loads.append(split), load(config, split, **rest))[1]
    )
    benchmark("shapes", ["add", "words-only"], tmp_path / "both", seeds=1, preset="tiny", changes=CHANGES)
    assert sorted(loads) == ["test", "train"]
    benchmark("shapes", ["words-only"], tmp_path / "one", seeds=1, preset="tiny", changes=CHANGES)
    assert len(loads) == 4
    lines = [read_metrics(tmp_path / folder / "words-only-0") for folder in ("both", "one")]
    assert [line["loss"] for line in lines[0] if "loss" in line] == [
        line["loss"] for line in lines[1] if "loss" in line
    ]
