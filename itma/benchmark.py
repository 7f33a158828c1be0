"""Composers at equal budget: each is trained with several seeds, measured, and put side by side with its cost."""

import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from itma.api import Settings, evaluate_by, read_run, resume, settings_for, train
from itma.demo.comparison_page import comparison_page
from itma.device import device_named
from itma.errors import ConfigError, ItmaError, RunError, StorageError
from itma.evaluation.comparison import Comparison, Cost, compare
from itma.evaluation.runs import summarise
from itma.io import check_writable, write_text
from itma.models.checkpoint import RUN
from itma.models.composers import REGISTRY as COMPOSERS
from itma.models.retriever import Retriever
from itma.sharing import share_results
from itma.training.loop import TrainingInterrupted
from itma.training.run import has_checkpoint, is_finished, read_metrics, read_settings

log = logging.getLogger(__name__)

MARKDOWN, JSON, PAGE = "comparison.md", "comparison.json", "comparison.html"
_QUERIES, _WARM = 20, 3
"""Queries that are timed, and those before them that are not."""


@share_results()
def benchmark(
    data: str,
    models: Sequence[str] | None,
    out: str | Path,
    *,
    seeds: int = 3,
    preset: str | None = None,
    changes: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: bool = False,
) -> Comparison:
    """Train composers by one recipe, measure them, and write one table.

    Each run is a folder `MODEL-SEED` in `out`. What is finished there is not done again, and what was interrupted goes
    on, so that the call can be repeated, also with more models or seeds. A run that fails is a note of the comparison.

    Args:
        data: name of the data set.
        models: names of composers. None: all that are known, those that were imported too.
        out: gets the runs, `comparison.md`, `comparison.json` and `comparison.html`.
        seeds: how many, from seed 0 on.
        preset: named recipe of all runs. None: the one that is meant for the data set.
        changes: settings of all runs by dotted name; see `itma.settings_for`.
        device: `auto`, `cpu`, `cuda`, …
        progress: show progress bars.

    Returns:
        The comparison, with the cost of each model.

    Raises:
        ConfigError, UnknownNameError: before the work, where settings cannot be.
        RunError: a folder in `out` holds a run of other settings; or no run came to its end.
        TrainingInterrupted: Ctrl-C; the run was saved.
        StorageError: `out` cannot be written to.
    """
    out, common = Path(out), dict(changes or {})
    models = list(COMPOSERS) if models is None else models
    if not models or seeds < 1:
        raise ConfigError(f"models={list(models)} and seeds={seeds}: give at least one model and one seed")
    for name, instead in (("train.seed", "seeds"), ("model.composer", "models")):
        if name in common:
            raise ConfigError(f"{name} is another one in each run of a benchmark; leave it out and give {instead}")
    recipes: dict[Path, dict[str, Any]] = {
        out / f"{model}-{seed}": {"model": model, "preset": preset, "changes": {**common, "train.seed": str(seed)}}
        for seed in range(seeds)
        for model in dict.fromkeys(models)
    }
    plan = {folder: settings_for(data, **recipe) for folder, recipe in recipes.items()}
    check_writable(out)
    for folder, settings in plan.items():
        _check_same(folder, settings)
    done, failures = [], []
    for number, (folder, settings) in enumerate(plan.items(), start=1):
        log.info("run %d of %d: %s", number, len(plan), folder)
        try:
            _finish(folder, data, recipes[folder], settings.train.steps, device, progress)
        except (TrainingInterrupted, StorageError):
            raise
        except ItmaError as error:
            log.warning("%s failed, the others go on: %s", folder, error)
            failures.append(f"{folder} failed: {error}")
        else:
            done.append(folder)
    if not done:
        raise RunError("no run came to its end. " + " ".join(failures))
    comparison = compare([folder for folder in plan if folder in done])
    comparison = replace(comparison, notes=(*comparison.notes, *failures))
    title = title_of(data, list(dict.fromkeys(models)))
    write_text(out / MARKDOWN, comparison.markdown(title))
    write_text(out / JSON, comparison.to_json())
    write_text(out / PAGE, comparison_page(comparison, title))
    return comparison


def measure_cost(run: str | Path, *, device: str = "auto") -> Cost:
    """What a trained run took, and what a query takes on this machine.

    Raises:
        RunError: the run cannot be opened.
    """
    torch_device = device_named(device)
    model = Retriever.load(run).to(torch_device)
    sentences = read_settings(run).get("sentences") or ["in red"]
    pixels = torch.zeros(1, 3, model.preprocess.height, model.preprocess.width, dtype=torch.uint8)
    times = []
    for number in range(_WARM + _QUERIES):
        begun = time.perf_counter()
        model.embed_queries(pixels.to(torch_device), [sentences[number % len(sentences)]]).cpu()
        times.append(time.perf_counter() - begun)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(parameters, seconds_per_step(read_metrics(run)), 1000 * statistics.median(times[_WARM:]))


def seconds_per_step(lines: Sequence[Mapping[str, float]]) -> float:
    """The median time of a training step, without evaluations, from the lines of metrics.jsonl.

    >>> seconds_per_step([{"step": 2, "seconds": 4, "loss": 1}, {"step": 2, "seconds": 9}])
    2.0
    """
    before = [{"step": 0, "seconds": 0.0}, *lines]
    each = [
        (line["seconds"] - last["seconds"]) / (line["step"] - last["step"])
        for last, line in zip(before, lines, strict=False)
        if "loss" in line and line["step"] > last["step"]
    ]
    if each:
        return float(statistics.median(each))
    return float(lines[-1]["seconds"] / lines[-1]["step"]) if lines else 0.0


def _check_same(folder: Path, settings: Settings) -> None:
    """Refuse a folder that holds a run of other settings."""
    if not (folder / RUN).is_file():
        return
    existing = read_run(folder)
    # a run without rows to hold out chose another metric by itself
    if replace(existing, train=replace(existing.train, metric=settings.train.metric)) != settings:
        raise RunError(
            f"{str(folder)!r} holds a run of other settings than those asked for (see: itma compare {folder}); give "
            "the settings it was made with, or another folder"
        )


def title_of(data: str, models: Sequence[str]) -> str:
    """What a comparison is called: by its data and its models, or by the number of these beyond three."""
    return f"{data}: {', '.join(models) if len(models) <= 3 else f'{len(models)} models'}"


def _finish(folder: Path, data: str, recipe: Mapping[str, Any], steps: int, device: str, progress: bool) -> None:
    """Train, measure and time one run, as far as that is not done."""
    if not ((folder / RUN).is_file() and has_checkpoint(folder)):
        train(data, **recipe, out=folder, device=device, progress=progress)
    elif not is_finished(folder, steps):
        resume(folder, device=device, progress=progress)
    if not summarise(folder).reports:
        evaluate_by([], folder, device=device, progress=progress)
    if Cost.read(folder) is None:
        measure_cost(folder, device=device).write(folder)
