"""The shapes world on disk, in CSS's own layout.

images/css_train_000000.png …   the images
annotations.json                {"train": {"objects_img": …, "mods": …, "labels": …}, "test": …}, as in CSS's
                                annotation, but as JSON: CSS's own file runs code when it is opened
css_toy_dataset_novel2_small.dup.npy
                                with the layout `css` also that file, which other people's code trains on
shapes.json                     the configuration that made it
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from itma.data.datasets.css import ANNOTATION
from itma.data.datasets.pickled import write_pickled_npy
from itma.data.synthetic.generated import find_written_images, read_written
from itma.data.synthetic.shapes.config import SPLITS, THINGS, ShapesConfig
from itma.data.synthetic.shapes.scenes import POSITIONS, Change, Scene
from itma.data.triplets import Triplets
from itma.errors import DataError, FeedbackError, ItmaError

IMAGES, ANNOTATIONS, CONFIG = "images", "annotations.json", "shapes.json"

_CSS_SHAPE = {"cube": "rectangle", "sphere": "circle", "cylinder": "triangle"}

Modification = TypedDict("Modification", {"from": list[int], "to": list[int], "from_str": str, "to_str": str})
"""A sentence (`to_str`) and the images it leads from and to; CSS keeps an empty `from_str` beside it."""


class Annotation(TypedDict):
    """One split, with the keys of CSS's annotation."""

    objects_img: list[list[dict[str, Any]]]
    mods: list[Modification]
    labels: list[int]


def css_objects(scene: Scene) -> list[dict[str, Any]]:
    """A scene in CSS's words: shapes by their outline seen from above, `pos` as (row, column) from 0 to 1.

    >>> from itma.data.synthetic.shapes.scenes import Thing
    >>> css_objects((Thing("cube", "red", "small", "middle-left"),))
    [{'shape': 'rectangle', 'color': 'red', 'size': 'small', 'pos': [0.5, 0.16666666666666666]}]
    """
    objects = []
    for thing in scene:
        position = [(1 / 6, 3 / 6, 5 / 6)[place] for place in divmod(POSITIONS.index(thing.position), 3)]
        outline = _CSS_SHAPE[thing.shape]
        objects.append({"shape": outline, "color": thing.colour, "size": thing.size, "pos": position})
    return objects


def describe(draft: Path, config: ShapesConfig, annotations: dict[str, Annotation], layout: str | None) -> None:
    """Write all but the images into a folder; see `World.write`."""
    (draft / CONFIG).write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")
    (draft / ANNOTATIONS).write_text(json.dumps(annotations, separators=(",", ":")) + "\n", encoding="utf-8")
    if layout == "css":
        write_pickled_npy(draft / ANNOTATION, annotations)


def read(folder: str | Path) -> dict[str, Triplets]:
    """What `World.write` wrote: split → triplets, whose images are decoded when they are asked for.

    Raises:
        DataError: the folder is not a written shapes world, or something in it is missing or damaged.
    """
    folder = Path(folder)
    config = read_config(folder)
    plain = read_written(folder, ANNOTATIONS, "shapes", "shapes world")
    return {split: _triplets(folder, split, plain, config) for split in SPLITS}


def read_config(folder: str | Path) -> ShapesConfig:
    """The configuration that made a written world.

    Raises:
        DataError: see `read`.
    """
    folder = Path(folder)
    plain = read_written(folder, CONFIG, "shapes", "shapes world")
    try:
        objects = tuple(plain["objects"])
        _whole_numbers([*objects, *(value for name, value in plain.items() if name != "objects")])
        return ShapesConfig(**{**plain, "objects": objects})
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, ItmaError) as error:
        raise DataError(f"{str(folder / CONFIG)!r} is damaged: {error!r}") from error


def _whole_numbers(values: list[int]) -> np.ndarray:
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise TypeError("expected a list of whole numbers")  # numpy would cut 0.7 to 0 and read "3" as 3
    return np.array(values, dtype=np.int64)


def _triplets(folder: Path, split: str, plain: Any, config: ShapesConfig) -> Triplets:
    file = str(folder / ANNOTATIONS)
    try:
        annotation: Annotation = plain[split]
        rows = [
            (source, target, mod["to_str"])
            for mod in annotation["mods"]
            for source, target in zip(mod["from"], mod["to"], strict=True)
        ]
        kinds = [Change.parse(sentence).kind for _, _, sentence in rows]
        labels = _whole_numbers(annotation["labels"])
        _whole_numbers([end for *ends, _ in rows for end in ends])
        things = [str(len(annotation["objects_img"][source])) for source, _, _ in rows]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError, FeedbackError) as error:
        raise DataError(f"{file!r} is damaged in {split!r}: {error!r}") from error
    for what, count, expected in (
        ("labels", len(labels), config.images(split)),
        ("queries", len(rows), config.scenes(split) * config.changes),
    ):
        if count != expected:
            raise DataError(f"{file!r} has {count:,} {what} in {split!r}; {CONFIG} says {expected:,}")
    names = [f"css_{split}_{index:06d}.png" for index in range(len(labels))]
    images = find_written_images(folder / IMAGES, names, names)
    try:
        return Triplets.of(f"shapes/{split}", images, rows, labels, kinds=kinds, groups={THINGS: things})
    except DataError as error:
        raise DataError(f"{file!r} is damaged: {error}") from error
