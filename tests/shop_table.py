"""A made-up shop: a table of products and a drawing of each."""

import csv
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

from PIL import Image, ImageDraw

Item = dict[str, object]

COLOURS = {"Red": "red", "Navy Blue": "navy", "Green": "green", "Grey": "grey"}
KINDS = ("Tshirts", "Dresses", "Jeans")


def items(copies: int = 2, *, test: int = 4) -> list[Item]:
    """Every combination of kind, colour, sleeves and pattern, some times over; the last of each `test` is for testing.

    Columns are called as shops call them; `fit` is one that no sentence is written for.
    """
    products: list[Item] = []
    choices = product(range(copies), KINDS, COLOURS, ("Short Sleeves", "Long Sleeves"), ("Solid", "Striped"))
    for number, (copy, kind, colour, sleeves, pattern) in enumerate(choices):
        products.append(
            {
                "id": f"p{number:03}",
                "Product Name": f"{colour} {kind} number {number}",
                "article_type": kind,
                "color": colour,
                "Sleeve Length": sleeves,
                "pattern": pattern,
                "fit": ("slim", "loose")[number // 2 % 2],
                "group": "below" if kind == "Jeans" else "above",
                "price": str(10 + number),
                "split": "test" if copy % test == test - 1 or (copies < test and copy == copies - 1) else "train",
            }
        )
    return products


def draw(path: Path, item: Mapping[str, object], size: tuple[int, int] = (24, 32)) -> None:
    """A coloured shape before white; its kind decides its form."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, "white")
    width, height = size
    pen = ImageDraw.Draw(image)
    left = 4 + 3 * KINDS.index(str(item.get("article_type", KINDS[0])))
    pen.rectangle((left, 6, width - 5, height - 6), fill=COLOURS.get(str(item.get("color")), "black"))
    if item.get("pattern") == "Striped":
        pen.line((left, height // 2, width - 5, height // 2), fill="yellow", width=3)
    image.save(path)


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """A table as CSV or JSON Lines, packed or not, as its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name.removesuffix(".gz")
    if name.endswith(".jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        plain = path.with_name("plain")
        with plain.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
            table.writeheader()
            table.writerows(rows)
        text = plain.read_text(encoding="utf-8")
        plain.unlink()
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())
    return path


def shop(
    folder: Path, rows: Sequence[Mapping[str, object]], *, name: str = "products.jsonl", folders: Iterable[str] = ("",)
) -> Path:
    """A table and an image of each product, named by its id, in each of some folders."""
    write(folder / name, rows)
    for subfolder in folders:
        for row in rows:
            draw(folder / subfolder / f"{row['id']}.jpg", row)
    return folder
