"""The run folder: checkpoints that survive a crash, and everything needed to go on or to answer.

runs/2026-01-31_12-00-00_itma/
  run.json             settings of model, training and data, and what they ran on
  metrics.jsonl        one line for each logged step
  checkpoints.json     which checkpoint is the last and which the best; replaced in one step
  step-000600/         model.safetensors, config.json, tokenizer.json, manifest.json,
                       optimizer.safetensors, state.json
  events.out.tfevents… for TensorBoard
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from itma.errors import RunError
from itma.io import file_sum, new_folder, write_text
from itma.models.retriever import MANIFEST, Retriever, checkpoint_folder, verify
from itma.models.shipped import located

OPTIMIZER, STATE, POINTER, METRICS, RUN = (
    "optimizer.safetensors",
    "state.json",
    "checkpoints.json",
    "metrics.jsonl",
    "run.json",
)


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    step: int
    """Steps done."""
    best: float | None
    """The best value of the chosen metric so far; larger is better."""
    best_step: int | None


def new_run_folder(comment: str = "", parent: str | Path = "runs") -> Path:
    """A folder name under `parent` made of the time and `comment`; a number is added where it is taken."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S") + (f"_{comment}" if comment else "")
    folder, number = Path(parent) / stamp, 2
    while folder.exists():
        folder, number = Path(parent) / f"{stamp}_{number}", number + 1
    return folder


def save_checkpoint(
    folder: Path, model: Retriever, optimizer: torch.optim.Optimizer, progress: Progress, numbers: Mapping[str, float]
) -> Path:
    """Write one checkpoint, point at it, and remove those that are neither last nor best.

    Until the pointer is replaced, the earlier checkpoints count: a crash or a full disk leaves them whole.

    Raises:
        StorageError: writing failed; the earlier checkpoints are untouched.
    """
    target = folder / f"step-{progress.step:06d}"
    if target.exists():  # left by an interrupted save of the same step, or saved already
        shutil.rmtree(target)
    with new_folder(target) as draft:
        model.save(draft)
        save_file(_optimizer_tensors(optimizer), draft / OPTIMIZER)
        state = {
            "step": progress.step,
            "best": progress.best,
            "best_step": progress.best_step,
            "numbers": dict(numbers),
        }
        (draft / STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        sums = json.loads((draft / MANIFEST).read_text(encoding="utf-8"))
        sums |= {name: file_sum(draft / name) for name in (OPTIMIZER, STATE)}
        (draft / MANIFEST).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
    best = target.name if progress.best_step in (None, progress.step) else f"step-{progress.best_step:06d}"
    write_text(folder / POINTER, json.dumps({"last": target.name, "best": best}, indent=2) + "\n")
    for other in folder.glob("step-*"):
        if other.name not in (target.name, best):
            shutil.rmtree(other, ignore_errors=True)
    return target


def refuse_imported(folder: str | Path) -> None:
    """Refuse to go on with a run that was not trained here.

    Raises:
        RunError: it was imported from a published checkpoint, or is no run.
    """
    if "imported from" in read_settings(folder).get("made with", {}):
        raise RunError(
            f"{str(folder)!r} was imported from a checkpoint that does not say where its optimizer stood; begin a new "
            f"run from its weights: itma train DATA --start {folder}"
        )


def load_checkpoint(folder: Path, model: Retriever, optimizer: torch.optim.Optimizer) -> Progress:
    """Bring `model` and `optimizer` to where the run's last checkpoint stands.

    Raises:
        RunError: something is missing, damaged, or belongs to another model.
    """
    place = checkpoint_folder(folder, "last")
    verify(place, (OPTIMIZER, STATE))
    saved = Retriever.load(place)
    if saved.config != model.config or saved.tokenizer.to_json() != model.tokenizer.to_json():
        raise RunError(
            f"{str(folder)!r} holds another model than the one to go on with; resume with the settings in its {RUN}"
        )
    model.load_state_dict(saved.state_dict())
    try:
        _restore_optimizer(optimizer, load_file(place / OPTIMIZER))
        state = json.loads((place / STATE).read_text(encoding="utf-8"))
        return Progress(state["step"], state["best"], state["best_step"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"the checkpoint {str(place)!r} cannot be resumed: {error}") from error


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for index, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write run.json."""
    write_text(folder / RUN, json.dumps(settings, indent=2) + "\n")


def read_settings(folder: str | Path) -> dict[str, Any]:
    """Read run.json.

    Raises:
        RunError: the folder or the file is missing or damaged.
    """
    path = located(folder) / RUN
    if not path.is_file():
        raise RunError(f"{str(path)!r} is missing; give a folder that itma train made")
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return settings
    except ValueError as error:
        raise RunError(f"{str(path)!r} is damaged: {error}") from error


def read_metrics(folder: str | Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl, in the order of steps; a last line that was cut off is left out."""
    path = Path(folder) / METRICS
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def forget_metrics_after(folder: Path, step: int) -> None:
    """Drop the lines of metrics.jsonl that lie beyond `step`, which is where a resumed run goes on from."""
    kept = [line for line in read_metrics(folder) if line["step"] <= step]
    write_text(folder / METRICS, "".join(json.dumps(line) + "\n" for line in kept))
