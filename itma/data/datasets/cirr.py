"""CIRR (Liu et al. 2021, arXiv:2108.04024): photographs of everyday things, one sentence to each pair of images.

Expected under the root, or under `cirr` in it, as published: `captions/cap.rc2.<split>.json` and
`image_splits/split.rc2.<split>.json`. The latter says where an image is, e.g. `./dev/dev-244-0-img0.png`; that is
looked for in the root, in `img_raw` and in `images`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from itma.data.datasets.base import Dataset, Submission, register
from itma.data.datasets.reading import check_root, find_below, is_inside, read_json_object, read_rows, short, stem
from itma.data.images import FileImages
from itma.data.triplets import UNKNOWN_TARGET, Protocol, Split, Task, Track, Triplets, pad
from itma.data.validation.diagnosis import Finding, none_of
from itma.errors import DataError
from itma.io import write_text

RELEASE = "rc2"
SUBSET = 6
"""Images of a query's img_set, as published."""
SUBSET_KS = (1, 2, 3)
SUBMITTED, SUBMITTED_OF_SUBSET = 50, 3
"""Images to each query of a submission."""

_WAY_OUT = "get the published annotations again from https://github.com/Cuberick-Orion/CIRR"


class _Query(NamedTuple):
    """One row of a captions file; images by their place in the split file."""

    pair: int
    reference: int
    target: int
    caption: str
    subset: list[int]


def _home(root: Path) -> Path:
    """The folder of the annotation files."""
    home = root / "cirr" if (root / "cirr" / "captions").is_dir() else root
    check_root(home, "CIRR", ("captions", "image_splits"))
    return home


def _images(root: Path, split: str) -> dict[str, str]:
    """Image → its path, as the split file has them."""
    path = _home(root) / "image_splits" / f"split.{RELEASE}.{split}.json"
    images: dict[str, str] = {}
    for number, (name, relative) in enumerate(read_json_object(path, _WAY_OUT).items()):
        if not isinstance(relative, str) or not is_inside(relative) or not stem(name):
            problem = f"{short(name)} is at {short(relative)}; expected an image's name and its path below the root"
        elif stem(name) in images:
            problem = f"{name!r} stands there twice, with and without ending perhaps"
        else:
            images[stem(name)] = relative
            continue
        raise DataError(f"{str(path)!r}, entry {number + 1:,}: {problem}; {_WAY_OUT}")
    return images


def _queries(root: Path, split: str, images: Sequence[str]) -> list[_Query]:
    """The rows of the captions file."""
    path = _home(root) / "captions" / f"cap.{RELEASE}.{split}.json"
    number = {name: index for index, name in enumerate(images)}
    queries = []
    for row in read_rows(path, _WAY_OUT, key="pairid"):
        members = row.inner("img_set").texts("members")
        named = [("reference", row.text("reference")), *(("member of img_set", member) for member in members)]
        if split != "test1":
            named.append(("target_hard", row.text("target_hard")))
        for what, name in named:
            if stem(name) not in number:
                raise row.error(
                    f"the {what} {name!r} is not among the {len(number):,} images of split.{RELEASE}.{split}.json; "
                    "use captions and split files of one release"
                )
        reference, *subset = (number[stem(name)] for _, name in named[: 1 + len(members)])
        target = UNKNOWN_TARGET if split == "test1" else number[stem(named[-1][1])]
        if target == reference:
            raise row.error(f"reference and target_hard are the same image, {images[target]!r}; expected two")
        if len(set(subset)) < len(subset):
            raise row.error(f"its img_set holds an image twice: {short(members)}; expected {SUBSET} images")
        for what, image in (("reference", reference), ("target_hard", target)):
            if image not in (UNKNOWN_TARGET, *subset):
                raise row.error(f"its img_set lacks the {what}, {images[image]!r}")
        queries.append(_Query(row.number("pairid"), reference, target, row.text("caption"), subset))
    return queries


@register("cirr")
class Cirr(Dataset):
    """Photographs of everyday things with people's sentences (Liu et al. 2021)."""

    title = "CIRR"
    splits = ("train", "val", "test1")
    measured = "val"
    submitted = "test1"
    image_folders = (".", "img_raw", "images")
    published: ClassVar = {
        "train": {"queries": 28_225, "images": 16_939},
        "val": {"queries": 4_181, "images": 2_297},
        "test1": {"queries": 4_148, "images": 2_315},
    }

    def read(self, root: Path, split: str) -> Split:
        """Read one split; rows stand in the order of the captions file, images in that of the split file.

        The target is `target_hard`; a row's subset is its `img_set`, reference included. Names are read with and
        without ending.

        - train: the rows.
        - val: also the protocol `cirr`.
        - test1: targets were never published, so there is no protocol; see `submission`.

        Args:
            root: the folder that holds `captions` and `image_splits`, or one that holds such a folder `cirr`.
            split: train, val or test1.

        Raises:
            DataError: the root is another folder, or a file is missing or damaged; the message names file and row.
        """
        images = _images(root, split)
        queries = _queries(root, split, list(images))
        triplets = Triplets.of(
            f"cirr/{split}",
            FileImages(list(images), find_below(root, self.image_folders, images.values())),
            [(query.reference, query.target, query.caption) for query in queries],
            subsets=pad([query.subset for query in queries]),
        )
        if split != "val":
            return Split(triplets)
        about = (
            f"gallery = the {len(images):,} images of the val split file; only the target (target_hard) counts; the "
            "reference is removed; recall_subset = recall within the query's own img_set, without the reference"
        )
        metrics = {"recall_subset": SUBSET_KS}
        return Split.of(triplets, Protocol("cirr", about, (Task.of_all(triplets),), metrics=metrics))

    def notes(self, root: Path, split: str) -> list[Finding]:
        """See `Dataset`: subsets of another size, within which recall is no longer comparable."""
        queries = _queries(root, split, list(_images(root, split)))
        odd = [
            f"row {row:,}, pairid {query.pair}: {len(query.subset)}"
            for row, query in enumerate(queries, start=1)
            if len(query.subset) != SUBSET
        ]
        return [none_of("problem", split, f"subsets of other than {SUBSET} images", odd)]

    def submission(self, root: Path, split: str, triplets: Triplets) -> Submission:
        """Two files for the server at https://cirr.cecs.anu.edu.au: 50 images of all, and 3 of each query's subset."""
        queries = _queries(root, split, list(_images(root, split)))
        everything = Task.of_all(triplets)
        present = np.isin(np.arange(len(triplets.labels)), everything.gallery)
        if len(triplets) < len(queries) or not all(present[query.subset].all() for query in queries):
            raise DataError(
                f"{triplets.name}: the server wants an answer to each of {len(queries):,} queries, with all images of "
                "its subset; some of these images are not there: itma doctor cirr says which"
            )
        tasks = tuple(Task("", np.array([row]), np.array(query.subset)) for row, query in enumerate(queries))

        def write(folder: Path, answers: Sequence[Sequence[np.ndarray]]) -> list[Path]:
            paths = [folder / "recall.json", folder / "recall_subset.json"]
            for path, ranked in zip(paths, answers, strict=True):
                named = {
                    str(query.pair): [triplets.images.names[image] for image in images.tolist()]
                    for query, images in zip(queries, ranked, strict=True)
                }
                write_text(path, json.dumps({"version": RELEASE, "metric": path.stem, **named}) + "\n")
            return paths

        return Submission((Track((everything,), SUBMITTED), Track(tasks, SUBMITTED_OF_SUBSET)), write)
