"""A catalogue's rows on disk: a pair of arrays, ids and embeddings, in one folder.

Nothing above this module knows how the rows are kept.
"""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itma.errors import CatalogueError
from itma.files import file_sum, new_folder

FORMAT = 1
ABOUT, IDS, EMBEDDINGS, SKIPPED = "catalogue.json", "items.json", "embeddings.npy", "skipped.csv"


@dataclass(frozen=True)
class Skipped:
    """A file that could not be indexed."""

    id: str
    reason: str

    def __str__(self) -> str:
        return f"{self.id}: {self.reason}"


@dataclass(frozen=True)
class Rows:
    """What a catalogue holds."""

    ids: list[str]
    """One for each item, sorted."""
    embeddings: np.ndarray
    """(items, dim) float32, of length 1."""
    skipped: list[Skipped]
    """Files that could not be read."""
    about: dict[str, Any]
    """Where the pictures are and which model embedded them."""

    def best(self, query: np.ndarray, k: int, *, without: int | None = None) -> list[tuple[int, float]]:
        """The k rows nearest to a query as (row, score), best first; equal scores in the order of ids.

        Args:
            query: (dim,) float32 of length 1.
            k: how many; fewer come back where there are fewer items.
            without: a row that is left out.
        """
        # float32 carries a cosine to about seven digits; rounding lets the copies of one picture tie everywhere
        scores = np.round(self.embeddings @ query, 6)
        if without is not None:
            scores[without] = -np.inf
        k = min(k, len(scores) - (without is not None))
        if k < 1:
            return []
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        rows = np.flatnonzero(scores >= least)
        rows = rows[np.argsort(-scores[rows], kind="stable")][:k]
        return [(int(row), float(scores[row])) for row in rows]


def write(path: Path, rows: Rows, *, replace: bool = False) -> None:
    """Write a catalogue's folder, whole or not at all.

    Raises:
        StorageError: the disk is full, `path` cannot be written to, or exists and is not to be replaced.
    """
    with new_folder(path, replace=replace) as draft:
        np.save(draft / EMBEDDINGS, rows.embeddings, allow_pickle=False)
        (draft / IDS).write_text(json.dumps(rows.ids), encoding="utf-8")
        with (draft / SKIPPED).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file).writerows([("id", "reason"), *((skipped.id, skipped.reason) for skipped in rows.skipped)])
        about = {
            "format": FORMAT,
            "items": len(rows.ids),
            **rows.about,
            "sums": {name: file_sum(draft / name) for name in (EMBEDDINGS, IDS, SKIPPED)},
        }
        (draft / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def is_catalogue(path: Path) -> bool:
    """Whether a catalogue was written there, whole or not."""
    return (path / ABOUT).is_file()


def read(path: Path) -> Rows:
    """Open a catalogue's folder; the embeddings stay on disk until they are asked for.

    Raises:
        CatalogueError: the folder or a file in it is missing, damaged, or of a newer format; the message names it.
    """
    if not path.exists():
        raise CatalogueError(f"the catalogue {str(path)!r} does not exist; make it with: itma index RUN FOLDER {path}")
    if not is_catalogue(path):
        raise CatalogueError(f"{str(path)!r} is no catalogue: {ABOUT} is missing; make one with: itma index")
    try:
        about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
        if about["format"] > FORMAT:
            raise CatalogueError(
                f"the catalogue {str(path)!r} was written by a newer itma (format {about['format']}, this one reads "
                f"{FORMAT}); upgrade with: pip install -U itma"
            )
        _verify(path, about["sums"], (EMBEDDINGS, IDS, SKIPPED))
        ids = json.loads((path / IDS).read_text(encoding="utf-8"))
        embeddings = np.load(path / EMBEDDINGS, mmap_mode="r", allow_pickle=False)
        with (path / SKIPPED).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            skipped = [Skipped(line["id"], line["reason"]) for line in csv.DictReader(file)]
        rows = Rows(ids, embeddings, skipped, about)
        if embeddings.ndim != 2 or len(ids) != len(embeddings) or len(ids) != about["items"]:
            raise ValueError(f"{len(ids)} ids, embeddings {embeddings.shape}")
    except CatalogueError:
        raise
    except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
        raise CatalogueError(f"the catalogue {str(path)!r} is damaged ({error}); index the pictures again") from error
    return rows


def _verify(path: Path, sums: dict[str, str], names: Iterable[str]) -> None:
    for name in names:
        if not (path / name).is_file():
            raise CatalogueError(f"{str(path / name)!r} is missing; index the pictures again")
        if file_sum(path / name) != sums[name]:
            raise CatalogueError(
                f"{str(path / name)!r} is damaged: it differs from what was saved; index the pictures again"
            )
