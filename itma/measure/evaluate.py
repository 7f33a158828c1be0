"""A model and a table of triplets → an evaluation: the report, and every query's rank."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from itma.data.triplets import Triplets
from itma.errors import ConfigError, DataError, UnknownNameError
from itma.files import write_bytes, write_text
from itma.measure.ranks import (
    BLOCK,
    bootstrap_interval,
    mean_reciprocal_rank,
    median_rank,
    rank_targets,
    recall_at,
)
from itma.model.retriever import Retriever
from itma.progress import bar
from itma.records import Report
from itma.settings import to_plain

KS = (1, 5, 10, 50)
"""Recall is reported at these ranks."""
FORMAT = 1
REPORT, RANKS = "report.json", "ranks.csv"

PROTOCOLS: Mapping[str, str] = {
    "by label": "gallery = all pictures of the split; any picture with the target's label counts; the reference is "
    "removed; ties do not lower a rank"
}
"""Name → everything that decides the numbers, in words."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one model found on one table of triplets: the report, and the arrays it was made from."""

    report: Report
    ranks: np.ndarray
    """(queries,) int64: the rank of each query's best target, from 1."""
    ties: np.ndarray
    """(queries,) int64: pictures other than targets whose score equals that of the best target."""
    best: np.ndarray
    """(queries,) int64: index of each query's best-scoring picture, right or wrong."""
    gallery: torch.Tensor
    """(pictures, dim) float32: the gallery's embeddings, on the model's device."""
    rows: Sequence[tuple[str, str, str, str]]
    """(queries): reference, feedback, kind and target of each, by name."""
    names: Sequence[str]
    """(pictures): the gallery's names."""

    def __str__(self) -> str:
        return str(self.report)

    def top(
        self, retriever: Retriever, triplets: Triplets, rows: Sequence[int], *, k: int = 10
    ) -> list[tuple[list[int], list[float]]]:
        """The k best-scoring pictures of some queries, best first, their references left out.

        Args:
            retriever: the model that was evaluated.
            triplets: what it was evaluated on.
            rows: which queries.
            k: how many pictures; fewer come back where the gallery holds no more.

        Returns:
            For each of `rows`, indices into the gallery and their scores; equal scores in the gallery's order.
        """
        if k < 1:
            raise ConfigError(f"k={k} must be at least 1")
        if len(triplets.labels) != len(self.gallery):
            raise DataError(f"{triplets.name} is not what was evaluated: its gallery has another size")
        if not len(rows):
            return []
        found = []
        for row, query in zip(rows, _embed_queries(retriever, triplets, np.asarray(rows), 128, False), strict=True):
            scores = self.gallery @ query
            scores[int(triplets.references[row])] = -torch.inf
            order = scores.sort(descending=True, stable=True)
            count = min(k, len(scores) - 1)
            found.append((order.indices[:count].tolist(), order.values[:count].tolist()))
        return found

    def write(self, folder: str | Path) -> None:
        """Leave `report.json` and `ranks.csv` (one line for each query) in `folder`.

        Raises:
            StorageError: the disk is full or the folder cannot be written to.
        """
        folder = Path(folder)
        table = io.StringIO(newline="")
        lines = csv.writer(table, lineterminator="\n")
        lines.writerow(["row", "reference", "feedback", "kind", "target", "rank", "ties", "best"])
        for row, (names, rank, ties, best) in enumerate(zip(self.rows, self.ranks, self.ties, self.best, strict=True)):
            lines.writerow([row, *names, rank, ties, self.names[best]])
        write_bytes(folder / RANKS, table.getvalue().encode("utf-8", "surrogateescape"))
        write_text(folder / REPORT, json.dumps({"format": FORMAT, **to_plain(self.report)}, indent=2) + "\n")


