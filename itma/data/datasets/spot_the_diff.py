"""Spot-the-Diff (Jhamtani & Berg-Kirkpatrick 2018, arXiv:1808.10584): two moments of a camera, and what has changed.

Expected under the root, as published: `annotations/<split>.json` (or `data/annotations/<split>.json`), and the images
`resized_images/<id>.png` and `resized_images/<id>_2.png`.
"""

from pathlib import Path
from typing import NamedTuple

from itma.data.datasets.base import Dataset, register
from itma.data.datasets.reading import check_root, is_name, read_rows, without_ending
from itma.data.images import FileImages
from itma.data.triplets import Protocol, Split, Task, Triplets
from itma.data.validation.diagnosis import Finding, none_of

IMAGES = "resized_images"

_WAY_OUT = "get the published annotations again from https://github.com/harsh19/spot-the-diff"


class _Pair(NamedTuple):
    """One row of an annotation file."""

    id: str
    sentences: list[str]


def _pairs(root: Path, split: str) -> list[_Pair]:
    home = root / "data" if (root / "data" / "annotations").is_dir() else root
    check_root(home, "Spot-the-Diff", ("annotations",))
    pairs = []
    for row in read_rows(home / "annotations" / f"{split}.json", _WAY_OUT):
        name = row.text("img_id")
        if not is_name(name):
            raise row.error(f"{name!r} is no pair's img_id, such as '5406'")
        pairs.append(_Pair(without_ending(name), row.texts("sentences")))
    return pairs


@register("spot_the_diff")
class SpotTheDiff(Dataset):
    """Two moments of a camera with sentences on what has changed (Jhamtani & Berg-Kirkpatrick 2018)."""

    title = "Spot-the-Diff"
    splits = ("train", "val", "test")
    image_folders = (IMAGES,)

    def read(self, root: Path, split: str) -> Split:
        """Read one split: each sentence that is not empty is a row, from the first image of its pair to the second.

        - train: the rows.
        - val, test: the protocol `spot_the_diff`; the gallery holds both images of every pair, as MAAF's code has it
          (Dodds et al. 2020, arXiv:2007.00145).

        Args:
            root: the folder that holds `annotations`.
            split: train, val or test.

        Raises:
            DataError: the root is another folder, or a file is missing or damaged; the message names file and row.
        """
        pairs = _pairs(root, split)
        names = [name for pair in dict.fromkeys(pair.id for pair in pairs) for name in (f"{pair}.png", f"{pair}_2.png")]
        rows = [(f"{id_}.png", f"{id_}_2.png", text) for id_, texts in pairs for text in texts if text.strip()]
        files = FileImages(names, [root / IMAGES / name for name in names])
        triplets = Triplets.of(f"spot_the_diff/{split}", files, rows, keys=names)
        if split == "train":
            return Split(triplets)
        about = (
            f"gallery = the {len(names):,} images of the split; each sentence asks from the first image of its pair "
            "for the second; the reference is removed; only the target counts"
        )
        return Split.of(triplets, Protocol("spot_the_diff", about, (Task.of_all(triplets),)))

    def notes(self, root: Path, split: str) -> list[Finding]:
        """See `Dataset`: sentences that are empty, which are not asked."""
        empty = [
            f"{split}.json row {row:,}, sentence {number}"
            for row, pair in enumerate(_pairs(root, split), start=1)
            for number, sentence in enumerate(pair.sentences, start=1)
            if not sentence.strip()
        ]
        return [none_of("note", split, "sentences that are empty and are left out", empty)]
