"""What the columns of metadata hold: the choices of those with few values, the ranges of numbers and dates."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from itma.retrieval.stores.base import Items, arrow, metadata_of
from itma.retrieval.stores.conditions import kind_of

CHOICES = 40
"""A column of more values is not offered as choices."""
_LONGEST = 60
"""Characters of a choice; a column of longer texts is prose."""


@dataclass(frozen=True)
class Facet:
    """What one column holds."""

    column: str
    kind: str
    """See `itma.retrieval.filters.kind_of`."""
    choices: Sequence[tuple[Any, int]] = ()
    """(value, items), the most frequent first; none where there are too many."""
    low: Any = None
    high: Any = None
    """The range of numbers, dates and times."""
    looked_at: int = 0
    """Items that were looked at."""


def facets(items: Items, look_at: int) -> list[Facet]:
    """What each column of metadata holds, in the table's order of columns.

    Args:
        items: a table.
        look_at: items that are looked at, at most.
    """
    pa = arrow()
    import pyarrow.compute as compute

    kinds = {name: kind_of(kind) for name, kind in metadata_of(items.schema).items()}
    counts: dict[str, Counter[Any] | None] = {
        name: Counter() for name, kind in kinds.items() if kind in ("text", "texts", "truth", "whole")
    }
    ranges: dict[str, tuple[Any, Any]] = {}
    count, after = 0, None
    while kinds and count < look_at:
        part, after = items.page(list(kinds), min(8192, look_at - count), after=after)
        count += len(part)
        for name, kind in kinds.items():
            column = part[name].drop_null()
            if kind in ("whole", "number", "date", "time") and len(column):
                least = compute.min_max(column).as_py()
                low, high = ranges.get(name, (least["min"], least["max"]))
                ranges[name] = min(low, least["min"]), max(high, least["max"])
            counted = counts.get(name)
            if counted is None:
                continue
            flat = compute.list_flatten(column) if pa.types.is_list(column.type) else column
            for each in compute.value_counts(flat).to_pylist() if len(flat) else ():
                counted[each["values"]] += each["counts"]
            if len(counted) > CHOICES or any(isinstance(value, str) and len(value) > _LONGEST for value in counted):
                counts[name] = None
        if after is None:
            break
    return [_facet(name, kind, counts.get(name), ranges.get(name), count) for name, kind in kinds.items()]


def _facet(name: str, kind: str, counted: Counter[Any] | None, ends: tuple[Any, Any] | None, count: int) -> Facet:
    low, high = ends or (None, None)
    choices = [] if counted is None else sorted(counted.items(), key=lambda choice: (-choice[1], str(choice[0])))
    if kind == "whole" and len(choices) > 8:
        choices = []  # a range serves better
    return Facet(name, kind, choices, low, high, count)
