"""Images that are there more than once: the same content, or nearly the same embedding."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Real

import numpy as np

from itma.errors import ConfigError
from itma.progress import bar
from itma.retrieval.filters import Filter
from itma.retrieval.ingest.rows import to_shown
from itma.retrieval.request import is_of
from itma.retrieval.stores.base import Items, Ranked, embeddings_of, read_columns, scan_embeddings

_NEIGHBOURS = 32
"""Nearest items of each that are looked at."""
_SAMPLE = 2_000
"""Items whose scores decide the threshold."""
_ORDINARY = 10
"""The neighbour whose distance counts as ordinary: farther down than most groups of duplicates reach."""
_SHARE = 0.1
"""Near duplicates are nearer than this share of the ordinary distance."""

Nearest = Callable[[np.ndarray, int, Filter | None], list[Ranked]]


@dataclass(frozen=True)
class Group:
    """Items that show the same image, or nearly so."""

    ids: tuple[str, ...]
    """Of the same content: sorted. Of near images: first the one that all others are near to."""
    same_content: bool
    """Whether their files hold the same bytes; else all are near to the first, by the model's embeddings."""

    def __str__(self) -> str:
        return f"{'same' if self.same_content else 'near'}  {'  '.join(self.ids)}"


class Groups(list[Group]):
    """Groups of two and more: those of the same content first, then the near ones, the largest first of each."""

    def __init__(self, groups: Iterable[Group], threshold: float) -> None:
        super().__init__(groups)
        self.threshold = threshold
        """The cosine from which on images counted as near."""


def groups(items: Items, threshold: float | None, nearest: Nearest, *, progress: bool = False) -> Groups:
    """Items in groups: of the same content, going by the files' sums; and near ones, going by embeddings.

    Of a group of the same content only the first can be in a near group. In a near group every member is near to the
    first; whoever is near to a member alone is not in it. Of each item some thirty nearest are looked at.

    Args:
        items: a table.
        threshold: a cosine; without it, one that fits the catalogue, see `fitting_threshold`.
        nearest: a search, exact or not.
        progress: show a progress bar.

    Raises:
        ConfigError: the threshold is no cosine.
    """
    if threshold is not None and not (is_of(threshold, Real) and -1 <= threshold <= 1):
        raise ConfigError(f"threshold={threshold!r} is no cosine; choose one from -1 to 1, e.g. 0.99")
    by_sum: dict[str, list[str]] = {}
    for name, digest in read_columns(items, "id", "_sum"):
        if digest is not None:
            by_sum.setdefault(digest, []).append(name)
    same = [sorted(names) for names in by_sum.values() if len(names) > 1]
    copies = {name for names in same for name in names[1:]}
    if threshold is None:
        threshold = fitting_threshold(items, nearest, copies)
    near: dict[str, set[str]] = {}
    with bar("comparing", show=progress, total=items.count(), unit="item") as meter:
        for names, embeddings in scan_embeddings(items, rows=1_024):
            for name, hits in zip(names, nearest(embeddings, _NEIGHBOURS, None), strict=True):
                for other, score in hits:
                    if score >= threshold and other != name and not copies & {name, other}:
                        near.setdefault(name, set()).add(other)
                        near.setdefault(other, set()).add(name)
            meter.update(len(names))
    near_groups, grouped = [], set[str]()
    for name in sorted(near, key=lambda name: (-len(near[name]), name)):
        members = sorted(near[name] - grouped)
        if name not in grouped and members:
            grouped |= {name, *members}
            near_groups.append(Group(tuple(map(to_shown, [name, *members])), False))
    alike = [Group(tuple(map(to_shown, names)), True) for names in same]
    order = sorted([*alike, *near_groups], key=lambda group: (not group.same_content, -len(group.ids), group.ids))
    return Groups(order, threshold)


def fitting_threshold(items: Items, nearest: Nearest, copies: set[str]) -> float:
    """The cosine from which on two images of this catalogue are nearly the same.

    Models differ in how near they put images that merely resemble each other. What is ordinary in this catalogue is the
    median distance (1 - cosine) of an item to its tenth neighbour; near duplicates are at a small share of it.

    Args:
        items: a table.
        nearest: a search.
        copies: items that do not count, as others have the same content.
    """
    distances: list[float] = []
    for names, embeddings in scan_embeddings(items, rows=256):
        for name, hits in zip(names, nearest(embeddings, _NEIGHBOURS + 1, None), strict=True):
            others = [score for other, score in hits if other != name and other not in copies]
            if name not in copies and others:
                distances.append(1 - others[min(_ORDINARY, len(others)) - 1])
        if len(distances) >= _SAMPLE:
            break
    return round(1 - _SHARE * float(np.median(distances)), 6) if distances else 1.0


def one_of_each(items: Items, hits: Ranked, distinct: str | float) -> Ranked:
    """The hits without those that are like an earlier one.

    Args:
        items: the table.
        hits: best first.
        distinct: a column, whose values then stand there once each (items without a value all stay); or a cosine, which
            no two of the hits then exceed.
    """
    column = distinct if isinstance(distinct, str) else "embedding"
    rows = items.get([name for name, _ in hits], ["id", column])
    values = rows[column].to_pylist() if isinstance(distinct, str) else embeddings_of(rows[column])
    value_of = dict(zip(rows["id"].to_pylist(), values, strict=True))
    chosen: Ranked = []
    values_before: set[object] = set()
    vectors: list[np.ndarray] = []
    for hit in hits:
        if hit[0] not in value_of:  # an engine without versions may have lost it by now
            continue
        value = value_of[hit[0]]
        if not isinstance(distinct, str):
            if vectors and float(np.max(np.stack(vectors) @ value)) >= distinct:
                continue
            vectors.append(value)
        elif value is not None:
            value = tuple(value) if isinstance(value, list) else value
            if value in values_before:
                continue
            values_before.add(value)
        chosen.append(hit)
    return chosen
