"""The demo page's numbers: the comparison of the models, their recall by kind of feedback, and how they learned."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from itma.demo.charts import Chart, Line, Point, line_chart
from itma.demo.story import ModelResult


@dataclass(frozen=True)
class Column:
    """One column of the comparison."""

    title: str
    cells: Sequence[tuple[str, bool]]
    """Each model's cell, and whether it is the best: equal as shown is equally good."""
    name: str = ""
    """Its class in the style sheet."""


def comparison(models: Sequence[ModelResult]) -> list[Column]:
    """The columns of the table of all models."""
    reports = [model.report for model in models]
    recalls = [
        _column(f"recall@{k}", [report.recall.get(k) for report in reports], percent, max, "short")
        for k in sorted({k for report in reports for k in report.recall})
    ]
    return [
        *recalls,
        _column("median rank", [report.median_rank for report in reports], "{:,g}".format, min, "short"),
        _column("mean reciprocal rank", [report.mean_reciprocal_rank for report in reports], "{:.3f}".format, max),
        _column("parameters", [float(model.parameters) for model in models], _count),
        _column("training time", [model.seconds for model in models], _duration),
    ]


def _column(
    title: str,
    values: Sequence[float | None],
    show: Callable[[float], str],
    choose_best: Callable[[Iterable[float]], float] | None = None,
    name: str = "",
) -> Column:
    known = [value for value in values if value is not None]
    best = show(choose_best(known)) if choose_best and len(values) > 1 and known else None
    texts = ["–" if value is None else show(value) for value in values]
    return Column(title, [(text, text == best) for text in texts], name)


def verdict(models: Sequence[ModelResult]) -> str:
    """What recall@1 says about the first model, and whether the intervals settle it."""
    first, others = models[0], [model for model in models[1:] if 1 in model.report.recall]
    if 1 not in first.report.recall:
        return "Each model was asked the same queries; higher recall is better."
    sentence = f"{first.title} puts a right image first in {percent(first.report.recall[1])} of the queries"
    if not others:
        return f"{sentence}."
    rival = max(others, key=lambda model: model.report.recall[1])
    first_interval, rival_interval = first.report.interval.get(1), rival.report.interval.get(1)
    compared = f"{rival.title}, the best of the others, in {percent(rival.report.recall[1])}"
    if first_interval and rival_interval and first_interval.low > rival_interval.high:
        settled = "Their 95% intervals do not touch."
    elif first_interval and rival_interval and rival_interval.low > first_interval.high:
        settled = f"Here {rival.title} is ahead, and their 95% intervals do not touch."
    else:
        settled = "Their 95% intervals overlap, so they alone do not settle which of the two is better."
    return f"{sentence}; {compared}. {settled}"


def recall_by_kind(models: Sequence[ModelResult]) -> list[tuple[str, int | None, list[float | None]]]:
    """For each kind of feedback its name, how many queries are of it, and each model's recall@1."""
    reports = [model.report for model in models]
    kinds = dict.fromkeys(kind for report in reports for kind in report.recall_by_kind)
    return [
        (
            kind,
            next((report.queries_by_kind[kind] for report in reports if kind in report.queries_by_kind), None),
            [report.recall_by_kind.get(kind, {}).get(1) for report in reports],
        )
        for kind in kinds
    ]


def curves(models: Sequence[ModelResult]) -> list[tuple[str, str, Chart]]:
    """Charts of loss and recall@1 over the steps of training, as far as recorded: (title, what it says, chart)."""
    tested = any(_series(model.curve, "test/recall@1") for model in models)
    validated = any(_series(model.curve, "validation/recall@1") for model in models)
    measured = "validation" if validated and not tested else "test"
    names = f"{measured}/recall@1", f"Recall@1 on {measured} queries", "As measured while training; higher is better."
    charts = [
        _curve(models, "loss", "Training loss", "Loss over the batch; lower is better.", "{:.3g}".format, smooth=True),
        _curve(models, *names, "{:.0%}".format, top=1.0),
    ]
    return [chart for chart in charts if chart is not None]


def _curve(
    models: Sequence[ModelResult],
    name: str,
    title: str,
    says: str,
    show: Callable[[float], str],
    *,
    top: float | None = None,
    smooth: bool = False,
) -> tuple[str, str, Chart] | None:
    lines = [Line(model.title, _series(model.curve, name), index) for index, model in enumerate(models)]
    lines = [line for line in lines if line.points]
    if not lines:
        return None
    if smooth and max(len(line.points) for line in lines) >= 40:
        says += " Strong: the running mean; faint: each value logged."
    chart = line_chart(lines, name=title, x_name="steps", show=show, top=top, markers=not smooth, smooth=smooth)
    return title, says, chart


def _series(curve: Sequence[Mapping[str, float]], name: str) -> list[Point]:
    """(step, value) of every line that has both, by step; values that are not numbers are left out."""
    points = [(float(line["step"]), float(line[name])) for line in curve if "step" in line and name in line]
    return sorted(point for point in points if all(map(math.isfinite, point)))


def percent(share: float) -> str:
    """A share as reports write it.

    >>> percent(0.6634)
    '66.3%'
    """
    return f"{share:.1%}"


def _count(number: float) -> str:
    """A large number in three figures.

    >>> _count(1_234_567), _count(12_345), _count(999_999), _count(999)
    ('1.23 M', '12.3 k', '1 M', '999')
    """
    number = float(f"{number:.3g}")
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _duration(seconds: float) -> str:
    """A time as people say it.

    >>> _duration(42.3), _duration(75), _duration(3725)
    ('42 s', '1 min 15 s', '1 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
