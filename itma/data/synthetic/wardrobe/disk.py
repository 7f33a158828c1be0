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
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itma.data.images import FileImages
from itma.data.synthetic.generated import find_written_images, read_written
from itma.data.synthetic.wardrobe import shopping
from itma.data.synthetic.wardrobe.config import SHOP, SPLITS, WardrobeConfig
from itma.data.synthetic.wardrobe.products import ATTRIBUTES, CATEGORIES, NONE, Product, choices
from itma.errors import DataError, ItmaError
from itma.io import parse_json

IMAGES, PRODUCTS, QUERIES, CONFIG = "images", "products.csv", "queries.jsonl", "wardrobe.json"
FASHIONIQ_CATEGORY = {
    category: {"T-shirt": "toptee", "jumper": "toptee"}.get(category, category) for category in CATEGORIES
}
"""Category → the one that its images and queries belong to in FashionIQ's layout."""
FASHIONIQ_SPLIT = {"train": "train", "test": "val"}


@dataclass(frozen=True)
class WardrobeSplit:
    """Products and queries of one split; the queries of one reference stand next to one another."""

    name: str
    """`train`, `test` or `shop`."""
    products: tuple[Product, ...]
    """One for each image, family after family."""
    names: tuple[str, ...]
    """One for each image: `train_000000`, …"""
    labels: np.ndarray
    """(images,) int64: the same for images of equal products, and for no others."""
    references: np.ndarray
    """(queries,) int64: index of the image that is pointed at."""
    targets: np.ndarray
    """(queries,) int64: index of the image that is asked for."""
    captions: tuple[tuple[str, str], ...]
    """(queries) Two relative captions each."""
    requests: tuple[str, ...]
    """(queries) The one sentence that a customer would type."""
    kinds: tuple[str, ...]
    """(queries) The attribute that changes, or `several`."""

    def __str__(self) -> str:
        return f"wardrobe/{self.name}: {len(self.products):,} images, {len(self.requests):,} queries"


def label(products: Sequence[Product]) -> np.ndarray:
    """(products,) int64: the same for equal products, and for no others."""
    label_of: dict[Product, int] = {}
    return np.array([label_of.setdefault(product, len(label_of)) for product in products], dtype=np.int64)


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
            file.writelines(json.dumps(row) + "\n" for row in _queries(split))


def describe_fashion200k(draft: Path, splits: Sequence[WardrobeSplit]) -> None:
    """Write all but the images into a folder as Fashion200k's; see `World.write`."""
    (draft / "labels").mkdir()
    for split in splits:
        captions = [caption(product) for product in split.products]
        paths = [place_fashion200k(split, name) for name in split.names]
        lines: dict[str, list[str]] = {}
        for path, product, said in zip(paths, split.products, captions, strict=True):
            lines.setdefault(product.category, []).append(f"{path}\t1.0\t{said}\n")
        for category, own in lines.items():
            _write_text(draft / "labels" / f"{category}_{split.name}_detect_all.txt", "".join(own))
        if split.name == "test":
            pairs = [
                f"{paths[reference]} {paths[target]}\n"
                for reference, target in zip(split.references.tolist(), split.targets.tolist(), strict=True)
                if _count_changes(captions[reference], captions[target]) == 1
            ]
            _write_text(draft / "test_queries.txt", "".join(pairs))


def place(split: WardrobeSplit, name: str) -> str:
    """Where an image is in a written wardrobe."""
    return f"{SHOP}/{IMAGES}/{name}.jpg" if split.name == SHOP else f"{IMAGES}/{name}.jpg"


def place_fashion200k(split: WardrobeSplit, name: str) -> str:
    """Where an image is in the layout of Fashion200k."""
    product = split.products[int(name.rpartition("_")[2])]
    return f"women/{product.category}/{name}/{name}_0.jpeg"


def caption(product: Product) -> str:
    """A product's attributes as Fashion200k's captions have them: a word each, always in one order.

    >>> caption(Product("skirt", "light blue", "dots", length="short", fit="slim", fastening="none", trim="lace"))
    'light-blue dots short-length slim-fit no-fastening lace-trim skirt'
    """
    said = []
    for attribute, value in product.attributes.items():
        word = value.replace(" ", "-")
        if value == NONE:
            said.append(f"no-{attribute}")
        elif attribute in _ENDINGS and not word.endswith(_ENDINGS[attribute]):
            said.append(f"{word}-{_ENDINGS[attribute]}")
        elif attribute != "category":
            said.append(word)
    return " ".join([*said, product.category])


_ENDINGS = {
    "sleeves": "sleeves",
    "length": "length",
    "neckline": "neck",
    "fit": "fit",
    "trim": "trim",
    "print": "print",
}


