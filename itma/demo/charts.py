"""Small charts as inline SVG: lines, a bar with its interval, a plain bar, and the key of a series.

A series is known by its number: number 0 has the same colour, dash and marker in every chart of a page. Colours are
classes (`series-0` … `series-5`) that the page's style sheet fills in, so that they follow light and dark.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from itma.demo.markup import Markup, element, joined

SERIES = 6
"""How many series differ in colour and marker; further ones begin again."""

_DASHES = (None, "7 4", "2 4", "10 3 2 3", "14 4", "4 2")
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


def line_chart(
    lines: Sequence[Line],
    *,
    name: str,
    x_name: str,
    show: Callable[[float], str],
    top: float | None = None,
    markers: bool = False,
    smooth: bool = False,
) -> Markup:
    """Lines over a common x axis, each labelled at its end.

    Args:
        lines: at least one, each with at least one point.
        name: what the chart shows; read aloud in its place, followed by where each line ends.
        x_name: what stands under the x axis.
        show: a y value as text, for the axis and the labels.
        top: the most that y can be; the axis ends no higher.
        markers: mark every point; otherwise the last one only.
        smooth: draw each line's running mean, and the line itself faint behind it.
    """
    drawn = [smoothed(line.points) if smooth else list(line.points) for line in lines]
    x_end = max(x for points in drawn for x, _ in points) or 1.0
    up_ticks = ticks(0, max(y for points in drawn for _, y in points), most=top)
    y_end = up_ticks[-1]
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(point: Point) -> Point:
        return _LEFT + wide * point[0] / x_end, _TOP + high * (1 - min(1.0, max(0.0, point[1] / y_end)))

    parts: list[Markup] = []
    for value in up_ticks:
        _, y = place((0, value))
        parts.append(_straight("grid" if value else "axis", _LEFT, y, _LEFT + wide, y))
        parts.append(_label(_LEFT - 8, y + 5, show(value), "end"))
    for value in (tick for tick in ticks(0, x_end) if tick <= x_end):
        x, y = place((value, 0))
        parts.append(_straight("axis", x, y, x, y + 5))
        parts.append(_label(x, y + 21, f"{value:,.0f}", "middle"))
    parts.append(_label(_LEFT + wide, _HEIGHT - 4, x_name, "end"))
    if smooth:
        parts += [_path([place(point) for point in thinned(line.points)], line.series, "raw") for line in lines]
    ends: list[Point] = []
    for line, points in zip(reversed(lines), reversed(drawn), strict=True):  # the first line lies on top
        places = [place(point) for point in thinned(points)]
        parts.append(_path(places, line.series, "line", _DASHES[line.series % SERIES]))
        parts += [marker(line.series, *at) for at in (places if markers else places[-1:])]
        ends.insert(0, places[-1])
    heights = spread([y for _, y in ends], gap=_LABEL_GAP, low=_TOP + 6, high=_TOP + high)
    for line, (x, y), height in zip(lines, ends, heights, strict=True):
        if abs(height - y) > 3:
            parts.append(_straight("leader", x + 7, y, _LEFT + wide + 15, height))
        else:
            parts.append(_straight("leader", x + 7, y, max(x + 7, _LEFT + wide + 15), y))
        parts.append(_label(_LEFT + wide + 18, height + 5, shortened(line.label), "start"))
    last = "; ".join(f"{line.label} ends at {show(points[-1][1])}" for line, points in zip(lines, drawn, strict=True))
    attributes: dict[str, str | int | float | None] = {
        "class": "chart",
        "viewBox": f"0 0 {_WIDTH} {_HEIGHT}",
        "role": "img",
        "aria-label": f"{name}: {last}",
    }
    return element("svg", attributes, *parts)


def interval_bar(share: float, low: float | None, high: float | None, series: int) -> Markup:
    """A share from 0 to 1 as a bar, with a whisker from `low` to `high` where they are known."""
    parts = [
        element("rect", {"class": "ground", "x": 0, "y": 4, "width": 100, "height": 10}),
        element("rect", {"class": "bar", "x": 0, "y": 4, "width": 100 * share, "height": 10}),
    ]
    if low is not None and high is not None:
        caps = (_straight("whisker", 100 * at, 1, 100 * at, 17) for at in (low, high))
        parts += [_straight("whisker", 100 * low, 9, 100 * high, 9), *caps]
    return _strip(18, series, parts)


def bar(share: float, series: int) -> Markup:
    """A share from 0 to 1 as a bar on a ground that stands for 1."""
    ground = element("rect", {"class": "ground", "x": 0, "y": 0, "width": 100, "height": 10})
    return _strip(
        10, series, [ground, element("rect", {"class": "bar", "x": 0, "y": 0, "width": 100 * share, "height": 10})]
    )


def key(series: int) -> Markup:
    """A short piece of the series' line with its marker, to stand before its name."""
    attributes: dict[str, str | int | float | None] = {"class": "key", "viewBox": "0 0 34 14", "aria-hidden": "true"}
    dash = _DASHES[series % SERIES]
    return element("svg", attributes, _path([(1, 7), (33, 7)], series, "line", dash), marker(series, 17, 7))


