"""How people say what differs between two products, phrase by phrase.

Every change can be said in three ways: as what the other one `is` ("has long sleeves"), as what one wants it `with`
("with long sleeves"), and as what to `make` of it ("give it long sleeves"). Of each there are phrases to learn from and
phrases that are kept for the test; the words of the latter all occur among the former.
"""

import re
from collections.abc import Mapping
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
        for way, text in re.findall(r"^ {4}(\S[^:]*): (.*(?:\n {8}.*)*)", ways, re.MULTILINE):
            parts = (part.split(";") for part in text.split("|"))
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

_PHRASES = read_phrases("""
colour
    is: is {new}; is {new} in colour; comes in {new}; has a {new} colour; is {new} instead of {old}; is in {new}; is
        {new} and not {old}; is more {new}; is more {new} than {old}; is a {new} one; has {new} in the place of {old};
        is {new} where this one is {old}; has no {old} but {new} | is not {old} but {new}; has {new} as the colour; is
        {new} rather than {old}
    with: in {new}; in the colour {new}; in {new} instead of {old}; but {new}; not {old} but {new}; {new}; {new} not
        {old}; in {new} and no {old}; without the {old} and in {new}; from {old} to {new} | in {new} rather than {old};
        in {new} and not in {old}
    make: make it {new}; change the colour to {new}; turn it {new}; I want it {new} not {old}; I'd rather have {new};
        change the {old} to {new}; turn the {old} into {new}; take {new} instead of {old}; I'd rather have {new} than
        {old}; change from {old} to {new} | change it to {new}; turn the colour from {old} to {new}
category
    is: is a {new}; is a {new} instead of a {old}; is not a {old} but a {new}; is a {new} and not a {old}; is a {new} in
        the place of a {old}; is more of a {new} than a {old} | is a {new} rather than a {old}
    with: as a {new}; but as a {new}; as a {new} instead of a {old}; as a {new} and not as a {old}; as a {new} not a
        {old}; in a {new} | not as a {old} but as a {new}
    make: make it a {new}; turn it into a {new}; I want a {new} instead; change the {old} to a {new}; turn the {old}
        into a {new}; I'd rather have a {new}; I'd rather have a {new} than a {old}; I want a {new} and not a {old} |
        change it into a {new}
pattern plain
    is: is plain; has no pattern; is one solid colour; is in just one colour; doesn't have a pattern; is plain without
        {old}; has no {old}; is plain and not {oldadjective} | has just one colour and no pattern; is not {oldadjective}
        but plain
    with: without a pattern; in a plain colour; in one solid colour; without {old}; plain; without the {old}; plain and
        not {oldadjective} | in just one colour; with no pattern on it
    make: make it plain; take the pattern off; take the {old} away; I don't want {old}; leave out the {old}; I'd rather
        have it plain | leave the {old} off; take away the pattern
pattern horizontal stripes
    is: has horizontal stripes; is striped horizontally; has stripes going across; has stripes from side to side; has a
        horizontal stripe pattern | has stripes that go across; comes with horizontal stripes
    with: with horizontal stripes; with stripes across; striped from side to side; in horizontal stripes | with a
        pattern of horizontal stripes; with stripes that go from side to side
    make: give it horizontal stripes; add stripes across; make it striped from side to side | put horizontal stripes on
        it; make the stripes go across
pattern vertical stripes
    is: has vertical stripes; is striped vertically; has stripes going up and down; has stripes from top to bottom; has
        a vertical stripe pattern | has stripes that go up and down; comes with vertical stripes
    with: with vertical stripes; with stripes from top to bottom; striped up and down; in vertical stripes | with a
        pattern of vertical stripes; with stripes that go from top to bottom
    make: give it vertical stripes; add stripes up and down; make it striped from top to bottom | put vertical stripes
        on it; make the stripes go up and down
pattern dots
    is: has polka dots; has dots; is dotted; has a dotted pattern; has dots all over; is spotted; has spots | comes with
        polka dots; has a pattern of dots
    with: with dots; with polka dots; with a dotted pattern; in polka dots; with spots | with dots all over; with a
        pattern of dots
    make: give it polka dots; add dots; cover it in polka dots | put polka dots on it; cover it in dots
pattern checks
    is: is checked; has checks; has a checked pattern; is plaid; has a plaid pattern; is checkered | comes in checks;
        has a pattern of checks
    with: with checks; in plaid; with a checked pattern; checked; in a checkered pattern | in checks; with a plaid
        pattern on it
    make: give it checks; make it plaid; make it checked | put checks on it; change the pattern to plaid
pattern floral
    is: has flowers; is floral; has a floral print; has a flower pattern; has flowers all over; is covered in flowers |
        comes with a floral pattern; has a pattern of flowers
    with: with flowers; with a floral print; in a floral pattern; with a flower pattern | with flowers all over; with a
        pattern of flowers
    make: give it a floral print; add some flowers; put flowers on it | cover it in flowers; change the pattern to
        flowers
sleeves sleeveless
    is: has no sleeves; is sleeveless; doesn't have sleeves; leaves the arms bare; has bare arms | comes without
        sleeves; is without any sleeves
    with: without sleeves; with no sleeves; sleeveless; without any sleeves | with bare arms and no sleeves; but
        sleeveless
    make: make it sleeveless; take the sleeves off; leave the sleeves out | leave the sleeves off; take away the sleeves
sleeves short
    is: has short sleeves; is short sleeved; has sleeves that end above the elbow | comes with short sleeves; has
        sleeves above the elbow
    with: with short sleeves; short sleeved; in short sleeves | but short sleeved; with sleeves that end above the elbow
    make: give it short sleeves; make the sleeves short | change it to short sleeves; put short sleeves on it
sleeves long
    is: has long sleeves; is long sleeved; has full sleeves; has sleeves down to the wrist | comes with long sleeves;
        has sleeves that go down to the wrist
    with: with long sleeves; long sleeved; with full sleeves; with sleeves down to the wrist | but long sleeved; with
        sleeves that go to the wrist
    make: give it long sleeves; make the sleeves long; add long sleeves | change it to long sleeves; put long sleeves on
        it
sleeves +
    is: has longer sleeves; has more sleeve | comes with longer sleeves
    with: with longer sleeves; with more sleeve | but with longer sleeves
    make: make the sleeves longer; give it longer sleeves | change the sleeves to longer ones
sleeves -
    is: has shorter sleeves; has less sleeve | comes with shorter sleeves
    with: with shorter sleeves; with less sleeve | but with shorter sleeves
    make: make the sleeves shorter; give it shorter sleeves | change the sleeves to shorter ones
length short
    is: is short; ends above the knee; has a short length; is mini | comes in a short length; ends far above the knee
    with: in short; in a short length; that ends above the knee; in mini length | but short; in a length above the knee
    make: make it short; cut it above the knee | cut it short; change the length to short
length knee-length
    is: is knee-length; ends at the knee; goes to the knee; reaches the knee | comes down to the knee; has a length to
        the knee
    with: in knee-length; that goes to the knee; ending at the knee | in a length that reaches the knee; but knee-length
    make: make it knee-length; make it reach the knee | change it to knee-length; make it end at the knee
length long
    is: is long; has a long cut; is full length; goes far down; is maxi | comes in a long cut; has a full length
    with: in long; in a long cut; in maxi length; that goes far down | but long; with a full length
    make: make it long; give it a long cut | change it to a long cut; change the length to long
length cropped
    is: is cropped; has a cropped cut; ends above the waist; is a crop style | comes in a cropped cut; has a crop length
    with: cropped; in a cropped cut; in a cropped length | but cropped; with a cropped length
    make: make it cropped; crop it; cut it cropped | change it to a cropped cut; give it a crop
length regular
    is: has a regular length; has a normal length; is regular length | comes in a normal length; has the usual length
    with: in a regular length; in a normal length; in the usual length | but regular length; with a normal length
    make: make it a regular length; give it a normal length | change it to a regular length; make it the usual length
length full-length
    is: is full-length; goes down to the ankle; covers the ankle; has full-length legs | comes in full-length; reaches
        the ankle
    with: in full-length; with full-length legs; that goes to the ankle | that reaches the ankle; but full-length
    make: make it full-length; give it full-length legs | change it to full-length; make it reach the ankle
length +
    is: is longer; is a bit longer; has more length; is longer in length; is a little longer; is not so short; is less
        short; is much longer | comes longer; has a longer cut
    with: in longer; a bit longer; but longer; in a longer cut; a little longer; not so short; much longer | in a longer
        length; with more length
    make: make it longer; longer; make it a bit longer; make it a little longer; make it less short; make it much longer
        | give it a longer cut; add length to it
length -
    is: is shorter; is a bit shorter; has less length; is shorter in length; is a little shorter; is not so long; is
        less long; is much shorter | comes shorter; has a shorter cut
    with: in shorter; a bit shorter; but shorter; in a shorter cut; a little shorter; not so long; much shorter | in a
        shorter length; with less length
    make: make it shorter; shorter; make it a bit shorter; make it a little shorter; make it less long; make it much
        shorter | give it a shorter cut; take some length off
neckline round
    is: has a round neck; has a crew neck; has a round neckline; is crew necked | comes with a round neck; has a neck
        that is round
    with: with a round neck; with a crew neck; with a round neckline | but with a round neck; with a neckline that is
        round
    make: give it a round neck; make the neckline round | change the neck to a crew neck; put a round neck on it
neckline V
    is: has a v neck; is v necked; has a v shaped neckline; has a deep v | comes with a v neck; has a neck like a v
    with: with a v neck; v necked; with a v shaped neckline; with a deep v neck | but with a v neck; with a neckline
        like a v
    make: give it a v neck; make the neckline a v | change the neck to a v; put a v neck on it
neckline square
    is: has a square neck; has a square neckline; is square at the neck | comes with a square neck; has a neck that is
        square
    with: with a square neck; with a square neckline | but with a square neck; with a neckline that is square
    make: give it a square neck; make the neckline square | change the neck to a square one; put a square neck on it
neckline high
    is: has a high neck; has a turtleneck; has a high collar; is closed at the neck; has a roll neck | comes with a high
        neck; has a neck that is high
    with: with a high neck; with a turtleneck; with a roll neck | but with a high neck; with a high closed neck
    make: give it a high neck; make the neck high; give it a roll neck | change the neck to a high one; put a turtleneck
        on it
neckline collar
    is: has a collar; has a classic collar; is collared; has a pointed collar | comes with a collar; has a collar at the
        neck
    with: with a collar; with a classic collar; collared | but with a collar; with a pointed collar on it
    make: give it a collar; add a collar | put a collar on it; change the neck to a collar
neckline band
    is: has a band collar; has no collar; has a stand up collar; is collarless | comes with a band collar; has just a
        band at the neck
    with: with a band collar; without a collar; collarless; with a stand up collar | but without a collar; with just a
        band at the neck
    make: give it a band collar; take the collar off | change the collar to a band; leave the collar off
neckline hood
    is: has a hood; is hooded; has a hood at the neck | comes with a hood; is one with a hood
    with: with a hood; hooded | but with a hood; with a hood on it
    make: give it a hood; add a hood | put a hood on it; change the collar to a hood
fit slim
    is: is slim; has a slim fit; is fitted; is tight; is narrow | comes in a slim fit; has a narrow cut
    with: in a slim fit; in a tight cut; in slim; fitted | but slim; in a narrow cut
    make: make it slim; make it tight; give it a slim fit | change the fit to slim; give it a narrow cut
fit regular
    is: has a regular fit; is a normal fit; has a straight cut | comes in a regular fit; has the usual fit
    with: in a regular fit; with a normal fit; in a straight cut | but regular in the fit; with the usual fit
    make: give it a regular fit; make the fit regular | change the fit to regular; give it a straight cut
fit loose
    is: is loose; has a loose fit; is wide; is baggy; is oversized; is wide cut | comes in a loose fit; has a wide cut
    with: in a loose fit; in a wide cut; in loose; in an oversized cut; in a baggy cut | but loose; with an oversized
        fit
    make: make it loose; make it wide; give it a loose fit | change the fit to loose; give it a wide cut
fit +
    is: is looser; is wider; has a looser fit; is less tight; is roomier; is not so tight; is a little wider; is less
        slim | comes wider; has a wider cut
    with: in looser; a bit wider; but looser; with a looser fit; less tight; not so tight; a little looser | in a wider
        cut; with more room
    make: make it looser; make it wider; wider; give it more room; make it less tight; make it a bit looser | give it a
        wider cut; make the fit looser
fit -
    is: is tighter; is slimmer; has a tighter fit; is more fitted; is narrower; is not so loose; is a little slimmer; is
        less wide | comes slimmer; has a slimmer cut
    with: in tighter; a bit slimmer; but tighter; with a tighter fit; more fitted; not so loose; a little tighter | in a
        slimmer cut; with less room
    make: make it tighter; make it slimmer; slimmer; give it less room; make it less loose; make it a bit tighter | give
        it a slimmer cut; make the fit tighter
fastening none
    is: has no {old}; doesn't have {old}; is without {old}; is closed at the front; has lost the {old}; is not closed
        with {old} | comes without {old}; has a closed front without {old}
    with: without {old}; with no {old}; with a closed front; without the {old}; not with {old}; and no {old} | but
        without any {old}
    make: take the {old} off; lose the {old}; close the front; I don't want {old}; leave out the {old}; take off the
        {old} | leave the {old} off
fastening buttons
    is: has buttons; has buttons down the front; is buttoned; closes with buttons; has a row of buttons | comes with
        buttons; is closed with a row of buttons
    with: with buttons; with buttons down the front; buttoned; with a row of buttons | but with buttons; that closes
        with buttons
    make: give it buttons; add buttons; put buttons on it | put a row of buttons on the front; close it with buttons
fastening zip
    is: has a zip; has a zipper; zips up; closes with a zip; has a zip at the front | comes with a zip; is closed with a
        zipper
    with: with a zip; with a zipper; with a zip at the front; zipped | but with a zip; that closes with a zipper
    make: give it a zip; add a zipper; put a zip on it | put a zipper on the front; close it with a zip
trim none
    is: has no {old}; doesn't have {old}; is without {old}; has lost the {old}; doesn't have any {old} | comes without
        {old}; is without any {old}
    with: without {old}; with no {old}; without the {old}; and no {old}; not with {old} | but without {old}; without any
        {old}
    make: take the {old} off; lose the {old}; remove the {old}; I don't want {old}; leave out the {old}; take off the
        {old} | leave the {old} off; take away the {old}
trim belt
    is: has a belt; is belted; has a belt at the waist; has a leather belt | comes with a belt; is one with a belt
    with: with a belt; belted; with a leather belt; with a belt at the waist | but with a belt; with a belt on it
    make: add a belt; give it a belt; put a belt on it | put a leather belt at the waist
trim ruffles
    is: has ruffles; is ruffled; has a ruffled hem; has frills | comes with ruffles; has ruffles at the hem
    with: with ruffles; with a ruffled hem; with frills | but with ruffles; with frills at the hem
    make: add ruffles; give it ruffles; put frills on it | put ruffles at the hem
trim lace
    is: has lace; has a lace hem; is trimmed with lace; has lace at the bottom | comes with lace; has lace at the hem
    with: with lace; with a lace hem; trimmed with lace | but with lace; with lace at the bottom
    make: add lace; give it lace; put lace on it | put lace at the hem; trim it with lace
trim contrast
    is: has contrast trim; has edges in another colour; has contrasting edges; has trim in another colour | comes with
        contrast trim; has contrasting trim
    with: with contrast trim; with contrasting edges; with edges in another colour | but with contrast trim; with
        contrasting trim
    make: add contrast trim; give it contrasting edges | put contrast trim on it; trim it in another colour
trim pocket
    is: has a pocket; has pockets; has pockets on the front; has patch pockets | comes with pockets; is one with pockets
    with: with a pocket; with pockets; with patch pockets | but with pockets; with pockets on it
    make: add pockets; give it pockets; put a pocket on it | put pockets on the front
trim side stripe
    is: has a stripe down the side; has side stripes; has a line down the leg | comes with side stripes; has a stripe at
        the side
    with: with side stripes; with a stripe down the side; with a line down the leg | but with a side stripe; with a
        stripe at the side
    make: add a stripe down the side; give it side stripes | put a stripe on the side
print none
    is: has no print; has no {old}; doesn't have {old} on it; is without {old}; has lost the {old}; doesn't have any
        print | comes without {old}; has no {old} on the front
    with: without the print; without {old}; with no {old}; without the {old}; and no {old} | but without any print;
        without {old} on the front
    make: take the {old} off; lose the {old}; remove the print; I don't want {old}; leave out the {old}; take off the
        {old} | leave the {old} off; take away the print
print logo
    is: has a logo; has a small logo on the chest; has a logo on it; has a badge | comes with a logo; has a small badge
        on the chest
    with: with a logo; with a small logo; with a badge on the chest | but with a logo; with a logo on the chest
    make: add a logo; give it a small logo; put a badge on it | put a small logo on the chest
print star
    is: has a star; has a star on the front; has a star print; has a big star on it | comes with a star; has a big star
        print
    with: with a star; with a star print; with a star on the front | but with a star; with a big star on it
    make: add a star; give it a star; put a star on it | put a big star on the front
print heart
    is: has a heart; has a heart on the front; has a heart print; has a big heart on it | comes with a heart; has a big
        heart print
    with: with a heart; with a heart print; with a heart on the front | but with a heart; with a big heart on it
    make: add a heart; give it a heart; put a heart on it | put a big heart on the front
print letters
    is: has letters; has writing on it; has a word on the front; has letters on it; has text on it | comes with letters;
        has writing on the front
    with: with letters; with writing on it; with a word on the front; with text | but with letters; with letters on the
        front
    make: add letters; put writing on it; give it text | put a word on it; put letters on the front
""")
"""What changes, `+` and `-` for more and less of it → ways to say it."""

