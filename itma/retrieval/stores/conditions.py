"""Conditions as a small tree that each store writes in its own words; every value in it fits its column.

As in SQL, a comparison with a value that is missing is neither true nor false.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, TypeAlias

from itma.errors import FilterError

if TYPE_CHECKING:
    import pyarrow as pa

COMPARISONS = ("=", "!=", "<", "<=", ">", ">=", "in")


@dataclass(frozen=True)
class Test:
    """One comparison of a column with a value."""

    __test__ = False  # else pytest takes it for one of its own

    column: str
    comparison: str
    """One of `COMPARISONS`."""
    value: Any
    """Of the column's kind; of `in` a tuple of such. `None` with `=` asks whether the value is missing."""
    kind: str
    """The column's kind, see `kind_of`; of `texts`, lists of texts, `=` asks whether the list holds the value."""


@dataclass(frozen=True)
class Like:
    """A column of text fits a pattern."""

    column: str
    pattern: str
    r"""`%` stands for any text, `_` for one character; `\` takes either literally."""

    @property
    def beginning(self) -> str | None:
        """What the text must begin with, where the pattern says only that."""
        text = self.pattern.removesuffix("%")
        return None if text == self.pattern or re.search(r"[%_\\]", text) else text


@dataclass(frozen=True)
class Not:
    """The opposite."""

    part: "Condition"


@dataclass(frozen=True)
class Every:
    """All parts hold; without parts it is true."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True)
class Some:
    """One of the parts holds; without parts it is false."""

    parts: tuple["Condition", ...]


Condition: TypeAlias = Test | Like | Not | Every | Some


def tests_of(tree: Condition) -> list[Test | Like]:
    """All comparisons in a tree, left to right, those that are turned round left out."""
    if isinstance(tree, Every | Some):
        return [test for part in tree.parts for test in tests_of(part)]
    return [tree] if isinstance(tree, Test | Like) else []


def kind_of(kind: "pa.DataType") -> str:
    """`whole`, `number`, `truth`, `text`, `date`, `time` or `texts`; empty for what metadata cannot be."""
    name = str(kind)
    if re.fullmatch(r"u?int(8|16|32|64)", name):
        return "whole"
    if name in ("float", "double", "halffloat"):
        return "number"
    if name.startswith("timestamp"):
        return "time"
    known = {"bool": "truth", "string": "text", "large_string": "text", "date32[day]": "date"}
    return known.get(name, "texts" if re.fullmatch(r"(large_)?list<\w+: string( not null)?>", name) else "")


SHOWN = {
    "whole": "whole numbers",
    "number": "numbers",
    "truth": "true or false",
    "text": "text",
    "date": "dates",
    "time": "times",
    "texts": "lists of texts",
}
"""Kinds of columns as messages call them."""


def make_test(column: str, comparison: str, value: Any, kind: str) -> Test:
    """A comparison whose value fits its column.

    Raises:
        FilterError: it does not.
    """
    if comparison == "in":
        if not several(value):
            raise FilterError(f"the column {column!r} is asked with 'in' {value!r}; give a list of values")
        return Test(column, "in", tuple(_fitting(column, each, kind) for each in value), kind)
    if value is None and comparison != "=":
        raise FilterError(f"the column {column!r} cannot be {comparison} nothing; None goes with = and != only")
    if kind == "texts" and comparison != "=":
        raise FilterError(f"the column {column!r} holds lists of texts, which have no order; ask with = or in")
    return Test(column, comparison, _fitting(column, value, kind), kind)


def several(value: Any) -> bool:
    """Whether it is a list of values."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def _fitting(column: str, value: Any, kind: str) -> Any:
    """The value as the column's kind; refused where it is of another."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # a number of NumPy's
        value = value.item()
    if value is None:
        return None
    if kind in ("text", "texts") and isinstance(value, str):
        try:
            str(value).encode()
        except UnicodeEncodeError as error:
            raise FilterError(f"the column {column!r} is asked for {value!r}, which is no valid text") from error
        return str(value)
    if kind == "truth" and isinstance(value, bool):
        return value
    if kind in ("whole", "number") and isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**63 and (kind == "whole" or abs(value) > 2**1023):
            raise FilterError(
                f"the column {column!r} is asked for {value}, which is beyond 64 bits and so too large to compare with"
            )
        return int(value)
    if kind in ("whole", "number") and isinstance(value, float):
        if not math.isfinite(value):
            raise FilterError(f"the column {column!r} is asked for {value}, which is no number to compare with")
        return int(value) if kind == "whole" and value.is_integer() and abs(value) < 2**53 else float(value)
    if kind in ("date", "time") and isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError as error:
            raise FilterError(
                f"the column {column!r} holds {SHOWN[kind]}; {value!r} is none, write it as 2026-01-31 or "
                "2026-01-31T12:00:00"
            ) from error
    if kind == "date" and isinstance(value, date):
        if not isinstance(value, datetime):
            return value
        if value.time() != time():
            raise FilterError(
                f"the column {column!r} holds {SHOWN[kind]} without a time; {value} cannot be asked of it, ask for "
                f"{value.date()}"
            )
        return value.date()
    if kind == "time" and isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    hint = "; write true or false" if kind == "truth" else ""
    if kind == "text" and isinstance(value, int | float) and not isinstance(value, bool):
        hint = f"; write '{value}' in quotes, or index again with --type {column}=number if it should hold numbers"
    raise FilterError(
        f"the column {column!r} holds {SHOWN.get(kind, 'other values')}; {value!r} cannot be asked of it{hint}"
    )
