"""How customers of a shop speak of its products: what should change, and what they are looking for.

An attribute that is known here (colour, kind, gender, sleeves, neck, pattern, occasion) has phrases and names of its
own; any other column of a table is spoken of by its name and value. Whole sentences take the forms of the wardrobe
world's requests, so that both worlds speak one language.
"""

from collections.abc import Mapping, Sequence

from itma.data.synthetic.generated import Dice
from itma.data.synthetic.wardrobe.grammar import asides, hurry, mistaken, plural
from itma.data.synthetic.wardrobe.lexicon import FORMS, read_phrases

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
    rows = (line.partition(": ") for line in text.strip().splitlines())
    return {value.strip(): tuple(names.split(", ")) for value, _, names in rows}


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
    necklace and chains: necklace, chain
    capris: capris, three quarter trousers, cropped trousers
    ring: ring, finger ring
    skirts: skirt
    scarves: scarf
    duffel bag: duffel bag, sports bag, gym bag
    accessory gift set: gift set, accessory set
    laptop bag: laptop bag, computer bag
    stoles: stole
    kurta sets: kurta set
    sports sandals: sports sandals, trekking sandals
    jewellery set: jewellery set, jewelry set
    mobile pouch: mobile pouch, phone pouch, phone case
    messenger bag: messenger bag, shoulder bag
    mufflers: muffler, winter scarf
    tracksuits: tracksuit, jogging suit
    waistcoat: waistcoat, vest
    swimwear: swimwear, swimsuit
    blazers: blazer, suit jacket
    polo: polo shirt, polo
""")
"""Kind → what people call it, the usual name first."""

_PAIRS = frozenset(
    "shoes heels sunglasses shades flops flip-flops slippers sandals socks jeans denims trousers pants shorts flats "
    "ballerinas earrings rings joggers sweatpants leggings capris cufflinks suspenders jeggings stockings tights "
    "gloves boots booties pumps sneakers tracks glasses pyjamas".split()
)
"""Last words of names that are spoken of as several things."""

_PHRASES = read_phrases("""
colour
    with: in {new}; in {new}; in {new}; in the colour {new}; in {new} instead of {old}; but {new}; but in {new}; not
        {old} but {new}; {new}; {new}; {new} not {old}; in a {new} colour; in {new} colour; in color {new}; with {new}
        colour; from {old} to {new}; in {new} rather than {old}; {new} rather than {old}; rather {new} than {old}; {new}
        instead of {old}; {new} instead; in {new} instead; not in {old} but in {new}; not in {old}, in {new}; in {new},
        not {old}; in {new} and not {old}; in {new} in place of {old}; in {new} as opposed to {old}; in {new} and
        without {old}; {new} and no {old}; more {new} and less {old}; less {old} and more {new}; in something {new}; in
        {new}, not in {old}; in a {new} version; but not {old}, {new}; no {old}, {new} | in {new} and not in {old}; in
        {new} this time; in a shade of {new}; {new} and no longer {old}
    make: make it {new}; make it {new}; change the colour to {new}; change the color to {new}; turn it {new}; i want it
        {new} not {old}; i'd rather have {new}; i prefer {new}; change the {old} to {new}; turn the {old} into {new}; i
        want {new} instead; replace {old} with {new}; change it to {new}; i want {new} rather than {old}; i want {new}
        and not {old}; i don't want {old}, i want {new}; i like {new} more than {old}; i'd prefer {new} over {old}; swap
        {old} for {new}; it should be {new} not {old}; it should be {new}; i need it in {new}; not {old}, make it {new};
        have it in {new}; get me the {new} one; not {old} please, {new}; i don't like {old}, show me {new}; give me
        {new} instead of {old}; i would like a {new} one | take {new} instead of {old}; i am tired of {old}, rather
        {new}; let me see it in {new}
    is: is {new}; is {new}; is {new} in colour; comes in {new}; has a {new} colour; is {new} instead of {old}; is in
        {new}; is {new} and not {old}; is more {new}; is a {new} one; is {new} rather than {old}; is not {old} but
        {new}; isn't {old} but {new}; is not {old}, rather {new}; is {new} in place of {old}; comes in {new} and not in
        {old}; has {new} in it and no {old}; is {new}, not {old}; is less {old} and more {new}; has {new} instead of
        {old} | is {new} and no longer {old}; is of {new} colour, not of {old}; is not in {old} but in {new}
