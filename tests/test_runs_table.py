"""What `itma runs` and `itma compare` read from run folders, and what they make of it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from itma.cli import cli
from itma.config import to_plain
from itma.errors import RunError
from itma.evaluation.comparison import Cost, Figure, compare
from itma.evaluation.runs import find_runs, summarise
from itma.evaluation.tables import Table
from itma.models.retriever import RetrieverConfig
from itma.records import Report
from itma.training.config import TrainConfig


def report(recall: float, *, weights: str, protocol: str = "shapes/test: by label", queries: int = 100) -> Report:
    return Report("m", protocol, queries, 50, {1: recall, 10: recall + 0.3}, {}, 3.0, 0.4, 0, weights=weights)


def run(
    folder: Path,
    *,
    recall: float | None = 0.4,
    seed: int = 0,
    composer: str = "itma",
    steps: int = 6,
    train: Mapping[str, object] | None = None,
    start: str | None = None,
    measured: str | None = None,
) -> Path:
    """A run folder as training leaves it, without weights: what is read needs none."""
    checkpoint = folder / f"step-{steps:06d}"
    checkpoint.mkdir(parents=True)
    settings = {
        "model": to_plain(RetrieverConfig(composer=composer)),
        "train": {**to_plain(TrainConfig(steps=6, seed=seed)), **(train or {})},
        "data": {"name": "shapes", "size": "tiny", "root": None},
        "made_with": {} if start is None else {"started_from": {"sha256": start}},
    }
    (folder / "run.json").write_text(json.dumps(settings))
    pointer = {
        "last": checkpoint.name,
        "best": checkpoint.name,
        "best_value": 0.5,
        "best_step": steps,
        "measured": True,
    }
    (folder / "checkpoints.json").write_text(json.dumps(pointer))
    (checkpoint / "manifest.json").write_text(json.dumps({"model.safetensors": folder.name}))
    if recall is not None:
        (folder / "evaluation-shapes-test").mkdir()
        plain = {"format": 1, **to_plain(report(recall, weights=measured or folder.name))}
        (folder / "evaluation-shapes-test" / "report.json").write_text(json.dumps(plain))
    return folder


def call(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


def test_runs_are_listed_with_what_was_measured_on_them(tmp_path: Path) -> None:
    run(tmp_path / "deep" / "one", steps=4, recall=0.25)
    result = call("runs", tmp_path)
    line = result.output.splitlines()[1]
    for part in ("one", "itma", "shapes tiny", "4 of 6", "step 4", "validation/recall@1 50.0%", "@1 25.0% @10 55.0%"):
        assert part in line


def test_a_report_on_other_weights_is_counted_and_not_shown(tmp_path: Path) -> None:
    run(tmp_path / "one", measured="other")
    assert summarise(tmp_path / "one").reports == {}
    assert call("runs", tmp_path).output.rstrip().endswith("1 of other weights")


def test_a_damaged_run_does_not_hide_the_others(tmp_path: Path) -> None:
    run(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    bad, good = json.loads(call("runs", tmp_path, "--json").output)
    assert "damaged" in bad["problem"]
    assert good["reports"]["evaluation-shapes-test"]["recall"] == {"1": 0.4, "10": 0.7}


def test_a_run_without_a_checkpoint_has_done_no_steps(tmp_path: Path) -> None:
    run(tmp_path / "one", recall=None)
    (tmp_path / "one" / "checkpoints.json").unlink()
    assert summarise(tmp_path / "one").steps == 0
    assert "none yet" in call("runs", tmp_path).output


def test_a_folder_that_is_a_run_is_found_and_one_that_is_missing_is_refused(tmp_path: Path) -> None:
    assert find_runs(run(tmp_path / "one")) == [tmp_path / "one"]
    with pytest.raises(RunError, match="does not exist"):
        find_runs(tmp_path / "none")


def test_a_model_that_comes_with_itma_says_what_it_is() -> None:
    assert summarise("shapes").composer == "itma"
    assert summarise("shapes").steps > 0


def test_runs_that_differ_in_the_seed_alone_are_one_variant(tmp_path: Path) -> None:
    runs = [run(tmp_path / str(seed), seed=seed, recall=0.4 + 0.1 * seed) for seed in range(3)]
    result = compare(runs)
    (variant,) = result.variants
    assert (variant.name, variant.seeds) == ("itma", (0, 1, 2))
    figure = result.measurements[0].recall["itma"][1]
    assert figure.mean == pytest.approx(0.5) and figure.deviation == pytest.approx(0.1)
    assert figure.interval is not None and figure.interval.low == pytest.approx(0.5 - 4.303 * 0.1 / 3**0.5, abs=1e-4)
    assert result.settings == {} and result.notes == ()


def test_variants_of_one_composer_are_named_by_what_sets_them_apart(tmp_path: Path) -> None:
    runs = [run(tmp_path / "a"), run(tmp_path / "b", train={"batch": 7}), run(tmp_path / "c", composer="add")]
    result = compare(runs)
    assert [variant.name for variant in result.variants] == ["itma, train.batch=96", "itma, train.batch=7", "add"]
    assert result.settings["train.batch"]["itma, train.batch=7"] == 7
    assert result.settings["model.options.blocks"]["add"] is None


def test_runs_that_began_with_other_weights_are_no_variant_together(tmp_path: Path) -> None:
    result = compare([run(tmp_path / "a"), run(tmp_path / "b", seed=1, start="abc")])
    assert [variant.name for variant in result.variants] == ["itma, start=–", "itma, start=abc"]


def test_reports_on_other_queries_never_share_a_table(tmp_path: Path) -> None:
    runs = [run(tmp_path / "a"), run(tmp_path / "b", composer="add")]
    path = runs[1] / "evaluation-shapes-test" / "report.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "queries": 99}))
    assert [list(measured.recall) for measured in compare(runs).measurements] == [["itma"], ["add"]]


def test_what_makes_numbers_doubtful_is_said(tmp_path: Path) -> None:
    runs = [run(tmp_path / "a", steps=4), run(tmp_path / "b", recall=None)]
    notes = " ".join(compare(runs).notes)
    assert "has done 4 of 6 steps" in notes
    assert "b has no report; measure it: itma evaluate" in notes
    assert "runs of the same seed" in notes


def test_a_run_given_twice_counts_once(tmp_path: Path) -> None:
    one = run(tmp_path / "a")
    assert len(compare([one, tmp_path / "." / "a"]).variants[0].runs) == 1


def test_the_cost_stands_in_the_comparison_where_all_runs_say_it(tmp_path: Path) -> None:
    runs = [run(tmp_path / str(seed), seed=seed) for seed in range(2)]
    Cost(1000, 0.5, 4.0).write(runs[0])
    assert compare(runs).variants[0].cost == {}
    Cost(1000, 0.7, 2.0).write(runs[1])
    assert compare(runs).variants[0].cost["milliseconds_per_query"] == 3.0
    assert "0.600" in str(compare(runs))


def test_a_comparison_is_printed_as_text_and_json_and_written_as_markdown(tmp_path: Path) -> None:
    runs = [run(tmp_path / "a"), run(tmp_path / "b", seed=1, recall=0.6)]
    result = call("compare", *runs, "--out", tmp_path / "c.md")
    assert "50.0 ± 14.1 %" in result.output
    assert "| itma | 2 | 50.0 ± 14.1 %" in (tmp_path / "c.md").read_text(encoding="utf-8")
    plain = json.loads(call("compare", *runs, "--json").output)
    assert plain["measurements"][0]["recall"]["itma"]["1"]["values"] == [0.4, 0.6]


def test_a_comparison_of_something_else_is_refused(tmp_path: Path) -> None:
    result = call("compare", tmp_path)
    assert result.exit_code == 1 and "itma train made" in result.output


def test_a_single_run_has_no_interval() -> None:
    assert (Figure.of([0.5]).interval, Figure.of([0.5]).deviation) == (None, None)


def test_bars_in_a_cell_do_not_break_a_markdown_table() -> None:
    assert Table(("a",), (("x|y\nz",),)).markdown().splitlines()[-1] == "| x\\|y z |"
