"""Why a search found nothing: which part of its condition matches no item, and which values are near."""

from collections import Counter
from difflib import get_close_matches
from typing import Any

from itma.retrieval.filters import Filter, compose
from itma.retrieval.stores.base import Items
from itma.retrieval.stores.conditions import Every, Like, Test, tests_of

_LOOK_AT = 20_000
"""Items whose values are looked at."""
_NEAR = 4


def explain_no_hits(items: Items, where: Filter | None) -> list[str]:
    """What to tell a person whose search found nothing; each sentence stands by itself."""
    if not items.count():
        return ["the catalogue is empty"]
    if where is None:
        return ["nothing is left: all items of the catalogue were left out"]
    if items.count(where):
        return ["nothing is left: all items that match the condition were left out"]
    tests = [test for test in dict.fromkeys(tests_of(where)) if not items.count(test)]
    if reasons := [f"{_write(test)} matches nothing{_near(items, test)}" for test in tests]:
        return list(dict.fromkeys(reasons))
    if isinstance(where, Every) and len(where.parts) > 1:
        return ["no item matches all of the condition, though some match each part of it"]
    return ["no item matches the condition"]


def _values(test: Test | Like) -> list[Any]:
    """What is asked for; a text once, however its accents are stored."""
    if isinstance(test, Like):
        return [compose(test.pattern)]
    values = test.value if isinstance(test.value, tuple) else (test.value,)
    return list(dict.fromkeys(compose(each) if isinstance(each, str) else each for each in values))


def _write(test: Test | Like) -> str:
    if isinstance(test, Like):
        return f"{test.column} like '{_values(test)[0]}' (capitals count)"
    if test.value is None:
        return f"{test.column} is null"
    texts = [f"'{each}'" if isinstance(each, str) else str(each) for each in _values(test)]
    if test.comparison == "in" and len(texts) == 1:
        return f"{test.column} = {texts[0]}"
    return f"{test.column} {test.comparison} " + (f"({', '.join(texts)})" if test.comparison == "in" else texts[0])


def _near(items: Items, test: Test | Like) -> str:
    """The values of the column that the person may have meant; of numbers and times the range."""
    counts: Counter[Any] = Counter()
    for batch in items.scan([test.column]):
        for value in batch.column(test.column).to_pylist():
            counts.update(value if isinstance(value, list) else [value])
        if counts.total() >= _LOOK_AT:
            break
    del counts[None]
    values = [value for value in counts if value == value]
    if not values:
        return "; the column holds no value"
    kind = "text" if isinstance(test, Like) else test.kind
    if kind in ("text", "texts"):
        texts = [each.casefold().strip("%_") for each in _values(test) if each]
        folded: dict[str, str] = {}
        for value, _ in counts.most_common():
            folded.setdefault(value.casefold(), value)
        near = dict.fromkeys(
            folded[each]
            for one in texts
            for each in [
                *([one] if one in folded else []),
                *get_close_matches(one, folded, n=_NEAR, cutoff=0.5),
                *(each for each in folded if len(one) > 2 and one in each),
            ]
        )
        if near:
            return f"; near values: {', '.join(list(near)[:_NEAR])}"
        return f"; the column holds, e.g.: {', '.join(value for value, _ in counts.most_common(_NEAR))}"
    return f"; the column holds {min(values)} to {max(values)}" if kind != "truth" else ""
