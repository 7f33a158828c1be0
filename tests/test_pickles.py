"""Checkpoints as training codes wrap them, opened by an allow-list."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itma.models.pickles import load_allowed, unwrap, without_prefixes


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "backbone.", "model.backbone."])
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "model_state_dict"])
def test_a_state_dict_is_found_under_its_wrapper_and_prefix(tmp_path: Path, prefix: str, wrapper: str | None) -> None:
    state: dict[str, Any] = {f"{prefix}{name}": torch.ones(2) for name in ("conv1.weight", "fc.bias")}
    torch.save(state if wrapper is None else {wrapper: state, "best": np.float64(1.5)}, tmp_path / "a.pth")
    tensors = unwrap(load_allowed(tmp_path / "a.pth"))
    assert tensors is not None
    assert list(without_prefixes(tensors)) == ["conv1.weight", "fc.bias"]


def test_numbers_and_arrays_of_numpy_beside_the_tensors_are_read(tmp_path: Path) -> None:
    held = {"a": np.float32(2), "b": np.int64(3), "c": np.arange(3), "d": np.bool_(True)}
    torch.save(held, tmp_path / "a.pth")
    found = load_allowed(tmp_path / "a.pth")
    assert (found["a"], found["b"], found["c"].tolist(), bool(found["d"])) == (2, 3, [0, 1, 2], True)


class _Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1/0",)


@pytest.mark.parametrize("held", [_Harm(), np.array([_Harm()], dtype=object)])
def test_nothing_outside_of_the_allow_list_is_run(tmp_path: Path, held: object) -> None:
    torch.save({"a": held}, tmp_path / "a.pth")
    with pytest.raises((pickle.UnpicklingError, ValueError, TypeError, RuntimeError)):
        load_allowed(tmp_path / "a.pth")
