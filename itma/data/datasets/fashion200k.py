"""Fashion200k (Han et al. 2017, arXiv:1708.01311): images of clothes whose captions differ in one word.

Queries and samples are those of TIRG (Vo et al. 2019, arXiv:1812.07119). Expected under the root, as published:

labels/<category>_<split>_detect_all.txt   path, detection score and caption of an image in each line, between tabs
women/…/*.jpeg                             the images
test_queries.txt                           for testing: the paths of reference and target in each line
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from itma.data.datasets.base import Dataset, register
from itma.data.datasets.reading import check_root, is_inside, read_text_rows, scan, without_ending
from itma.data.images import FileImages
from itma.data.triplets import Rows, Split, Triplets, by_label
from itma.errors import DataError

log = logging.getLogger(__name__)

LABELS, QUERIES = "labels", "test_queries.txt"

_WRITTEN_OUT = ((".", "dotmark"), ("?", "questionmark"), ("&", "andmark"), ("*", "starmark"))
_WAY_OUT = "get the label files again from https://github.com/xthan/fashion-200k"
_QUERIES_WAY_OUT = "get it from https://github.com/google/tirg, whose README links to the standard test_queries.txt"


class _Line(NamedTuple):
    """One line of a label file."""

    path: str
    caption: str


@dataclass(frozen=True, eq=False)
class Groups:
    """Lists of numbers, one after the other in one array."""

    bounds: np.ndarray
    """(groups + 1,) int64: where each group begins in `members`."""
    members: np.ndarray
    """(all members,) int64."""

    @classmethod
    def of(cls, groups: Sequence[Sequence[int]]) -> "Groups":
        """From lists."""
        bounds = np.cumsum([0, *map(len, groups)])
        return cls(bounds, np.fromiter(chain.from_iterable(groups), dtype=np.int64, count=int(bounds[-1])))

    def pick(self, groups: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """One member of each of some groups, evenly at random."""
        begins = self.bounds[groups]
        return np.asarray(self.members[begins + random.integers(self.bounds[groups + 1] - begins)])


@dataclass(frozen=True, eq=False)
class DrawSiblings:
    """Training samples by the published rule: a random image of a caption that shares a parent with the reference's.

    One of the parents that the reference's caption shares with others, and one of that parent's captions, are drawn
    evenly, both again where that is the reference's own caption; then one of its images.
    """

    captions: Sequence[str]
    """By label."""
    parents: Groups
    """Label → its parents with two or more captions."""
    children: Groups
    """Such a parent → labels."""
    images: Groups
    """Label → images."""

    def __call__(self, triplets: Triplets, rows: np.ndarray, random: np.random.Generator) -> Rows:
        """See `itma.data.triplets.Draw`."""
        references = triplets.references[rows]
        own = triplets.labels[references]
        siblings = own.copy()
        while len(again := np.flatnonzero(siblings == own)):
            siblings[again] = self.children.pick(self.parents.pick(own[again], random), random)
        sentences = [
            feedback(self.captions[source], self.captions[target])
            for source, target in zip(own.tolist(), siblings.tolist(), strict=True)
        ]
        return Rows(references, self.images.pick(siblings, random), sentences)


def texts(root: Path) -> list[str]:
    """The training captions in the order in which TIRG's and MAAF's code reads them: files as the folder lists them.

    Raises:
        DataError: see `Fashion200k.read`.
    """
    return [line.caption for line in _lines(root, "train", as_listed=True)]


def plain(caption: str) -> str:
    """A caption with the signs that TIRG's code replaces by words.

    >>> plain(" black fit & flare dress 2.0")
    'black fit andmark flare dress 2dotmark0'
    """
    caption = caption.strip()
    for sign, word in _WRITTEN_OUT:
        caption = caption.replace(sign, word)
    return caption


def feedback(source: str, target: str) -> str:
    """The feedback that leads from one caption to another: the first word that only the one has, and only the other.

    Where there is no such word, the last one stands in its place, as in TIRG's code.

    >>> feedback("black short dress", "red short dress")
    'replace black with red'
    >>> feedback("short dress", "red short dress")
    'replace dress with red'
    """
    old, new = source.split(), target.split()
    gone = next((word for word in old if word not in new), old[-1])
    come = next((word for word in new if word not in old), new[-1])
    return f"replace {gone} with {come}"


def parents(caption: str) -> list[str]:
    """A caption without one of its words, for each word; as in TIRG's code the letters go wherever they stand.

    >>> parents("red tired dress")
    ['ti dress', 'red dress', 'red tired']
    """
    shorter = (caption.replace(word, "").replace("  ", " ").strip() for word in caption.split())
    return list(dict.fromkeys(shorter))


def siblings(captions: Sequence[str]) -> tuple[Groups, Groups]:
    """Captions that share a parent, in time and memory linear in the words.

    Returns:
        Caption → its parents that have two or more captions; such a parent → its captions.
    """
    children: dict[str, list[int]] = {}
    for number, caption in enumerate(captions):
        for parent in parents(caption):
            children.setdefault(parent, []).append(number)
    shared = [family for family in children.values() if len(family) > 1]
    parents_of: list[list[int]] = [[] for _ in captions]
    for family_number, family in enumerate(shared):
        for number in family:
            parents_of[number].append(family_number)
    return Groups.of(parents_of), Groups.of(shared)


def _training(root: Path, images: FileImages, labels: np.ndarray, captions: Sequence[str]) -> Triplets:
    parents_of, children = siblings(captions)
    order = np.argsort(labels, kind="stable")
    same = Groups(np.searchsorted(labels[order], np.arange(len(captions) + 1)), order)
    draw = DrawSiblings(captions, parents_of, children, same)
    references = np.flatnonzero(np.diff(parents_of.bounds)[labels])
    if not len(references):
        raise DataError(
            f"no two of the {len(captions):,} captions in {str(root / LABELS)!r} differ in one word, so there is "
            f"nothing to learn from; {_WAY_OUT}"
        )
    return Triplets.drawn("fashion200k/train", images, labels, references, draw)


def _lines(root: Path, split: str, *, as_listed: bool = False) -> list[_Line]:
    """The lines of all label files of a split, by the files' names or as the folder lists them."""
    check_root(root, "Fashion200k", (LABELS,))
    ending = f"_{split}_detect_all.txt"
    inside = scan(root / LABELS) if as_listed else sorted(scan(root / LABELS))
    files = [name for name in inside if name.endswith(ending) and not name.startswith(".")]
    if not files:
        examples = ", ".join(inside[:6]) + (" …" if len(inside) > 6 else "") or "nothing"
        raise DataError(
            f"{str(root / LABELS)!r} holds no files named '<category>{ending}'; found: {examples}; {_WAY_OUT}"
        )
    lines = [line for name in files for line in _label_file(root / LABELS / name)]
    if not lines:
        raise DataError(f"the label files of {split} in {str(root / LABELS)!r} are empty; {_WAY_OUT}")
    if repeated := len(lines) - len({line.path for line in lines}):
        log.warning("%s: %d lines of %s name an image again; they are kept", root / LABELS, repeated, split)
    return lines


