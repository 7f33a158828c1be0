"""Exact search: all embeddings in memory as one matrix, one product for each query.

A product with a single query waits for memory. It is therefore made with the embeddings rounded to float16, and again,
in float32, with the few rows that may be among the nearest by what rounding can have changed at most.
"""

import threading
from collections.abc import Iterator, Sequence
from functools import cache, cached_property

import numpy as np
import torch

from itma.retrieval.filters import Filter
from itma.retrieval.stores.base import Items, embeddings_of, read_column, read_columns

DECIMALS = 6
"""float32 carries a cosine to about seven digits; rounding lets the copies of one image tie everywhere."""
_GATHERED = 4
"""Where fewer than one in so many rows may be found, those alone are multiplied."""
_SCORES = 2**24
"""Scores that are held at once."""
_ROUNDED_FROM = 2**22
"""Numbers from which float16 is faster: fewer stay in the processor's cache as they are."""
_FEW = 16
"""Where more than one row in so many may be among the nearest, all are multiplied in float32."""
_ROWS = 16
"""A product of a multiple of so many rows gives each of them the bits that it has among all others."""


class _Buffer:
    """Rows of embeddings that several matrices share: rows are only ever added, each is written once."""

    def __init__(self, rows: int, dim: int) -> None:
        self.space = np.empty((rows, dim), dtype=np.float32)
        self.lock, self._used = threading.Lock(), 0
        self._rounded: torch.Tensor | None = None

    def write(self, first: int, rows: np.ndarray) -> None:
        """Put rows where they were claimed."""
        with self.lock:
            self.space[first : first + len(rows)] = rows
            if self._rounded is not None:
                self._rounded[first : first + len(rows)] = torch.from_numpy(self.space[first : first + len(rows)])

    @property
    def rounded(self) -> torch.Tensor:
        """(rows, dim) float16, made when it is first asked for."""
        with self.lock:
            if self._rounded is None:
                self._rounded = torch.empty(self.space.shape, dtype=torch.float16)
                self._rounded[: self._used] = torch.from_numpy(self.space[: self._used])
            return self._rounded

    def claim(self, rows: int) -> int | None:
        """The first of so many rows that nobody else writes. None: there are not so many."""
        with self.lock:
            first = self._used
            if first + rows > len(self.space):
                return None
            self._used += rows
            return first


