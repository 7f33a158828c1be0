"""Rows and conditions as Milvus takes them.

A row is its key, its id, its embedding, and one JSON object with all other columns. The only place where a value
becomes part of an expression is `_literal`.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from itma.errors import DataError, FilterError
from itma.retrieval.stores.base import arrow, embedding_column, embeddings_of
from itma.retrieval.stores.conditions import Condition, Every, Like, Not, Some, kind_of

if TYPE_CHECKING:
    import pyarrow as pa

MOST_BYTES = 65_535
"""The longest text or JSON of one field, in UTF-8."""
_TRUE, _FALSE = 'key != ""', 'key == ""'
_OPPOSITE = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "in": "not in", "not in": "in"}
_UNITS: Mapping[str, int | Fraction] = {"s": 10**6, "ms": 1000, "us": 1, "ns": Fraction(1, 1000)}
"""Microseconds in a column's unit."""


# -- rows -------------------------------------------------------------------------------------------------------------


def pack(schema: "pa.Schema") -> str:
    """The columns of a table as a text."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def unpack(text: str) -> "pa.Schema":
    """What `pack` made a text of."""
    return arrow().ipc.read_schema(arrow().py_buffer(base64.b64decode(text)))


def key_of(name: str) -> str:
    """The primary key of an item: evenly spread, and short whatever the id is."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def to_plain(table: "pa.Table", schema: "pa.Schema") -> list[dict[str, Any]]:
    """Rows as a collection takes them.

    Raises:
        DataError: an item holds more than Milvus can keep; the message names it.
    """
    rows = [
        {"key": key_of(name), "id": name, "embedding": row, "columns": {}}
        for name, row in zip(table["id"].to_pylist(), embeddings_of(table["embedding"]), strict=True)
    ]
    for field in schema:
        if field.name in ("id", "embedding") or field.name not in table.column_names:
            continue
        key = _json_key(field.name, schema)
        for row, value in zip(rows, _plain_values(table[field.name], field), strict=True):
            if value is not None:
                row["columns"][key] = value
    for row in rows:
        for what, text in (("an id", row["id"]), ("metadata", json.dumps(row["columns"], ensure_ascii=False))):
            if len(text.encode()) > MOST_BYTES:
                raise DataError(
                    f"the item {row['id'][:60]!r} has {what} of {len(text.encode()):,} bytes; a Milvus server "
                    f"keeps at most {MOST_BYTES:,}: shorten it, or keep the catalogue in a folder"
                )
    return rows


def from_plain(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], schema: "pa.Schema") -> "pa.RecordBatch":
    """Some columns of rows that came from a collection."""
    pa, arrays, chosen = arrow(), [], arrow().schema([schema.field(name) for name in columns])
    cells = [row.get("columns", {}) for row in rows]
    objects = [json.loads(each) if isinstance(each, str | bytes) else each for each in cells]
    for field in chosen:
        if field.name == "embedding":
            values = np.array([row["embedding"] for row in rows], dtype=np.float32)
            arrays.append(embedding_column(values.reshape(len(rows), field.type.list_size)))
        elif field.name == "id":
            arrays.append(pa.array([row["id"] for row in rows], field.type))
        else:
            key = _json_key(field.name, schema)
            arrays.append(pa.array([each.get(key) for each in objects], _find_stored_type(field.type)).cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=chosen)


def _json_key(column: str, schema: "pa.Schema") -> str:
    """Under which key a row's JSON object has a column."""
    return f"c{schema.get_field_index(column)}"


def _find_stored_type(kind: "pa.DataType") -> "pa.DataType":
    """What a column's values are cast to before they become JSON."""
    pa = arrow()
    named = {"whole": pa.int64(), "number": pa.float64(), "date": pa.int32(), "time": pa.int64()}
    return named.get(kind_of(kind), kind)


