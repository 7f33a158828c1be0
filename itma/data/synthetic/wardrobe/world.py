"""The wardrobe world: products, queries and images as a function of a configuration."""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from itma.data.images import Images
from itma.data.synthetic.generated import Dice, Files, GeneratedWorld, number_alike
from itma.data.synthetic.wardrobe import disk, grammar
from itma.data.synthetic.wardrobe.config import SHOP, SPLITS, WardrobeConfig
from itma.data.synthetic.wardrobe.disk import WardrobeSplit
from itma.data.synthetic.wardrobe.look import Look
from itma.data.synthetic.wardrobe.products import ATTRIBUTES, Product, differences
from itma.data.synthetic.wardrobe.render import render
from itma.data.synthetic.wardrobe.sample import answerable, families, pairs
from itma.data.tokenizer import EARLIER
from itma.data.triplets import Protocol, Rows, Split, Task, Triplets, encode_aspect

_AT_ONCE = 64
"""Images that are drawn in one batch."""
_THREADS = 2
_REQUESTS = 0.6
"""Share of the training samples whose feedback is one request; the others are asked with two captions."""
_HURRIED = 0.1
"""Share of the training sentences in which little words are missing."""
CHANGES = "changes that are asked for"
"""How recalls are divided beside the kinds."""
_HELD_OUT = "that were kept from the training"


class World(GeneratedWorld[WardrobeConfig, WardrobeSplit]):
    """The wardrobe world of a configuration; products and sentences are made when first asked for.

    Its splits are `train`, `test` and `shop`; a query of the shop is asked as in training. It is written in FashionIQ's
    own layout, with a list of the products beside it, see `disk`; in the layout `fashion200k` in Fashion200k's instead:
    captions of the products, and the queries that change one attribute; in the layout `shop` the shop alone: `images/`,
    and `products.csv` for `itma index`.

    >>> from itma.data.synthetic.wardrobe.config import SIZES
    >>> world = World(SIZES["tiny"])
    >>> print(world.split("test"))
    wardrobe/test: 25 images, ... queries
    >>> world.render("test", [0, 5]).shape
    torch.Size([2, 3, 32, 32])

    Args:
        config: its size and seed; see `SIZES`.
    """

    splits = (*SPLITS, SHOP)
    saving: ClassVar[dict[str, object]] = {"format": "JPEG", "quality": 92, "subsampling": 0}

    def _make(self, name: str) -> WardrobeSplit:
        config = self.config
        products = families(config, name)
        queries = pairs(config, name, products)
        captions, requests = [], []
        for number, (reference, target) in enumerate(queries):
            dice = Dice(f"wardrobe/{config.seed}/{name}/words/{number}")
            one, other = products[reference], products[target]
            wording = "test" if name == "test" else "train"
            pair, request = grammar.captions(one, other, dice, wording), grammar.request(one, other, dice, wording)
            if name == "train":
                spoiled = [
                    grammar.mistaken(text, dice) if dice.random() < config.mistakes else text
                    for text in (*pair, request)
                ]
                pair, request = (spoiled[0], spoiled[1]), spoiled[2]
            captions.append(pair)
            requests.append(request)
        return WardrobeSplit(
            name=name,
            names=tuple(f"{name}_{index:06d}" for index in range(len(products))),
            labels=number_alike(products),
            references=np.array([one for one, _ in queries], dtype=np.int64),
            targets=np.array([other for _, other in queries], dtype=np.int64),
            kinds=tuple(grammar.kind(products[one], products[other]) for one, other in queries),
            products=tuple(products),
            captions=tuple(captions),
            requests=tuple(requests),
        )

    def look(self, split: str, index: int) -> Look:
        """The look of one image: a function of the seed, the split and the index alone."""
        return Look.draw(f"wardrobe/{self.config.seed}/{split}/look/{index}")

    def render(self, split: str, indices: Sequence[int] | np.ndarray) -> torch.Tensor:
        """Images of a split.

        Args:
            split: `train`, `test` or `shop`.
            indices: which images.

        Returns:
            (len(indices), 3, height, width) uint8; an image is the same whichever batch it is part of.

        Raises:
            UnknownNameError: there is no such split.
            DataError: there is no such image.
        """
        products, config = self.split(split).products, self.config
        chosen = [self._check_index(split, index) for index in indices]
        looks = [self.look(split, index) for index in chosen]
        return render([products[index] for index in chosen], looks, config.height, config.width)

    def triplets(self, split: str, *, progress: bool = False) -> Triplets:
        """The queries of a split with all its images, drawn into memory; see `table`.

        Raises:
            UnknownNameError: there is no such split.
        """
        return table(self.split(split), self.draw_images(split, progress=progress), self.config)

    def _files(self, layout: str | None) -> Files[WardrobeSplit]:
        if layout == SHOP:
            shop = [self.split(SHOP)]
            write_products = partial(disk.write_products, splits=shop, config=self.config)
            return Files(
                shop, lambda draft: write_products(draft / disk.PRODUCTS), lambda _, name: disk.image_path(name)
            )
        splits = [self.split(name) for name in SPLITS]
        if layout == "fashion200k":
            return Files(splits, partial(disk.describe_fashion200k, splits=splits), disk.fashion200k_path)
        splits.append(self.split(SHOP))
        return Files(splits, partial(disk.describe, config=self.config, splits=splits), disk.fashioniq_path)

    def _batches(self, split: str, device: str | torch.device) -> Iterator[tuple[int, torch.Tensor]]:
        images = len(self.split(split).products)
        starts = range(0, images, _AT_ONCE)
        batches = [range(start, min(start + _AT_ONCE, images)) for start in starts]
        with ThreadPoolExecutor(_THREADS) as pool:
            yield from zip(starts, pool.map(partial(self.render, split), batches), strict=True)


