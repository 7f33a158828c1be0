"""A comparison of runs as one HTML file that needs nothing beside itself, in the style of the demo's report."""

from itma.demo.charts import SERIES, Chart, Line, line_chart
from itma.demo.numbers import percent
from itma.demo.page import render
from itma.evaluation.comparison import Comparison, Variant


def comparison_page(comparison: Comparison, title: str) -> str:
    """The tables and curves of a comparison as the text of one HTML file."""
    return render(
        "comparison.html",
        title=title,
        head="Mean ± standard deviation over runs, with the 95 % interval of the mean (Student's t) where there are "
        "several.",
        tables=comparison.tables(),
        charts_of=_charts(comparison),
        notes=comparison.notes,
    )


def _charts(comparison: Comparison) -> list[Chart]:
    """Recall by step, as many models in a chart as differ in colour; the best ones stand together."""

    def last(variant: Variant) -> float:
        return list(variant.curve.values())[-1].mean

    variants = sorted((each for each in comparison.variants if len(each.curve) > 1), key=last, reverse=True)
    name = ", ".join(dict.fromkeys(metric for each in variants for metric in each.chosen_by)) or "recall"
    lines = [
        Line(each.name, [(step, figure.mean) for step, figure in each.curve.items()], index % SERIES)
        for index, each in enumerate(variants)
    ]
    parts = [lines[first : first + SERIES] for first in range(0, len(lines), SERIES)]
    return [line_chart(part, name=name, x_name="steps", show=percent, top=1.0, markers=True) for part in parts]
