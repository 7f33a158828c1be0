"""A shop's own table of products: attributes → queries to learn from, with several right answers.

Expected: a CSV or JSON Lines file (also `.jsonl.gz`) with a row for each product, or a folder that holds one.

id, sku                  the product's id; without it, the image's name
image, file, picture   its image, relative to the table or to `images` beside it; without such a column, files named
                         after the id in the table's folder or in folders below it, of every size there is
name, title, description texts that people may search by
family, style            what products of one design share; they are kept on one side of the split
split                    train or test; without it, a tenth of the families is for testing
any other column         an attribute, where it looks like one: see `attributes_of`

Columns that are known by name (colour, kind, gender, sleeves, neck, pattern, occasion: see
`itma.data.datasets.shop_sentences.ROLES`) have sentences of their own.
"""

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from itma.data.datasets import shop_sentences
from itma.data.datasets.base import Dataset, register
from itma.data.datasets.image_finder import IMAGES, Finder
from itma.data.datasets.own import for_testing
from itma.data.datasets.shop_user import ShopUser
from itma.data.datasets.tables import CSV_ENDINGS, JSON_ENDINGS, Row, Table, read_table, short
from itma.data.images import FileImages
from itma.data.synthetic.generated import Dice
from itma.data.tokenizer import EARLIER
from itma.data.triplets import Protocol, Rows, Sample, Split, Task, Triplets, encode_aspect
from itma.data.validation.diagnosis import Finding
from itma.errors import DataError

log = logging.getLogger(__name__)

SPLITS = ("train", "test")
TABLES = ("products", "items", "catalogue")
"""Names that a table in a folder may have, before its ending."""
ID_COLUMNS, IMAGE_COLUMNS = ("id", "sku"), ("image", "file", "picture", "filename", "image file", "path")
TEXT_COLUMNS = ("name", "title", "product name", "description")
FAMILY_COLUMNS, BRAND_COLUMNS = ("family", "style", "design"), ("brand", "label", "maker")
UNSEEN = frozenset(
    (
        "fabric season year price size sizes stock quantity width height url link weight rating medium ean barcode date"
    ).split()
)
"""Columns that no image shows."""
MAIN = ("kind", "gender", "colour")
"""Attributes that a right answer has to have right, whatever else it has."""
FEWEST = 5
"""Products that share a value, at least, for it to be spoken of."""
MOST_VALUES, LEAST_KNOWN = 60, 0.3
"""A column that is not known by name is an attribute if it has at most so many values, known of such a share."""
_UNKNOWN = frozenset({"", "na", "n/a", "nan", "none", "null", "unknown", "-", "?"})
_FOLLOWS = 0.98
"""Share of the products in which one column has to decide another for the other to say nothing new."""

_GROUP = 6
"""Rows of a batch that share four images: see `Sampler.draw`."""
_WEIGHTS: Mapping[str, float] = {"colour": 3.0, "kind": 2.0, "gender": 1.2, "sleeves": 1.3, "neck": 1.0, "pattern": 1.5}
_RUNNING = (0.55, 0.87)
"""How often one thing is changed, and at most two; else three."""
_TRIES = 6
_PER_REFERENCE = 2
"""Test queries of each reference, at most."""
_ENDINGS = frozenset({"jpg", "jpeg", "png", "webp"})
_LABELLED = re.compile(r"[^a-z0-9'/.\- ]+")
_WORDS, _COMMON = 14, 25
"""Words of a text that are read; and how many texts a word has to stand in to be read."""


