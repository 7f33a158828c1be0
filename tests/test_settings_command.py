"""`itma settings`: what each setting means, and which apply; `--config`: settings from a file."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from itma.api import explain_settings, settings_for
from itma.cli import cli
from itma.config import change, flat, read_changes, to_plain
from itma.data.datasets import REGISTRY as DATASETS
from itma.errors import ConfigError, UnknownNameError
from itma.models.composers import REGISTRY as COMPOSERS
from itma.training.losses import REGISTRY as LOSSES
from itma.training.presets import PRESETS


def call(*words: object) -> Result:
    return CliRunner().invoke(cli, ["--quiet", *map(str, words)], catch_exceptions=False)


def names(**options: object) -> set[str]:
    return {setting.name for setting in explain_settings(**options)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        *({"model": name} for name in COMPOSERS),
        *({"changes": {"train.loss": name}} for name in LOSSES),
        *({"preset": name} for name in PRESETS),
        *({"data": name} for name in DATASETS),
        {"changes": {"model.text_encoder.kind": "transformer", "train.optimizer": "sgd"}},
    ],
    ids=str,
)
def test_every_setting_says_what_it_means_in_sentences(options: dict[str, str]) -> None:
    silent = [setting.name for setting in explain_settings(**options) if not setting.meaning.endswith(".")]  # type: ignore[arg-type]
    assert silent == []


def test_settings_that_mean_nothing_beside_the_others_are_not_shown() -> None:
    assert (
        not {"train.momentum", "train.decay_every", "train.views", "data.coverage", "model.text_encoder.name"} & names()
    )
    listed = names(
        data="fashioniq", changes={"train.optimizer": "sgd", "train.schedule": "step", "train.frozen_levels": 1}
    )
    assert {"train.momentum", "train.decay_every", "train.views", "data.coverage", "data.categories"} <= listed
    assert not {"data.size", "data.external"} & listed


def test_options_are_those_of_the_chosen_composer_and_loss() -> None:
    assert "model.options.blocks" in names() and "model.options.blocks" not in names(model="tirg")
    assert "train.loss_options.weight" in names(changes={"train.loss": "graded"})
    assert not any(name.startswith("model.text_encoder") for name in names(model="image-only"))


def test_every_setting_that_is_shown_can_be_changed() -> None:
    settings = settings_for()
    for setting in explain_settings():
        assert change(settings, {setting.name: setting.value}) == settings
    assert names() <= set(flat(to_plain(settings)))


def test_a_name_a_group_or_the_last_part_of_a_name_is_found() -> None:
    assert names(name="train.loss") == names(name="loss") == {"train.loss"}
    assert names(name="dropout") == {"model.text_encoder.dropout", "model.options.dropout"}
    assert names(name="data") == {name for name in names() if name.startswith("data.")}


def test_the_default_and_the_choices_are_shown(tmp_path: Path) -> None:
    output = call("settings", "train.optimizer", "--set", "train.optimizer=sgd").output
    assert 'train.optimizer="sgd"' in output and 'One of: adamw, sgd. Default: "adamw".' in output
    (plain,) = json.loads(call("settings", "train.steps", "--json").output)
    assert (plain["value"], plain["default"]) == (350, 350)


def test_an_unknown_name_is_refused_with_what_was_meant() -> None:
    assert "Did you mean 'train.steps'" in call("settings", "train.stepz").output
    assert "itma settings --data fashioniq" in call("settings", "fashioniq").output


def config(folder: Path, text: str) -> Path:
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    return folder / "mine.toml"


def test_a_file_changes_settings_and_the_command_line_wins_over_it(tmp_path: Path) -> None:
    text = (
        '[train]\nsteps = 7\nbatch = 12\nfrozen = ["image_encoder"]\n'
        '[model]\ncomposer = "tirg"\nimage_encoder.levels = [1, 2]\n'
    )
    output = call("settings", "--config", config(tmp_path, text), "--set", "train.batch=16", "--model", "add").output
    for line in ("train.steps=7", "train.batch=16", 'train.frozen=["image_encoder"]', 'model.composer="add"'):
        assert f"{line}\n" in output
    assert "model.image_encoder.levels=[1, 2]\n" in output


def test_training_takes_a_file(tmp_path: Path) -> None:
    file = config(tmp_path, "[train]\nsteps = 1\nevaluate_every = 1\nseed = 4\n")
    assert call("train", "--preset", "tiny", "--config", file, "--seed", "5", "--out", tmp_path / "run").exit_code == 0
    plain = json.loads((tmp_path / "run" / "run.json").read_text())["train"]
    assert (plain["steps"], plain["seed"]) == (1, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nstepz = 3\n", "Did you mean 'steps'"),
        ("[training]\nsteps = 3\n", "unknown setting of Settings 'training'"),
        ("[train]\nsteps = 1979-05-27\n", "is of the wrong type; expected int"),
        ('train = "fast"\n', "'train' is a group of settings"),
        ("[train\n", "are no TOML"),
    ],
)
def test_a_file_that_cannot_be_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        settings_for(changes=read_changes(config(tmp_path, text)))


def test_a_file_that_is_missing_is_refused_in_one_line(tmp_path: Path) -> None:
    result = call("train", "--config", tmp_path / "none.toml")
    assert result.exit_code == 1 and "cannot be read: No such file" in result.output
