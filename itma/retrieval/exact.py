"""Exact search: all embeddings in memory as one matrix, one product for each query."""

from collections.abc import Iterator, Sequence

import numpy as np

from itma.retrieval.filters import Filter
from itma.retrieval.stores.base import Items, embeddings_of

DECIMALS = 6
"""float32 carries a cosine to about seven digits; rounding lets the copies of one picture tie everywhere."""
_GATHERED = 4
"""Where fewer than one in so many rows may be found, those alone are multiplied."""
_SCORES = 2**24
"""Scores that are held at once."""


class Matrix:
    """The embeddings of a table's items, kept up with the table row by row.

    Args:
        items: the table.
    """

    def __init__(self, items: Items) -> None:
        self._items = items
        self._masks: dict[Filter, np.ndarray] = {}
        self._by_picture: dict[str, list[str]] | None = None
        self._load()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def embeddings(self) -> np.ndarray:
        """(items, dim) float32; row i belongs to `ids[i]`. The order of rows means nothing."""
        return self._space[: len(self.ids)]

    def _load(self) -> None:
        self.version = self._items.version
        count = self._items.count()
        dim = self._items.schema.field("embedding").type.list_size
        self._space = np.empty((count + count // 16 + 64, dim), dtype=np.float32)
        self.ids: list[str] = []
        self.pictures: list[str | None] = []
        self._stamps: list[int] = []
        for batch in self._items.scan(["id", "_picture", "_stamp", "embedding"]):
            first = len(self.ids)
            self._space[first : first + len(batch)] = embeddings_of(batch.column("embedding"))
            self.ids += batch.column("id").to_pylist()
            self.pictures += batch.column("_picture").to_pylist()
            self._stamps += batch.column("_stamp").to_pylist()
        self.row = {name: row for row, name in enumerate(self.ids)}
        self._forget()

    def _forget(self) -> None:
        self._masks.clear()
        self._by_picture = None

    def update(self) -> None:
        """Take over what changed in the table since it was last looked at."""
        self.version = self._items.version
        now: dict[str, int] = {}
        for batch in self._items.scan(["id", "_stamp"], rows=65_536):
            now.update(zip(batch.column("id").to_pylist(), batch.column("_stamp").to_pylist(), strict=True))
        gone = [name for name in self.ids if name not in now]
        changed = [
            name for name, stamp in now.items() if (row := self.row.get(name)) is None or self._stamps[row] != stamp
        ]
        if len(changed) > len(now) // 8 or len(now) > len(self._space):
            self._load()
            return
        for name in gone:
            self._remove(self.row.pop(name))
        rows = self._items.get(changed, ["id", "_picture", "_stamp", "embedding"])
        columns = (rows[name].to_pylist() for name in ("id", "_picture", "_stamp"))
        for name, picture, stamp, embedding in zip(*columns, embeddings_of(rows["embedding"]), strict=True):
            row = self.row.get(name)
            if row is None:
                row = self.row[name] = len(self.ids)
                self.ids.append(name)
                self.pictures.append(None)
                self._stamps.append(0)
            self.pictures[row], self._stamps[row] = picture, stamp
            self._space[row] = embedding
        self._forget()

    def _remove(self, row: int) -> None:
        """The last row takes the place of this one."""
        last = len(self.ids) - 1
        if row != last:
            self._space[row] = self._space[last]
            self.ids[row], self.pictures[row], self._stamps[row] = self.ids[-1], self.pictures[-1], self._stamps[-1]
            self.row[self.ids[row]] = row
        del self.ids[-1], self.pictures[-1], self._stamps[-1]

    def ids_with_picture(self, pictures: Sequence[str]) -> list[str]:
        """The items whose picture is named by one of these."""
        if self._by_picture is None:
            self._by_picture = {}
            for name, picture in zip(self.ids, self.pictures, strict=True):
                if picture is not None:
                    self._by_picture.setdefault(picture, []).append(name)
        return [name for picture in pictures for name in self._by_picture.get(picture, [])]

    def mask(self, where: Filter) -> np.ndarray:
        """(items,) bool: which rows match."""
        if where not in self._masks:
            if len(self._masks) > 64:
                self._masks.clear()
            mask = np.zeros(len(self.ids), dtype=bool)
            names = [name for batch in self._items.scan(["id"], where=where) for name in batch.column("id").to_pylist()]
            mask[[self.row[name] for name in names]] = True
            self._masks[where] = mask
        return self._masks[where]

    def nearest(self, queries: np.ndarray, k: int, *, where: Filter | None = None) -> list[list[tuple[str, float]]]:
        """As `Items.nearest`."""
        mask = None if where is None else self.mask(where)
        return list(nearest(queries, self.embeddings, self.ids, k, mask))


def nearest(
    queries: np.ndarray, embeddings: np.ndarray, ids: Sequence[str], k: int, mask: np.ndarray | None = None
) -> Iterator[list[tuple[str, float]]]:
    """For each query the k nearest rows as (id, cosine), best first; equal cosines in the order of ids.

    Args:
        queries: (queries, dim) float32 of length 1.
        embeddings: (items, dim) float32 of length 1.
        ids: one for each row of `embeddings`.
        k: how many; fewer come back where there are fewer.
        mask: (items,) bool, which rows may be found; absent: all.
    """
    rows = hidden = None
    if mask is not None:
        rows = np.flatnonzero(mask)
        k = min(k, len(rows))
        if len(rows) * _GATHERED < len(mask):
            embeddings = embeddings[rows]
        else:
            rows, hidden = None, ~mask
    k = min(k, len(embeddings))
    chunk = max(1, _SCORES // max(1, len(embeddings)))
    for first in range(0, len(queries), chunk):
        part = queries[first : first + chunk]
        scores = part @ embeddings.T if len(part) > 1 else (embeddings @ part[0])[None]
        for row in scores:
            if hidden is not None:
                row[hidden] = -np.inf
            yield _best(row, k, ids, rows)


def _best(scores: np.ndarray, k: int, ids: Sequence[str], rows: np.ndarray | None) -> list[tuple[str, float]]:
    if k < 1:
        return []
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    near = np.flatnonzero(scores >= least - 2 * 10.0**-DECIMALS)  # all that may tie with the last of them
    rounded = np.round(scores[near].astype(np.float64), DECIMALS)
    if rows is not None:
        near = rows[near]
    order = sorted(zip((-rounded).tolist(), (ids[place] for place in near.tolist()), strict=True))[:k]
    return [(name, -score) for score, name in order]
