"""A model and a table of triplets → an evaluation: the report, and every query's rank."""

import csv
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itma.config import to_plain
from itma.data.triplets import UNKNOWN_TARGET, Protocol, Task, Track, Triplets, by_label
from itma.errors import ConfigError, DataError
from itma.evaluation import ranking
from itma.io import write_bytes, write_text
from itma.models.embedder import Embedder
from itma.progress import bar
from itma.records import Part, Report

log = logging.getLogger(__name__)

FORMAT = 1
REPORT, RANKS = "report.json", "ranks.csv"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was found on one table of triplets by one protocol: the report, and the arrays it was made from."""

    report: Report
    rows: np.ndarray
    """(queries,) int64: the row of the triplets that each query is, task by task."""
    ranks: np.ndarray
    """(queries,) int64: the rank of each query's best target, from 1."""
    ties: np.ndarray
    """(queries,) int64: images other than targets whose score equals that of the best target."""
    best: np.ndarray
    """(queries,) int64: index of each query's best-scoring image, right or wrong."""
    queries: torch.Tensor
    """(rows, dim) float32: the rows' embeddings; those that no task asks may be anything."""
    gallery: torch.Tensor
    """(images, dim) float32: the images' embeddings; those that no task ranks may be anything."""
    triplets: Triplets
    protocol: Protocol
    measures: Mapping[str, Mapping[int, np.ndarray]] = field(default_factory=dict)
    """Further metric of the protocol → k → (queries,) float64: each query's value, from 0 to 1."""

    def __str__(self) -> str:
        return str(self.report)

    def top(self, indices: Sequence[int], *, k: int = 10) -> list[tuple[list[int], list[float]]]:
        """The k best-scoring images of some queries, best first.

        Args:
            indices: which queries, by their index in `rows`.
            k: how many images; fewer come back where the gallery holds no more.

        Returns:
            For each of `indices`, indices of images and their scores; equal scores in the gallery's order.
        """
        if k < 1:
            raise ConfigError(f"k={k} must be at least 1")
        hits = []
        for index in indices:
            ranked = self._rank(index)
            scores = (self.gallery @ self.queries[int(self.rows[index])])[ranked.to(self.gallery.device)]
            order = scores.sort(descending=True, stable=True)
            hits.append((ranked[order.indices[:k].cpu()].tolist(), order.values[:k].tolist()))
        return hits

    def task(self, index: int) -> Task:
        """The task that asks a query, by the query's index in `rows`."""
        return self._numbered[index][0]

    @cached_property
    def _numbered(self) -> list[tuple[Task, int]]:
        """Each query's task, and the query's number in it."""
        return [(task, number) for task in self.protocol.tasks for number in range(len(task.rows))]

    def others(self, index: int) -> torch.Tensor:
        """(images,) int64: what a query's targets are ranked against, by the query's index in `rows`."""
        ranked, labels = self._rank(index), torch.as_tensor(self.triplets.labels)
        return ranked[labels[ranked] != labels[int(self.triplets.targets[int(self.rows[index])])]]

    def _rank(self, index: int) -> torch.Tensor:
        task, number = self._numbered[index]
        ranked = torch.as_tensor(task.gallery_of(number))
        if self.protocol.without_reference:
            ranked = ranked[ranked != int(task.references(self.triplets)[number])]
        return ranked

    def write(self, folder: str | Path) -> None:
        """Leave `report.json` and `ranks.csv` (one line for each query) in `folder`.

        Raises:
            StorageError: the disk is full or the folder cannot be written to.
        """
        folder, names, triplets = Path(folder), self.triplets.images.names, self.triplets
        table = io.StringIO(newline="")
        lines = csv.writer(table, lineterminator="\n")
        further = {f"{metric}@{k}": some for metric, by_k in self.measures.items() for k, some in by_k.items()}
        lines.writerow(["row", "task", "reference", "feedback", "kind", "target", "rank", "ties", "best", *further])
        numbers = zip(self.rows, self._numbered, self.ranks, self.ties, self.best, *further.values(), strict=True)
        for row, (task, _), rank, ties, best, *values in numbers:
            reference, target = names[triplets.references[row]], names[triplets.targets[row]]
            feedback, kind = triplets.feedback[row], triplets.kinds[row] if triplets.kinds else ""
            lines.writerow([row, task.name, reference, feedback, kind, target, rank, ties, names[best], *values])
        write_bytes(folder / RANKS, table.getvalue().encode("utf-8", "surrogateescape"))
        write_text(folder / REPORT, json.dumps({"format": FORMAT, **to_plain(self.report)}, indent=2) + "\n")


