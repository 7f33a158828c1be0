"""The demo page's numbers: the comparison of the models, their recall by kind of feedback, and how they learned."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from itma.demo.charts import Line, Point, bar, interval_bar, key, line_chart
from itma.demo.markup import Markup, Piece, element, joined
from itma.demo.story import ModelResult
from itma.records import Report


@dataclass(frozen=True)
class _Column:
    """One column of the comparison."""

    title: str
    values: Sequence[float | None]
    show: Callable[[float], str]
    best: Callable[[Sequence[str]], str] | None = None
    name: str = ""
    """Its class in the style sheet."""

    def cells(self) -> list[tuple[Piece, bool]]:
        """Each model's cell, and whether it is the best: equal as shown is equally good."""
        shown = [None if value is None else self.show(value) for value in self.values]
        best = None
        known = [text for text in shown if text is not None]
        if self.best and len(self.values) > 1 and known:
            best = self.best(known)
        return [(text or "–", text is not None and text == best) for text in shown]


def comparison(models: Sequence[ModelResult]) -> list[Piece]:
    """A sentence that says what was found, the table of all models, the protocol and the ties."""
    return [
        element("p", None, _verdict(models)),
        _table(models),
        element(
            "p",
            {"class": "note"},
            "★ best of its column. The bar under recall@1 runs from 0 to 100%; its whisker is "
            "the 95% bootstrap interval over queries. Parameters are all that a model learns, its trunk included.",
        ),
        *_protocols(models),
    ]


def _table(models: Sequence[ModelResult]) -> Markup:
    reports = [model.report for model in models]

    def most(texts: Sequence[str]) -> str:
        return max(texts, key=lambda text: float(text.rstrip("%")))

    def least(texts: Sequence[str]) -> str:
        return min(texts, key=lambda text: float(text.replace(",", "")))

    columns = [
        _Column(f"recall@{k}", [report.recall.get(k) for report in reports], percent, most, "short")
        for k in sorted({k for report in reports for k in report.recall})
    ]
    columns += [
        _Column("median rank", [report.median_rank for report in reports], lambda rank: f"{rank:,g}", least, "short"),
        _Column("mean reciprocal rank", [report.mean_reciprocal_rank for report in reports], "{:.3f}".format, most),
        _Column("parameters", [float(model.parameters) for model in models], _count),
        _Column("training time", [model.seconds for model in models], _duration),
    ]
    heads = (element("th", {"scope": "col", "role": "columnheader"}, column.title) for column in columns)
    cells = [column.cells() for column in columns]
    rows = []
    for index, model in enumerate(models):
        row = [element("th", {"scope": "row", "role": "rowheader"}, _named(model, index))]
        for column, entries in zip(columns, cells, strict=True):
            text, best = entries[index]
            mark = joined(element("span", {"class": "star", "title": "best of its column"}, "★ ")) if best else None
            under = _interval(model.report, index) if column.title == "recall@1" else None
            attributes: dict[str, str | int | float | None] = {
                "role": "cell",
                "data-label": column.title,
                "class": " ".join(filter(None, ["best" if best else "", "wide" if under else column.name])) or None,
            }
            row.append(element("td", attributes, element("span", {"class": "value"}, mark, text), under))
        rows.append(element("tr", {"role": "row", "class": "first" if index == 0 else None}, *row))
    corner = element("th", {"scope": "col", "role": "columnheader"}, "model")
    return element(
        "table",
        {"class": "comparison", "role": "table"},
        element("caption", {"class": "aloud"}, "The models compared"),
        element("thead", {"role": "rowgroup"}, element("tr", {"role": "row"}, corner, *heads)),
        element("tbody", {"role": "rowgroup"}, *rows),
    )


def _named(model: ModelResult, index: int) -> Markup:
    return element("span", {"class": "model"}, key(index), element("span", None, model.title))


def _interval(report: Report, index: int) -> Markup:
    share, inside = report.recall.get(1), report.interval.get(1)
    if share is None:
        return joined()
    if inside is None:
        return interval_bar(share, None, None, index)
    text = f"{percent(inside.low)} to {percent(inside.high)}"
    return joined(interval_bar(share, inside.low, inside.high, index), element("small", None, text))


