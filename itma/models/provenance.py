"""How a model was made and what was measured on it, as its run folder tells; nothing is told that is not there.

A report counts only for the weights that it measured (`Report.weights`), so that no number strays to another model.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from itma.config import from_plain, to_plain
from itma.errors import ItmaError, RunError
from itma.io import parse_json, write_text
from itma.models.checkpoint import MANIFEST, METRICS, POINTER, RUN, STATE, WEIGHTS, read_json
from itma.models.shipped import locate
from itma.models.towers import holds_towers, towers_sum
from itma.records import Report

log = logging.getLogger(__name__)

REPORT = "report.json"
"""The file of an evaluation; written by `itma.evaluation.evaluate`."""
REPORT_FORMAT = 1
REPORTS = f"evaluation-*/{REPORT}"
"""Where reports stand in a folder, as a pattern whose star also covers deeper folders."""
_PATH_SETTINGS = ("root", "weights", "path")
"""Settings that hold a path of the machine on which training ran."""


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from, as far as its files say."""

    settings: Mapping[str, Any] | None = None
    """What `run.json` holds: settings of model, training and data, and what they ran on."""
    step: int | None = None
    """The training step at which these weights were saved."""
    best: bool = False
    """Whether they were chosen as the run's best."""
    chosen: str = ""
    """How they were chosen among the checkpoints of the run, in words; empty where that is not known."""
    reports: Mapping[str, Report] = field(default_factory=dict)
    """Folder within the run → what was measured on these weights."""
    seconds: float | None = None
    """How long the training took up to them, with that of the weights it began with."""

    def write(self, folder: Path) -> None:
        """Leave `run.json` and the reports in `folder`, without the paths of this machine.

        Raises:
            StorageError: the disk is full or the folder cannot be written to.
        """
        if self.settings is not None:
            settings = {
                **_cut_paths(self.settings),
                "checkpoint": {"step": self.step, "best": self.best, "seconds": self.seconds},
            }
            write_text(folder / RUN, json.dumps(settings, indent=2) + "\n")
        for name, report in self.reports.items():
            plain = {"format": REPORT_FORMAT, **to_plain(report), "model": report.model.partition(" (")[0]}
            write_text(folder / name / REPORT, json.dumps(plain, indent=2) + "\n")


def read_provenance(run: str | Path, weights: str) -> Provenance:
    """What a run folder tells of one model.

    Reports on other weights, such as those of an earlier checkpoint, are left out; the log names them.

    Args:
        run: a run folder, a checkpoint folder, or one that `itma.hub.sharing.save_pretrained` made.
        weights: sha256 of the model's weights file.

    Raises:
        RunError: there is no such folder, it does not hold these weights, or a file in it is damaged.
    """
    name, run = run, locate(run)
    if run.is_dir() and holds_towers(run) and towers_sum(run) == weights:
        return Provenance({"made_with": {"started_from": {"name": show_name(str(name)), "sha256": weights}}})
    if not run.is_dir():
        raise RunError(f"the run folder {str(run)!r} does not exist; a model card is written from one, or without run")
    if (folder := _folder_of(weights, run)) is None:
        raise RunError(
            f"{str(run)!r} holds no checkpoint with the weights of this model, so what it tells is of another one; "
            "give the run that the model was loaded from"
        )
    settings = read_json(run / RUN)
    record = _checkpoint(run, folder, settings)
    (settings or {}).pop("checkpoint", None)
    reports, others = {}, []
    for path in sorted(run.glob(REPORTS.replace("/", "/**/"))):
        report = read_report(path)
        if report.weights == weights:
            reports[path.parent.relative_to(run).as_posix()] = report
        else:
            others.append(str(path))
    if others:
        log.warning(
            "left out of the model card, because they measured other weights: %s; measure again with: itma evaluate %s",
            ", ".join(others),
            run,
        )
    if "seconds" not in record:
        record["seconds"] = _seconds(run / METRICS, record.get("step"))
        before = ((settings or {}).get("made_with") or {}).get("started_from", {}).get("seconds")
        if record["seconds"] is not None and before is not None:
            record["seconds"] += before
    chosen = how_chosen(settings or {}, record.get("step"), best=bool(record.get("best")))
    return Provenance(settings, record.get("step"), bool(record.get("best")), chosen, reports, record["seconds"])


def _folder_of(weights: str, run: Path) -> Path | None:
    """The folder that holds these weights: the run's itself, or that of one of its checkpoints; None: neither."""
    folders = (run, *sorted(run.glob("step-*")))
    return next((each for each in folders if (read_json(each / MANIFEST) or {}).get(WEIGHTS) == weights), None)


