"""Embeddings → ranks → recall: pure functions of arrays.

A rank is 1 + the number of gallery images that score strictly higher than the query's best-scoring target, so that
no sort and no order among equals decides a number. Scores are float32 products, and two of them tie where they are
equal to the last bit: those of one embedding that stands in the gallery twice do, except that matrix products may
round the last few columns of a block differently (about one score in 100,000, in blocks of a few queries).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from itma.errors import ConfigError, DataError
from itma.records import Interval

BLOCK = 2**24
"""Scores held at a time; with all that is derived from them they take about 5 bytes each, 85 MB in all, beside
what the product itself takes."""

_LEAST_QUERIES, _MOST_QUERIES = 64, 1024
"""Fewer queries to a block would make matrix products slow; larger galleries are cut instead. More gain nothing."""
_TILE = 512
"""Images that are counted at once: what is derived from their scores stays in the processor's cache."""
_GROUP = 128
"""Images among which the best one is looked for, once it is known to be there."""
_PAIRS = 2**18
"""Queries and targets that are looked at together."""


class Ranks(NamedTuple):
    """For each query, where its best target stands."""

    rank: torch.Tensor
    """(queries,) int64: 1 + the number of images that score strictly higher than the best target."""
    ties: torch.Tensor
    """(queries,) int64: images other than targets whose score equals that of the best target."""
    best: torch.Tensor
    """(queries,) int64: index of the best-scoring image, the excluded one aside; of equals the first."""


