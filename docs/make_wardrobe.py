"""Write docs/wardrobe.jpg, products of the wardrobe world as they are drawn: `python docs/make_wardrobe.py`."""

from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from itma.data.synthetic.wardrobe import CATEGORIES, SHOP, SIZES, World

_ROWS = 4
_SIDE = 150


def main() -> None:
    """Each row shows one product of each category, taken from the shop."""
    world = World(replace(SIZES["demo"], height=_SIDE, width=_SIDE))
    products = world.split(SHOP).products
    chosen = [
        [index for index, product in enumerate(products) if product.category == category][7 + 11 * row]
        for row in range(_ROWS)
        for category in CATEGORIES
    ]
    images = world.render(SHOP, chosen)
    rows = [torch.cat(list(images[start : start + len(CATEGORIES)]), 2) for start in range(0, len(chosen), 8)]
    sheet = torch.cat(rows, 1).permute(1, 2, 0).numpy()
    Image.fromarray(sheet).save(Path(__file__).with_name("wardrobe.jpg"), quality=88, optimize=True)


if __name__ == "__main__":
    main()
