"""Shoes (Guo et al. 2018, arXiv:1805.00145, on the photographs of Berg et al. 2010): one sentence to each pair.

Expected under the root, as published: `relative_captions_shoes.json`, `train_im_names.txt`, `eval_im_names.txt`, and
the images anywhere below, e.g. `womens_clogs/0/img_womens_clogs_512.jpg`.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

from itma.data.datasets.base import Dataset, register
from itma.data.datasets.reading import check_root, find_images, read_rows, read_text_rows, stem
from itma.data.images import FileImages
from itma.data.triplets import Protocol, Split, Task, Triplets

SPLITS = ("train", "eval")
CAPTIONS = "relative_captions_shoes.json"

_WAY_OUT = "get the published files again from https://github.com/XiaoxiaoGuo/fashion-retrieval"


def _lists(root: Path) -> dict[str, list[str]]:
    """Split → the names of its images, each once."""
    check_root(root, "Shoes", (CAPTIONS, *(f"{name}_im_names.txt" for name in SPLITS)))
    home: dict[str, str] = {}
    for split in SPLITS:
        for line, row in read_text_rows(root / f"{split}_im_names.txt", _WAY_OUT):
            if home.setdefault(stem(line.strip()), split) != split:
                raise row.error(f"{line.strip()!r} also stands in train_im_names.txt")
    return {split: [name for name, own in home.items() if own == split] for split in SPLITS}


def _queries(root: Path, split: str) -> list[tuple[str, str, str]]:
    """The rows of the captions file whose images stand in the list of a split."""
    home = {name: own for own, names in _lists(root).items() for name in names}
    queries = []
    for row in read_rows(root / CAPTIONS, _WAY_OUT):
        reference, target = stem(row.text("ReferenceImageName")), stem(row.text("ImageName"))
        for image in (reference, target):
            if image not in home:
                raise row.error(f"the image {image!r} is neither in train_im_names.txt nor in eval_im_names.txt")
        caption = row.text("RelativeCaption")
        if home[reference] != home[target]:
            raise row.error(f"{reference!r} is in the list of {home[reference]}, {target!r} in the other")
        if home[reference] == split:
            queries.append((reference, target, caption))
    return queries


@register("shoes")
class Shoes(Dataset):
    """Shoes with people's sentences (Guo et al. 2018)."""

    title = "Shoes"
    splits = SPLITS
    measured = "eval"
    published: ClassVar = {"train": {"queries": 8_990, "images": 10_000}, "eval": {"queries": 1_761, "images": 4_658}}

    def read(self, root: Path, split: str) -> Split:
        """Read one split: the captions whose two images stand in its list; names are read with and without ending.

        - train: the rows.
        - eval: the protocols `shoes` (gallery = the whole list) and `shoes/asked` (gallery = the images that its
          captions speak of). A few captions have one image as reference and target; these are learnt from, and not
          asked.

        Args:
            root: the folder that holds `relative_captions_shoes.json` and the two lists.
            split: train or eval.

        Raises:
            DataError: the root is another folder, or a file is missing or damaged; the message names file and row.
        """
        names = _lists(root)[split]
        paths = find_images(root)
        files = FileImages(names, [paths.get(name, root / f"{name}.jpg") for name in names])
        triplets = Triplets.of(f"shoes/{split}", files, _queries(root, split), keys=names)
        if split == "train":
            return Split(triplets)
        rows = np.flatnonzero(triplets.references != triplets.targets)
        in_queries = np.unique(np.concatenate([triplets.references[rows], triplets.targets[rows]]))
        left_out = len(triplets) - len(rows)
        same = f"; captions whose target is their reference are not asked ({left_out})" if left_out else ""
        rest = f"the reference is removed; only the target counts{same}"
        galleries = {
            "shoes": (f"the {len(names):,} images of eval_im_names.txt", np.arange(len(names))),
            "shoes/asked": (f"the {len(in_queries):,} images that captions of the split speak of", in_queries),
        }
        protocols = (
            Protocol(name, f"gallery = {what}; {rest}", (Task("", rows, gallery),))
            for name, (what, gallery) in galleries.items()
        )
        return Split.of(triplets, *protocols)

    def counts(self, root: Path, split: str) -> dict[str, int]:
        """See `Dataset`."""
        return {"queries": len(_queries(root, split)), "images": len(_lists(root)[split])}
