"""The scripts that measure speed run, both sides of every row give numbers, and a ratio that fell is noticed."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from itma.data.images import Preprocess
from itma.training import loop
from itma.training.run import read_metrics
from itma.training.speed import count_products, peak, to_device
from tests.made_up import TRAIN, model, triplets

pytest.importorskip("bench.performance.table", reason="bench/ is not part of this copy")

from bench import gpu
from bench.performance import __main__ as program
from bench.performance import growth, page, rows
from bench.performance.rows import Result, measure
from bench.performance.table import ROWS

APART = ("clients", "start-search", "start-import", "step-tirg-224", "step-itma-224")
"""Rows of processes of their own, and those that are others at another size."""


@pytest.mark.parametrize("name", [name for name in ROWS if name not in APART])
def test_both_sides_of_a_row_are_measured(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itma.allocation.reuse_memory", lambda: False)
    row = ROWS[name]
    row.prepare(tmp_path, "tiny")
    own, other = row.itma(tmp_path, "tiny"), row.other(tmp_path, "tiny")
    result = Result(name, "tiny", own, other, row.goal, ())
    assert result.ratio > 0
    assert result.near is not None and result.near > 0
    assert own["limit"] and set(row.at_most) <= set(own)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clients", "start-search", "start-import"])
def test_a_row_of_further_processes_is_measured(name: str) -> None:
    assert measure(name, ROWS[name], size="tiny").ratio > 0


def test_a_row_says_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    def side_here(name: str, side: str, folder: Path, size: str, threads: int) -> object:
        return getattr(ROWS[name], side)(folder, size)

    monkeypatch.setattr(rows, "_alone", side_here)
    result = measure("loss-32", replace(ROWS["loss-32"], goal=1e9, at_most={"seconds": 1e-9}), size="tiny")
    assert len(result.missed) == 2
    assert result.plain()["ratio"] == pytest.approx(result.other["seconds"] / result.itma["seconds"])


def _result(seconds: float) -> Result:
    own = {"seconds": seconds, "count": 1, "ideal": seconds / 2, "limit": "a limit"}
    return Result("loss-32", "tiny", own, {"seconds": 1.0, "count": 1}, 50, ())


@pytest.mark.parametrize(("stored", "status"), [(10.0, 0), (19.0, 0), (21.0, 1)])
def test_the_check_fails_where_a_ratio_fell_beyond_the_slack(
    stored: float, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stored.json"
    path.write_text(json.dumps({"rows": {"loss-32": {"ratio": stored}}}))
    monkeypatch.setattr(program, "measure", lambda *args, **named: _result(0.1))
    monkeypatch.setattr(sys, "argv", ["performance", "--rows", "loss-32", "--check", str(path)])
    assert program.main() == status


def test_rows_that_are_measured_again_take_their_place_among_the_others(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    program.store(path, [_result(0.1), replace(_result(0.1), name="ranks")], 1)
    program.store(path, [_result(0.2)], 1)
    stored = json.loads(path.read_text())["rows"]
    assert list(stored) == ["loss-32", "ranks"]
    assert stored["loss-32"]["ratio"] == pytest.approx(5)


def test_the_table_is_written_between_its_markers(tmp_path: Path) -> None:
    path, text = tmp_path / "out.json", "<!-- table: written by bench.performance -->old<!-- end of table -->"
    program.store(path, [_result(0.02)], 1)
    (tmp_path / "page.md").write_text(f"before {text} after")
    page.write_page([path], tmp_path / "page.md")
    written = (tmp_path / "page.md").read_text()
    assert written.startswith("before ") and written.endswith(" after") and "old" not in written
    assert "20 ms" in written and "50.0×" in written and "a limit: 50%" in written


def test_the_growth_of_every_cost_is_measured_and_drawn(tmp_path: Path) -> None:
    (tmp_path / "curves.json").write_text(json.dumps(growth.measure_curves("tiny")))
    assert growth.draw(tmp_path / "curves.json", tmp_path) == list(growth.CURVES)
    for name in growth.CURVES:
        assert (tmp_path / f"{name}.svg").read_text().count("<circle") == 2


def test_the_checks_for_a_device_run_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "gpu.json"
    words = ["gpu", "--device", "cpu", "--tiny", "--out", str(out), "--checks"]
    monkeypatch.setattr(sys, "argv", [*words, "machine,agreement,resident,sync,step,ranks,searching,compiled"])
    assert gpu.main() == 0
    assert set(json.loads(out.read_text())) == set(gpu.CHECKS) - {"bf16"}


def test_a_check_that_fails_is_told_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(setting: gpu.Setting) -> dict[str, str]:
        raise AssertionError("not today")

    out = tmp_path / "gpu.json"
    monkeypatch.setattr(gpu, "CHECKS", {"first": fails, "ranks": gpu.ranks})
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--tiny", "--out", str(out)])
    assert gpu.main() == 1
    results = json.loads(out.read_text())
    assert "not today" in results["first"]["error"] and "seconds" in results["ranks"]


def test_products_are_counted_forwards_and_for_each_gradient() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Flatten(), nn.Linear(4, 5))
    with count_products(layers) as operations:
        layers(torch.zeros(2, 3, 3, 3)).sum().backward()
    first, second = 2 * (2 * 4) * 27, 2 * (2 * 5) * 4
    assert operations() == 2 * first + 3 * second  # nothing wants the gradient of pixels


def test_the_peak_is_that_of_this_machine() -> None:
    assert peak(torch.device("cpu"), torch.float32) > 1e8


def test_a_run_says_what_share_of_the_peak_it_reaches(tmp_path: Path) -> None:
    loop.train(model(), triplets(), TRAIN, tmp_path)
    shares = [line["share_of_peak"] for line in read_metrics(tmp_path) if "loss" in line]
    assert len(shares) == TRAIN.steps and all(0 < share < 1 for share in shares)


def test_images_are_kept_on_the_device_where_they_fit() -> None:
    preprocess, data, cpu = Preprocess(height=8, width=12), triplets(), torch.device("cpu")
    size = len(data.labels) * 3 * 8 * 12
    assert to_device(data, preprocess, cpu, free_bytes=2 * size - 2) is data
    on_device = to_device(data, preprocess, cpu, free_bytes=2 * size)
    assert on_device.images.pixels.shape == (len(data.labels), 3, 8, 12)  # type: ignore[attr-defined]
    assert torch.equal(on_device.images.load([3, 1], preprocess), data.images.load([3, 1], preprocess))


def test_training_that_reads_numbers_only_when_they_are_logged_learns_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = []
    for at_once in (True, False):
        monkeypatch.setattr(loop, "answers_at_once", lambda device, at_once=at_once: at_once)
        loop.train(model(), triplets(), replace(TRAIN, log_every=3), tmp_path / str(at_once))
        lines.append([line["loss"] for line in read_metrics(tmp_path / str(at_once)) if "loss" in line])
    assert lines[0] == lines[1] and len(lines[0]) == 2


def test_numbers_that_are_read_late_name_the_step_that_ran_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class RunsAway(loop.make_loss(TRAIN).__class__):  # type: ignore[misc]
        calls = 0

        def forward(self, batch: object) -> torch.Tensor:
            self.calls += 1
            return super().forward(batch) * (float("nan") if self.calls == 2 else 1)

    monkeypatch.setattr(loop, "answers_at_once", lambda device: False)
    config = replace(TRAIN, log_every=6, evaluate_every=6)
    with pytest.raises(loop.TrainingError, match="at step 2 the loss is nan"):
        loop.train(model(), triplets(), config, tmp_path, loss=RunsAway())
