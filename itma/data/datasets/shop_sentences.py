"""How customers of a shop speak of its products: what should change, and what they are looking for.

An attribute that is known here (colour, kind, gender, sleeves, neck, pattern, occasion) has phrases and names of its
own; any other column of a table is spoken of by its name and value. Whole sentences take the forms of the wardrobe
world's requests, so that both worlds speak one language.
"""

from collections.abc import Mapping, Sequence

from itma.data.worlds.generated import Dice
from itma.data.worlds.wardrobe.grammar import ASIDES, REQUESTS, hurried, mistaken, plural

WAYS = ("with", "make", "is")

ROLES: Mapping[str, tuple[str, ...]] = {
    "kind": ("kind", "article type", "product type", "category", "type", "garment", "item type", "class"),
    "colour": ("colour", "color", "base colour", "base color", "main colour", "main color"),
    "gender": ("gender", "sex", "department", "target group"),
    "sleeves": ("sleeves", "sleeve length", "sleeve"),
    "neck": ("neck", "neckline", "collar", "neck type"),
    "pattern": ("pattern", "print", "pattern type", "print or pattern type"),
    "occasion": ("occasion", "usage", "use"),
}
"""Attribute with phrases of its own → what people call its column, the surest name first."""


def _table(text: str) -> dict[str, tuple[str, ...]]:
    """Lines of `value: name, name, …`."""
    rows = (line.split(":") for line in text.strip().splitlines())
    return {value.strip(): tuple(name.strip() for name in names.split(",")) for value, names in rows}


COLOURS = _table("""
    grey: grey, gray
    navy blue: navy, navy blue, dark blue
    navy: navy, navy blue, dark blue
    maroon: maroon, dark red, wine red
    burgundy: burgundy, wine red, dark red
    off white: off white, off-white, ivory
    multi: multicoloured, multicolored, many colours, colourful, multi colour
    multicolour: multicoloured, multicolored, many colours, colourful
    grey melange: grey melange, mottled grey, light grey
    turquoise blue: turquoise, turquoise blue
    coffee brown: coffee brown, dark brown
    gold: gold, golden
    silver: silver, silver coloured
    cream: cream, cream coloured
    beige: beige, sand, light beige
    charcoal: charcoal, dark grey
    olive: olive, olive green, army green
    purple: purple, violet
    pink: pink, rose
    steel: steel, steel grey, silver
    tan: tan, light brown
    lavender: lavender, light purple, lilac
    magenta: magenta, bright pink
    metallic: metallic, shiny metal
    teal: teal, petrol
    mushroom brown: mushroom brown, grey brown
    fluorescent green: fluorescent green, neon green
    lime green: lime green, bright green
    light blue: light blue, pale blue, sky blue
    brown: brown
    orange: orange
    yellow: yellow
""")
"""Colour → what people call it, the usual name first; those that are not here have one name."""

KINDS = _table("""
    tshirts: t-shirt, tee, t shirt, tshirt
    casual shoes: casual shoes, shoes, sneakers, shoe
    shirts: shirt
    watches: watch, wristwatch
    sports shoes: sports shoes, running shoes, sport shoes, athletic shoes
    kurtas: kurta, long indian shirt
    handbags: handbag, hand bag, bag, purse
    tops: top, women's top
    heels: heels, high heels, pumps
    sunglasses: sunglasses, shades
    flip flops: flip flops, flip-flops, slippers
    sandals: sandals, sandal
    wallets: wallet
    belts: belt
    socks: socks, pair of socks
    backpacks: backpack, rucksack, school bag
    jeans: jeans, denims, pair of jeans
    formal shoes: formal shoes, dress shoes, office shoes
    trousers: trousers, pants
    shorts: shorts
    flats: flats, flat shoes, ballerinas
    earrings: earrings, ear rings
    sarees: saree, sari
    dresses: dress, frock
    caps: cap, baseball cap
    track pants: track pants, jogging pants, joggers, sweatpants
    sweatshirts: sweatshirt, hoodie, hooded sweatshirt
    sweaters: sweater, pullover, cardigan, knitted sweater
    ties: tie, necktie
    jackets: jacket, coat
    kurtis: kurti
    tunics: tunic
    clutches: clutch, clutch bag, evening bag
    pendant: pendant
    leggings: leggings
    necklace and chains: necklace, chain
    capris: capris, three quarter trousers, cropped trousers
    ring: ring, finger ring
    dupatta: dupatta
    skirts: skirt
    cufflinks: cufflinks
    scarves: scarf
    duffel bag: duffel bag, sports bag, gym bag
    bangle: bangle
    accessory gift set: gift set, accessory set
    laptop bag: laptop bag, computer bag
    stoles: stole
    kurta sets: kurta set
    bracelet: bracelet
    sports sandals: sports sandals, trekking sandals
    jewellery set: jewellery set, jewelry set
    mobile pouch: mobile pouch, phone pouch, phone case
    suspenders: suspenders
    messenger bag: messenger bag, shoulder bag
    mufflers: muffler, winter scarf
    jeggings: jeggings
    stockings: stockings
    tracksuits: tracksuit, jogging suit
    gloves: gloves
    waistcoat: waistcoat, vest
    swimwear: swimwear, swimsuit
    blazers: blazer, suit jacket
    jumpsuit: jumpsuit
    hat: hat
    boots: boots
    polo: polo shirt, polo
    hoodie: hoodie
    coat: coat
""")
"""Kind → what people call it, the usual name first."""

