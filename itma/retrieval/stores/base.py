"""What a catalogue asks of the engine that keeps it: documents, tables of items, one writer at a time.

An engine implements `Store` and `Items`; `tests/test_store.py` holds what every engine must keep. Rows travel as Arrow
tables. Nothing above this module knows where or how the rows are kept.

The columns of a table of items:

| column | type | |
|---|---|---|
| `id` | text | the item's name, unique; any text without U+0000 and without lone surrogates |
| `embedding` | list of `dim` float32 | of length 1 |
| `_image` | text | the image's file, below the catalogue's folder of images or a whole path; or null |
| `_sum` | text | sha256 of the image's file; or null |
| `_size`, `_modified` | int64 | the file's bytes, and its time in nanoseconds; or null |
| `_facts` | text | sum over the metadata that came with the item |
| `_stamp` | int64 | a number drawn anew whenever the row is written |
| `_tokens` | bytes | the image's feature maps as float16, where the catalogue keeps them; or null |
| all others | | metadata, see `KINDS` |
"""

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from itma.errors import CatalogueError, DataError, ItmaError, MissingPackageError
from itma.retrieval.filters import Filter
from itma.retrieval.sums import Verification

if TYPE_CHECKING:
    import pyarrow as pa

Effort = Mapping[str, int]
"""How thoroughly an index is searched, in the engine's own words."""

Ranked = list[tuple[str, float]]
"""Items as (id, cosine), best first."""

OWN = ("_image", "_sum", "_size", "_modified", "_facts", "_stamp", "_tokens")
"""Columns that are neither the id, nor the embedding, nor metadata."""


@dataclass(frozen=True)
class Version:
    """One state of a table that can be opened again."""

    number: int
    written: datetime
    items: int

    def __str__(self) -> str:
        return f"{self.number:6d}  {self.written:%Y-%m-%d %H:%M:%S}  {self.items:,} items"


@dataclass(frozen=True)
class IndexState:
    """What an engine's index covers."""

    kind: str
    indexed: int
    waiting: int
    """Items that came after the index was made; they are compared one by one."""


class Items(Protocol):
    """One table of items, as of one version; where an engine keeps no versions, as it is.

    "In one commit" below is what files in a folder or a bucket keep. A Milvus server does not: see
    `itma.retrieval.stores.milvus`.
    """

    @property
    def schema(self) -> "pa.Schema":
        """The columns."""

    @property
    def version(self) -> int:
        """The state that reads show, or that was last seen; grows with every change."""

    @property
    def compares_quickly(self) -> bool:
        """Whether `nearest` without an effort is quick by itself, so that nobody need hold all embeddings in memory."""

    def newest(self) -> "Items":
        """The table as of its newest version; itself where nobody has written since, or an earlier one was opened."""

    def versions(self) -> list[Version]:
        """The states that can still be opened, oldest first.

        Raises:
            CatalogueError: the engine keeps none.
        """

    def count(self, where: Filter | None = None) -> int:
        """How many items there are, or match."""

    def scan(
        self, columns: Sequence[str], *, where: Filter | None = None, rows: int = 8192
    ) -> Iterator["pa.RecordBatch"]:
        """Columns of all items, or of those that match, in batches of about `rows`; in no particular order."""

    def page(
        self, columns: Sequence[str], rows: int, *, after: str | None = None, where: Filter | None = None
    ) -> "tuple[pa.Table, str | None]":
        """About `rows` items, or of those that match, and a mark for the next of them; without reading all the others.

        As long as nobody writes, the pages that follow one another hold every item once.

        Args:
            columns: which.
            rows: how many, about; a page may hold fewer, or none, and yet not be the last.
            after: the mark of the page before; None: the first page.
            where: which items.

        Returns:
            The items, and the mark; None after the last page.

        Raises:
            DataError: the mark is none.
        """

    def get(self, ids: Sequence[str], columns: Sequence[str]) -> "pa.Table":
        """Columns of these items, in no particular order; ids that are not there are passed over."""

    def insert(self, rows: "pa.Table") -> None:
        """Add items whose ids are not there yet, in one commit."""

    def upsert(self, rows: "pa.Table") -> None:
        """Add items, in the place of those with the same ids, in one commit."""

    def delete(self, ids: Sequence[str]) -> None:
        """Remove items in one commit; ids that are not there are passed over."""

    def add_columns(self, fields: "Sequence[pa.Field]") -> None:
        """New columns of metadata, null in all items that are there."""

    def nearest(
        self, queries: np.ndarray, k: int, *, where: Filter | None = None, effort: Effort | None = None
    ) -> list[Ranked]:
        """For each query the k nearest of the items that match, as (id, cosine), best first.

        Args:
            queries: (queries, dim) float32 of length 1.
            k: how many; fewer come back only where fewer match.
            where: which items are ranked at all.
            effort: how thoroughly the index is searched; None: all items are compared.
        """

    def build_index(self) -> None:
        """Make an index for `nearest` over all items, in the place of an earlier one."""

    def index_state(self) -> IndexState | None:
        """What the index covers; None: there is none."""

    def efforts(self) -> Sequence[Effort]:
        """Ways to search the index, the cheapest first."""

    def compact(self, keep: timedelta) -> None:
        """Join small files, bring the index up to date, and forget versions older than `keep`."""


