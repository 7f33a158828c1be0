"""The engine that keeps a catalogue on a Milvus server or cluster, with what Milvus itself gives.

A table of items is one collection. Its primary key is a sum of the item's id; Milvus replaces and deletes rows by it.
The vector index is Milvus' own. The documents of a catalogue are properties of small collections, which the server
changes in one step; `catalogue.json` names the table that is searched, so that a reindex switches in one step too.

What a folder promises and a server does not:

- **No snapshots, no versions.** A reader sees rows as they are written, and may see a part of a large write.
  `Store.open` with a version and `Items.versions` raise.
- **No writer's lock.** Several processes may write. Of two that write the same item the later wins; what is written to
  a table while another process puts a new one in its place (a reindex, `--replace`) is lost.
- **A search may miss rows** for some tenths of a second while the server loads the index of a file of rows. Building
  an index waits for that; the server does it by itself, too, after many writes.
- **A write is not one step.** A request of up to 16 MiB is whole or not there at all, a larger write is several
  requests. Who is killed in between leaves a part; the same call again does the rest.
- **Durability** is the server's: it acknowledges a row when the row is in its log.

A reader that has seen a change reads once at Milvus' level "Strong", which waits for the next tick of the server's
clock (up to 200 ms), and after that at "Eventually", which waits for nothing. Milvus' default shows stale reads.
"""

import base64
import json
import logging
import os
import re
import secrets
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from itma.errors import CatalogueError, DataError, FilterError, ItmaError, MissingExtraError, StorageError
from itma.retrieval import exact
from itma.retrieval.filters import Filter
from itma.retrieval.stores.base import (
    Effort,
    IndexState,
    Ranked,
    Version,
    arrow,
    check_mark,
    damage_error,
    engine_error,
    load_package,
)
from itma.retrieval.stores.milvus_format import MOST_BYTES, from_plain, key_of, pack, to_expression, to_plain, unpack
from itma.retrieval.sums import Verification

if TYPE_CHECKING:
    import pyarrow as pa

TOKEN = "ITMA_MILVUS_TOKEN"
"""The environment variable that holds `user:password` or a key, where the server asks for one."""
OLDEST = (2, 3)
"""The oldest server that is known to do."""
LISTS = 1024
"""Lists of the index (IVF_FLAT); a search of all lists compares everything."""
_ADDRESS = re.compile(
    r"milvus://([^/\s:@]+|\[[0-9a-fA-F:]+\])(?::(\d{1,5}))?/(?:(\w+)/)?([A-Za-z](?:_?[A-Za-z0-9])*)/?", re.ASCII
)
_SECONDS = 120.0
_LONG_SECONDS = 900.0
"""For loading a collection and for its index."""
_CONNECT_SECONDS = 10.0
_NO_COLLECTION = 100
"""Milvus' code for a collection that is not there."""
_DOCUMENT_BYTES = 2**19
"""The longest document, compressed; the server's register takes 1.5 MB for all that is known of a collection."""
_IDS = 1_000
"""Ids in one expression."""
_HITS = 16_384
"""Hits that the server gives at most."""
_MESSAGE_BYTES = 16 * 2**20
"""The size of one message, about; the server refuses 64 MiB."""
_WAITING = 4_000
"""Rows outside the index; of more (from 6,000) the server makes an index for the time being, which is not exact."""
_INDEXED_ROWS = 1_024
"""The smallest file of rows that the server makes an index for."""
_HANDOVER_SECONDS = 10.0
"""How long is waited for finished indexes to be loaded; a server may be set to make none for larger files, too."""
_TOO_LARGE = ("larger than max", "exceed", "resourceexhausted")
"""What an error says of an answer that is too large for one message."""


