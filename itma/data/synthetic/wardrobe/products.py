"""Products of a clothes shop: what attributes they have, which values those take, and how two products differ."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from itma.errors import ConfigError, UnknownNameError

CATEGORIES = ("dress", "shirt", "T-shirt", "jumper", "jacket", "skirt", "trousers", "shorts")
COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (38, 38, 43),
    "white": (247, 246, 243),
    "grey": (142, 145, 150),
    "beige": (218, 196, 160),
    "brown": (118, 76, 48),
    "red": (208, 34, 44),
    "burgundy": (112, 22, 48),
    "orange": (240, 122, 34),
    "yellow": (247, 207, 58),
    "green": (38, 142, 76),
    "olive": (116, 118, 60),
    "teal": (14, 128, 134),
    "light blue": (146, 194, 234),
    "navy": (32, 44, 94),
    "purple": (124, 66, 160),
    "pink": (244, 152, 182),
}
"""Colour → its red, green and blue under even light."""
ADJECTIVES = {
    "plain": "", "horizontal stripes": "striped", "vertical stripes": "pinstriped", "dots": "dotted",
    "checks": "checked", "floral": "floral",
}  # fmt: skip
"""Pattern → how a product that has it is called."""
PATTERNS = tuple(ADJECTIVES)
NONE = "none"

_FITS = ("slim", "regular", "loose")
_TOP_LENGTHS = ("cropped", "regular", "long")
_SKIRT_LENGTHS = ("short", "knee-length", "long")

CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "dress": {
        "sleeves": ("sleeveless", "short", "long"),
        "length": _SKIRT_LENGTHS,
        "neckline": ("round", "V", "square", "high"),
        "fit": _FITS,
        "fastening": (NONE, "buttons", "zip"),
        "trim": (NONE, "belt", "ruffles", "lace", "contrast"),
    },
    "shirt": {
        "sleeves": ("short", "long"),
        "length": _TOP_LENGTHS,
        "neckline": ("collar", "band"),
        "fit": _FITS,
        "trim": (NONE, "pocket", "contrast"),
    },
    "T-shirt": {
        "sleeves": ("sleeveless", "short", "long"),
        "length": _TOP_LENGTHS,
        "neckline": ("round", "V"),
        "fit": _FITS,
        "trim": (NONE, "pocket", "contrast"),
        "print": (NONE, "logo", "star", "heart", "letters"),
    },
    "jumper": {
        "sleeves": ("sleeveless", "long"),
        "length": _TOP_LENGTHS,
        "neckline": ("round", "V", "high"),
        "fit": _FITS,
        "fastening": (NONE, "buttons", "zip"),
        "trim": (NONE, "contrast"),
        "print": (NONE, "star", "heart"),
    },
    "jacket": {
        "sleeves": ("sleeveless", "long"),
        "length": _TOP_LENGTHS,
        "neckline": ("collar", "high", "hood"),
        "fit": _FITS,
        "fastening": ("buttons", "zip"),
        "trim": (NONE, "pocket", "belt", "contrast"),
    },
    "skirt": {
        "length": _SKIRT_LENGTHS,
        "fit": _FITS,
        "fastening": (NONE, "buttons", "zip"),
        "trim": (NONE, "belt", "ruffles", "lace", "pocket"),
    },
    "trousers": {
        "length": ("cropped", "full-length"),
        "fit": _FITS,
        "trim": (NONE, "belt", "pocket", "side stripe"),
    },
    "shorts": {
        "length": ("short", "knee-length"),
        "fit": _FITS,
        "trim": (NONE, "belt", "pocket", "side stripe"),
    },
}
"""Category → attribute → the values it takes there, beside colour and pattern, which all have; attributes that are
missing do not apply. Ordered values (lengths, sleeves, fits) stand from least to most."""

ATTRIBUTES = (
    "category", "colour", "pattern", "sleeves", "length", "neckline", "fit", "fastening", "trim", "print",
)  # fmt: skip
"""All attributes; each is a kind of feedback as well."""


@cache
def choices(category: str) -> Mapping[str, tuple[str, ...]]:
    """Attribute → values of one category, colour and pattern among them."""
    if category not in CHOICES:
        raise UnknownNameError("category", category, CATEGORIES)
    return {"colour": tuple(COLOURS), "pattern": PATTERNS, **CHOICES[category]}


@dataclass(frozen=True)
class Product:
    """All that is true of a product; attributes that do not apply to its category are absent.

    >>> str(Product("dress", "red", "plain", "long", "short", "V", "loose", "none", "belt"))
    'red plain dress, sleeves long, length short, neckline V, fit loose, trim belt'
    """

    category: str
    colour: str
    pattern: str
    sleeves: str | None = None
    length: str | None = None
    neckline: str | None = None
    fit: str | None = None
    fastening: str | None = None
    trim: str | None = None
    print: str | None = None

    def __post_init__(self) -> None:
        allowed = choices(self.category)
        for attribute in ATTRIBUTES[1:]:
            value = getattr(self, attribute)
            if attribute not in allowed and value is not None:
                raise ConfigError(f"a {self.category} has no {attribute}, but {attribute}={value!r} was given")
            if attribute in allowed and value not in allowed[attribute]:
                raise UnknownNameError(f"{attribute} of a {self.category}", str(value), allowed[attribute])

    def __str__(self) -> str:
        more = [
            f"{attribute} {value}"
            for attribute in ATTRIBUTES[3:]
            if (value := getattr(self, attribute)) not in (None, NONE)
        ]
        return ", ".join([f"{self.colour} {self.pattern} {self.category}", *more])

    @property
    def attributes(self) -> dict[str, str]:
        """Attribute → value, of those that apply."""
        return {name: value for name in ATTRIBUTES if (value := getattr(self, name)) is not None}

    def with_values(self, **values: str) -> "Product":
        """The same product with other values of some attributes.

        Raises:
            UnknownNameError, ConfigError: a value or an attribute that the category does not have.
        """
        return replace(self, **values)

    def fits(self, values: Mapping[str, str]) -> bool:
        """Whether it has every attribute value that is wanted.

        Args:
            values: attribute → value, or several values with `|` between them, any of which will do.
        """
        return all(getattr(self, name) in value.split("|") for name, value in values.items())


def as_category(product: Product, category: str) -> Product:
    """A product of another category that keeps what it can, and takes the first value where it cannot."""
    values = {"colour": product.colour, "pattern": product.pattern}
    for attribute, allowed in CHOICES[category].items():
        value = getattr(product, attribute)
        values[attribute] = value if value in allowed else allowed[1 if attribute == "fit" else 0]
    return Product(category, **values)


def differences(one: Product, other: Product) -> tuple[str, ...]:
    """The attributes in which two products differ; of two categories, the category and what both have.

    >>> red = Product("skirt", "red", "plain", length="short", fit="slim", fastening="none", trim="none")
    >>> differences(red, red.with_values(colour="navy", length="long"))
    ('colour', 'length')
    """
    values = ((name, getattr(one, name), getattr(other, name)) for name in ATTRIBUTES)
    return tuple(name for name, before, after in values if before != after and None not in (before, after))


def plain_name(product: Product) -> str:
    """What a shop would call it, for lists and metadata.

    >>> plain_name(Product("skirt", "red", "dots", length="short", fit="slim", fastening="none", trim="none"))
    'Red dotted skirt'
    """
    words = product.colour.capitalize(), ADJECTIVES[product.pattern], product.category
    return " ".join(filter(None, words))
