"""A table of triplets: what training and evaluation take, whichever data set it came from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from itma.data.images import Pictures, Preprocess
from itma.errors import DataError
from itma.records import Triplet


@dataclass(frozen=True)
class Triplets:
    """Rows of (reference, feedback, target), as indices into one collection of pictures.

    In an evaluation the pictures are also the gallery.
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
        for what, indices in (("reference", self.references), ("target", self.targets)):
            if rows and not (0 <= indices.min() and indices.max() < pictures):
                raise DataError(f"{self.name}: a {what} lies outside the {pictures} pictures")

    def __len__(self) -> int:
        return len(self.feedback)

    def __getitem__(self, row: int) -> Triplet:
        names = self.pictures.names
        return Triplet(names[self.references[row]], self.feedback[row], names[self.targets[row]])


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
    rest = replace(
        triplets,
        references=triplets.references[~held],
        targets=triplets.targets[~held],
        feedback=[triplets.feedback[row] for row in np.flatnonzero(~held).tolist()],
        kinds=[triplets.kinds[row] for row in np.flatnonzero(~held).tolist()] if triplets.kinds else (),
    )
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
