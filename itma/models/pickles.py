"""Files that torch saved, opened by an allow-list, and the state dicts in them as people wrap and prefix them."""

import argparse
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray

from itma.errors import DataError
from itma.io import is_lfs_pointer, refuse_stream

WRAPPERS = ("model_state_dict", "state_dict", "model")
"""Keys under which training codes put the state dict of their model."""
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.")
"""What DataParallel, torch.compile and training frameworks put before every name."""

_PLAIN = "? b h i l B H I L e f d F D U S"
"""Types of numpy that hold nothing but numbers and texts."""


def load_allowed(path: Path) -> Any:
    """What torch saved, if it holds nothing but tensors, plain values, numpy's numbers and `argparse.Namespace`.

    Raises:
        Exception: torch raises many kinds on files that are damaged or ask for something else; nothing of them has run.
    """
    refuse_stream(path)
    with _allow():
        return torch.load(path, map_location="cpu", weights_only=True)


def why_not_opened(path: Path, error: Exception) -> str:
    """What is wrong with a file that `load_allowed` did not open, or safetensors; no other file is asked about."""
    if refused := re.search(r"(?:GLOBAL |but got <class ')([^\s']+)", str(error)):
        if refused[1].startswith(("torch.nn.", "collections.OrderedDict")):
            return (
                f"it holds a whole module ({refused[1]}), which is code as well as weights; save its weights alone: "
                "torch.save(module.state_dict(), FILE)"
            )
        return f"it asks for {refused[1]!r}, which no checkpoint needs; it may be made to run code on this machine"
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if is_lfs_pointer(path):
        return "it is a pointer of git-lfs, not the file itself; fetch it in that folder with: git lfs pull"
    return "it is damaged or cut off, or no such file"  # torch's own words advise to do without an allow-list


def _allow() -> AbstractContextManager[object]:
    arrays: list[Any] = [argparse.Namespace, np.dtype, np.ndarray, *(type(np.dtype(code)) for code in _PLAIN.split())]
    # where somebody's data were, among the options; newer Pythons have another name for their home
    for home in ("pathlib", "pathlib._local"):
        for kind, name in ((PurePosixPath, "PosixPath"), (PureWindowsPath, "WindowsPath")):
            arrays += [(kind, f"{home}.{name}"), (kind, f"{home}.Pure{name}")]
    for home in ("numpy.core.multiarray", "numpy._core.multiarray"):  # the second since numpy 2
        arrays += [(multiarray.scalar, f"{home}.scalar"), (multiarray._reconstruct, f"{home}._reconstruct")]
    return torch.serialization.safe_globals(arrays)


def unwrap(content: object) -> dict[str, torch.Tensor] | None:
    """The state dict in a checkpoint, also under one of `WRAPPERS` or another name. None: there is none, or several."""
    if isinstance(content, Mapping):
        for key in WRAPPERS:
            if isinstance(content.get(key), Mapping):
                return unwrap(content[key])
        inner = [group for key, value in content.items() if isinstance(key, str) and (group := unwrap(value))]
        if len(inner) == 1:  # under a name of somebody's own, and there is no other
            return inner[0]
        if content and all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
            return {str(name): tensor for name, tensor in content.items()}
    return None


def without_prefixes(tensors: Mapping[str, torch.Tensor], *, known: str = "") -> dict[str, torch.Tensor]:
    """State-dict names without what stands before all of them.

    Args:
        tensors: by name.
        known: stop where a name begins so: it belongs to the model.

    >>> list(without_prefixes({"module._orig_mod.fc.weight": torch.zeros(1)}))
    ['fc.weight']
    """
    named = dict(tensors)
    while named and not any(known and name.startswith(known) for name in named):
        prefix = next((each for each in _PREFIXES if all(name.startswith(each) for name in named)), None)
        if prefix is None:
            break
        named = {name.removeprefix(prefix): tensor for name, tensor in named.items()}
    return named
