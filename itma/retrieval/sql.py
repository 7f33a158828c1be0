"""A condition as SQL, as DataFusion reads it. The only place where a value becomes part of it is `literal`."""

from collections.abc import Iterable
from typing import Any

from itma.retrieval.stores.conditions import Condition, Every, Like, Not, Test


def to_sql(tree: Condition) -> str:
    """A condition as SQL.

    >>> to_sql(Every((Test("colour", "=", "d'or", "text"), Test("price", "<", 50, "whole"))))
    "(`colour` = 'd''or' AND `price` < 50)"
    """
    if isinstance(tree, Not):
        return f"(NOT {to_sql(tree.part)})"
    if isinstance(tree, Like):
        return f"`{tree.column}` LIKE {literal(tree.pattern, 'text')}"
    if isinstance(tree, Test):
        return _test(tree)
    every = isinstance(tree, Every)
    if not tree.parts:
        return "TRUE" if every else "FALSE"
    return "(" + (" AND " if every else " OR ").join(map(to_sql, tree.parts)) + ")"


def _test(test: Test) -> str:
    values = test.value if isinstance(test.value, tuple) else (test.value,)
    column = _column(test, values)
    if test.value is None:
        return f"{column} IS NULL"
    if test.kind == "texts":
        return f"array_has({column}, {literal(test.value, 'texts')})"
    if test.comparison == "in":
        return f"{column} IN ({', '.join(literal(value, test.kind) for value in values)})" if values else "FALSE"
    return f"{column} {test.comparison} {literal(test.value, test.kind)}"


def _column(test: Test, values: Iterable[Any]) -> str:
    name = f"`{test.column}`"  # names with a backtick never become columns
    if test.kind == "number":  # to the engine NaN is a number, and the largest
        return f"NULLIF({name}, CAST('NaN' AS DOUBLE))"
    return f"CAST({name} AS DOUBLE)" if test.kind == "whole" and any(isinstance(v, float) for v in values) else name


def literal(value: Any, kind: str) -> str:
    """A value as SQL.

    >>> literal("it's", "text")
    "'it''s'"

    Args:
        value: of the column's kind, see `Test`.
        kind: of the column.
    """
    if kind == "truth":
        return "TRUE" if value else "FALSE"
    if kind in ("text", "texts"):
        return "'" + str(value).replace("'", "''") + "'"
    if kind == "date":
        return f"DATE '{value:%Y-%m-%d}'" if value.year > 999 else f"DATE '{value.isoformat()}'"
    if kind == "time":
        return f"TIMESTAMP '{value.isoformat(sep=' ')}'"
    if isinstance(value, float):
        return f"CAST({value!r} AS DOUBLE)"
    if kind == "number":
        return repr(float(value))
    return str(int(value)) if value > -(2**63) else f"CAST('{int(value)}' AS BIGINT)"  # its sign is read apart
