"""MIT-States (Isola et al. 2015), asked as in TIRG (Vo et al. 2019, section 5.2): the same noun with another adjective.

Expected under the root: `images/<adjective> <noun>/<file>`. Where there is no such folder, a listing `files.txt` with
one `<adjective> <noun>/<file>` on each line serves for everything that needs no pictures.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itma.data.datasets import Split
from itma.data.datasets.reading import check_root, read_lines, row_error
from itma.data.images import FilePictures
from itma.data.triplets import Protocol, Rows, Task, Triplets
from itma.errors import DataError, UnknownNameError

log = logging.getLogger(__name__)

SPLITS = ("train", "test")
LISTING = "files.txt"

PUBLISHED: Mapping[str, Mapping[str, int]] = {
    "train": {"pictures": 43_207, "nouns": 196},
    "test": {"pictures": 10_546, "nouns": 49, "queries": 82_732},
}
"""Split → what is counted → how many the published files hold."""

TEST_NOUNS = frozenset(
    "armor bracelet bush camera candy castle ceramic cheese clock clothes coffee fan fig fish foam forest fruit "
    "furniture garden gate glass horse island laptop lead lightning mirror orange paint persimmon plastic plate potato "
    "road rubber sand shell sky smoke steel stream table tea tomato vacuum wax wheel window wool".split()
)
"""The nouns of the test split, by TIRG's list; no picture of them is learnt from."""

_WAY_OUT = "get the data set again from https://web.mit.edu/phillipi/Public/states_and_transformations/"


@dataclass(frozen=True)
class _States:
    """Which adjectives a noun has, and the pictures of each."""

    noun: np.ndarray
    """(pictures,) int64."""
    adjective: np.ndarray
    """(pictures,) int64."""
    pictures: Mapping[int, Mapping[int, np.ndarray]]
    """Noun → adjective → indices of pictures."""
    words: Sequence[str]
    """Adjective → the word."""

    def others(self, picture: int) -> list[int]:
        """The other adjectives of a picture's noun."""
        own = self.adjective[picture]
        return [adjective for adjective in self.pictures[int(self.noun[picture])] if adjective != own]

    def drawn(self, triplets: Triplets, rows: np.ndarray, random: np.random.Generator) -> Rows:
        """Another adjective evenly, then one of its pictures evenly.

        As published, two samples of one reference that follow each other have different adjectives, where the noun
        has enough of them.
        """
        references = triplets.references[rows]
        targets, feedback, before = np.empty_like(references), [], (-1, -1)
        for place, reference in enumerate(references.tolist()):
            choices = self.others(reference)
            fresh = [adjective for adjective in choices if (reference, adjective) != before] or choices
            adjective = fresh[int(random.integers(len(fresh)))]
            targets[place] = random.choice(self.pictures[int(self.noun[reference])][adjective])
            feedback.append(self.words[adjective])
            before = (reference, adjective)
        return Rows(references, targets, feedback)


