"""CSS (Vo et al. 2019, arXiv:1812.07119): scenes of coloured things, as rendered images and as flat drawings.

Expected under the root, as published:

css_toy_dataset_novel2_small.dup.npy   scenes, labels and modifications of both splits: a Python 2 pickle
images/css_<split>_000000.png …        the rendered images

The flat drawings come with no files: TIRG's code draws them from the scenes, and so does `draw`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypedDict

import numpy as np
import torch

from itma.data.datasets.base import Dataset, register
from itma.data.datasets.pickled import PickledArray, read_pickled_npy
from itma.data.datasets.reading import check_root
from itma.data.images import FileImages, Preprocess, load_each
from itma.data.triplets import Protocol, Split, Task, Triplets
from itma.errors import DataError

ANNOTATION, IMAGES = "css_toy_dataset_novel2_small.dup.npy", "images"

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "gray": (87, 87, 87),
    "red": (244, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 205, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
"""Red, green and blue of each colour in the drawings."""
SHAPES = ("rectangle", "circle", "triangle")
SIZES: Mapping[str, int] = {"small": 4, "large": 8}
"""Half the side of a thing in the drawings, in pixels."""
DRAWING = 64
"""Height and width of a drawing in pixels."""

_WAY_OUT = "get it again from the link in the README of https://github.com/google/tirg"


class Thing(NamedTuple):
    """One thing of a scene."""

    shape: str
    """Its outline in the drawings; rendered they are cube, sphere and cylinder."""
    colour: str
    size: str
    row: float
    """From 0 (top) to 1."""
    column: float
    """From 0 (left) to 1."""


Scene = tuple[Thing, ...]

Modification = TypedDict("Modification", {"from": list[int], "to": list[int], "to_str": str})


class _Annotation(NamedTuple):
    """One split of the annotation file, checked."""

    scenes: list[Scene]
    labels: np.ndarray
    modifications: list[Modification]


class SceneImages:
    """Rendered images from their files, followed by a drawing of each scene, made when it is asked for.

    Args:
        rendered: one for each scene.
        scenes: what they show.
    """

    def __init__(self, rendered: FileImages, scenes: Sequence[Scene]) -> None:
        self.rendered, self.scenes = rendered, scenes
        drawings = [f"{name.removesuffix('.png')}.2d" for name in rendered.names]
        self.names: Sequence[str] = [*rendered.names, *drawings]

    def missing(self) -> np.ndarray:
        """(images,) bool: which files are not there; drawings always are."""
        return np.concatenate([self.rendered.missing(), np.zeros(len(self.scenes), dtype=bool)])

    def load(self, indices: Sequence[int] | np.ndarray, preprocess: Preprocess) -> torch.Tensor:
        """See `itma.data.images.Images.load`.

        Raises:
            ImageError: the first image that cannot be read, by name.
        """

        def read(index: int) -> torch.Tensor:
            if index < len(self.scenes):
                return preprocess.read(self.rendered.paths[index])
            drawing = torch.from_numpy(draw(self.scenes[index - len(self.scenes)]))
            return preprocess.fit_pixels(drawing[None])[0]

        return load_each(read, indices, preprocess)


def draw(scene: Scene) -> np.ndarray:
    """A scene seen from above, on white: uint8 (3, 64, 64), to the pixel as TIRG's code draws it.

    What comes later in the scene covers what came before. A `circle` is drawn as a square standing on its corner.

    >>> draw((Thing("rectangle", "red", "small", 0.5, 0.5),))[:, 32, 32].tolist()
    [244, 35, 35]
    """
    image = np.full((3, DRAWING, DRAWING), 255, dtype=np.uint8)
    line, column = np.mgrid[:DRAWING, :DRAWING]
    for thing in scene:
        half, y, x = SIZES[thing.size], thing.row * DRAWING, thing.column * DRAWING
        # To the pixel means in this order: sums of thirds fall on either side of whole numbers.
        if thing.shape == "rectangle":
            left, right = np.array(x - half), np.array(x + half)
        elif thing.shape == "circle":
            left = x + (abs(line - y) - half)
            right = 2 * x - left
        else:
            right = x + (line - y + half) / 2
            left = 2 * x - right
            left, right = np.minimum(left, right), np.maximum(left, right)
        last = int(y + half) - (thing.shape != "circle")
        inside = (line >= int(y - half)) & (line <= last)
        inside &= (column >= np.trunc(left)) & (column < np.trunc(right))
        image[:, inside] = np.array(COLOURS[thing.colour], dtype=np.uint8)[:, None]
    return image


def _annotation(root: Path, split: str) -> _Annotation:
    """One split of the annotation file.

    Raises:
        DataError: see `Css.read`.
    """
    check_root(root, "CSS", (ANNOTATION,))
    path = root / ANNOTATION
    splits = read_pickled_npy(path, _WAY_OUT)
    plain, where = splits.get(split) if isinstance(splits, dict) else None, f"{str(path)!r}, {split}"
    try:
        if not isinstance(plain, dict):
            names = ", ".join(map(_short, list(splits)[:6])) if isinstance(splits, dict) else type(splits).__name__
            raise DataError(f"{str(path)!r}: expected {split!r} in it, found {names or 'nothing'}")
        things = enumerate(_list(plain.get("objects_img"), f"{where} objects_img"))
        scenes = [_scene(scene, f"{where} image {number:,}") for number, scene in things]
        modifications = [
            _modification(modification, len(scenes), f"{where} modification {number:,}")
            for number, modification in enumerate(_list(plain.get("mods"), f"{where} mods"))
        ]
        if not modifications:
            raise DataError(f"{str(path)!r} holds no modifications for {split}")
        # where the file names none, each image is its own
        labels = plain.get("labels", range(len(scenes)))
        return _Annotation(scenes, _labels(labels, len(scenes), f"{where} labels"), modifications)
    except DataError as error:
        raise DataError(f"{error}; {_WAY_OUT}") from error


def _scene(plain: Any, where: str) -> Scene:
    scene = []
    for thing in _list(plain, where):
        if not isinstance(thing, dict):
            raise DataError(f"{where}: a thing is {_short(thing)}; expected {{shape, color, size, pos}}")
        for key, choices in {"shape": SHAPES, "color": COLOURS, "size": SIZES}.items():
            value = thing.get(key)
            if not isinstance(value, str) or value not in choices:
                problem = f"the {key} of a thing is {_short(value)}; expected one of {', '.join(choices)}"
                raise DataError(f"{where}: {problem}")
        position = _list(thing.get("pos"), f"{where}, pos")
        if len(position) != 2 or not all(type(value) in (int, float) and 0 <= value <= 1 for value in position):
            raise DataError(
                f"{where}: the pos of a thing is {_short(thing['pos'])}; expected row and column, from 0 to 1 each"
            )
        scene.append(Thing(thing["shape"], thing["color"], thing["size"], *map(float, position)))
    return tuple(scene)


def _modification(plain: Any, images: int, where: str) -> Modification:
    if not isinstance(plain, dict) or not isinstance(plain.get("to_str"), str) or not plain["to_str"].strip():
        raise DataError(f"{where} is {_short(plain)}; expected {{from, to, to_str}} with a sentence")
    ends = {key: _list(plain.get(key), f"{where}, {key}") for key in ("from", "to")}
    for key, numbers in ends.items():
        for number in numbers:
            if type(number) is not int or not 0 <= number < images:
                raise DataError(f"{where}, {key}: {_short(number)} is no image; expected numbers below {images:,}")
    if len(ends["from"]) != len(ends["to"]):
        raise DataError(f"{where} leads from {len(ends['from'])} images to {len(ends['to'])}; expected as many")
    return {"from": ends["from"], "to": ends["to"], "to_str": plain["to_str"]}


def _labels(plain: Any, images: int, where: str) -> np.ndarray:
    labels = _list(plain, where)
    if len(labels) != images:
        raise DataError(f"{where}: {len(labels):,} for {images:,} images; expected one each")
    if labels and all(type(label) is str for label in labels):
        return np.unique(labels, return_inverse=True)[1].astype(np.int64)
    for label in labels:
        if type(label) is not int or abs(label) >= 2**62:
            raise DataError(f"{where}: {_short(label)} is no label; expected whole numbers, or texts")
    return np.array(labels, dtype=np.int64)


def _list(plain: Any, where: str) -> list[Any]:
    """A list, a tuple or an array of numbers as a list."""
    plain = plain.value if isinstance(plain, PickledArray) else plain
    if isinstance(plain, np.ndarray):
        return list(plain.reshape(-1).tolist())
    if not isinstance(plain, list | tuple | range):
        raise DataError(f"{where}: expected a list, found {_short(plain)}")
    return list(plain)


def _short(value: Any) -> str:
    """A value from the file for a message; what may be long or deep by its type."""
    if value is None:
        return "missing"
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, int | float) and abs(value) < 1e9:
        return repr(value)
    return f"of type {type(value).__name__}"


@register("css")
class Css(Dataset):
    """Scenes of coloured things, rendered and drawn (Vo et al. 2019)."""

    title = "CSS"
    preset = "itma-css"
    example = "make red cube blue"
    limit = "Trained on drawn scenes of simple solids: answers on photographs are poor."
    published: ClassVar = {
        "train": {"images": 19_012, "queries": 18_012, "modifications": 6_004},
        "test": {"images": 19_057, "queries": 18_057, "modifications": 6_019},
    }

    def read(self, root: Path, split: str) -> Split:
        """Read one split.

        Each modification leads from several images to as many others; each such pair is a row, modification by
        modification, as published. A label is the file's own: images of one label show the same scene. The kind of a
        row is the first word of its feedback, e.g. `add`.

        - train: rendered images. The published rule takes a pair of a random modification and then another modification
          of the same reference; the table of all pairs is enough for that, since a `itma.data.batching.Plan` with
          `per_reference=2` puts rows of one reference side by side. There every pair comes once in each pass.
        - test: rendered images, then a drawing of each. The protocols are `css` (rendered references and galleries),
          `css/2d-to-3d` (a drawing is asked, rendered images are ranked), `css/3d-to-2d` and `css/2d-to-2d`.

        Args:
            root: the folder that holds `css_toy_dataset_novel2_small.dup.npy`.
            split: train or test.

        Raises:
            DataError: the root is another folder, or the annotation is missing, damaged, or tries to run code.
        """
        annotation = _annotation(root, split)
        names = [f"css_{split}_{index:06d}.png" for index in range(len(annotation.scenes))]
        rendered = FileImages(names, [root / IMAGES / name for name in names])
        pairs = [
            (source, target, modification["to_str"])
            for modification in annotation.modifications
            for source, target in zip(modification["from"], modification["to"], strict=True)
        ]
        kinds = [sentence.split()[0] for *_, sentence in pairs]
        triplets = Triplets.of(f"css/{split}", rendered, pairs, annotation.labels, kinds=kinds)
        if split == "train":
            return Split(triplets)
        images, rows, references = len(names), len(pairs), triplets.references
        ways = {
            "css": ("a rendered image", "rendered images"),
            "css/2d-to-3d": ("a drawing", "rendered images"),
            "css/3d-to-2d": ("a rendered image", "drawings"),
            "css/2d-to-2d": ("a drawing", "drawings"),
        }
        protocols, all_references, all_targets = [], [], []
        for number, (name, (reference, gallery)) in enumerate(ways.items()):
            drawings, first = images * (reference == "a drawing"), images * (gallery == "drawings")
            removed = "the reference" if drawings == first else "the reference's scene"
            counts = f"any with the target's label counts; {removed} is removed"
            about = f"{reference} is asked; gallery = all {gallery}; {counts}"
            task = Task("", np.arange(rows) + number * rows, np.arange(images) + first, references + first)
            protocols.append(Protocol(name, about, (task,)))
            all_references.append(references + drawings)
            all_targets.append(triplets.targets + first)
        triplets = replace(
            triplets,
            images=SceneImages(rendered, annotation.scenes),
            labels=np.tile(annotation.labels, 2),
            references=np.concatenate(all_references),
            targets=np.concatenate(all_targets),
            feedback=[*triplets.feedback] * len(ways),
            kinds=kinds * len(ways),
        )
        return Split.of(triplets, *protocols)

    def counts(self, root: Path, split: str) -> dict[str, int]:
        """See `Dataset`."""
        annotation = _annotation(root, split)
        return {
            "images": len(annotation.scenes),
            "queries": sum(len(modification["from"]) for modification in annotation.modifications),
            "modifications": len(annotation.modifications),
        }