class Writing:
    """Fresh sentences for training samples: no two epochs say the same in the same words.

    Args:
        products: one for each image.
        config: how often something is misspelt, and how often something was said before.
    """

    def __init__(self, products: Sequence[Product], config: WardrobeConfig) -> None:
        self.products, self.config = products, config

    def __call__(self, triplets: Triplets, rows: np.ndarray, random: np.random.Generator) -> Rows:
        """See `itma.data.triplets.Draw`.

        Some rows become the last step of a conversation that began at another target of their reference, two or three
        sentences ago. Half of them start at that first image and have all changes before them; the others start at
        the row's own reference, which has all that was said before.
        """
        references, targets = triplets.references[rows].copy(), triplets.targets[rows]
        first, end = (np.searchsorted(triplets.references, references, side) for side in ("left", "right"))
        seeds = random.integers(2**62, size=len(rows)).tolist()
        feedback = []
        for index, seed in enumerate(seeds):
            dice = Dice(str(seed))
            path = [int(references[index]), int(targets[index])]
            if dice.random() < self.config.conversations:
                siblings = [one for one in triplets.targets[first[index] : end[index]].tolist() if one not in path]
                steps = 1 + (dice.random() < 0.3)
                for one in dice.shuffle(siblings)[:steps]:
                    if answerable(self.products[one], self.products[path[0]]):
                        path.insert(0, one)
                if dice.random() < 0.5:
                    references[index] = path[0]
            sentences = [
                self.sentence(self.products[one], self.products[other], dice, request=len(path) > 2)
                for one, other in itertools.pairwise(path)
            ]
            feedback.append(EARLIER.join(sentences))
        return Rows(references, targets, feedback)

    def sentence(self, one: Product, other: Product, dice: Dice, *, request: bool = False) -> str:
        """A request, or two captions in a row; now and then in a hurry, or with a spelling mistake."""
        if request or dice.random() < _REQUESTS:
            text = grammar.request(one, other, dice)
        else:
            text = " and ".join(grammar.captions(one, other, dice))
        if dice.random() < _HURRIED:
            text = grammar.hurry(text, dice)
        return grammar.mistaken(text, dice) if dice.random() < self.config.mistakes else text


def table(split: WardrobeSplit, images: Images, config: WardrobeConfig) -> Triplets:
    """A split as triplets over its images.

    In training each query is one row, whose sentence is written anew for every sample. Otherwise the rows stand there
    twice: first asked with the request, then with the two captions and "and" between them.
    """
    joined = [" and ".join(pair) for pair in split.captions]
    train = split.name == "train"
    times = 1 if train else 2
    mixed = [pair[number % 2] for number, pair in enumerate(zip(split.requests, joined, strict=True))]
    changes = [str(len(differences(split.products[one], split.products[other]))) for one, other in split.pairs]
    return Triplets(
        name=f"wardrobe/{split.name}",
        images=images,
        labels=split.labels,
        references=np.tile(split.references, times),
        targets=np.tile(split.targets, times),
        feedback=mixed if train else [*split.requests, *joined],
        kinds=list(split.kinds) * times,
        groups={CHANGES: changes * times},
        aspects={name: encode_aspect([getattr(one, name) for one in split.products]) for name in ATTRIBUTES},
        draw=Writing(split.products, config) if train else None,
    )


def add_protocols(triplets: Triplets, *, known: Sequence[str] | None = None) -> Split:
    """A split with its protocols: `wardrobe/requests` first, then `wardrobe/captions`.

    Args:
        triplets: what `table` made.
        known: (queries) the same requests in words of the training; a third protocol, `wardrobe/known-wording`, asks
            with them.
    """
    count = len(triplets) // 2
    rows = np.arange(len(triplets))
    what = (
        "gallery = all images of the split; any image of a product equal to the target counts; the reference is removed"
    )
    ways = {
        "requests": ("one request each", _HELD_OUT, rows[:count]),
        "captions": ("two captions each, joined by 'and'", _HELD_OUT, rows[count:]),
    }
    if known is not None:
        triplets = replace(
            triplets,
            references=np.append(triplets.references, triplets.references[:count]),
            targets=np.append(triplets.targets, triplets.targets[:count]),
            feedback=[*triplets.feedback, *known],
            kinds=[*triplets.kinds, *triplets.kinds[:count]],
            groups={},
        )
        ways["known-wording"] = ("one request each", "of the training", np.arange(2 * count, 3 * count))
    gallery = np.arange(len(triplets.labels))
    protocols = (
        Protocol(
            f"wardrobe/{name}",
            f"{what}; {how}, in forms and phrases {wording}; ties do not lower a rank",
            (Task("", chosen, gallery),),
        )
        for name, (how, wording, chosen) in ways.items()
    )
    return Split.of(triplets, *protocols)


def find_known_requests(split: WardrobeSplit, seed: int) -> list[str]:
    """The requests of a split in the forms and phrases of the training, without mistakes."""
    products, dice = split.products, f"wardrobe/{seed}/{split.name}/known"
    return [
        grammar.request(products[one], products[other], Dice(f"{dice}/{number}"))
        for number, (one, other) in enumerate(split.pairs)
    ]