class Matrix:
    """The embeddings of a table's items as of one version; it never changes. Several threads may use it.

    Args:
        items: the table, as of that version.
        earlier: the same of an earlier version: what did not change since is not read, and its memory is shared.
    """

    def __init__(self, items: Items, earlier: "Matrix | None" = None) -> None:
        self._items, self.version = items, items.version
        self._masks: dict[Filter, np.ndarray] = {}
        self._dead: np.ndarray | None = None
        self.ids: list[str] = []
        self.images: list[str | None] = []
        self._stamps: list[int] = []
        if earlier is None or not self._follow(earlier):
            self._load()
        self.row = {name: row for row, name in enumerate(self.ids) if name}

    def __len__(self) -> int:
        return len(self.row)

    @property
    def embeddings(self) -> np.ndarray:
        """(rows, dim) float32; row i belongs to `ids[i]`, in no particular order; rows without an id are dead."""
        return self._buffer.space[: len(self.ids)]

    def _load(self) -> None:
        count = self._items.count()
        dim = self._items.schema.field("embedding").type.list_size
        self._buffer = _Buffer(count + count // 16 + 64, dim)
        self._buffer.claim(count)
        for batch in self._items.scan(["id", "_image", "_stamp", "embedding"]):
            first = len(self.ids)
            self._buffer.write(first, embeddings_of(batch.column("embedding")))
            self.ids += batch.column("id").to_pylist()
            self.images += batch.column("_image").to_pylist()
            self._stamps += batch.column("_stamp").to_pylist()

    def _follow(self, earlier: "Matrix") -> bool:
        """Take over an earlier version's rows, add those that changed since; whether that was possible."""
        now = dict(read_columns(self._items, "id", "_stamp"))
        before = {name: earlier._stamps[row] for name, row in earlier.row.items()}
        gone = [row for name, row in earlier.row.items() if name not in now or now[name] != before[name]]
        changed = [name for name, stamp in now.items() if name not in before or before[name] != stamp]
        dead = len(earlier.ids) - len(earlier.row) + len(gone)
        if max(len(changed), dead) > len(now) // 8 + 8:
            return False
        first = earlier._buffer.claim(len(changed))
        if first is None:
            return False
        rows = self._items.get(changed, ["id", "_image", "_stamp", "embedding"])
        self._buffer = earlier._buffer
        others = first - len(earlier.ids)  # rows that belong to another matrix which followed the same one
        self.ids = [*earlier.ids, *[""] * others, *rows["id"].to_pylist()]
        self.images = [*earlier.images, *[None] * others, *rows["_image"].to_pylist()]
        self._stamps = [*earlier._stamps, *[0] * others, *rows["_stamp"].to_pylist()]
        for row in gone:
            self.ids[row], self.images[row] = "", None
        self._buffer.write(first, embeddings_of(rows["embedding"]))
        if dead or others:
            self._dead = np.array([not name for name in self.ids], dtype=bool)
        return True

    @cached_property
    def _by_image(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for name, image in zip(self.ids, self.images, strict=True):
            if image is not None:
                names.setdefault(image, []).append(name)
        return names

    def ids_with_image(self, images: Sequence[str]) -> list[str]:
        """The items whose image is named by one of these."""
        return [name for image in images for name in self._by_image.get(image, [])]

    def mask(self, where: Filter) -> np.ndarray:
        """(items,) bool: which rows match."""
        mask = self._masks.get(where)
        if mask is None:
            mask = np.zeros(len(self.ids), dtype=bool)
            mask[[self.row[name] for name in read_column(self._items, "id", where)]] = True
            if len(self._masks) > 64:
                self._masks.clear()
            self._masks[where] = mask
        return mask

    def nearest(self, queries: np.ndarray, k: int, *, where: Filter | None = None) -> list[list[tuple[str, float]]]:
        """As `Items.nearest`."""
        mask = self.mask(where) if where is not None else None if self._dead is None else ~self._dead
        gains = len(queries) == 1 and self.embeddings.size >= _ROUNDED_FROM and _adds_in_float32()
        rounded = self._buffer.rounded[: len(self.ids)] if gains else None
        return list(nearest(queries, self.embeddings, self.ids, k, mask, rounded))


def nearest(
    queries: np.ndarray,
    embeddings: np.ndarray,
    ids: Sequence[str],
    k: int,
    mask: np.ndarray | None = None,
    rounded: torch.Tensor | None = None,
) -> Iterator[list[tuple[str, float]]]:
    """For each query the k nearest rows as (id, cosine), best first; equal cosines in the order of ids.

    Args:
        queries: (queries, dim) float32 of length 1.
        embeddings: (items, dim) float32 of length 1.
        ids: one for each row of `embeddings`.
        k: how many; fewer come back where there are fewer.
        mask: (items,) bool, which rows may be found; None: all.
        rounded: (items, dim) float16, the same embeddings; the answers are those without it.
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
    if rounded is not None and rows is None and len(queries) == 1:
        near = _may_be_nearest(queries[0], rounded, k, hidden)
        if near is not None:
            among = embeddings[np.resize(near, -(-len(near) // _ROWS) * _ROWS)]
            yield _best((among @ queries[0])[: len(near)], k, ids, near)
            return
    chunk = max(1, _SCORES // max(1, len(embeddings)))
    for first in range(0, len(queries), chunk):
        part = queries[first : first + chunk]
        scores = part @ embeddings.T if len(part) > 1 else (embeddings @ part[0])[None]
        for row in scores:
            if hidden is not None:
                row[hidden] = -np.inf
            yield _best(row, k, ids, rows)


@cache
def _adds_in_float32() -> bool:
    """Whether this machine adds up products of float16 in float32: else small ones are lost beside large ones."""
    numbers = torch.tensor([1.0, 2.0**-12, 2.0**-12, -1.0], dtype=torch.float16).repeat_interleave(128)
    return bool((torch.mv(numbers.expand(64, -1).contiguous(), torch.ones_like(numbers)) == 2.0**-4).all())


def _may_be_nearest(query: np.ndarray, rounded: torch.Tensor, k: int, hidden: np.ndarray | None) -> np.ndarray | None:
    """The rows of which k are the nearest, by products of float16. None: they are not few, or cannot be told.

    By Cauchy-Schwarz, rounding both vectors, of length 1, and their product changes a score by 3 · 2⁻¹¹ at most, and a
    fourth more than makes up for numbers too small for float16; adding up in float32, here and there, by dim · 2⁻²³.
    """
    if not 0 < k <= len(rounded) // _FEW:
        return None
    error = 4 * 2.0**-11 + len(query) * 2.0**-23
    scores = torch.mv(rounded, torch.tensor(query, dtype=torch.float16)).float()
    if hidden is not None:
        scores[torch.from_numpy(hidden)] = -torch.inf
    least = float(scores.topk(k).values[-1]) - 2 * error - 2 * 10.0**-DECIMALS
    near = np.flatnonzero(scores.numpy() >= least)
    return near if len(near) <= len(rounded) // _FEW else None


def _best(scores: np.ndarray, k: int, ids: Sequence[str], rows: np.ndarray | None) -> list[tuple[str, float]]:
    if k < 1:
        return []
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    near = np.flatnonzero(scores >= least - 2 * 10.0**-DECIMALS)  # all that may tie with the last of them
    rounded = np.round(scores[near].astype(np.float64), DECIMALS)
    if rows is not None:
        near = rows[near]
    order = sorted(zip((-rounded).tolist(), (ids[row] for row in near.tolist()), strict=True))[:k]
    return [(name, -score) for score, name in order]
