"""What a shop says of a product beside its image: name, brand, price, sizes."""

from itma.data.synthetic.generated import Dice
from itma.data.synthetic.wardrobe.products import ATTRIBUTES, NONE, Product, plain_name

BRANDS = ("Alder & Finch", "Brio", "Coppice", "Dovetail", "Elmwood", "Fjord Nine", "Gusto", "Harbour Lane")
SIZES = ("XS", "S", "M", "L", "XL", "XXL")
COLUMNS = ("id", "image", "name", "brand", "price", "sizes", "stock", *ATTRIBUTES)

_BASE = {"dress": 48, "shirt": 34, "T-shirt": 16, "jumper": 42, "jacket": 74, "skirt": 32, "trousers": 44, "shorts": 26}
_EXTRA = {"long": 6, "full-length": 4, "lace": 9, "ruffles": 7, "belt": 8, "hood": 7, "zip": 3}


def row(product: Product, identity: str, image: str, seed: int) -> dict[str, str | float | int]:
    """A product's row of metadata, with the columns of `COLUMNS`; attributes that do not apply are `none`.

    >>> skirt = Product("skirt", "red", "plain", length="short", fit="slim", fastening="none", trim="none")
    >>> row(skirt, "shop_000001", "images/shop_000001.jpg", 0)["name"]
    'Alder & Finch red skirt'
    """
    dice = Dice(f"wardrobe/{seed}/{identity}/shop")
    brand = dice.choose(BRANDS)
    price = _BASE[product.category] * (0.7 + 0.08 * BRANDS.index(brand) + 0.2 * dice.random())
    price += sum(_EXTRA.get(value, 0) for value in product.attributes.values())
    first = dice.below(3)
    sizes = SIZES[first : first + 3 + dice.below(2)]
    return {
        "id": identity,
        "image": image,
        "name": f"{brand} {plain_name(product).lower()}",
        "brand": brand,
        "price": round(price) - 0.05,
        "sizes": " ".join(sizes),
        "stock": dice.below(40),
        **{name: getattr(product, name) or NONE for name in ATTRIBUTES},
    }