def _checkpoint(run: Path, folder: Path, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the files of a run say of one of its checkpoints: its step, and whether it was chosen as the best."""
    saved, pointer = read_json(folder / STATE), read_json(run / POINTER) or {}
    if saved is not None:
        chosen = pointer.get("best") == folder.name and pointer.get("best_value") is not None
        return {"step": saved.get("step"), "best": chosen}
    if folder != run:  # an imported checkpoint, which was chosen elsewhere
        return {"step": int(folder.name.removeprefix("step-")), "best": False}
    return dict((settings or {}).get("checkpoint") or {})  # left by `Provenance.write`


def checkpoint_choice(run: str | Path, weights: str) -> str:
    """How the checkpoint with these weights was chosen among those of its run; empty where the files do not say it."""
    run = locate(run)
    if (folder := _folder_of(weights, run)) is None:
        return ""
    settings = read_json((folder.parent if folder.name.startswith("step-") else run) / RUN)
    record = _checkpoint(run, folder, settings)
    return how_chosen(settings or {}, record.get("step"), best=bool(record.get("best")))


def how_chosen(settings: Mapping[str, Any], step: int | None, *, best: bool) -> str:
    """How a checkpoint was chosen, in words.

    Args:
        settings: what `run.json` holds.
        step: of the checkpoint. None: not known.
        best: whether it was chosen by the run's metric; otherwise it is the last one.
    """
    train, made_with = settings.get("train"), settings.get("made_with") or {}
    if not isinstance(train, Mapping) or step is None:
        return ""
    if "imported_from" in made_with:
        return f"step {step:,}, as the imported file had it; how it was chosen is not known"
    head = f"step {step:,} of {train['steps']:,}"
    if not best:
        return f"{head}, the last that was saved; no measure chose it"
    part, data = str(train["metric"]).partition("/")[0], (settings.get("data") or {}).get("name", "its data")
    rules = {
        "validation": f"on the {100 * train['hold_out']:.1f} % of the training references that were held out",
        "train": "on rows that it learned from",
        "test": f"on the split of {data} that recall is measured on, as the published code does: recall there is "
        "better than on data that had no part in the choice",
    }
    return f"{head}, the best by {train['metric']}, {rules[part]}"


def _seconds(path: Path, step: int | None) -> float | None:
    """The time that the log of a training gives a step; nothing where there is none."""
    if step is None or not path.is_file():
        return None
    try:
        lines = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return max((float(line["seconds"]) for line in lines if line["step"] <= step), default=None)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{str(path)!r} is damaged: {error!r}") from error


def read_report(path: Path) -> Report:
    """What an evaluation wrote.

    Raises:
        RunError: it is damaged, or was written by a newer itma.
    """
    plain = read_json(path) or {}
    try:
        if (number := plain.pop("format")) > REPORT_FORMAT:
            raise RunError(
                f"{str(path)!r} was written by a newer itma (format {number}, this one reads {REPORT_FORMAT}); "
                "upgrade with: pip install -U itma"
            )
        return from_plain(Report, plain)
    except RunError:
        raise
    except (ItmaError, KeyError, TypeError) as error:
        raise RunError(f"the report {str(path)!r} is damaged: {error}; write it again with: itma evaluate") from error


def _cut_paths(plain: Any, name: str = "") -> Any:
    """Plain settings in which a path is cut to its last part: what folders a machine has is nobody's business."""
    if isinstance(plain, Mapping):
        return {key: _cut_paths(value, key) for key, value in plain.items()}
    return cut_path(plain) if isinstance(plain, str) and (name in _PATH_SETTINGS or _is_path(plain)) else plain


def cut_path(path: str) -> str:
    """The last part of a path, of any system.

    >>> cut_path("/home/someone/weights.pth"), cut_path("C:/data/fashioniq/")
    ('weights.pth', 'fashioniq')
    """
    return PureWindowsPath(path).name


def show_name(name: str) -> str:
    """The name of a network as a card may show it: a hub name or short name whole, a path its last part.

    >>> show_name("resnet-18"), show_name("microsoft/resnet-50"), show_name("/home/someone/resnet")
    ('resnet-18', 'microsoft/resnet-50', 'resnet')
    """
    return cut_path(name) if _is_path(name) or Path(name).exists() else name


def _is_path(text: str) -> bool:
    return Path(text).is_absolute() or PureWindowsPath(text).is_absolute() or text.startswith(("~", "./", "../"))
