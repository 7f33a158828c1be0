"""How thoroughly an index has to be searched: found by comparing its answers with those of an exact search."""

import time

import numpy as np
import torch

from itma.retrieval.ingest.rows import unit
from itma.retrieval.manifest import Ann
from itma.retrieval.stores.base import Effort, Items, Ranked, embeddings_of, read_column, scan_embeddings

K = 10
"""Recall is measured on so many nearest."""
_FIRST = 20
"""Queries that are asked before an effort is worth all of them."""
_DOUBT = 0.06
"""Recall that an effort may lack on the first queries and still be tried on all."""
_AT_ONCE = 8_192
"""Rows that are compared with all centres at once."""
_LEAN = 0.6
"""Share of the second item in a query between two: its nearest item is then at a cosine of 0.88 (median), and its tenth
at 0.71. 2,400 composed queries of a model trained on shapes are at 0.87 and 0.66 in their gallery."""


def tune(items: Items, *, wanted: float = 0.98, queries: int = 100, seed: int = 0) -> Ann:
    """Find the cheapest effort of an index that reaches a recall.

    The queries are the catalogue's own: half of them items, half of them between two items, as near to the first as a
    composed query is to its best hit (see `_LEAN`). Both halves have to reach the recall. An item is not counted as its
    own answer. The truth is an exact search through everything.

    Args:
        items: a table with an index.
        wanted: recall@10 to be reached, from 0 to 1.
        queries: how many are asked.
        seed: decides the queries.

    Returns:
        What was found; without an effort where none reaches `wanted`.
    """
    state = items.index_state()
    assert state is not None, "tuning needs an index"
    sample, own = _queries(items, queries, seed)
    truth = [_without(hits, name) for hits, name in zip(exact(items, sample, K + 1), own, strict=True)]

    def recall(effort: Effort, some: slice) -> tuple[float, float]:
        shares, seconds = [], []
        for query, right, name in zip(sample[some], truth[some], own[some], strict=True):
            started = time.perf_counter()
            (hits,) = items.nearest(query[None], K + 1, effort=effort)
            seconds.append(time.perf_counter() - started)
            shares.append(len(set(_without(hits, name)) & set(right)) / max(1, len(right)))
        return float(min(np.mean(shares[::2]), np.mean(shares[1::2]))), 1e3 * float(np.median(seconds))

    best = (0.0, 0.0)
    for effort in items.efforts():
        if recall(effort, slice(_FIRST))[0] < wanted - _DOUBT:
            continue
        best = recall(effort, slice(None))
        if best[0] >= wanted:
            return Ann(state.kind, dict(effort), best[0], wanted, len(sample), items.count(), best[1])
    return Ann(state.kind, None, best[0], wanted, len(sample), items.count(), best[1])


def centres(sample: np.ndarray, count: int, *, rounds: int = 8, seed: int = 0) -> np.ndarray:
    """Directions around which embeddings gather: spherical k-means (Dhillon & Modha 2001).

    Args:
        sample: (rows, dim) float32 of length 1; some come twice where they are fewer than `count`.
        count: how many are wanted.
        rounds: how often rows are assigned and directions moved.
        seed: decides where they begin.

    Returns:
        (count, dim) float32 of length 1.
    """
    random = torch.Generator().manual_seed(seed)
    rows = torch.from_numpy(np.ascontiguousarray(sample))
    centroids = rows[torch.randperm(len(rows), generator=random)[torch.arange(count) % len(rows)]]
    for _ in range(rounds):
        nearest = torch.cat([(part @ centroids.T).argmax(1) for part in rows.split(_AT_ONCE)])
        sums = torch.zeros_like(centroids).index_add_(0, nearest, rows)
        empty = torch.bincount(nearest, minlength=count) == 0
        sums[empty] = rows[torch.randint(len(rows), (int(empty.sum()),), generator=random)]
        centroids = torch.nn.functional.normalize(sums, dim=1)
    moved: np.ndarray = centroids.numpy()
    return moved


def _queries(items: Items, count: int, seed: int) -> tuple[np.ndarray, list[str | None]]:
    """Queries, and the item that each of them is."""
    random = np.random.default_rng(seed)
    ids = list(read_column(items, "id"))
    chosen = sorted({ids[index] for index in random.integers(0, len(ids), size=count)})
    rows = items.get(chosen, ["id", "embedding"])
    names, embeddings = rows["id"].to_pylist(), embeddings_of(rows["embedding"])
    between = unit(embeddings + np.roll(embeddings, 1, axis=0) * _LEAN, None, "queries")
    items_too = np.arange(len(names)) % 2 == 0
    queries = np.where(items_too[:, None], embeddings, between)
    return queries, [name if same else None for name, same in zip(names, items_too, strict=True)]


def exact(items: Items, queries: np.ndarray, k: int) -> list[list[str]]:
    """For each query the ids of the k nearest, by comparing all; memory holds one batch of items."""
    ids = np.empty((len(queries), 0), dtype=object)
    scores = np.empty((len(queries), 0), dtype=np.float32)
    for names, embeddings in scan_embeddings(items, rows=16_384):
        more = queries @ embeddings.T
        scores = np.concatenate([scores, more], axis=1)
        ids = np.concatenate([ids, np.broadcast_to(np.array(names, dtype=object), more.shape)], axis=1)
        if scores.shape[1] > k:
            top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            scores, ids = np.take_along_axis(scores, top, 1), np.take_along_axis(ids, top, 1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return [list(row) for row in np.take_along_axis(ids, order, 1)]


def _without(hits: Ranked | list[str], name: str | None) -> list[str]:
    names = [hit if isinstance(hit, str) else hit[0] for hit in hits]
    return [each for each in names if each != name][:K]
