"""One table of items on a Milvus server; see `itma.retrieval.stores.milvus` for how commits and versions come about."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from itma.errors import CatalogueError, DataError, UnknownNameError
from itma.retrieval import exact
from itma.retrieval.filters import Filter
from itma.retrieval.stores.base import Effort, IndexState, Version, arrow, embeddings_of, metadata_of, numbers_of
from itma.retrieval.stores.conditions import tree_of
from itma.retrieval.stores.milvus_register import Head, Register, packed
from itma.retrieval.stores.milvus_rows import Layout, place_of, range_of

if TYPE_CHECKING:
    import pyarrow as pa

    from itma.retrieval.stores.milvus import MilvusStore

LISTS = 1024
"""Lists of the index (IVF_FLAT); with all of them searched it compares everything."""
_AT_ONCE = 1_000
"""Ids that are asked for in one expression."""
_RESULTS = 16_384
"""Hits that the server gives at most."""
_BYTES = 16 * 2**20
"""What one message carries, about; the server refuses 64 MiB."""
_GONE = 30_000
"""Rows that can be gone in one commit, and in all until they are forgotten: they stand in the server's register."""
_VERSIONS = 500
_MARGIN = 16
"""Hits that are asked for beyond k, as some may be gone or tie."""
_FEW = 20_000
"""Up to so many items that match a condition all of them are compared."""
_HARDER = 4
"""With a condition so many times as many lists are searched, for each that the items that match are fewer."""
_LOOSE = 4_000
"""Rows outside the index from which on the server may make one for the time being, which is not exact (from 6,000)."""
_SECONDS = 120.0
_PARTS = 2**24
"""Pages of a listing, at most."""


