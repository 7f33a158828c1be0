"""The engine that keeps a catalogue in a folder: tables in the Lance format.

One process writes while many read, on one machine or over a shared drive. Every commit is atomic: whoever is killed
leaves the table as it was before or as it is after.
"""

import errno
import logging
import math
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itma.errors import BusyError, CatalogueError, MissingPackageError, StorageError, UnknownNameError
from itma.io import refuse_stream, to_storage_error, write_bytes
from itma.retrieval import lock, sums
from itma.retrieval.ann import centres
from itma.retrieval.exact import nearest
from itma.retrieval.filters import Filter, ids_in
from itma.retrieval.sql import to_sql
from itma.retrieval.stores.base import (
    Effort,
    IndexState,
    Version,
    arrow,
    check_mark,
    damage_error,
    embeddings_of,
    engine_error,
    load_package,
    read_embeddings,
)
from itma.retrieval.sums import Verification

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

_AT_ONCE = 1_000
"""Ids that are asked for in one expression."""
_LARGE = frozenset({"embedding", "_tokens"})
"""Columns that are read only where they are asked for."""
_FEW = 2_000
"""Up to so many items that match a condition all of them are compared."""
_CANDIDATES = 20
"""Times the square root of how many items match a condition: so many candidates are compared exactly, at most."""
_WAITING = 4_000
"""Items newer than the index that are compared one by one; where there are more they go into it."""
_PARTS = 8
"""Parts of an index from which on it is made anew."""
_SAMPLE = 100
"""Items for each partition that decide where the partitions lie."""
_ID_INDEX_FROM = 20_000
"""Items from which on an index over the ids pays."""
_TABLE = re.compile(r"items-\d+\.lance")
_OWN = re.compile(rf"{_TABLE.pattern}|writer\.lock|skipped\.csv|sums\.sha256|embedded-images|\..*\.tmp")
"""What a process that was killed may leave before there is a catalogue."""