@dataclass(frozen=True)
class Shop:
    """One split of a table of products: an entry for each image."""

    names: list[str]
    """(images) what each image is called."""
    paths: list[Path]
    folders: list[str]
    """(images) the folder that each image is in, by its name."""
    products: np.ndarray
    """(images,) int64: the product that each image shows."""
    attributes: list[dict[str, str]]
    """(products) attribute → value, of those that are known."""
    families: np.ndarray
    """(products,) int64."""
    texts: list[tuple[str, ...]]
    """(products) names and descriptions, in small letters."""
    brands: list[str | None]
    codes: dict[str, np.ndarray] = field(default_factory=dict)
    """Attribute → (images,) int64, −1 where it is not known."""
    groups: dict[str, str] = field(default_factory=dict)
    """Kind → a coarser kind, where the table has one."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Column → why it is no attribute."""

    def of(self, image: int) -> dict[str, str]:
        """The attributes of what an image shows."""
        return self.attributes[int(self.products[image])]


def find_table(root: Path) -> Path:
    """The table that is meant by a file or a folder.

    Raises:
        DataError: there is none, or more than one.
    """
    if root.is_file():
        return root
    if not root.is_dir():
        raise DataError(f"{str(root)!r} does not exist; give a table of products, or the folder that holds it")
    endings = tuple(ending + packed for ending in (*JSON_ENDINGS, *CSV_ENDINGS) for packed in ("", ".gz"))
    tables = [root / f"{name}{ending}" for name in TABLES for ending in endings if (root / f"{name}{ending}").is_file()]
    tables = tables or sorted(path for path in root.iterdir() if path.name.lower().endswith(endings))
    if len(tables) != 1:
        what = f"holds {', '.join(path.name for path in tables[:4])}; name one" if tables else "holds no table"
        raise DataError(
            f"{str(root)!r} {what}: give a CSV or JSON Lines file with a row for each product (columns id or image, "
            "and attributes such as colour and kind)"
        )
    return tables[0]


def read_shop(path: Path, split: str) -> Shop:
    """The products of one split that have an image.

    Raises:
        DataError: see `Products.read`.
    """
    table = _flat(read_table(path))
    rows, named = table.rows, table.named
    if not rows:
        raise DataError(f"{str(path)!r} has a header and no rows; expected a row for each product")
    identity, image, brand = (table.column(*names) for names in (ID_COLUMNS, IMAGE_COLUMNS, BRAND_COLUMNS))
    if identity is None and image is None:
        raise DataError(
            f"{str(path)!r} has no column that says which image belongs to a row; expected one called "
            f"{', '.join(IMAGE_COLUMNS[:3])}, or id with images of that name; found: "
            f"{', '.join(map(repr, table.columns))}"
        )
    texts = [named[name] for name in TEXT_COLUMNS if name in named]
    special = {identity, image, brand, table.column(*FAMILY_COLUMNS), table.column("split"), *texts}
    values, groups, left_out = attributes_of(rows, {n: c for n, c in named.items() if c not in special})
    if not values:
        reasons = _list(left_out) or "there is no further column"
        raise DataError(
            f"{str(path)!r} has no usable attributes: {reasons}. Give columns such as colour, kind, gender, sleeves, "
            "neck, pattern, with the same words for the same thing"
        )
    if left_out:
        log.info("%s: %d columns are not used: %s", path, len(left_out), _list(left_out))
    chosen, families = _split_of(table, identity or image, split)
    brands = Counter(row.text(brand).lower() for row in rows)
    images_of, advice = _find_images(path.parent, {index: rows[index] for index in chosen}, identity, image)
    if not images_of:
        raise DataError(f"{str(path)!r}: no image of its {len(chosen):,} {split} products was found. {advice}")
    if missing := len(chosen) - len(images_of):
        log.warning("%s: %d of %d %s products have no image and are left out", path, missing, len(chosen), split)
    pairs = [pair for images in images_of.values() for pair in images]
    products = np.repeat(np.arange(len(images_of)), [len(images) for images in images_of.values()])
    words = [rows[index].text(brand).lower() for index in images_of]
    return Shop(
        names=[name for name, _ in pairs],
        paths=[file for _, file in pairs],
        folders=[file.parent.name for _, file in pairs],
        products=products,
        attributes=[{name: value[index] for name, value in values.items() if value[index]} for index in images_of],
        families=encode_aspect([families[index] for index in images_of]),
        texts=[tuple(_plain(rows[index].text(name)) for name in texts) for index in images_of],
        brands=[word if brands[word] >= 4 * FEWEST and word not in _UNKNOWN else None for word in words],
        codes={name: encode_aspect(value)[list(images_of)][products] for name, value in values.items()},
        groups=groups,
        left_out=left_out,
    )


