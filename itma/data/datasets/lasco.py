"""LaSCo (Levy et al. 2024, arXiv:2303.09429): photographs of COCO, queries made from questions and answers.

Expected under the root, as published: `lasco_train.json`, `lasco_val.json` and `lasco_val_corpus.json`, which lists the
gallery (in the root or in `downloads`), and COCO's folders `train2014` and `val2014` (in the root or in `images`).
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import ClassVar

from itma.data.datasets.base import Dataset, register
from itma.data.datasets.reading import JsonRow, check_root, find_below, is_inside, read_rows, short, without_ending
from itma.data.images import FileImages
from itma.data.triplets import Protocol, Split, Task, Triplets

KS = (1, 5, 10, 50, 500, 1000)
CORPUS = "lasco_val_corpus.json"

_WAY_OUT = "get the published files again from https://github.com/levymsn/LaSCo"


def _home(root: Path) -> Path:
    home = root / "downloads" if (root / "downloads" / "lasco_val.json").is_file() else root
    check_root(home, "LaSCo", ("lasco_val.json",))
    return home


def _queries(root: Path, split: str, corpus: Collection[str] | None = None) -> Iterator[tuple[str, str, str]]:
    """The rows of an annotation file; images by path, e.g. `val2014/COCO_val2014_000000028714.jpg`."""
    for row in read_rows(_home(root) / f"lasco_{split}.json", _WAY_OUT):
        reference, target = (_image(row, name, corpus) for name in ("query-image", "target-image"))
        if reference == target:
            raise row.error(f"query-image and target-image are the same, {target!r}; expected two")
        yield reference, target, row.text("query-text")


def _image(row: JsonRow, name: str, corpus: Collection[str] | None) -> str:
    values = row.items(name)
    if len(values) != 2 or not isinstance(values[1], str) or not is_inside(values[1]):
        raise row.error(f"{name!r} is {short(values)}; expected an image's number and its path")
    image = _with_ending(values[1])
    if corpus is not None and image not in corpus:
        raise row.error(f"the image {image!r} is not among the {len(corpus):,} of {CORPUS}")
    return image


def _with_ending(path: str) -> str:
    """All of COCO's images end in .jpg."""
    return f"{without_ending(path)}.jpg"


@register("lasco")
class Lasco(Dataset):
    """Photographs of COCO with queries made from questions and answers (Levy et al. 2024)."""

    title = "LaSCo"
    splits = ("train", "val")
    measured = "val"
    image_folders = (".", "images")
    published: ClassVar = {"val": {"queries": 30_037, "images": 39_826}}

    def read(self, root: Path, split: str) -> Split:
        """Read one split; rows stand in the file's order.

        - train: its images are those that its rows speak of.
        - val: the protocol `lasco`, whose gallery is the published list.

        Args:
            root: the folder that holds `lasco_train.json` and `lasco_val.json`.
            split: train or val.

        Raises:
            DataError: the root is another folder, or a file is missing or damaged; the message names file and row.
        """
        if split == "train":
            rows = list(_queries(root, split))
            images = sorted({image for row in rows for image in row[:2]})
        else:
            corpus = (row.text("path").removeprefix("val/") for row in read_rows(_home(root) / CORPUS, _WAY_OUT))
            listed = dict.fromkeys(map(_with_ending, corpus))
            images, rows = list(listed), list(_queries(root, split, listed))
        files = FileImages(images, find_below(root, self.image_folders, images))
        triplets = Triplets.of(f"lasco/{split}", files, rows, keys=images)
        if split == "train":
            return Split(triplets)
        about = f"gallery = the {len(images):,} images of {CORPUS}; the reference is removed; only the target counts"
        return Split.of(triplets, Protocol("lasco", about, (Task.of_all(triplets),), KS))