class LanceStore:
    """A folder with Lance tables and documents; see `itma.retrieval.stores.base.Store`.

    Args:
        folder: need not exist yet; writing makes it.

    Raises:
        MissingPackageError: LanceDB is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._locks: list[lock.WriterLock] = []
        """Locks that somebody who uses this object holds."""

    @property
    def address(self) -> str:
        """See `Store.address`."""
        return str(self.folder)

    def read(self, name: str) -> str | None:
        """See `Store.read`."""
        refuse_stream(self.folder / name)
        try:
            return (self.folder / name).read_text(encoding="utf-8", errors="surrogateescape")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CatalogueError(f"{str(self.folder / name)!r} cannot be read: {error.strerror}") from error

    def write(self, name: str, text: str) -> None:
        """See `Store.write`."""
        self._check_lock()
        write_bytes(self.folder / name, text.encode("utf-8", "surrogateescape"))
        self.keep_sums(name)

    def stamp(self, name: str) -> object:
        """See `Store.stamp`."""
        try:
            status = (self.folder / name).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def names(self) -> list[str]:
        """What lies directly at the address."""
        try:
            return [path.name for path in self.folder.iterdir()] if os.path.lexists(self.folder) else []
        except OSError as error:
            raise CatalogueError(f"{str(self.folder)!r} cannot be read: {error.strerror}") from error

    def strange(self) -> bool:
        """See `Store.strange`."""
        try:
            return is_strange(self.names())
        except CatalogueError:
            return True

    def discard(self) -> None:
        """See `Store.discard`."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def tables(self) -> list[str]:
        """See `Store.tables`."""
        return sorted(name.removesuffix(".lance") for name in self.names() if _TABLE.fullmatch(name))

    def create(self, name: str, schema: "pa.Schema") -> "LanceItems":
        """See `Store.create`."""
        self.drop(name)  # what a killed process may have left there
        with self.committing():
            empty, options = schema.empty_table(), self._options()
            dataset = _lance().write_dataset(empty, self._table(name), mode="create", storage_options=options)
            return LanceItems(self, dataset)

    def open(self, name: str, version: int | None = None) -> "LanceItems":
        """See `Store.open`."""
        if name not in self.tables():
            raise damage_error(self.address, f"{name}.lance is missing")
        with self._translate_errors():
            table = _lance().dataset(self._table(name), storage_options=self._options())
            if version is not None:
                numbers = [entry["version"] for entry in table.versions()]
                if version not in numbers:
                    raise UnknownNameError("version", version, [str(number) for number in numbers])
                table = table.checkout_version(version)
        return LanceItems(self, table, fixed=version is not None)

    def drop(self, name: str) -> None:
        """See `Store.drop`."""
        self._check_lock()
        try:
            shutil.rmtree(self._table(name))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise to_storage_error(Path(self._table(name)), error) from error

    def _table(self, name: str) -> str:
        return f"{self.address}/{name}.lance"

    def _options(self) -> dict[str, str] | None:
        """What Lance has to know to get there."""
        return None

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """See `Store.writing`."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise to_storage_error(self.folder, error) from error
        with lock.writing(self.folder, what) as writer_lock:
            self._locks.append(writer_lock)
            try:
                yield
            finally:
                self._locks.remove(writer_lock)

    def sync(self) -> None:
        """See `Store.sync`; the whole machine's writes are waited for."""
        os.sync()

    @contextmanager
    def committing(self, table: str | None = None) -> Iterator[None]:
        """Around every change of a table, whose sums are then kept: only who still holds the lock makes it."""
        self._check_lock()
        with self._translate_errors():
            yield
        if table is not None:
            self.keep_sums(table)

    def _check_lock(self) -> None:
        for writer_lock in self._locks:
            writer_lock.check()

    def keep_sums(self, name: str) -> None:
        """Keep the sums of the files that a commit has left under this name, a table's or a document's."""
        try:
            sums.record(self.folder, name)
        except OSError as error:  # what was committed stands all the same
            log.warning("the sums of %s in %r could not be kept (%s)", name, self.address, error)

    def verify(self, table: str) -> Verification:
        """See `Store.verify`."""
        report = sums.verify(self.folder)
        with self._translate_errors():
            opened = _lance().dataset(self._table(table))
            parts = opened.get_fragments()
            needed = [f"data/{file.path}" for part in parts for file in part.data_files()]
            needed += [str(file) for part in parts if (file := part.deletion_file())]
            needed += [f"_indices/{part.uuid}" for index in opened.describe_indices() for part in index.segments]
        lost = [path for name in needed if not (self.folder / (path := f"{table}.lance/{name}")).exists()]
        if (newest := sums.newest_version(self.folder, table)) > opened.version:
            lost.append(f"{table}.lance, version {newest}")
        return replace(report, lost=tuple(lost))

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turns the engine's errors into ours."""
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, StorageError | CatalogueError | UnknownNameError | MissingPackageError):
                raise
            raise _store_error(error, self.address) from error


def is_strange(names: Sequence[str]) -> bool:
    """Whether what lies at an address is of somebody else: no catalogue, and not what a killed process left of one."""
    return "catalogue.json" not in names and not all(map(_OWN.fullmatch, names))


def _lance() -> Any:
    return load_package("lance", MissingPackageError("a catalogue", "pylance"))


def _store_error(error: Exception, address: str) -> Exception:
    text = str(error)
    code = re.search(r"\(os error (\d+)\)", text)
    number = errno.ENOSPC if "No space left" in text else int(code[1]) if code else getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EACCES, errno.EROFS):
        return to_storage_error(Path(address), OSError(number, os.strerror(number)))
    if "commit conflict" in text.lower():
        return BusyError(f"the catalogue {address!r} was changed by another process at the same moment; try again")
    # the engine names the line of its own source after its words
    short = re.split(r", /\S+\.rs:\d+", text)[0].splitlines()[0][:300] if text else type(error).__name__
    return engine_error(address, short)


