"""The run folder: checkpoints that survive a crash, and everything needed to go on or to answer.

runs/2026-01-31_12-00-00_itma/
  run.json             settings of model, training and data, and what they ran on
  metrics.jsonl        one line for each logged step
  checkpoints.json     which checkpoint is the last and which the best; replaced in one step
  step-000600/         model.safetensors, config.json, tokenizer.json, manifest.json,
                       optimizer.safetensors, loss.safetensors (where the loss remembers something), state.json
  events.out.tfevents… for TensorBoard
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from itma.errors import RunError
from itma.io import file_sum, free_folder, new_folder, parse_json, to_storage_error, write_text
from itma.models.checkpoint import MANIFEST, METRICS, POINTER, RUN, STATE, checkpoint_folder, read_json, verify
from itma.models.retriever import Retriever, save_tensors
from itma.models.shipped import locate
from itma.training.losses import Loss

OPTIMIZER, LOSS = "optimizer.safetensors", "loss.safetensors"


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    step: int
    """Steps done."""
    best: float | None
    """The best value of the chosen metric so far; larger is better."""
    best_step: int | None
    measured: bool = True
    """Whether the measures that are due at this step have been taken."""


def new_run_folder(comment: str = "", parent: str | Path = "runs") -> Path:
    """A folder name under `parent` made of the time and `comment`; a number is added where it is taken."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S") + (f"_{comment}" if comment else "")
    return free_folder(Path(parent) / stamp, "_")


def save_checkpoint(
    folder: Path, model: Retriever, optimizer: torch.optim.Optimizer, loss: Loss, progress: Progress
) -> Path:
    """Write one checkpoint and point at it; the best one stays. `choose_best` follows once it was measured.

    Until the pointer is replaced, the earlier checkpoints count: a crash or a full disk leaves them whole.

    Raises:
        StorageError: writing failed; the earlier checkpoints are untouched.
    """
    target = folder / _step_name(progress.step)
    if target.exists():  # left by an interrupted save of the same step, or saved already
        shutil.rmtree(target)
    with new_folder(target) as draft:
        model.save(draft)
        save_tensors(_optimizer_tensors(optimizer), draft / OPTIMIZER)
        memory = {name: tensor.cpu().contiguous() for name, tensor in loss.state_dict().items()}
        if memory:
            save_tensors(memory, draft / LOSS)
        (draft / STATE).write_text(json.dumps({"step": progress.step}, indent=2) + "\n", encoding="utf-8")
        sums = verify(draft, ())
        sums |= {name: file_sum(draft / name) for name in (OPTIMIZER, STATE, *([LOSS] if memory else []))}
        (draft / MANIFEST).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
    _point(folder, progress)
    return target


def choose_best(folder: Path, progress: Progress) -> None:
    """Point at the best checkpoint, and remove those that are neither last nor best.

    Raises:
        StorageError: the pointer cannot be written; the checkpoints are untouched.
    """
    last, best = _point(folder, progress)
    for other in folder.glob("step-*"):
        if other.name not in (last, best):
            shutil.rmtree(other, ignore_errors=True)


def _point(folder: Path, progress: Progress) -> tuple[str, str]:
    """Write which checkpoint is the last and which the best, and what the best measured; replaced in one step."""
    last = _step_name(progress.step)
    best = last if progress.best_step is None else _step_name(progress.best_step)
    pointer = {
        "last": last,
        "best": best,
        "best_value": progress.best,
        "best_step": progress.best_step,
        "measured": progress.measured,
    }
    write_text(folder / POINTER, json.dumps(pointer, indent=2) + "\n")
    return last, best


def _step_name(step: int) -> str:
    return f"step-{step:06d}"


