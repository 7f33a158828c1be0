"""The shapes world on disk, in CSS's own layout.

images/css_train_000000.png …   the images
annotations.json                {"train": {"objects_img": …, "mods": …, "labels": …}, "test": …}, as in CSS's
                                annotation, but as JSON: CSS's own file runs code when it is opened
css_toy_dataset_novel2_small.dup.npy
                                with the layout `css` also that file, which other people's code trains on
shapes.json                     the configuration that made it
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itma.data.datasets.css import ANNOTATION
from itma.data.datasets.pickled import write_pickled_npy
from itma.data.synthetic.generated import WorldSplit, find_written_images, naming_damage, read_written
from itma.data.synthetic.shapes.config import SPLITS, THINGS, ShapesConfig
from itma.data.synthetic.shapes.scenes import POSITIONS, Change, Scene
from itma.data.triplets import Triplets
from itma.errors import DataError

IMAGES, ANNOTATIONS, CONFIG = "images", "annotations.json", "shapes.json"

_CSS_SHAPE = {"cube": "rectangle", "sphere": "circle", "cylinder": "triangle"}


@dataclass(frozen=True)
class ShapesSplit(WorldSplit):
    """Scenes and queries of one split; the queries that share a sentence stand next to one another."""

    scenes: tuple[Scene, ...]
    """One for each image: a base scene, then what its changes make of it, then the next base scene."""
    feedback: tuple[str, ...]
    """(queries) Sentences."""
    things: np.ndarray
    """(queries,) int64: index of the thing that each query concerns: of the thing to be removed or altered in the
    reference scene, of the thing to be added in the target scene. An altered thing has this index in both."""
    modifications: np.ndarray
    """(queries,) int64: queries of one number share one sentence."""

    def __str__(self) -> str:
        return f"shapes/{self.name}: {len(self.scenes):,} images, {len(self.feedback):,} queries"

    def texts(self) -> tuple[list[Any], ...]:
        """See `WorldSplit`."""
        return [list(map(str, scene)) for scene in self.scenes], list(self.feedback)


def css_objects(scene: Scene) -> list[dict[str, Any]]:
    """A scene in CSS's words: shapes by their outline seen from above, `pos` as (row, column) from 0 to 1.

    >>> from itma.data.synthetic.shapes.scenes import Thing
    >>> css_objects((Thing("cube", "red", "small", "middle-left"),))
    [{'shape': 'rectangle', 'color': 'red', 'size': 'small', 'pos': [0.5, 0.16666666666666666]}]
    """
    objects = []
    for thing in scene:
        position = [(1 / 6, 3 / 6, 5 / 6)[index] for index in divmod(POSITIONS.index(thing.position), 3)]
        outline = _CSS_SHAPE[thing.shape]
        objects.append({"shape": outline, "color": thing.colour, "size": thing.size, "pos": position})
    return objects


def _annotation(split: ShapesSplit) -> dict[str, list[Any]]:
    """One split, with the keys of CSS's annotation; CSS keeps an empty `from_str` beside each sentence."""
    mods: list[dict[str, Any]] = []
    for (reference, target), sentence, number in zip(
        split.pairs, split.feedback, split.modifications.tolist(), strict=True
    ):
        if number == len(mods):
            mods.append({"from": [], "to": [], "from_str": "", "to_str": sentence})
        mods[number]["from"].append(reference)
        mods[number]["to"].append(target)
    objects = [css_objects(scene) for scene in split.scenes]
    return {"objects_img": objects, "mods": mods, "labels": split.labels.tolist()}


def describe(draft: Path, config: ShapesConfig, splits: Sequence[ShapesSplit], layout: str | None) -> None:
    """Write all but the images into a folder; see `World`."""
    annotations = {split.name: _annotation(split) for split in splits}
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
    with naming_damage(folder / CONFIG):
        objects = tuple(plain["objects"])
        _whole_numbers([*objects, *(value for name, value in plain.items() if name != "objects")])
        return ShapesConfig(**{**plain, "objects": objects})


def _whole_numbers(values: list[int]) -> np.ndarray:
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise TypeError("expected a list of whole numbers")  # numpy would cut 0.7 to 0 and read "3" as 3
    return np.array(values, dtype=np.int64)


def _triplets(folder: Path, split: str, plain: Any, config: ShapesConfig) -> Triplets:
    file = str(folder / ANNOTATIONS)
    with naming_damage(folder / ANNOTATIONS, f" in {split!r}"):
        annotation = plain[split]
        rows = [
            (source, target, mod["to_str"])
            for mod in annotation["mods"]
            for source, target in zip(mod["from"], mod["to"], strict=True)
        ]
        kinds = [Change.parse(sentence).kind for _, _, sentence in rows]
        labels = _whole_numbers(annotation["labels"])
        _whole_numbers([end for *ends, _ in rows for end in ends])
        things = [str(len(annotation["objects_img"][source])) for source, _, _ in rows]
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
