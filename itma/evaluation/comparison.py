"""Several runs side by side: runs that differ in the seed alone are one variant, with mean, deviation and interval."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from itma.config import from_plain, to_plain
from itma.errors import RunError
from itma.evaluation.runs import RunSummary, summarise
from itma.evaluation.seeds import deviation_of, spread
from itma.evaluation.tables import Table
from itma.io import write_text
from itma.models.checkpoint import POINTER, read_json
from itma.records import Interval, Report
from itma.training.run import read_metrics

FORMAT = 1
SEED = "train.seed"
COST = "cost.json"
"""What a run took, in its folder; `itma benchmark` writes it."""
_COLUMNS = 8
"""Steps at most that the table of curves has room for."""
_SAME = frozenset({SEED, "train.log_every", "data.about", "data.cache"})
"""Settings that make no other model."""


@dataclass(frozen=True)
class Figure:
    """One number over the runs of a variant."""

    mean: float
    deviation: float | None
    """Standard deviation of the sample. None: there is one run."""
    interval: Interval | None
    """95 % interval of the mean over runs, by Student's t. None: there is one run."""
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """Of the values that the runs have."""
        mean, interval, each = spread(values)
        if interval is not None:  # a share lies between 0 and 1, and so does its mean
            interval = Interval(max(0.0, interval.low), min(1.0, interval.high))
        return cls(mean, deviation_of(each), interval, each)

    def percent(self) -> str:
        """As percent: mean ± standard deviation, and the interval.

        >>> Figure.of([0.4, 0.5]).percent(), Figure.of([0.4]).percent()
        ('45.0 ± 7.1 % (0.0 to 100.0)', '40.0 %')
        """
        if self.deviation is None or self.interval is None:
            return f"{100 * self.mean:.1f} %"
        low, high = 100 * self.interval.low, 100 * self.interval.high
        return f"{100 * self.mean:.1f} ± {100 * self.deviation:.1f} % ({low:.1f} to {high:.1f})"