def _plain_values(values: "pa.ChunkedArray", field: "pa.Field") -> list[Any]:
    """A column as plain values; dates and times become whole numbers."""
    try:
        plain: list[Any] = values.cast(field.type).cast(_find_stored_type(field.type)).to_pylist()
    except arrow().ArrowInvalid as error:
        raise DataError(f"the column {field.name!r} holds a number beyond 64 bits, which Milvus cannot keep") from error
    for value in plain:
        if isinstance(value, float) and not math.isfinite(value):
            raise DataError(
                f"the column {field.name!r} holds {value}; a Milvus server keeps finite numbers alone: leave it empty"
            )
    return plain


# -- conditions -------------------------------------------------------------------------------------------------------


def to_expression(tree: Condition | None, schema: "pa.Schema", yes: bool = True) -> str:
    """A condition, or its opposite, as an expression: a missing value makes neither of them true.

    Args:
        tree: the condition; None: all items.
        schema: of the table.
        yes: not the opposite.

    Raises:
        FilterError: a pattern that Milvus does not know.
    """
    if tree is None:
        return _TRUE
    if isinstance(tree, Not):
        return to_expression(tree.part, schema, not yes)
    if isinstance(tree, Every | Some):
        every = isinstance(tree, Every) == yes
        parts = [to_expression(part, schema, yes) for part in tree.parts]
        return f"({(' and ' if every else ' or ').join(parts) or (_TRUE if every else _FALSE)})"
    value = "id" if tree.column == "id" else f'columns["{_json_key(tree.column, schema)}"]'
    there = _TRUE if tree.column == "id" else f"(exists {value})"
    negated = "" if yes else "not "
    if isinstance(tree, Like):
        begins = tree.beginning
        if begins is None:
            raise FilterError(
                f"of LIKE only 'begins%' can be asked of a Milvus server, and {tree.pattern!r} is another pattern"
            )
        holds = f"{value} >= {_literal(begins, 'text')} and {value} like {_literal(begins + '%', 'text')}"
        return f"({there} and {negated}({holds}))"
    if tree.value is None:
        return there if (tree.comparison == "=") != yes else f"(not {there})"
    if tree.kind == "texts":
        return f"({there} and {negated}json_contains({value}, {_literal(tree.value, 'texts')}))"
    comparison = tree.comparison if yes else _OPPOSITE[tree.comparison]
    unit = _UNITS[schema.field(tree.column).type.unit] if tree.kind == "time" else 1
    if isinstance(tree.value, tuple):
        literals = [_literal(each, tree.kind, unit) for each in tree.value]
        if tree.kind not in ("text", "truth", "number"):  # Milvus takes numbers of one kind alone
            literals = [each for each in literals if "." not in each and "e" not in each]
        listed = f"{value} in [{', '.join(literals)}]" if literals else _FALSE
        return f"({there} and {negated}({listed}))"
    sign = "==" if comparison == "=" else comparison
    return f"({there} and {value} {sign} {_literal(tree.value, tree.kind, unit)})"


def _literal(value: Any, kind: str, unit: int | Fraction = 1) -> str:
    r"""A value as Milvus reads it. Of texts all but ASCII's letters and digits become numbers: none leaves its quotes.

    >>> print(_literal('say "é"', "text"))
    "say\U00000020\U00000022\U000000e9\U00000022"
    """
    if kind in ("text", "texts"):
        return '"' + re.sub("[^A-Za-z0-9]", lambda sign: f"\\U{ord(sign[0]):08x}", value) + '"'
    if kind == "truth":
        return "true" if value else "false"
    if kind == "number":
        return repr(float(value))
    if isinstance(value, datetime):
        value = Fraction((value.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))
        value /= unit
    elif isinstance(value, date):
        value = (value - date(1970, 1, 1)).days
    whole = Fraction(value)
    if whole.denominator != 1:
        return repr(float(whole))
    return str(whole) if whole > -(2**63) else f"({1 - 2**63} - 1)"  # the number behind the sign must have 64 bits