kind
    with: as {a_new}; as {a_new}; but as {a_new}; as {a_new} instead of {a_old}; as {a_new} not {a_old}; but {a_new};
        {a_new} instead; as {a_new} rather than {a_old}; not as {a_old} but as {a_new}; {a_new} rather than {a_old}; but
        not {a_old}, {a_new}; as {a_new} and not {a_old}; as {a_new} in place of {a_old}; {a_new} not {a_old}; only
        {a_new}; in the form of {a_new}; no {old}, {a_new}; but for {a_new} | as {a_new} and not as {a_old}; as {a_new}
        this time; {a_new} and no longer {a_old}
    make: make it {a_new}; make it {a_new}; turn it into {a_new}; i want {a_new} instead; change the {old} to {a_new};
        show me {a_new} instead; i'd rather have {a_new}; i need {a_new} instead; find {a_new} like this; {a_new}
        instead of {a_old}; replace the {old} with {a_new}; change it into {a_new}; i want {a_new} rather than {a_old};
        i don't want {a_old}, i want {a_new}; i need {a_new} and not {a_old}; swap the {old} for {a_new}; it should be
        {a_new}; it should be {a_new} not {a_old}; not {a_old}, {a_new} please; give me {a_new} instead of {a_old}; show
        me {a_new} like this; is there {a_new} that goes with this look; show me {a_new} in the same style; i am looking
        for {a_new} like this; change it to {a_new} | i would like {a_new} like this; let me see {a_new} instead; take
        {a_new} in its place
    is: is {a_new}; is {a_new}; is {a_new} instead of {a_old}; is not {a_old} but {a_new}; is {a_new} and not {a_old};
        is {a_new} rather than {a_old}; isn't {a_old} but {a_new}; is {a_new}, not {a_old}; is not {a_old}, rather
        {a_new} | is {a_new} and no longer {a_old}; comes as {a_new}
gender
    with: for {new}; for {new}; but for {new}; for {new} instead of {old}; in a {adjective} version; for {new} not
        {old}; in {adjective} style; {adjective} version; for {new} rather than {old}; for {new} rather than for {old};
        not for {old} but for {new}; for {new} and not {old}; in {adjective}; made for {new}; from the {adjective}
        section; in the {adjective} version; to be worn by {new} | for {new} and not for {old}; for {new} this time; out
        of the {adjective} range
    make: make it for {new}; i want it for {new}; show me the {adjective} version; i need it for {new}; find the
        {adjective} one; change it to {adjective}; make it {adjective}; it should be for {new}; it should be for {new}
        not {old}; i need the {adjective} one; show me one for {new}; i want the {adjective} one instead; not for {old},
        for {new}; it is for {new}; i am looking for {adjective} ones; change it from {old} to {new}; change it to one
        for {new} | i would like one for {new}; let me see it for {new}
    is: is for {new}; is a {adjective} one; is made for {new}; is for {new} instead of {old}; is for {new} and not
        {old}; is for {new} rather than {old}; is not for {old} but for {new}; is meant for {new}; fits {new}; is
        {adjective} | is for {new} and not for {old}; is for {new} and no longer for {old}