def attributes_of(
    rows: Sequence[Row], named: Mapping[str, str]
) -> tuple[dict[str, list[str]], dict[str, str], dict[str, str]]:
    """Which columns are attributes, and what they say.

    A column known by name (`shop_sentences.ROLES`) is one; several of one role are read one after the other. Another
    column is one if it has few values, known of many products, and does not follow from a column that is used already.

    Args:
        rows: of the table, flat.
        named: what a column is called in plain words → its name in the table.

    Returns:
        Attribute → (rows) its value, empty where nothing is said; kind → a coarser kind; and why other columns are
        left out.
    """
    values: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}
    used: set[str] = set()
    fewest = min(FEWEST, max(2, len(rows) // 50))
    rare = f"fewer than two values that {fewest} products share"
    for role, candidates in shop_sentences.ROLES.items():
        columns = [named[name] for name in candidates if name in named]
        columns = columns[:1] if role == "kind" else columns
        used.update(columns)
        read = _common([_merge(role, [row.text(column) for column in columns]) for row in rows], fewest)
        if len(set(read) - {""}) >= 2:
            values[role] = read
        elif columns:
            left_out[columns[0]] = rare
    groups: dict[str, str] = {}
    # counted once: a table may have hundreds of columns that say nothing of most products
    counts = Counter(name for row in rows for name, value in row.cells.items() if value is not None)
    for name, column in named.items():
        if column in used:
            continue
        if name in UNSEEN:
            left_out[column] = "no image shows it"
            continue
        if counts[column] < LEAST_KNOWN * len(rows):
            left_out[column] = f"said of {counts[column]:,} of {len(rows):,} products"
            continue
        cells = [shop_sentences.read_value(name, row.text(column)) for row in rows]
        known = [cell for cell in cells if cell not in _UNKNOWN]
        different = set(known)
        if len(known) < LEAST_KNOWN * len(rows):
            left_out[column] = f"said of {len(known):,} of {len(rows):,} products"
        elif not 2 <= len(different) <= min(MOST_VALUES, max(2, len(known) // 2)):
            left_out[column] = f"{len(different):,} different values in {len(known):,} products"
        elif len(set(common := _common(cells, fewest)) - {""}) < 2:
            left_out[column] = rare
        elif "kind" in values and _is_decided(values["kind"], cells):
            left_out[column] = "follows from the kind"
            if not groups:
                groups = {kind: cell for kind, cell in zip(values["kind"], cells, strict=True) if kind and cell}
        else:
            values[name] = common
    return values, groups, left_out


def _list(left_out: Mapping[str, str], most: int = 12) -> str:
    named = [f"{name} ({why})" for name, why in left_out.items()]
    return ", ".join(named[:most]) + (f" and {len(named) - most} more" if len(named) > most else "")


def _merge(role: str, cells: Sequence[str]) -> str:
    """The first value that is said; a floral print says more than "printed", and a dotted one."""
    read = [shop_sentences.read_value(role, cell) for cell in cells]
    read.sort(key=lambda value: value not in ("floral", "dots"))
    return next((value for value in read if value not in _UNKNOWN), "")


def _common(values: Sequence[str], fewest: int) -> list[str]:
    """The values, those that fewer products share left empty."""
    counts = Counter(values)
    return [value if value not in _UNKNOWN and counts[value] >= fewest else "" for value in values]


def _is_decided(kinds: Sequence[str], cells: Sequence[str]) -> bool:
    """Whether the kind decides what a column says."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for kind, cell in zip(kinds, cells, strict=True):
        if kind:
            counts[kind][cell] += 1
    total = sum(each.total() for each in counts.values())
    return total > 0 and sum(max(each.values()) for each in counts.values()) >= _FOLLOWS * total


def _flat(table: Table) -> Table:
    """A table in whose rows nested tables stand beside the other columns, which win."""
    rows = []
    for row in table.rows:
        cells = dict(row.cells)
        for name, value in row.cells.items():
            if isinstance(value, dict):
                del cells[name]
                cells |= {inner: text for inner, text in value.items() if not cells.get(inner)}
        rows.append(Row(row.line, cells))
    return replace(table, columns=list(dict.fromkeys(name for row in rows for name in row.cells)), rows=rows)


def _plain(text: str) -> str:
    """A text in small letters, its first words only."""
    return " ".join(_LABELLED.sub(" ", text.lower()).split()[:_WORDS])


def _split_of(table: Table, identity: str | None, split: str) -> tuple[list[int], list[str]]:
    """The rows of a split, and every row's family."""
    column, family, rows = table.column("split"), table.column(*FAMILY_COLUMNS), table.rows
    families = [row.text(family) or f"id {row.text(identity)}" for row in rows]
    chosen = []
    for index, (row, name) in enumerate(zip(rows, families, strict=True)):
        own = ("test" if for_testing(name) else "train") if column is None else row.text(column).lower()
        if own not in SPLITS:
            raise table.error(row, f"the split is {short(own)}; expected train or test")
        if own == split:
            chosen.append(index)
    if not chosen:
        advice = "Say which are, in a column 'split' with train or test"
        if column is None:
            advice += f"; without it a tenth of the {'families' if family else 'products'} is for testing, of few none"
        raise DataError(f"{str(table.path)!r}: none of {len(rows):,} products is for {split}. {advice}")
    return chosen, families


def _find_images(
    folder: Path, rows: Mapping[int, Row], identity: str | None, image: str | None
) -> tuple[dict[int, list[tuple[str, Path]]], str]:
    """Names and paths of the images of each row that has some, and what to do where there is none.

    The images of one product in several folders are told apart by the folder.
    """
    if image is None:
        by_stem = _list_images(folder)
        images = {index: by_stem.get(row.text(identity), []) for index, row in rows.items()}
        advice = f"They are looked for in {str(folder)!r} and its folders, as <{identity}>.jpg"
    else:
        finder = Finder(folder)
        paths = {index: (name, finder.path(name)) for index, row in rows.items() if (name := row.text(image))}
        images = {index: [pair] for index, pair in paths.items() if finder.exists(pair[1])}
        advice = f"The column {image!r} names them relative to {str(folder)!r} or {IMAGES!r} in it"
    return {index: pairs for index, pairs in images.items() if pairs}, advice


def _list_images(root: Path) -> dict[str, list[tuple[str, Path]]]:
    """Name without its ending → the files of that name in a folder and below it, by folder."""
    paths: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    visited: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add(real)
        folders.sort()
        above = Path(folder).relative_to(root)
        for file in sorted(files):
            stem, _, ending = file.rpartition(".")
            if ending.lower() in _ENDINGS:
                paths[stem].append(((above / file).as_posix(), Path(folder, file)))
    return paths


class Sampler:
    """Draws queries from a shop: two products that differ in one to three attributes and agree in the rest.

    Where a value is not known of one of them, it is taken to agree, except colour, kind and gender: a product of which
    one of these is not known is no reference and no target.

    Every choice comes from the generator that is handed in, so that the same seed gives the same queries.

    Args:
        shop: the products.
    """

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._main = [name for name in MAIN if name in shop.codes]
        self._keys = [name for name in ("kind", "gender") if name in shop.codes]
        keyed = [shop.codes[name] for name in self._keys]
        self._block = np.stack(keyed, 1) if keyed else np.zeros((len(shop.names), 0), np.int64)
        self._blocks = dict(_group(self._block))
        self._families = shop.families[shop.products]
        self._elsewhere = lru_cache(maxsize=None)(self._blocks_elsewhere)
        kinds, examples = np.unique(shop.codes.get("kind", np.zeros(0, np.int64)), return_index=True)
        self._groups = {
            code: shop.groups.get(shop.of(image).get("kind", ""))
            for code, image in zip(kinds.tolist(), examples.tolist(), strict=True)
        }
        words = Counter(word for texts in shop.texts for word in set(" ".join(texts).split()))
        self._common = {word for word, count in words.items() if count >= _COMMON}

    def edit(
        self, reference: int, random: np.random.Generator, present: np.ndarray | None = None
    ) -> tuple[int, list[str]] | None:
        """A target for a reference, and the attributes in which it differs; nothing where a few tries find none.

        One attribute is changed in about half of the cases, two in a third, else three. In half of the cases, a
        product of the reference's own family is taken where there is one.

        Args:
            reference: index of an image.
            random: decides.
            present: (images,) bool, those that may be targets; without it, all.
        """
        codes = self.shop.codes
        known = [name for name in codes if codes[name][reference] >= 0]
        if any(codes[name][reference] < 0 for name in self._main) or not known:
            return None
        weights = np.array([_WEIGHTS.get(name, 0.8) for name in known])
        for _ in range(_TRIES):
            count = min(1 + int(np.searchsorted(_RUNNING, random.random(), side="right")), len(known))
            order = np.argsort(-(random.random(len(known)) ** (1 / weights)))  # without replacement, by weight
            changed = [known[index] for index in order[:count]]
            candidates = self._fitting(reference, self._candidates(reference, changed, random), changed, present)
            if len(candidates):
                same = candidates[self._families[candidates] == self._families[reference]]
                pool = same if len(same) and random.random() < 0.5 else candidates
                return int(pool[random.integers(len(pool))]), changed
        return None

    def alike(self, image: int, random: np.random.Generator, present: np.ndarray | None = None) -> int | None:
        """An image of another product of which all that is known agrees; nothing where there is none.

        Args:
            image: index of an image.
            random: decides.
            present: (images,) bool, those that may be chosen; without it, all.
        """
        if any(self.shop.codes[name][image] < 0 for name in self._main):
            return None
        candidates = self._fitting(image, self._blocks[tuple(self._block[image].tolist())], [], present)
        return int(candidates[random.integers(len(candidates))]) if len(candidates) else None

    def _candidates(self, reference: int, changed: Sequence[str], random: np.random.Generator) -> np.ndarray:
        """Images of the wanted kind and gender."""
        key = tuple(self._block[reference].tolist())
        moving = tuple(index for index, name in enumerate(self._keys) if name in changed)
        if not moving:
            return self._blocks[key]
        others, sums = self._elsewhere(key, moving)
        if not others:
            return np.zeros(0, np.int64)
        return self._blocks[others[int(np.searchsorted(sums, random.random() * sums[-1], side="right"))]]

    def _blocks_elsewhere(
        self, key: tuple[int, ...], moving: tuple[int, ...]
    ) -> tuple[list[tuple[int, ...]], np.ndarray]:
        """Blocks that differ just in some parts of the key, and the running sums of how often each is wanted."""
        others = [
            other
            for other in self._blocks
            if all((other[index] != key[index]) == (index in moving) for index in range(len(key))) and min(other) >= 0
        ]
        return others, np.cumsum([len(self._blocks[other]) ** 0.5 * self._near(key, other) for other in others])

    def _near(self, key: Sequence[int], other: Sequence[int]) -> float:
        """How often a kind is asked for instead of another: mostly within the coarser kind."""
        if "kind" not in self._keys or not self.shop.groups:
            return 1.0
        index = self._keys.index("kind")
        return 1.0 if self._groups.get(key[index]) == self._groups.get(other[index]) else 0.1

    def _fitting(
        self, reference: int, candidates: np.ndarray, changed: Sequence[str], present: np.ndarray | None
    ) -> np.ndarray:
        """Of a wanted block the images of other products that differ in what is changed, and in nothing else known."""
        for name, codes in self.shop.codes.items():
            if name in self._keys:  # right in the whole block
                continue
            own, others = codes[reference], codes[candidates]
            if name in changed:
                candidates = candidates[(others >= 0) & (others != own)]
            elif name in MAIN:
                candidates = candidates[others == own]
            elif own >= 0:
                candidates = candidates[(others == own) | (others < 0)]
        candidates = candidates[self.shop.products[candidates] != self.shop.products[reference]]
        return candidates if present is None else candidates[present[candidates]]

    # -- what training draws ------------------------------------------------------------------------------------------

    def draw(self, triplets: Triplets, rows: np.ndarray, random: np.random.Generator) -> Rows:
        """Training samples: of each six rows, the first names a reference, and three further images are drawn.

        Of these four images one row asks for each of two changes of the reference and for one change of a target; one
        asks the way back; one has words only; and one has the image alone, or is the last step of a conversation.
        """
        samples: list[Sample] = []
        for start in range(0, len(rows), _GROUP):
            group = rows[start : start + _GROUP]
            samples += self._group_of(int(triplets.references[group[0]]), random, triplets.present)[: len(group)]
        return Rows.of(samples)

    def _group_of(self, image: int, random: np.random.Generator, present: np.ndarray | None) -> list[Sample]:
        dice = Dice(f"products/{random.integers(2**62)}")

        def wish(target: int) -> Sample:
            return -1, target, self.wish(target, dice)

        def ask(reference: int, target: int, changed: Sequence[str]) -> Sample:
            return reference, target, self.write_request(reference, target, changed, dice, random)

        edits = [self.edit(image, random, present) for _ in range(2)]
        samples = [wish(image) if edit is None else ask(image, *edit) for edit in edits]
        last = next((edit for edit in reversed(edits) if edit is not None), None)
        if last is None:
            return [*samples, *(wish(image) for _ in range(_GROUP - len(samples)))]
        target, changed = last
        samples += [ask(target, image, changed), wish(target)]
        further = self.edit(target, random, present)
        samples.append(wish(image) if further is None else ask(target, *further))
        twin = self.alike(image, random, present) if random.random() < 0.5 else None
        samples.append(wish(image) if twin is None else (image, twin, ""))
        return samples

    def write_request(
        self,
        one: int,
        other: int,
        changed: Sequence[str],
        dice: Dice,
        random: np.random.Generator,
        split: str = "train",
    ) -> str:
        """A sentence that leads from one image to another; of five, one says part of it earlier in the conversation.

        Args:
            one, other: the reference and the target.
            changed: attributes that differ, of which the target's values are known.
            dice: decides the words.
            random: decides whether there is an earlier step; for the test there never is.
            split: train or test, whose wording differs.
        """
        here, there = self.shop.of(one), self.shop.of(other)
        changed = [name for name in changed if name in there]
        if split == "train" and random.random() < 0.2:
            unchanged = [name for name in there if name not in changed and name in _WEIGHTS]
            early, late = (changed[:1], changed[1:]) if len(changed) > 1 else (dice.shuffle(unchanged)[:1], changed)
            if early and late:
                before = {**here, early[0]: ""} if early[0] not in changed else here
                first = shop_sentences.request(before, there, early, dice, split)
                return first + EARLIER + shop_sentences.request(here, there, late, dice, split)
        return shop_sentences.request(here, there, changed, dice, split)

    def wish(self, image: int, dice: Dice, split: str = "train") -> str:
        """Words that ask for what an image shows: of its attributes, or its own name or description."""
        product = int(self.shop.products[image])
        texts = [
            plain
            for text in self.shop.texts[product]
            if len((plain := " ".join(word for word in text.split() if word in self._common)).split()) > 1
        ]
        if split == "train" and texts and dice.random() < 0.25:
            return dice.choose(texts)
        return shop_sentences.wish(self.shop.attributes[product], dice, split, brand=self.shop.brands[product])


def _group(keys: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Each distinct row of (images, keys), and where it stands."""
    distinct, inverse = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(inverse.ravel(), kind="stable")
    bounds = np.searchsorted(inverse.ravel()[order], np.arange(len(distinct) + 1))
    for number, key in enumerate(distinct.tolist()):
        yield tuple(key), order[bounds[number] : bounds[number + 1]]


def labels_of(codes: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """(images,) int64: images that agree in some attributes, known or not, share a number."""
    columns = np.stack([codes[name] for name in names], 1)
    return np.unique(columns, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def kind_of_change(changed: Sequence[str]) -> str:
    """The kind of a query: the attribute that changes, `two` or `three`."""
    return changed[0] if len(changed) == 1 else ("two", "three")[min(len(changed), 3) - 2]


def _training(path: Path, shop: Shop, sampler: Sampler) -> Triplets:
    random = np.random.Generator(np.random.PCG64(0))
    rows, kinds = [], []
    for image in range(len(shop.names)):
        if (edit := sampler.edit(image, random)) is None:
            continue
        target, changed = edit
        dice = Dice(f"products/example/{image}")
        sentence = sampler.write_request(image, target, changed, dice, random)
        if not image % 3:  # the words of wishes are words of the model too
            sentence += EARLIER + sampler.wish(image, dice)
        rows.append((image, target, sentence))
        kinds.append(kind_of_change(changed))
    if not rows:
        raise DataError(
            f"{str(path)!r}: no two of {len(shop.attributes):,} training products differ in one to three attributes "
            f"and agree in the others ({', '.join(shop.codes)}); write values that are nearly the same alike, or add "
            "products"
        )
    return _table("train", shop, list(shop.codes), rows, kinds, draw=sampler.draw, draws_targets=True)


def _table(
    split: str, shop: Shop, counted: Sequence[str], rows: Sequence[Sample], kinds: Sequence[str], **more: Any
) -> Triplets:
    """Triplets over all images of a shop, whose labels tell apart what differs in some attributes."""
    ordered = sorted(shop.codes, key=lambda name: name != "kind")  # the kind of thing first
    return Triplets.of(
        f"products/{split}",
        FileImages(shop.names, shop.paths),
        rows,
        labels_of(shop.codes, counted),
        kinds=kinds,
        aspects={name: shop.codes[name] for name in ordered},
        **more,
    )


class Query(NamedTuple):
    """One query of a test: indices of images, the sentence, and what it changes."""

    reference: int
    target: int
    feedback: str
    changed: tuple[str, ...]


def draw_queries(shop: Shop, sampler: Sampler, *, seed: int = 0, per_reference: int = _PER_REFERENCE) -> list[Query]:
    """Queries of a test split, in wording that training does not use; at most `per_reference` of each image."""
    random = np.random.Generator(np.random.PCG64(seed))
    queries = []
    for image in range(len(shop.names)):
        for number in range(per_reference):
            if (edit := sampler.edit(image, random)) is None:
                continue
            dice = Dice(f"products/test/{seed}/{shop.names[image]}/{number}")
            sentence = sampler.write_request(image, *edit, dice, random, "test")
            queries.append(Query(image, edit[0], sentence, tuple(edit[1])))
    return queries


def find_right_answers(shop: Shop, query: Query, images: np.ndarray) -> np.ndarray:
    """(images,) bool: which have what the query asks for, and the reference's kind, gender and colour otherwise."""
    right: np.ndarray = shop.products[images] != shop.products[query.reference]
    for name in {*(name for name in MAIN if name in shop.codes), *query.changed}:
        right &= shop.codes[name][images] == shop.codes[name][query.target]
    return right


def _count(shop: Shop) -> list[str]:
    """The attributes that make an answer of a test right."""
    return [name for name in MAIN if name in shop.codes] or list(shop.codes)


def _folders(shop: Shop) -> list[str]:
    """The folders of images, that with most of them first."""
    return [folder for folder, _ in Counter(shop.folders).most_common()]


def _testing(path: Path, shop: Shop, sampler: Sampler) -> Split:
    main = _count(shop)
    queries = [
        query
        for query in draw_queries(shop, sampler)
        if set(query.changed) <= set(main) and shop.folders[query.reference] == shop.folders[query.target]
    ]
    if not queries:
        raise DataError(
            f"{str(path)!r}: no two of {len(shop.attributes):,} test products differ only in {', '.join(main)}; "
            "there is nothing to measure"
        )
    folders = np.array(shop.folders)
    kinds = [kind_of_change(query.changed) for query in queries]
    triplets = _table("test", shop, main, [query[:3] for query in queries], kinds)
    sizes = _folders(shop)
    protocols = []
    for folder in sizes:
        rows = np.flatnonzero(folders[triplets.references] == folder)
        if not len(rows):
            continue
        name = "products" if folder == sizes[0] else f"products/{folder}"
        about = (
            f"{path.name}; gallery = the test images" + (f" in {folder!r}" if len(sizes) > 1 else "") + "; an image "
            f"counts if {', '.join(main)} are right; the reference is removed; wording that training does not use"
        )
        protocols.append(Protocol(name, about, (Task("", rows, np.flatnonzero(folders == folder)),)))
    return Split.of(triplets, *protocols)


@register("products")
class Products(Dataset):
    """A shop's table of products."""

    title = "a table of products"
    splits = SPLITS
    preset = "products"
    example = "the same in red with long sleeves"
    has_user = True
    limit = (
        "Trained on photographs of a shop's products and on sentences made from its table: it knows the kinds, colours "
        "and details that the table names, and answers for other things by their looks alone."
    )

    def read(self, root: Path, split: str) -> Split:
        """Read one split of a table of products.

        - train: a row for each image, whose target and sentence are an example; each batch draws its own, see
          `Sampler`.
        - test: up to two queries for each image, in wording that training does not use. The protocol `products` asks
          for changes of kind, gender and colour among all images of the most common folder; any image of which all
          three are right counts. Where there are several folders of images (sizes), each has a protocol of its own.

        Args:
            root: the table, or the folder that holds it.
            split: train or test.

        Raises:
            DataError: there is no table, it is damaged, has no usable attributes, no images, or no two products differ.
        """
        path = find_table(root)
        shop = read_shop(path, split)
        sampler = Sampler(shop)
        if split == "train":
            return Split(self.with_conversations(_training(path, shop, sampler)))
        return _testing(path, shop, sampler)

    def counts(self, root: Path, split: str) -> dict[str, int]:
        """See `Dataset`."""
        shop = read_shop(find_table(root), split)
        return {"products": len(shop.attributes), "images": len(shop.names)}

    def notes(self, root: Path, split: str) -> list[Finding]:
        """See `Dataset`: which columns are attributes, with the number of their values, and why others are not."""
        shop = read_shop(find_table(root), split)
        used = ", ".join(f"{name} ({len(set(codes.tolist()) - {-1}):,} values)" for name, codes in shop.codes.items())
        findings = [Finding("ok", split, "attributes", len(shop.codes), examples=(used,))]
        if shop.left_out:
            why = (_list(shop.left_out),)
            findings.append(Finding("note", split, "columns that are not used", len(shop.left_out), examples=why))
        return findings

    def user(self, split: str) -> ShopUser:
        """See `Dataset`. In the test the user speaks of what makes an answer right, in training of every attribute."""
        self.check_split(split)
        shop = read_shop(find_table(self.root), split)
        codes = shop.codes if split == "train" else {name: shop.codes[name] for name in _count(shop)}
        gallery = np.arange(len(shop.names))
        if split == "test":
            gallery = gallery[np.array(shop.folders) == _folders(shop)[0]]
        attributes = [shop.of(image) for image in range(len(shop.names))]
        return ShopUser(attributes, codes, _count(shop), labels_of(codes, list(codes)), gallery, wording=split)
