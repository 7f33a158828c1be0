"""CIRCO (Baldrati et al. 2023, arXiv:2303.15247): photographs of COCO, several right answers to each query.

Expected under the root, as published: `annotations/val.json` and `annotations/test.json` (or both in the root itself),
`COCO2017_unlabeled/annotations/image_info_unlabeled2017.json`, which lists the gallery, and
`COCO2017_unlabeled/unlabeled2017/<12 digits>.jpg`. There is no training split.
"""

import json
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from itma.data.datasets.base import Dataset, Submission, register
from itma.data.datasets.reading import JsonRow, check_root, read_json_object, read_rows
from itma.data.images import FileImages
from itma.data.triplets import UNKNOWN_TARGET, Protocol, Split, Task, Track, Triplets, pad
from itma.errors import DataError
from itma.io import write_text

log = logging.getLogger(__name__)

SPLITS = ("val", "test")
KS = (5, 10, 25, 50)
SUBMITTED = 50
"""Images to each query of a submission."""
IMAGES = "COCO2017_unlabeled/unlabeled2017"
LIST = "COCO2017_unlabeled/annotations/image_info_unlabeled2017.json"

_WAY_OUT = "get the published annotations again from https://github.com/miccunifi/CIRCO"
_LIST_WAY_OUT = "get image_info_unlabeled2017.zip again from https://cocodataset.org/#download"


class _Query(NamedTuple):
    """One row of an annotation file; images by COCO's number."""

    id: int
    reference: int
    targets: list[int]
    """The one that the caption was written for first; empty where targets are not published."""
    caption: str
    aspects: tuple[str, ...]


def _path(root: Path, split: str) -> Path:
    """The annotation file of a split."""
    if (root / "annotations").is_dir() or not (root / "val.json").is_file():
        check_root(root, "CIRCO", ("annotations",))
        return root / "annotations" / f"{split}.json"
    return root / f"{split}.json"


def _queries(root: Path, split: str, listed: Collection[int] | None = None) -> list[_Query]:
    """The rows of an annotation file; where the list of COCO's images is given, all of theirs have to be in it."""
    queries = []
    for row in read_rows(_path(root, split), _WAY_OUT, key="id"):
        aspects = tuple(row.texts("semantic_aspects")) if "semantic_aspects" in row else ()
        targets = _targets(row) if split == "val" else []
        reference, caption = row.number("reference_img_id"), row.text("relative_caption")
        for image in (reference, *targets):
            if listed is not None and image not in listed:
                raise row.error(f"the image {image} is not among the {len(listed):,} of {LIST}; {_LIST_WAY_OUT}")
        queries.append(_Query(row.number("id"), reference, targets, caption, aspects))
    return queries


def _targets(row: JsonRow) -> list[int]:
    first, every = row.number("target_img_id"), row.numbers("gt_img_ids")
    if first not in every or len(set(every)) < len(every):
        raise row.error(f"gt_img_ids must hold the target_img_id {first}, and each image once")
    if (reference := row.number("reference_img_id")) in every:
        raise row.error(f"gt_img_ids holds the reference_img_id {reference}; expected other images")
    return [first, *(image for image in every if image != first)]


def _list_images(root: Path) -> dict[int, None] | None:
    """The numbers of all images that COCO's list holds, in order. None: there is no such list."""
    path = root / LIST
    if not path.exists():
        return None
    images = read_json_object(path, _LIST_WAY_OUT).get("images")
    if not isinstance(images, list) or not images:
        raise DataError(f"{str(path)!r} holds no list of images; {_LIST_WAY_OUT}")
    rows = (JsonRow(path, row, fields, _LIST_WAY_OUT) for row, fields in enumerate(images))
    return dict.fromkeys(sorted(row.number("id") for row in rows))


def _name_images(root: Path) -> list[int]:
    """The numbers of the images that the annotations name, of both splits where both are there."""
    there = [split for split in SPLITS if _path(root, split).exists()]
    queries = [query for split in there for query in _queries(root, split)]
    return sorted({image for query in queries for image in (query.reference, *query.targets)})