thing
    with: with {new}; with {new}; but with {new}; with {new} instead of {old}; having {new}; {adjective}; but
        {adjective}; with {new} rather than {old}; with {new} not {old}; {adjective} instead; not with {old} but with
        {new}; with {new} in place of {old}; {new} instead of {old}; {new}; that has {new}; with {new} and without
        {old}; featuring {new} | with {new} and not {old}; with {new} this time; with {new} and no longer {old}
    make: give it {new}; i want {new}; i'd rather have {new}; change it to {new}; make it {adjective}; i want {new}
        instead of {old}; replace {old} with {new}; add {new}; it should have {new}; it should be {adjective}; i want
        {new} rather than {old}; swap {old} for {new}; i need it with {new}; i'd prefer {new} over {old}; i want it
        {adjective}; not {old}, i want {new} | put {new} on it; let me see it with {new}
    is: has {new}; has {new} instead of {old}; comes with {new}; is {adjective}; has {new} rather than {old}; has {new}
        and not {old}; doesn't have {old} but {new}; has got {new} | has {new} and no longer {old}; shows {new}
plain
    with: without a pattern; without a print; in a plain colour; in one solid colour; without {old}; plain; with no
        {old}; no {old}; but plain; in solid colour; without any {old}; with no pattern; with nothing on it; plain
        instead of {old}; plain rather than with {old}; not with {old} but plain; without the {old}; simple and plain |
        in just one colour; with no pattern on it
    make: make it plain; take the {old} off; remove the {old}; i don't want {old}; leave out the {old}; i'd rather have
        it plain; no pattern please; make it solid; i want it plain; get rid of the {old}; it should be plain; i don't
        want any {old}; drop the {old} | leave the {old} off; take away the pattern
    is: is plain; has no pattern; is one solid colour; is in just one colour; doesn't have a pattern; is plain without
        {old}; is solid; has no {old}; is plain rather than with {old}; doesn't have {old}; comes without {old}; is
        without {old} | has just one colour and no pattern
occasion
    with: for {new}; but for {new}; but more {adjective}; more {adjective}; in a {adjective} style | in a more
        {adjective} style
    make: make it more {adjective}; i need it for {new}; make it {adjective}; i want something more {adjective} | i need
        something for {new}
    is: is more {adjective}; is for {new}; is {adjective}; looks more {adjective} | is good for {new}
other
    with: with {new} {column}; with {column} {new}; with {new}; but {new}; in {new}; {new} instead of {old} | with {new}
        rather than {old}; with {new} as {column}
    make: make it {new}; change the {column} to {new}; i want {new}; make the {column} {new}; replace {old} with {new} |
        change it to {new}
    is: is {new}; has {new} {column}; is {new} instead of {old}; the {column} is {new} | is {new} and not {old}
yes
    with: with {column}; but {column}; {column} | that has {column}
    make: make it {column}; i want it {column}; add {column} | it should be {column}
    is: is {column}; has {column} | comes {column}
no
    with: without {column}; but not {column}; not {column} | with no {column}
    make: make it not {column}; i don't want {column}; no {column} | leave out {column}
    is: is not {column}; has no {column} | comes without {column}
""")
"""Attribute, or what is like it → ways to speak of it."""
_TRUE, _FALSE = frozenset({"yes", "true", "1"}), frozenset({"no", "false", "0"})

_NAMES = read_phrases("""
sleeves
    short sleeves: short sleeves; half sleeves; shorter sleeves | short sleeved; short-sleeved
    long sleeves: long sleeves; full sleeves; longer sleeves; sleeves down to the wrist | long sleeved; long-sleeved
    sleeveless: no sleeves; bare arms; no sleeves at all | sleeveless; without sleeves
    three-quarter sleeves: three quarter sleeves; three-quarter sleeves; 3/4 sleeves; sleeves to the elbow | three
        quarter sleeved