class MilvusStore:
    """Some collections of a Milvus server; see `Store` in `itma.retrieval.stores.base`, and this module for its limits.

    Args:
        address: `milvus://host:port/name`, or `milvus://host:port/database/name`. Port 19530 where none is given.

    Raises:
        CatalogueError: the address is written in another way.
        MissingExtraError: pymilvus is not installed.
    """

    def __init__(self, address: str) -> None:
        match = _ADDRESS.fullmatch(address)
        if match is None or len(match[4]) > 100 or not 0 < int(match[2] or 19530) < 65536:
            raise CatalogueError(
                f"{address!r} names no catalogue on a Milvus server; write milvus://HOST:PORT/NAME, with letters, "
                "digits and single underscores in the name"
            )
        self.package = load_package("pymilvus", MissingExtraError("a catalogue on a Milvus server", "milvus"))
        self.address, self.name = address.rstrip("/"), match[4]
        self._server, self._database = f"{match[1]}:{match[2] or 19530}", match[3] or ""

    # -- documents ----------------------------------------------------------------------------------------------------

    def read(self, name: str) -> str | None:
        """See `Store.read`."""
        if (properties := self.properties(self._document(name))) is None:
            return None
        try:
            text: str = json.loads(zlib.decompress(base64.b64decode(properties["text"])))
        except (KeyError, ValueError, zlib.error) as error:
            raise damage_error(self.address, f"{name} cannot be read") from error
        return text

    def write(self, name: str, text: str) -> None:
        """See `Store.write`.

        Raises:
            DataError: the text is too long for the server's register.
        """
        packed = base64.b64encode(zlib.compress(json.dumps(text).encode())).decode()  # JSON keeps lone surrogates
        if len(packed) > _DOCUMENT_BYTES:
            raise DataError(
                f"{name} of the catalogue {self.address!r} takes {len(packed):,} bytes, compressed; a Milvus server "
                f"keeps at most {_DOCUMENT_BYTES:,}: keep the catalogue in a folder"
            )
        collection, types = self._document(name), self.package.DataType
        if not self.call("has_collection", collection):
            schema = self.client.create_schema(auto_id=False)
            schema.add_field("key", types.INT64, is_primary=True)
            schema.add_field("nothing", types.FLOAT_VECTOR, dim=2)  # Milvus knows no collection without vectors
            self.call("create_collection", collection, schema=schema, num_shards=1)
        self.call("alter_collection_properties", collection, {"text": packed, "stamp": secrets.token_hex(8)})

    def stamp(self, name: str) -> object:
        """See `Store.stamp`."""
        return (self.properties(self._document(name)) or {}).get("stamp")

    def _document(self, name: str) -> str:
        return f"{self.name}__document_{re.sub('[^a-z0-9]', '_', name)}"

    # -- tables -------------------------------------------------------------------------------------------------------

    def strange(self) -> bool:
        """See `Store.strange`; nobody else names collections in this way."""
        return False

    def discard(self) -> None:
        """See `Store.discard`."""
        for collection in self._collections(f"{self.name}__"):
            self.call("drop_collection", collection)

    def tables(self) -> list[str]:
        """See `Store.tables`."""
        prefix = self._table("")
        return sorted(name.removeprefix(prefix).replace("_", "-") for name in self._collections(prefix))

    def create(self, name: str, schema: "pa.Schema") -> "MilvusItems":
        """See `Store.create`.

        Raises:
            DataError: the items are to have feature maps.
        """
        if "_tokens" in schema.names:
            raise DataError(
                "a Milvus server keeps no feature maps; make the catalogue without --tokens, or in a folder"
            )
        self.drop(name)
        types, collection, client = self.package.DataType, self._table(name), self.client
        collection_schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        collection_schema.add_field("key", types.VARCHAR, max_length=32, is_primary=True)
        collection_schema.add_field("id", types.VARCHAR, max_length=MOST_BYTES)
        collection_schema.add_field("embedding", types.FLOAT_VECTOR, dim=schema.field("embedding").type.list_size)
        collection_schema.add_field("columns", types.JSON)
        state = {"schema": pack(schema), "changed": "1"}
        self.call("create_collection", collection, schema=collection_schema, num_shards=1, properties=state)
        index = client.prepare_index_params()
        index.add_index("embedding", index_type="IVF_FLAT", metric_type="IP", params={"nlist": LISTS})
        self.call("create_index", collection, index, sync=False)
        self.call("load_collection", collection, _async=True)
        return MilvusItems(self, collection)

    def open(self, name: str, version: int | None = None) -> "MilvusItems":
        """See `Store.open`; there are no versions."""
        if version is not None:
            refuse_versions(self.address)
        return MilvusItems(self, self._table(name))

    def drop(self, name: str) -> None:
        """See `Store.drop`."""
        self.call("drop_collection", self._table(name))

    def writing(self, what: str) -> AbstractContextManager[None]:
        """See `Store.writing`; nobody is kept out."""
        return nullcontext()

    def verify(self, table: str) -> Verification:
        """See `Store.verify`: the server checks what it reads."""
        return Verification()

    def sync(self) -> None:
        """See `Store.sync`: all rows are written to the server's storage, beyond its log."""
        for name in self.tables():
            self.call("flush", self._table(name))

    def _table(self, name: str) -> str:
        return f"{self.name}__table_{name.replace('-', '_')}"

    # -- the server ---------------------------------------------------------------------------------------------------

    @cached_property
    def client(self) -> Any:
        """The connection, made when it is first needed.

        Raises:
            CatalogueError: the server cannot be reached, refuses the person, or is too old.
        """
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it prints a trace of what it raises as well
        seconds, server = _CONNECT_SECONDS, f"the Milvus server at {self._server}"
        with self._translate_errors():
            client = self.package.MilvusClient(
                f"http://{self._server}", token=os.environ.get(TOKEN, ""), db_name=self._database, timeout=seconds
            )
            version = str(client.get_server_version(timeout=seconds))
            databases = client.list_databases(timeout=seconds) if self._database else [""]
        numbers = re.match(r"v?(\d+)\.(\d+)", version)
        if numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST:
            raise CatalogueError(f"{server} is of version {version}; itma needs {OLDEST[0]}.{OLDEST[1]} or newer")
        if self._database not in databases:
            raise CatalogueError(f"{server} has no database {self._database!r}; it has: {', '.join(databases)}")
        return client

    def properties(self, collection: str) -> dict[str, str] | None:
        """What the server's register holds of a collection, as of now. None: there is no such collection."""
        try:
            return dict(self.call("describe_collection", collection)["properties"])
        except CatalogueError as error:
            if getattr(error.__cause__, "code", None) == _NO_COLLECTION:
                return None
            raise

    def call(self, method: str, *arguments: Any, where: Filter | None = None, **options: Any) -> Any:
        """Call a method of the client; what pymilvus raises becomes an error of ours, which may name a condition."""
        client = self.client
        with self._translate_errors(where):
            return getattr(client, method)(*arguments, **{"timeout": _SECONDS, **options})

    def _collections(self, prefix: str) -> list[str]:
        return [name for name in self.call("list_collections") if name.startswith(prefix)]

    @contextmanager
    def _translate_errors(self, condition: Filter | None = None) -> Iterator[None]:
        """Turns what pymilvus raises into our errors."""
        try:
            yield
        except ItmaError:
            raise
        except (self.package.MilvusException, ValueError, TypeError, OSError) as error:
            text = str(getattr(error, "message", "")) or str(error) or type(error).__name__
            text = text.splitlines()[0][:300]
            if condition is not None and "cannot parse expression" in text.lower():
                raise FilterError(f"the condition {condition} is not understood by Milvus ({text})") from error
            server = f"the Milvus server at {self._server}"
            for signs, kind, message in (
                (("fail connecting", "unavailable"), CatalogueError,
                 f"{server} cannot be reached ({text}); start it, or check the address in {self.address!r}"),
                (("deadline", "timeout", "retry run out"), CatalogueError,
                 f"{server} did not answer in time ({text}); see whether it is overloaded, and try again"),
                (("auth", "permission"), CatalogueError,
                 f"{server} refuses the access ({text}); set {TOKEN}=user:password, or a key"),
                (("quota", "disk", "deny to write"), StorageError, f"{server} takes no more writes ({text})"),
            ):  # fmt: skip
                if any(sign in text.lower() for sign in signs):
                    raise kind(message) from error
            raise engine_error(self.address, text) from error


