"""A table of triplets: what training and evaluation take, whichever data set it came from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itma.data.images import Pictures
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
