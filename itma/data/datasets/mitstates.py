"""MIT-States (Isola et al. 2015) as TIRG (Vo et al. 2019, arXiv:1812.07119) uses it: other states of the same noun.

Expected under the root, as published: `images/<adjective> <noun>/*.jpg`. Without `images`, a listing `files.txt` with
a line `<adjective> <noun>/<file>` for each image is read in its place.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from itma.data.datasets.base import Dataset, register
from itma.data.datasets.reading import check_root, read_text_rows, scan
from itma.data.images import FileImages
from itma.data.triplets import Protocol, Rows, Split, Task, Triplets, encode_aspect
from itma.errors import DataError, UnknownNameError

log = logging.getLogger(__name__)

IMAGES, LISTING = "images", "files.txt"

TEST_NOUNS = frozenset(
    """
    armor bracelet bush camera candy castle ceramic cheese clock clothes coffee fan fig fish foam forest fruit furniture
    garden gate glass horse island laptop lead lightning mirror orange paint persimmon plastic plate potato road rubber
    sand shell sky smoke steel stream table tea tomato vacuum wax wheel window wool
    """.split()
)
"""The nouns whose images are for testing, as published with TIRG; all others are for training."""

_NO_ADJECTIVE = "adj"
"""Images of a noun in any state stand in the folder `adj <noun>`; they are not used."""
_ENDINGS = (".jpg", ".jpeg")
_WAY_OUT = "get the data again from http://web.mit.edu/phillipi/Public/states_and_transformations/"
_TRIES = 100


class _Image(NamedTuple):
    adjective: str
    noun: str
    folder: str
    file: str


@dataclass(frozen=True, eq=False)
class DrawAdjectives:
    """Training samples by the published rule: a random image of the same noun with another adjective.

    Of neighbouring rows with one reference, each gets another adjective than the one before, where the noun has three
    or more. TIRG's code also draws, once in as many times as the noun has adjectives, the reference's own; here a
    feedback always asks for a change.

    Images are sorted by label, and labels have the adjectives and nouns of their names.
    """

    adjectives: Sequence[str]
    """(labels): the adjective of each label."""
    first: Sequence[int]
    """(labels + 1): where each label's images begin."""
    states: Sequence[Sequence[int]]
    """(labels): all labels of the same noun, in order."""

    def __call__(self, triplets: Triplets, rows: np.ndarray, random: np.random.Generator) -> Rows:
        """See `itma.data.triplets.Draw`."""
        references = triplets.references[rows]
        chances = random.random((len(rows), 2)).tolist()
        targets = np.zeros(len(rows), dtype=np.int64)
        feedback: list[str] = []
        last_reference = last_index = -1
        for row, reference in enumerate(references.tolist()):
            own = int(triplets.labels[reference])
            states = self.states[own]
            barred = {states.index(own)}
            if reference == last_reference and len(states) > 2:
                barred.add(last_index)
            chance = chances[row]
            for _ in range(_TRIES):
                index = int(chance[0] * (len(states) - len(barred)))
                for other in sorted(barred):
                    index += index >= other
                begin, end = self.first[states[index]], self.first[states[index] + 1]
                targets[row] = begin + int(chance[1] * (end - begin))
                if triplets.present is None or triplets.present[targets[row]]:
                    break
                chance = random.random(2).tolist()
            feedback.append(self.adjectives[states[index]])
            last_reference, last_index = reference, index
        return Rows(references, targets, feedback)


def protocol(triplets: Triplets, nouns: Sequence[str] | None = None) -> Protocol:
    """The published protocol, on all images of the test split or on those of some nouns.

    Raises:
        UnknownNameError: a noun that no image has.
    """
    noun_of = np.array([_noun(name) for name in triplets.images.names])
    for noun in nouns or ():
        if noun not in noun_of:
            raise UnknownNameError("noun", noun, set(noun_of.tolist()))
    in_gallery = np.ones(len(noun_of), dtype=bool) if nouns is None else np.isin(noun_of, list(nouns))
    which = "the test nouns" if nouns is None else ", ".join(nouns)
    return Protocol(
        "mitstates",
        f"gallery = all images of {which}; any image with the target's adjective and noun counts (for adjective or "
        "noun alone, any with that); the reference is removed",
        (Task("", np.flatnonzero(in_gallery[triplets.references]), np.flatnonzero(in_gallery)),),
    )


def texts(root: Path) -> list[str]:
    """The training captions in the order in which TIRG's and MAAF's code reads them: folders as the disk lists them.

    Raises:
        DataError: see `MitStates.read`.
    """
    return [f"{image.adjective} {image.noun}" for image in _list_images(root, "train")]


def _noun(name: str) -> str:
    """The noun in an image's name."""
    return name.partition("/")[0].split()[1]


def _list_images(root: Path, split: str) -> list[_Image]:
    """The split's images as the disk, or the listing, has them."""
    if (root / LISTING).is_file() and not (root / IMAGES).exists():
        source, entries = root / LISTING, _read_images(root / LISTING)
    else:
        check_root(root, "MIT-States", (IMAGES,))
        source, entries = root / IMAGES, _on_disk(root / IMAGES)
    images = [image for image in entries if (image.noun in TEST_NOUNS) == (split == "test")]
    if not images:
        raise DataError(
            f"{str(source)!r} holds no images of MIT-States' {split} split; expected "
            f"'{'ancient clock' if split == 'test' else 'ancient building'}/<file>.jpg' and others like it; {_WAY_OUT}"
        )
    return images


