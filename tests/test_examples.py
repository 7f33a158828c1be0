"""The examples use the package as a stranger does, and come to the same."""

import json
import re
import runpy
from pathlib import Path

import pytest

import itma
from itma import registry
from itma.training.run import read_metrics
from tests import made_up

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


def test_the_loop_by_hand_without_a_folder_says_how_to_call_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train_by_hand.py"])
    with pytest.raises(SystemExit, match=r"train_by_hand\.py FOLDER"):
        runpy.run_path(str(EXAMPLES / "train_by_hand.py"), run_name="__main__")


def test_each_part_of_the_page_about_extending_trains_and_opens_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (EXAMPLES.parent / "docs" / "extending.md").read_text(encoding="utf-8")
    codes = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert len(codes) == 7 and all(len(code.splitlines()) < 30 for code in codes)
    for number, code in enumerate(codes):
        (tmp_path / f"extending_{number}.py").write_text(code, encoding="utf-8")
        registry.import_file(str(tmp_path / f"extending_{number}.py"))
    root = tmp_path / "pairs"
    root.mkdir()
    made_up.photos(root, [f"{number}.png" for number in range(12)])
    lines = [f"{number}.png,make it number {(number + 1) % 12},{(number + 1) % 12}.png" for number in range(12)]
    for split in ("train", "test"):
        (root / f"{split}.csv").write_text("\n".join(lines), encoding="utf-8")
    parts = {"train.loss": "hinge", "model.image_encoder.name": "small-patches", "model.image_encoder.levels": (1,)}
    parts |= {"model.tracker": "mean-of-turns"}
    changes = {**parts, "model.text_encoder.kind": "gru", "data.root": root, "data.cache": False, "train.steps": 2}
    run = itma.train("pairs", preset="tiny", model="blend", changes=changes, out=tmp_path / "run", device="cpu")
    assert itma.evaluate(run, device="cpu").queries == 12
    needs = json.loads((run / "run.json").read_text())["needs"]
    assert [one["file"] for one in needs] == [f"extending_{number}.py" for number in (0, 3, 4, 5, 1, 2)]
    monkeypatch.chdir(tmp_path)
    assert itma.index(run, root, "shelf://pairs", device="cpu").outcome.new == 12
    assert (tmp_path / "shelf" / "pairs").is_dir() and len(itma.Catalogue.open("shelf://pairs")) == 12
