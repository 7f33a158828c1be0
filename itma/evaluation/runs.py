"""What run folders say of themselves, read without opening a model or loading data."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itma.config import flat
from itma.errors import ItmaError, RunError
from itma.evaluation.tables import Table
from itma.models.checkpoint import MANIFEST, POINTER, RUN, WEIGHTS, read_json
from itma.models.provenance import REPORTS, read_report
from itma.models.shipped import locate
from itma.records import Report
from itma.training.run import read_settings

START = "start"
"""The setting's name under which a summary has the sum of the weights that a run began with."""
_SHOWN = (1, 10)
"""The k of the recalls that the list of runs has room for."""


@dataclass(frozen=True)
class RunSummary:
    """One run, as its files tell it."""

    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Dotted name → value, of `run.json`; and `start` where it began with another model's weights."""
    steps: int = 0
    """Steps that the last checkpoint has done; 0 where there is none yet."""
    best_step: int | None = None
    """The step of the checkpoint that was chosen. None: none was chosen by a measure, and the last one counts."""
    best_value: float | None = None
    """What the chosen checkpoint has of the metric that chose it (`train.metric`)."""
    reports: Mapping[str, Report] = field(default_factory=dict)
    """Folder within the run → what was measured on the checkpoint that counts now."""
    outdated: tuple[str, ...] = ()
    """Folders of reports that measured other weights."""
    problem: str = ""
    """Why the run cannot be read; empty where it can."""

    @property
    def composer(self) -> str:
        """The composer's name; empty where the run does not say it."""
        return str(self.settings.get("model.composer", ""))

    @property
    def data(self) -> str:
        """The data set's name, with the size of a generated world that was made in memory."""
        name, size = str(self.settings.get("data.name", "")), self.settings.get("data.size")
        apart = self.settings.get("data.root") is not None or self.settings.get("data.external")
        return name if apart or not name else f"{name} {size}"

    def row(self) -> dict[str, Any]:
        """What `itma runs` shows, ready for JSON."""
        return {
            "run": str(self.folder),
            "composer": self.composer,
            "data": self.data,
            "steps": self.steps,
            "of": self.settings.get("train.steps"),
            "checkpoint": self.best_step or self.steps or None,
            "metric": self.settings.get("train.metric"),
            "value": self.best_value,
            "reports": {
                name: {"protocol": report.protocol, "recall": dict(report.recall)}
                for name, report in self.reports.items()
            },
            "outdated": list(self.outdated),
            "problem": self.problem,
        }


def find_runs(folder: str | Path = "runs") -> list[Path]:
    """The run folders in and below `folder`, in the order of their paths; a run within a run is not looked for.

    Raises:
        RunError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(
            f"the folder {str(folder)!r} does not exist; give one that holds runs (itma train makes them in runs)"
        )
    runs = []
    for path, inner, files in os.walk(folder):
        if RUN in files:
            runs.append(Path(path))
            inner.clear()
        inner[:] = sorted(name for name in inner if not name.startswith("."))
    return sorted(runs)


def summarise(folder: str | Path) -> RunSummary:
    """Read what one run says.

    Raises:
        RunError: it is no run, or a file of it is damaged.
    """
    folder = locate(folder)
    plain = read_settings(folder)
    origin = plain.get("made_with") or {}
    settings = flat({name: plain[name] for name in ("model", "train", "data") if isinstance(plain.get(name), Mapping)})
    if isinstance(started := origin.get("started_from"), Mapping):
        settings[START] = str(started.get("sha256", "")) or str(started.get("path", ""))
    pointer = read_json(folder / POINTER) or {}
    packed = plain.get("checkpoint") or {}  # of a model that was packed to be handed on
    steps = _step(pointer.get("last")) or int(packed.get("step") or 0)
    value = pointer.get("best_value")
    best = pointer.get("best_step") if pointer else packed.get("step") if packed.get("best") else None
    weights = (read_json(folder / str(pointer.get("best", ".")) / MANIFEST) or {}).get(WEIGHTS)
    reports, outdated = {}, []
    for path in sorted(folder.glob(REPORTS.replace("/", "/**/"))):
        report, name = read_report(path), path.parent.relative_to(folder).as_posix()
        if report.weights == weights:
            reports[name] = report
        else:
            outdated.append(name)
    return RunSummary(folder, settings, steps, best, value, reports, tuple(outdated))


def summarise_below(folder: str | Path = "runs") -> list[RunSummary]:
    """What all runs in and below a folder say; of one that cannot be read, why.

    Raises:
        RunError: there is no such folder.
    """
    summaries = []
    for run in find_runs(folder):
        try:
            summaries.append(summarise(run))
        except ItmaError as error:
            summaries.append(RunSummary(run, problem=str(error)))
    return summaries


def table_of(runs: Sequence[RunSummary]) -> Table:
    """A row for each run."""
    header = ("run", "composer", "data", "steps", "checkpoint", "best by", "reports")
    return Table(header, tuple(_cells(run) for run in runs))


def _cells(run: RunSummary) -> tuple[str, ...]:
    if run.problem:
        return str(run.folder), "", "", "", "", "", f"cannot be read: {run.problem}"
    total = run.settings.get("train.steps")
    steps = f"{run.steps:,}" if total in (None, run.steps) else f"{run.steps:,} of {total:,}"
    chosen = "none yet" if not run.steps else f"step {run.best_step or run.steps:,}"
    value = "" if run.best_value is None else f"{run.settings.get('train.metric', '')} {run.best_value:.1%}"
    results = [f"{name.removeprefix('evaluation-')}: {_recalls(report)}" for name, report in run.reports.items()]
    results += [f"{len(run.outdated)} of other weights"] if run.outdated else []
    return str(run.folder), run.composer, run.data, steps, chosen, value, "; ".join(results)


def _recalls(report: Report) -> str:
    ks = [k for k in _SHOWN if k in report.recall] or list(report.recall)[:2]
    return " ".join(f"@{k} {report.recall[k]:.1%}" for k in ks)


def _step(name: object) -> int:
    """The step that a checkpoint's folder is named after; 0 for another name."""
    number = str(name).removeprefix("step-")
    return int(number) if number.isdigit() else 0