_PAIRS = frozenset(
    "shoes heels sunglasses shades flops flip-flops slippers sandals socks jeans denims trousers pants shorts flats "
    "ballerinas earrings rings joggers sweatpants leggings capris cufflinks suspenders jeggings stockings tights "
    "gloves boots booties pumps sneakers tracks glasses pyjamas".split()
)
"""Last words of names that are spoken of as several things."""

_GENDERS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "men": (("men", "him", "a man", "guys", "males"), "men's"),
    "women": (("women", "ladies", "her", "a woman", "females"), "women's"),
    "boys": (("boys", "a boy", "my son", "kids"), "boys'"),
    "girls": (("girls", "a girl", "my daughter", "kids"), "girls'"),
    "unisex": (("everyone", "both men and women", "everybody", "men and women"), "unisex"),
}
"""Gender → whom it is for, and the word before a kind."""

Phrases = Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
"""`with`, `make` and `is` → phrases of the training, phrases kept for the test."""


def _phrases(with_: str, make: str, is_: str) -> Phrases:
    """Phrases stand between semicolons; those after a bar are for the test."""
    found = {}
    for way, text in zip(WAYS, (with_, make, is_), strict=True):
        train, _, test = text.partition("|")
        parts = [tuple(one.strip() for one in part.split(";") if one.strip()) for part in (train, test)]
        found[way] = (parts[0], parts[1] or parts[0])
    return found


