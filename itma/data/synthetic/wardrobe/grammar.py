"""Whole sentences from phrases: FashionIQ's two captions, and the one sentence that a customer would type."""

import re
from collections.abc import Sequence

from itma.data.synthetic.generated import Dice
from itma.data.synthetic.wardrobe import lexicon
from itma.data.synthetic.wardrobe.products import Product, differences

FORMS = lexicon.read_phrases("""
sentences
    captions: {is}; {is}; {is}; it {is}; the {noun} {is}; this one {is}; the other one {is}; i want one that {is}; the
        same but it {is}; it is the same {noun} but {is}; same {kept} but {is} | the one i want {is}; it has the same
        {kept} but {is}; this {noun} {is}; the one i like {is}
    requests: the same {with}; the same, {with}; the same {noun} {with}; this {noun} {with}; like this {with}; this one
        {with}, please; do you have this {with}?; i want it {with}; {with}; {with}, please; i would like the same {noun}
        {with}; can i get this {with}?; same {noun}, {with}; show me this {with}; is there one {with}?; have you got the
        same {with}?; i like this {noun}, could i see it {with}?; something like this {with}; same {kept}, {with}; i
        love the {kept}, but i need it {with}; {make}; {make}, please; please {make}; could you {make}?; keep the
        {kept}, {make}; nice, now {make}; one that {is}; i need a {noun} that {is}; show me one that {is}; the same but
        it {is}; maybe one that {is}; i am looking for one that {is} | do you have the same {noun} {with}?; i need
        something like this, {with}; i like it, could i get it {with}?; can you show me this one {with}?; nice {noun},
        is there one {with}?; i want the same {kept}, {with}; i like the {kept}, please {make}; now could you {make}?; i
        would like it, {make}; have you got one that {is}?; is there a {noun} like this that {is}?; i am looking for the
        same, one that {is}
    before: hello; nice; well; okay; oh; hmm; almost; not bad; it looks good; let me think; i am not sure about it; this
        is too much for me; my husband says; what about this; no no | hello, nice; well, not bad; okay, almost; oh, let
        me think
    after: it is for a party; for my holiday; it is a gift for my brother; as a gift for my sister; thanks; to go with
        my boots; for every day; my friend has one like that; if you have it; i think; for when it is cold; for the
        evening; i have nothing like it yet; for cycling; for hot days; so that i can move; to put on at home; because
        mine is old; for a trip to the mountains; for a concert; it should last; that is more me; then; he would like
        that; she asked for it | it is for a friend; for cold days; to go to a party; my brother has one like it; as a
        gift; i have nothing for the evening yet; for a holiday in the mountains; it is for every day
""")["sentences"]
"""Forms of one caption, as in FashionIQ, and of what a customer types; and what people say before and after that asks
for nothing, which a model has to learn to pass over."""
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
        texts.append(_fill(dice.choose(FORMS["captions"].of(split)), phrases, "is", one, dice))
    return texts[0], texts[1]


def request(one: Product, other: Product, dice: Dice, split: str = "train") -> str:
    """One sentence as a customer would type it; it says all that differs.

    >>> red = Product("skirt", "red", "plain", length="short", fit="slim", fastening="none", trim="none")
    >>> request(red, red.with_values(colour="navy"), Dice("c"))
    '...navy...'
    """
    form = dice.choose(FORMS["requests"].of(split))
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
    return FORMS["before"].of(split), FORMS["after"].of(split)


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
