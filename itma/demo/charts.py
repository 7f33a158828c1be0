"""Where everything of a line chart stands; `templates/charts.html` writes it as SVG.

A series is known by its number: number 0 has the same colour, dash and marker in every chart of a page. By hand, since
the page holds no script of others, follows light and dark by its style sheet, and is read aloud: Matplotlib, 60 MB with
what it needs, gives none of this.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SERIES = 6
"""How many series differ in colour and marker; further ones begin again."""

DASHES = (None, "7 4", "2 4", "10 3 2 3", "14 4", "4 2")
MARKS = (
    "",  # a circle
    "-4,-4 4,-4 4,4 -4,4",
    "0,-5.5 5,4 -5,4",
    "0,-5.8 5.8,0 0,5.8 -5.8,0",
    "0,5.5 5,-4 -5,-4",
    "-5,0 -2.5,-4.5 2.5,-4.5 5,0 2.5,4.5 -2.5,4.5",
)
"""Corners of each series' marker, around its place."""
_WIDTH, _HEIGHT = 460, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 128, 14, 46
_LABEL_GAP = 19
_LABEL_LETTERS = 16
_MOST_POINTS = 400

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    label: str
    points: Sequence[Point]
    """(x, y) in rising x; all finite."""
    series: int
    """Which colour, dash and marker."""


@dataclass(frozen=True)
class Curve:
    """One line as it is drawn."""

    series: int
    label: str
    label_y: float
    leader: tuple[float, float, float, float]
    """From the line's end to its label: x, y, x, y."""
    points: str
    """As SVG takes them; empty where there is one alone."""
    raw: str
    """The line before its running mean was taken; empty where none was."""
    marks: Sequence[Point]


@dataclass(frozen=True)
class Chart:
    """Where everything stands."""

    spoken: str
    """What it shows and where each line ends; read aloud in its place."""
    x_name: str
    up: Sequence[tuple[float, str]]
    """Heights of the horizontal lines, with their numbers; the first is the axis."""
    across: Sequence[tuple[float, str]]
    curves: Sequence[Curve]
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    right: int = _WIDTH - _RIGHT
    bottom: int = _HEIGHT - _BOTTOM


def line_chart(
    lines: Sequence[Line],
    *,
    name: str,
    x_name: str,
    show: Callable[[float], str],
    top: float | None = None,
    markers: bool = False,
    smooth: bool = False,
) -> Chart:
    """Lines over a common x axis, each labelled at its end.

    Args:
        lines: at least one, each with at least one point.
        name: what the chart shows.
        x_name: what stands under the x axis.
        show: a y value as text, for the axis and the labels.
        top: the most that y can be; the axis ends no higher.
        markers: mark every point; otherwise the last one only.
        smooth: draw each line's running mean, and the line itself faint behind it.
    """
    series = [average_points(line.points) if smooth else list(line.points) for line in lines]
    x_end = max(x for points in series for x, _ in points) or 1.0
    up_ticks = ticks(0, max(y for points in series for _, y in points), most=top)
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def project(point: Point) -> Point:
        return _LEFT + wide * point[0] / x_end, _TOP + high * (1 - min(1.0, max(0.0, point[1] / up_ticks[-1])))

    polylines = [[project(point) for point in thin_out(points)] for points in series]
    heights = spread([each[-1][1] for each in polylines], gap=_LABEL_GAP, low=_TOP + 6, high=_TOP + high)
    curves = []
    for line, at, height in zip(lines, polylines, heights, strict=True):
        (x, y), label_x = at[-1], _LEFT + wide + 15
        bent = abs(height - y) > 3
        leader = (x + 7, y, label_x if bent else max(x + 7, label_x), height if bent else y)
        raw = _points([project(point) for point in thin_out(line.points)]) if smooth else ""
        marks = at if markers else at[-1:]
        label = shorten(line.label)
        curves.append(Curve(line.series % SERIES, label, height + 5, leader, _points(at), raw, marks))
    ends = "; ".join(f"{line.label} ends at {show(points[-1][1])}" for line, points in zip(lines, series, strict=True))
    return Chart(
        f"{name}: {ends}",
        x_name,
        [(project((0, value))[1], show(value)) for value in up_ticks],
        [(project((value, 0))[0], f"{value:,.0f}") for value in ticks(0, x_end) if value <= x_end],
        curves,
    )


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points) if len(points) > 1 else ""


def ticks(low: float, high: float, *, most: float | None = None) -> list[float]:
    """About five round numbers from `low` to the first one that is not below `high`, at most `most`.

    >>> ticks(0, 0.67, most=1)
    [0.0, 0.2, 0.4, 0.6, 0.8]
    >>> ticks(0, 1500)
    [0.0, 500.0, 1000.0, 1500.0]
    """
    span = high - low
    if not (span > 0 and math.isfinite(span)):
        return [low, low + 1]
    ideal = span / 4
    power = 10.0 ** math.floor(math.log10(ideal))
    step = min((power * factor for factor in (1, 2, 2.5, 5, 10)), key=lambda size: abs(math.log(size / ideal)))
    values = [round(low + step * index, 12) for index in range(math.ceil(span / step - 1e-9) + 1)]
    return [value for value in values if most is None or value <= most]


def average_points(points: Sequence[Point]) -> list[Point]:
    """The running mean of y over a twentieth of the points (none where they are few)."""
    half = len(points) // 40
    result = []
    for index, (x, _) in enumerate(points):
        reach = min(half, index, len(points) - 1 - index)  # the same on both sides, so that a slope stays a slope
        near = [y for _, y in points[index - reach : index + reach + 1]]
        result.append((x, sum(near) / len(near)))
    return result


def thin_out(points: Sequence[Point], most: int = _MOST_POINTS) -> list[Point]:
    """At most about `most` of the points, evenly taken, the last always among them.

    >>> thin_out([(0, 0), (1, 5), (2, 3), (3, 4)], most=2)
    [(0, 0), (2, 3), (3, 4)]
    """
    every = max(1, math.ceil(len(points) / most))
    sample = list(points[::every])
    return sample if sample[-1] == points[-1] else [*sample, points[-1]]


def spread(heights: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Each height moved as little as needs be for all to be `gap` apart, between `low` and `high` where they fit.

    >>> spread([10.0, 12.0, 50.0], gap=8, low=0, high=100)
    [7.0, 15.0, 50.0]
    """
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    pools: list[tuple[float, int]] = []  # (mean of height - gap × position, how many): must not fall from pool to pool
    for position, index in enumerate(order):
        pools.append((heights[index] - gap * position, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (above, many), (below, few) = pools[-2:]
            pools[-2:] = [((above * many + below * few) / (many + few), many + few)]
    last = max(low, high - gap * (len(heights) - 1))
    levels = [min(max(level, low), last) for level, many in pools for _ in range(many)]
    result = [0.0] * len(heights)
    for position, index in enumerate(order):
        result[index] = levels[position] + gap * position
    return result


def shorten(label: str) -> str:
    """The label, cut where it would run out of the chart.

    >>> shorten("TIRG on the last feature map")
    'TIRG on the las…'
    """
    return label if len(label) <= _LABEL_LETTERS else label[: _LABEL_LETTERS - 1].rstrip() + "…"