class MilvusItems:
    """One table as of one version; see `itma.retrieval.stores.base.Items`.

    Args:
        store: its catalogue.
        rows: the collection of its rows.
        gone: the collection in whose properties it stands which rows are gone.

    Raises:
        CatalogueError: it is not there.
    """

    def __init__(self, store: "MilvusStore", rows: str, gone: str) -> None:
        self._store, self._rows, self._register = store, rows, Register(store, rows, gone)
        self._fixed = False
        self._loaded = False
        self._look(self._register.newest())

    @classmethod
    def create(cls, store: "MilvusStore", rows: str, gone: str, schema: "pa.Schema") -> "MilvusItems":
        """A new empty table."""
        first = len(metadata_of(schema))
        head = Head(1, 1, packed(schema), first, 0, [(1, time.time(), 0)])
        store.make_note(gone, {})
        with store.explained():
            client = store.client()
            client.create_collection(
                rows,
                schema=Layout(schema, first).fields(store.package),
                num_shards=1,
                consistency_level="Strong",
                properties=head.properties(),
                timeout=_SECONDS,
            )
            index = client.prepare_index_params()
            index.add_index("embedding", index_type="IVF_FLAT", metric_type="IP", params={"nlist": LISTS})
            client.create_index(rows, index, sync=False, timeout=_SECONDS)
            client.load_collection(rows, _async=True, timeout=_SECONDS)
        return cls(store, rows, gone)

    def at(self, version: int) -> "MilvusItems":
        """The table as it was.

        Raises:
            UnknownNameError: that version is not there any more, or never was.
        """
        known = {number: items for number, _, items in self._head.history}
        if version not in known:
            raise UnknownNameError("version", version, [str(number) for number in known])
        earlier = MilvusItems(self._store, self._rows, self._register.gone_rows)
        earlier._fixed = True
        earlier._look(replace(self._head, version=version, items=known[version]))
        return earlier

    # -- versions -----------------------------------------------------------------------------------------------------

    def _look(self, head: Head) -> None:
        self._head = head
        self._schema = head.arrow_schema()
        self._layout = Layout(self._schema, head.first)
        self._dead_keys: set[str] | None = None
        self._strong = False
        self._counted: dict[Filter, int] = {}

    @property
    def schema(self) -> "pa.Schema":
        """See `Items.schema`."""
        return self._schema

    @property
    def version(self) -> int:
        """See `Items.version`."""
        return self._head.version

    @property
    def compares_quickly(self) -> bool:
        """See `Items.compares_quickly`: the server compares; reading all of it takes a minute for 400,000 items."""
        return self._head.loose <= _LOOSE

    def refresh(self) -> bool:
        """See `Items.refresh`."""
        if self._fixed:
            return False
        head = self._register.newest()
        if head == self._head:
            return False
        other = head.version != self._head.version
        self._look(head)
        return other

    def versions(self) -> list[Version]:
        """See `Items.versions`."""
        history = self._register.newest().history
        return [Version(number, datetime.fromtimestamp(seconds), items) for number, seconds, items in history]

    @property
    def _dead(self) -> set[str]:
        """The keys of rows that are gone in the version that is shown."""
        if self._dead_keys is None:
            gone = self._register.gone() if self._head.gone else {}
            # a compaction has cleared some in the meantime: wait until the server has removed these rows
            self._strong = sum(map(len, gone.values())) < self._head.gone
            self._dead_keys = {key for version, keys in gone.items() if version <= self.version for key in keys}
        return self._dead_keys

    # -- reading ------------------------------------------------------------------------------------------------------

    def count(self, where: Filter | None = None) -> int:
        """See `Items.count`."""
        if where is None:
            return self._head.items
        return self._count(self._expression(where), where)

    def _count(self, expression: str, where: Filter | None = None) -> int:
        dead = sorted(self._dead)
        found = self._query(expression, ["count(*)"], where)[0]["count(*)"]
        for at in range(0, len(dead), _AT_ONCE):
            found -= self._query(f"{_keys_in(dead[at : at + _AT_ONCE])} and {expression}", ["count(*)"], where)[0][
                "count(*)"
            ]
        return int(found)

    def scan(
        self, columns: Sequence[str], *, where: Filter | None = None, rows: int = 8192
    ) -> Iterator["pa.RecordBatch"]:
        """See `Items.scan`."""
        expression = self._expression(where)
        parts = max(1, -(-(self._head.items + self._head.gone) // min(rows, self._fitting(columns))))
        for part in range(parts):
            yield from self._part(expression, part, parts, columns, where)

    def _part(
        self, expression: str, part: int, parts: int, columns: Sequence[str], where: Filter | None
    ) -> Iterator["pa.RecordBatch"]:
        ranged = expression if parts == 1 else f"{range_of(part, parts)} and {expression}"
        try:
            found = self._query(ranged, self._layout.wanted(columns), where)
        except CatalogueError as error:
            if not any(sign in str(error).lower() for sign in ("larger than max", "exceed", "resourceexhausted")):
                raise
            for half in (2 * part, 2 * part + 1):  # texts that are longer than we thought
                yield from self._part(expression, half, 2 * parts, columns, where)
            return
        alive = [row for row in found if row["key"] not in self._dead]
        if alive:
            yield self._layout.batch(alive, columns)

    def page(
        self, columns: Sequence[str], rows: int, *, after: str | None = None, where: Filter | None = None
    ) -> "tuple[pa.Table, str | None]":
        """See `Items.page`; the mark says which part of how many comes next."""
        if after is None:
            matching = self._head.items + self._head.gone if where is None else self.count(where)
            after = f"0.{max(1, -(-matching // max(1, min(rows, self._fitting(columns)))))}"
        part, parts = numbers_of(after, 2)
        if not part < parts <= _PARTS:
            raise DataError(f"{after!r} is no mark of a page; give the one that came with the page before, or none")
        expression = self._expression(where)
        batches: list[pa.RecordBatch] = []
        while part < parts and not batches:
            batches = list(self._part(expression, part, parts, columns, where))
            part += 1
        schema = arrow().schema([self._schema.field(name) for name in columns])
        return arrow().Table.from_batches(batches, schema), f"{part}.{parts}" if part < parts else None

    def get(self, ids: Sequence[str], columns: Sequence[str]) -> "pa.Table":
        """See `Items.get`."""
        schema = arrow().schema([self._schema.field(name) for name in columns])
        batches = [self._layout.batch(found, columns) for found in self._found(ids, columns)]
        return arrow().Table.from_batches(batches, schema)

    def _found(self, ids: Sequence[str], columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
        step = min(_AT_ONCE, self._fitting(columns))
        for at in range(0, len(ids), step):
            names = set(ids[at : at + step])
            places = ", ".join(str(place_of(name)) for name in names)
            rows = self._query(f"place in [{places}] and {self._shown}", self._layout.wanted(columns))
            yield [row for row in rows if row["id"] in names and row["key"] not in self._dead]

    def _keys(self, ids: Sequence[str]) -> list[str]:
        return [row["key"] for found in self._found(ids, ["id"]) for row in found]

    def _fitting(self, columns: Sequence[str]) -> int:
        """How many rows of these columns go into one message."""
        each = 200 + 100 * len(columns)
        if "embedding" in columns:
            each += 4 * self._layout.dim
        if "_tokens" in columns:
            each += 2**20
        return max(1, min(_RESULTS, _BYTES // each))

    @property
    def _shown(self) -> str:
        return f"born <= {self.version}"

    def _expression(self, where: Filter | None) -> str:
        if where is None:
            return self._shown
        columns = metadata_of(self._schema)
        return f"{self._layout.expression(tree_of(where, columns))} and {self._shown}"

    def _query(self, expression: str, fields: Sequence[str], where: Filter | None = None) -> list[dict[str, Any]]:
        self._load()
        with self._store.explained(where):
            found: list[dict[str, Any]] = self._store.client().query(
                self._rows, filter=expression, output_fields=list(fields), timeout=_SECONDS, **self._as_of
            )
            return found

    @property
    def _as_of(self) -> dict[str, Any]:
        """The server waits until it has taken in the commit that is shown."""
        if self._dead is not None and self._strong:  # reading it first tells
            return {"consistency_level": "Strong"}
        return {"consistency_level": "Customized", "guarantee_timestamp": self._head.written}

    def _load(self) -> None:
        """The rows are in the servers' memory."""
        if self._loaded:
            return
        client = self._store.client()

        def state() -> str:
            with self._store.explained():
                return str(client.get_load_state(self._rows, timeout=_SECONDS)["state"])

        if state() == "NotLoad":  # somebody released it
            with self._store.explained():
                client.load_collection(self._rows, _async=True, timeout=_SECONDS)
        _wait_until(lambda: state() == "Loaded", "loading the catalogue")
        self._loaded = True

    # -- writing ------------------------------------------------------------------------------------------------------

    def insert(self, rows: "pa.Table") -> None:
        """See `Items.insert`."""
        self._commit(rows, [])

    def upsert(self, rows: "pa.Table") -> None:
        """See `Items.upsert`."""
        self._catch_up()
        for at in range(0, len(rows), _GONE):
            some = rows.slice(at, _GONE)
            self._commit(some, self._keys(some["id"].to_pylist()))

    def delete(self, ids: Sequence[str]) -> None:
        """See `Items.delete`."""
        self._catch_up()
        keys = self._keys(ids)
        for at in range(0, len(keys), _GONE):
            self._commit(None, keys[at : at + _GONE])

    def add_columns(self, fields: "Sequence[pa.Field]") -> None:
        """See `Items.add_columns`."""
        self._catch_up()
        schema = self._schema
        for each in fields:
            schema = schema.append(each)
        self._commit(None, [], schema=packed(schema))

    def _catch_up(self) -> None:
        """Show the newest state, without what a killed process may have left behind."""
        if self._register.unfinished():
            head, gone = self._register.newest(), self._register.gone()
            self._load()
            with self._store.explained():
                self._store.client().delete(self._rows, filter=f"born > {head.version}", timeout=_SECONDS)
            self._register.forget_gone([version for version in gone if version > head.version])
            self._register.write(head)
        self.refresh()

    def _commit(self, rows: "pa.Table | None", gone: Sequence[str], **changed: Any) -> None:
        self._store.lock.check()
        self._catch_up()
        if gone and self._head.gone + len(gone) > _GONE:
            self._bury(self.version)
        head, version, written = self._head, self.version + 1, self._head.written
        added = 0 if rows is None else len(rows)
        self._register.begin(version)
        for part in self._parts(rows):
            self._store.lock.check()
            written = max(written, self._insert(self._layout.rows(part, version)))
        if gone:
            self._register.add_gone(version, gone)
        items = head.items + added - len(gone)
        new = replace(
            head,
            version=version,
            written=written,
            items=items,
            history=[*head.history, (version, time.time(), items)][-_VERSIONS:],
            gone=head.gone + len(gone),
            loose=head.loose + added,
            **changed,
        )
        self._store.lock.check()
        self._write(new)
        if new.built and new.loose > _LOOSE:
            self._flush()

    def _write(self, head: Head) -> None:
        self._register.write(head)
        self._look(head)

    def _parts(self, rows: "pa.Table | None") -> "Iterator[pa.Table]":
        if rows is not None:
            each = max(1, rows.nbytes // max(1, len(rows)) * 2 + 500)
            step = max(1, _BYTES // each)
            for at in range(0, len(rows), step):
                yield rows.slice(at, step)

    def _insert(self, rows: list[dict[str, Any]]) -> int:
        """Write rows; the server's time of that, which `MilvusClient.insert` does not tell, and is thrice as slow."""
        self._load()
        columns = [
            {"name": name, "type": kind, "values": [row[name] for row in rows]}
            for name, kind in self._layout.types(self._store.package).items()
        ]
        with self._store.explained():
            done = self._store.client()._get_connection().batch_insert(self._rows, columns, timeout=_SECONDS)
            return int(done.timestamp)

    # -- the nearest --------------------------------------------------------------------------------------------------

    def nearest(
        self, queries: np.ndarray, k: int, *, where: Filter | None = None, effort: Effort | None = None
    ) -> list[list[tuple[str, float]]]:
        """See `Items.nearest`."""
        expression = self._expression(where)
        k = min(k, self._head.items)
        if k < 1 or not len(queries):
            return [[] for _ in queries]
        probes = LISTS if effort is None else effort["probes"]
        if where is not None and effort is not None:  # the nearest of a share of the items lie in many more lists
            matching = max(1, self._matching(where))
            probes = LISTS if matching <= _FEW else min(LISTS, _HARDER * probes * self._head.items // matching)
        found: list[list[tuple[str, float]] | None] = [None] * len(queries)
        asked = k + _MARGIN
        while missing := [row for row, hits in enumerate(found) if hits is None]:
            if asked > _RESULTS or (effort is None and self._head.loose > _LOOSE):
                for row in missing:
                    found[row] = self._compared(queries[row], k, where)
                break
            for row, hits in zip(
                missing, self._search(queries[missing], asked, expression, probes, where), strict=True
            ):
                found[row] = self._best(hits, k, asked, all_probed=probes >= LISTS)
            asked, probes = asked * 4, min(LISTS, probes * 4)
        return [hits or [] for hits in found]

    def _matching(self, where: Filter) -> int:
        """How many items match, counted once a version."""
        if where not in self._counted:
            self._counted[where] = self.count(where)
        return self._counted[where]

    def _search(
        self, queries: np.ndarray, asked: int, expression: str, probes: int, where: Filter | None
    ) -> Iterator[list[tuple[str, str, float]]]:
        """For each query what the server finds, as (key, id, cosine)."""
        self._load()
        step = max(1, min(100, _BYTES // (asked * 150)))
        for at in range(0, len(queries), step):
            with self._store.explained(where):
                answers = self._store.client().search(
                    self._rows,
                    list(queries[at : at + step]),
                    filter=expression,
                    limit=asked,
                    output_fields=["id"],
                    search_params={"metric_type": "IP", "params": {"nprobe": probes}},
                    timeout=_SECONDS,
                    **self._as_of,
                )
            for hits in answers:
                yield [(hit["id"], hit["entity"]["id"], hit["distance"]) for hit in hits]

    def _best(
        self, hits: list[tuple[str, str, float]], k: int, asked: int, *, all_probed: bool
    ) -> list[tuple[str, float]] | None:
        """The k nearest of them; absent where others may belong to these, so that more must be asked for."""
        rounded = [(name, round(float(score), exact.DECIMALS)) for key, name, score in hits if key not in self._dead]
        best = sorted(rounded, key=lambda hit: (-hit[1], hit[0]))[:k]
        cut = len(hits) >= asked and (len(rounded) < k or round(float(hits[-1][2]), exact.DECIMALS) >= best[-1][1])
        short = len(best) < k and len(hits) < asked and not all_probed
        return None if cut or short else best

    def _compared(self, query: np.ndarray, k: int, where: Filter | None) -> list[tuple[str, float]]:
        """All items that match, one by one; memory holds a batch of them."""
        best: list[tuple[str, float]] = []
        for batch in self.scan(["id", "embedding"], where=where):
            names, rows = batch.column("id").to_pylist(), embeddings_of(batch.column("embedding"))
            best += next(exact.nearest(query[None], rows, names, k))
            best = sorted(best, key=lambda hit: (-hit[1], hit[0]))[:k]
        return best

    # -- the index ----------------------------------------------------------------------------------------------------

    def build_index(self) -> None:
        """See `Items.build_index`; the server keeps one from the beginning, so this waits until it covers all."""
        self._catch_up()
        self._settle()
        self._write(replace(self._head, built=self.version))

    def _settle(self) -> None:
        """All rows are in the server's storage and in its index."""
        self._flush()
        client, total = self._store.client(), self._head.items + self._head.gone

        def ready() -> bool:
            with self._store.explained():
                segments = client.list_loaded_segments(self._rows, timeout=_SECONDS)
                waiting = client.describe_index(self._rows, "embedding", timeout=_SECONDS).get("pending_index_rows", 0)
            sealed = [segment.num_rows for segment in segments if str(segment.state).endswith("Sealed")]
            return not int(waiting) and len(sealed) == len(segments) and sum(sealed) >= total

        _wait_until(ready, "the index")
        self._write(replace(self._head, loose=0))

    def _flush(self) -> None:
        """All rows are in the server's storage; it brings them into its index when it comes to that."""
        self._load()
        with self._store.explained():
            self._store.client().flush(self._rows, timeout=600)

    def index_state(self) -> IndexState | None:
        """See `Items.index_state`."""
        if not self._head.built:
            return None
        indexed = self._count(f"born <= {min(self.version, self._head.built)}")
        return IndexState("IVF_FLAT", indexed, self._head.items - indexed)

    def efforts(self) -> Sequence[Effort]:
        """See `Items.efforts`."""
        return [{"probes": probes} for probes in (4, 8, 16, 32, 64, 128, 256, 512, LISTS)]

    def compact(self, keep: timedelta) -> None:
        """See `Items.compact`."""
        self._catch_up()
        since = time.time() - keep.total_seconds()
        kept = [entry for entry in self._head.history if entry[1] >= since] or self._head.history[-1:]
        self._bury(kept[0][0])
        if self._head.built or self._head.loose > _LOOSE:
            self._settle()
        if self._head.built:
            self._write(replace(self._head, built=self.version))

    def _bury(self, oldest: int) -> None:
        """Forget versions before this one, and remove the rows that are gone in it."""
        history = [entry for entry in self._head.history if entry[0] >= oldest]
        if history != self._head.history:
            self._write(replace(self._head, history=history))  # before anything is removed that they show
        gone = self._register.gone() if self._head.gone else {}
        buried = [version for version in gone if version <= oldest]
        keys = [key for version in buried for key in gone[version]]
        if not buried:
            return
        self._load()
        for at in range(0, len(keys), _AT_ONCE):
            with self._store.explained():
                self._store.client().delete(self._rows, filter=_keys_in(keys[at : at + _AT_ONCE]), timeout=_SECONDS)
        left = sum(len(some) for version, some in gone.items() if version > oldest)
        self._write(replace(self._head, written=self._store.now(), gone=left))
        self._register.forget_gone(buried)


def _keys_in(keys: Sequence[str]) -> str:
    return "key in [" + ", ".join(f'"{key}"' for key in keys) + "]"


def _wait_until(done: Callable[[], bool], what: str, seconds: float = 900.0) -> None:
    end, pause = time.monotonic() + seconds, 0.02
    while not done():
        if time.monotonic() > end:
            raise CatalogueError(f"the Milvus server does not come to an end with {what}; see its log, and try again")
        time.sleep(pause)
        pause = min(0.5, pause * 1.3)