ORDERED = ("sleeves", "length", "fit")
"""Attributes whose values have an order, so that one can be compared with another."""
_OLD = {
    "plain": "pattern", "horizontal stripes": "stripes", "vertical stripes": "stripes", "floral": "flowers",
    "pocket": "pockets", "contrast": "contrast trim",
}  # fmt: skip
"""A value that is to go → what is there, where it has another name."""
_ADJECTIVES = {**ADJECTIVES, "vertical stripes": "striped"}
_IMPRESSIONS = read_phrases("""
impressions
    busier: is busier; has more pattern; is less plain; is more fun | is less simple; has more going on
    simpler: is simpler; is less busy; is more simple; has less going on | is less fun; has less pattern
    casual: is more casual; is less formal; is more sporty; is less elegant | is not so formal; is more sporty and
        casual
    formal: is more formal; is less casual; is more elegant; is more classic; is dressier | is not so casual; is less
        sporty
    feminine: is more feminine; is more romantic; is prettier; is not so plain | is less plain and more feminine
    darker: is darker; has a darker colour; is a darker shade | comes in a darker shade
    lighter: is lighter; has a lighter colour; is a lighter shade | comes in a lighter shade
    warmer: is warmer; covers more; shows less skin | covers the arms more
    summery: is more for the summer; is more summery; shows more skin; covers less | is for summer; covers the arms less
""")["impressions"]


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
