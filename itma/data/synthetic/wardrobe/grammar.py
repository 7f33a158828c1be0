"""Whole sentences from phrases: FashionIQ's two captions, and the one sentence that a customer would type."""

import re
from collections.abc import Sequence

from itma.data.synthetic.generated import Dice
from itma.data.synthetic.wardrobe import lexicon
from itma.data.synthetic.wardrobe.products import Product, differences

_ASIDE = 0.25

_ANYTHING_ELSE = "style"
_UNCHANGED = ("colour", "pattern", "sleeves", "length", "neckline", "fit")
_VAGUE = 0.18
"""How often a caption ends with an impression."""
_LITTLE = {
    "a", "an", "the", "it", "this", "these", "is", "are", "has", "have", "of", "one", "ones", "that", "i", "to", "me",
    "you", "do", "could", "can", "please", "same", "on", "in", "and",
}  # fmt: skip
_PLURAL = {"trousers", "shorts"}


def captions(one: Product, other: Product, dice: Dice, split: str = "train") -> tuple[str, str]:
    """Two relative captions, as two people might write them: together they say all that differs.

    >>> red = Product("skirt", "red", "plain", length="short", fit="slim", fastening="none", trim="none")
    >>> captions(red, red.with_values(colour="navy"), Dice("a"))
    ('...', '...')

    Args:
        one: what is pointed at.
        other: what is wanted.
        dice: decides the words.
        split: `train` or `test`, which have no form and no phrase in common.
    """
    apart = dice.shuffle(differences(one, other))
    texts = []
    for number in (0, 1):
        share = apart if len(apart) == 1 or dice.random() < 0.55 else apart[number::2]
        phrases = [_phrase(attribute, "is", one, other, dice, split) for attribute in share]
        vague = lexicon.impressions(one, other)
        if vague and dice.random() < _VAGUE:
            phrases.append(dice.choose(dice.choose(vague).of(split)))
        texts.append(_fill(dice.choose(lexicon.FORMS["captions"].of(split)), phrases, "is", one, dice))
    return texts[0], texts[1]


def request(one: Product, other: Product, dice: Dice, split: str = "train") -> str:
    """One sentence as a customer would type it; it says all that differs.

    >>> red = Product("skirt", "red", "plain", length="short", fit="slim", fastening="none", trim="none")
    >>> request(red, red.with_values(colour="navy"), Dice("c"))
    '...navy...'
    """
    form = dice.choose(lexicon.FORMS["requests"].of(split))
    way = next(way for way in ("with", "make", "is") if f"{{{way}}}" in form)
    apart = dice.shuffle(differences(one, other))
    text = _fill(form, [_phrase(attribute, way, one, other, dice, split) for attribute in apart], way, one, dice)
    if dice.random() < _ASIDE:
        before, after = asides(split)
        link = " " if text.endswith("?") else ", "
        text = f"{dice.choose(before)}, {text}" if dice.random() < 0.4 else f"{text}{link}{dice.choose(after)}"
    return text


def asides(split: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What people say before and after a request that asks for nothing."""
    return lexicon.FORMS["before"].of(split), lexicon.FORMS["after"].of(split)


def mistaken(sentence: str, dice: Dice) -> str:
    """A sentence with one spelling mistake: two letters swapped, one left out, or one doubled."""
    words = sentence.split(" ")
    long = [index for index, word in enumerate(words) if len(word) >= 5 and word.isalpha()]
    if not long:
        return sentence
    index = dice.choose(long)
    word = words[index]
    position = 1 + dice.below(len(word) - 2)
    letter, rest = word[position], word[position + 1 :]
    endings = (rest[0] + letter + rest[1:], rest, letter + letter + rest)
    words[index] = word[:position] + endings[dice.below(3)]
    return " ".join(words)


def hurry(sentence: str, dice: Dice) -> str:
    """A sentence as somebody types it who is in a hurry: many of its little words are missing.

    >>> hurry("make it a dress with a v neck", Dice("f"))
    'make dress with v neck'
    """
    words = sentence.split(" ")
    remaining = [word for word in words if word.strip(",?") not in _LITTLE or dice.random() < 0.4]
    return " ".join(remaining or words)


def kind(one: Product, other: Product) -> str:
    """The kind of a query: the attribute that differs, or `several`."""
    apart = differences(one, other)
    return apart[0] if len(apart) == 1 or apart[0] == "category" else "several"


def _phrase(attribute: str, way: str, one: Product, other: Product, dice: Dice, split: str) -> str:
    table = dice.choose(lexicon.ways(attribute, one, other))
    return dice.choose(table[way].of(split)).format(**lexicon.fillers(attribute, one, other, dice))


def _fill(form: str, phrases: Sequence[str], way: str, one: Product, dice: Dice) -> str:
    unchanged = [
        name for name in _UNCHANGED if getattr(one, name) is not None and not any(name in phrase for phrase in phrases)
    ]
    text = form.format(
        **{
            way: _list(phrases, way, dice),
            "noun": lexicon.name_of(one.category, dice),
            "kept": dice.choose([*unchanged, _ANYTHING_ELSE]),
        }
    )
    text = re.sub(r"\bbut,? but\b", "but", text)
    return plural(text) if one.category in _PLURAL else text


def _list(phrases: Sequence[str], way: str, dice: Dice) -> str:
    if len(phrases) == 1:
        return phrases[0]
    phrases = [phrases[0], *(one.removeprefix("but ") for one in phrases[1:])]
    link = " " if way == "with" and dice.random() < 0.3 else " and "
    if len(phrases) > 2:
        return ", ".join(phrases[:-1]) + " and " + phrases[-1]
    return link.join(phrases)


_TO_PLURAL: tuple[tuple[str, str], ...] = (
    (r"\ba (trousers|pants|shorts)\b", r"\1"), (r"\bit is\b", "they are"),
    (r"\bit (has|comes|is|doesn't)\b", r"they \1"),
    (r"\bis there one\b", "are there ones"), (r"\bthis one\b", "these"), (r"\bthis\b", "these"),
    (r"\bone that\b", "ones that"),
    (r"\bthe one\b", "the ones"), (r"\bis\b", "are"), (r"\bhas\b", "have"), (r"\bcomes\b", "come"),
    (r"\bdoesn't\b", "don't"), (r"\bgoes\b", "go"), (r"\bit\b", "them"),
)  # fmt: skip


def plural(text: str) -> str:
    """A sentence about one thing as one about things that come in pairs: "this one" becomes "these"."""
    for one, other in _TO_PLURAL:
        text = re.sub(one, other, text)
    return text
