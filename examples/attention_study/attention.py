"""The study itself: runs are measured, and the measures become tables, charts and files."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from examples.attention_study.charts import Dot, dot_chart
from examples.attention_study.measures import ATTENTION, PARTS, Measures, measured
from examples.attention_study.scenes import chosen, scenes, without_each
from itma.api import read_run
from itma.config import flat, to_plain
from itma.data.datasets.generated import shapes_config
from itma.data.synthetic.shapes import World
from itma.errors import DataError, ExplanationError
from itma.evaluation.comparison import differing
from itma.evaluation.evaluate import evaluate
from itma.evaluation.seeds import spread
from itma.explanations.attention import has_attention
from itma.io import write_text, write_with
from itma.models.retriever import Retriever
from itma.records import Interval

FORMAT = 1
GROUPS = ("add", "remove", "change")
MEASURES: dict[str, str] = {
    **{f"{name}: per area": f"share of {name} on the thing concerned / its area" for name in ATTENTION},
    **{
        f"{name}: named / unnamed": f"share of {name} on the thing concerned / that under sentences about other things"
        for name in ATTENTION
    },
    "occlusion: per area": "share of the windows' effects on the thing concerned / its share of the windows",
    "need of it / of others": "how far the query moves without the thing concerned / without another thing",
    "need of it / unasked": "how far the query moves without the thing concerned / how far the bare image moves",
    "need of others / unasked": "the same for the other things",
    "most effective window": "share of the queries whose most effective window shows the thing concerned",
    "any window": "share of all windows that show it: chance",
}
"""What the study tells, by name, and in words. All are for the thing concerned."""


@dataclass(frozen=True)
class Finding:
    """One number of one variant of a model, over its seeds."""

    variant: str
    group: str
    """`add`, `remove` or `change`."""
    measure: str
    """A name in `MEASURES`."""
    mean: float
    interval: Interval | None
    """95 %, by Student's t over the runs; absent of a single run."""
    values: tuple[float, ...]
    """One for each run."""


@dataclass(frozen=True, eq=False)
class Study:
    """What the study found."""

    runs: Mapping[str, Sequence[str]]
    """Variant → its run folders."""
    recall: Mapping[str, Sequence[float]]
    """Variant → recall@1 of each run."""
    queries: Mapping[str, int]
    """Group → queries."""
    shares: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]
    """Variant → group → name (`area`, those of `ATTENTION`, `occlusion`) → the mean shares of `PARTS`."""
    findings: tuple[Finding, ...]

    def of(self, variant: str, group: str, measure: str) -> Finding | None:
        """One finding."""
        return next((f for f in self.findings if (f.variant, f.group, f.measure) == (variant, group, measure)), None)

    def __str__(self) -> str:
        lines = [f"shapes/test: {', '.join(f'{count} queries {group}' for group, count in self.queries.items())}"]
        for variant, runs in self.runs.items():
            recall = ", ".join(f"{value:.1%}" for value in self.recall[variant])
            lines.append(f"\n{variant} ({len(runs)} runs; recall@1 {recall})")
            groups = [group for group in GROUPS if group in self.queries]
            lines.append(f"  {'':<32s}" + "".join(f"{group:>26s}" for group in groups))
            for measure in MEASURES:
                cells = [self.of(variant, group, measure) for group in groups]
                if any(cell is not None for cell in cells):
                    lines.append(f"  {measure:<32s}" + "".join(f"{_cell(cell):>26s}" for cell in cells))
        lines.append("\nper area: 1 is what evenly spread attention would give; in brackets 95 % over the runs' seeds")
        return "\n".join(lines)

    def write(self, folder: str | Path) -> list[Path]:
        """Leave `study.json`, `study.csv`, `study.txt` and the plots in a folder.

        Raises:
            StorageError: the disk is full or the folder cannot be written to.
        """
        folder = Path(folder)
        plain = {
            "format": FORMAT,
            "measures": MEASURES,
            "parts": list(PARTS),
            "runs": {name: list(runs) for name, runs in self.runs.items()},
            "recall@1": {name: list(values) for name, values in self.recall.items()},
            "queries": dict(self.queries),
            "shares": self.shares,
            "findings": [to_plain(finding) for finding in self.findings],
        }
        table = io.StringIO(newline="")
        lines = csv.writer(table, lineterminator="\n")
        lines.writerow(["variant", "feedback", "measure", "mean", "low", "high", "runs"])
        for one in self.findings:
            ends = ["", ""] if one.interval is None else [one.interval.low, one.interval.high]
            lines.writerow([one.variant, one.group, one.measure, one.mean, *ends, len(one.values)])
        write_text(folder / "study.json", json.dumps(plain, indent=1) + "\n")
        write_text(folder / "study.csv", table.getvalue())
        write_text(folder / "study.txt", f"{self}\n")
        paths = [folder / name for name in ("study.json", "study.csv", "study.txt")]
        for name, measures in PLOTS.items():
            image = dot_chart(
                {group: self._dots(group, measures) for group in GROUPS if group in self.queries},
                rows=[_short(measure) for measure in measures],
                title=PLOT_TITLES[name],
                variants=list(self.runs),
            )
            write_with(folder / f"{name}.png", partial(image.save, format="PNG"))
            paths.append(folder / f"{name}.png")
        return paths

    def _dots(self, group: str, measures: Sequence[str]) -> dict[str, list[Dot]]:
        rows: dict[str, list[Dot]] = {}
        for measure in measures:
            for number, variant in enumerate(self.runs):
                one = self.of(variant, group, measure)
                if one is not None:
                    ends = (one.mean, one.mean) if one.interval is None else (one.interval.low, one.interval.high)
                    rows.setdefault(_short(measure), []).append(Dot(number, one.mean, *ends))
        return rows


