"""Rows of a table of items as a Milvus collection holds them, and conditions as its boolean expressions.

| field | type | |
|---|---|---|
| `key` | text, primary | of the id and the commit that wrote the row; rows never change |
| `place` | int64 | of the id: a number from 0 to 2⁶³ − 1, evenly spread; by it items are found and gone through |
| `born` | int64 | the commit that wrote the row |
| `id`, `picture`, `sum`, `facts` | text | |
| `size`, `modified`, `stamp` | int64 | |
| `embedding` | float vector | |
| `tokens0` … | text | feature maps in base 64, where the table has them |
| `c0` …, `h0` … | by kind, bool | metadata that was there from the beginning, and whether there is a value |
| `more` | JSON | all other metadata, by `c` and its number; what is null is absent |

Milvus 2.3 knows no null, adds no fields, and takes letters, digits and underscores alone as names: hence all this.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from itma.errors import DataError
from itma.retrieval.filters import Test, kind_of
from itma.retrieval.stores.base import arrow, embeddings_of, metadata_of
from itma.retrieval.stores.conditions import Begins, Condition, Every, Not, Some

if TYPE_CHECKING:
    import pyarrow as pa

MOST_BYTES = 65_535
"""What one text can have in UTF-8."""
TYPED = 16
"""Columns of metadata that become fields; a collection has at most 64 fields."""
_TOKEN_FIELDS = 16
_TOKEN_BYTES = MOST_BYTES // 4 * 3
_PLACES = 2**63
_LEAST, _LARGEST = -(2**63), 2**63 - 1
_NOTHING = "\0"
"""Stands for null in texts of our own, which are never this."""
_TEXTS = {"_picture": "picture", "_sum": "sum", "_facts": "facts"}
_NUMBERS = {"_size": "size", "_modified": "modified", "_stamp": "stamp"}
_EMPTY: Mapping[str, Any] = {"text": "", "whole": 0, "number": 0.0, "truth": False, "date": 0, "time": 0}
TRUE, FALSE = "born >= 0", "born < 0"


def place_of(name: str) -> int:
    """Where an id stands, from 0 to 2⁶³ − 1; two ids may stand at one place."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def key_of(name: str, born: int) -> str:
    """The primary key of a row: 22 characters."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"{born}:{name}".encode()).digest()[:16]).decode().rstrip("=")


def range_of(part: int, parts: int) -> str:
    """The items of one of many parts, as an expression; all parts are of nearly the same size."""
    low, high = _PLACES * part // parts, _PLACES * (part + 1) // parts - 1
    return f"(place >= {low} and place <= {high})"


@dataclass(frozen=True)
class Column:
    """Where a column of metadata stands."""

    name: str
    type: "pa.DataType"
    kind: str
    number: int
    typed: bool

    @property
    def value(self) -> str:
        """Its value, as an expression."""
        return f"c{self.number}" if self.typed else f'more["c{self.number}"]'

    def there(self, yes: bool) -> str:
        """Whether there is a value, as an expression."""
        if self.typed:
            return f"h{self.number} == {'true' if yes else 'false'}"
        return f"{'' if yes else 'not '}(exists {self.value})"


class Layout:
    """How the columns of a table are kept.

    Args:
        schema: of the table.
        first: so many columns of metadata were there when the collection was made.
    """

    def __init__(self, schema: "pa.Schema", first: int) -> None:
        self.schema, self.first = schema, first
        self.columns: dict[str, Column] = {}
        for number, (name, kind) in enumerate(metadata_of(schema).items()):
            typed = number < min(first, TYPED) and kind_of(kind) != "texts"
            self.columns[name] = Column(name, kind, kind_of(kind), number, typed)
        self.dim: int = schema.field("embedding").type.list_size
        self.tokens = "_tokens" in schema.names

    def types(self, milvus: Any) -> dict[str, Any]:
        """The collection's fields with their types; `milvus` is the package pymilvus."""
        kinds = milvus.DataType
        typed = {"text": kinds.VARCHAR, "number": kinds.DOUBLE, "truth": kinds.BOOL}
        found = {"key": kinds.VARCHAR}
        found |= dict.fromkeys(("place", "born", *_NUMBERS.values()), kinds.INT64)
        found |= dict.fromkeys(("id", *_TEXTS.values()), kinds.VARCHAR)
        found |= {f"tokens{number}": kinds.VARCHAR for number in range(_TOKEN_FIELDS if self.tokens else 0)}
        for column in self.columns.values():
            if column.typed:
                found |= {column.value: typed.get(column.kind, kinds.INT64), f"h{column.number}": kinds.BOOL}
        return {**found, "more": kinds.JSON, "embedding": kinds.FLOAT_VECTOR}

    def fields(self, milvus: Any) -> Any:
        """The collection's schema."""
        kinds, made = milvus.DataType, milvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        more = {kinds.VARCHAR: {"max_length": MOST_BYTES}, kinds.FLOAT_VECTOR: {"dim": self.dim}}
        for name, kind in self.types(milvus).items():
            made.add_field(name, kind, is_primary=name == "key", **more.get(kind, {}))
        return made

    # -- writing ------------------------------------------------------------------------------------------------------

    def rows(self, table: "pa.Table", born: int) -> list[dict[str, Any]]:
        """Rows as the collection takes them.

        Raises:
            DataError: an item holds more than Milvus can keep; the message names it.
        """
        names = table["id"].to_pylist()
        rows = [
            {"key": key_of(name, born), "place": place_of(name), "born": born, "id": name, "more": {}, "embedding": row}
            for name, row in zip(names, embeddings_of(table["embedding"]), strict=True)
        ]
        for own, nothing in ((_TEXTS, _NOTHING), (_NUMBERS, _LEAST)):
            for name, field in own.items():
                values = table[name].to_pylist() if name in table.column_names else [None] * len(rows)
                for row, value in zip(rows, values, strict=True):
                    row[field] = nothing if value is None else value
        for column in self.columns.values():
            self._put(column, table, rows)
        if self.tokens:
            given = table["_tokens"].to_pylist() if "_tokens" in table.column_names else [None] * len(rows)
            for row, value in zip(rows, given, strict=True):
                _put_tokens(row, value)
        for row in rows:
            _refuse_long(row)
        return rows

    def _put(self, column: Column, table: "pa.Table", rows: list[dict[str, Any]]) -> None:
        given = column.name in table.column_names
        values = _plain(table[column.name], column) if given else [None] * len(rows)
        for row, value in zip(rows, values, strict=True):
            if column.typed:
                row[column.value] = _EMPTY[column.kind] if value is None else value
                row[f"h{column.number}"] = value is not None
            elif value is not None:
                if isinstance(value, float) and not math.isfinite(value):
                    raise DataError(
                        f"the item {row['id'][:60]!r} has {value} in the column {column.name!r}, which came later and "
                        "holds finite numbers alone on a Milvus server; leave it empty"
                    )
                row["more"][f"c{column.number}"] = value

    # -- reading ------------------------------------------------------------------------------------------------------

    def wanted(self, names: Sequence[str]) -> list[str]:
        """The fields that hold these columns."""
        fields = {"key", "id"}
        for name in names:
            if name in self.columns:
                column = self.columns[name]
                fields |= {column.value, f"h{column.number}"} if column.typed else {"more"}
            elif name == "_tokens":
                fields |= {f"tokens{number}" for number in range(_TOKEN_FIELDS)}
            else:
                fields.add({**_TEXTS, **_NUMBERS}.get(name, name))
        return sorted(fields)

    def batch(self, found: Sequence[Mapping[str, Any]], names: Sequence[str]) -> "pa.RecordBatch":
        """What a query found, as these columns."""
        pa = arrow()
        schema = pa.schema([self.schema.field(name) for name in names])
        return pa.RecordBatch.from_arrays([self._column(found, field) for field in schema], schema=schema)

    def _column(self, found: Sequence[Mapping[str, Any]], field: "pa.Field") -> "pa.Array":
        pa, name = arrow(), field.name
        if name == "embedding":
            flat = np.array([row["embedding"] for row in found], dtype=np.float32).reshape(-1)
            return pa.FixedSizeListArray.from_arrays(pa.array(flat), self.dim)
        if name == "_tokens":
            return pa.array(map(_tokens, found), field.type)
        if name in self.columns:
            column = self.columns[name]
            if column.typed:
                values = [row[column.value] if row[f"h{column.number}"] else None for row in found]
            else:
                values = [_json(row["more"]).get(f"c{column.number}") for row in found]
            return _typed(values, column)
        nothing = _NOTHING if name in _TEXTS else _LEAST
        inner = {**_TEXTS, **_NUMBERS}.get(name, name)
        return pa.array([None if row[inner] == nothing else row[inner] for row in found], field.type)

    # -- asking -------------------------------------------------------------------------------------------------------

    def expression(self, tree: Condition) -> str:
        """A condition in Milvus' own words; values become part of it in `_text` and as plain numbers alone."""
        return self._written(tree, True)

    def _written(self, tree: Condition, yes: bool) -> str:
        """The condition, or its opposite: a missing value makes neither of them true."""
        if isinstance(tree, Not):
            return self._written(tree.part, not yes)
        if isinstance(tree, Every | Some):
            every = isinstance(tree, Every) == yes
            parts = [self._written(part, yes) for part in tree.parts]
            if not parts:
                return TRUE if every else FALSE
            return "(" + (" and " if every else " or ").join(parts) + ")"
        if isinstance(tree, Begins):
            value, there = self._field(tree.column)
            begins = f"({value} >= {_text(tree.text)} and {value} like {_text(tree.text + '%')})"
            return f"({there} and {begins})" if yes else f"({there} and not {begins})"
        return self._test(tree, yes)

    def _field(self, name: str) -> tuple[str, str]:
        """An expression for a column, and one for there being a value."""
        if name in self.columns:
            return self.columns[name].value, self.columns[name].there(True)
        if name == "_picture":
            return "picture", f"picture != {_text(_NOTHING)}"
        return name, TRUE

    def _test(self, test: Test, yes: bool) -> str:
        value, there = self._field(test.column)
        if test.value is None:
            wanted = (test.comparison == "=") != yes
            return there if wanted else (self.columns[test.column].there(False) if value != test.column else FALSE)
        if test.kind == "texts":
            held = f"json_contains({value}, {_text(test.value)})"
            return f"({there} and {held})" if yes else f"({there} and not {held})"
        comparison = test.comparison if yes else _OPPOSITE[test.comparison]
        if test.kind == "text":
            written = _compared(value, comparison, test.value, _text)
        elif test.kind == "truth":
            written = _compared(value, comparison, test.value, lambda each: "true" if each else "false")
        elif test.kind == "number":
            written = _compared(value, comparison, test.value, lambda each: repr(float(each)))
        else:
            unit = self._unit(test)
            values = test.value if isinstance(test.value, tuple) else (test.value,)
            written = _whole(value, comparison, [_exact(each, unit) for each in values])
        return f"({there} and {written})"

    def _unit(self, test: Test) -> Fraction:
        """How many of the column's units are in a microsecond."""
        if test.kind != "time":
            return Fraction(1)
        return {"s": Fraction(1, 10**6), "ms": Fraction(1, 1000), "us": Fraction(1), "ns": Fraction(1000)}[
            self.columns[test.column].type.unit
        ]


