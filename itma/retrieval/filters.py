"""Which items may be found, as a person says it: a text, or a mapping. Both become the same checked tree.

The grammar of a text, the same in front of every store:

    condition:  condition OR condition | condition AND condition | NOT condition | ( condition )
              | column = value (also != <> < <= > >=, and with the value first) | column
              | column [NOT] IN (value, ...) | column [NOT] BETWEEN value AND value
              | column [NOT] LIKE 'pattern' | column IS [NOT] NULL | array_has(column, value) | TRUE | FALSE
    column:     a bare word, or any name in backticks or in double quotes
    value:      'text' | number | TRUE | FALSE | DATE 'text' | TIMESTAMP 'text'
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from itma.errors import FilterError, UnknownNameError
from itma.retrieval.stores.conditions import (
    COMPARISONS,
    Condition,
    Every,
    Like,
    Not,
    Some,
    Test,
    kind_of,
    make_test,
    several,
)

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
Where = str | Mapping[str, Any]
"""A condition as a person gives it.

A text follows the grammar above: `"colour = 'red' and price < 50"`. A mapping asks all of its columns at once,
as in `{"colour": "red", "price": {"<": 50}, "size": ["S", "M"]}`: a value must be equal, a list holds what it may be,
`None` means that there is none, and of comparisons (`=`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`) all must hold.
A column of lists matches where it holds the value. In a mapping, an item without a value matches `!=` and `not in`.
"""

Filter: TypeAlias = Condition
"""A condition whose columns and values were checked against the columns there are."""


def filter_of(where: Where | None, columns: "Mapping[str, pa.DataType]") -> Filter | None:
    """A condition, checked.

    Args:
        where: what a person asked for.
        columns: the columns that can be asked, with their types; `id` can be asked in any case.

    Raises:
        UnknownNameError: a column that is not there, or a comparison that is not known.
        FilterError: a value that does not fit its column, or a text outside the grammar; the message shows where.
    """
    if where is None:
        return None
    kinds = {"id": "text", **{name: kind_of(kind) for name, kind in columns.items()}}
    if isinstance(where, str):
        return _Reader(where, kinds).whole()
    parts: list[Condition] = []
    for name, entry in where.items():
        column = column_named(name, kinds)
        comparisons = entry if isinstance(entry, Mapping) else {"in" if several(entry) else "=": entry}
        for comparison, value in comparisons.items():
            if comparison not in (*COMPARISONS, "not in"):
                raise UnknownNameError("comparison", comparison, (*COMPARISONS, "not in"))
            parts.append(_of_mapping(column, comparison, value, kinds[column]))
    return _join(Every, parts)


def _join(kind: type[Every] | type[Some], parts: Sequence[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else kind(tuple(parts))


def column_named(name: str, columns: Iterable[str], *, any_case: bool = False, advice: str = "") -> str:
    """The column of this name, however its accents are stored (`ö` is one character, or `o` and two dots).

    Args:
        name: as a person writes it.
        columns: those there are.
        any_case: capitals do not matter, where only one column can be meant.
        advice: what else to say where there is none.

    Raises:
        UnknownNameError: there is none.
    """
    names = list(columns)
    if name in names:
        return name
    alike = [each for each in names if compose(each) == compose(name)] if isinstance(name, str) else []
    if any_case and not alike:
        alike = [each for each in names if compose(each).casefold() == compose(name).casefold()]
    if len(alike) != 1:
        if not advice and set(names) <= {"id"}:
            advice = "There is no metadata: columns come from a table that is indexed (itma index RUN TABLE CATALOGUE)."
        raise UnknownNameError("column", name, names, advice=advice)
    return alike[0]


def compose(text: str) -> str:
    """A text whose accents are stored in one way: with their letters."""
    return unicodedata.normalize("NFC", text)


def _spelt(text: str) -> list[str]:
    """A text in every way that its accents may be stored: as it is written, composed, and taken apart."""
    return list(dict.fromkeys((text, compose(text), unicodedata.normalize("NFD", text))))


def _of_mapping(column: str, comparison: str, value: Any, kind: str) -> Condition:
    """One comparison of a mapping, in which an item without a value matches `!=` and `not in`."""
    if comparison not in ("=", "!=", "in", "not in"):
        return make_test(column, comparison, value, kind)
    test = make_test(column, "in" if "in" in comparison else "=", value, kind)
    values = test.value if isinstance(test.value, tuple) else (test.value,)
    missing, present = Test(column, "=", None, kind), [each for each in values if each is not None]
    condition = _one_of(column, present, kind)
    if comparison in ("=", "in"):
        return Some((condition, missing)) if None in values else condition
    return Every((Not(condition), Not(missing))) if None in values else Some((missing, Not(condition)))


def _one_of(column: str, values: Sequence[Any], kind: str) -> Condition:
    if kind in ("text", "texts") and column != "id":
        values = list(dict.fromkeys(each for value in values for each in _spelt(value)))
    tests: list[Condition] = [Test(column, "=", value, kind) for value in values]
    if len(tests) == 1 or not values or kind == "texts":
        return _join(Some, tests)
    return Test(column, "in", tuple(values), kind)


def ids_in(ids: Sequence[str]) -> Filter:
    """The items of these ids."""
    return Test("id", "in", tuple(ids), "text")


# Beyond ASCII a word takes in what re does not count as letters: accents and vowels that stand by themselves.
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*')
      | (?P<name>`[^`]+`|"(?:[^"]|"")+")
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?!\w))
      | (?P<word>[^\W\d](?:\w|[^\x00-\x7f\s])*)
      | (?P<sign><=|>=|!=|<>|==|[=<>(),+-])
      | (?P<end>$)
      | (?P<odd>.)
    )""",
    re.VERBOSE | re.DOTALL,
)
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!=", "<>": "!="}
_WORDS = ("and", "or", "not", "in", "is", "null", "like", "between", "true", "false")
_DEEPEST = 50
"""Parentheses and NOTs inside one another."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