def evaluate(
    retriever: Retriever,
    triplets: Triplets,
    *,
    protocol: str = "by label",
    ks: Sequence[int] = KS,
    batch: int = 128,
    block: int = BLOCK,
    intervals: bool = True,
    seed: int = 0,
    model_name: str | None = None,
    progress: bool = False,
) -> Evaluation:
    """Measure a model: for each query, where the first right picture stands in the gallery.

    Each picture of the gallery, and each that serves as a reference, goes through the trunk once for that purpose,
    however many queries point at it.

    Args:
        retriever: the model.
        triplets: queries, and the pictures that are their gallery.
        protocol: a name in `PROTOCOLS`.
        ks: recall is taken at these ranks.
        batch: pictures or queries that are embedded at a time.
        block: scores held at a time; see `itma.measure.ranks.rank_targets`.
        intervals: draw the bootstrap intervals too.
        seed: decides the bootstrap's draws.
        model_name: how the report calls the model; absent: its composer's name.
        progress: show progress bars.

    Raises:
        UnknownNameError: no such protocol.
        ConfigError: a k or a batch below 1.
        DataError: there are no queries, a query has no target besides its reference, or an embedding is no number.
        PictureError: a picture that cannot be read.
    """
    if protocol not in PROTOCOLS:
        raise UnknownNameError("protocol", protocol, PROTOCOLS)
    if batch < 1 or not ks or min(ks) < 1:
        raise ConfigError(f"batch={batch} and ks={tuple(ks)} must be at least 1")
    if not len(triplets):
        raise DataError(f"{triplets.name} holds no queries, so there is nothing to measure")
    gallery = _embed_gallery(retriever, triplets, batch, progress)
    queries = _embed_queries(retriever, triplets, np.arange(len(triplets)), batch, progress)
    labels = torch.as_tensor(triplets.labels, device=gallery.device)
    targets, references = (
        torch.as_tensor(indices, device=gallery.device) for indices in (triplets.targets, triplets.references)
    )
    found = rank_targets(queries, gallery, labels[targets], labels, references, block=block)
    ranks, ties, best = (part.cpu().numpy() for part in found)
    kinds = np.array(triplets.kinds or [""] * len(triplets), dtype=object)
    by_kind = {kind: ranks[kinds == kind] for kind in sorted(set(triplets.kinds))}
    report = Report(
        model=model_name or retriever.name,
        protocol=f"{triplets.name}, {protocol}: {PROTOCOLS[protocol]}",
        queries=len(triplets),
        gallery=len(gallery),
        recall=recall_at(ranks, sorted(set(ks))),
        interval={k: bootstrap_interval(ranks <= k, seed=seed) for k in sorted(set(ks))} if intervals else {},
        median_rank=median_rank(ranks),
        mean_reciprocal_rank=mean_reciprocal_rank(ranks),
        tied_queries=int((ties > 0).sum()),
        recall_by_kind={kind: recall_at(some, sorted(set(ks))) for kind, some in by_kind.items()},
        queries_by_kind={kind: len(some) for kind, some in by_kind.items()},
    )
    names = triplets.pictures.names
    rows = [
        (names[reference], feedback, kind, names[target])
        for reference, feedback, kind, target in zip(
            triplets.references, triplets.feedback, kinds, triplets.targets, strict=True
        )
    ]
    return Evaluation(report, ranks, ties, best, gallery, rows, names)


def _embed_gallery(retriever: Retriever, triplets: Triplets, batch: int, progress: bool) -> torch.Tensor:
    """All pictures as (pictures, dim)."""
    parts = []
    with bar("embedding the gallery", show=progress, total=len(triplets.labels), unit="pictures") as meter:
        for indices in _runs(np.arange(len(triplets.labels)), batch):
            parts.append(retriever.embed_pictures(triplets.pictures.load(indices, retriever.preprocess)))
            meter.update(len(indices))
    return torch.cat(parts)


def _embed_queries(
    retriever: Retriever, triplets: Triplets, rows: np.ndarray, batch: int, progress: bool
) -> torch.Tensor:
    """The queries `rows` as (rows, dim); the trunk sees each distinct reference once."""
    distinct, places = np.unique(triplets.references[rows], return_inverse=True)
    order = np.argsort(places, kind="stable")  # queries of one reference side by side
    bounds = np.searchsorted(places[order], np.arange(len(distinct) + 1))
    parts = []
    with bar("embedding the queries", show=progress, total=len(rows), unit="queries") as meter:
        for run in _runs(np.arange(len(distinct)), batch):
            maps = retriever.trunk_maps(triplets.pictures.load(distinct[run], retriever.preprocess))
            for part in _runs(order[bounds[run[0]] : bounds[run[-1] + 1]], batch):
                own = torch.as_tensor(places[part] - run[0], device=maps[0].device)
                feedback = [triplets.feedback[row] for row in rows[part].tolist()]
                parts.append(retriever.embed_queries_from([level[own] for level in maps], feedback))
                meter.update(len(part))
    ordered = torch.cat(parts)
    embedded = torch.empty_like(ordered)
    embedded[torch.as_tensor(order, device=ordered.device)] = ordered
    return embedded


def _runs(indices: np.ndarray, length: int) -> Iterator[np.ndarray]:
    for first in range(0, len(indices), length):
        yield indices[first : first + length]