_OPPOSITE = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "in": "not in", "not in": "in"}
_SIGN = {"=": "==", "!=": "!="}


def _text(value: str) -> str:
    r"""A text as Milvus reads it: all but ASCII's letters and digits by number, so that nothing leaves its quotes.

    >>> print(_text('say "é"'))
    "say\u0020\u0022\u00e9\u0022"
    """
    signs = (
        each
        if each.isascii() and each.isalnum()
        else f"\\u{ord(each):04x}"
        if ord(each) < 2**16
        else f"\\U{ord(each):08x}"
        for each in value
    )
    return '"' + "".join(signs) + '"'


def _compared(value: str, comparison: str, wanted: Any, literal: Any) -> str:
    if comparison in ("in", "not in"):
        if not wanted:
            return FALSE if comparison == "in" else TRUE
        if len(wanted) == 1:
            return f"{value} {'==' if comparison == 'in' else '!='} {literal(wanted[0])}"
        listed = f"({value} in [{', '.join(map(literal, wanted))}])"
        return listed if comparison == "in" else f"(not {listed})"
    return f"{value} {_SIGN.get(comparison, comparison)} {literal(wanted)}"


def _exact(value: Any, unit: Fraction) -> Fraction:
    """A whole number, number, date or time as the column counts."""
    if isinstance(value, datetime):
        passed = value.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        return Fraction((passed.days * 86_400 + passed.seconds) * 10**6 + passed.microseconds) * unit
    if isinstance(value, date):
        return Fraction((value - date(1970, 1, 1)).days)
    return Fraction(value)