class Store(Protocol):
    """Where one catalogue is: small documents, tables of items, and a lock for who writes."""

    @property
    def address(self) -> str:
        """Where it is, as a person would name it."""

    def read(self, name: str) -> str | None:
        """A document; None where there is none of that name."""

    def write(self, name: str, text: str) -> None:
        """Write a document, whole or not at all; bytes of file names that are no text are kept."""

    def stamp(self, name: str) -> object:
        """A cheap sign of a document's state: equal as long as nobody wrote it."""

    def strange(self) -> bool:
        """Whether something stands at the address that no catalogue has put there."""

    def discard(self) -> None:
        """Remove all that is there; for a catalogue that came to nothing."""

    def tables(self) -> list[str]:
        """The names of all tables."""

    def create(self, name: str, schema: "pa.Schema") -> Items:
        """A new empty table."""

    def open(self, name: str, version: int | None = None) -> Items:
        """A table as it is now, or as it was.

        Raises:
            CatalogueError: the table is missing, or the engine keeps no versions and one is asked for.
            UnknownNameError: there is no such version.
        """

    def drop(self, name: str) -> None:
        """Remove a table, whether it is there or not."""

    def writing(self, what: str) -> AbstractContextManager[None]:
        """Be the only writer, where the engine locks: in a folder. In a bucket and on a server nobody is kept out.

        Args:
            what: what is being done, for the message that others get.

        Raises:
            CatalogueError: somebody else is writing; the message says who.
            StorageError: the address cannot be written to.
        """

    def verify(self, table: str) -> Verification:
        """Read everything that was written and compare it with what is known of it; `table` is the one in use."""

    def sync(self) -> None:
        """Return once everything that was written would survive a loss of power."""


def check_mark(mark: str, form: str) -> str:
    """The mark of a page, see `Items.page`, which must have a form (a regular expression).

    Raises:
        DataError: it is no such mark.
    """
    if not re.fullmatch(form, mark):
        raise DataError(f"{mark[:60]!r} is no mark of a page; give the one that came with the page before, or none")
    return mark


def damage_error(address: str, what: str) -> CatalogueError:
    """What is said of a catalogue of which something is missing or makes no sense."""
    return CatalogueError(f"the catalogue {address!r} is damaged: {what}; restore a backup, or index again")


def engine_error(address: str, reason: str) -> CatalogueError:
    """What is said of an engine's error that has no better name."""
    return CatalogueError(
        f"the catalogue {address!r} cannot be read or written ({reason}); if this stays so, restore a backup or index "
        "again"
    )


def load_package(name: str, error: ItmaError) -> Any:
    """A package, loaded when it is first needed; the error says what it is for and how it is installed.

    Raises:
        ItmaError: this one, where it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as missing:
        raise error from missing


def arrow() -> Any:
    """The package pyarrow; errors as for `load_package`."""
    return load_package("pyarrow", MissingPackageError("a catalogue", "pylance"))


def schema_of(
    dim: int, metadata: "Iterable[pa.Field | tuple[str, pa.DataType]]" = (), *, tokens: bool = False
) -> "pa.Schema":
    """The columns of a table of items whose embeddings have `dim` numbers."""
    pa = arrow()
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("embedding", pa.list_(pa.float32(), dim), nullable=False),
        *((name, pa.string()) for name in ("_image", "_sum")),
        *((name, pa.int64()) for name in ("_size", "_modified")),
        ("_facts", pa.string()),
        ("_stamp", pa.int64()),
        *([("_tokens", pa.large_binary())] if tokens else []),
    ]
    return pa.schema([*fields, *metadata])


def metadata_of(schema: "pa.Schema") -> "dict[str, pa.DataType]":
    """The columns that a person gave, with their types."""
    return {field.name: field.type for field in schema if field.name not in ("id", "embedding", *OWN)}


def embeddings_of(column: "pa.ChunkedArray | pa.Array") -> np.ndarray:
    """A column of embeddings as (items, dim) float32."""
    dim = column.type.list_size
    if hasattr(column, "combine_chunks"):
        column = column.combine_chunks()
    values: np.ndarray = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, dim)


def scan_embeddings(
    items: Items, where: Filter | None = None, *, rows: int = 8192
) -> Iterator[tuple[list[str], np.ndarray]]:
    """The ids of all items, or of those that match, and their embeddings (items, dim), in batches; see `Items.scan`."""
    for batch in items.scan(["id", "embedding"], where=where, rows=rows):
        yield batch.column("id").to_pylist(), embeddings_of(batch.column("embedding"))


def read_embeddings(items: Items, where: Filter | None = None) -> tuple[list[str], np.ndarray]:
    """The ids of all items, or of those that match, and their embeddings (items, dim)."""
    ids: list[str] = []
    parts = [np.zeros((0, items.schema.field("embedding").type.list_size), dtype=np.float32)]
    for names, embeddings in scan_embeddings(items, where):
        ids += names
        parts.append(embeddings)
    return ids, np.concatenate(parts)


def read_columns(items: Items, *names: str) -> Iterator[tuple[Any, ...]]:
    """Some columns' values of each item."""
    for batch in items.scan(names, rows=65_536):
        yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)


def read_column(items: Items, name: str, where: Filter | None = None) -> Iterator[Any]:
    """A column's values of all items, or of those that match."""
    for batch in items.scan([name], where=where, rows=65_536):
        yield from batch.column(name).to_pylist()


def embedding_column(embeddings: np.ndarray) -> "pa.Array":
    """(items, dim) float32 as a column."""
    pa = arrow()
    flat = pa.array(np.ascontiguousarray(embeddings, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1])
