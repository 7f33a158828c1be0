"""Spot-the-Diff (Jhamtani & Berg-Kirkpatrick 2018, arXiv:1808.10584): two moments of a camera, and what has changed.

Expected under the root, as published: `annotations/<split>.json` (or `data/annotations/<split>.json`), and the images
`resized_images/<id>.png` and `resized_images/<id>_2.png`.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from itma.data.datasets.base import Dataset, register
from itma.data.datasets.reading import check_root, read_rows, without_ending
from itma.data.images import FileImages
from itma.data.triplets import Protocol, Split, Task, Triplets
from itma.data.validation.diagnosis import Finding
from itma.errors import UnknownNameError

SPLITS = ("train", "val", "test")
KS = (1, 5, 10, 50)
IMAGES = "resized_images"

_WAY_OUT = "get the published annotations again from https://github.com/harsh19/spot-the-diff"


class _Pair(NamedTuple):
    """One row of an annotation file."""

    id: str
    sentences: list[str]


def load(root: Path, split: str) -> Split:
    """Read one split: each sentence that is not empty is a row, from the first image of its pair to the second.

    - train: the rows.
    - val, test: the protocol `spot_the_diff`; the gallery holds both images of every pair, as MAAF's code has it
      (Dodds et al. 2020, arXiv:2007.00145).

    Args:
        root: the folder that holds `annotations`.
        split: train, val or test.

    Raises:
        UnknownNameError: another split.
        DataError: the root is another folder, or a file is missing or damaged; the message names file and row.
    """
    pairs = _pairs(root, split)
    first = {pair: 2 * number for number, pair in enumerate(dict.fromkeys(pair.id for pair in pairs))}
    names = [name for pair in first for name in (f"{pair}.png", f"{pair}_2.png")]
    samples = [(first[pair.id], said) for pair in pairs for said in pair.sentences if said.strip()]
    references = np.array([image for image, _ in samples], dtype=np.int64)
    triplets = Triplets(
        f"spot_the_diff/{split}",
        FileImages(names, [root / IMAGES / name for name in names]),
        np.arange(len(names)),
        references,
        references + 1,
        [said for _, said in samples],
    )
    if split == "train":
        return Split(triplets, {})
    about = (
        f"gallery = the {len(names):,} images of the split; each sentence asks from the first image of its pair for "
        "the second; the reference is removed; only the target counts"
    )
    return Split(triplets, {"spot_the_diff": Protocol("spot_the_diff", about, (Task.of_all(triplets),), KS)})


def notes(root: Path, split: str) -> list[Finding]:
    """What is unusual: sentences that are empty, which are not asked."""
    empty = [
        f"{split}.json row {row:,}, sentence {number}"
        for row, pair in enumerate(_pairs(root, split), start=1)
        for number, said in enumerate(pair.sentences, start=1)
        if not said.strip()
    ]
    what = "sentences that are empty and are left out"
    return [Finding("note" if empty else "ok", split, what, len(empty), examples=tuple(empty))]


def _pairs(root: Path, split: str) -> list[_Pair]:
    if split not in SPLITS:
        raise UnknownNameError("split of Spot-the-Diff", split, SPLITS)
    home = root / "data" if (root / "data" / "annotations").is_dir() else root
    check_root(home, "Spot-the-Diff", ("annotations",))
    pairs = []
    for row in read_rows(home / "annotations" / f"{split}.json", _WAY_OUT):
        name = row.text("img_id")
        if not name or {"/", "\\", "\0"} & set(name):
            raise row.error(f"{name!r} is no pair's img_id, such as '5406'")
        pairs.append(_Pair(without_ending(name), row.texts("sentences")))
    return pairs


@register("spot_the_diff")
class SpotTheDiff(Dataset):
    """Two moments of a camera with sentences on what has changed (Jhamtani & Berg-Kirkpatrick 2018)."""

    splits = SPLITS
    image_folders = (IMAGES,)

    def read(self, root: Path, split: str) -> Split:
        """See `load`."""
        return load(root, split)