def _whole(value: str, comparison: str, wanted: Sequence[Fraction]) -> str:
    """Whole numbers compared exactly; the least of 64 bits cannot be written and is told from its neighbour."""
    if comparison in ("in", "not in", "=", "!="):
        there = [int(each) for each in wanted if each.denominator == 1 and _LEAST <= each <= _LARGEST]
        found = _compared(value, "in", [each for each in there if each > _LEAST], str)
        if _LEAST in there:
            found = f"({found} or {value} < {_LEAST + 1})"
        return found if comparison in ("in", "=") else f"(not ({found}))"
    if comparison in ("<", "<="):
        most = math.floor(wanted[0]) if comparison == "<=" else math.ceil(wanted[0]) - 1
        if most > _LEAST:
            return f"{value} <= {most}" if most < _LARGEST else TRUE
        return FALSE if most < _LEAST else f"{value} < {_LEAST + 1}"
    least = math.ceil(wanted[0]) if comparison == ">=" else math.floor(wanted[0]) + 1
    if least > _LEAST:
        return f"{value} >= {least}" if least <= _LARGEST else FALSE
    return TRUE


def _plain(values: "pa.ChunkedArray", column: Column) -> list[Any]:
    """A column of metadata as plain values; dates and times become whole numbers."""
    pa = arrow()
    try:
        if column.kind == "date":
            values = values.cast(pa.date32()).cast(pa.int32())
        elif column.kind == "time":
            values = values.cast(column.type).cast(pa.int64())
        elif column.kind == "whole":
            values = values.cast(pa.int64())
        elif column.kind == "number":
            values = values.cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise DataError(
            f"the column {column.name!r} holds a number beyond 64 bits, which Milvus cannot keep"
        ) from error
    plain: list[Any] = values.to_pylist()
    return plain


