"""Conditions as a tree, for engines that do not read SQL: from checked tests, or from a subset of SQL.

The subset: comparisons of a column with a value (`=`, `!=`, `<>`, `<`, `<=`, `>`, `>=`), `IN`, `BETWEEN`, `IS NULL`,
`LIKE 'begins%'`, `array_has(column, value)`, a column of true or false by itself; joined by `AND`, `OR`, `NOT` and
parentheses. As in SQL, a comparison with a value that is not there is neither true nor false.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from itma.errors import FilterError, UnknownNameError
from itma.retrieval.filters import Filter, Test, checked, kind_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Begins:
    """A column of text begins so."""

    column: str
    text: str


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


Condition: TypeAlias = Test | Begins | Not | Every | Some
"""A `Test` with `None` asks whether a value is there; with `=` of a column of lists, whether the list holds it."""


def tree_of(condition: Filter, columns: "Mapping[str, pa.DataType]") -> Condition:
    """A condition as a tree.

    Args:
        condition: checked tests, or a text.
        columns: the columns that a text can name, with their types.

    Raises:
        FilterError: the text is none of the subset.
        UnknownNameError: the text names a column that is not there.
    """
    if condition.text is None:
        return Every(tuple(map(_asked, condition.tests)))
    return _Reader(condition.text, columns).whole()


def _asked(test: Test) -> Condition:
    """A test of a mapping: an item without a value matches `!=` and `not in`."""
    nothing = Test(test.column, "=", None, test.kind)
    wanted = test.value if isinstance(test.value, tuple) else (test.value,)
    values = tuple(value for value in wanted if value is not None)
    if test.comparison in ("=", "in", "!=", "not in"):
        found: list[Condition] = []
        if test.kind == "texts":
            found += [Test(test.column, "=", value, "texts") for value in values]
        elif values:
            found.append(Test(test.column, "in", values, test.kind))
        if test.comparison in ("=", "in"):
            return Some((*found, nothing) if None in wanted else tuple(found))
        if None in wanted:
            return Every((Not(Some(tuple(found))), Not(nothing)))
        return Some((nothing, Not(Some(tuple(found))))) if found else Every(())
    return test


_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*')
      | (?P<name>`[^`]+`|"(?:[^"]|"")+")
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<word>[^\W\d]\w*)
      | (?P<sign><=|>=|!=|<>|[=<>(),+-])
      | (?P<end>$)
    )""",
    re.VERBOSE,
)
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!=", "<>": "!="}
_WORDS = ("and", "or", "not", "in", "is", "null", "like", "between", "true", "false", "date", "timestamp")


