"""GeneCIS (Vaze et al. 2023, arXiv:2306.07969): four notions of likeness, each query with a small gallery of its own.

Expected under the root, as published: `genecis/<task>.json` (or in `annotations`, or in the root itself) of as many of
the four tasks as there are; for the tasks of objects COCO's `val2017/<12 digits>.jpg`, for those of attributes Visual
Genome's `VG_100K/<number>.jpg` and `VG_100K_2/<number>.jpg`, or both in `VG_100K_all`. There is no training split.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mode
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image

from itma.data.datasets.base import AnnotatedRow, Dataset, register
from itma.data.datasets.reading import JsonRow, check_root, read_rows, short, stem
from itma.data.images import FileImages, Preprocess, list_names, load_each, open_image, to_pixels
from itma.data.triplets import Protocol, Split, Task, Triplets, pad
from itma.data.validation.diagnosis import Finding, none_of
from itma.errors import DataError

log = logging.getLogger(__name__)

TASKS = ("focus_attribute", "change_attribute", "focus_object", "change_object")
KS = (1, 2, 3)
COCO = ("val2017", "coco/val2017", "coco2017/val2017", "images/val2017")
VISUAL_GENOME = ("VG_100K_all", "VG_100K", "VG_100K_2", "VG_All", "visual_genome", "Visual_Genome")
MARGIN = 0.7
"""How much a box is enlarged before its image is cut out, as a share of its sides."""

_HOMES = ("genecis", "annotations", ".")
_WAY_OUT = "get the published annotations again from https://github.com/facebookresearch/genecis"

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""


class _Image(NamedTuple):
    """An image of the annotation: a photograph, or a box of one."""

    number: int
    box: Box | None

    @property
    def name(self) -> str:
        """`000000000139.jpg` of COCO; `2317429.jpg[12,40,80,96]`, the box behind it, of Visual Genome."""
        if self.box is None:
            return f"{self.number:012d}.jpg"
        return f"{self.number}.jpg[{','.join(f'{value:g}' for value in self.box)}]"


class _Query(NamedTuple):
    """One row of a task's file."""

    task: str
    reference: _Image
    target: _Image
    gallery: list[_Image]
    condition: str

    @property
    def images(self) -> list[_Image]:
        """All that it speaks of."""
        return [self.reference, self.target, *self.gallery]


class CutImages:
    """Photographs, of some only a box, cut out as the published code does.

    Args:
        files: one for each image, several of which may be of one file.
        boxes: of each image its box. None: all of it.
    """

    def __init__(self, files: FileImages, boxes: Sequence[Box | None]) -> None:
        self.files, self.boxes = files, boxes
        self.names: Sequence[str] = files.names

    def missing(self) -> np.ndarray:
        """(images,) bool: of which the file is not there."""
        return self.files.missing()

    def load(self, indices: Sequence[int] | np.ndarray, preprocess: Preprocess) -> torch.Tensor:
        """See `itma.data.images.Images.load`.

        Raises:
            ImageError: the first image that cannot be read, by name.
        """

        def read(index: int) -> torch.Tensor:
            path, box = self.files.paths[index], self.boxes[index]
            if box is None:
                return preprocess.read(path)
            return preprocess.fit_pixels(to_pixels(cut(open_image(path), box))[None])[0]

        return load_each(read, indices, preprocess)


