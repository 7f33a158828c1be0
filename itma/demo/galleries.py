"""What the demo searches: a world's pictures on disk, and questions to them whose right answers are known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from itma.data.datasets import DataConfig
from itma.data.datasets.generated import wardrobe_config
from itma.data.images import Preprocess, open_picture, to_pixels
from itma.data.triplets import Triplets
from itma.data.worlds import wardrobe
from itma.data.worlds.wardrobe.products import Product
from itma.demo.story import Asked, Shown
from itma.files import new_folder
from itma.progress import bar
from itma.search.catalogue import Catalogue

SHOWN = 5
"""Hits shown for each query."""
_PIXELS = 224
"""Height and width of a product's picture, larger than a model sees, for people."""


@dataclass(frozen=True)
class Gallery:
    """Pictures that can be indexed, and what is asked of them."""

    source: Path
    """A folder of pictures, or a table of items; see `itma.index`."""
    example: tuple[Path, str]
    """A picture and a sentence to begin with."""
    ask: Callable[[Catalogue], list[Asked]]


def of_shapes(
    triplets: Triplets, size: Preprocess, folder: Path, rows: Sequence[int], *, progress: bool = False
) -> Gallery:
    """The pictures of a test split; asked are a picture and a sentence, and each alone.

    Args:
        triplets: the split.
        size: what pictures are fitted to.
        folder: where they go; must not exist.
        rows: queries that may be asked; the first is.
    """
    write_gallery(triplets, size, folder, progress=progress)
    row = rows[0] if rows else 0
    name = triplets.pictures.names[triplets.references[row]]
    path = folder / (name if name.endswith(".png") else f"{name}.png")
    sentence = triplets.feedback[row]
    label = triplets.labels[triplets.targets[row]]
    right = {
        f"{Path(triplets.pictures.names[index]).stem}.png"
        for index in np.flatnonzero(triplets.labels == label).tolist()
    }

    def ask(catalogue: Catalogue) -> list[Asked]:
        reference = to_pixels(open_picture(path))

        def asked(title: str, image: Path | None, text: str | None) -> Asked:
            hits = catalogue.search(image=image, text=text, k=SHOWN)
            answers = [
                Shown(
                    to_pixels(open_picture(hit.path)),
                    hit.score,
                    image is not None and text is not None and hit.id in right,
                )
                for hit in hits
            ]
            return Asked(title, None if image is None else reference, text, answers)

        return [
            asked("A picture and a sentence", path, sentence),
            asked("The picture alone: what is like it?", path, None),
            asked("The sentence alone: what does it speak of?", None, sentence),
        ]

    return Gallery(folder, (path, "remove red object"), ask)


_STEPS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("the same in navy", {"colour": "navy"}),
    ("with long sleeves", {"colour": "navy", "sleeves": "long"}),
    ("and with a belt", {"colour": "navy", "sleeves": "long", "trim": "belt"}),
)
"""A conversation: what is said, and what the answer must have by then. It begins at a short-sleeved red dress, and the
category is a condition: a model alone does not keep it in a shop that lacks the very thing."""
_ALONE = "a green checked shirt"


def of_wardrobe(size: str, seed: int, folder: Path, *, progress: bool = False) -> Gallery:
    """The shop of a wardrobe world with its table of products; asked is a conversation of three steps.

    Args:
        size: of the world, which decides how many products its shop has.
        seed: of the world.
        folder: where the shop goes; must not exist.
    """
    config = wardrobe_config(DataConfig("wardrobe", size=size, seed=seed))
    world = wardrobe.World(replace(config, height=_PIXELS, width=_PIXELS))
    world.write_shop(folder, progress=progress)
    split = world.split(wardrobe.SHOP)
    products = dict(zip(split.names, split.products, strict=True))

    def nearness(name: str) -> int:
        return sum(
            products[name].fits({attribute: value})
            for attribute, value in {"category": "dress", "colour": "red", "sleeves": "short"}.items()
        )

    start = max(products, key=nearness)

    def ask(catalogue: Catalogue) -> list[Asked]:
        asked, reference, seen, category = [], start, [], products[start].category
        said: list[str] = []
        for number, (text, wanted) in enumerate(_STEPS, 1):
            seen.append(reference)
            found = catalogue.search(
                id=reference, text=text, earlier=said, k=SHOWN, exclude=seen, where={"category": category}
            )
            said.append(text)
            shown = [
                Shown(_picture(folder, hit.id), hit.score, _right(products, start, hit.id, wanted)) for hit in found
            ]
            asked.append(
                Asked(
                    f"Step {number} of a conversation, among what is a {category}",
                    _picture(folder, reference),
                    text,
                    shown,
                )
            )
            reference = found[0].id
        alone = catalogue.search(text=_ALONE, k=SHOWN)
        wanted = {"category": "shirt", "colour": "green", "pattern": "checks"}
        answers = [Shown(_picture(folder, hit.id), hit.score, products[hit.id].fits(wanted)) for hit in alone]
        return [*asked, Asked("A sentence alone", None, _ALONE, answers)]

    return Gallery(folder / "products.csv", (folder / "images" / f"{start}.jpg", "the same in green"), ask)


def _right(products: Mapping[str, Product], start: str, name: str, wanted: Mapping[str, str]) -> bool:
    return products[name].fits({"category": products[start].category, **wanted})


def _picture(folder: Path, name: str) -> torch.Tensor:
    image = open_picture(folder / "images" / f"{name}.jpg")
    return to_pixels(image.resize((112, 112), Image.Resampling.LANCZOS))


def write_gallery(triplets: Triplets, size: Preprocess, folder: Path, *, progress: bool) -> None:
    """Write a split's pictures as PNG files, for the catalogue and for a person to point at."""
    with new_folder(folder) as draft, bar("writing the gallery", show=progress, total=len(triplets.labels)) as meter:
        for first in range(0, len(triplets.labels), 100):
            rows = range(first, min(first + 100, len(triplets.labels)))
            for row, pixels in zip(rows, triplets.pictures.load(list(rows), size), strict=True):
                name = triplets.pictures.names[row]
                path = draft / (name if name.endswith(".png") else f"{name}.png")
                Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
                meter.update()
