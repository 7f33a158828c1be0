"""Cells of tables as people write them → values of metadata: what is missing, numbers of either notation, dates."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime
from typing import Any

from itma.errors import DataError

MISSING_WORDS = frozenset(
    {
        *("n/a", "na", "n.a.", "k.a.", "k. a.", "-", "–", "—", "--", ".", "?"),
        *("null", "none", "nil", "nan", "-nan", "nat", "<na>", "(null)", "\\n"),
        *("inf", "+inf", "-inf", "infinity", "+infinity", "-infinity", "∞"),
        *("#n/a", "#na", "#n/a n/a", "#div/0!", "#value!", "#ref!", "#name?", "#null!", "#num!"),
    }
)
"""What stands for a missing value in columns of numbers, dates, and true or false, in small letters."""
KINDS = {
    "text": "text",
    "number": "number",
    "whole": "whole",
    "truth": "truth",
    "date": "date",
    "time": "time",
    "texts": "texts",
    "decimal-comma": "number",
    "decimal-point": "number",
}
"""Kinds that a person may say a column is of → the kind that is kept."""

_WHOLE = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_ZERO_FIRST = re.compile(r"[+-]?0\d")
_COMMA = re.compile(r"[+-]?(0|[1-9]\d{0,2}([. \u00a0\u202f'’]\d{3})+|[1-9]\d*)(,\d+)?")
_POINT = re.compile(r"[+-]?(0|[1-9]\d{0,2}(,\d{3})+|[1-9]\d*)(\.\d+)?")
_CURRENCY = re.compile(r"(€|\$|£|¥|EUR|USD|GBP|CHF)?\s*([^€$£¥A-Za-z]*?)\s*(€|\$|£|¥|EUR|USD|GBP|CHF)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?")
_OTHER_DATE = re.compile(r"(\d{1,2})([./])(\d{1,2})\2(\d{4})")
_TRUTHS = {"true": True, "false": False}
_SAID_TRUTHS = {**_TRUTHS, **dict.fromkeys(("yes", "y", "t", "1"), True), **dict.fromkeys(("no", "n", "f", "0"), False)}
"""What is true or false where a person says that the column holds that."""

Reader = Callable[[Any], Any]


def is_missing(value: Any, words: Collection[str] = ()) -> bool:
    """Whether a value is none: `None`, an empty text, no finite number, one of some words, or a list of such alone.

    Args:
        value: a cell of a table, or a field of an item.
        words: texts that stand for none, in small letters.
    """
    if isinstance(value, list | tuple):
        return all(is_missing(each, words) for each in value)
    if isinstance(value, str):
        return not value.strip() or value.strip().lower() in words
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def without_missing(value: Any, words: Collection[str] = ()) -> Any:
    """A value; of a list the values that are there."""
    return [each for each in value if not is_missing(each, words)] if isinstance(value, list | tuple) else value


def kind_of_texts(texts: Sequence[str], *, numbers: bool) -> tuple[str, Reader]:
    """What texts are, all of them, and what reads one.

    Args:
        texts: without those that stand for a missing value.
        numbers: look for numbers, and true or false, as well as for dates and times.
    """
    if not texts:
        return "text", str
    if numbers:
        if all(map(_WHOLE.fullmatch, texts)):
            return "whole", int
        if all(_NUMBER.fullmatch(text) and not _ZERO_FIRST.match(text) for text in texts):
            return "number", float
        if all(text.lower() in _TRUTHS for text in texts):
            return "truth", _truth
        notation = _notation(texts)
        if notation:
            return "number", notation
    if all(each and each[2] == "." for each in map(_OTHER_DATE.fullmatch, texts)) and _reads(_any_date(texts), texts):
        return "date", _any_date(texts)  # with dots, the day stands first everywhere
    for kind, pattern, reader in (("date", _DATE, date.fromisoformat), ("time", _TIME, datetime.fromisoformat)):
        if all(map(pattern.fullmatch, texts)) and _reads(reader, texts):
            return kind, reader
    return "text", str


def reader_for(kind: str, texts: Sequence[str]) -> Reader:
    """What reads a value as a person says it is; raises `ValueError` where one is something else.

    Args:
        kind: one of `KINDS`.
        texts: those of the column that are there, for what only all of them can say: which notation of numbers it is.
    """
    if kind == "number":
        return _any_number(texts)
    if kind == "date":
        return _any_date(texts)
    readers: dict[str, Reader] = {
        "text": lambda value: value if isinstance(value, str) else str(value),
        "whole": _whole,
        "truth": _truth,
        "time": lambda value: value if isinstance(value, datetime) else datetime.fromisoformat(str(value)),
        "texts": lambda value: [str(each) for each in (value if isinstance(value, list | tuple) else [value])],
        "decimal-comma": lambda value: _with_comma(_amount(str(value))),
        "decimal-point": lambda value: float(_amount(str(value)).replace(",", "")),
    }
    return readers[kind]


def _reads(reader: Reader, texts: Iterable[str]) -> bool:
    try:
        for text in texts:
            reader(text)
    except ValueError:
        return False
    return True


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() not in _SAID_TRUTHS:
        raise ValueError(f"{value!r} is neither true nor false")
    return _SAID_TRUTHS[str(value).lower()]


def _whole(value: Any) -> int:
    if isinstance(value, float) and value != int(value):
        raise ValueError(f"{value!r} is not a whole number")
    return int(value)


def _amount(text: str) -> str:
    """A number without the currency before or after it."""
    match = _CURRENCY.fullmatch(text.strip())
    return match[2] if match and not (match[1] and match[3]) else text.strip()


def _currencies(texts: Iterable[str]) -> set[str]:
    matches = (_CURRENCY.fullmatch(text.strip()) for text in texts)
    return {(each[1] or each[3] or "") if each else "?" for each in matches}


def _with_comma(text: str) -> float:
    if not _COMMA.fullmatch(text):
        raise ValueError(f"{text!r} is not a number with a decimal comma")
    return float(re.sub(r"[. \u00a0\u202f'’]", "", text).replace(",", "."))


def _with_point(text: str) -> float:
    if not _POINT.fullmatch(text):
        raise ValueError(f"{text!r} is not a number with a decimal point")
    return float(text.replace(",", ""))


def _notation(texts: Sequence[str]) -> Reader | None:
    """What reads numbers that are plainly written with a decimal comma, with thousands apart, or with a currency."""
    if len(_currencies(texts)) > 1:
        return None
    amounts = [_amount(text) for text in texts]
    comma, point = all(map(_COMMA.fullmatch, amounts)), all(map(_POINT.fullmatch, amounts))
    if comma and point:  # 1,299 could be either; without a comma or a point they are whole
        plain = not any(set(amount) & set(",.") for amount in amounts)
        return (lambda text: _with_point(_amount(text))) if plain else None
    if comma and any(
        "," in amount or len(amount.split(".")) > 2 or set(amount) & set(" \u00a0\u202f'’") for amount in amounts
    ):
        return lambda text: _with_comma(_amount(text))
    if point:
        return lambda text: _with_point(_amount(text))
    return None


def _any_number(texts: Sequence[str]) -> Reader:
    if all(_NUMBER.fullmatch(text.strip()) for text in texts):
        return float
    notation = _notation(texts)
    if notation:
        return lambda value: notation(value) if isinstance(value, str) else float(value)
    odd = next((text for text in texts if not _NUMBER.fullmatch(text.strip())), "")
    if _COMMA.fullmatch(_amount(odd)) or _POINT.fullmatch(_amount(odd)):
        raise DataError(
            f"{odd!r} can be read with a decimal comma or a decimal point; say which: decimal-comma or decimal-point "
            "in place of number"
        )
    return float


def _any_date(texts: Sequence[str]) -> Reader:
    matches = [_OTHER_DATE.fullmatch(text) for text in texts]
    months = any(each and each[2] == "/" and int(each[3]) > 12 for each in matches)
    days = any(each and each[2] == "/" and int(each[1]) > 12 for each in matches)
    if any(each and each[2] == "/" for each in matches) and months == days:
        odd = next(each[0] for each in matches if each and each[2] == "/")
        raise DataError(f"{odd!r} can be day/month or month/day; write dates as 2026-01-31 or 31.01.2026")

    def read(value: Any) -> date:
        if isinstance(value, datetime):
            return value.date()
        if isinstance(value, date):
            return value
        other = _OTHER_DATE.fullmatch(str(value).strip())
        if not other:
            return date.fromisoformat(str(value).strip()[:10])
        first, second = int(other[1]), int(other[3])
        day, month = (second, first) if other[2] == "/" and months else (first, second)
        return date(int(other[4]), month, day)

    return read
