"""How people say what differs between two products, phrase by phrase.

Every change can be said in three ways: as what the other one `is` ("has long sleeves"), as what one wants it `with`
("with long sleeves"), and as what to `make` of it ("give it long sleeves"). Of each there are phrases to learn from and
phrases that are kept for the test; the words of the latter all occur among the former.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from itma.data.synthetic.generated import Dice
from itma.data.synthetic.wardrobe.products import CHOICES, COLOURS, NONE, Product


@dataclass(frozen=True)
class Phrases:
    """Ways to say one thing."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    def of(self, split: str) -> tuple[str, ...]:
        """Those of a split."""
        return self.test if split == "test" else self.train


NAMED = ("colour", "category")
"""Attributes whose values have the names of `NAMES`."""
_OTHER_NAME = 0.4
"""How often something is called by another name than the usual one, where there is one."""

Ways = Mapping[str, Phrases]
"""`is`, `with` and `make` → phrases."""


def _ways(are: str, with_: str, make: str) -> dict[str, Phrases]:
    """Phrases are separated by commas; those after a bar are for the test."""
    phrases = {}
    for name, text in (("is", are), ("with", with_), ("make", make)):
        train, _, test = text.partition("|")
        phrases[name] = Phrases(*(tuple(one.strip() for one in part.split(",")) for part in (train, test)))
    return phrases


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