neck
    round neck: a round neck; a crew neck; a round neckline | round necked; crew neck
    polo collar: a polo collar; a collar; a collar and buttons | polo necked; collared
    v-neck: a v neck; a v-neck; a v neckline | v necked; v-necked
    mandarin collar: a mandarin collar; a stand up collar; a chinese collar | with stand collar
    scoop neck: a scoop neck; a deep round neck; a wide neck | scoop necked
    boat neck: a boat neck; a wide boat neckline | boat necked
    square neck: a square neck; a square neckline | square necked
    shoulder straps: shoulder straps; thin straps; spaghetti straps; straps | strappy
    strapless: no straps; bare shoulders | strapless; off the shoulder
    shirt collar: a shirt collar; a collar; a spread collar; a classic collar | collared
    hood: a hood; a hood on it | hooded
    high neck: a high neck; a mock collar; a turtle neck; a turtleneck | high necked
    cowl neck: a cowl neck; a loose draped neck | cowl necked
    halter neck: a halter neck; straps around the neck | halter necked
    tie-up neck: a tie up neck; a neck to tie | tied at the neck
pattern
    printed: a print; a graphic print; an image on it; some print; a logo; a print on the front | printed; with a print
    graphic: a graphic print; a graphic; an image on it; a print | printed
    striped: stripes; a striped pattern; some stripes | striped; stripy
    checked: checks; a checked pattern; a plaid pattern; squares; a check pattern | checked; checkered; plaid
    self design: a woven design; a self design; a subtle pattern | self patterned; textured
    floral: flowers; a floral print; a flower pattern; floral pattern | floral; flowery
    embellished: embellishments; sequins; beads; sparkles | embellished; embroidered
    colourblocked: blocks of colour; colour blocks | colourblocked; color blocked
    patterned: a pattern; an all over pattern | patterned
    washed: a washed look; a faded look | washed; faded
    dots: dots; polka dots | dotted
gender
    men: men; him; a man; guys; males | men's
    women: women; ladies; her; a woman; females | women's
    boys: boys; a boy; my son; kids | boys'
    girls: girls; a girl; my daughter; kids | girls'
    unisex: everyone; both men and women; everybody; men and women | unisex
occasion
    sports: sport; sports; training; the gym; running | sporty
    formal: the office; work; formal occasions; a business meeting | formal
    casual: every day; casual wear; leisure | casual
    ethnic: a traditional occasion; traditional wear; ethnic wear | traditional
    party: a party; the evening; going out | festive
    travel: travel; a trip | practical
""")
"""Attribute → value → how it is called as a thing or by people, and, after the bar, as an adjective."""

PLAIN = ("solid", "plain")
_ALIASES = {
    attribute: {alias: value for value, aliases in values.items() for alias in aliases.train}
    for attribute, values in read_phrases("""
sleeves
    sleeveless: no sleeves; none
    short sleeves: short; half; half sleeves; short sleeve
    long sleeves: long; full; full sleeves; long sleeve
    three-quarter sleeves: 3/4; three quarter; three-quarter
neck
    shirt collar: spread collar; cutaway collar; slim collar; button-down collar
    hood: hooded
    high neck: mock collar; mock neck; turtleneck
    strapless: off-shoulder; one shoulder
    mandarin collar: stand collar
    scoop neck: u-neck
    round neck: henley neck; crew neck; crew; round
    v-neck: v neck; v
    polo collar: polo
pattern
    solid: plain; perforations
    printed: print; typography; abstract; geometric; conversational; ethnic motifs
    striped: stripes; stripe; horizontal stripes; vertical stripes
    checked: checks; check; plaid
    self design: woven design; textured
    washed: dyed
    floral: flowers; flower
    dots: polka dots
gender
    men: man; male; mens; men's; m
    women: woman; female; womens; women's; ladies; w; f
    boys: boy
    girls: girl
occasion
    formal: smart casual
    sports: sport