class LanceItems:
    """One Lance table; see `itma.retrieval.stores.base.Items`."""

    def __init__(self, store: LanceStore, table: Any, *, fixed: bool = False) -> None:
        self._store, self._table, self._fixed = store, table, fixed
        self._name = str(table.uri).rstrip("/").rpartition("/")[2]
        self.schema: pa.Schema = table.schema
        """See `Items.schema`."""
        self._counts: dict[tuple[int, Filter], int] = {}
        self._recent: tuple[int, dict[str, dict[str, Any]]] = (-1, {})

    @property
    def version(self) -> int:
        """See `Items.version`."""
        return int(self._table.version)

    @property
    def compares_quickly(self) -> bool:
        """See `Items.compares_quickly`: reading the files for every query takes several times as long."""
        return False

    def newest(self) -> "LanceItems":
        """See `Items.newest`; what the engine keeps in memory is taken along."""
        if self._fixed:
            return self
        with self._store._translate_errors():
            latest = self._table.latest_version
            return self if latest == self.version else LanceItems(self._store, self._table.checkout_version(latest))

    def versions(self) -> list[Version]:
        """See `Items.versions`."""
        with self._store._translate_errors():
            return [
                Version(int(entry["version"]), entry["timestamp"], int(entry["metadata"].get("total_rows", 0)))
                for entry in self._table.versions()
            ]

    def count(self, where: Filter | None = None) -> int:
        """See `Items.count`."""
        with self._store._translate_errors():
            return int(self._table.count_rows(where and to_sql(where)))

    def scan(
        self, columns: Sequence[str], *, where: Filter | None = None, rows: int = 8192
    ) -> Iterator["pa.RecordBatch"]:
        """See `Items.scan`."""
        with self._store._translate_errors():
            options = {"columns": list(columns), "filter": where and to_sql(where), "batch_size": rows}
            yield from self._table.scanner(**options).to_batches()

    def page(
        self, columns: Sequence[str], rows: int, *, after: str | None = None, where: Filter | None = None
    ) -> "tuple[pa.Table, str | None]":
        """See `Items.page`; the mark counts the items before."""
        first = int(check_mark("0" if after is None else after, "[0-9]{1,15}"))
        with self._store._translate_errors():
            condition = where and to_sql(where)
            table = self._table.to_table(columns=list(columns), filter=condition, limit=rows + 1, offset=first)
        return table.slice(0, rows), str(first + rows) if len(table) > rows else None

    def get(self, ids: Sequence[str], columns: Sequence[str]) -> "pa.Table":
        """See `Items.get`."""
        pa = arrow()
        schema = pa.schema([self.schema.field(name) for name in columns])
        version, rows = self._recent
        if version == self.version and _LARGE.isdisjoint(columns) and all(name in rows for name in ids):
            return pa.Table.from_pylist([rows[name] for name in dict.fromkeys(ids)], schema)
        batches = [
            batch
            for first in range(0, len(ids), _AT_ONCE)
            for batch in self.scan(columns, where=ids_in(ids[first : first + _AT_ONCE]))
        ]
        return pa.Table.from_batches(batches, schema)

    def insert(self, rows: "pa.Table") -> None:
        """See `Items.insert`."""
        with self._store.committing(self._name):
            self._table.insert(self._complete(rows))

    def upsert(self, rows: "pa.Table") -> None:
        """See `Items.upsert`."""
        with self._store.committing(self._name):
            merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(self._complete(rows))

    def _complete(self, rows: "pa.Table") -> "pa.Table":
        """The rows with all columns of the table, in its order; what they do not have is null."""
        whole = arrow().concat_tables([self.schema.empty_table(), rows], promote_options="permissive")
        return whole.select(self.schema.names).cast(self.schema)

    def delete(self, ids: Sequence[str]) -> None:
        """See `Items.delete`."""
        if ids:
            with self._store.committing(self._name):
                self._table.delete(to_sql(ids_in(ids)))

    def add_columns(self, fields: "Sequence[pa.Field]") -> None:
        """See `Items.add_columns`."""
        with self._store.committing(self._name):
            self._table.add_columns(arrow().schema(fields))
            self.schema = self._table.schema

    def nearest(
        self, queries: np.ndarray, k: int, *, where: Filter | None = None, effort: Effort | None = None
    ) -> list[list[tuple[str, float]]]:
        """See `Items.nearest`."""
        if effort is not None and where is not None:
            matching = self._matching(where)
            if matching <= _FEW:
                ids, embeddings = read_embeddings(self, where)
                return list(nearest(queries, embeddings, ids, k))
            effort = _harder(effort, matching, self.count(), k)
        hits = [self._nearest(query, k, where, effort) for query in queries]
        # who is found is asked for next, so that all small columns are read with it and kept for `get`
        self._recent = (self.version, {row["id"]: row for rows in hits for row in rows})
        return [[(row["id"], row["_score"]) for row in rows] for rows in hits]

    def _matching(self, where: Filter) -> int:
        """How many items match, counted once a version."""
        version = self.version
        count = self._counts.get((version, where))
        if count is None:
            count = self.count(where)
            counts = {key: number for key, number in self._counts.items() if key[0] == version}
            self._counts = counts | {(version, where): count}
        return count

    def _nearest(self, query: np.ndarray, k: int, where: Filter | None, effort: Effort | None) -> list[dict[str, Any]]:
        options: dict[str, Any] = {"column": "embedding", "q": query, "k": k, "metric": "dot"}
        if effort is None:
            options["use_index"] = False
        else:
            options |= {"minimum_nprobes": effort["probes"], "refine_factor": effort["refine"]}
            if where is None:  # with a condition more partitions are searched until k are found: a fixed number
                options["maximum_nprobes"] = effort["probes"]  # returns too few
        with self._store._translate_errors():
            condition = where and to_sql(where)
            columns = [*(name for name in self.schema.names if name not in _LARGE), "_distance"]
            table = self._table.scanner(columns=columns, nearest=options, filter=condition, prefilter=True).to_table()
        scores = np.round(1 - table["_distance"].to_numpy().astype(np.float64), 6).tolist()
        rows = [{**row, "_score": score} for row, score in zip(table.to_pylist(), scores, strict=True)]
        return sorted(rows, key=lambda row: (-row["_score"], row["id"]))

    def build_index(self) -> None:
        """See `Items.build_index`."""
        count = self.count()
        partitions = max(1, round(count**0.5))
        # read through from the first to the last: taking single rows is hundreds of times slower after many changes
        random, parts = np.random.default_rng(0), []
        for batch in self.scan(["embedding"]):
            chosen = random.random(len(batch)) < _SAMPLE * partitions / count
            parts.append(embeddings_of(batch.column("embedding"))[chosen])
        with self._store.committing(self._name), warnings.catch_warnings(action="ignore"):
            self._table.create_index(
                "embedding",
                "IVF_RQ",
                metric="dot",
                num_partitions=partitions,
                num_bits=1,
                replace=True,
                # the engine's own, from k-means in two stages, need several times as many partitions for one recall
                ivf_centroids=centres(np.concatenate(parts), partitions),
            )

    def index_state(self) -> IndexState | None:
        """See `Items.index_state`."""
        with self._store._translate_errors():
            for index in self._table.describe_indices():
                if index.field_names == ["embedding"]:
                    indexed = int(index.num_rows_indexed)
                    return IndexState(index.index_type, indexed, max(0, self._table.count_rows() - indexed))
        return None

    def efforts(self) -> Sequence[Effort]:
        """See `Items.efforts`."""
        return [
            {"probes": probes, "refine": refine}
            for probes in (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)
            for refine in (4, 8, 16, 32, 64)
        ]

    def compact(self, keep: timedelta) -> None:
        """See `Items.compact`."""
        with self._store.committing(self._name), warnings.catch_warnings(action="ignore"):
            if self.count() >= _ID_INDEX_FROM:
                have = [index.field_names for index in self._table.describe_indices()]
                for column in ("id", "_image"):
                    if [column] not in have:
                        self._table.create_scalar_index(column, "BTREE")
            self._table.optimize.compact_files()
            self._take_up()
            # Files without a version may be another writer's, if the lock was taken from us: the engine lets them lie
            # for a week.
            self._table.cleanup_old_versions(older_than=keep, delete_unverified=False)

    def _take_up(self) -> None:
        """Bring indices to what the table holds.

        The embeddings' own gets the newer items as a part of its own, in the same partitions. The engine's way is to
        move partitions as it merges, after which an effort finds less than was measured: 0.62 in the place of 1.0.
        """
        others = [one.name for one in self._table.describe_indices() if one.field_names != ["embedding"]]
        if others:
            self._table.optimize.optimize_indices(index_names=others)
        own = [one for one in self._table.describe_indices() if one.field_names == ["embedding"]]
        state = self.index_state()
        if not own or state is None or state.waiting < _WAITING:
            return
        if len(own[0].segments) >= _PARTS:
            self.build_index()
        else:
            self._table.optimize.optimize_indices(index_names=[own[0].name], num_indices_to_merge=0)


def _harder(effort: Effort, matching: int, items: int, k: int) -> Effort:
    """What finds the nearest of those items that match: they lie in more partitions, and farther down in each.

    Found by trial with a tenth of 10⁵ and of 10⁶ items, see `bench/store.py`.
    """
    times = (items / matching) ** 2
    refine = min(effort["refine"] * times, _CANDIDATES * matching**0.5 / k)
    return {"probes": math.ceil(effort["probes"] * times), "refine": max(effort["refine"], math.ceil(refine))}