_COLOUR = _ways(
    "is {new}, is {new} in colour, comes in {new}, has a {new} colour, is {new} instead of {old}, is in {new}, is "
    "{new} and not {old}, is more {new}, is more {new} than {old}, is a {new} one, has {new} in the place of {old}, "
    "is {new} where this one is "
    "{old}, has no {old} but {new} | is not {old} but {new}, has {new} as the "
    "colour, is {new} rather than {old}",
    "in {new}, in the colour {new}, in {new} instead of {old}, but {new}, not {old} but {new}, {new}, {new} not {old}, "
    "in {new} and no {old}, without the {old} and in {new}, from {old} to {new} | in {new} rather "
    "than {old}, in {new} and not in {old}",
    "make it {new}, change the colour to {new}, turn it {new}, I want it {new} not {old}, I'd rather have {new}, "
    "change the {old} to {new}, turn the {old} into {new}, take {new} instead of {old}, I'd rather have {new} than "
    "{old}, "
    "change from {old} to {new} | "
    "change it to {new}, turn the colour from {old} to {new}",
)
_CATEGORY = _ways(
    "is a {new}, is a {new} instead of a {old}, is not a {old} but a {new}, "
    "is a {new} and not a {old}, is a {new} in the place of a {old}, is more of a {new} than a {old} | is a {new} "
    "rather than a {old}",
    "as a {new}, but as a {new}, as a {new} instead of a {old}, as a {new} and "
    "not as a {old}, as a {new} not a {old}, in a {new} | not as a {old} but as a {new}",
    "make it a {new}, turn it into a {new}, I want a {new} instead, change the {old} to a {new}, turn the {old} into a "
    "{new}, I'd rather have a {new}, I'd rather have a {new} than a {old}, I want a {new} and not a {old} | change it "
    "into a {new}",
)
_VALUES: dict[tuple[str, str], dict[str, Phrases]] = {
    ("pattern", "plain"): _ways(
        "is plain, has no pattern, is one solid colour, is in just one colour, doesn't have a pattern, is plain "
        "without {oldpattern}, has no {oldpattern}, is plain and not {oldadjective} | has just one colour and no "
        "pattern, is not {oldadjective} but plain",
        "without a pattern, in a plain colour, in one solid colour, without {oldpattern}, plain, without the "
        "{oldpattern}, "
        "plain and not {oldadjective} | in just one "
        "colour, with no pattern on it",
        "make it plain, take the pattern off, take the {oldpattern} away, I don't want {oldpattern}, leave out the "
        "{oldpattern}, I'd rather have it plain | leave the {oldpattern} off, take away "
        "the pattern",
    ),
    ("pattern", "horizontal stripes"): _ways(
        "has horizontal stripes, is striped horizontally, has stripes going across, has stripes from side to side, "
        "has a horizontal stripe pattern | has stripes that go across, comes with horizontal stripes",
        "with horizontal stripes, with stripes across, striped from side to side, in horizontal stripes | with a "
        "pattern of horizontal stripes, with stripes that go from side to side",
        "give it horizontal stripes, add stripes across, make it striped from side to side | put horizontal "
        "stripes on it, make the stripes go across",
    ),
    ("pattern", "vertical stripes"): _ways(
        "has vertical stripes, is striped vertically, has stripes going up and down, has stripes from top to "
        "bottom, has a vertical stripe pattern | has stripes that go up and down, comes with vertical stripes",
        "with vertical stripes, with stripes from top to bottom, striped up and down, in vertical stripes | with a "
        "pattern of vertical stripes, with stripes that go from top to bottom",
        "give it vertical stripes, add stripes up and down, make it striped from top to bottom | put vertical "
        "stripes on it, make the stripes go up and down",
    ),
    ("pattern", "dots"): _ways(
        "has polka dots, has dots, is dotted, has a dotted pattern, has dots all over, is spotted, has spots | "
        "comes with polka dots, has a pattern of dots",
        "with dots, with polka dots, with a dotted pattern, in polka dots, with spots | with dots all over, with a "
        "pattern of dots",
        "give it polka dots, add dots, cover it in polka dots | put polka dots on it, cover it in dots",
    ),
    ("pattern", "checks"): _ways(
        "is checked, has checks, has a checked pattern, is plaid, has a plaid pattern, is checkered | comes in "
        "checks, has a pattern of checks",
        "with checks, in plaid, with a checked pattern, checked, in a checkered pattern | in checks, with a plaid "
        "pattern on it",
        "give it checks, make it plaid, make it checked | put checks on it, change the pattern to plaid",
    ),
    ("pattern", "floral"): _ways(
        "has flowers, is floral, has a floral print, has a flower pattern, has flowers all over, is covered in "
        "flowers | comes with a floral pattern, has a pattern of flowers",
        "with flowers, with a floral print, in a floral pattern, with a flower pattern | with flowers all over, "
        "with a pattern of flowers",
        "give it a floral print, add some flowers, put flowers on it | cover it in flowers, change the pattern to "
        "flowers",
    ),
    ("sleeves", "sleeveless"): _ways(
        "has no sleeves, is sleeveless, doesn't have sleeves, leaves the arms bare, has bare arms | comes without "
        "sleeves, is without any sleeves",
        "without sleeves, with no sleeves, sleeveless, without any sleeves | with bare arms and no sleeves, but "
        "sleeveless",
        "make it sleeveless, take the sleeves off, leave the sleeves out | leave the sleeves off, take away the "
        "sleeves",
    ),
    ("sleeves", "short"): _ways(
        "has short sleeves, is short sleeved, has sleeves that end above the elbow | comes with short sleeves, has "
        "sleeves above the elbow",
        "with short sleeves, short sleeved, in short sleeves | but short sleeved, with sleeves that end above the "
        "elbow",
        "give it short sleeves, make the sleeves short | change it to short sleeves, put short sleeves on it",
    ),
    ("sleeves", "long"): _ways(
        "has long sleeves, is long sleeved, has full sleeves, has sleeves down to the wrist | comes with long "
        "sleeves, has sleeves that go down to the wrist",
        "with long sleeves, long sleeved, with full sleeves, with sleeves down to the wrist | but long sleeved, "
        "with sleeves that go to the wrist",
        "give it long sleeves, make the sleeves long, add long sleeves | change it to long sleeves, put long "
        "sleeves on it",
    ),
    ("sleeves", "+"): _ways(
        "has longer sleeves, has more sleeve | comes with longer sleeves",
        "with longer sleeves, with more sleeve | but with longer sleeves",
        "make the sleeves longer, give it longer sleeves | change the sleeves to longer ones",
    ),
    ("sleeves", "-"): _ways(
        "has shorter sleeves, has less sleeve | comes with shorter sleeves",
        "with shorter sleeves, with less sleeve | but with shorter sleeves",
        "make the sleeves shorter, give it shorter sleeves | change the sleeves to shorter ones",
    ),
    ("length", "short"): _ways(
        "is short, ends above the knee, has a short length, is mini | comes in a short length, ends far above the "
        "knee",
        "in short, in a short length, that ends above the knee, in mini length | but short, in a length above the "
        "knee",
        "make it short, cut it above the knee | cut it short, change the length to short",
    ),
    ("length", "knee-length"): _ways(
        "is knee-length, ends at the knee, goes to the knee, reaches the knee | comes down to the knee, has a "
        "length to the knee",
        "in knee-length, that goes to the knee, ending at the knee | in a length that reaches the knee, but "
        "knee-length",
        "make it knee-length, make it reach the knee | change it to knee-length, make it end at the knee",
    ),
    ("length", "long"): _ways(
        "is long, has a long cut, is full length, goes far down, is maxi | comes in a long cut, has a full length",
        "in long, in a long cut, in maxi length, that goes far down | but long, with a full length",
        "make it long, give it a long cut | change it to a long cut, change the length to long",
    ),
    ("length", "cropped"): _ways(
        "is cropped, has a cropped cut, ends above the waist, is a crop style | comes in a cropped cut, has a crop "
        "length",
        "cropped, in a cropped cut, in a cropped length | but cropped, with a cropped length",
        "make it cropped, crop it, cut it cropped | change it to a cropped cut, give it a crop",
    ),
    ("length", "regular"): _ways(
        "has a regular length, has a normal length, is regular length | comes in a normal length, has the usual "
        "length",
        "in a regular length, in a normal length, in the usual length | but regular length, with a normal length",
        "make it a regular length, give it a normal length | change it to a regular length, make it the usual "
        "length",
    ),
    ("length", "full-length"): _ways(
        "is full-length, goes down to the ankle, covers the ankle, has full-length legs | comes in full-length, "
        "reaches the ankle",
        "in full-length, with full-length legs, that goes to the ankle | that reaches the ankle, but full-length",
        "make it full-length, give it full-length legs | change it to full-length, make it reach the ankle",
    ),
    ("length", "+"): _ways(
        "is longer, is a bit longer, has more length, is longer in length, is a little longer, is not so short, is "
        "less short, is much longer | comes longer, has a longer cut",
        "in longer, a bit longer, but longer, in a longer cut, a little longer, not so short, much longer | in a "
        "longer length, with more length",
        "make it longer, longer, make it a bit longer, make it a little longer, make it less short, make it much "
        "longer | give it a longer cut, add length to it",
    ),
    ("length", "-"): _ways(
        "is shorter, is a bit shorter, has less length, is shorter in length, is a little shorter, is not so long, is "
        "less long, is much shorter | comes shorter, has a shorter cut",
        "in shorter, a bit shorter, but shorter, in a shorter cut, a little shorter, not so long, much shorter | in a "
        "shorter length, with less length",
        "make it shorter, shorter, make it a bit shorter, make it a little shorter, make it less long, make it much "
        "shorter | give it a shorter cut, take some length off",
    ),
    ("neckline", "round"): _ways(
        "has a round neck, has a crew neck, has a round neckline, is crew necked | comes with a round neck, has a "
        "neck that is round",
        "with a round neck, with a crew neck, with a round neckline | but with a round neck, with a neckline that "
        "is round",
        "give it a round neck, make the neckline round | change the neck to a crew neck, put a round neck on it",
    ),
    ("neckline", "V"): _ways(
        "has a v neck, is v necked, has a v shaped neckline, has a deep v | comes with a v neck, has a neck like a "
        "v",
        "with a v neck, v necked, with a v shaped neckline, with a deep v neck | but with a v neck, with a "
        "neckline like a v",
        "give it a v neck, make the neckline a v | change the neck to a v, put a v neck on it",
    ),
    ("neckline", "square"): _ways(
        "has a square neck, has a square neckline, is square at the neck | comes with a square neck, has a neck "
        "that is square",
        "with a square neck, with a square neckline | but with a square neck, with a neckline that is square",
        "give it a square neck, make the neckline square | change the neck to a square one, put a square neck on "
        "it",
    ),
    ("neckline", "high"): _ways(
        "has a high neck, has a turtleneck, has a high collar, is closed at the neck, has a roll neck | comes with "
        "a high neck, has a neck that is high",
        "with a high neck, with a turtleneck, with a roll neck | but with a high neck, with a high closed neck",
        "give it a high neck, make the neck high, give it a roll neck | change the neck to a high one, put a "
        "turtleneck on it",
    ),
    ("neckline", "collar"): _ways(
        "has a collar, has a classic collar, is collared, has a pointed collar | comes with a collar, has a collar "
        "at the neck",
        "with a collar, with a classic collar, collared | but with a collar, with a pointed collar on it",
        "give it a collar, add a collar | put a collar on it, change the neck to a collar",
    ),
    ("neckline", "band"): _ways(
        "has a band collar, has no collar, has a stand up collar, is collarless | comes with a band collar, has "
        "just a band at the neck",
        "with a band collar, without a collar, collarless, with a stand up collar | but without a collar, with "
        "just a band at the neck",
        "give it a band collar, take the collar off | change the collar to a band, leave the collar off",
    ),
    ("neckline", "hood"): _ways(
        "has a hood, is hooded, has a hood at the neck | comes with a hood, is one with a hood",
        "with a hood, hooded | but with a hood, with a hood on it",
        "give it a hood, add a hood | put a hood on it, change the collar to a hood",
    ),
    ("fit", "slim"): _ways(
        "is slim, has a slim fit, is fitted, is tight, is narrow | comes in a slim fit, has a narrow cut",
        "in a slim fit, in a tight cut, in slim, fitted | but slim, in a narrow cut",
        "make it slim, make it tight, give it a slim fit | change the fit to slim, give it a narrow cut",
    ),
    ("fit", "regular"): _ways(
        "has a regular fit, is a normal fit, has a straight cut | comes in a regular fit, has the usual fit",
        "in a regular fit, with a normal fit, in a straight cut | but regular in the fit, with the usual fit",
        "give it a regular fit, make the fit regular | change the fit to regular, give it a straight cut",
    ),
    ("fit", "loose"): _ways(
        "is loose, has a loose fit, is wide, is baggy, is oversized, is wide cut | comes in a loose fit, has a "
        "wide cut",
        "in a loose fit, in a wide cut, in loose, in an oversized cut, in a baggy cut | but loose, with an "
        "oversized fit",
        "make it loose, make it wide, give it a loose fit | change the fit to loose, give it a wide cut",
    ),
    ("fit", "+"): _ways(
        "is looser, is wider, has a looser fit, is less tight, is roomier, is not so tight, is a "
        "little wider, is less slim | comes wider, has a wider cut",
        "in looser, a bit wider, but looser, with a looser fit, less tight, not so tight, a little looser | in a "
        "wider cut, with more room",
        "make it looser, make it wider, wider, give it more room, make it less tight, make it a bit looser | give it "
        "a wider cut, make the fit looser",
    ),
    ("fit", "-"): _ways(
        "is tighter, is slimmer, has a tighter fit, is more fitted, is narrower, is not so loose, "
        "is a little slimmer, is less wide | comes slimmer, has a slimmer cut",
        "in tighter, a bit slimmer, but tighter, with a tighter fit, more fitted, not so loose, a little tighter | in "
        "a slimmer cut, with less "
        "room",
        "make it tighter, make it slimmer, slimmer, give it less room, make it less loose, make it a bit tighter | "
        "give it a slimmer cut, make the fit "
        "tighter",
    ),
    ("fastening", "none"): _ways(
        "has no {oldfastening}, doesn't have {oldfastening}, is without {oldfastening}, is closed at the front, has "
        "lost the {oldfastening}, is not closed with {oldfastening} | "
        "comes without {oldfastening}, has a closed front without {oldfastening}",
        "without {oldfastening}, with no {oldfastening}, with a closed front, without the {oldfastening}, not with "
        "{oldfastening}, and no {oldfastening} | but without any {oldfastening}",
        "take the {oldfastening} off, lose the {oldfastening}, close the front, I don't want {oldfastening}, leave "
        "out the {oldfastening}, take off the {oldfastening} | leave the {oldfastening} off",
    ),
    ("fastening", "buttons"): _ways(
        "has buttons, has buttons down the front, is buttoned, closes with buttons, has a row of buttons | comes "
        "with buttons, is closed with a row of buttons",
        "with buttons, with buttons down the front, buttoned, with a row of buttons | but with buttons, that "
        "closes with buttons",
        "give it buttons, add buttons, put buttons on it | put a row of buttons on the front, close it with "
        "buttons",
    ),
    ("fastening", "zip"): _ways(
        "has a zip, has a zipper, zips up, closes with a zip, has a zip at the front | comes with a zip, is closed "
        "with a zipper",
        "with a zip, with a zipper, with a zip at the front, zipped | but with a zip, that closes with a zipper",
        "give it a zip, add a zipper, put a zip on it | put a zipper on the front, close it with a zip",
    ),
    ("trim", "none"): _ways(
        "has no {oldtrim}, doesn't have {oldtrim}, is without {oldtrim}, has lost the {oldtrim}, doesn't "
        "have any {oldtrim} | comes without {oldtrim}, is without any "
        "{oldtrim}",
        "without {oldtrim}, with no {oldtrim}, without the {oldtrim}, and no {oldtrim}, not with {oldtrim} | but "
        "without {oldtrim}, without any {oldtrim}",
        "take the {oldtrim} off, lose the {oldtrim}, remove the {oldtrim}, I don't want {oldtrim}, leave out the "
        "{oldtrim}, take off the {oldtrim} | leave the {oldtrim} off, take away the "
        "{oldtrim}",
    ),
    ("trim", "belt"): _ways(
        "has a belt, is belted, has a belt at the waist, has a leather belt | comes with a belt, is one with a "
        "belt",
        "with a belt, belted, with a leather belt, with a belt at the waist | but with a belt, with a belt on it",
        "add a belt, give it a belt, put a belt on it | put a leather belt at the waist",
    ),
    ("trim", "ruffles"): _ways(
        "has ruffles, is ruffled, has a ruffled hem, has frills | comes with ruffles, has ruffles at the hem",
        "with ruffles, with a ruffled hem, with frills | but with ruffles, with frills at the hem",
        "add ruffles, give it ruffles, put frills on it | put ruffles at the hem",
    ),
    ("trim", "lace"): _ways(
        "has lace, has a lace hem, is trimmed with lace, has lace at the bottom | comes with lace, has lace at the "
        "hem",
        "with lace, with a lace hem, trimmed with lace | but with lace, with lace at the bottom",
        "add lace, give it lace, put lace on it | put lace at the hem, trim it with lace",
    ),
    ("trim", "contrast"): _ways(
        "has contrast trim, has edges in another colour, has contrasting edges, has trim in another colour | comes "
        "with contrast trim, has contrasting trim",
        "with contrast trim, with contrasting edges, with edges in another colour | but with contrast trim, with "
        "contrasting trim",
        "add contrast trim, give it contrasting edges | put contrast trim on it, trim it in another colour",
    ),
    ("trim", "pocket"): _ways(
        "has a pocket, has pockets, has pockets on the front, has patch pockets | comes with pockets, is one with "
        "pockets",
        "with a pocket, with pockets, with patch pockets | but with pockets, with pockets on it",
        "add pockets, give it pockets, put a pocket on it | put pockets on the front",
    ),
    ("trim", "side stripe"): _ways(
        "has a stripe down the side, has side stripes, has a line down the leg | comes with side stripes, has a "
        "stripe at the side",
        "with side stripes, with a stripe down the side, with a line down the leg | but with a side stripe, with a "
        "stripe at the side",
        "add a stripe down the side, give it side stripes | put a stripe on the side",
    ),
    ("print", "none"): _ways(
        "has no print, has no {oldprint}, doesn't have {oldprint} on it, is without {oldprint}, has lost the "
        "{oldprint}, "
        "doesn't have any print | comes without "
        "{oldprint}, has no {oldprint} on the front",
        "without the print, without {oldprint}, with no {oldprint}, without the {oldprint}, and no {oldprint} | but "
        "without any print, without {oldprint} on "
        "the front",
        "take the {oldprint} off, lose the {oldprint}, remove the print, I don't want {oldprint}, leave out the "
        "{oldprint}, take off the {oldprint} | leave the {oldprint} off, take away the "
        "print",
    ),
    ("print", "logo"): _ways(
        "has a logo, has a small logo on the chest, has a logo on it, has a badge | comes with a logo, has a small "
        "badge on the chest",
        "with a logo, with a small logo, with a badge on the chest | but with a logo, with a logo on the chest",
        "add a logo, give it a small logo, put a badge on it | put a small logo on the chest",
    ),
    ("print", "star"): _ways(
        "has a star, has a star on the front, has a star print, has a big star on it | comes with a star, has a "
        "big star print",
        "with a star, with a star print, with a star on the front | but with a star, with a big star on it",
        "add a star, give it a star, put a star on it | put a big star on the front",
    ),
    ("print", "heart"): _ways(
        "has a heart, has a heart on the front, has a heart print, has a big heart on it | comes with a heart, has "
        "a big heart print",
        "with a heart, with a heart print, with a heart on the front | but with a heart, with a big heart on it",
        "add a heart, give it a heart, put a heart on it | put a big heart on the front",
    ),
    ("print", "letters"): _ways(
        "has letters, has writing on it, has a word on the front, has letters on it, has text on it | comes with "
        "letters, has writing on the front",
        "with letters, with writing on it, with a word on the front, with text | but with letters, with letters on "
        "the front",
        "add letters, put writing on it, give it text | put a word on it, put letters on the front",
    ),
}  # fmt: skip