def cut(image: Image.Image, box: Box) -> Image.Image:
    """A box of a photograph, enlarged, on a black square, as the published code has it.

    The enlarged box begins `MARGIN` of its sides further left and up, and is 1 + `MARGIN` times as wide and high: at
    the right and below it grows only where there was no room at the other side.

    >>> cut(Image.new("RGB", (100, 60), "white"), (40, 20, 10, 20)).size
    (34, 34)

    Args:
        image: the photograph.
        box: some of it; what lies outside of the photograph is cut off.
    """
    x, y, width, height = box
    left, top = max(0.0, x - MARGIN * width), max(0.0, y - MARGIN * height)
    right, bottom = min(image.width, left + (1 + MARGIN) * width), min(image.height, top + (1 + MARGIN) * height)
    part = image.crop((round(left), round(top), max(round(right), round(left) + 1), max(round(bottom), round(top) + 1)))
    side = max(part.size)
    square = Image.new("RGB", (side, side))
    square.paste(part, ((side - part.width) // 2, (side - part.height) // 2))
    return square


def _sizes(tasks: Sequence[Task]) -> str:
    """How large the galleries are, in words."""
    sizes = {int(size) for task in tasks if task.candidates is not None for size in (task.candidates >= 0).sum(1)}
    return f"; a gallery has {' to '.join(map(str, sorted({min(sizes), max(sizes)})))} images"


def _queries(root: Path, tasks: Sequence[str] = ()) -> list[_Query]:
    """The rows of the tasks' files, task by task."""
    homes = [root / name for name in _HOMES]
    home = next((one for one in homes if any((one / f"{task}.json").is_file() for task in TASKS)), root)
    paths = {task: home / f"{task}.json" for task in TASKS}
    chosen = [task for task in TASKS if (task in tasks if tasks else paths[task].exists())]
    if not chosen:
        for path in (one / f"{task}.pkl" for one in homes for task in TASKS):
            if path.is_file():
                raise DataError(
                    f"{str(path)!r} is of an early release, a pickle that runs code when it is opened; expected "
                    f"{path.stem}.json; {_WAY_OUT}"
                )
        check_root(root, "GeneCIS", (f"genecis/{TASKS[0]}.json",))
    queries = [query for task in chosen for query in _rows(paths[task], task)]
    if not queries:
        raise DataError(f"{str(paths[chosen[0]])!r} holds no rows; {_WAY_OUT}")
    return queries


def _rows(path: Path, task: str) -> Iterator[_Query]:
    boxed = task.endswith("_attribute")
    for row in read_rows(path, _WAY_OUT):
        condition = row.text("condition")
        if not condition.strip():
            raise row.error("'condition' is empty; expected a text")
        reference, target = (_image(row.inner(what), what, boxed) for what in ("reference", "target"))
        if reference == target:
            raise row.error(f"reference and target are the same image, {target.name!r}; expected two")
        gallery = enumerate(row.inners("gallery"), start=1)
        others = [_image(fields, f"image {number} of the gallery", boxed) for number, fields in gallery]
        yield _Query(task, reference, target, others, condition)


def _image(fields: JsonRow, what: str, boxed: bool) -> _Image:
    key = "image_id" if boxed else "val_image_id"
    value = fields.value(key)
    digits = stem(value) if isinstance(value, str) else str(value)
    if isinstance(value, bool) or not (digits.isascii() and digits.isdigit()) or len(digits) > 12:
        raise fields.error(f"{what}: {key!r} is {short(value)}; expected the number of an image")
    if not boxed:
        return _Image(int(digits), None)
    box = fields.value("instance_bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_length, box)) or min(box[2:]) <= 0:
        raise fields.error(
            f"{what}: 'instance_bbox' is {short(box)}; expected left, top, width and height in pixels, the last two "
            "above 0"
        )
    left, top, width, height = map(float, box)
    return _Image(int(digits), (left, top, width, height))


def _is_length(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def _paths(root: Path, images: Sequence[_Image]) -> list[Path]:
    """Where each image is; where it was not found, where it is expected."""
    coco, visual_genome = _listing(root, COCO), _listing(root, VISUAL_GENOME)
    paths = []
    for image in images:
        name, _, boxed = image.name.partition("[")
        listed, first = (visual_genome, VISUAL_GENOME[0]) if boxed else (coco, COCO[0])
        paths.append(listed.get(name, root / first / name))
    return paths


def _listing(root: Path, folders: Sequence[str]) -> dict[str, Path]:
    """The files in some folders by name; of several of one name that of the first folder."""
    return {name: root / folder / name for folder in reversed(folders) for name in list_names(root / folder)}


@register("genecis")
class Genecis(Dataset):
    """Photographs and conditions of likeness, each with a small gallery (Vaze et al. 2023); for evaluation only."""

    title = "GeneCIS"
    splits = ("test",)
    categories = TASKS
    image_folders = (*COCO, *VISUAL_GENOME)
    published: ClassVar = {
        "test": {f"{task} queries": count for task, count in zip(TASKS, (2_000, 2_112, 1_960, 1_960), strict=True)}
    }

    def read(self, root: Path, split: str) -> Split:
        """Read the four tasks whose files are there, or those of the settings; rows stand in the order of their files.

        The protocol `genecis` asks all that were read and takes their mean; `genecis/<task>` asks one. Each query ranks
        its own target and gallery alone. The kind of a row is its task.

        Args:
            root: the folder that holds `genecis`.
            split: test.

        Raises:
            DataError: the root is another folder, or a file is missing or damaged; the message names file and row.
        """
        tasks = self.config.categories
        queries = _queries(root, tasks)
        read = list(dict.fromkeys(query.task for query in queries))
        if missing := [f"{task}.json" for task in tasks or TASKS if task not in read]:
            log.warning("%r lacks %s; the other tasks are read", str(root), " and ".join(missing))
        images = sorted({image for query in queries for image in query.images}, key=lambda image: image.name)
        number = {image: index for index, image in enumerate(images)}
        files = FileImages([image.name for image in images], _paths(root, images))
        triplets = Triplets.of(
            "genecis/test",
            CutImages(files, [image.box for image in images]),
            [(query.reference, query.target, query.condition) for query in queries],
            keys=images,
            kinds=[query.task for query in queries],
        )
        # as published the target comes first; an image that stands there twice counts once
        candidates = [[number[image] for image in dict.fromkeys((query.target, *query.gallery))] for query in queries]
        galleries = {}
        for task in read:
            rows = np.array([row for row, query in enumerate(queries) if query.task == task], dtype=np.int64)
            own = pad([candidates[row] for row in rows.tolist()])
            galleries[task] = Task(task, rows, np.unique(own[own >= 0]), candidates=own)
        about = "gallery = each query's own target and gallery; the reference is not removed; only the target counts"
        only = f"; of {' and '.join(read)} alone" if len(read) < len(TASKS) else ""
        chosen = {"genecis": (about + only, tuple(galleries.values()))}
        chosen |= {f"genecis/{name}": (about, (task,)) for name, task in galleries.items()}
        protocols = (
            Protocol(name, what + _sizes(some), some, KS, without_reference=False)
            for name, (what, some) in chosen.items()
        )
        return Split.of(triplets, *protocols)

    def counts(self, root: Path, split: str) -> dict[str, int]:
        """See `Dataset`."""
        queries = _queries(root)
        of_task = {f"{task} queries": sum(query.task == task for query in queries) for task in TASKS}
        return {**of_task, "images": len({image for query in queries for image in query.images})}

    def notes(self, root: Path, split: str) -> list[Finding]:
        """See `Dataset`: queries ranked among fewer images than most of their task, which makes them easier."""
        sizes: dict[str, list[int]] = {}
        for query in _queries(root):
            sizes.setdefault(query.task, []).append(len({query.target, *query.gallery}))
        easier = []
        for task, own in sizes.items():
            usual = mode(own)
            smaller = ((row, size) for row, size in enumerate(own, start=1) if size < usual)
            easier += [f"{task}.json row {row:,}: {size} instead of {usual}" for row, size in smaller]
        return [none_of("note", split, "smaller galleries", easier)]

    def list_rows(self, root: Path, split: str, annotated: Split) -> Iterator[AnnotatedRow]:
        """See `Dataset`."""
        begin: dict[str, int] = {}
        for row, (task, feedback) in enumerate(zip(annotated.triplets.kinds, annotated.triplets.feedback, strict=True)):
            yield row, f"{task}.json row {row - begin.setdefault(task, row) + 1:,}", (feedback,)