def evaluate(
    retriever: Embedder,
    triplets: Triplets,
    *,
    protocols: Sequence[Protocol] = (),
    batch: int = 128,
    intervals: bool = True,
    model_name: str | None = None,
    weights: str | None = None,
    chosen: str = "",
    progress: bool = False,
) -> list[Evaluation]:
    """Measure a model: for each query, where the first right image stands in the gallery.

    All protocols share one embedding pass, in which each image goes through the image encoder once, whether it is of a
    gallery or a reference, and however many queries point at it.

    Args:
        retriever: the model.
        triplets: queries and images.
        protocols: what is asked, and against which galleries; None: `by_label`.
        batch: images or queries that are embedded at a time.
        intervals: draw the bootstrap intervals too.
        model_name: how the report calls the model; None: its composer's name.
        weights: sum of the file that the model came from, for the report; see `weights_sum`.
        chosen: how the checkpoint was chosen, for the report.
        progress: show progress bars.

    Returns:
        One evaluation for each protocol.

    Raises:
        ConfigError: a batch below 1.
        DataError: there are no queries, a query has no target besides its reference, or an embedding is no number.
        ImageError: an image that cannot be read.
    """
    if batch < 1:
        raise ConfigError(f"batch={batch} must be at least 1")
    protocols = protocols or (by_label(triplets),)
    tasks = [task for protocol in protocols for task in protocol.tasks]
    embedded = embed(retriever, triplets, tasks, batch=batch, progress=progress)
    about: dict[str, Any] = {"model_name": model_name or retriever.name, "weights": weights, "chosen": chosen}
    return [score(triplets, protocol, *embedded, intervals=intervals, **about) for protocol in protocols]