_COLOUR = _phrases(
    "in {new}; in the colour {new}; in {new} instead of {old}; but {new}; but in {new}; not {old} but {new}; {new}; "
    "{new} not {old}; in a {new} colour; in {new} colour; in color {new}; with {new} colour; from {old} to {new} "
    "| in {new} rather than {old}; in {new} and not in {old}",
    "make it {new}; change the colour to {new}; change the color to {new}; turn it {new}; i want it {new} not "
    "{old}; "
    "i'd rather have {new}; i prefer {new}; change the {old} to {new}; turn the {old} into {new}; i want {new} "
    "instead; replace {old} with {new} | change it to {new}; take {new} instead of {old}",
    "is {new}; is {new} in colour; comes in {new}; has a {new} colour; is {new} instead of {old}; is in {new}; is "
    "{new} and not {old}; is more {new}; is a {new} one | is not {old} but {new}; is {new} rather than {old}",
)
_KIND = _phrases(
    "as {a_new}; but as {a_new}; as {a_new} instead of {a_old}; as {a_new} not {a_old}; but {a_new} | not as {a_old} "
    "but as {a_new}",
    "make it {a_new}; turn it into {a_new}; i want {a_new} instead; change the {old} to {a_new}; show me {a_new} "
    "instead; i'd rather have {a_new}; i need {a_new} instead; find {a_new} like this; {a_new} instead of {a_old}; "
    "replace the {old} with {a_new} | change it into {a_new}; i would like {a_new} like this",
    "is {a_new}; is {a_new} instead of {a_old}; is not {a_old} but {a_new}; is {a_new} and not {a_old} | is {a_new} "
    "rather than {a_old}",
)
_GENDER = _phrases(
    "for {new}; but for {new}; for {new} instead of {old}; in a {adj} version; for {new} not {old}; in {adj} style "
    "| for {new} rather than for {old}",
    "make it for {new}; i want it for {new}; show me the {adj} version; i need it for {new}; find the {adj} one; "
    "change it to {adj}; make it {adj} | change it to one for {new}",
    "is for {new}; is a {adj} one; is made for {new}; is for {new} instead of {old} | is for {new} and not for {old}",
)
_THING = _phrases(
    "with {new}; but with {new}; with {new} instead of {old}; having {new}; {adjective}; but {adjective} | with {new} "
    "and not {old}; with {new} rather than {old}",
    "give it {new}; i want {new}; i'd rather have {new}; change it to {new}; make it {adjective}; i want {new} instead "
    "of {old}; replace {old} with {new}; add {new} | it should have {new}; put {new} on it",
    "has {new}; has {new} instead of {old}; comes with {new}; is {adjective} | has {new} rather than {old}",
)
_PLAIN = _phrases(
    "without a pattern; without a print; in a plain colour; in one solid colour; without {old}; plain; with no {old}; "
    "no {old}; but plain; in solid colour; without any {old} | in just one colour; with no pattern on it",
    "make it plain; take the {old} off; remove the {old}; i don't want {old}; leave out the {old}; i'd rather have it "
    "plain; no pattern please; make it solid | leave the {old} off; take away the pattern",
    "is plain; has no pattern; is one solid colour; is in just one colour; doesn't have a pattern; is plain without "
    "{old}; is solid; has no {old} | has just one colour and no pattern",
)
_OCCASION = _phrases(
    "for {new}; but for {new}; but more {adjective}; more {adjective}; in a {adjective} style | in a more {adjective} "
    "style",
    "make it more {adjective}; i need it for {new}; make it {adjective}; i want something more {adjective} | i need "
    "something for {new}",
    "is more {adjective}; is for {new}; is {adjective}; looks more {adjective} | is good for {new}",
)
_OTHER = _phrases(
    "with {new} {column}; with {column} {new}; with {new}; but {new}; in {new}; {new} instead of {old} | with {new} "
    "rather than {old}; with {new} as {column}",
    "make it {new}; change the {column} to {new}; i want {new}; make the {column} {new}; replace {old} with {new} | "
    "change it to {new}",
    "is {new}; has {new} {column}; is {new} instead of {old}; the {column} is {new} | is {new} and not {old}",
)
_YES = _phrases(
    "with {column}; but {column}; {column} | that has {column}",
    "make it {column}; i want it {column}; add {column} | it should be {column}",
    "is {column}; has {column} | comes {column}",
)
_NO = _phrases(
    "without {column}; but not {column}; not {column} | with no {column}",
    "make it not {column}; i don't want {column}; no {column} | leave out {column}",
    "is not {column}; has no {column} | comes without {column}",
)
_TRUE, _FALSE = frozenset({"yes", "true", "1"}), frozenset({"no", "false", "0"})

_THINGS: Mapping[str, Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "sleeves": {
        "short sleeves": (("short sleeves", "half sleeves", "shorter sleeves"), ("short sleeved", "short-sleeved")),
        "long sleeves": (
            ("long sleeves", "full sleeves", "longer sleeves", "sleeves down to the wrist"),
            ("long sleeved", "long-sleeved"),
        ),
        "sleeveless": (("no sleeves", "bare arms", "no sleeves at all"), ("sleeveless", "without sleeves")),
        "three-quarter sleeves": (
            ("three quarter sleeves", "three-quarter sleeves", "3/4 sleeves", "sleeves to the elbow"),
            ("three quarter sleeved",),
        ),
    },
    "neck": {
        "round neck": (("a round neck", "a crew neck", "a round neckline"), ("round necked", "crew neck")),
        "polo collar": (("a polo collar", "a collar", "a collar and buttons"), ("polo necked", "collared")),
        "v-neck": (("a v neck", "a v-neck", "a v neckline"), ("v necked", "v-necked")),
        "mandarin collar": (("a mandarin collar", "a stand up collar", "a chinese collar"), ("with stand collar",)),
        "scoop neck": (("a scoop neck", "a deep round neck", "a wide neck"), ("scoop necked",)),
        "boat neck": (("a boat neck", "a wide boat neckline"), ("boat necked",)),
        "square neck": (("a square neck", "a square neckline"), ("square necked",)),
        "shoulder straps": (("shoulder straps", "thin straps", "spaghetti straps", "straps"), ("strappy",)),
        "strapless": (("no straps", "bare shoulders"), ("strapless", "off the shoulder")),
        "shirt collar": (("a shirt collar", "a collar", "a spread collar", "a classic collar"), ("collared",)),
        "hood": (("a hood", "a hood on it"), ("hooded",)),
        "high neck": (("a high neck", "a mock collar", "a turtle neck", "a turtleneck"), ("high necked",)),
        "cowl neck": (("a cowl neck", "a loose draped neck"), ("cowl necked",)),
        "halter neck": (("a halter neck", "straps around the neck"), ("halter necked",)),
        "tie-up neck": (("a tie up neck", "a neck to tie"), ("tied at the neck",)),
    },
    "pattern": {
        "printed": (
            ("a print", "a graphic print", "a picture on it", "some print", "a logo", "a print on the front"),
            ("printed", "with a print"),
        ),
        "graphic": (("a graphic print", "a graphic", "a picture on it", "a print"), ("printed",)),
        "striped": (("stripes", "a striped pattern", "some stripes"), ("striped", "stripy")),
        "checked": (
            ("checks", "a checked pattern", "a plaid pattern", "squares", "a check pattern"),
            ("checked", "checkered", "plaid"),
        ),
        "self design": (("a woven design", "a self design", "a subtle pattern"), ("self patterned", "textured")),
        "floral": (("flowers", "a floral print", "a flower pattern", "floral pattern"), ("floral", "flowery")),
        "embellished": (("embellishments", "sequins", "beads", "sparkles"), ("embellished", "embroidered")),
        "colourblocked": (("blocks of colour", "colour blocks"), ("colourblocked", "color blocked")),
        "patterned": (("a pattern", "an all over pattern"), ("patterned",)),
        "washed": (("a washed look", "a faded look"), ("washed", "faded")),
        "dots": (("dots", "polka dots"), ("dotted",)),
    },
}
"""Attribute → value → how it is named as a thing, and as an adjective."""

