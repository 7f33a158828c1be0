"""Fashion200k (Han et al. 2017), asked as in TIRG (Vo et al. 2019, section 5.1): one word of a caption is replaced.

Expected under the root: `labels/*_{train,test}_detect_all.txt` (path, score and caption, with tabs between), the
pictures that they name (`women/…`), and for the test split `test_queries.txt` (two paths on each line).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itma.data.datasets import Split
from itma.data.datasets.reading import check_root, read_lines, row_error
from itma.data.images import FilePictures
from itma.data.triplets import Rows, Triplets, by_label
from itma.errors import DataError, UnknownNameError

SPLITS = ("train", "test")
QUERIES = "test_queries.txt"

PUBLISHED: Mapping[str, Mapping[str, int]] = {"train": {}, "test": {"pictures": 29_789, "queries": 33_480}}
"""Split → what is counted → how many the published files hold; of train only "about 172,000 pictures" is known."""

_MARKS = {".": "dotmark", "?": "questionmark", "&": "andmark", "*": "starmark"}
_WAY_OUT = "get the labels again from https://github.com/xthan/fashion-200k"


def plain(caption: str) -> str:
    """A caption with its marks written out, as the published code does.

    >>> plain(" black & white 3.5 dress")
    'black andmark white 3dotmark5 dress'
    """
    caption = caption.strip()
    for mark, word in _MARKS.items():
        caption = caption.replace(mark, word)
    return caption


def feedback(source: str, target: str) -> str:
    """What leads from one caption to another: the first word of each that the other lacks (else its last word).

    >>> feedback("black lace dress", "red lace dress")
    'replace black with red'
    """
    old, new = source.split(), target.split()
    return f"replace {_first_missing(old, new)} with {_first_missing(new, old)}"


def _first_missing(words: Sequence[str], others: Sequence[str]) -> str:
    return next((word for word in words if word not in others), words[-1] if words else "")


@dataclass(frozen=True)
class _Captions:
    """Distinct captions, the pictures of each, and which captions are siblings."""

    texts: Sequence[str]
    pictures: Sequence[np.ndarray]
    """Caption → indices of pictures."""
    parents: Sequence[Sequence[int]]
    """Caption → its parents that have other children too."""
    children: Sequence[Sequence[int]]
    """Parent → captions."""
    of_picture: np.ndarray
    """(pictures,) int64."""

    @classmethod
    def of(cls, captions: Sequence[str]) -> "_Captions":
        """A parent is a caption with one word taken out wherever it stands, even inside other words (as published)."""
        number: dict[str, int] = {}
        members: list[list[int]] = []
        for picture, caption in enumerate(captions):
            if caption not in number:
                number[caption] = len(members)
                members.append([])
            members[number[caption]].append(picture)
        names: dict[str, int] = {}
        children: list[list[int]] = []
        parents: list[list[int]] = []
        for caption, index in number.items():
            own = []
            for word in dict.fromkeys(caption.split()):
                parent = caption.replace(word, "").replace("  ", " ").strip()
                if parent not in names:
                    names[parent] = len(children)
                    children.append([])
                if index not in children[names[parent]][-1:]:  # only the newest child can be this caption
                    children[names[parent]].append(index)
                    own.append(names[parent])
            parents.append(own)
        shared = [[parent for parent in own if len(children[parent]) > 1] for own in parents]
        pictures = [np.array(some) for some in members]
        return cls(list(number), pictures, shared, children, np.array([number[caption] for caption in captions]))

    def drawn(self, triplets: Triplets, rows: np.ndarray, random: np.random.Generator) -> Rows:
        """A parent evenly, one of its other captions evenly, one of that caption's pictures evenly, as published."""
        references = triplets.references[rows]
        targets, said = np.empty_like(references), []
        for place, reference in enumerate(references.tolist()):
            own = int(self.of_picture[reference])
            parents = self.parents[own]
            siblings = [child for child in self.children[parents[int(random.integers(len(parents)))]] if child != own]
            target = siblings[int(random.integers(len(siblings)))]
            targets[place] = random.choice(self.pictures[target])
            said.append(feedback(self.texts[own], self.texts[target]))
        return Rows(references, targets, said)


