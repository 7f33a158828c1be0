"""The examples use the package as a stranger does, and come to the same."""

import runpy
from pathlib import Path

import pytest

import itma
from itma.learn.run import read_metrics

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_a_loop_by_hand_takes_the_course_of_the_package_s_own(tmp_path: Path) -> None:
    text = (EXAMPLES / "train_by_hand.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    train_by_hand = runpy.run_path(str(EXAMPLES / "train_by_hand.py"))["train_by_hand"]
    changes = {"train.log_every": 1}
    run = itma.train("shapes", preset="tiny", changes=changes, out=tmp_path / "run", device="cpu")
    expected = [line["loss"] for line in read_metrics(run) if "loss" in line]
    model, losses = train_by_hand(itma.settings_for("shapes", preset="tiny", changes=changes))
    assert losses == pytest.approx(expected, rel=1e-4)
    last = itma.load(run, which="last").state_dict()
    floats = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    assert all(tensor.allclose(last[name], atol=1e-4) for name, tensor in floats.items())