@dataclass(frozen=True)
class Cost:
    """What a run took, on the machine that it ran on."""

    parameters: int
    """Numbers in the model's weights, those that stay as they are included."""
    seconds_per_step: float
    milliseconds_per_query: float
    """Median time of one query's embedding from a decoded image and a sentence, alone in its batch."""

    def write(self, run: Path) -> None:
        """Leave it in a run folder."""
        write_text(run / COST, json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n")

    @classmethod
    def read(cls, run: Path) -> "Cost | None":
        """What a run folder says; None where it says nothing.

        Raises:
            RunError: the file is damaged.
        """
        plain = read_json(run / COST)
        if plain is None:
            return None
        try:
            return from_plain(cls, {name: plain[name] for name in cls.__annotations__})
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{str(run / COST)!r} is damaged: {error!r}; remove it to measure again") from error


@dataclass(frozen=True)
class Variant:
    """Runs that differ in nothing but the seed."""

    name: str
    """The composer, and what tells it from other variants of the same composer."""
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    chosen_by: Mapping[str, Figure] = field(default_factory=dict)
    """The metric that chose the checkpoints → what the chosen ones have of it; empty where a run has none."""
    cost: Mapping[str, float] = field(default_factory=dict)
    """Field of `Cost` → its mean; empty where a run does not say it."""
    curve: Mapping[int, Figure] = field(default_factory=dict)
    """Step → what was measured there of the metric that chooses the checkpoint, at steps where every run measured."""


@dataclass(frozen=True)
class Measurement:
    """The recall of all variants by one protocol, on the same queries and gallery."""

    protocol: str
    queries: int
    gallery: int
    recall: Mapping[str, Mapping[int, Figure]]
    """Variant → k → recall, over those of its runs that were measured so."""


@dataclass(frozen=True)
class Comparison:
    """Several runs side by side; `str()` shows them as text."""

    variants: tuple[Variant, ...]
    measurements: tuple[Measurement, ...]
    settings: Mapping[str, Mapping[str, Any]]
    """Settings that differ: dotted name → variant → value; None where the variant has no such setting."""
    notes: tuple[str, ...] = ()
    """What has to be known before the numbers are compared."""

    def __str__(self) -> str:
        return "\n\n".join(self._parts(str, ""))

    def markdown(self, title: str = "Comparison") -> str:
        """As Markdown."""
        return "\n\n".join([f"# {title}", *self._parts(Table.markdown, "## ")]) + "\n"

    def to_json(self) -> str:
        """All of it, for programs."""
        return json.dumps({"format": FORMAT, **to_plain(self)}, indent=2, ensure_ascii=False) + "\n"

    def tables(self) -> list[tuple[str, str, Table]]:
        """Heading, what has to be known of the numbers, and the table."""
        tables = [self._recall(each) for each in self.measurements]
        chosen = [(each.name, metric, f.percent()) for each in self.variants for metric, f in each.chosen_by.items()]
        if chosen:
            tables.append(("What chose the checkpoints", "", Table(("model", "metric", "best"), chosen)))
        steps = sorted({step for each in self.variants for step in each.curve})
        if len(steps) > 1:
            numbers = (round(number * (len(steps) - 1) / (_COLUMNS - 1)) for number in range(_COLUMNS))
            steps = [steps[number] for number in dict.fromkeys(numbers)]
            rows = [
                (each.name, *(f"{100 * each.curve[step].mean:.1f} %" if step in each.curve else "" for step in steps))
                for each in self.variants
                if each.curve
            ]
            metrics = dict.fromkeys(metric for each in self.variants for metric in each.chosen_by)
            heading = f"By step: {', '.join(metrics)}" if metrics else "By step"
            tables.append((heading, "", Table(("model", *(f"{step:,}" for step in steps)), rows)))
        forms = {"parameters": ",.0f", "seconds_per_step": ".3f", "milliseconds_per_query": ".1f"}
        variants = [each for each in self.variants if each.cost]
        if costs := [(each.name, *(f"{each.cost[name]:{form}}" for name, form in forms.items())) for each in variants]:
            tables.append(("Cost", "", Table(("model", "parameters", "seconds per step", "ms per query"), costs)))
        if self.settings:
            names = [each.name for each in self.variants]
            rows = [(setting, *(_show(by[name]) for name in names)) for setting, by in self.settings.items()]
            tables.append(("Settings that differ", "", Table(("setting", *names), rows)))
        return tables

    def _recall(self, measured: Measurement) -> tuple[str, str, Table]:
        ks = sorted({k for recall in measured.recall.values() for k in recall})
        rows = [
            (name, str(len(recall[ks[0]].values)), *(recall[k].percent() if k in recall else "" for k in ks))
            for name, recall in measured.recall.items()
        ]
        name, _, rest = measured.protocol.partition(": ")
        caption = f"{measured.queries:,} queries against {measured.gallery:,} images; {rest or name}"
        return f"Recall by {name}", caption, Table(("model", "runs", *(f"recall@{k}" for k in ks)), rows)

    def _parts(self, draw: Callable[[Table], str], mark: str) -> list[str]:
        apart = "\n\n" if mark else "\n"
        heads = [
            apart.join(part for part in (f"{mark}{heading}", caption, draw(table)) if part)
            for heading, caption, table in self.tables()
        ]
        several = any(len(each.runs) > 1 for each in self.variants)
        legend = ["Mean ± standard deviation over runs (95 % interval of the mean over runs, Student's t)."] * several
        return [*heads, *legend, *(f"note: {note}" for note in self.notes)]


def compare(runs: Sequence[str | Path]) -> Comparison:
    """Put runs side by side, from what their folders say.

    Runs whose settings differ in nothing but the seed are one variant. Only reports on the checkpoint that counts now
    are taken, and only those by the same protocol, with as many queries and images, stand in one table.

    Args:
        runs: run folders.

    Raises:
        RunError: none is given, or one is missing or damaged.
    """
    if not runs:
        raise RunError("give at least one run folder; itma runs lists those there are")
    summaries = list({run.folder.resolve(): run for run in map(summarise, runs)}.values())
    groups: dict[str, list[RunSummary]] = {}
    for run in summaries:
        groups.setdefault(json.dumps(_telling(run), sort_keys=True), []).append(run)
    names = _names([group[0] for group in groups.values()])
    named = dict(zip(names, groups.values(), strict=True))
    return Comparison(
        tuple(_variant(name, group) for name, group in named.items()),
        tuple(_measurements(named)),
        differing({name: _telling(group[0]) for name, group in named.items()}),
        tuple(_notes(named)),
    )


def _telling(run: RunSummary) -> dict[str, Any]:
    """The settings that tell a variant from another."""
    return {name: value for name, value in run.settings.items() if name not in _SAME}


def _names(runs: Sequence[RunSummary]) -> list[str]:
    """A name for each variant: its composer, and the settings that tell it from others of that composer."""
    names = []
    for run in runs:
        alike = {str(other.folder): _telling(other) for other in runs if other.composer == run.composer}
        apart = differing(alike)
        differences = [f"{name}={_show(values[str(run.folder)])}" for name, values in apart.items()]
        names.append(", ".join([run.composer or str(run.folder), *differences]))
    return names


def differing(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Setting → who → value, of those that are not the same for all.

    >>> differing({"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}})
    {'y': {'a': 2, 'b': 3}}
    """
    names = dict.fromkeys(name for each in settings.values() for name in each)
    table = {name: {who: each.get(name) for who, each in settings.items()} for name in names}
    return {name: values for name, values in table.items() if len({repr(value) for value in values.values()}) > 1}


def _variant(name: str, group: Sequence[RunSummary]) -> Variant:
    values = [run.best_value for run in group if run.best_value is not None]
    metric = str(group[0].settings.get("train.metric", ""))
    costs = [cost for run in group if (cost := Cost.read(run.folder)) is not None]
    means = {key: sum(getattr(cost, key) for cost in costs) / len(costs) for key in Cost.__annotations__ if costs}
    return Variant(
        name,
        tuple(str(run.folder) for run in group),
        tuple(run.settings.get(SEED, 0) for run in group),
        tuple(run.steps for run in group),
        {metric: Figure.of(values)} if len(values) == len(group) else {},
        means if len(costs) == len(group) else {},
        _curve([run.folder for run in group], metric),
    )


def _curve(folders: Sequence[Path], metric: str) -> dict[int, Figure]:
    measured = [
        {int(line["step"]): line[metric] for line in read_metrics(folder) if metric in line} for folder in folders
    ]
    return {
        step: Figure.of([each[step] for each in measured])
        for step in sorted(measured[0])
        if all(step in each for each in measured)
    }


def _measurements(named: Mapping[str, Sequence[RunSummary]]) -> list[Measurement]:
    by_protocol: dict[tuple[str, int, int], dict[str, list[Report]]] = {}
    for name, group in named.items():
        for run in group:
            reports = {(report.protocol, report.queries, report.gallery): report for report in run.reports.values()}
            for protocol, report in reports.items():
                by_protocol.setdefault(protocol, {}).setdefault(name, []).append(report)
    return [
        Measurement(
            *protocol,
            {
                name: {k: Figure.of([report.recall[k] for report in reports]) for k in reports[0].recall}
                for name, reports in by_name.items()
            },
        )
        for protocol, by_name in by_protocol.items()
    ]


def _notes(named: Mapping[str, Sequence[RunSummary]]) -> list[str]:
    notes = []
    for name, group in named.items():
        seeds = [run.settings.get(SEED, 0) for run in group]
        if len(set(seeds)) < len(seeds):
            notes.append(f"{name}: runs of the same seed count as several, though they are no independent trials")
        for run in group:
            steps = run.settings.get("train.steps")
            if steps is not None and run.steps < steps and (run.folder / POINTER).is_file():
                notes.append(
                    f"{run.folder} has done {run.steps:,} of {steps:,} steps; go on: itma train --resume {run.folder}"
                )
            if not run.reports:
                old = f"; those in {', '.join(run.outdated)} measured other weights" if run.outdated else ""
                notes.append(f"{run.folder} has no report{old}; measure it: itma evaluate {run.folder}")
    return notes


def _show(value: Any) -> str:
    return "–" if value is None else json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
