"""Draws the products and the queries of a split: pure Python, the same everywhere for the same seed."""

from collections.abc import Callable
from functools import partial
from itertools import combinations

from itma.data.synthetic.generated import Dice
from itma.data.synthetic.wardrobe.config import SHOP, WardrobeConfig, colours
from itma.data.synthetic.wardrobe.products import CATEGORIES, CHOICES, NONE, PATTERNS, Product, as_category, differences

MOST_DIFFERENCES = 3
"""In how many attributes the two products of a query differ, at most."""

_OTHER_CATEGORIES = {
    "dress": ("skirt",),
    "shirt": ("T-shirt", "jumper", "jacket"),
    "T-shirt": ("shirt", "jumper"),
    "jumper": ("T-shirt", "jacket"),
    "jacket": ("jumper", "shirt"),
    "skirt": ("dress", "shorts", "trousers"),
    "trousers": ("shorts", "skirt"),
    "shorts": ("trousers", "skirt"),
}
_PLAIN = 0.4
"""Share of products without a pattern."""
_NO_EXTRA = 0.5
"""Share of products without a trim, a fastening or a print, each by itself."""
_TRIES = 60
_CANDIDATES = 8
"""Products that are drawn for each one of a shop."""


def families(config: WardrobeConfig, split: str) -> list[Product]:
    """The products of a split: family after family, the first of each family the one that the others vary."""
    dice = Dice(f"wardrobe/{config.seed}/{split}/products")
    present: set[tuple[str, ...]] = set()

    def choose(draw: Callable[[], Product]) -> Product:
        """A product; of a shop, which should have something for everybody, the one of several that adds the most."""
        if split != SHOP:
            return draw()
        chosen = max((draw() for _ in range(_CANDIDATES)), key=lambda product: len(_combinations(product) - present))
        present.update(_combinations(chosen))
        return chosen

    products = []
    for category in dice.shuffle([CATEGORIES[index % len(CATEGORIES)] for index in range(config.families(split))]):
        base = choose(partial(_draw, dice, split, category))
        members = {base: None}
        for _ in range(_TRIES * config.members):
            if len(members) == config.members:
                break
            members.setdefault(choose(partial(_vary, dice, split, base, config.other_categories)))
        products += [*members, *([base] * (config.members - len(members)))]
    return products


def _combinations(product: Product) -> set[tuple[str, ...]]:
    """All combinations of a product's colour with two other attributes' values, in its category."""
    values = [f"{name} {value}" for name, value in product.attributes.items() if name not in ("category", "colour")]
    return {(product.category, product.colour, *pair) for pair in combinations(values, 2)}


def pairs(config: WardrobeConfig, split: str, products: list[Product]) -> list[tuple[int, int]]:
    """(reference, target) of each query, both of one family; those of one reference stand together."""
    dice = Dice(f"wardrobe/{config.seed}/{split}/pairs")
    result = []
    for reference, product in enumerate(products):
        first = reference - reference % config.members
        near = [
            other
            for other in range(first, first + config.members)
            if other != reference and answerable(product, products[other])
        ]
        near.sort(key=lambda other: len(differences(product, products[other])) * dice.random())
        result += [(reference, other) for other in near[: config.queries]]
    return result


def possible(product: Product) -> bool:
    """Whether there is such a product: a print is on plain cloth, and neither fastening nor pocket cuts through it."""
    cut = product.pattern != "plain" or product.fastening not in (None, NONE) or product.trim == "pocket"
    return product.print in (None, NONE) or not cut


def answerable(one: Product, other: Product) -> bool:
    """Whether a sentence or two would say what makes the one into the other."""
    apart = differences(one, other)
    if one.category != other.category:  # whatever else differs is more than a sentence would say
        return len(apart) <= 2 and as_category(one, other.category).with_values(colour=other.colour) == other
    return 1 <= len(apart) <= MOST_DIFFERENCES


def _draw(dice: Dice, split: str, category: str) -> Product:
    while True:
        values = {"colour": dice.choose(colours(split, category))}
        values["pattern"] = PATTERNS[0] if dice.random() < _PLAIN else dice.choose(PATTERNS[1:])
        for attribute, allowed in CHOICES[category].items():
            plain = allowed[0] == NONE and dice.random() < _NO_EXTRA
            values[attribute] = NONE if plain else dice.choose(allowed)
        product = Product(category, **values)
        if possible(product):
            return product


def _vary(dice: Dice, split: str, base: Product, other_categories: float) -> Product:
    """A product that differs from `base` in one to three attributes, or in its category."""
    if dice.random() < other_categories:
        category = dice.choose(_OTHER_CATEGORIES[base.category])
        other = as_category(base, category)
        if other.colour not in colours(split, category):
            other = other.with_values(colour=dice.choose(colours(split, category)))
        return other if possible(other) else base
    point = dice.random()
    count = 1 if point < 0.5 else 2 if point < 0.85 else 3
    allowed = {**CHOICES[base.category], "colour": colours(split, base.category), "pattern": PATTERNS}
    changes = {}
    mixed = dice.shuffle([*allowed, "colour", "pattern"])  # these two stand in front more often
    for attribute in list(dict.fromkeys(mixed))[:count]:
        now = getattr(base, attribute)
        if attribute == "pattern" and now != "plain" and dice.random() < _PLAIN:
            changes[attribute] = "plain"
        else:
            changes[attribute] = dice.choose([value for value in allowed[attribute] if value != now])
    product = base.with_values(**changes)
    return product if possible(product) else base
