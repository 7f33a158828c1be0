"""How people say what differs between two products, phrase by phrase.

Every change can be said in three ways: as what the other one `is` ("has long sleeves"), as what one wants it `with`
("with long sleeves"), and as what to `make` of it ("give it long sleeves"). Of each there are phrases to learn from and
phrases that are kept for the test; the words of the latter all occur among the former. They stand in `phrases.txt`.
"""

import re
from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple

from itma.data.synthetic.generated import Dice
from itma.data.synthetic.wardrobe.products import ADJECTIVES, CHOICES, COLOURS, NONE, Product


class Phrases(NamedTuple):
    """Ways to say one thing."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    def of(self, split: str) -> tuple[str, ...]:
        """Those of a split."""
        return self.test if split == "test" else self.train


Ways = Mapping[str, Phrases]
"""`is`, `with` and `make` → phrases."""


def read_phrases(text: str) -> dict[str, dict[str, Phrases]]:
    """What is said of what → in which way → phrases.

    Args:
        text: a line for each name and, below it and indented, `way: phrase; phrase | phrase` for each way; what goes on
            in further lines is indented further. Phrases after the bar are for the test; without one, all are for both.
    """
    tables: dict[str, dict[str, Phrases]] = {}
    for name, ways in re.findall(r"^(\S.*)\n((?: .*\n)+)", text, re.MULTILINE):
        tables[name] = {}
        for way, line in re.findall(r"^ {4}(\S[^:]*): (.*(?:\n {8}.*)*)", ways, re.MULTILINE):
            parts = (part.split(";") for part in line.split("|"))
            phrases = [tuple(" ".join(phrase.split()) for phrase in part) for part in parts]
            tables[name][way] = Phrases(phrases[0], phrases[-1])
    return tables


NAMED = ("colour", "category")
"""Attributes whose values have the names of `NAMES`."""
_OTHER_NAME = 0.4
"""How often something is called by another name than the usual one, where there is one."""

NAMES: dict[str, tuple[str, ...]] = {
    "grey": ("grey", "gray"),
    "beige": ("beige", "sand"),
    "burgundy": ("burgundy", "dark red", "wine red"),
    "olive": ("olive", "olive green", "khaki"),
    "teal": ("teal", "petrol"),
    "light blue": ("light blue", "pale blue", "sky blue"),
    "navy": ("navy", "dark blue", "navy blue"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose"),
    "T-shirt": ("t-shirt", "tee"),
    "jumper": ("jumper", "sweater", "pullover"),
    "trousers": ("trousers", "pants"),
}
"""Colour or category → what people call it, the usual name first; those that are not here have one name."""

_PHRASES = read_phrases((resources.files(__package__) / "phrases.txt").read_text(encoding="utf-8"))
"""What changes, `+` and `-` for more and less of it → ways to say it."""
FORMS = _PHRASES.pop("sentences")
"""Forms of one caption, as in FashionIQ, and of what a customer types; and what people say before and after that asks
for nothing, which a model has to learn to pass over."""
_IMPRESSIONS = _PHRASES.pop("impressions")
"""Vague words for what differs as a whole."""

ORDERED = ("sleeves", "length", "fit")
"""Attributes whose values have an order, so that one can be compared with another."""
_OLD = {
    "plain": "pattern", "horizontal stripes": "stripes", "vertical stripes": "stripes", "floral": "flowers",
    "pocket": "pockets", "contrast": "contrast trim",
}  # fmt: skip
"""A value that is to go → what is there, where it has another name."""
_ADJECTIVES = {**ADJECTIVES, "vertical stripes": "striped"}


def ways(attribute: str, one: Product, other: Product) -> list[Ways]:
    """The ways to say how `other` differs from `one` in an attribute: by its value and, where that fits, compared."""
    new = getattr(other, attribute)
    if attribute in NAMED:
        return [_PHRASES[attribute]]
    options: list[Ways] = [_PHRASES[f"{attribute} {new}"]]
    if attribute in ORDERED and one.category == other.category:
        order = CHOICES[one.category][attribute]
        up = order.index(new) > order.index(getattr(one, attribute))
        if attribute != "sleeves" or "sleeveless" not in (new, getattr(one, attribute)):
            options.append(_PHRASES[f"{attribute} {'+' if up else '-'}"])
    return options


def name_of(value: str, dice: Dice) -> str:
    """What somebody calls a colour or a category: mostly by its usual name."""
    usual, *others = NAMES.get(value, (value.lower(),))
    return dice.choose(others) if others and dice.random() < _OTHER_NAME else usual


def fillers(attribute: str, one: Product, other: Product, dice: Dice) -> dict[str, str]:
    """What stands for the names in braces."""
    old, new = getattr(one, attribute), getattr(other, attribute)
    if attribute in NAMED:
        return {"old": name_of(old, dice), "new": name_of(new, dice)}
    return {"old": _OLD.get(old, old), "oldadjective": _ADJECTIVES.get(old, old)}


def impressions(one: Product, other: Product) -> list[Phrases]:
    """Vague words for what differs as a whole: darker, busier, less formal."""
    names = []
    light = _brightness(other.colour) - _brightness(one.colour)
    if abs(light) > 0.2:
        names.append("lighter" if light > 0 else "darker")
    if one.pattern != other.pattern and "plain" in (one.pattern, other.pattern):
        names.append("busier" if one.pattern == "plain" else "simpler")
    if one.print != other.print and None not in (one.print, other.print) and NONE in (one.print, other.print):
        names.append("casual" if one.print == NONE else "formal")
    if one.trim != other.trim and {"ruffles", "lace"} & {other.trim}:
        names.append("feminine")
    if one.neckline != other.neckline and "collar" in (one.neckline, other.neckline):
        names.append("formal" if other.neckline == "collar" else "casual")
    if one.sleeves and other.sleeves and one.sleeves != other.sleeves:
        order = ("sleeveless", "short", "long")
        names.append("warmer" if order.index(other.sleeves) > order.index(one.sleeves) else "summery")
    if one.length != other.length and one.category == other.category == "dress":
        lengths = CHOICES["dress"]["length"]
        names.append("formal" if lengths.index(str(other.length)) > lengths.index(str(one.length)) else "casual")
    return [_IMPRESSIONS[name] for name in dict.fromkeys(names)]


def _brightness(colour: str) -> float:
    red, green, blue = COLOURS[colour]
    return (0.3 * red + 0.59 * green + 0.11 * blue) / 255
