"""What the demo searches: a world's images on disk, and questions to them whose right answers are known."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from itma.data.datasets import DataConfig
from itma.data.datasets.generated import wardrobe_config
from itma.data.images import Preprocess, open_image, to_image, to_pixels
from itma.data.synthetic import wardrobe
from itma.data.synthetic.wardrobe.products import Product
from itma.data.triplets import Triplets
from itma.demo.story import ImageHit, Question
from itma.io import new_folder
from itma.progress import bar
from itma.records import Hit
from itma.retrieval.catalogue import Catalogue

HITS = 5
"""Hits shown for each query."""
_PIXELS = 224
"""Height and width of a product's image, larger than a model sees, for people."""


@dataclass(frozen=True)
class Gallery:
    """Images that can be indexed, and what is asked of them."""

    source: Path
    """A folder of images, or a table of items; see `itma.index`."""
    example: tuple[Path, str]
    """An image and a sentence to begin with."""
    ask: Callable[[Catalogue], list[Question]]


def of_shapes(
    triplets: Triplets, size: Preprocess, folder: Path, rows: Sequence[int], *, progress: bool = False
) -> Gallery:
    """The images of a test split; asked are an image and a sentence, and each alone.

    Args:
        triplets: the split.
        size: what images are fitted to.
        folder: where they go; must not exist.
        rows: queries that may be asked; the first is.
    """
    names = triplets.images.names
    with new_folder(folder) as draft, bar("writing the gallery", show=progress, total=len(names)) as meter:
        for image, name in enumerate(names):
            pixels = triplets.images.load([image], size)[0]
            to_image(pixels).save(draft / name)
            meter.update()
    row = rows[0] if rows else 0
    path, sentence = folder / names[triplets.references[row]], triplets.feedback[row]
    label = triplets.labels[triplets.targets[row]]
    right = {names[image] for image in np.flatnonzero(triplets.labels == label).tolist()}

    def ask(catalogue: Catalogue) -> list[Question]:
        reference = to_pixels(open_image(path))

        def make_question(title: str, image: Path | None, text: str | None) -> Question:
            hits, whole = catalogue.search(image=image, text=text, k=HITS), image is not None and text is not None
            answers = [ImageHit(to_pixels(open_image(hit.path)), hit.score, whole and hit.id in right) for hit in hits]
            return Question(title, None if image is None else reference, text, answers)

        return [
            make_question("An image and a sentence", path, sentence),
            make_question("The image alone: what is like it?", path, None),
            make_question("The sentence alone: what does it speak of?", None, sentence),
        ]

    return Gallery(folder, (path, "remove red object"), ask)


_TRIMS = {"belt": "a belt", "lace": "lace", "ruffles": "ruffles", "contrast": "contrast trim"}
_PATTERNS = {"checks": "checked", "dots": "dotted", "floral": "floral", "horizontal stripes": "striped"}
_PLURAL = ("trousers", "shorts")
"""Categories that a sentence cannot speak of as "a …"."""

Wishes = Mapping[str, str]
"""Attribute → value that an answer must have."""


def _conversation(products: Sequence[Product]) -> tuple[Wishes, list[tuple[str, Wishes]]]:
    """What to begin with, and three sentences with what an answer must have after each: what the shop has most of.

    A conversation about something that the shop lacks would only show which wrong products are the nearest.
    """
    longs = [one for one in products if one.fits({"sleeves": "long"}) and one.category not in _PLURAL]
    trimmed = ((one.category, one.colour, str(one.trim)) for one in longs if one.trim in _TRIMS)
    category, colour, trim = _most_frequent(trimmed, ("dress", "navy", "belt"))
    steps: list[tuple[str, Wishes]] = [
        (f"the same in {colour}", {"category": category, "colour": colour}),
        ("with long sleeves", {"category": category, "colour": colour, "sleeves": "long"}),
        (f"and with {_TRIMS[trim]}", {"category": category, "colour": colour, "sleeves": "long", "trim": trim}),
    ]
    return {"category": category, "colour": "red" if colour != "red" else "green", "sleeves": "short"}, steps


def _most_frequent(values: Iterable[tuple[str, ...]], otherwise: tuple[str, ...]) -> tuple[str, ...]:
    counts = Counter(values)
    return max(counts, key=lambda which: (counts[which], which), default=otherwise)


def _sentence(products: Sequence[Product]) -> tuple[str, Wishes]:
    """A sentence that speaks of what the shop has most of, and what an answer must have."""
    patterned = (one for one in products if one.pattern in _PATTERNS and one.category not in _PLURAL)
    values = ((one.category, one.colour, one.pattern) for one in patterned)
    category, colour, pattern = _most_frequent(values, ("shirt", "red", "checks"))
    article = "an" if colour[0] in "aeiou" else "a"
    wishes = {"category": category, "colour": colour, "pattern": pattern}
    return f"{article} {colour} {_PATTERNS[pattern]} {category}", wishes


def of_wardrobe(size: str, seed: int, folder: Path, *, progress: bool = False) -> Gallery:
    """The shop of a wardrobe world with its table of products; asked is a conversation of three steps.

    Args:
        size: of the world, which decides how many products its shop has.
        seed: of the world.
        folder: where the shop goes; must not exist.
    """
    config = wardrobe_config(DataConfig("wardrobe", size=size, seed=seed))
    world = wardrobe.World(replace(config, height=_PIXELS, width=_PIXELS))
    world.write(folder, layout=wardrobe.SHOP, progress=progress)
    split = world.split(wardrobe.SHOP)
    products = dict(zip(split.names, split.products, strict=True))

    first, steps = _conversation(split.products)
    start = max(products, key=lambda name: sum(products[name].fits({key: value}) for key, value in first.items()))
    sentence, sentence_wishes = _sentence(split.products)

    def show(hits: Sequence[Hit], wishes: Wishes) -> list[ImageHit]:
        return [ImageHit(_image(folder, hit.id), hit.score, products[hit.id].fits(wishes)) for hit in hits]

    def fitting(wishes: Wishes) -> str:
        count = sum(product.fits(wishes) for product in products.values())
        return f"{count or 'none'} of the shop's {len(products):,} products {'fits' if count == 1 else 'fit'}"

    def ask(catalogue: Catalogue) -> list[Question]:
        questions: list[Question] = []
        reference, references, earlier = start, list[str](), list[str]()
        category = first["category"]
        for number, (text, wishes) in enumerate(steps, 1):
            references.append(reference)
            # the category is a condition: a model alone does not keep it in a shop that lacks the very thing
            hits = catalogue.search(
                id=reference, text=text, earlier=earlier, k=HITS, exclude=references, where={"category": category}
            )
            earlier.append(text)
            title = f"Step {number} of a conversation, among what is a {category}: {fitting(wishes)}"
            questions.append(Question(title, _image(folder, reference), text, show(hits, wishes)))
            reference = hits[0].id if hits else reference
        answers = show(catalogue.search(text=sentence, k=HITS), sentence_wishes)
        return [*questions, Question(f"A sentence alone: {fitting(sentence_wishes)}", None, sentence, answers)]

    return Gallery(folder / "products.csv", (folder / "images" / f"{start}.jpg", steps[0][0]), ask)


def _image(folder: Path, name: str) -> torch.Tensor:
    image = open_image(folder / "images" / f"{name}.jpg")
    return to_pixels(image.resize((112, 112), Image.Resampling.LANCZOS))