def load(root: Path, split: str) -> Split:
    """Read one split: pictures in the order of the label files, labelled by caption.

    - train: each picture whose caption has siblings (captions that become the same when one word is taken out); targets
      are drawn among the siblings' pictures (`draws_targets`).
    - test: the pairs of `test_queries.txt`; the protocol ranks all pictures of the split.

    Args:
        root: the folder that holds `labels`.
        split: train or test.

    Raises:
        UnknownNameError: another split.
        DataError: the root is another folder, or a file is missing or damaged; the message names file and row.
    """
    if split not in SPLITS:
        raise UnknownNameError("split of Fashion200k", split, SPLITS)
    check_root(root, "Fashion200k", ("labels",))
    files = sorted((root / "labels").glob(f"*_{split}_*.txt"))
    if not files:
        found = ", ".join(sorted(path.name for path in (root / "labels").iterdir())[:4]) or "nothing"
        raise DataError(
            f"{str(root / 'labels')!r} holds no files named '<category>_{split}_detect_all.txt'; found: {found}; "
            f"{_WAY_OUT}"
        )
    rows = [row for path in files for row in _labelled(path)]
    names = [name for name, _ in rows]
    captions = _Captions.of([caption for _, caption in rows])
    pictures = FilePictures(names, [root / name for name in names])
    if split == "train":
        return Split(_training(pictures, captions), {})
    triplets = _queries(root / QUERIES, pictures, captions)
    protocol = by_label(triplets, name="fashion200k")
    return Split(triplets, {protocol.name: protocol})


def counts(root: Path, split: str) -> dict[str, int]:
    """What there is of what `PUBLISHED` counts."""
    triplets = load(root, split).triplets
    found = {"pictures": len(triplets.labels), "queries": len(triplets)}
    return {name: found[name] for name in PUBLISHED[split]}


def _labelled(path: Path) -> list[tuple[str, str]]:
    """(picture, caption) of each line."""
    found = []
    for row, line in enumerate(read_lines(path, _WAY_OUT)):
        if not line:
            continue
        parts = line.split("\t")
        if len(parts) < 3 or not parts[0].strip():
            raise row_error(
                path, row, f"expected path, score and caption with tabs between, not {line[:60]!r}; {_WAY_OUT}"
            )
        found.append((parts[0].strip(), plain(parts[2])))
    return found


def _training(pictures: FilePictures, captions: _Captions) -> Triplets:
    references, targets, said = [], [], []
    for picture, own in enumerate(captions.of_picture.tolist()):
        if not captions.parents[own]:
            continue
        sibling = next(child for child in captions.children[captions.parents[own][0]] if child != own)
        references.append(picture)
        targets.append(int(captions.pictures[sibling][0]))
        said.append(feedback(captions.texts[own], captions.texts[sibling]))
    return Triplets(
        "fashion200k/train",
        pictures,
        captions.of_picture,
        np.array(references, dtype=np.int64),
        np.array(targets, dtype=np.int64),
        said,
        draw=captions.drawn,
        draws_targets=True,
    )


def _queries(path: Path, pictures: FilePictures, captions: _Captions) -> Triplets:
    number = {name: picture for picture, name in enumerate(pictures.names)}
    pairs = []
    for row, line in enumerate(read_lines(path, _WAY_OUT)):
        if not line.strip():
            continue
        named = line.split()[:2]
        if len(named) < 2:
            raise row_error(path, row, f"expected two paths, the reference and the target, not {line[:60]!r}")
        for name in named:
            if name not in number:
                raise row_error(path, row, f"the picture {name!r} is in none of the test label files; {_WAY_OUT}")
        pairs.append((number[named[0]], number[named[1]]))
    of = captions.of_picture
    return Triplets(
        "fashion200k/test",
        pictures,
        of,
        np.array([source for source, _ in pairs], dtype=np.int64),
        np.array([target for _, target in pairs], dtype=np.int64),
        [feedback(captions.texts[of[source]], captions.texts[of[target]]) for source, target in pairs],
    )
