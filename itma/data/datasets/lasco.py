"""LaSCo (Levy et al. 2024, arXiv:2303.09429): photographs of COCO, queries made from questions and answers.

Expected under the root, as published: `lasco_train.json`, `lasco_val.json` and `lasco_val_corpus.json`, which lists the
gallery (in the root or in `downloads`), and COCO's folders `train2014` and `val2014` (in the root or in `images`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from itma.data.datasets.base import Dataset, register
from itma.data.datasets.reading import JsonRow, check_root, is_inside, read_rows, short, without_ending
from itma.data.images import FileImages
from itma.data.triplets import Protocol, Split, Task, Triplets
from itma.errors import UnknownNameError

SPLITS = ("train", "val")
KS = (1, 5, 10, 50, 500, 1000)
IMAGE_FOLDERS = (".", "images")
CORPUS = "lasco_val_corpus.json"

PUBLISHED: Mapping[str, Mapping[str, int]] = {"val": {"queries": 30_037, "images": 39_826}}
"""Split → what is counted → how many the published files hold."""

_WAY_OUT = "get the published files again from https://github.com/levymsn/LaSCo"


class _Query(NamedTuple):
    """One row of an annotation file; images by path, e.g. `val2014/COCO_val2014_000000028714.jpg`."""

    reference: str
    target: str
    text: str


def load(root: Path, split: str) -> Split:
    """Read one split; rows stand in the file's order.

    - train: its images are those that its rows speak of.
    - val: the protocol `lasco`, whose gallery is the published list.

    Args:
        root: the folder that holds `lasco_train.json` and `lasco_val.json`.
        split: train or val.

    Raises:
        UnknownNameError: another split.
        DataError: the root is another folder, or a file is missing or damaged; the message names file and row.
    """
    queries = list(_queries(root, split))
    images = _images(root, split, queries)
    number = {image: index for index, image in enumerate(images)}
    homes = {
        first: next((root / home for home in IMAGE_FOLDERS if (root / home / first).is_dir()), root)
        for first in {image.partition("/")[0] for image in images}
    }
    triplets = Triplets(
        f"lasco/{split}",
        FileImages(images, [homes[image.partition("/")[0]] / image for image in images]),
        np.arange(len(images)),
        np.array([number[query.reference] for query in queries], dtype=np.int64),
        np.array([number[query.target] for query in queries], dtype=np.int64),
        [query.text for query in queries],
    )
    if split == "train":
        return Split(triplets, {})
    about = f"gallery = the {len(images):,} images of {CORPUS}; the reference is removed; only the target counts"
    return Split(triplets, {"lasco": Protocol("lasco", about, (Task.of_all(triplets),), KS)})


def counts(root: Path, split: str) -> dict[str, int]:
    """What there is of what `PUBLISHED` counts.

    Raises:
        UnknownNameError, DataError: see `load`.
    """
    queries = list(_queries(root, split))
    return {"queries": len(queries), "images": len(_images(root, split, queries))}


def _home(root: Path) -> Path:
    home = root / "downloads" if (root / "downloads" / "lasco_val.json").is_file() else root
    check_root(home, "LaSCo", ("lasco_val.json",))
    return home


def _queries(root: Path, split: str) -> Iterator[_Query]:
    if split not in SPLITS:
        raise UnknownNameError("split of LaSCo", split, SPLITS)
    for row in read_rows(_home(root) / f"lasco_{split}.json", _WAY_OUT):
        reference, target = (_image(row, name) for name in ("query-image", "target-image"))
        if reference == target:
            raise row.error(f"query-image and target-image are the same, {target!r}; expected two")
        yield _Query(reference, target, row.text("query-text"))


def _image(row: JsonRow, name: str) -> str:
    values = row.items(name)
    if len(values) != 2 or not isinstance(values[1], str) or not is_inside(values[1]):
        raise row.error(f"{name!r} is {short(values)}; expected an image's number and its path")
    return _with_ending(values[1])


def _with_ending(path: str) -> str:
    """All of COCO's images end in .jpg."""
    return f"{without_ending(path)}.jpg"


def _images(root: Path, split: str, queries: list[_Query]) -> list[str]:
    """The paths of a split's images."""
    if split == "train":
        return sorted({image for query in queries for image in (query.reference, query.target)})
    rows = read_rows(_home(root) / CORPUS, _WAY_OUT)
    listed = list(dict.fromkeys(_with_ending(row.text("path").removeprefix("val/")) for row in rows))
    known = set(listed)
    for number, query in enumerate(queries):
        for image in (query.reference, query.target):
            if image not in known:
                problem = f"the image {image!r} is not among the {len(known):,} of {CORPUS}"
                raise JsonRow(_home(root) / "lasco_val.json", number, {}, _WAY_OUT).error(problem)
    return listed


@register("lasco")
class Lasco(Dataset):
    """Photographs of COCO with queries made from questions and answers (Levy et al. 2024)."""

    splits = SPLITS
    measured = "val"
    image_folders = IMAGE_FOLDERS

    def read(self, root: Path, split: str) -> Split:
        """See `load`."""
        return load(root, split)
