"""The wardrobe world on disk: FashionIQ's own layout, and a list of the products beside it.

images/train_000000.jpg …                   the images of train and test
captions/cap.<category>.<split>.json        [{"candidate": …, "target": …, "captions": [two]}, …]; test is `val` here
image_splits/split.<category>.<split>.json  the images of each category's gallery
products.csv                                id, image, name, brand, price, sizes, and all attributes of each image
queries.jsonl                               all queries, those between categories too, with kinds and requests
shop/images, shop/products.csv              the catalogue to search in: itma index RUN shop/products.csv … --id id
wardrobe.json                               the configuration that made it

FashionIQ has three categories; here they hold dresses (`dress`), shirts (`shirt`), and T-shirts and jumpers (`toptee`).
The other categories have files of their own, which FashionIQ's loader passes over.

The layout of Fashion200k instead has every attribute of a product in its caption, a word each:

labels/<category>_<split>_detect_all.txt    path, score and caption of each image, between tabs
women/<category>/<name>/<name>_0.jpeg       the images of train and test
test_queries.txt                            the queries of test in whose captions one word changes
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itma.data.images import FileImages
from itma.data.synthetic.generated import WorldSplit, find_written_images, naming_damage, number_alike, read_written
from itma.data.synthetic.wardrobe import shopping
from itma.data.synthetic.wardrobe.config import SHOP, SPLITS, WardrobeConfig
from itma.data.synthetic.wardrobe.products import ATTRIBUTES, CATEGORIES, NONE, Product, choices
from itma.errors import ConfigError, DataError
from itma.io import parse_json

IMAGES, PRODUCTS, QUERIES, CONFIG = "images", "products.csv", "queries.jsonl", "wardrobe.json"
FASHIONIQ_CATEGORY = {
    category: {"T-shirt": "toptee", "jumper": "toptee"}.get(category, category) for category in CATEGORIES
}
"""Category → the one that its images and queries belong to in FashionIQ's layout."""
FASHIONIQ_SPLIT = {"train": "train", "test": "val"}


@dataclass(frozen=True)
class WardrobeSplit(WorldSplit):
    """Products and queries of one split; the queries of one reference stand next to one another."""

    products: tuple[Product, ...]
    """One for each image, family after family."""
    captions: tuple[tuple[str, str], ...]
    """(queries) Two relative captions each."""
    requests: tuple[str, ...]
    """(queries) The one sentence that a customer would type."""

    def __str__(self) -> str:
        return f"wardrobe/{self.name}: {len(self.products):,} images, {len(self.requests):,} queries"

    def texts(self) -> tuple[list[Any], ...]:
        """See `WorldSplit`."""
        return list(map(str, self.products)), list(self.captions), list(self.requests)


def describe(draft: Path, config: WardrobeConfig, splits: Sequence[WardrobeSplit]) -> None:
    """Write all but the images into a folder; see `World.write`."""
    for inside in ("captions", "image_splits", SHOP):
        (draft / inside).mkdir()
    _write_json(draft / CONFIG, asdict(config), indent=2)
    learned = [split for split in splits if split.name != SHOP]
    write_products(draft / PRODUCTS, learned, config)
    write_products(draft / SHOP / PRODUCTS, [split for split in splits if split.name == SHOP], config)
    with (draft / QUERIES).open("w", encoding="utf-8") as file:
        for split in learned:
            _write_fashioniq(draft, split)
            rows = zip(split.pairs, split.captions, split.requests, split.kinds, strict=True)
            for (reference, target), captions, request, kind in rows:
                query: dict[str, object] = {
                    "split": split.name,
                    "candidate": split.names[reference],
                    "target": split.names[target],
                }
                query |= {"captions": list(captions), "request": request, "kind": kind}
                file.write(json.dumps(query) + "\n")


def describe_fashion200k(draft: Path, splits: Sequence[WardrobeSplit]) -> None:
    """Write all but the images into a folder as Fashion200k's; see `World.write`."""
    (draft / "labels").mkdir()
    for split in splits:
        captions = [caption(product) for product in split.products]
        paths = [fashion200k_path(split, name) for name in split.names]
        lines: dict[str, list[str]] = {}
        for path, product, text in zip(paths, split.products, captions, strict=True):
            lines.setdefault(product.category, []).append(f"{path}\t1.0\t{text}\n")
        for category, own in lines.items():
            _write_text(draft / "labels" / f"{category}_{split.name}_detect_all.txt", "".join(own))
        if split.name == "test":
            queries = [
                f"{paths[reference]} {paths[target]}\n"
                for reference, target in split.pairs
                if _count_changes(captions[reference], captions[target]) == 1
            ]
            _write_text(draft / "test_queries.txt", "".join(queries))


def fashioniq_path(split: WardrobeSplit, name: str) -> str:
    """Where an image is in a written wardrobe."""
    return f"{SHOP}/{image_path(name)}" if split.name == SHOP else image_path(name)


def image_path(name: str) -> str:
    """Where an image is beside the list of its products."""
    return f"{IMAGES}/{name}.jpg"


