"""Pictures that are there more than once: the same content, or nearly the same embedding."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from itma.errors import ConfigError
from itma.progress import bar
from itma.retrieval.filters import Filter
from itma.retrieval.ingest.rows import shown
from itma.retrieval.stores.base import Items, embeddings_of

NEAR = 0.99
"""Cosine from which on two pictures count as nearly the same."""
_NEIGHBOURS = 32
"""Nearest items of each that are looked at."""

Nearest = Callable[[np.ndarray, int, Filter | None], list[list[tuple[str, float]]]]


@dataclass(frozen=True)
class Group:
    """Items that are the same picture, or nearly so."""

    ids: tuple[str, ...]
    """Sorted."""
    same_content: bool
    """Whether all their files hold the same bytes."""

    def __str__(self) -> str:
        return f"{'same' if self.same_content else 'near'}  {'  '.join(self.ids)}"


def groups(items: Items, threshold: float, nearest: Nearest, *, progress: bool = False) -> list[Group]:
    """Items in groups, joined where a file's content is the same or the cosine reaches the threshold.

    Of each item its nearest neighbours are looked at, some thirty; larger groups come together through one another.

    Args:
        items: a table.
        threshold: a cosine.
        nearest: a search, exact or not.
        progress: show a progress bar.

    Returns:
        Groups of two and more, the largest first.

    Raises:
        ConfigError: the threshold is no cosine.
    """
    if not -1 <= threshold <= 1:
        raise ConfigError(f"threshold={threshold} is no cosine; choose one from -1 to 1, e.g. 0.99")
    leader: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := leader.get(name, name)) != name:
            leader[name] = leader.get(above, above)
            name = above
        return name

    def join(one: str, other: str) -> None:
        if (first := root(one)) != (second := root(other)):
            leader[max(first, second)] = min(first, second)

    sums: dict[str, str] = {}
    by_sum: dict[str, str] = {}
    for batch in items.scan(["id", "_sum"], rows=65_536):
        for name, digest in zip(batch.column("id").to_pylist(), batch.column("_sum").to_pylist(), strict=True):
            if digest is not None:
                sums[name] = digest
                join(by_sum.setdefault(digest, name), name)
    with bar("comparing", show=progress, total=items.count(), unit="item") as meter:
        for batch in items.scan(["id", "embedding"], rows=1_024):
            found = nearest(embeddings_of(batch.column("embedding")), _NEIGHBOURS, None)
            for name, hits in zip(batch.column("id").to_pylist(), found, strict=True):
                for other, score in hits:
                    if score >= threshold and other != name:
                        join(name, other)
            meter.update(len(batch))
    members = defaultdict(list)
    for name in {*leader, *leader.values()}:
        members[root(name)].append(name)
    made = [
        Group(tuple(sorted(map(shown, names))), len({sums.get(name, name) for name in names}) == 1)
        for names in members.values()
        if len(names) > 1
    ]
    return sorted(made, key=lambda group: (-len(group.ids), group.ids))


def one_of_each(items: Items, hits: Sequence[tuple[str, float]], distinct: str | float) -> list[tuple[str, float]]:
    """The hits without those that are like an earlier one.

    Args:
        items: the table.
        hits: best first.
        distinct: a column, whose values then stand there once each (items without a value all stay); or a cosine, which
            no two of the hits then exceed.
    """
    names = [name for name, _ in hits]
    if isinstance(distinct, str):
        rows = items.get(names, ["id", distinct])
        values = dict(zip(rows["id"].to_pylist(), rows[distinct].to_pylist(), strict=True))
        seen: set[object] = set()
        kept = []
        for hit in hits:
            value = values[hit[0]]
            value = tuple(value) if isinstance(value, list) else value
            if value is None or value not in seen:
                kept.append(hit)
                seen.add(value)
        return kept
    rows = items.get(names, ["id", "embedding"])
    embeddings = dict(zip(rows["id"].to_pylist(), embeddings_of(rows["embedding"]), strict=True))
    chosen: list[tuple[str, float]] = []
    vectors: list[np.ndarray] = []
    for hit in hits:
        vector = embeddings[hit[0]]
        if not vectors or float(np.max(np.stack(vectors) @ vector)) < distinct:
            chosen.append(hit)
            vectors.append(vector)
    return chosen