def _read_images(path: Path) -> Iterator[_Image]:
    first: dict[str, int] = {}
    for line, row in read_text_rows(path, _WAY_OUT):
        folder, _, file = line.partition("/")
        if not file or "/" in file or "\0" in line or file == ".." or len(folder.split()) > 2:
            raise row.error(f"{line[:80]!r} is not of the form '<adjective> <noun>/<file>'")
        if first.setdefault(line, row.index) != row.index:
            raise row.error(f"{line[:80]!r} already stands in row {first[line] + 1:,}; list each file once")
        yield from _of(folder, [file])


def _on_disk(images: Path) -> Iterator[_Image]:
    others: list[str] = []
    inside = scan(images)
    folders = [name for name in inside if " " in name and (images / name).is_dir()]
    if not folders:
        examples = ", ".join(sorted(inside)[:3]) or "nothing"
        raise DataError(f"{str(images)!r} holds no folders named '<adjective> <noun>'; found: {examples}; {_WAY_OUT}")
    for folder in folders:
        if len(folder.split()) > 2:
            raise DataError(
                f"the folder {str(images / folder)!r} is not named '<adjective> <noun>'; rename it or take it away"
            )
        files = [name for name in scan(images / folder) if not name.startswith(".")]
        others += [f"{folder}/{name}" for name in files if not name.lower().endswith(_ENDINGS)]
        yield from _of(folder, (name for name in files if name.lower().endswith(_ENDINGS)))
    if others:
        log.warning("%s: %d files do not end in .jpg and are left out, e.g. %s", images, len(others), min(others))


def _of(folder: str, files: Iterable[str]) -> Iterator[_Image]:
    """The images of one folder; none where it names no adjective and noun."""
    words = folder.split()
    if len(words) == 2 and words[0] != _NO_ADJECTIVE:
        yield from (_Image(words[0], words[1], folder, file) for file in files)


@register("mitstates")
class MitStates(Dataset):
    """Adjectives and nouns (Isola et al. 2015)."""

    title = "MIT-States"
    preset = "tirg-mitstates"
    example = "ripe"
    published: ClassVar = {
        "train": {"images": 43_207, "nouns": 196},
        "test": {"images": 10_546, "nouns": 49, "queries": 82_732},
    }

    def read(self, root: Path, split: str) -> Split:
        """Read one split.

        Images are called `<adjective> <noun>/<file>` and sorted by that, whatever order the disk has. A label is an
        adjective with a noun; the aspects `adjective` and `noun` are labels of either alone, for the recalls that TIRG
        reports beside: a hit is any image with the target's adjective (noun).

        - train: each image of a noun with two or more adjectives is a reference twice in a row, so that a
          `itma.data.batching.Plan` with `per_reference=2` puts two feedbacks to one reference side by side, as
          published. The table's targets and feedbacks are examples; see `DrawAdjectives`.
        - test: each image is asked for every other adjective that its noun has; the feedback is that adjective. The one
          protocol is `mitstates`; the target of the table is the first image of its label.

        Args:
            root: the folder that holds `images`.
            split: train or test.

        Raises:
            DataError: the root is another folder, cannot be read, or holds no image of the split.
        """
        images = _list_images(root, split)
        images.sort(key=lambda image: (f"{image.adjective} {image.noun}", image.folder, image.file))
        labels = sorted({image[:2] for image in images}, key=" ".join)
        number = {label: index for index, label in enumerate(labels)}
        states: dict[str, list[int]] = defaultdict(list)  # the labels of each noun
        for index, (_, noun) in enumerate(labels):
            states[noun].append(index)
        label_of = np.array([number[image[:2]] for image in images], dtype=np.int64)
        draw = DrawAdjectives(
            [adjective for adjective, _ in labels],
            np.searchsorted(label_of, np.arange(len(labels) + 1)).tolist(),
            [states[noun] for _, noun in labels],
        )
        askable = np.array([len(states[image.noun]) > 1 for image in images])
        if left_out := [image.noun for image in images if len(states[image.noun]) == 1]:
            why = f"since their nouns have one adjective only ({', '.join(sorted(set(left_out)))})"
            log.warning("%s: %d images of %s are no references, %s", root, len(left_out), split, why)
        paths = [root / IMAGES / image.folder / image.file for image in images]
        files = FileImages([f"{image.folder}/{image.file}" for image in images], paths)
        if split == "train":
            references = np.repeat(np.flatnonzero(askable), 2)
            return Split(Triplets.drawn("mitstates/train", files, label_of, references, draw))
        triplets = Triplets.of(
            "mitstates/test",
            files,
            [
                (reference, draw.first[target], draw.adjectives[target])
                for reference, label in enumerate(label_of.tolist())
                for target in draw.states[label]
                if target != label
            ],
            label_of,
            aspects={name: encode_aspect([getattr(image, name) for image in images]) for name in ("adjective", "noun")},
        )
        return Split.of(triplets, protocol(triplets))

    def counts(self, root: Path, split: str) -> dict[str, int]:
        """See `Dataset`."""
        triplets = self.read(root, split).triplets
        totals = {"images": len(triplets.labels), "nouns": len(set(map(_noun, triplets.images.names)))}
        return totals if split == "train" else totals | {"queries": len(triplets)}