def fashion200k_path(split: WardrobeSplit, name: str) -> str:
    """Where an image is in the layout of Fashion200k."""
    product = split.products[int(name.rpartition("_")[2])]
    return f"women/{product.category}/{name}/{name}_0.jpeg"


def caption(product: Product) -> str:
    """A product's attributes as Fashion200k's captions have them: a word each, always in one order.

    >>> caption(Product("skirt", "light blue", "dots", length="short", fit="slim", fastening="none", trim="lace"))
    'light-blue dots short-length slim-fit no-fastening lace-trim skirt'
    """
    words = []
    for attribute, value in product.attributes.items():
        word = value.replace(" ", "-")
        if value == NONE:
            words.append(f"no-{attribute}")
        elif attribute in _ENDINGS and not word.endswith(_ENDINGS[attribute]):
            words.append(f"{word}-{_ENDINGS[attribute]}")
        elif attribute != "category":
            words.append(word)
    return " ".join([*words, product.category])


_ENDINGS = {"neckline": "neck"} | {name: name for name in ("sleeves", "length", "fit", "trim", "print")}


def _count_changes(one: str, other: str) -> int:
    """How many words of two captions differ; of captions of other lengths, more than one."""
    words, others = one.split(), other.split()
    if len(words) != len(others):
        return max(len(words), len(others))
    return sum(word != counterpart for word, counterpart in zip(words, others, strict=True))


def read(folder: str | Path, split: str) -> tuple[WardrobeSplit, FileImages]:
    """One split of what `World.write` wrote, and its images, which are decoded when they are asked for.

    Raises:
        DataError: the folder is not a written wardrobe, or something in it is missing or damaged.
    """
    folder = Path(folder)
    read_config(folder)
    with naming_damage(folder / PRODUCTS), (folder / PRODUCTS).open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["id"].rpartition("_")[0] == split]
        names, products = [line["id"] for line in lines], [read_product(line) for line in lines]
    if not products:
        raise DataError(f"{str(folder / PRODUCTS)!r} has no products of {split!r}; choose one of {', '.join(SPLITS)}")
    number = {name: index for index, name in enumerate(names)}
    with naming_damage(folder / QUERIES):
        rows = [parse_json(line) for line in (folder / QUERIES).read_text(encoding="utf-8").splitlines()]
        rows = [row for row in rows if row["split"] == split]
        data_split = WardrobeSplit(
            name=split,
            names=tuple(names),
            labels=number_alike(products),
            references=np.array([number[row["candidate"]] for row in rows], dtype=np.int64),
            targets=np.array([number[row["target"]] for row in rows], dtype=np.int64),
            kinds=tuple(str(row["kind"]) for row in rows),
            products=tuple(products),
            captions=tuple((str(row["captions"][0]), str(row["captions"][1])) for row in rows),
            requests=tuple(str(row["request"]) for row in rows),
        )
    return data_split, find_written_images(folder, names, [image_path(name) for name in names])


def read_config(folder: str | Path) -> WardrobeConfig:
    """The configuration that made a written world.

    Raises:
        DataError: see `read`.
    """
    plain = read_written(Path(folder), CONFIG, "wardrobe", "wardrobe")
    with naming_damage(Path(folder) / CONFIG):
        return WardrobeConfig(**plain)


def _write_json(path: Path, content: Any, indent: int | None = None) -> None:
    _write_text(path, json.dumps(content, indent=indent) + "\n")


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def write_products(path: Path, splits: Sequence[WardrobeSplit], config: WardrobeConfig) -> None:
    """Write the list of some splits' products."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, shopping.COLUMNS, lineterminator="\n")
        table.writeheader()
        for split in splits:
            for name, product in zip(split.names, split.products, strict=True):
                table.writerow(shopping.row(product, name, image_path(name), config.seed))


def _write_fashioniq(folder: Path, split: WardrobeSplit) -> None:
    home = [FASHIONIQ_CATEGORY[product.category] for product in split.products]
    name = FASHIONIQ_SPLIT[split.name]
    rows: dict[str, list[dict[str, object]]] = {category: [] for category in dict.fromkeys(FASHIONIQ_CATEGORY.values())}
    for (reference, target), captions in zip(split.pairs, split.captions, strict=True):
        if home[reference] == home[target]:
            rows[home[target]].append(
                {"target": split.names[target], "candidate": split.names[reference], "captions": list(captions)}
            )
    for category, own in rows.items():
        _write_json(folder / "captions" / f"cap.{category}.{name}.json", own)
        images = [one for one, other in zip(split.names, home, strict=True) if other == category]
        _write_json(folder / "image_splits" / f"split.{category}.{name}.json", images)


def read_product(row: dict[str, str]) -> Product:
    """A product from its row of metadata.

    Raises:
        KeyError: a column is missing.
        UnknownNameError, ConfigError: a value that there is not.
    """
    allowed = choices(row["category"])
    values = {name: row[name] for name in ATTRIBUTES if name in allowed}
    if any(row[name] != NONE for name in ATTRIBUTES[1:] if name not in allowed):
        raise ConfigError(f"{row['id']} has a value for an attribute that a {row['category']} does not have")
    return Product(row["category"], **values)