def _count_changes(one: str, other: str) -> int:
    """How many words of two captions differ; of captions of other lengths, more than one."""
    words, others = one.split(), other.split()
    if len(words) != len(others):
        return max(len(words), len(others))
    return sum(word != there for word, there in zip(words, others, strict=True))


def read(folder: str | Path, split: str) -> tuple[WardrobeSplit, FileImages]:
    """One split of what `World.write` wrote, and its images, which are decoded when they are asked for.

    Raises:
        DataError: the folder is not a written wardrobe, or something in it is missing or damaged.
    """
    folder = Path(folder)
    read_config(folder)
    names, products = _read_products(folder, split)
    number = {name: index for index, name in enumerate(names)}
    rows = _read_queries(folder, split)
    try:
        data_split = WardrobeSplit(
            name=split,
            products=tuple(products),
            names=tuple(names),
            labels=label(products),
            references=np.array([number[row["candidate"]] for row in rows], dtype=np.int64),
            targets=np.array([number[row["target"]] for row in rows], dtype=np.int64),
            captions=tuple((str(row["captions"][0]), str(row["captions"][1])) for row in rows),
            requests=tuple(str(row["request"]) for row in rows),
            kinds=tuple(str(row["kind"]) for row in rows),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(f"{str(folder / QUERIES)!r} is damaged: {error!r}; write the world again") from error
    return data_split, find_written_images(folder / IMAGES, names, [f"{name}.jpg" for name in names])


def read_config(folder: str | Path) -> WardrobeConfig:
    """The configuration that made a written world.

    Raises:
        DataError: see `read`.
    """
    plain = read_written(Path(folder), CONFIG, "wardrobe", "wardrobe")
    try:
        return WardrobeConfig(**plain)
    except (TypeError, ItmaError) as error:
        raise DataError(f"{str(Path(folder) / CONFIG)!r} is damaged: {error}") from error


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
                table.writerow(shopping.row(product, name, f"{IMAGES}/{name}.jpg", str(config.seed)))


def _write_fashioniq(folder: Path, split: WardrobeSplit) -> None:
    home = [FASHIONIQ_CATEGORY[product.category] for product in split.products]
    name = FASHIONIQ_SPLIT[split.name]
    rows: dict[str, list[dict[str, object]]] = {category: [] for category in dict.fromkeys(FASHIONIQ_CATEGORY.values())}
    for reference, target, captions in zip(
        split.references.tolist(), split.targets.tolist(), split.captions, strict=True
    ):
        if home[reference] == home[target]:
            rows[home[target]].append(
                {"target": split.names[target], "candidate": split.names[reference], "captions": list(captions)}
            )
    for category, own in rows.items():
        _write_json(folder / "captions" / f"cap.{category}.{name}.json", own)
        images = [one for one, other in zip(split.names, home, strict=True) if other == category]
        _write_json(folder / "image_splits" / f"split.{category}.{name}.json", images)


def _queries(split: WardrobeSplit) -> Iterator[dict[str, object]]:
    for reference, target, captions, request, kind in zip(
        split.references.tolist(), split.targets.tolist(), split.captions, split.requests, split.kinds, strict=True
    ):
        yield {
            "split": split.name,
            "candidate": split.names[reference],
            "target": split.names[target],
            "captions": list(captions),
            "request": request,
            "kind": kind,
        }


def _read_products(folder: Path, split: str) -> tuple[list[str], list[Product]]:
    path, names, products = folder / PRODUCTS, [], []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["id"].rpartition("_")[0] == split:
                    names.append(row["id"])
                    products.append(read_product(row))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ItmaError) as error:
        raise DataError(f"{str(path)!r} is missing or damaged: {error}; write the world again") from error
    if not products:
        raise DataError(f"{str(path)!r} has no products of {split!r}; choose one of {', '.join(SPLITS)}")
    return names, products


def read_product(row: dict[str, str]) -> Product:
    """A product from its row of metadata.

    Raises:
        KeyError: a column is missing.
        UnknownNameError: a value that there is not.
    """
    allowed = choices(row["category"])
    values = {name: row[name] for name in ATTRIBUTES if name in allowed}
    if any(row[name] != NONE for name in ATTRIBUTES[1:] if name not in allowed):
        raise DataError(f"{row['id']} has a value for an attribute that a {row['category']} does not have")
    return Product(row["category"], **values)


def _read_queries(folder: Path, split: str) -> list[dict[str, Any]]:
    path = folder / QUERIES
    try:
        rows = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if row["split"] == split]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{str(path)!r} is missing or damaged: {error}; write the world again") from error