PLOTS = {
    "attention": [*(f"{name}: per area" for name in ATTENTION), "occlusion: per area"],
    "named": [f"{name}: named / unnamed" for name in ATTENTION],
    "needed": ["need of it / of others", "need of it / unasked", "need of others / unasked"],
}
"""Name of a plot → what stands in it."""
PLOT_TITLES = {
    "attention": "Share on the thing concerned / its area (1: as if spread evenly)",
    "named": "Share on a thing when it is concerned / when another one is (1: no difference)",
    "needed": "How far the query's embedding moves without a thing (1: no difference)",
}


def study_attention(
    runs: Sequence[str | Path],
    *,
    split: str = "test",
    queries: int | None = None,
    which: str = "best",
    device: torch.device | None = None,
    progress: bool = False,
) -> Study:
    """Measure where the attention of trained models goes, and what their answers depend on.

    Runs whose settings differ in nothing but the seed count as one variant, over which intervals are drawn.

    Args:
        runs: run folders, trained on the shapes world of one size and seed.
        split: `test` or `train`.
        queries: how many of the split's queries, drawn evenly; absent: all.
        which: `best` or `last` checkpoint of each run.
        device: where the models work; absent: on the CPU.
        progress: show progress bars.

    Raises:
        RunError: a run cannot be opened.
        DataError: runs were trained on something else than the shapes world, or on different ones.
        ExplanationError: a model has no attention, or sees images of another size than the world's.
    """
    measures = look_at(runs, split=split, queries=queries, which=which, device=device, progress=progress)
    settings = {str(run): read_run(run) for run in runs}
    some = next(iter(measures.values()))
    variants = _variants({run: to_plain(one) for run, one in settings.items()})
    groups = [group for group in GROUPS if (some.groups == group).any()]
    return Study(
        runs=variants,
        recall={name: [measures[run].recall for run in runs] for name, runs in variants.items()},
        queries={group: int((some.groups == group).sum()) for group in groups},
        shares={
            name: {group: _mean_shares([measures[run] for run in runs], group) for group in groups}
            for name, runs in variants.items()
        },
        findings=tuple(
            finding
            for name, runs in variants.items()
            for group in groups
            for finding in _findings(name, group, [measures[run] for run in runs])
        ),
    )