ORDERED = ("sleeves", "length", "fit")
"""Attributes whose values have an order, so that one can be compared with another."""
_OLD_PATTERN = {
    "horizontal stripes": ("the stripes", "striped"), "vertical stripes": ("the stripes", "striped"),
    "dots": ("the dots", "dotted"), "checks": ("the checks", "checked"), "floral": ("the flowers", "floral"),
    "plain": ("the pattern", "plain"),
}  # fmt: skip
_OLD = {"pocket": "pockets", "contrast": "contrast trim", "side stripe": "side stripe"}
_MORE = {
    "busier": Phrases(
        ("is busier", "has more pattern", "is less plain", "is more fun"), ("is less simple", "has more going on")
    ),
    "simpler": Phrases(
        ("is simpler", "is less busy", "is more simple", "has less going on"), ("is less fun", "has less pattern")
    ),
    "casual": Phrases(
        ("is more casual", "is less formal", "is more sporty", "is less elegant"),
        ("is not so formal", "is more sporty and casual"),
    ),
    "formal": Phrases(
        ("is more formal", "is less casual", "is more elegant", "is more classic", "is dressier"),
        ("is not so casual", "is less sporty"),
    ),
    "feminine": Phrases(
        ("is more feminine", "is more romantic", "is prettier", "is not so plain"), ("is less plain and more feminine",)
    ),
    "darker": Phrases(("is darker", "has a darker colour", "is a darker shade"), ("comes in a darker shade",)),
    "lighter": Phrases(("is lighter", "has a lighter colour", "is a lighter shade"), ("comes in a lighter shade",)),
    "warmer": Phrases(("is warmer", "covers more", "shows less skin"), ("covers the arms more",)),
    "summery": Phrases(
        ("is more for the summer", "is more summery", "shows more skin", "covers less"),
        ("is for summer", "covers the arms less"),
    ),
}