@dataclass(frozen=True)
class _Value:
    value: Any


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str, columns: "Mapping[str, pa.DataType]") -> None:
        self._text, self._columns = text, columns
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while not self._tokens or self._tokens[-1][0] != "end":
            found = _TOKEN.match(text, place)
            if found is None:
                raise self._wrong(f"{text[place:].lstrip()[:20]!r} is not understood")
            self._tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            place = found.end()
        self._next = 0

    def whole(self) -> Condition:
        """The tree of the whole text."""
        tree = self._either()
        if self._tokens[self._next][0] != "end":
            raise self._wrong(f"{self._tokens[self._next][1]!r} is not expected there")
        return tree

    def _wrong(self, why: str) -> FilterError:
        return FilterError(
            f"the condition {self._text!r} cannot be understood ({why}); write it as in \"colour = 'red' and price < "
            f'50"; the columns are: {", ".join(self._columns) or "(none)"}'
        )

    def _take(self, *wanted: str) -> str | None:
        """The next token, where it is one of these words or signs."""
        kind, token = self._tokens[self._next]
        if kind in ("word", "sign") and token.lower() in wanted:
            self._next += 1
            return token.lower()
        return None

    def _expect(self, wanted: str) -> None:
        if not self._take(wanted):
            raise self._wrong(f"{wanted.upper()} is missing before {self._tokens[self._next][1] or 'its end'!r}")

    def _either(self) -> Condition:
        parts = [self._every()]
        while self._take("or"):
            parts.append(self._every())
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _every(self) -> Condition:
        parts = [self._single()]
        while self._take("and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _single(self) -> Condition:
        if self._take("not"):
            return Not(self._single())
        if self._take("("):
            inner = self._either()
            self._expect(")")
            return inner
        if self._tokens[self._next][1].lower() == "array_has":
            return self._holds()
        left = self._operand()
        if isinstance(left, _Value):
            return self._after_value(left)
        return self._after_column(left)

    def _holds(self) -> Condition:
        self._next += 1
        self._expect("(")
        column = self._operand()
        self._expect(",")
        value = self._operand()
        self._expect(")")
        if isinstance(column, _Value) or not isinstance(value, _Value) or self._kind(column) != "texts":
            raise self._wrong("array_has takes a column of lists of texts, and a value")
        return self._test(column, "=", value.value)

    def _after_value(self, left: _Value) -> Condition:
        sign = self._take(*_FLIPPED)
        if sign is None:
            if isinstance(left.value, bool):
                return Every(()) if left.value else Some(())
            raise self._wrong(f"{left.value!r} is compared with nothing")
        column = self._operand()
        if isinstance(column, _Value):
            raise self._wrong("two values are compared; one side must be a column")
        return self._compared(column, _FLIPPED[sign], left)

    def _after_column(self, column: str) -> Condition:
        if self._take("is"):
            turned = self._take("not")
            self._expect("null")
            nothing = Test(column, "=", None, self._kind(column))
            return Not(nothing) if turned else nothing
        if self._kind(column) == "texts":
            raise self._wrong(f"the column {column!r} holds lists of texts; ask with array_has({column}, 'value')")
        turned = self._take("not")
        if self._take("in"):
            found: Condition = self._test(column, "in", self._list())
        elif self._take("like"):
            found = self._like(column)
        elif self._take("between"):
            least = self._compared(column, ">=", self._operand())
            self._expect("and")
            found = Every((least, self._compared(column, "<=", self._operand())))
        elif turned:
            raise self._wrong(f"{self._tokens[self._next][1]!r} is not expected after NOT")
        elif sign := self._take(*_FLIPPED):
            found = self._compared(column, "!=" if sign == "<>" else sign, self._operand())
        else:
            found = self._test(column, "=", True)
        return Not(found) if turned else found

    def _compared(self, column: str, sign: str, value: _Value | str) -> Condition:
        if not isinstance(value, _Value):
            raise self._wrong(f"{column!r} is compared with the column {value!r}; one side must be a value")
        if self._kind(column) == "texts":
            raise self._wrong(f"the column {column!r} holds lists of texts; ask with array_has({column}, 'value')")
        return self._test(column, sign, value.value)

    def _list(self) -> list[Any]:
        self._expect("(")
        values = []
        while True:
            value = self._operand()
            if not isinstance(value, _Value):
                raise self._wrong(f"the column {value!r} stands in a list of values")
            values.append(value.value)
            if not self._take(","):
                self._expect(")")
                return values

    def _like(self, column: str) -> Condition:
        value = self._operand()
        pattern = value.value if isinstance(value, _Value) else None
        if not isinstance(pattern, str) or self._kind(column) != "text":
            raise self._wrong("LIKE compares a column of text with a pattern")
        begins = pattern.removesuffix("%")
        if re.search(r"[%_\\]", begins) or begins == pattern:
            raise self._wrong(f"of LIKE only 'begins%' can be asked here, and {pattern!r} is another pattern")
        return Begins(column, begins)

    def _kind(self, column: str) -> str:
        return kind_of(self._columns[column]) if column in self._columns else "text"  # the id

    def _test(self, column: str, comparison: str, value: Any) -> Test:
        kind = self._kind(column)
        several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if None in several:
            raise self._wrong("nothing equals NULL; ask with IS NULL")
        try:
            return checked(column, comparison, value, kind)
        except FilterError as error:
            raise self._wrong(str(error)) from error

    def _operand(self) -> _Value | str:
        kind, token = self._tokens[self._next]
        self._next += 1
        word = token.lower()
        if kind == "text":
            return _Value(token[1:-1].replace("''", "'"))
        if kind == "number":
            return _Value(int(token) if token.isdigit() else float(token))
        if kind == "sign" and token in "+-" and self._tokens[self._next][0] == "number":
            number = self._operand()
            assert isinstance(number, _Value)
            return _Value(-number.value if token == "-" else number.value)
        if kind == "word" and word in ("true", "false", "null"):
            return _Value({"true": True, "false": False, "null": None}[word])
        if kind == "word" and word in ("date", "timestamp") and self._tokens[self._next][0] == "text":
            return self._operand()
        if kind == "name" or (kind == "word" and (word not in _WORDS or token in self._columns)):
            name = token if kind == "word" else token[1:-1].replace('""', '"')
            if name not in self._columns and name != "id":
                raise UnknownNameError("column", name, self._columns)
            return name
        raise self._wrong(f"{token or 'its end'!r} stands where a column or a value is expected")
