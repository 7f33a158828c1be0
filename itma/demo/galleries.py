"""What the demo searches: a world's images on disk, and questions to them whose right answers are known."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from itma.data.datasets import DataConfig
from itma.data.datasets.generated import wardrobe_config
from itma.data.images import Preprocess, open_image, to_pixels
from itma.data.synthetic import wardrobe
from itma.data.synthetic.wardrobe.products import Product
from itma.data.triplets import Triplets
from itma.demo.story import Question, Shown
from itma.io import new_folder
from itma.progress import bar
from itma.records import Hit
from itma.retrieval.catalogue import Catalogue

SHOWN = 5
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
    write_gallery(triplets, size, folder, progress=progress)
    row = rows[0] if rows else 0
    name = triplets.images.names[triplets.references[row]]
    path = folder / (name if name.endswith(".png") else f"{name}.png")
    sentence = triplets.feedback[row]
    label = triplets.labels[triplets.targets[row]]
    right = {
        f"{Path(triplets.images.names[index]).stem}.png" for index in np.flatnonzero(triplets.labels == label).tolist()
    }

    def ask(catalogue: Catalogue) -> list[Question]:
        reference = to_pixels(open_image(path))

        def make_question(title: str, image: Path | None, text: str | None) -> Question:
            hits, whole = catalogue.search(image=image, text=text, k=SHOWN), image is not None and text is not None
            answers = [Shown(to_pixels(open_image(hit.path)), hit.score, whole and hit.id in right) for hit in hits]
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

Wanted = Mapping[str, str]
"""Attribute → value that an answer must have."""


def _conversation(products: Sequence[Product]) -> tuple[Wanted, list[tuple[str, Wanted]]]:
    """What to begin with, and three sentences with what an answer must have after each: what the shop has most of.

    A conversation about something that the shop lacks would only show which wrong products are the nearest.
    """
    longs = [one for one in products if one.fits({"sleeves": "long"}) and one.category not in _PLURAL]
    counts = Counter((one.category, one.colour, one.trim) for one in longs if one.trim in _TRIMS)
    category, colour, trim = max(counts, key=lambda which: (counts[which], which), default=("dress", "navy", "belt"))
    wanted: list[tuple[str, Wanted]] = [
        (f"the same in {colour}", {"category": category, "colour": colour}),
        ("with long sleeves", {"category": category, "colour": colour, "sleeves": "long"}),
        (f"and with {_TRIMS[trim]}", {"category": category, "colour": colour, "sleeves": "long", "trim": trim}),
    ]
    return {"category": category, "colour": "red" if colour != "red" else "green", "sleeves": "short"}, wanted


def _sentence(products: Sequence[Product]) -> tuple[str, Wanted]:
    """A sentence that speaks of what the shop has most of, and what an answer must have."""
    counts = Counter(
        (one.category, one.colour, one.pattern)
        for one in products
        if one.pattern in _PATTERNS and one.category not in _PLURAL
    )
    category, colour, pattern = max(
        counts, key=lambda which: (counts[which], which), default=("shirt", "red", "checks")
    )
    article = "an" if colour[0] in "aeiou" else "a"
    wanted = {"category": category, "colour": colour, "pattern": pattern}
    return f"{article} {colour} {_PATTERNS[pattern]} {category}", wanted


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
    sentence, wanted = _sentence(split.products)

    def show(hits: Sequence[Hit], wanted: Wanted) -> list[Shown]:
        return [Shown(_image(folder, hit.id), hit.score, products[hit.id].fits(wanted)) for hit in hits]

    def fitting(wanted: Wanted) -> str:
        count = sum(product.fits(wanted) for product in products.values())
        return f"{count or 'none'} of the shop's {len(products):,} products {'fits' if count == 1 else 'fit'}"

    def ask(catalogue: Catalogue) -> list[Question]:
        questions: list[Question] = []
        reference, references, said = start, list[str](), list[str]()
        category = first["category"]
        for number, (text, needed) in enumerate(steps, 1):
            references.append(reference)
            # the category is a condition: a model alone does not keep it in a shop that lacks the very thing
            hits = catalogue.search(
                id=reference, text=text, earlier=said, k=SHOWN, exclude=references, where={"category": category}
            )
            said.append(text)
            title = f"Step {number} of a conversation, among what is a {category}: {fitting(needed)}"
            questions.append(Question(title, _image(folder, reference), text, show(hits, needed)))
            reference = hits[0].id if hits else reference
        alone = catalogue.search(text=sentence, k=SHOWN)
        return [*questions, Question(f"A sentence alone: {fitting(wanted)}", None, sentence, show(alone, wanted))]

    return Gallery(folder / "products.csv", (folder / "images" / f"{start}.jpg", steps[0][0]), ask)


def _image(folder: Path, name: str) -> torch.Tensor:
    image = open_image(folder / "images" / f"{name}.jpg")
    return to_pixels(image.resize((112, 112), Image.Resampling.LANCZOS))


def write_gallery(triplets: Triplets, size: Preprocess, folder: Path, *, progress: bool) -> None:
    """Write a split's images as PNG files, for the catalogue and for a person to point at."""
    with new_folder(folder) as draft, bar("writing the gallery", show=progress, total=len(triplets.labels)) as meter:
        for first in range(0, len(triplets.labels), 100):
            rows = range(first, min(first + 100, len(triplets.labels)))
            for row, pixels in zip(rows, triplets.images.load(list(rows), size), strict=True):
                name = triplets.images.names[row]
                path = draft / (name if name.endswith(".png") else f"{name}.png")
                Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
                meter.update()