def refuse_versions(address: str) -> NoReturn:
    """Raise the error for who asks for a version."""
    raise CatalogueError(
        f"the catalogue {address!r} is on a Milvus server, which keeps no earlier versions; open it without a version, "
        "and keep copies with: itma catalogue backup"
    )


class MilvusItems:
    """One table of items; see `itma.retrieval.stores.base.Items`.

    Args:
        store: its catalogue.
        collection: its name on the server.

    Raises:
        CatalogueError: it is not there.
    """

    def __init__(self, store: MilvusStore, collection: str) -> None:
        self._store, self._collection, self._loaded = store, collection, False
        self.refresh()

    @property
    def version(self) -> int:
        """See `Items.version`: when it was last written to, in milliseconds; reads show what came later, too."""
        return int(self._state["changed"])

    @property
    def compares_quickly(self) -> bool:
        """See `Items.compares_quickly`: the server compares; reading all of it takes a minute for 400,000 items."""
        return self._waiting <= _WAITING

    def newest(self) -> "MilvusItems":
        """See `Items.newest`; another object where somebody has written, though both show what is there now."""
        newest = MilvusItems(self._store, self._collection)
        return self if newest._state == self._state else newest

    def refresh(self) -> None:
        """Take up the newest state, before a write of one's own."""
        state = self._store.properties(self._collection)
        if state is None:
            raise damage_error(self._store.address, f"its collection {self._collection} is missing")
        self._show(state)

    def _show(self, state: dict[str, str]) -> None:
        self._state, self._level = state, "Strong"  # until the server has taken in all that was written
        self._waiting = int(state.get("waiting", 0))
        """Rows that the server's index does not cover, at most."""
        self.schema: pa.Schema = unpack(state["schema"])
        """See `Items.schema`."""

    def _set_state(self, **changed: str) -> None:
        self._store.call("alter_collection_properties", self._collection, changed)
        self._show(self._state | changed)

    def versions(self) -> list[Version]:
        """See `Items.versions`; there are none."""
        refuse_versions(self._store.address)

    # -- reading ------------------------------------------------------------------------------------------------------

    def count(self, where: Filter | None = None) -> int:
        """See `Items.count`."""
        (row,) = self._read("query", where, filter=to_expression(where, self.schema), output_fields=["count(*)"])
        return int(row["count(*)"])

    def scan(
        self, columns: Sequence[str], *, where: Filter | None = None, rows: int = 8192
    ) -> Iterator["pa.RecordBatch"]:
        """See `Items.scan`; after the last page is one without items."""
        after: str | None = None
        while (page_and_mark := self.page(columns, rows, after=after, where=where))[1] is not None:
            page, after = page_and_mark
            yield from page.to_batches()

    def page(
        self, columns: Sequence[str], rows: int, *, after: str | None = None, where: Filter | None = None
    ) -> "tuple[pa.Table, str | None]":
        """See `Items.page`; the mark is the last key, and with this option the server leaves out none before it."""
        mark = "" if after is None else check_mark(after, "[0-9a-f]{32}")
        expression = f'key > "{mark}" and {to_expression(where, self.schema)}'
        limit = min(rows, self._rows_of_message(columns))
        while True:
            try:
                keys, batch = self._query(expression, columns, where, limit=limit, reduce_stop_for_best="True")
            except CatalogueError as error:
                if limit == 1 or not any(sign in str(error).lower() for sign in _TOO_LARGE):
                    raise
                limit //= 2  # texts that are longer than we thought
            else:
                return arrow().Table.from_batches([batch]), max(keys, default=None)

    def get(self, ids: Sequence[str], columns: Sequence[str]) -> "pa.Table":
        """See `Items.get`."""
        step, batches = min(_IDS, self._rows_of_message(columns)), []
        for first in range(0, len(ids), step):
            keys = ", ".join(f'"{key_of(name)}"' for name in ids[first : first + step])
            batches.append(self._query(f"key in [{keys}]", columns)[1])
        return arrow().Table.from_batches(batches, arrow().schema([self.schema.field(name) for name in columns]))

    def _rows_of_message(self, columns: Sequence[str]) -> int:
        each = 200 + 100 * len(columns)
        if "embedding" in columns:
            each += 4 * self.schema.field("embedding").type.list_size
        return max(1, min(_HITS, _MESSAGE_BYTES // each))

    def _query(
        self, expression: str, columns: Sequence[str], where: Filter | None = None, **options: Any
    ) -> "tuple[list[str], pa.RecordBatch]":
        """The keys of the items that an expression of Milvus' matches, and their columns."""
        fields = sorted({"key", "id", *(name if name in ("id", "embedding") else "columns" for name in columns)})
        rows = self._read("query", where, filter=expression, output_fields=fields, **options)
        return [row["key"] for row in rows], from_plain(rows, columns, self.schema)

    def _read(self, method: str, where: Filter | None, **options: Any) -> Any:
        """A read by the client's `query` or `search`, at the level of consistency that is needed."""
        level = self._level
        self._load()
        answer = self._store.call(method, self._collection, where=where, consistency_level=level, **options)
        if level == self._level:
            self._level = "Eventually"
        return answer

    def _load(self) -> None:
        """Wait until the rows are in the servers' memory."""
        if not self._loaded:
            if str(self._store.call("get_load_state", self._collection)["state"]) != "Loaded":
                self._store.call("load_collection", self._collection, timeout=_LONG_SECONDS)
            self._loaded = True

    # -- writing ------------------------------------------------------------------------------------------------------

    def insert(self, rows: "pa.Table") -> None:
        """See `Items.insert`; an item that another process has added meanwhile is replaced."""
        self.upsert(rows)

    def upsert(self, rows: "pa.Table") -> None:
        """See `Items.upsert`."""
        plain = to_plain(rows, self.schema)
        each = max(1, rows.nbytes // max(1, len(rows)) * 2 + 500)
        step = max(1, _MESSAGE_BYTES // each)
        with self._changing(len(plain)):
            for first in range(0, len(plain), step):
                self._store.call("upsert", self._collection, plain[first : first + step])

    def delete(self, ids: Sequence[str]) -> None:
        """See `Items.delete`."""
        with self._changing():
            for first in range(0, len(ids), _IDS):
                self._store.call("delete", self._collection, ids=[key_of(name) for name in ids[first : first + _IDS]])

    def add_columns(self, fields: "Sequence[pa.Field]") -> None:
        """See `Items.add_columns`."""
        self.refresh()
        with self._changing(schema=pack(arrow().schema([*self.schema, *fields]))):
            pass

    @contextmanager
    def _changing(self, rows: int = 0, **state: str) -> Iterator[None]:
        """Around every change: other processes see by a property that there was one, also where it broke off."""
        self._load()
        try:
            yield
        finally:
            changed = max(self.version + 1, time.time_ns() // 10**6)
            self._set_state(changed=str(changed), waiting=str(self._waiting + rows), **state)

    # -- the nearest --------------------------------------------------------------------------------------------------

    def nearest(
        self, queries: np.ndarray, k: int, *, where: Filter | None = None, effort: Effort | None = None
    ) -> list[Ranked]:
        """See `Items.nearest`; with a condition all items that match are compared.

        Raises:
            DataError: k is beyond what the server gives.
        """
        if k > _HITS:
            raise DataError(f"{k:,} hits were asked for; a Milvus server gives at most {_HITS:,}: ask for fewer")
        hits_by_query: list[Ranked] = [[] for _ in queries]
        left, limit = list(range(len(queries))) if k > 0 else [], k + 16
        while left:  # of equal scores the first ids count, so that all of equal score must be there
            limit, again = min(limit, _HITS), []
            step = max(1, min(100, _MESSAGE_BYTES // (limit * 150)))
            for first in range(0, len(left), step):
                rows = left[first : first + step]
                answers = self._read(
                    "search",
                    where,
                    data=list(queries[rows]),
                    filter="" if where is None else to_expression(where, self.schema),
                    limit=limit,
                    output_fields=["id"],
                    search_params={"params": {"nprobe": LISTS if where or effort is None else effort["probes"]}},
                )
                for row, answer in zip(rows, answers, strict=True):
                    hits = [(hit["entity"]["id"], round(float(hit["distance"]), exact.DECIMALS)) for hit in answer]
                    hits_by_query[row] = sorted(hits, key=lambda hit: (-hit[1], hit[0]))[:k]
                    if len(hits) == limit < _HITS and hits[-1][1] >= hits_by_query[row][-1][1]:
                        again.append(row)
            left, limit = again, limit * 4
        return hits_by_query

    # -- the index ----------------------------------------------------------------------------------------------------

    def build_index(self) -> None:
        """See `Items.build_index`; the server keeps one from the beginning, so this waits until it covers all."""
        self._settle(indexed="yes")

    def index_state(self) -> IndexState | None:
        """See `Items.index_state`."""
        if "indexed" not in self._state:
            return None
        count = self.count()
        waiting = min(count, self._waiting)
        return IndexState("IVF_FLAT", count - waiting, waiting)

    def efforts(self) -> Sequence[Effort]:
        """See `Items.efforts`."""
        return [{"probes": probes} for probes in (4, 8, 16, 32, 64, 128, 256, 512, LISTS)]

    def compact(self, keep: timedelta) -> None:
        """See `Items.compact`: waits until the index covers what came; the server joins its files by itself."""
        if self._waiting > _WAITING:
            self._settle()

    def _settle(self, **state: str) -> None:
        """Wait until all rows are in the server's storage and in its index, and write that down."""
        count, end, loaded_by, done = self.count(), time.monotonic() + _LONG_SECONDS, float("inf"), False
        self._store.call("flush", self._collection, timeout=_LONG_SECONDS)
        while not done:
            if time.monotonic() > end:
                raise CatalogueError(
                    "the Milvus server does not come to an end with the index; see its log, and try again"
                )
            time.sleep(0.1)
            segments = self._store.call("list_loaded_segments", self._collection)
            index = self._store.call("describe_index", self._collection, "embedding")
            sealed = [int(each.num_rows) for each in segments if str(each.state).endswith("Sealed")]
            if len(sealed) < len(segments) or sum(sealed) < count or int(index.get("pending_index_rows", 0)):
                continue
            # searches miss rows of a file whose index is made and not yet loaded
            loaded_by = min(loaded_by, time.monotonic() + _HANDOVER_SECONDS)
            loaded = all(each.index_id or int(each.num_rows) < _INDEXED_ROWS for each in segments)
            done = loaded or time.monotonic() > loaded_by
        self._set_state(waiting="0", **state)
