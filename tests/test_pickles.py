"""Checkpoints as training codes wrap them, opened by an allow-list."""

import argparse
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itma.models.pickles import load_allowed, unwrap, why_not_opened, without_prefixes


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "backbone.", "model.backbone."])
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "model_state_dict", "net", "ema"])
def test_a_state_dict_is_found_under_its_wrapper_and_prefix(tmp_path: Path, prefix: str, wrapper: str | None) -> None:
    state: dict[str, Any] = {f"{prefix}{name}": torch.ones(2) for name in ("conv1.weight", "fc.bias")}
    optimizer = {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]}
    content = {wrapper: state, "best": np.float64(1.5), "optimizer": optimizer}
    torch.save(state if wrapper is None else content, tmp_path / "a.pth")
    tensors = unwrap(load_allowed(tmp_path / "a.pth"))
    assert tensors is not None
    assert list(without_prefixes(tensors)) == ["conv1.weight", "fc.bias"]


def test_numbers_and_arrays_of_numpy_beside_the_tensors_are_read(tmp_path: Path) -> None:
    content = {"a": np.float32(2), "b": np.int64(3), "c": np.arange(3), "d": np.bool_(True)}
    torch.save(content, tmp_path / "a.pth")
    loaded = load_allowed(tmp_path / "a.pth")
    assert (loaded["a"], loaded["b"], loaded["c"].tolist(), bool(loaded["d"])) == (2, 3, [0, 1, 2], True)


def test_what_training_codes_keep_beside_the_tensors_is_no_obstacle(tmp_path: Path) -> None:
    options = argparse.Namespace(data=Path("/data"))
    content = {
        "numpy": np.random.RandomState(0).get_state(),
        "name": np.str_("x"),
        "n": np.uint64(7),
        "options": options,
    }
    torch.save(content, tmp_path / "a.pth")
    loaded = load_allowed(tmp_path / "a.pth")
    assert (loaded["n"], loaded["name"], loaded["options"].data) == (7, "x", Path("/data"))


def test_what_is_refused_is_named(tmp_path: Path) -> None:
    for content, name in ((np.array(["a", None], dtype=object), "ObjectDType"), (slice(1), "'slice'")):
        torch.save({"a": content}, tmp_path / "a.pth")
        with pytest.raises(Exception, match="eights") as refusal:
            load_allowed(tmp_path / "a.pth")
        assert f"it asks for {name}" in why_not_opened(tmp_path / "a.pth", refusal.value).replace("'numpy.dtypes.", "")


def test_two_groups_of_tensors_under_unknown_names_are_not_guessed() -> None:
    assert unwrap({"teacher": {"a": torch.ones(1)}, "student": {"a": torch.ones(1)}}) is None


class _Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1/0",)


@pytest.mark.parametrize("content", [_Harm(), np.array([_Harm()], dtype=object)])
def test_nothing_outside_of_the_allow_list_is_run(tmp_path: Path, content: object) -> None:
    torch.save({"a": content}, tmp_path / "a.pth")
    with pytest.raises((pickle.UnpicklingError, ValueError, TypeError, RuntimeError)):
        load_allowed(tmp_path / "a.pth")