def embed(
    retriever: Embedder, triplets: Triplets, tasks: Sequence[Task], *, batch: int = 128, progress: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """What some tasks need of a model: queries (rows, dim) and gallery (images, dim), no numbers where none asks.

    Raises:
        DataError: there are no queries or no images.
        ImageError: an image that cannot be read.
    """
    rows = np.unique(np.concatenate([task.rows for task in tasks]))
    images = np.unique(np.concatenate([task.gallery for task in tasks]))
    if not len(rows) or not len(images):
        raise DataError(f"{triplets.name} holds no queries or no images, so there is nothing to measure")
    rows = rows[np.argsort(triplets.references[rows], kind="stable")]  # queries of one reference side by side
    references = triplets.references[rows]
    encoded = np.union1d(images, references)  # once each
    gallery, queries = [], []
    with bar("embedding images and queries", show=progress, total=len(encoded), unit="images") as meter:
        for run in _runs(encoded, batch):
            maps = retriever.feature_maps(triplets.images.load(run, retriever.preprocess))
            if (ranked := np.isin(run, images)).any():
                gallery.append(retriever.embed_images_from([_some(level, np.flatnonzero(ranked)) for level in maps]))
            first, last = np.searchsorted(references, run[0]), np.searchsorted(references, run[-1], side="right")
            for part in _runs(np.arange(first, last), batch):
                own = np.searchsorted(run, references[part])
                feedback = [triplets.feedback[row] for row in rows[part].tolist()]
                queries.append(retriever.embed_queries_from([_some(level, own) for level in maps], feedback))
            meter.update(len(run))
    return _spread(torch.cat(queries), rows, len(triplets)), _spread(torch.cat(gallery), images, len(triplets.labels))


def score(
    triplets: Triplets,
    protocol: Protocol,
    queries: np.ndarray | torch.Tensor,
    gallery: np.ndarray | torch.Tensor,
    *,
    intervals: bool = True,
    model_name: str = "embeddings",
    weights: str | None = None,
    chosen: str = "",
) -> Evaluation:
    """Measure embeddings, wherever they come from, by a protocol.

    Args:
        triplets: what the embeddings stand for.
        protocol: what is asked; one of the split's, or `by_label`.
        queries: (rows, dim) one embedding for each row of the triplets; rows that no task asks may be anything.
            Scores are products, so embeddings of length 1 give cosines.
        gallery: (images, dim) one for each image.
        intervals: draw the bootstrap intervals too.
        model_name: how the report calls them.
        weights: sum of the weights file that made them, for the report.
        chosen: how the checkpoint was chosen, for the report.

    Raises:
        DataError: arrays of another size than the triplets, an embedding that is no number, targets that were never
            published, or a query that has no target in its gallery once its reference is removed.
    """
    queries, gallery = torch.as_tensor(queries), torch.as_tensor(gallery)
    if len(queries) != len(triplets) or len(gallery) != len(triplets.labels):
        raise DataError(
            f"{triplets.name} has {len(triplets):,} rows and {len(triplets.labels):,} images, but there are "
            f"{len(queries):,} query and {len(gallery):,} gallery embeddings; one each, in their order"
        )
    complete = {task.name: protocol.wanted.get(task.name, len(task.rows)) for task in protocol.tasks}
    protocol = _with_queries(protocol, triplets.name)
    for task in protocol.tasks:
        if (triplets.targets[task.rows] == UNKNOWN_TARGET).any():
            raise DataError(f"{triplets.name}: targets of some queries were never published; they cannot be measured")
    rankings = [_Ranking(triplets, protocol, task, queries, gallery) for task in protocol.tasks]
    by_task = [one.rank(triplets.labels) for one in rankings]
    rows = np.concatenate([task.rows for task in protocol.tasks])
    ranks, ties, best = (np.concatenate(parts) for parts in zip(*by_task, strict=True))
    kinds = np.array([triplets.kinds[row] for row in rows.tolist()] if triplets.kinds else [], dtype=object)
    by_kind = {kind: ranks[kinds == kind] for kind in sorted(set(kinds))}
    by_group = {name: _divide([parts[row] for row in rows.tolist()]) for name, parts in triplets.groups.items()}
    several = len(protocol.tasks) > 1
    if several and set(by_kind) <= {task.name for task in protocol.tasks}:
        by_kind = {}  # the tasks say the same
    each = [ranks for ranks, _, _ in by_task]
    measured = {metric: [_MEASURES[metric](one, ks) for one in rankings] for metric, ks in protocol.metrics.items()}
    measures = {
        metric: {k: np.concatenate([task[k] for task in tasks]) for k in protocol.metrics[metric]}
        for metric, tasks in measured.items()
    }

    def divide(measure: Callable[[np.ndarray], Any]) -> dict[str, Any]:
        return {name: {part: measure(some) for part, some in parts.items()} for name, parts in by_group.items()}

    report = Report(
        model=model_name,
        protocol=f"{triplets.name}, {protocol.name}: {protocol.about}",
        queries=len(rows),
        gallery=_gallery_size(protocol.tasks),
        **_summarise(each, measured, protocol.ks, intervals),
        mean_reciprocal_rank=ranking.mean_reciprocal_rank(ranks),
        tied_queries=int((ties > 0).sum()),
        recall_by_kind={kind: ranking.recall_at(some, protocol.ks) for kind, some in by_kind.items()},
        queries_by_kind={kind: len(some) for kind, some in by_kind.items()},
        recall_by_group=divide(lambda some: ranking.recall_at(ranks[some], protocol.ks)),
        queries_by_group=divide(len),
        parts=tuple(
            Part(
                name=task.name,
                queries=len(task.rows),
                wanted=complete[task.name],
                gallery=task.ranked,
                **_summarise(
                    [each[number]], {metric: [m[number]] for metric, m in measured.items()}, protocol.ks, intervals
                ),
            )
            for number, task in enumerate(protocol.tasks)
            if several
        ),
        wanted=sum(complete.values()),
        recall_by_aspect={
            aspect: _mean([ranking.recall_at(one.rank(labels)[0], protocol.ks) for one in rankings])
            for aspect, labels in triplets.aspects.items()
        },
        weights=weights,
        chosen=chosen,
        metric_intervals={
            metric: {k: ranking.bootstrap_interval(*(task[k] for task in tasks)) for k in protocol.metrics[metric]}
            for metric, tasks in measured.items()
            if intervals
        },
        metrics_by_group=divide(lambda some: {metric: _means(by_k, some) for metric, by_k in measures.items()})
        if measures
        else {},
    )
    return Evaluation(report, rows, ranks, ties, best, queries, gallery, triplets, protocol, measures)


def _with_queries(protocol: Protocol, name: str) -> Protocol:
    """The protocol without the tasks that have no queries; the mean is then that of the others, and `about` says so.

    Raises:
        DataError: no task has any.
    """
    empty = [task.name for task in protocol.tasks if not len(task.rows)]
    if len(empty) == len(protocol.tasks):
        raise DataError(f"{name} holds no queries for {protocol.name!r}, so there is nothing to measure")
    if not empty:
        return protocol
    without = ", ".join(empty)
    log.warning("%s, %s: %s has no queries and is left out of the mean", name, protocol.name, without)
    tasks = tuple(task for task in protocol.tasks if len(task.rows))
    return replace(protocol, tasks=tasks, about=f"{protocol.about}; without {without}, which has no queries")


def _gallery_size(tasks: Sequence[Task]) -> int:
    """Distinct images that are ranked; where each query has a gallery of its own, those of the largest."""
    if all(task.candidates is not None for task in tasks):
        return max(task.ranked for task in tasks)
    return len(np.unique(np.concatenate([task.gallery for task in tasks])))


def _divide(parts: Sequence[str | tuple[str, ...]]) -> dict[str, np.ndarray]:
    """The places of each part's queries; parts that are numbers stand in their order."""
    queries: dict[str, list[int]] = {}
    for query, own in enumerate(parts):
        for part in (own,) if isinstance(own, str) else own:
            queries.setdefault(part, []).append(query)
    return {part: np.array(queries[part]) for part in sorted(queries, key=lambda part: (len(part), part))}


def first_of(
    triplets: Triplets, tracks: Sequence[Track], queries: np.ndarray | torch.Tensor, gallery: np.ndarray | torch.Tensor
) -> list[list[np.ndarray]]:
    """The first images for each row from embeddings, wherever they come from: what a submission is made of.

    Args:
        triplets: what the embeddings stand for.
        tracks: what is wanted; the tasks of each together ask every row once.
        queries: (rows, dim), one for each row.
        gallery: (images, dim), one for each image.

    Returns:
        For each track (rows): up to k indices of images, best first; equal scores in the gallery's order.

    Raises:
        ConfigError: a k below 1, or a row that is not asked once.
    """
    queries, gallery = torch.as_tensor(queries), torch.as_tensor(gallery)
    by_track = []
    for track in tracks:
        rows = np.concatenate([task.rows for task in track.tasks])
        if sorted(rows.tolist()) != list(range(len(triplets))) or track.k < 1:
            raise ConfigError(
                f"k={track.k} must be at least 1, and the tasks must ask each of {len(triplets)} rows once"
            )
        answers: list[np.ndarray] = [np.zeros(0, dtype=np.int64)] * len(triplets)
        for task in track.tasks:
            ranked, own = _some(gallery, task.gallery), task.gallery
            for number, (row, reference) in enumerate(zip(task.rows, task.references(triplets), strict=True)):
                if task.candidates is not None:
                    own = task.gallery_of(number)
                    ranked = _some(gallery, own)
                order = (ranked @ queries[row]).sort(descending=True, stable=True).indices[: track.k + 1].cpu().numpy()
                best = own[order]
                answers[row] = (best[best != reference] if track.without_reference else best)[: track.k]
        by_track.append(answers)
    return by_track


@dataclass(frozen=True, eq=False)
class _Ranking:
    """One task of a protocol over some embeddings."""

    triplets: Triplets
    protocol: Protocol
    task: Task
    queries: torch.Tensor
    gallery: torch.Tensor

    def rank(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ranks, ties and best images; an image is right where its label is the target's, a candidate by itself."""
        task, targets = self.task, self.triplets.targets[self.task.rows]
        if task.candidates is None:
            parts = labels[targets], labels[task.gallery], self._reference_columns
            result = self._compare(ranking.rank_targets, *parts)
        else:
            lacking = np.flatnonzero(~(task.candidates == targets[:, None]).any(1))
            if len(lacking):
                raise DataError(
                    f"{self.triplets.name}, row {int(task.rows[lacking[0]]) + 1:,}: its target is not among the images "
                    "that are ranked for it"
                )
            candidates = self._without_reference(self._columns[task.candidates])
            result = self._compare(ranking.rank_in_subsets, self._columns[targets], candidates)
        ranks, ties, best = (part.cpu().numpy() for part in result)
        return ranks, ties, task.gallery[best]

    def subset_recalls(self, ks: Sequence[int]) -> dict[int, np.ndarray]:
        """(queries,) at each k: whether the target is among the first of its subset, as far as the gallery holds it."""
        triplets, rows = self.triplets, self.task.rows
        if triplets.subsets is None:
            raise DataError(
                f"{triplets.name} has no subsets, within which {self.protocol.name!r} wants to measure recall"
            )
        subsets = self._without_reference(self._columns[triplets.subsets[rows]])
        ranks = self._compare(ranking.rank_in_subsets, self._columns[triplets.targets[rows]], subsets).rank
        return {k: (ranks.cpu().numpy() <= k).astype(np.float64) for k in ks}

    def average_precisions(self, ks: Sequence[int]) -> dict[int, np.ndarray]:
        """(queries,) at each k: the average precision over all of a query's targets that the gallery holds."""
        targets = self.triplets.targets[self.task.rows][:, None]
        if self.triplets.further_targets is not None:
            targets = np.concatenate([targets, self.triplets.further_targets[self.task.rows]], axis=1)
        columns = self._without_reference(self._columns[targets])
        ranks = self._compare(ranking.rank_each_target, columns, self._reference_columns)
        return {k: ranking.average_precision(ranks.cpu().numpy(), (columns >= 0).sum(1), k) for k in ks}

    def _compare(self, rank: Callable[..., Any], *parts: np.ndarray) -> Any:
        """What a function of `itma.evaluation.ranking` says of the task's embeddings."""
        own = _some(self.queries, self.task.rows), _some(self.gallery, self.task.gallery)
        return rank(*own, *(torch.as_tensor(part, device=self.gallery.device) for part in parts))

    @cached_property
    def _columns(self) -> np.ndarray:
        """(images + 1,) of each image its place in the task's gallery; −1 of others, and of the −1 that ends a list."""
        column_of = np.full(len(self.triplets.labels) + 1, -1)
        column_of[self.task.gallery] = np.arange(len(self.task.gallery))
        return column_of

    @cached_property
    def _reference_columns(self) -> np.ndarray:
        """(queries,) where in the task's gallery each query's reference is, which is removed; −1 where none is."""
        references = self.task.references(self.triplets)
        return self._columns[references] if self.protocol.without_reference else np.full(len(references), -1)

    def _without_reference(self, columns: np.ndarray) -> np.ndarray:
        """(queries, any) places in the gallery, −1 in place of each query's reference."""
        return np.where(columns == self._reference_columns[:, None], -1, columns)


_MEASURES: Mapping[str, Callable[[_Ranking, Sequence[int]], dict[int, np.ndarray]]] = {
    "recall_subset": _Ranking.subset_recalls,
    "map": _Ranking.average_precisions,
}
"""Metric → its value for each query of a task; `itma.data.triplets.METRICS` lists them."""


def _some(embeddings: torch.Tensor, indices: np.ndarray) -> torch.Tensor:
    """Embeddings by index, without a copy where all are wanted."""
    if _is_all(indices, len(embeddings)):
        return embeddings
    return embeddings[torch.as_tensor(indices, device=embeddings.device)]


def _is_all(indices: np.ndarray, count: int) -> bool:
    return len(indices) == count and bool((indices == np.arange(count)).all())


def _mean(recalls: Sequence[Mapping[int, float]]) -> dict[int, float]:
    return {k: sum(recall[k] for recall in recalls) / len(recalls) for k in recalls[0]}


def _means(values: Mapping[int, np.ndarray], queries: np.ndarray | slice = slice(None)) -> dict[int, float]:
    return {k: float(some[queries].mean()) for k, some in values.items()}


def _summarise(
    ranks: Sequence[np.ndarray],
    measured: Mapping[str, Sequence[Mapping[int, np.ndarray]]],
    ks: Sequence[int],
    intervals: bool,
) -> dict[str, Any]:
    """What a report and each of its parts say: means over tasks, of whose queries the ranks and measures are."""
    return {
        "recall": _mean([ranking.recall_at(some, ks) for some in ranks]),
        "interval": {k: ranking.bootstrap_interval(*(some <= k for some in ranks)) for k in ks} if intervals else {},
        "median_rank": ranking.median_rank(np.concatenate(ranks)),
        "metrics": {metric: _mean([_means(task) for task in tasks]) for metric, tasks in measured.items()},
    }


def _spread(some: torch.Tensor, indices: np.ndarray, length: int) -> torch.Tensor:
    """Embeddings at their places among `length`; elsewhere no numbers."""
    if _is_all(indices, length):
        return some
    spread = torch.full((length, some.shape[1]), torch.nan, device=some.device)
    spread[torch.as_tensor(indices, device=some.device)] = some
    return spread


def embed_gallery(
    retriever: Embedder, triplets: Triplets, images: np.ndarray, batch: int, progress: bool
) -> torch.Tensor:
    """Some images as (images, dim)."""
    parts = []
    with bar("embedding the gallery", show=progress, total=len(images), unit="images") as meter:
        for indices in _runs(images, batch):
            parts.append(retriever.embed_images(triplets.images.load(indices, retriever.preprocess)))
            meter.update(len(indices))
    return torch.cat(parts)


def _runs(indices: np.ndarray, length: int) -> Iterator[np.ndarray]:
    for first in range(0, len(indices), length):
        yield indices[first : first + length]