def marker(series: int, x: float, y: float) -> Markup:
    """The series' mark at a place: circle, square, triangle, diamond, triangle on its tip, or star-like hexagon."""
    kind = series % SERIES
    name = f"marker series-{kind}"
    if kind == 0:
        return element("circle", {"class": name, "cx": x, "cy": y, "r": 4.5})
    shapes: dict[int, list[tuple[float, float]]] = {
        1: [(-4, -4), (4, -4), (4, 4), (-4, 4)],
        2: [(0, -5.5), (5, 4), (-5, 4)],
        3: [(0, -5.8), (5.8, 0), (0, 5.8), (-5.8, 0)],
        4: [(0, 5.5), (5, -4), (-5, -4)],
        5: [(-5, 0), (-2.5, -4.5), (2.5, -4.5), (5, 0), (2.5, 4.5), (-2.5, 4.5)],
    }
    points = " ".join(f"{x + right:.1f},{y + down:.1f}" for right, down in shapes[kind])
    return element("polygon", {"class": name, "points": points})


def ticks(low: float, high: float, *, count: int = 5, most: float | None = None) -> list[float]:
    """About `count` round numbers from `low` to the first one that is not below `high`, at most `most`.

    >>> ticks(0, 0.67, most=1)
    [0.0, 0.2, 0.4, 0.6, 0.8]
    >>> ticks(0, 1500)
    [0.0, 500.0, 1000.0, 1500.0]
    """
    span = high - low
    if not (span > 0 and math.isfinite(span)):
        return [low, low + 1]
    ideal = span / (count - 1)
    power = 10.0 ** math.floor(math.log10(ideal))
    step = min((power * factor for factor in (1, 2, 2.5, 5, 10)), key=lambda size: abs(math.log(size / ideal)))
    found = [round(low + step * index, 12) for index in range(math.ceil(span / step - 1e-9) + 1)]
    return [value for value in found if most is None or value <= most]


def smoothed(points: Sequence[Point]) -> list[Point]:
    """The running mean of y over a twentieth of the points (none where they are few)."""
    half = len(points) // 40
    result = []
    for index, (x, _) in enumerate(points):
        reach = min(half, index, len(points) - 1 - index)  # the same on both sides, so that a slope stays a slope
        near = [y for _, y in points[index - reach : index + reach + 1]]
        result.append((x, sum(near) / len(near)))
    return result


def thinned(points: Sequence[Point], most: int = _MOST_POINTS) -> list[Point]:
    """At most about `most` of the points, evenly taken, the last always among them.

    >>> thinned([(0, 0), (1, 5), (2, 3), (3, 4)], most=2)
    [(0, 0), (2, 3), (3, 4)]
    """
    every = max(1, math.ceil(len(points) / most))
    kept = list(points[::every])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def spread(heights: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Each height moved as little as needs be for all to be `gap` apart, between `low` and `high` where they fit.

    >>> spread([10.0, 12.0, 50.0], gap=8, low=0, high=100)
    [7.0, 15.0, 50.0]
    """
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    pools: list[tuple[float, int]] = []  # (mean of height - gap × place, how many): must not fall from pool to pool
    for place, index in enumerate(order):
        pools.append((heights[index] - gap * place, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (above, many), (below, few) = pools[-2:]
            pools[-2:] = [((above * many + below * few) / (many + few), many + few)]
    last = max(low, high - gap * (len(heights) - 1))
    levels = [min(max(level, low), last) for level, many in pools for _ in range(many)]
    result = [0.0] * len(heights)
    for place, index in enumerate(order):
        result[index] = levels[place] + gap * place
    return result


def shortened(label: str) -> str:
    """The label, cut where it would run out of the chart.

    >>> shortened("TIRG on the last feature map")
    'TIRG on the las…'
    """
    return label if len(label) <= _LABEL_LETTERS else label[: _LABEL_LETTERS - 1].rstrip() + "…"


def _strip(height: int, series: int, parts: Sequence[Markup]) -> Markup:
    attributes: dict[str, str | int | float | None] = {
        "class": f"strip series-{series % SERIES}",
        "viewBox": f"0 0 100 {height}",
        "preserveAspectRatio": "none",
        "aria-hidden": "true",
    }
    return element("svg", attributes, *parts)


def _straight(name: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return element("line", {"class": name, "x1": x1, "y1": y1, "x2": x2, "y2": y2})


def _label(x: float, y: float, text: str, anchor: str) -> Markup:
    return element("text", {"x": x, "y": y, "text-anchor": anchor}, text)


def _path(places: Sequence[Point], series: int, name: str, dash: str | None = None) -> Markup:
    if len(places) < 2:
        return joined()
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    number = series % SERIES
    return element("polyline", {"class": f"{name} series-{number}", "points": points, "stroke-dasharray": dash})
