"""Which items may be found: a text in SQL, or a mapping whose values are never pasted into one unescaped.

The only place where a value becomes part of an expression is `literal`.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from itma.errors import FilterError, UnknownNameError

if TYPE_CHECKING:
    import pyarrow as pa

Where = str | Mapping[str, Any]
"""A condition as a person gives it.

A text is SQL over the metadata columns: `"colour = 'red' and price < 50"`. A mapping asks all of its columns at once,
as in `{"colour": "red", "price": {"<": 50}, "size": ["S", "M"]}`: a value must be equal, a list holds what it may be,
`None` means that there is none, and of comparisons (`=`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`) all must hold.
A column of lists matches where it holds the value. An item without a value matches `!=` and `not in`.
"""

COMPARISONS = ("=", "!=", "<", "<=", ">", ">=", "in", "not in")


@dataclass(frozen=True)
class Test:
    """One comparison of a column with a value."""

    __test__ = False  # else pytest takes it for one of its own

    column: str
    comparison: str
    """One of `COMPARISONS`."""
    value: Any
    """Of the column's kind; of `in` and `not in` a tuple of such; `None` with `=` and `!=` stands for no value."""
    kind: str
    """The column's kind, see `kind_of`; `texts` for a column of lists."""


@dataclass(frozen=True)
class Filter:
    """A condition, checked against the columns there are: a text, or tests that must all hold."""

    text: str | None = None
    tests: tuple[Test, ...] = ()


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


def filter_of(where: Where | None, columns: "Mapping[str, pa.DataType]") -> Filter | None:
    """A condition, checked.

    Args:
        where: what a person asked for.
        columns: the columns that can be asked, with their types.

    Raises:
        UnknownNameError: a column that is not there, or a comparison that is not known.
        FilterError: a value that does not fit its column, or a text that is more than one condition.
    """
    if where is None:
        return None
    if isinstance(where, str):
        return Filter(text=_one_condition(where))
    tests: list[Test] = []
    for column, wanted in where.items():
        if column not in columns:
            raise UnknownNameError("column", column, columns)
        kind = kind_of(columns[column])
        asked = wanted if isinstance(wanted, Mapping) else {"in" if _several(wanted) else "=": wanted}
        for comparison, value in asked.items():
            if comparison not in COMPARISONS:
                raise UnknownNameError("comparison", comparison, COMPARISONS)
            tests.append(checked(column, comparison, value, kind))
    return Filter(tests=tuple(tests))


def ids_in(ids: Sequence[str]) -> Filter:
    """The items of these ids."""
    return Filter(tests=(Test("id", "in", tuple(ids), "text"),))


def to_sql(condition: Filter) -> str:
    """A condition as SQL, as DataFusion reads it.

    >>> to_sql(Filter(tests=(Test("colour", "=", "d'or", "text"), Test("price", "<", 50, "whole"))))
    "`colour` = 'd''or' AND `price` < 50"
    """
    if condition.text is not None:
        return condition.text
    return " AND ".join(map(_test_as_sql, condition.tests)) or "TRUE"


def literal(value: Any, kind: str) -> str:
    """A value as SQL: the one place where values become part of an expression.

    >>> literal("it's", "text")
    "'it''s'"

    Args:
        value: of the column's kind, see `Test`.
        kind: of the column.
    """
    if kind == "truth" and isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if kind == "whole" and isinstance(value, int) and not isinstance(value, bool):
        return str(int(value)) if value > -(2**63) else f"CAST('{int(value)}' AS BIGINT)"  # its sign is read apart
    if kind == "number" and isinstance(value, int) and not isinstance(value, bool):
        return repr(float(value))
    if kind in ("whole", "number") and isinstance(value, float) and math.isfinite(value):
        return f"CAST({float(value)!r} AS DOUBLE)"
    if kind in ("text", "texts") and isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if kind == "date" and isinstance(value, date):
        return f"DATE '{value:%Y-%m-%d}'" if value.year > 999 else f"DATE '{value.isoformat()}'"
    if kind == "time" and isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat(sep=' ')}'"
    raise AssertionError(f"{value!r} was not checked against {kind!r}")


def _test_as_sql(test: Test) -> str:
    column = f"`{test.column}`"  # names with a backtick never become columns
    if test.kind == "texts":
        members = test.value if isinstance(test.value, tuple) else (test.value,)
        if test.value is None:
            return f"{column} IS {'' if test.comparison == '=' else 'NOT '}NULL"
        held = " OR ".join(f"array_has({column}, {literal(value, 'texts')})" for value in members) or "FALSE"
        return f"({held})" if test.comparison in ("=", "in") else f"({column} IS NULL OR NOT ({held}))"
    if test.comparison in ("in", "not in"):
        if not test.value:
            return "FALSE" if test.comparison == "in" else "TRUE"
        values = [value for value in test.value if value is not None]
        listed = ", ".join(literal(value, test.kind) for value in values)
        parts = [f"{_as_number(column, test.kind, values)} {test.comparison.upper()} ({listed})"] if values else []
        if test.comparison == "in":
            return "(" + " OR ".join([*parts, *([f"{column} IS NULL"] if None in test.value else [])]) + ")"
        if None in test.value:
            return " AND ".join([*parts, f"{column} IS NOT NULL"])
        return f"({column} IS NULL OR {parts[0]})"
    if test.value is None:
        return f"{column} IS {'' if test.comparison == '=' else 'NOT '}NULL"
    compared = f"{_as_number(column, test.kind, [test.value])} {test.comparison} {literal(test.value, test.kind)}"
    return f"({column} IS NULL OR {compared})" if test.comparison == "!=" else compared


def _as_number(column: str, kind: str, values: Iterable[Any]) -> str:
    return f"CAST({column} AS DOUBLE)" if kind == "whole" and any(isinstance(v, float) for v in values) else column


def _several(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def checked(column: str, comparison: str, value: Any, kind: str) -> Test:
    """A comparison whose value fits its column.

    Raises:
        FilterError: it does not.
    """
    if comparison in ("in", "not in"):
        if not _several(value):
            raise FilterError(f"the column {column!r} is asked with {comparison!r} {value!r}; give a list of values")
        return Test(column, comparison, tuple(_fitting(column, each, kind) for each in value), kind)
    if value is None and comparison not in ("=", "!="):
        raise FilterError(f"the column {column!r} cannot be {comparison} nothing; None goes with = and != only")
    if kind == "texts" and comparison not in ("=", "!="):
        raise FilterError(f"the column {column!r} holds lists of texts, which have no order; ask with = or in")
    return Test(column, comparison, _fitting(column, value, kind), kind)


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
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise FilterError(
                f"the column {column!r} holds {SHOWN[kind]}; {value!r} is none, write it as 2026-01-31 or "
                "2026-01-31T12:00:00"
            ) from error
    if kind == "date" and isinstance(value, date):
        return value.date() if isinstance(value, datetime) else value
    if kind == "time" and isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    raise FilterError(f"the column {column!r} holds {SHOWN.get(kind, 'other values')}; {value!r} cannot be asked of it")


_PIECES = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--|/\*|;|.", re.DOTALL)


def _one_condition(text: str) -> str:
    """The text, refused where it is empty or goes on after its first condition."""
    if not text.strip():
        raise FilterError("the condition is empty; write one, e.g. \"colour = 'red'\", or leave it out")
    for piece in _PIECES.findall(text):
        if piece in (";", "--", "/*", "\0"):
            raise FilterError(f"the condition {text!r} holds {piece!r}; write one condition, e.g. \"colour = 'red'\"")
    return text