PLAIN = ("solid", "plain")
_ALIASES: Mapping[str, Mapping[str, str]] = {
    "sleeves": {
        "no sleeves": "sleeveless", "none": "sleeveless", "short": "short sleeves", "long": "long sleeves",
        "full": "long sleeves", "full sleeves": "long sleeves", "half": "short sleeves",
        "half sleeves": "short sleeves",
        "short sleeve": "short sleeves", "long sleeve": "long sleeves", "3/4": "three-quarter sleeves",
        "three quarter": "three-quarter sleeves", "three-quarter": "three-quarter sleeves",
    },
    "neck": {
        "spread collar": "shirt collar", "cutaway collar": "shirt collar", "slim collar": "shirt collar",
        "button-down collar": "shirt collar", "hooded": "hood", "mock collar": "high neck", "mock neck": "high neck",
        "turtleneck": "high neck", "off-shoulder": "strapless", "one shoulder": "strapless", "stand collar":
        "mandarin collar", "u-neck": "scoop neck", "henley neck": "round neck", "crew neck": "round neck",
        "crew": "round neck", "round": "round neck", "v neck": "v-neck", "v": "v-neck", "polo": "polo collar",
    },
    "pattern": {
        "plain": "solid", "print": "printed", "stripes": "striped", "stripe": "striped", "checks": "checked",
        "check": "checked", "plaid": "checked", "woven design": "self design", "textured": "self design", "dyed":
        "washed", "flowers": "floral", "flower": "floral", "typography": "printed", "abstract": "printed",
        "geometric": "printed", "conversational": "printed", "ethnic motifs": "printed", "horizontal stripes":
        "striped", "vertical stripes": "striped", "polka dots": "dots", "perforations": "solid",
    },
    "gender": {
        "man": "men", "male": "men", "mens": "men", "men's": "men", "m": "men", "woman": "women", "female": "women",
        "womens": "women", "women's": "women", "ladies": "women", "w": "women", "f": "women", "boy": "boys",
        "girl": "girls",
    },
    "occasion": {"smart casual": "formal", "sport": "sports"},
}  # fmt: skip
"""Attribute → other ways in which shops write a value → the value."""

