"""Cells of tables as people write them → values of metadata: what is missing, numbers of either notation, dates."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime, time
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
KINDS = {kind: kind for kind in ("text", "number", "whole", "truth", "date", "time", "texts")}
KINDS |= {"decimal-comma": "number", "decimal-point": "number"}
"""Kinds that a person may say a column is of → the kind that is kept."""

_WHOLE = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_ZERO_FIRST = re.compile(r"[+-]?0\d")
_APART = " \u00a0\u202f'’"
"""What stands between thousands, whatever stands before the decimals."""
_COMMA, _POINT = (
    re.compile(rf"[+-]?(0|[1-9]\d{{0,2}}([{thousands}{_APART}]\d{{3}})+|[1-9]\d*)([{sign}]\d+)?")
    for thousands, sign in (".,", ",.")
)
_MONEY = (
    r"(€|(?:US|CA|AU|R)?\$|£|¥|₹|₽|₺|₩|円|元|zł|Kč|kr\.?|Ft|S?Fr\.|Euro?|"
    r"(?:EUR|USD|GBP|CHF|PLN|CZK|SEK|NOK|DKK|HUF|JPY|CNY|INR|RUB|TRY|AUD|CAD|BRL))?"
)
_CURRENCY = re.compile(rf"([+-]?){_MONEY}\s*([+-]?\d(?:[^€$£¥%A-Za-z]*?\d)?)\s*{_MONEY}")
_DASH = re.compile(r"(?<=\d[.,])[-–—]{1,2}(?=\D*$)")
"""What stands in place of cents that are none."""
_WITH_UNIT = re.compile(r"(.*\d)\s*([^\W\d_]\D{0,11}|[%‰°\"'])", re.DOTALL)
_CLOCK = (
    r"(?:(?:T|,?\s+)(?P<hour>\d{1,2})(?P<rest>:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?)\s?(?P<half>[AP]M)?"
    r"\s?(?P<zone>Z|UTC|[+-]\d{2}:?\d{2})?)?"
)
_YEAR_FIRST = re.compile(
    rf"(?P<year>\d{{4}})(?P<by>[-./])(?P<one>\d{{1,2}})(?P=by)(?P<two>\d{{1,2}}){_CLOCK}", re.IGNORECASE
)
_YEAR_LAST = re.compile(
    rf"(?P<one>\d{{1,2}})(?P<by>[-./])(?P<two>\d{{1,2}})(?P=by)(?P<year>\d{{4}}){_CLOCK}", re.IGNORECASE
)
_TRUTHS = {**dict.fromkeys(("true", "wahr", "vrai"), True), **dict.fromkeys(("false", "falsch", "faux"), False)}
"""As programs write them; spreadsheets do so in their language."""
_SAID_TRUTHS = {
    **_TRUTHS,
    **dict.fromkeys(("yes", "y", "t", "1", "on", "x", "ja", "j", "oui", "si", "sí"), True),
    **dict.fromkeys(("no", "n", "f", "0", "off", "nein", "non"), False),
}
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
    matches = [_match_moment(text) for text in texts]
    forms = {(each.re, each["by"], each["hour"] is None) if each else None for each in matches}
    if len(forms) == 1 and (form := forms.pop()) and (form[0] is _YEAR_FIRST or form[1] == "."):
        kind = "date" if form[2] else "time"
        if _reads(reader := reader_for(kind, texts), texts):
            return kind, reader
    return "text", str


def suggest_kind(texts: Sequence[str]) -> str:
    """What a person could say of a column of texts that was kept as such: a kind, or two; empty where there is none."""
    if not all(map(re.compile(r".*\d", re.DOTALL).match, texts)):
        return "truth" if len({text.lower() for text in texts}) == 2 and _reads(_truth, texts) else ""
    if (any(map(_ZERO_FIRST.match, texts)) and not all(map(_match_moment, texts))) or all(map(_WHOLE.fullmatch, texts)):
        return ""  # numbers of articles
    for kind in ("number", "time" if any(":" in text for text in texts) else "date"):
        try:
            if _reads(reader_for(kind, texts), texts):
                return kind
        except DataError:
            return "decimal-comma (or decimal-point)" if kind == "number" else ""
    return ""


def reader_for(kind: str, texts: Sequence[str]) -> Reader:
    """What reads a value as a person says it is; raises `ValueError` where one is something else.

    Args:
        kind: one of `KINDS`.
        texts: those of the column that are there, for what only all of them can say: which notation of numbers it is.
    """
    if kind == "number":
        return _any_number(texts)
    if kind in ("date", "time"):
        read = _any_moment(texts)
        return read if kind == "time" else lambda value: read(value).date()
    readers: dict[str, Reader] = {
        "text": _text,
        "whole": _whole,
        "truth": _truth,
        "texts": lambda value: [_text(each) for each in (value if isinstance(value, list | tuple) else [value])],
        "decimal-comma": lambda value: _with_comma(str(value)),
        "decimal-point": lambda value: float(re.sub(rf"[,{_APART}]", "", _amount(str(value)))),
    }
    return readers[kind]


def _reads(reader: Reader, texts: Iterable[str]) -> bool:
    try:
        for text in texts:
            reader(text)
    except (ValueError, OverflowError):
        return False
    return True


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)  # some programs write texts as bytes


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


def _money(text: str) -> re.Match[str] | None:
    return _CURRENCY.fullmatch(_DASH.sub("00", text.strip().replace("\u2212", "-")))


def _amount(text: str) -> str:
    """A number without the currency before or after it."""
    match = _money(text)
    return match[1] + match[3] if match and not (match[2] and match[4]) else text.strip()


def _currencies(texts: Iterable[str]) -> set[str]:
    return {(each[2] or each[4] or "") if each else "?" for each in map(_money, texts)}


def _with_comma(text: str) -> float:
    return _decimal(text, _COMMA, ".", "comma")


def _with_point(text: str) -> float:
    return _decimal(text, _POINT, ",", "point")


def _decimal(text: str, pattern: re.Pattern[str], thousands: str, name: str) -> float:
    if not pattern.fullmatch(_amount(text)):
        raise ValueError(f"{text!r} is not a number with a decimal {name}")
    return float(re.sub(f"[{thousands}{_APART}]", "", _amount(text)).replace(",", "."))


def _notation(texts: Sequence[str]) -> Reader | None:
    """What reads numbers that are plainly written with a decimal comma, with thousands apart, or with a currency."""
    if len(_currencies(texts)) > 1:
        return None
    amounts = [_amount(text) for text in texts]
    comma, point = all(map(_COMMA.fullmatch, amounts)), all(map(_POINT.fullmatch, amounts))
    if comma and point:  # 1,299 could be either; without a comma or a point they are whole
        plain = not any(set(amount) & set(",.") for amount in amounts)
        return _with_point if plain else None
    if comma and any("," in amount or len(amount.split(".")) > 2 or set(amount) & set(_APART) for amount in amounts):
        return _with_comma
    return _with_point if point else None


def _any_number(texts: Sequence[str]) -> Reader:
    if all(_NUMBER.fullmatch(text.strip()) for text in texts):
        return float
    notation = _notation(texts)
    if notation:
        return lambda value: notation(value) if isinstance(value, str) else float(value)
    matches = [_WITH_UNIT.fullmatch(text.strip()) for text in texts]
    units = {each[2] if each else "" for each in matches}
    if len(units) == 1 and (unit := units.pop()):
        read = _any_number([each[1] for each in matches if each])
        return lambda value: read(value.strip().removesuffix(unit).rstrip()) if isinstance(value, str) else float(value)
    odd = next((text for text in texts if not _NUMBER.fullmatch(text.strip())), "")
    if _COMMA.fullmatch(_amount(odd)) or _POINT.fullmatch(_amount(odd)):
        raise DataError(
            f"{odd!r} can be read with a decimal comma or a decimal point; say which: decimal-comma or decimal-point "
            "in place of number"
        )
    return float


def _match_moment(text: str) -> re.Match[str] | None:
    return _YEAR_FIRST.fullmatch(text.strip()) or _YEAR_LAST.fullmatch(text.strip())


def _any_moment(texts: Sequence[str]) -> Callable[[Any], datetime]:
    """What reads dates, with or without a time of day; without one it is midnight."""
    either = [each for each in map(_match_moment, texts) if each and each.re is _YEAR_LAST and each["by"] != "."]
    months = any(int(each["two"]) > 12 for each in either)
    if either and months == any(int(each["one"]) > 12 for each in either):
        raise DataError(f"{either[0][0]!r} can be day/month or month/day; write dates as 2026-01-31 or 31.01.2026")

    def read(value: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        match = _match_moment(str(value))
        if not match:  # 20260131, 2026-W05
            return datetime.combine(date.fromisoformat(str(value).strip()), time())
        month, day = int(match["one"]), int(match["two"])
        if match.re is _YEAR_LAST and not (months and match["by"] != "."):
            month, day = day, month
        hour, half = int(match["hour"] or 0), (match["half"] or "").lower()
        if half:
            if not 1 <= hour <= 12:
                raise ValueError(f"{hour} {half} is no time of day")
            hour = hour % 12 + 12 * (half == "pm")
        zone = "Z" if (match["zone"] or "").upper() == "UTC" else match["zone"] or ""
        day_of = date(int(match["year"]), month, day).isoformat()
        return datetime.fromisoformat(f"{day_of}T{hour:02d}{match['rest'] or ':00'}{zone}")

    return read