""").items()
}
"""Attribute → another way in which shops write a value → that value."""

_FORMS = read_phrases("""
sentences
    requests: same but {with}; similar to this {with}; like this, {with}; like this but {with}; {with}; {with}; {make};
        {make}; {make}; something similar {with}; similar {noun} {with}; same {noun} {with}; the same style {with}; find
        this {with}; this {with}; exactly this {with}; similar, but {with}; one like this {with}; more like this {with};
        looking for the same {with}; show this {noun} {with}; i like this one but {with}; same as this {with}; like the
        image {with}; like in the photo, {with}; similar one, {with}; a {noun} like this {with}; {noun} {with}; these
        {with}; that one {with}; can you find this {with}; do you sell this {with}?; is this available {with}?; does it
        come {with}?; any chance to get this {with}?; what about one {with}?; anything like this {with}?; the {noun}
        {with}; i need something {with}; exactly like that {with}; would you have it {with}?; same model {with}; keep
        everything, {make}; everything else the same, {make}; i like the {kept}, {make}; okay, {make}; {make} and keep
        the rest; {make}, same {kept}; can you {make}?; like this, {make}; this, {make}; same thing that {is}; find one
        that {is}; something that {is}; like this but it {is}; a {noun} that {is}; do you have one that {is}?; similar,
        but it {is}; looking for a {noun} that {is}; this one, but it {is} | same thing {with}; i am after something
        similar {with}; as this one, {with}
""")["sentences"]["requests"]
"""Forms of requests, besides those of the wardrobe world."""
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
    form = dice.choose((*FORMS["requests"].of(split), *_FORMS.of(split)))
    way = next(way for way in WAYS if f"{{{way}}}" in form)
    phrases = [_phrase(attribute, way, one, other, dice, split) for attribute in dice.shuffle(list(changed))]
    noun = _call(KINDS, one.get("kind", "one"), dice)
    unchanged = [name for name in ("colour", "pattern", "sleeves", "neck") if name in one and name not in changed]
    text = form.format(
        **{way: _join(phrases, dice), "noun": noun, "kept": dice.choose([*unchanged, "style", "design"])}
    )
    text = text.replace("but but", "but").replace("but, but", "but")
    if is_pair(noun):
        text = plural(text)
    if dice.random() < _ASIDE:
        before, after = asides(split)
        text = f"{dice.choose(before)}, {text}" if dice.random() < 0.4 else f"{text}, {dice.choose(after)}"
    return _spoilt(text, dice, split)


def wish(values: Mapping[str, str], dice: Dice, split: str, *, brand: str | None = None) -> str:
    """A sentence that asks for something with some of these attributes, without any image.

    >>> wish({"kind": "tshirts", "colour": "red", "gender": "men"}, Dice("b"), "train")
    '...'
    """
    noun = _call(KINDS, values.get("kind", "one"), dice)
    before: list[str] = []
    after: list[str] = []
    if "colour" in values and dice.random() < 0.85:
        name = _call(COLOURS, values["colour"], dice)
        if dice.random() < 0.75:
            before.append(name)
        else:
            after.append(f"in {name}")
        dice.random()  # so that a seed gives the sentences that it always gave
    if "pattern" in values and dice.random() < 0.5:
        things, adjectives = _name("pattern", values["pattern"])
        if dice.random() < 0.6:
            before.append(dice.choose(adjectives))
        elif values["pattern"] not in PLAIN:
            after.append(f"with {dice.choose(things)}")
    for attribute, share in (("sleeves", 0.45), ("neck", 0.35)):
        if attribute in values and dice.random() < share:
            things, adjectives = _name(attribute, values[attribute])
            if dice.random() < 0.7:
                after.append(f"with {dice.choose(things)}")
            else:
                before.append(dice.choose(adjectives))
    if "occasion" in values and dice.random() < 0.25:
        before += _name("occasion", values["occasion"])[1]
    for attribute, value in values.items():
        if attribute not in ROLES and value not in _TRUE | _FALSE and dice.random() < 0.3:
            before.append(value)
    before = dice.shuffle(before)
    if brand is not None and dice.random() < 0.4:
        before.append(brand)
    if "gender" in values and dice.random() < 0.65:
        people, adjectives = _name("gender", values["gender"])
        if dice.random() < 0.5:
            before[:0] = adjectives
        else:
            after.insert(0, f"for {dice.choose(people)}")
    phrase = " ".join([*before, noun, *after])
    if not is_pair(noun) and dice.random() < 0.3:
        phrase = f"{_article(phrase)} {phrase}"
    return _spoilt(dice.choose(_OPENINGS[split]) + phrase, dice, split)


def _call(names: Mapping[str, tuple[str, ...]], value: str, dice: Dice) -> str:
    """What somebody calls a colour or a kind of thing."""
    usual, *others = names.get(value, (value,))
    return dice.choose(others) if others and dice.random() < _OTHER_NAME else usual


def is_pair(noun: str) -> bool:
    """Whether a thing is spoken of as several: shoes, jeans.

    >>> is_pair("running shoes"), is_pair("dress")
    (True, False)
    """
    return noun.rpartition(" ")[2] in _PAIRS


def _article(noun: str) -> str:
    return "an" if noun[:1] in "aeiou" else "a"


def _with_article(noun: str) -> str:
    return noun if is_pair(noun) else f"{_article(noun)} {noun}"


def _name(attribute: str, value: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How a value is named as a thing and as an adjective; one that is not known here by itself."""
    if attribute == "pattern" and value in PLAIN:
        return ("a plain colour",), ("plain", "solid", "plain coloured")
    return _NAMES[attribute].get(value, ((value,), (value,)))


