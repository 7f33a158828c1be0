"""A table of triplets: what training and evaluation take, whichever data set it came from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch

from itma.data.images import Pictures, Preprocess
from itma.errors import DataError
from itma.records import Triplet


class Rows(NamedTuple):
    """Some training samples."""

    references: np.ndarray
    """(rows,) int64: index of each row's reference picture."""
    targets: np.ndarray
    """(rows,) int64: index of each row's target picture."""
    feedback: list[str]
    """(rows): each row's sentence."""


Draw = Callable[["Triplets", np.ndarray, np.random.Generator], Rows]
"""Turns rows of a table into training samples, by a data set's published rule: the table, indices of its rows, and the
only source of chance. Rows of one reference may stand side by side (see `itma.data.batches.Plan`)."""

UNKNOWN_TARGET = -1
"""Stands for the target of a query whose target was never published."""


@dataclass(frozen=True)
class Triplets:
    """Rows of (reference, feedback, target), as indices into one collection of pictures.

    In an evaluation the pictures are also the gallery, unless a protocol names another.
    """

    name: str
    """The data set and the split, e.g. `shapes/test`."""
    pictures: Pictures
    labels: np.ndarray
    """(pictures,) int64: pictures of one label count as the same; each is a target where one of them is."""
    references: np.ndarray
    """(rows,) int64: index of each row's reference picture."""
    targets: np.ndarray
    """(rows,) int64: index of each row's target picture."""
    feedback: Sequence[str]
    """(rows): each row's sentence."""
    kinds: Sequence[str] = ()
    """(rows) or empty: the kind of change, for results by kind."""
    draw: Draw | None = None
    """How training samples come from rows; absent: they are the rows as they stand."""
    aspects: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Further labels of the pictures, (pictures,) int64 each, e.g. of the adjective alone."""

    def __post_init__(self) -> None:
        rows, pictures = len(self.feedback), len(self.pictures.names)
        if not len(self.references) == len(self.targets) == rows:
            raise DataError(
                f"{self.name}: {len(self.references)} references, {len(self.targets)} targets and {rows} sentences; "
                "there must be one of each in every row"
            )
        if len(self.labels) != pictures:
            raise DataError(f"{self.name}: {len(self.labels)} labels for {pictures} pictures")
        if self.kinds and len(self.kinds) != rows:
            raise DataError(f"{self.name}: {len(self.kinds)} kinds for {rows} rows")
        for aspect, labels in self.aspects.items():
            if len(labels) != pictures:
                raise DataError(f"{self.name}: {len(labels)} labels of {aspect!r} for {pictures} pictures")
        for what, indices, least in (("reference", self.references, 0), ("target", self.targets, UNKNOWN_TARGET)):
            if rows and not (least <= indices.min() and indices.max() < pictures):
                raise DataError(f"{self.name}: a {what} lies outside the {pictures} pictures")

    def __len__(self) -> int:
        return len(self.feedback)

    def __getitem__(self, row: int) -> Triplet:
        names = self.pictures.names
        return Triplet(names[self.references[row]], self.feedback[row], names[self.targets[row]])

    def drawn(self, rows: np.ndarray, random: np.random.Generator) -> Rows:
        """Training samples from some rows, by the data set's rule."""
        if self.draw is not None:
            return self.draw(self, rows, random)
        return Rows(self.references[rows], self.targets[rows], [self.feedback[row] for row in rows.tolist()])

    def only(self, rows: np.ndarray) -> "Triplets":
        """Some of the rows, over the same pictures.

        Args:
            rows: (rows,) int64 indices.
        """
        return replace(
            self,
            references=self.references[rows],
            targets=self.targets[rows],
            feedback=[self.feedback[row] for row in rows.tolist()],
            kinds=[self.kinds[row] for row in rows.tolist()] if self.kinds else (),
        )


@dataclass(frozen=True)
class Task:
    """Some queries that are ranked against one gallery."""

    name: str
    """What the task is called in a report, e.g. the category; empty where a protocol has only one."""
    rows: np.ndarray
    """(queries,) int64: rows of the triplets."""
    gallery: np.ndarray
    """(ranked,) int64: indices of the pictures that are ranked; distinct."""


@dataclass(frozen=True)
class Protocol:
    """Everything that decides a number: which queries, which gallery, what is excluded, what counts."""

    name: str
    """E.g. `fashioniq/original`."""
    about: str
    """The same in words, printed beside the numbers."""
    tasks: tuple[Task, ...]
    ks: tuple[int, ...] = (1, 5, 10, 50)
    """Recall is reported at these ranks."""
    without_reference: bool = True
    """Whether a query's reference is removed from its gallery."""
    wanted: Mapping[str, int] = field(default_factory=dict)
    """Task → the queries it has where all pictures are present; filled in where some are missing."""


def hold_out(triplets: Triplets, share: float, *, seed: int) -> tuple[Triplets, Triplets | None]:
    """Split off some references with all their rows, to choose checkpoints by.

    Args:
        triplets: the training set.
        share: of the references, from 0 (none) to below 1; at least one is taken where it is above 0.
        seed: decides which.

    Returns:
        What remains to learn from, and what was held out (absent where `share` is 0), whose gallery holds only the
        pictures that its own rows speak of.

    Raises:
        DataError: nothing would remain to learn from.
    """
    if share == 0:
        return triplets, None
    references = np.unique(triplets.references)
    random = np.random.Generator(np.random.PCG64(seed))
    held_out = max(1, min(round(share * len(references)), len(references) - 1))
    held = np.isin(triplets.references, random.permutation(references)[:held_out])
    if held.all():
        raise DataError(
            f"{triplets.name} has {len(references)} reference; holding it out leaves none to learn from: add pictures, "
            "or hold out none (train.hold_out=0)"
        )
    rest = triplets.only(np.flatnonzero(~held))
    rows = np.flatnonzero(held)
    pictures = np.unique(np.concatenate([triplets.references[rows], triplets.targets[rows]]))
    kept = Triplets(
        f"{triplets.name} (held out)",
        SomePictures(triplets.pictures, pictures),
        triplets.labels[pictures],
        np.searchsorted(pictures, triplets.references[rows]),
        np.searchsorted(pictures, triplets.targets[rows]),
        [triplets.feedback[row] for row in rows.tolist()],
        [triplets.kinds[row] for row in rows.tolist()] if triplets.kinds else (),
    )
    return rest, kept


class SomePictures:
    """Part of a collection of pictures, numbered anew."""

    def __init__(self, pictures: Pictures, chosen: np.ndarray) -> None:
        self._pictures, self._chosen = pictures, chosen
        self.names: Sequence[str] = [pictures.names[index] for index in chosen]

    def load(self, indices: Sequence[int] | np.ndarray, preprocess: Preprocess) -> torch.Tensor:
        """See `Pictures.load`."""
        return self._pictures.load(self._chosen[np.asarray(indices)], preprocess)