_OCCASIONS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "sports": (("sport", "sports", "training", "the gym", "running"), "sporty"),
    "formal": (("the office", "work", "formal occasions", "a business meeting"), "formal"),
    "casual": (("every day", "casual wear", "leisure"), "casual"),
    "ethnic": (("a traditional occasion", "traditional wear", "ethnic wear"), "traditional"),
    "party": (("a party", "the evening", "going out"), "festive"),
    "travel": (("travel", "a trip"), "practical"),
}
_FORMS: Mapping[str, tuple[str, ...]] = {
    "train": (
        *REQUESTS["train"],
        "same but {with}", "similar to this {with}", "like this, {with}", "like this but {with}", "{with}", "{with}",
        "{make}", "{make}", "{make}", "something similar {with}", "similar {noun} {with}", "same {noun} {with}",
        "the same style {with}", "find this {with}", "this {with}", "exactly this {with}", "similar, but {with}",
        "one like this {with}", "more like this {with}", "looking for the same {with}", "show this {noun} {with}",
    ),
    "test": (*REQUESTS["test"], "same thing {with}", "i am after something similar {with}", "as this one, {with}"),
}  # fmt: skip
_OPENINGS: Mapping[str, tuple[str, ...]] = {
    "train": (
        "", "", "", "", "", "i am looking for ", "show me ", "do you have ", "i need ", "find ", "i want ",
        "looking for ", "i would like ", "search for ", "give me ",
    ),
    "test": ("", "", "have you got ", "i am after ", "can you show me "),
}  # fmt: skip
_ASIDE, _HURRIED, _MISTAKEN = 0.12, 0.12, 0.04
_OTHER_NAME = 0.45


def read_value(attribute: str, text: str) -> str:
    """A value as it is spoken of: small letters, and one way to write what shops write in several ways.

    >>> read_value("neck", "Spread Collar")
    'shirt collar'
    """
    plain = " ".join(text.split()).lower()
    return _ALIASES.get(attribute, {}).get(plain, plain)


def request(one: Mapping[str, str], other: Mapping[str, str], changed: Sequence[str], dice: Dice, split: str) -> str:
    """A sentence that asks to change `one` into `other`.

    >>> request(
    ...     {"kind": "shirts", "colour": "red"},
    ...     {"kind": "shirts", "colour": "navy blue"},
    ...     ["colour"],
    ...     Dice("a"),
    ...     "train",
    ... )
    '...'

    Args:
        one: the reference's attributes.
        other: the target's attributes.
        changed: the attributes to speak of; `other` has a value for each.
        dice: decides the words.
        split: `train` or `test`, which share no form and few phrases.
    """
    form = dice.choose(_FORMS[split])
    way = next(way for way in WAYS if f"{{{way}}}" in form)
    said = [_phrase(attribute, way, one, other, dice, split) for attribute in dice.shuffled(list(changed))]
    noun = _noun(one.get("kind", "one"), dice)
    kept = [name for name in ("colour", "pattern", "sleeves", "neck") if name in one and name not in changed]
    text = form.format(**{way: _joined(said, dice), "noun": noun, "kept": dice.choose([*kept, "style", "design"])})
    text = text.replace("but but", "but").replace("but, but", "but")
    if is_pair(noun):
        text = plural(text)
    if dice.random() < _ASIDE:
        before, after = ASIDES[split]
        text = f"{dice.choose(before)}, {text}" if dice.random() < 0.4 else f"{text}, {dice.choose(after)}"
    return _spoilt(text, dice, split)


def wish(values: Mapping[str, str], dice: Dice, split: str, *, brand: str | None = None) -> str:
    """A sentence that asks for something with some of these attributes, without any image.

    >>> wish({"kind": "tshirts", "colour": "red", "gender": "men"}, Dice("b"), "train")
    '...'
    """
    noun = _noun(values.get("kind", "one"), dice)
    before: list[str] = []
    after: list[str] = []
    if "colour" in values and dice.random() < 0.85:
        name = colour_name(values["colour"], dice)
        (before if dice.random() < 0.75 else after).append(name if dice.random() < 0.5 or not before else f"{name}")
        if after:
            after[-1] = f"in {after[-1]}"
    if "pattern" in values and dice.random() < 0.5:
        things, adjectives = _named("pattern", values["pattern"])
        if dice.random() < 0.6:
            before.append(dice.choose(adjectives))
        elif values["pattern"] not in PLAIN:
            after.append(f"with {dice.choose(things)}")
    for attribute, share in (("sleeves", 0.45), ("neck", 0.35)):
        if attribute in values and dice.random() < share:
            things, adjectives = _named(attribute, values[attribute])
            if dice.random() < 0.7:
                after.append(f"with {dice.choose(things)}")
            else:
                before.append(dice.choose(adjectives))
    if "occasion" in values and dice.random() < 0.25:
        before.append(_OCCASIONS.get(values["occasion"], ((), values["occasion"]))[1])
    for attribute, value in values.items():
        if attribute not in ROLES and value not in _TRUE | _FALSE and dice.random() < 0.3:
            before.append(value)
    before = dice.shuffled(before)
    if brand is not None and dice.random() < 0.4:
        before.append(brand)
    if "gender" in values and dice.random() < 0.65:
        people, adjective = _GENDERS.get(values["gender"], ((values["gender"],), values["gender"]))
        if dice.random() < 0.5:
            before.insert(0, adjective)
        else:
            after.insert(0, f"for {dice.choose(people)}")
    phrase = " ".join([*before, noun, *after])
    if not is_pair(noun) and dice.random() < 0.3:
        phrase = f"{_article(phrase)} {phrase}"
    return _spoilt(dice.choose(_OPENINGS[split]) + phrase, dice, split)