class _Reader:
    """Reads one text from left to right; `kinds` has the kind of each column."""

    def __init__(self, text: str, kinds: Mapping[str, str]) -> None:
        self._text, self._kinds = text, kinds
        self._tokens: list[_Token] = []
        self._next, self._depth = 0, 0
        if not text.strip():
            raise FilterError("the condition is empty; write one, e.g. \"colour = 'red'\", or leave it out")
        for match in _TOKEN.finditer(text):
            kind = str(match.lastgroup)
            token = _Token(kind, "=" if match[kind] == "==" else match[kind], match.start(kind))  # as programs write it
            if kind == "odd":
                is_quote = token.text in "'\"`"
                raise self._error(
                    f"the quote {token.text} is not closed" if is_quote else "this is not understood", token.at
                )
            self._tokens.append(token)

    def whole(self) -> Condition:
        """The tree of the whole text."""
        tree = self._either()
        if self._here.kind != "end":
            raise self._error("AND, OR or the end is expected here")
        return tree

    @property
    def _here(self) -> _Token:
        return self._tokens[self._next]

    def _error(self, why: str, at: int | None = None) -> FilterError:
        at = self._here.at if at is None else at
        rest = self._text[at:].strip()
        position = f"at character {at + 1}, {rest[:24]!r}" if rest else "at its end"
        return FilterError(
            f"the condition {self._text!r} cannot be understood {position}: {why}; write it as in \"colour = 'red' and "
            f'price < 50"; the columns are: {", ".join(self._kinds)}'
        )

    def _take(self, *expected: str) -> str | None:
        """The next token, where it is one of these words or signs."""
        token = self._here
        if token.kind in ("word", "sign") and token.text.lower() in expected:
            self._next += 1
            return token.text.lower()
        return None

    def _expect(self, expected: str) -> None:
        if not self._take(expected):
            raise self._error(f"{expected.upper()} is expected here")

    def _either(self) -> Condition:
        return _join(Some, self._parts("or", self._every))

    def _every(self) -> Condition:
        return _join(Every, self._parts("and", self._single))

    def _parts(self, between: str, read: Callable[[], T]) -> list[T]:
        parts = [read()]
        while self._take(between):
            parts.append(read())
        return parts

    def _single(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(f"more than {_DEEPEST} parentheses and NOTs stand inside one another")
        try:
            if self._take("not"):
                return Not(self._single())
            if self._take("("):
                inner = self._either()
                self._expect(")")
                return inner
        finally:
            self._depth -= 1
        if self._here.text.lower() == "array_has" and self._tokens[self._next + 1].text == "(":
            self._next += 2
            column = self._column()
            self._expect(",")
            condition = self._compare(column, "=", self._value())
            self._expect(")")
            return condition
        if self._here.kind in ("text", "number") or self._here.text.lower() in ("true", "false", "+", "-"):
            return self._after_value()
        return self._after_column(self._column())

    def _after_value(self) -> Condition:
        begin = self._here.at
        value = self._value()
        sign = self._take(*_FLIPPED)
        if sign is None:
            if isinstance(value, bool):
                return Every(()) if value else Some(())
            raise self._error("a column is expected; a name with blanks stands in backticks or double quotes", begin)
        return self._compare(self._column(), _FLIPPED[sign], value)

    def _after_column(self, column: str) -> Condition:
        if self._take("is"):
            turned = self._take("not")
            self._expect("null")
            missing = Test(column, "=", None, self._kinds[column])
            return Not(missing) if turned else missing
        turned = self._take("not")
        if self._take("in"):
            values = [self._test(column, "=", value).value for value in self._list()]
            condition = _one_of(column, values, self._kinds[column])
        elif self._take("like"):
            condition = self._like(column)
        elif self._take("between"):
            least = self._compare(column, ">=", self._value())
            self._expect("and")
            condition = Every((least, self._compare(column, "<=", self._value())))
        elif turned:
            raise self._error("IN, LIKE or BETWEEN is expected after NOT")
        elif sign := self._take(*_FLIPPED):
            word = self._here.text.lower()
            if self._kinds[column] == "truth" and self._here.kind == "word" and word not in _WORDS:
                raise self._error(f"the column {column!r} holds true or false; write one of these")
            condition = self._compare(column, sign, self._value())
        elif self._kinds[column] == "truth":
            condition = Test(column, "=", True, "truth")
        else:
            raise self._error(f"a comparison of {column!r} is expected")
        return Not(condition) if turned else condition

    def _compare(self, column: str, sign: str, value: Any) -> Condition:
        if sign not in ("=", "!=", "<>"):
            return self._test(column, sign, value)
        same = _one_of(column, [self._test(column, "=", value).value], self._kinds[column])
        return same if sign == "=" else Not(same)

    def _list(self) -> list[Any]:
        self._expect("(")
        values = self._parts(",", self._value)
        self._expect(")")
        return values

    def _like(self, column: str) -> Condition:
        begin, value = self._here.at, self._value()
        if not isinstance(value, str) or self._kinds[column] != "text":
            raise self._error("LIKE compares a column of text with a pattern such as '%silk%'", begin)
        return _join(Some, [Like(column, each) for each in _spelt(value)])

    def _test(self, column: str, comparison: str, value: Any) -> Test:
        begin = self._tokens[self._next - 1].at
        try:
            return make_test(column, comparison, value, self._kinds[column])
        except FilterError as error:
            raise self._error(str(error), begin) from error

    def _column(self) -> str:
        token = self._here
        if token.kind == "name" or (token.kind == "word" and token.text.lower() not in _WORDS):
            name = token.text if token.kind == "word" else token.text[1:-1].replace('""', '"')
            name = column_named(name, self._kinds, any_case=token.kind == "word")
            self._next += 1
            return name
        raise self._error("a column is expected here")

    def _value(self) -> Any:
        token, word = self._here, self._here.text.lower()
        self._next += 1
        if token.kind == "text":
            return token.text[1:-1].replace("''", "'")
        if token.kind == "number":
            return int(token.text) if token.text.isdigit() and len(token.text) < 400 else float(token.text)
        if token.text in ("+", "-") and self._here.kind == "number":
            number = self._value()
            return -number if token.text == "-" else number
        if token.kind == "word" and word in ("true", "false"):
            return word == "true"
        if token.kind == "word" and word in ("date", "timestamp") and self._here.kind == "text":
            return self._value()
        self._next -= 1
        if word == "null":
            raise self._error("nothing equals NULL; ask with IS NULL")
        if token.kind in ("name", "word") and word not in _WORDS:
            name = token.text if token.kind == "word" else token.text[1:-1]
            raise self._error(f"a value is expected; a text stands in single quotes: '{name}'")
        raise self._error("a value is expected here")
