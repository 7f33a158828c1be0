"""Why a search found nothing: which part of its condition matches no item, and which values are near."""

from collections import Counter
from difflib import get_close_matches
from typing import Any

from itma.retrieval.filters import Filter
from itma.retrieval.stores.base import Items
from itma.retrieval.stores.conditions import Test, tests_of

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
    reasons = []
    for test in dict.fromkeys(tests_of(where)):
        if not items.count(test):
            written = _written(test)
            reasons.append(f"{written} matches nothing" + _near(items, test))
    return reasons or ["no item matches all of the condition, though some match each part of it"]


def _written(test: Test) -> str:
    if test.value is None:
        return f"{test.column} is null"
    values = test.value if isinstance(test.value, tuple) else (test.value,)
    texts = [f"'{each}'" if isinstance(each, str) else str(each) for each in values]
    return f"{test.column} {test.comparison} " + (
        f"({', '.join(texts)})" if isinstance(test.value, tuple) else texts[0]
    )


def _near(items: Items, test: Test) -> str:
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
    if test.kind in ("text", "texts"):
        wanted = [each.casefold() for each in (test.value if isinstance(test.value, tuple) else (test.value,)) if each]
        folded: dict[str, str] = {}
        for value, _ in counts.most_common():
            folded.setdefault(value.casefold(), value)
        near = dict.fromkeys(
            folded[each]
            for one in wanted
            for each in [
                *([one] if one in folded else []),
                *get_close_matches(one, folded, n=_NEAR, cutoff=0.5),
                *(each for each in folded if len(one) > 2 and one in each),
            ]
        )
        if near:
            return f"; near values: {', '.join(list(near)[:_NEAR])}"
        return f"; the column holds, e.g.: {', '.join(value for value, _ in counts.most_common(_NEAR))}"
    return f"; the column holds {min(values)} to {max(values)}" if test.kind != "truth" else ""