def _label_file(path: Path) -> Iterator[_Line]:
    for line, row in read_text_rows(path, _WAY_OUT):
        cells = line.split("\t")
        if len(cells) < 3:
            raise row.error(f"expected path, score and caption with tabs between, found {line[:80]!r}")
        if not is_inside(cells[0]):
            raise row.error(f"{cells[0][:80]!r} is not a path such as 'women/dresses/…/57996836_9.jpeg'")
        if not cells[2].strip():
            raise row.error(f"the image {cells[0][:80]!r} has no caption")
        yield _Line(cells[0], plain(cells[2]))


def _queries(path: Path, names: Sequence[str]) -> list[tuple[int, int]]:
    """References and targets, as numbers of images; of an image that is listed twice the last, as published."""
    number = {spelt: index for index, name in enumerate(names) for spelt in (without_ending(name), name)}
    pairs = []
    for line, row in read_text_rows(path, _QUERIES_WAY_OUT):
        cells = line.split()
        if len(cells) != 2:
            raise row.error(f"expected two paths, reference and target, found {line[:80]!r}")
        for name in cells:
            if name not in number:
                raise row.error(
                    f"the image {name[:80]!r} is in none of the test label files; take both from one source"
                )
        reference, target = (number[name] for name in cells)
        if reference == target:
            raise row.error(f"reference and target are one image, {cells[0]!r}")
        pairs.append((reference, target))
    if not pairs:
        raise DataError(f"{str(path)!r} holds no queries; {_QUERIES_WAY_OUT}")
    return pairs


@register("fashion200k")
class Fashion200k(Dataset):
    """Product photographs with captions (Han et al. 2017)."""

    title = "Fashion200k"
    preset = "tirg-fashion200k"
    example = "replace red with blue"
    # of train only about 172,000 images is known
    published: ClassVar = {"train": {}, "test": {"images": 29_789, "queries": 33_480}}

    def read(self, root: Path, split: str) -> Split:
        """Read one split.

        Images are called by their paths in the label files, and stand in the order of these files (by name) and their
        lines. A label is a caption: images of one caption count as the same. Captions are kept as they are, the doubly
        encoded ones too, but for the signs that the published code writes out; see `plain`.

        - train: each image is a reference once, but for those whose caption has no sibling: the published code takes a
          random other image in their place, so they are no rows here. The table's targets and feedbacks are examples;
          see `DrawSiblings`.
        - test: the queries of `test_queries.txt`, in its order. The one protocol is `fashion200k`.

        Args:
            root: the folder that holds `labels`, `women` and `test_queries.txt`.
            split: train or test.

        Raises:
            DataError: the root is another folder, or a file is missing or damaged; the message names file and row.
        """
        lines = _lines(root, split)
        numbers: dict[str, int] = {}
        labels = np.array([numbers.setdefault(line.caption, len(numbers)) for line in lines], dtype=np.int64)
        images = FileImages([line.path for line in lines], [root / line.path for line in lines])
        if split == "train":
            return Split(_training(root, images, labels, list(numbers)))
        rows = [
            (reference, target, feedback(lines[reference].caption, lines[target].caption))
            for reference, target in _queries(root / QUERIES, images.names)
        ]
        triplets = Triplets.of("fashion200k/test", images, rows, labels)
        return Split.of(triplets, by_label(triplets, name="fashion200k"))

    def counts(self, root: Path, split: str) -> dict[str, int]:
        """See `Dataset`."""
        triplets = self.read(root, split).triplets
        return {"images": len(triplets.labels), **({} if split == "train" else {"queries": len(triplets)})}

    def captions(self, root: Path, split: str) -> dict[str, str]:
        """See `Dataset`; as queries use them."""
        return {line.path: line.caption for line in _lines(root, split)}