def rank_targets(
    queries: torch.Tensor,
    gallery: torch.Tensor,
    query_labels: torch.Tensor,
    gallery_labels: torch.Tensor,
    excluded: torch.Tensor | None = None,
    *,
    block: int = BLOCK,
) -> Ranks:
    """Rank each query's targets: the gallery images that carry its label.

    >>> gallery = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> labels = torch.tensor([7, 8, 9])
    >>> rank_targets(gallery[:1], gallery, labels[1:2], labels).rank.tolist()
    [2]
    >>> rank_targets(gallery[:1], gallery, labels[1:2], labels, excluded=torch.tensor([0])).rank.tolist()
    [1]

    Args:
        queries: (queries, dim), on any device; the other tensors are on the same.
        gallery: (images, dim).
        query_labels: (queries,) int64, the label of each query's targets.
        gallery_labels: (images,) int64.
        excluded: (queries,) int64, the image that takes no part in each query's ranking (its reference), even where
            it carries the label; −1 excludes none.
        block: how many scores are held at a time; memory is bounded by it, whatever the size of the gallery.

    Raises:
        DataError: sizes that do not fit together, an embedding that is not finite, or a query that has no target in
            the gallery once its excluded image is removed (such a query has no rank; leave it out beforehand).
    """
    if len(query_labels) != len(queries) or len(gallery_labels) != len(gallery):
        raise DataError(
            f"{len(queries)} queries came with {len(query_labels)} labels and {len(gallery)} gallery images with "
            f"{len(gallery_labels)}; each needs one"
        )
    _check(queries, gallery, excluded, block)
    queries, gallery = queries.detach().float(), gallery.detach().float()
    width = max(1, min(len(gallery), block // _LEAST_QUERIES))
    height = max(1, min(block // width, _MOST_QUERIES))
    columns = list(_slices(len(gallery), width))
    query_labels, labels = query_labels.long().contiguous(), [gallery_labels[part].long().sort() for part in columns]
    parts: list[Ranks] = []
    orphans: list[int] = []
    for rows in _slices(len(queries), height):
        count = torch.zeros(rows.stop - rows.start, dtype=torch.int64, device=queries.device)
        level = torch.full(count.shape, -torch.inf, device=queries.device)  # the score of each one's best target
        rank, ties, best, top = count + 1, count.clone(), count, level.clone()
        for part, sorted_labels in zip(columns, labels, strict=True):
            scores = _scores(queries, gallery, excluded, rows, part)
            for image, query in _pairs(query_labels[rows], *sorted_labels):
                level.scatter_reduce_(0, query, scores[image, query], "amax")
            highest, image = _best(scores)
            best = torch.where(highest > top, image + part.start, best)
            top = torch.maximum(top, highest)
        for part, sorted_labels in zip(columns, labels, strict=True):
            if len(columns) > 1:  # made a second time, by the same product and so to the same last bit
                scores = _scores(queries, gallery, excluded, rows, part)
            for image, query in _pairs(query_labels[rows], *sorted_labels):
                scores[image, query] = -torch.inf  # no target stands above the best one, or ties with it
            above, alike = _above_and_alike(scores, level)
            rank += above
            ties += alike
        parts.append(Ranks(rank, ties, best))
        orphans += (torch.nonzero(level == -torch.inf)[:, 0] + rows.start).tolist()
    if orphans:
        some = ", ".join(map(str, orphans[:5])) + (", …" if len(orphans) > 5 else "")
        raise DataError(
            f"{len(orphans)} of {len(queries)} queries have no target among the {len(gallery)} gallery images once "
            f"their reference is removed (rows {some}); leave these rows out"
        )
    return _join(parts, queries.device)


def rank_each_target(
    queries: torch.Tensor,
    gallery: torch.Tensor,
    targets: torch.Tensor,
    excluded: torch.Tensor | None = None,
    *,
    block: int = BLOCK,
) -> torch.Tensor:
    """The ranks of all of a query's targets; of images that score alike, targets stand before others.

    >>> gallery = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
    >>> rank_each_target(gallery[:1], gallery, torch.tensor([[3, 1, -1]])).tolist()
    [[2, 4, 0]]

    Args:
        queries: (queries, dim), on any device; the other tensors are on the same.
        gallery: (images, dim).
        targets: (queries, most) int64, each one's place in the gallery; −1 where there is no more. Distinct in a row.
        excluded: (queries,) int64, the image that takes no part in each query's ranking, even where it is a target;
            −1 excludes none.
        block: how many scores are held at a time.

    Returns:
        (queries, most) int64: the ranks from the best; 0 after the last.

    Raises:
        DataError: sizes that do not fit together, or an embedding that is not finite.
    """
    _check(queries, gallery, excluded, block)
    queries, gallery = queries.detach().float(), gallery.detach().float()
    positions = torch.arange(1, targets.shape[1] + 1, device=queries.device)
    parts = [torch.zeros((0, targets.shape[1]), dtype=torch.int64, device=queries.device)]
    for rows in _slices(len(queries), max(1, block // len(gallery))):
        right = targets[rows]
        scores = _scores(queries, gallery, excluded, rows, slice(0, len(gallery)))
        own = scores.T.gather(1, right.clamp(min=0)).masked_fill(right < 0, -torch.inf)
        own = own.sort(dim=1, descending=True).values
        query, column = torch.nonzero(right >= 0, as_tuple=True)
        scores[right[query, column], query] = -torch.inf  # targets do not lower one another's rank twice
        above = torch.stack([_above_and_alike(scores, level)[0] for level in own.unbind(1)], dim=1)
        parts.append((above + positions).masked_fill(own == -torch.inf, 0))
    return torch.cat(parts)


def rank_in_subsets(
    queries: torch.Tensor, gallery: torch.Tensor, targets: torch.Tensor, subsets: torch.Tensor
) -> Ranks:
    """The rank of each query's target among a few images of its own.

    >>> gallery = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
    >>> rank_in_subsets(gallery[:1], gallery, torch.tensor([2]), torch.tensor([[1, 2, 3, -1]])).rank.tolist()
    [2]

    Args:
        queries: (queries, dim), on any device; the other tensors are on the same.
        gallery: (images, dim).
        targets: (queries,) int64, the target's place in the gallery.
        subsets: (queries, size) int64, places in the gallery; −1 where there is no more.

    Returns:
        1 + the number of other images of the subset that score strictly higher, those that score alike, and the best;
        the target takes part even where its subset lacks it.

    Raises:
        DataError: sizes that do not fit together, or an embedding that is not finite.
    """
    _check(queries, gallery, None, 1)
    parts: list[Ranks] = []
    for rows in _slices(len(queries), max(1, BLOCK // (gallery.shape[1] * max(1, subsets.shape[1])))):
        query, target = queries[rows].float(), targets[rows]
        members = torch.cat([target[:, None], subsets[rows]], dim=1)
        scores = (gallery[members.clamp(min=0)].float() * query[:, None]).sum(2)
        level = (gallery[target].float() * query).sum(1)
        scores = scores.masked_fill((members < 0) | (members == target[:, None]), -torch.inf)
        highest, column = scores.max(1)
        best = torch.where(highest > level, members.gather(1, column[:, None])[:, 0], target)
        above, alike = (scores > level[:, None]).sum(1), (scores == level[:, None]).sum(1)
        parts.append(Ranks(1 + above, alike, best))
    return _join(parts, queries.device)


def average_precision(ranks: np.ndarray, targets: np.ndarray, k: int) -> np.ndarray:
    """Each query's average precision among the first k images, as CIRCO's code computes it.

    The precision at the rank of each target that is found, summed, by the number of targets that k images could hold
    (Baldrati et al. 2023, arXiv:2303.15247, section 4).

    >>> average_precision(np.array([[1, 4, 0]]), np.array([3]), k=5).round(3).tolist()
    [0.5]

    Args:
        ranks: (queries, most) int64, the ranks of those targets that were found, in any order; 0 elsewhere.
        targets: (queries,) int64, how many targets each query has.
        k: at least 1.

    Returns:
        (queries,) float64 from 0 to 1.

    Raises:
        ConfigError: k is below 1.
        DataError: a query without targets.
    """
    if k < 1:
        raise ConfigError(f"average precision is taken among the first 1 or more, not {k}")
    for query in np.flatnonzero(targets < 1)[:1].tolist():
        raise DataError(f"query {query} of {len(targets)} has no targets, so that it has no average precision")
    ordered = np.sort(np.where(ranks > 0, ranks, np.iinfo(np.int64).max), axis=1)
    precision = np.arange(1, ranks.shape[1] + 1) / ordered
    values: np.ndarray = np.where(ordered <= k, precision, 0.0).sum(1) / np.minimum(targets, k)
    return values


def _slices(count: int, length: int) -> Iterator[slice]:
    """Runs of so many rows, the last one shorter."""
    return (slice(first, min(first + length, count)) for first in range(0, count, length))


def _join(parts: Sequence[Ranks], device: torch.device) -> Ranks:
    """The ranks of all queries, of which there may be none."""
    return Ranks(*torch.cat([torch.zeros((3, 0), dtype=torch.int64, device=device), *map(torch.stack, parts)], 1))


def _pairs(
    query_labels: torch.Tensor, sorted_labels: torch.Tensor, images: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Every (image, query) of one label, some at a time; `images` says whose label each of the sorted ones is."""
    begin = torch.searchsorted(sorted_labels, query_labels)
    count = torch.searchsorted(sorted_labels, query_labels, right=True) - begin
    ends = count.cumsum(0)
    for first in range(0, int(count.sum()), _PAIRS):
        pair = torch.arange(first, min(first + _PAIRS, int(ends[-1])), device=begin.device)
        query = torch.searchsorted(ends, pair, right=True)
        yield images[(begin - ends + count)[query] + pair], query


def _scores(
    queries: torch.Tensor, gallery: torch.Tensor, excluded: torch.Tensor | None, rows: slice, columns: slice
) -> torch.Tensor:
    """(images, queries) the products of some columns and rows; the excluded image scores −∞.

    Images stand first because that product is the faster one where there are many more of them than queries.
    """
    images, query = gallery[columns], queries[rows].T
    scores = queries.new_empty(len(images), query.shape[1])
    for some, tile in zip(images.split(_TILE), scores.split(_TILE), strict=True):
        torch.mm(some, query, out=tile)
    if excluded is not None:
        positions = excluded[rows] - columns.start
        inside = torch.nonzero((positions >= 0) & (positions < len(scores)))[:, 0]
        scores[positions[inside], inside] = -torch.inf
    return scores


def _best(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each query's highest score, and the first image that has it."""
    highest, group = torch.stack([some.amax(0) for some in scores.split(_GROUP)]).max(0)
    images = group * _GROUP + torch.arange(_GROUP, device=group.device)[:, None]
    images = images.clamp(max=len(scores) - 1)
    return highest, images.gather(0, scores.gather(0, images).argmax(0)[None])[0]


def _above_and_alike(scores: torch.Tensor, level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How many of each query's (images, queries) scores are above its level, and how many equal to it."""
    above, alike = torch.zeros((2, len(level)), dtype=torch.int64, device=level.device)
    for tile in scores.split(_TILE):  # sums of signs are exact in float32 and a third of what comparing takes
        signs = torch.sub(tile, level).sign_()
        balance, unlike = signs.sum(0), signs.abs_().sum(0)
        above += ((unlike + balance) / 2).long()
        alike += len(tile) - unlike.long()
    return above, alike


def _check(queries: torch.Tensor, gallery: torch.Tensor, excluded: torch.Tensor | None, block: int) -> None:
    if block < 1:
        raise ConfigError(f"block={block} must be at least 1 score")
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1] or not queries.shape[1]:
        raise DataError(
            f"queries {tuple(queries.shape)} and gallery {tuple(gallery.shape)} do not fit together; expected "
            "(queries, dim) and (images, dim)"
        )
    for what, rows in (("query", queries), ("gallery", gallery)):
        low, high = rows.aminmax(dim=1)
        bad = torch.nonzero(~(low.isfinite() & high.isfinite()))[:, 0]
        if len(bad):
            raise DataError(
                f"{len(bad)} of {len(rows)} {what} embeddings are not finite (first: row {int(bad[0])}); the model's "
                "weights are damaged or its training has diverged"
            )
    if excluded is not None and len(excluded) != len(queries):
        raise DataError(f"{len(excluded)} excluded images were given for {len(queries)} queries; each needs one")
    if excluded is not None and len(excluded) and not (-1 <= int(excluded.min()) <= int(excluded.max()) < len(gallery)):
        raise DataError(f"an excluded image lies outside the gallery of {len(gallery)} images")


def recall_at(ranks: np.ndarray, ks: Sequence[int]) -> dict[int, float]:
    """The share of queries whose rank is at most k, from 0 to 1, for each k.

    >>> recall_at(np.array([1, 3, 12, 2]), (1, 10))
    {1: 0.25, 10: 0.75}

    Raises:
        ConfigError: a k below 1.
        DataError: there are no ranks.
    """
    if any(k < 1 for k in ks):
        raise ConfigError(f"recall is taken at ranks of 1 and more, not at {min(ks)}")
    _not_empty(ranks)
    return {int(k): float((ranks <= k).mean()) for k in ks}


def median_rank(ranks: np.ndarray) -> float:
    """The rank that half of the queries reach; between two where their number is even.

    >>> median_rank(np.array([1, 3, 12, 2]))
    2.5
    """
    _not_empty(ranks)
    return float(np.median(ranks))


def mean_reciprocal_rank(ranks: np.ndarray) -> float:
    """The mean of 1 / rank, from 0 to 1.

    >>> mean_reciprocal_rank(np.array([1, 2, 4, 4]))
    0.5
    """
    _not_empty(ranks)
    return float((1.0 / ranks).mean())


def bootstrap_interval(*values: np.ndarray, share: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of the mean of one value per query.

    Queries are drawn with replacement. How often each distinct value then occurs is drawn at once, which has the same
    distribution and costs (resamples × distinct values): next to nothing for recall, whose values are 0 and 1.

    >>> bootstrap_interval(np.array([True] * 60 + [False] * 40))
    Interval(low=0.5, high=0.7)

    Args:
        values: (queries,) numbers or booleans; of several such arrays, the interval is that of the mean of their
            means, each drawn from by itself.
        share: of the resampled means that lie inside.
        resamples: how many means are drawn.
        seed: decides the draws.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    means = np.zeros(resamples)
    for some in values:
        _not_empty(some)
        distinct, counts = np.unique(some, return_counts=True)
        draws = random.multinomial(len(some), counts / len(some), size=resamples)
        means += draws @ distinct.astype(np.float64) / len(some) / len(values)
    low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2])
    return Interval(float(low), float(high))


def _not_empty(values: np.ndarray) -> None:
    if not len(values):
        raise DataError("there are no queries to measure")