def colour_name(value: str, dice: Dice) -> str:
    """What somebody calls a colour."""
    usual, *others = COLOURS.get(value, (value,))
    return dice.choose(others) if others and dice.random() < _OTHER_NAME else usual


def is_pair(noun: str) -> bool:
    """Whether a thing is spoken of as several: shoes, jeans.

    >>> is_pair("running shoes"), is_pair("dress")
    (True, False)
    """
    return noun.rpartition(" ")[2] in _PAIRS


def _noun(kind: str, dice: Dice) -> str:
    usual, *others = KINDS.get(kind, (kind,))
    return dice.choose(others) if others and dice.random() < _OTHER_NAME else usual


def _article(noun: str) -> str:
    return "an" if noun[:1] in "aeiou" else "a"


def _with_article(noun: str) -> str:
    return noun if is_pair(noun) else f"{_article(noun)} {noun}"


def _named(attribute: str, value: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How a value is named as a thing and as an adjective; one that is not known here by itself."""
    if attribute == "pattern" and value in PLAIN:
        return ("a plain colour",), ("plain", "solid", "plain coloured")
    return _THINGS[attribute].get(value, ((value,), (value,)))


def _phrase(attribute: str, way: str, one: Mapping[str, str], other: Mapping[str, str], dice: Dice, split: str) -> str:
    old, new = one.get(attribute, ""), other[attribute]
    fill: dict[str, str]
    if attribute == "colour":
        table, fill = _COLOUR, {"new": colour_name(new, dice), "old": colour_name(old, dice)}
    elif attribute == "kind":
        new, old = _noun(new, dice), _noun(old, dice)
        table, fill = _KIND, {"a_new": _with_article(new), "a_old": _with_article(old), "old": old}
    elif attribute == "gender":
        people, adjective = _GENDERS.get(new, ((new,), new))
        others = _GENDERS.get(old, ((old,), old))[0]
        table, fill = _GENDER, {"new": dice.choose(people), "old": dice.choose(others), "adj": adjective}
    elif attribute == "occasion":
        people, adjective = _OCCASIONS.get(new, ((new,), new))
        table, fill = _OCCASION, {"new": dice.choose(people), "adjective": adjective}
    elif attribute in _THINGS:
        things, adjectives = _named(attribute, new)
        before = dice.choose(_named(attribute, old)[0]) if old else f"this {attribute}"
        plain = attribute == "pattern" and new in PLAIN
        if plain:
            before = before.removeprefix("a ").removeprefix("an ").removeprefix("some ")
        table = _PLAIN if plain else _THING
        fill = {"new": dice.choose(things), "old": before, "adjective": dice.choose(adjectives)}
    elif new in _TRUE or new in _FALSE:
        table, fill = (_YES if new in _TRUE else _NO), {"column": attribute}
    else:
        table, fill = _OTHER, {"new": new, "old": old or "this", "column": attribute}
    train, test = table[way]
    phrases = test if split == "test" else train
    if not old:  # nothing is known of the reference, so nothing of it can be said
        phrases = tuple(phrase for phrase in (*phrases, *train) if "old}" not in phrase) or phrases
    return dice.choose(phrases).format(**fill)


def _joined(said: Sequence[str], dice: Dice) -> str:
    said = [said[0], *(one.removeprefix("but ") for one in said[1:])]
    if len(said) == 1:
        return said[0]
    if len(said) == 2:
        return dice.choose((" and ", " and ", ", ", ", and ", " ")).join(said)
    return ", ".join(said[:-1]) + dice.choose((" and ", ", ")) + said[-1]


def _spoilt(text: str, dice: Dice, split: str) -> str:
    """A sentence as somebody types it: now and then in a hurry, or with a mistake; in the test as it is."""
    if split == "test":
        return text
    if dice.random() < _HURRIED:
        text = hurried(text, dice)
    return mistaken(text, dice) if dice.random() < _MISTAKEN else text