def _typed(values: list[Any], column: Column) -> "pa.Array":
    pa = arrow()
    if column.kind == "date":
        return pa.array(values, pa.int32()).cast(column.type)
    if column.kind in ("time", "whole"):
        return pa.array(values, pa.int64()).cast(column.type)
    if column.kind == "number":
        return pa.array(values, pa.float64()).cast(column.type)
    return pa.array(values, column.type)


def _json(value: Any) -> Mapping[str, Any]:
    plain: Mapping[str, Any] = json.loads(value) if isinstance(value, str | bytes) else value or {}
    return plain


def _put_tokens(row: dict[str, Any], value: bytes | None) -> None:
    parts = (
        [] if value is None else [value[at : at + _TOKEN_BYTES] for at in range(0, max(1, len(value)), _TOKEN_BYTES)]
    )
    if len(parts) > _TOKEN_FIELDS:
        raise DataError(
            f"the feature maps of {row['id'][:60]!r} take {len(value or b''):,} bytes; a Milvus server keeps at most "
            f"{_TOKEN_BYTES * _TOKEN_FIELDS:,}: make the catalogue without --tokens"
        )
    for number in range(_TOKEN_FIELDS):
        text = base64.b64encode(parts[number]).decode() if number < len(parts) else ""
        row[f"tokens{number}"] = text if number or value is not None else _NOTHING


def _tokens(row: Mapping[str, Any]) -> bytes | None:
    if row["tokens0"] == _NOTHING:
        return None
    return b"".join(base64.b64decode(row[f"tokens{number}"]) for number in range(_TOKEN_FIELDS))


def _refuse_long(row: Mapping[str, Any]) -> None:
    for field, value in row.items():
        if isinstance(value, str) and len(value) * 4 > MOST_BYTES and len(value.encode()) > MOST_BYTES:
            raise DataError(
                f"the item {row['id'][:60]!r} has {'an id' if field == 'id' else 'a text'} of "
                f"{len(value.encode()):,} bytes; a Milvus server keeps at most {MOST_BYTES:,}: shorten it, or keep the "
                "catalogue in a folder"
            )
    if row["more"] and len(json.dumps(row["more"], ensure_ascii=False).encode()) > MOST_BYTES:
        raise DataError(
            f"the item {row['id'][:60]!r} has lists and later columns of more than {MOST_BYTES:,} bytes in all, which "
            "is the most that a Milvus server keeps; shorten them, or keep the catalogue in a folder"
        )