def _verdict(models: Sequence[ModelResult]) -> str:
    """What recall@1 says about the first model, and whether the intervals settle it."""
    first, others = models[0], [model for model in models[1:] if 1 in model.report.recall]
    if 1 not in first.report.recall:
        return "Each model was asked the same queries; higher recall is better."
    found = f"{first.title} puts a right picture first in {percent(first.report.recall[1])} of the queries"
    if not others:
        return f"{found}."
    rival = max(others, key=lambda model: model.report.recall[1])
    ours, theirs = first.report.interval.get(1), rival.report.interval.get(1)
    compared = f"{rival.title}, the best of the others, in {percent(rival.report.recall[1])}"
    if ours and theirs and ours.low > theirs.high:
        settled = "Their 95% intervals do not touch."
    elif ours and theirs and theirs.low > ours.high:
        settled = f"Here {rival.title} is ahead, and their 95% intervals do not touch."
    else:
        settled = "Their 95% intervals overlap, so they alone do not settle which of the two is better."
    return f"{found}; {compared}. {settled}"


def _protocols(models: Sequence[ModelResult]) -> list[Piece]:
    protocols: dict[str, list[str]] = {}
    for model in models:
        protocols.setdefault(model.report.protocol, []).append(model.title)
    told = [
        element(
            "p",
            {"class": "note"},
            element("b", None, "Protocol" if len(protocols) == 1 else f"Protocol of {', '.join(titles)}"),
            f": {protocol}",
        )
        for protocol, titles in protocols.items()
    ]
    counts = ", ".join(f"{model.title} {model.report.tied_queries:,} of {model.report.queries:,}" for model in models)
    ties = f": queries whose right picture shares its score with a wrong one: {counts}."
    return [*told, element("p", {"class": "note"}, element("b", None, "Ties"), ties)]


def by_kind(models: Sequence[ModelResult]) -> list[Piece]:
    """For each kind of feedback a small table of bars; nothing where the data names no kinds."""
    kinds = list(dict.fromkeys(kind for model in models for kind in model.report.recall_by_kind))
    panels = []
    for kind in kinds:
        rows = []
        for index, model in enumerate(models):
            share = model.report.recall_by_kind.get(kind, {}).get(1)
            drawn = joined() if share is None else bar(share, index)
            rows.append(
                element(
                    "tr",
                    None,
                    element("th", {"scope": "row"}, _named(model, index)),
                    element("td", {"class": "drawn"}, drawn),
                    element("td", None, "–" if share is None else percent(share)),
                )
            )
        asked = next((m.report.queries_by_kind[kind] for m in models if kind in m.report.queries_by_kind), None)
        count = element("small", None, f" {asked:,} queries") if asked is not None else None
        panels.append(element("table", None, element("caption", None, kind, count), element("tbody", None, *rows)))
    if not panels:
        return []
    return [element("p", None, "Recall@1 for each kind of feedback."), element("div", {"class": "panels"}, *panels)]


def curves(models: Sequence[ModelResult]) -> list[Piece]:
    """Loss and recall@1 over the steps of training; nothing where neither was recorded."""
    measured = next(
        (
            split
            for split in ("test", "validation")
            if any(_series(model.curve, f"{split}/recall@1") for model in models)
        ),
        "test",
    )
    charts = [
        _curve(models, "loss", "Training loss", "Loss over the batch; lower is better.", _plain, smooth=True),
        _curve(
            models,
            f"{measured}/recall@1",
            f"Recall@1 on {measured} queries",
            "As measured while training; higher is better.",
            lambda share: f"{share:.0%}",
            top=1.0,
        ),
    ]
    drawn = [chart for chart in charts if chart is not None]
    return [element("div", {"class": "charts"}, *drawn)] if drawn else []


def _curve(
    models: Sequence[ModelResult],
    name: str,
    title: str,
    told: str,
    show: Callable[[float], str],
    *,
    top: float | None = None,
    smooth: bool = False,
) -> Markup | None:
    lines = [Line(model.title, _series(model.curve, name), index) for index, model in enumerate(models)]
    lines = [line for line in lines if line.points]
    if not lines:
        return None
    if smooth and max(len(line.points) for line in lines) >= 40:
        told += " Strong: the running mean; faint: each value logged."
    chart = line_chart(lines, name=title, x_name="steps", show=show, top=top, markers=not smooth, smooth=smooth)
    return element("figure", None, element("h3", None, title), chart, element("figcaption", None, told))


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


def _plain(value: float) -> str:
    return f"{value:.3g}"


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
