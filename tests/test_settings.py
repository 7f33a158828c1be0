"""Settings: to plain values and back, and changed by name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itma import api
from itma.config import change, from_plain, to_plain
from itma.errors import ConfigError, UnknownNameError
from itma.models.composers import REGISTRY
from itma.models.retriever import RetrieverConfig
from itma.training.config import TrainConfig
from itma.training.presets import PRESETS, preset_named, with_composer


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_being_written_and_read(name: str) -> None:
    preset = PRESETS[name]
    assert from_plain(RetrieverConfig, to_plain(preset.model)) == preset.model
    assert from_plain(TrainConfig, to_plain(preset.train)) == preset.train


@pytest.mark.parametrize("name", REGISTRY)
def test_every_composer_s_options_survive_being_written_and_read(name: str) -> None:
    config = with_composer(RetrieverConfig(), name)
    assert from_plain(RetrieverConfig, to_plain(config)) == config


@given(st.integers(1, 10**6), st.floats(1e-9, 1.0))
def test_numbers_are_changed_by_name(steps: int, rate: float) -> None:
    config = change(TrainConfig(), {"steps": str(steps), "learning_rate": repr(rate)})
    assert (config.steps, config.learning_rate) == (steps, rate)


def test_nested_values_lists_and_texts_are_changed_by_name() -> None:
    changes = {
        "image_encoder.levels": "3,4",
        "image_encoder.name": "resnet-18",
        "options.pool_words": "false",
        "options.attention": "identity",
        "preprocess.mean": "[0.5, 0.5, 0.5]",
        "image_encoder.weights": "null",
    }
    config = change(RetrieverConfig(), changes)
    assert (config.image_encoder.levels, config.image_encoder.name, config.image_encoder.weights) == (
        (3, 4),
        "resnet-18",
        None,
    )
    assert (config.options.pool_words, config.options.attention) == (False, "identity")
    assert config.preprocess.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("stepz", "3", "unknown setting of TrainConfig 'stepz'.*Did you mean 'steps'"),
        ("steps", "many", "steps='many' is of the wrong type; expected int"),
        ("steps", "1.5", "steps=1.5 is of the wrong type; expected int"),
        ("loss", "mse", "unknown loss 'mse'; choose from: classification, .*graded, .*soft-triplet"),
        ("steps.x", "3", "'steps.x' does not exist: 'steps' is a single setting"),
        ("steps", "-3", "steps=-3 must be at least 1"),
    ],
)
def test_a_change_that_cannot_be_says_why(name: str, value: str, message: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        change(TrainConfig(), {name: value})


def test_a_group_of_settings_is_not_a_value() -> None:
    with pytest.raises(
        ConfigError, match="'image_encoder' is a group of settings; name one in it: name, levels, weights"
    ):
        change(RetrieverConfig(), {"image_encoder": "resnet-18"})


def test_unknown_names_list_the_choices() -> None:
    with pytest.raises(UnknownNameError, match="unknown preset 'huge'; choose from: clip, demo, "):
        preset_named("huge")
    with pytest.raises(UnknownNameError, match=r"unknown composer 'tirgg'.*Did you mean 'tirg'"):
        RetrieverConfig(composer="tirgg")
    with pytest.raises(UnknownNameError, match="setting of TrainConfig 'old'"):
        from_plain(TrainConfig, {"old": 1})


@pytest.mark.parametrize(
    "changes",
    [
        {"image_encoder.levels": "4,3"},
        {"image_encoder.levels": "0"},
        {"dim": "0"},
        {"text_encoder.width": "0"},
        {"preprocess.height": "0"},
        {"options.heads": "0"},
        {"options.dropout": "1"},
    ],
)
def test_a_model_that_cannot_be_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes)).rpartition(".")[2]):
        change(RetrieverConfig(), changes)


def test_settings_that_make_sense_together_only_are_changed_together_in_any_order() -> None:
    changes = {"text_encoder.kind": "pretrained", "dim": "64", "text_encoder.name": "some-folder"}
    for ordered in (changes, dict(reversed(changes.items()))):
        model = change(RetrieverConfig(), ordered)
        assert (model.text_encoder.kind, model.text_encoder.name, model.dim) == ("pretrained", "some-folder", 64)


def test_settings_of_a_training_that_have_no_effect_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("itma.api._learn", lambda *_, **__: tmp_path)
    changes = {"data.coverage": "0.5", "train.momentum": "0.5", "train.steps": "3", "model.options.blocks": "2"}
    api.train("shapes", preset="tiny", changes=changes, out=tmp_path / "run")
    assert "without effect beside the other settings: data.coverage, train.momentum;" in caplog.text
    caplog.clear()
    api.train("shapes", preset="tiny", changes={**changes, "train.optimizer": "sgd"}, out=tmp_path / "run")
    assert "without effect beside the other settings: data.coverage;" in caplog.text