def last_step(folder: str | Path) -> int:
    """The steps that the run's last checkpoint has done.

    Raises:
        RunError: its state is missing or damaged.
    """
    path = checkpoint_folder(folder, "last") / STATE
    if (state := read_json(path)) is None:
        raise RunError(
            f"{str(folder)!r} holds a model without what training needs to go on ({STATE}); begin a new run from its "
            f"weights: itma train DATA --start {folder}"
        )
    try:
        return int(state["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{str(path)!r} is damaged: {error!r}") from error


def forget(folder: Path) -> None:
    """Remove what a run that never saved a checkpoint left behind, so that another can begin in its folder.

    Raises:
        StorageError: something cannot be removed.
    """
    try:
        for path in (folder / RUN, folder / METRICS, *folder.glob("events.out.tfevents.*")):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise to_storage_error(folder, error) from error


def sweep(folder: Path) -> None:
    """Remove what a process that was killed while it wrote left half done in a run's folder."""
    for draft in folder.glob(".*.tmp"):
        if draft.is_dir() and not draft.is_symlink():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            with suppress(OSError):
                draft.unlink()


def has_checkpoint(folder: str | Path) -> bool:
    """Whether the run in `folder` has saved anything yet."""
    return (Path(folder) / POINTER).is_file() or not (Path(folder) / RUN).is_file()


def refuse_imported(folder: str | Path) -> None:
    """Refuse to go on with a run that was not trained here.

    Raises:
        RunError: it was imported from a published checkpoint, or is no run.
    """
    if "imported_from" in read_settings(folder).get("made_with", {}):
        raise RunError(
            f"{str(folder)!r} was imported from a checkpoint that does not say where its optimizer stood; begin a new "
            f"run from its weights: itma train DATA --start {folder}"
        )


def is_finished(folder: str | Path, steps: int) -> bool:
    """Whether a run has done so many steps and measured the last of them, so that resuming it would change nothing."""
    pointer = read_json(Path(folder) / POINTER) or {}
    return last_step(folder) >= steps and bool(pointer.get("measured", True))


def load_checkpoint(folder: Path, model: Retriever, optimizer: torch.optim.Optimizer, loss: Loss) -> Progress:
    """Bring `model`, `optimizer` and what `loss` remembers to where the run's last checkpoint stands.

    Raises:
        RunError: something is missing, damaged, or belongs to another model.
    """
    checkpoint = checkpoint_folder(folder, "last")
    remembers = bool(loss.state_dict())
    verify(checkpoint, (OPTIMIZER, STATE, *([LOSS] if remembers else [])))
    saved = Retriever.load(checkpoint)
    if saved.config != model.config or saved.tokenizer.to_json() != model.tokenizer.to_json():
        raise RunError(
            f"{str(folder)!r} holds another model than the one to go on with; resume with the settings in its {RUN}"
        )
    model.load_state_dict(saved.state_dict())
    try:
        _restore_optimizer(optimizer, load_file(checkpoint / OPTIMIZER))
        if remembers:
            loss.load_state_dict(load_file(checkpoint / LOSS))
        pointer = read_json(folder / POINTER) or {}
        return Progress(last_step(folder), pointer["best_value"], pointer["best_step"], pointer["measured"])
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise RunError(f"the checkpoint {str(checkpoint)!r} cannot be resumed: {error}") from error


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
    path = locate(folder) / RUN
    if (settings := read_json(path)) is not None:
        return settings
    if not path.parent.is_dir():
        raise RunError(f"the run folder {str(folder)!r} does not exist; itma train makes one")
    within = sorted(str(each.parent) for each in path.parent.glob(f"*/{RUN}"))
    example = f"; there are runs in it, e.g. {within[0]!r}" if within else ""
    raise RunError(f"{str(path)!r} is missing; give a folder that itma train made{example}")


def read_metrics(folder: str | Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl, in the order of steps; a last line that was cut off is left out."""
    path = Path(folder) / METRICS
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    try:
        return [parse_json(line) for line in lines if line.endswith("\n")]
    except ValueError as error:
        raise RunError(f"{str(path)!r} is damaged: {error}") from error


def forget_metrics_after(folder: Path, step: int) -> None:
    """Drop the lines of metrics.jsonl that lie beyond `step`, which is where a resumed run goes on from."""
    lines = [line for line in read_metrics(folder) if line["step"] <= step]
    write_text(folder / METRICS, "".join(json.dumps(line) + "\n" for line in lines))