def load(root: Path, split: str) -> Split:
    """Read one split: pictures sorted by path, labelled by folder; the feedback is the target's adjective alone.

    - train: each picture that has another adjective to go to, twice in a row; targets are drawn (`draws_targets`). With
      `train.per_reference=2` the two stand together, as published.
    - test: each picture with each other adjective of its noun. The protocol `mitstates` ranks all pictures of the test
      nouns. The aspects `adjective` and `noun` count answers of which only that is right.

    Args:
        root: the folder that holds `images`, or `files.txt`.
        split: train or test.

    Raises:
        UnknownNameError: another split.
        DataError: the root is another folder, or holds no pictures of the split.
    """
    if split not in SPLITS:
        raise UnknownNameError("split of MIT-States", split, SPLITS)
    listed = [
        (folder, name)
        for folder, name in _files(root)
        if _is_state(folder) and (folder.partition(" ")[2] in TEST_NOUNS) == (split == "test")
    ]
    if not listed:
        raise DataError(
            f"{str(root)!r} holds no pictures of MIT-States' {split} split; expected images/<adjective> <noun>/<file>; "
            f"{_WAY_OUT}"
        )
    folders = [folder for folder, _ in listed]
    adjectives, adjective = np.unique([folder.partition(" ")[0] for folder in folders], return_inverse=True)
    _, noun = np.unique([folder.partition(" ")[2] for folder in folders], return_inverse=True)
    _, label = np.unique(folders, return_inverse=True)
    pictures: dict[int, dict[int, np.ndarray]] = {}
    for kind in np.unique(label).tolist():
        members = np.flatnonzero(label == kind)
        pictures.setdefault(int(noun[members[0]]), {})[int(adjective[members[0]])] = members
    states = _States(noun, adjective, pictures, adjectives.tolist())
    asked = [(picture, other) for picture in range(len(listed)) for other in states.others(picture)]
    if split == "train":  # the table's own targets are examples; `drawn` chooses
        first = dict(reversed(asked))
        asked = [(picture, first[picture]) for picture in sorted(first) for _ in range(2)]
    names = [f"{folder}/{name}" for folder, name in listed]
    triplets = Triplets(
        f"mitstates/{split}",
        FilePictures(names, [root / "images" / folder / name for folder, name in listed]),
        label,
        np.array([picture for picture, _ in asked], dtype=np.int64),
        np.array([states.pictures[int(noun[picture])][other][0] for picture, other in asked], dtype=np.int64),
        [states.words[other] for _, other in asked],
        draw=states.drawn if split == "train" else None,
        draws_targets=split == "train",
        aspects={"adjective": adjective, "noun": noun} if split == "test" else {},
    )
    if split == "train":
        return Split(triplets, {})
    return Split(triplets, {"mitstates": protocol(triplets)})


def protocol(triplets: Triplets, nouns: Sequence[str] | None = None) -> Protocol:
    """The published protocol, on all pictures of the test split or on those of some nouns.

    Raises:
        UnknownNameError: a noun that no picture has.
    """
    of_picture = np.array([name.partition("/")[0].partition(" ")[2] for name in triplets.pictures.names])
    for noun in nouns or ():
        if noun not in of_picture:
            raise UnknownNameError("noun", noun, sorted(set(of_picture.tolist())))
    kept = np.ones(len(of_picture), dtype=bool) if nouns is None else np.isin(of_picture, list(nouns))
    which = "the test nouns" if nouns is None else ", ".join(nouns)
    return Protocol(
        "mitstates",
        f"gallery = all pictures of {which}; any picture of the same adjective and noun as the target counts; the "
        "reference is removed",
        (Task("", np.flatnonzero(kept[triplets.references]), np.flatnonzero(kept)),),
    )


def counts(root: Path, split: str) -> dict[str, int]:
    """What there is of what `PUBLISHED` counts."""
    triplets = load(root, split).triplets
    names = triplets.pictures.names
    found = {"pictures": len(names), "nouns": len({name.partition("/")[0].partition(" ")[2] for name in names})}
    return found if split == "train" else found | {"queries": len(triplets)}


def _is_state(folder: str) -> bool:
    """Whether a folder is of an adjective and a noun; `adj noun` folders hold pictures without the adjective."""
    adjective, blank, noun = folder.partition(" ")
    return bool(adjective and blank and noun) and adjective != "adj"


def _files(root: Path) -> list[tuple[str, str]]:
    """(folder, file) of all pictures, sorted, so that the order is the same on every system."""
    if (root / LISTING).is_file() and not (root / "images").exists():
        return sorted(_listed(root / LISTING))
    check_root(root, "MIT-States", ("images",))
    found = []
    try:
        for folder in sorted(os.scandir(root / "images"), key=lambda entry: entry.name):
            if folder.is_dir() and _is_state(folder.name):
                names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
                found += [(folder.name, name) for name in names]
    except OSError as error:
        raise DataError(f"{error.filename!r} cannot be read: {error.strerror}") from error
    if not found:
        inside = ", ".join(sorted(path.name for path in (root / "images").iterdir())[:3]) or "nothing"
        raise DataError(
            f"{str(root / 'images')!r} holds no folders named '<adjective> <noun>'; found: {inside}; {_WAY_OUT}"
        )
    return found


def _listed(path: Path) -> list[tuple[str, str]]:
    found = []
    for row, line in enumerate(read_lines(path, _WAY_OUT)):
        if line:
            folder, slash, name = line.partition("/")
            if not (folder and slash and name):
                raise row_error(path, row, f"{line[:60]!r} is not of the form '<adjective> <noun>/<file>'; {_WAY_OUT}")
            found.append((folder, name))
    return found