def look_at(
    runs: Sequence[str | Path],
    *,
    split: str = "test",
    queries: int | None = None,
    which: str = "best",
    device: torch.device | None = None,
    progress: bool = False,
) -> dict[str, Measures]:
    """What the study is made of, query by query, for each run; arguments and errors as for `study_attention`."""
    if not runs:
        raise DataError("a study needs at least one run")
    settings = {str(run): read_run(run) for run in runs}
    worlds = {(one.data.name, one.data.size, one.data.seed) for one in settings.values()}
    if len(worlds) > 1 or next(iter(worlds))[0] != "shapes":
        named = ", ".join(f"{name} {size} (seed {seed})" for name, size, seed in sorted(worlds))
        raise DataError(f"the study looks at one shapes world, of which it knows every pixel; the runs saw: {named}")
    world = World(shapes_config(next(iter(settings.values())).data))
    part = world.split(split)
    triplets = world.triplets(split, progress=progress)
    cases = scenes(world, split, chosen(part, queries))
    fewer: dict[int, torch.Tensor] = {}

    def without(image: int) -> torch.Tensor:
        if image not in fewer:
            fewer[image] = without_each(world, split, image)
        return fewer[image]

    measures: dict[str, Measures] = {}
    for run in settings:
        model = Retriever.load(run, which=which)
        if not has_attention(model):
            raise ExplanationError(f"the model {model.name!r} in {run!r} has no attention that could be studied")
        size = (model.preprocess.height, model.preprocess.width)
        if size != (world.config.height, world.config.width):
            raise ExplanationError(
                f"the model in {run!r} sees images of {size[0]}×{size[1]} pixels and the world's have "
                f"{world.config.height}×{world.config.width}; train on a world of the model's size"
            )
        model = model.to(device or torch.device("cpu"))
        (evaluation,) = evaluate(model, triplets, intervals=False)
        targets = evaluation.gallery.cpu()[[one.target for one in cases]]
        measures[run] = measured(
            model,
            cases,
            lambda images: triplets.images.load(images, model.preprocess),  # noqa: B023 - called at once
            without,
            targets,
            evaluation.report.recall[1],
            progress=progress,
        )
    return measures


def numbers(measures: Measures, group: str) -> dict[str, float]:
    """The numbers of one run for one kind of feedback, by the names of `MEASURES`; those without sense are left out."""
    rows = measures.groups == group
    values: dict[str, float] = {}
    for name, shares in measures.shares.items():
        values[f"{name}: per area"] = _ratio(shares[rows, 0], measures.area[rows, 0])
    for name, pairs in measures.named.items():
        values[f"{name}: named / unnamed"] = _ratio(*pairs[rows & np.isfinite(pairs).all(1)].T)
    values["occlusion: per area"] = _ratio(measures.occlusion[rows, 0], measures.occlusion_area[rows, 0])
    both = rows & np.isfinite(measures.needed).all(1)
    values["need of it / of others"] = _ratio(*measures.needed[both].T)
    values["need of it / unasked"] = _ratio(measures.needed[both, 0], measures.needed_alone[both, 0])
    others = rows & np.isfinite(measures.needed[:, 1])
    values["need of others / unasked"] = _ratio(measures.needed[others, 1], measures.needed_alone[others, 1])
    values["most effective window"] = float(measures.hit[rows].mean())
    values["any window"] = float(measures.chance[rows].mean())
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _ratio(above: np.ndarray, below: np.ndarray) -> float:
    """The ratio of two means, which small denominators of single queries do not blow up."""
    return float(above.mean() / below.mean()) if len(above) and below.mean() > 0 else math.nan


def _findings(variant: str, group: str, runs: Sequence[Measures]) -> list[Finding]:
    each = [numbers(run, group) for run in runs]
    return [
        Finding(variant, group, name, *spread([one[name] for one in each]))
        for name in MEASURES
        if all(name in one for one in each)
    ]


def _mean_shares(runs: Sequence[Measures], group: str) -> dict[str, list[float]]:
    rows = runs[0].groups == group
    named = {"area": [run.area for run in runs], "occlusion": [run.occlusion for run in runs]}
    named |= {name: [run.shares[name] for run in runs] for name in runs[0].shares}
    return {
        name: [float(value) for value in np.mean([one[rows].mean(0) for one in arrays], axis=0)]
        for name, arrays in named.items()
    }


def _variants(settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """Runs by what their settings say, the seeds aside; a variant is named by what sets it apart."""
    flats = {run: flat(plain) for run, plain in settings.items()}
    for plain in flats.values():
        plain.pop("train.seed", None)
    apart = sorted(differing(flats).items())
    variants: dict[str, list[str]] = {}
    for run in flats:
        differences = [f"{name.rpartition('.')[2]}={values[run]}" for name, values in apart]
        variants.setdefault(", ".join(differences) or "the model", []).append(run)
    return variants


def _short(measure: str) -> str:
    """A measure's name where the plot's title says the rest."""
    return measure.partition(":")[0]


def _cell(finding: Finding | None) -> str:
    if finding is None:
        return "–"
    percent = "window" in finding.measure
    ends = [f"{value:.1%}" if percent else f"{value:.2f}" for value in _ends(finding)]
    return ends[0] if len(ends) == 1 else f"{ends[0]} [{ends[1]}, {ends[2]}]"


def _ends(finding: Finding) -> list[float]:
    return [finding.mean, *([] if finding.interval is None else [finding.interval.low, finding.interval.high])]