def _phrase(attribute: str, way: str, one: Mapping[str, str], other: Mapping[str, str], dice: Dice, split: str) -> str:
    old, new = one.get(attribute, ""), other[attribute]
    table, adjective, is_known = attribute, "", bool(old)
    if attribute in ("colour", "kind"):
        names = COLOURS if attribute == "colour" else KINDS
        new, old = _call(names, new, dice), _call(names, old, dice)
    elif attribute in ("gender", "occasion"):
        people, (adjective,) = _name(attribute, new)
        new = dice.choose(people)
        if attribute == "gender":
            old = dice.choose(_name(attribute, old)[0])
    elif attribute in _NAMES:
        things, adjectives = _name(attribute, new)
        old, table = dice.choose(_name(attribute, old)[0]) if old else f"this {attribute}", "thing"
        if attribute == "pattern" and new in PLAIN:
            old, table = old.removeprefix("a ").removeprefix("an ").removeprefix("some "), "plain"
        new, adjective = dice.choose(things), dice.choose(adjectives)
    elif new in _TRUE | _FALSE:
        table = "yes" if new in _TRUE else "no"
    else:
        table, old = "other", old or "this"
    train, test = _PHRASES[table][way]
    phrases = test if split == "test" else train
    if not is_known:  # nothing is known of the reference, so nothing of it can be said
        phrases = tuple(phrase for phrase in (*phrases, *train) if "old}" not in phrase) or phrases
    articles = {"a_new": _with_article(new), "a_old": _with_article(old)}
    return dice.choose(phrases).format(new=new, old=old, adjective=adjective, column=attribute, **articles)


def _join(phrases: Sequence[str], dice: Dice) -> str:
    *others, last = (phrases[0], *(phrase.removeprefix("but ") for phrase in phrases[1:]))
    if not others:
        return last
    between = (" and ", ", ") if len(others) > 1 else (" and ", " and ", ", ", ", and ", " ")
    return ", ".join(others) + dice.choose(between) + last


def _spoilt(text: str, dice: Dice, split: str) -> str:
    """A sentence as somebody types it: now and then in a hurry, or with a mistake; in the test as it is."""
    if split == "test":
        return text
    if dice.random() < _HURRIED:
        text = hurry(text, dice)
    return mistaken(text, dice) if dice.random() < _MISTAKEN else text