def ways(attribute: str, one: Product, other: Product) -> list[Ways]:
    """The ways to say how `other` differs from `one` in an attribute: by its value and, where that fits, compared."""
    new = getattr(other, attribute)
    if attribute == "colour":
        return [_COLOUR]
    if attribute == "category":
        return [_CATEGORY]
    options: list[Ways] = [_VALUES[attribute, new]]
    if attribute in ORDERED and one.category == other.category:
        order = CHOICES[one.category][attribute]
        up = order.index(new) > order.index(getattr(one, attribute))
        if attribute != "sleeves" or "sleeveless" not in (new, getattr(one, attribute)):
            options.append(_VALUES[attribute, "+" if up else "-"])
    return options


def name_of(value: str, dice: Dice) -> str:
    """What somebody calls a colour or a category: mostly by its usual name."""
    usual, *others = NAMES.get(value, (value.lower(),))
    return dice.choose(others) if others and dice.random() < _OTHER_NAME else usual


def fillers(attribute: str, one: Product, other: Product, dice: Dice) -> dict[str, str]:
    """What stands for the names in braces."""
    old, new = getattr(one, attribute), getattr(other, attribute)
    pattern, adjective = _OLD_PATTERN[one.pattern]
    plain = _OLD.get(old, old)
    return {
        "old": name_of(old, dice) if attribute in NAMED else old,
        "new": name_of(new, dice) if attribute in NAMED else new,
        "oldpattern": pattern.removeprefix("the "),
        "oldadjective": adjective,
        "oldfastening": old,
        "oldtrim": plain,
        "oldprint": plain,
    }


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
    return [_MORE[name] for name in dict.fromkeys(names)]


def every_phrase(split: str) -> list[str]:
    """All phrases of a split, with braces where values stand."""
    tables = [_COLOUR, _CATEGORY, *_VALUES.values()]
    words = [phrase for table in tables for phrases in table.values() for phrase in phrases.of(split)]
    return [*words, *(phrase for phrases in _MORE.values() for phrase in phrases.of(split))]


def _brightness(colour: str) -> float:
    red, green, blue = COLOURS[colour]
    return (0.3 * red + 0.59 * green + 0.11 * blue) / 255