@register("circo")
class Circo(Dataset):
    """Photographs of COCO with people's sentences and several targets (Baldrati et al. 2023); for evaluation only."""

    title = "CIRCO"
    splits = SPLITS
    measured = "val"
    submitted = "test"
    image_folders = (IMAGES,)
    published: ClassVar = {"val": {"queries": 220, "images": 123_403}, "test": {"queries": 800, "images": 123_403}}

    def read(self, root: Path, split: str) -> Split:
        """Read one split; images are all of COCO's unlabelled ones, in the order of their numbers.

        The target of a row is the image that its caption was written for; the others of `gt_img_ids` are further
        targets.

        - val: the protocol `circo`, whose rows are also divided by semantic aspect; where the list of COCO's images is
          not there, `circo/annotated` instead, whose gallery holds the images that the annotations name and no others.
        - test: targets were never published, so there is no protocol; see `submission`.

        Args:
            root: the folder that holds `annotations` and `COCO2017_unlabeled`.
            split: val or test.

        Raises:
            DataError: the root is another folder, or a file is missing or damaged; the message names file and row.
        """
        listed = _list_images(root)
        queries = _queries(root, split, listed)
        images = list(listed or _name_images(root))
        number = {image: index for index, image in enumerate(images)}
        name, gallery = "circo", f"{len(images):,} unlabelled images of COCO 2017"
        if listed is None:
            name, gallery = "circo/annotated", f"{len(images):,} images that the annotations name"
            why = f"{str(root / LIST)!r} does not exist, so that the gallery holds only the {gallery}"
            log.warning("%s; recall and mAP are then far higher than with all images. %s", why, _LIST_WAY_OUT)
            gallery += ", for want of the list of COCO's: not comparable"
        names = [f"{image:012d}.jpg" for image in images]
        triplets = Triplets.of(
            f"circo/{split}",
            FileImages(names, [root / IMAGES / name for name in names]),
            [(query.reference, (query.targets or [UNKNOWN_TARGET])[0], query.caption) for query in queries],
            keys=images,
            groups={"semantic aspect": [query.aspects for query in queries]} if any(q.aspects for q in queries) else {},
            further_targets=pad([[number[image] for image in query.targets[1:]] for query in queries]),
        )
        if split != "val":
            return Split(triplets)
        about = (
            f"gallery = the {gallery}; mAP counts every right image, recall the one that the caption was written for; "
            "the reference is not removed"
        )
        task = Task.of_all(triplets)
        return Split.of(triplets, Protocol(name, about, (task,), KS, without_reference=False, metrics={"map": KS}))

    def submission(self, root: Path, split: str, triplets: Triplets) -> Submission:
        """One file for the server at https://circo.micc.unifi.it: 50 images for each query."""
        queries, listed = _queries(root, split), _list_images(root)
        if listed is None:
            raise DataError(
                f"the server wants answers from all of COCO's unlabelled images, and {str(root / LIST)!r}, which lists "
                f"them, does not exist; {_LIST_WAY_OUT}"
            )
        if len(triplets) < len(queries):
            raise DataError(
                f"{triplets.name}: the server wants an answer to each of {len(queries):,} queries, and the references "
                f"of {len(queries) - len(triplets):,} are not there: itma doctor circo says which"
            )
        numbers = list(listed)

        def write(folder: Path, answers: Sequence[Sequence[np.ndarray]]) -> list[Path]:
            (ranked,) = answers
            named = {
                str(query.id): [numbers[image] for image in images.tolist()]
                for query, images in zip(queries, ranked, strict=True)
            }
            write_text(folder / "circo.json", json.dumps(named) + "\n")
            return [folder / "circo.json"]

        return Submission((Track((Task.of_all(triplets),), SUBMITTED, without_reference=False),), write)
