"""The engines beside each other and beside a plain NumPy product, in one run on the same vectors.

    pip install -e '.[milvus]' milvus==2.3.5
    python -m bench.milvus [--items 100000] [--dim 512] [--server milvus://host:port] [--json FILE]

Each engine is asked by itself, without the catalogue's matrix in memory: `Items.nearest`. Without `--server` the server
of the package `milvus` is started with its own settings. The vectors are those of bench/store.py; recall is recall@10
against the plain product.
"""

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench.store import K, recall, timed, timed_batch, top, vectors
from itma.retrieval import ann
from itma.retrieval.exact import Matrix
from itma.retrieval.filters import Filter, filter_of
from itma.retrieval.stores.base import Items, Store, embedding_column, metadata_of, schema_of
from itma.retrieval.stores.lance import LanceStore
from itma.retrieval.stores.milvus import MilvusStore
from tests.milvus_server import running

PART = 4_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=2_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--changes", type=int, default=200, help="upserts one by one, and deletes")
    parser.add_argument("--server", help="milvus://host:port of a running server")
    parser.add_argument("--json", type=Path, help="write all numbers there too")
    options = parser.parse_args()
    everything = np.concatenate(list(vectors(options)))
    items, queries = everything[: options.items], everything[options.items :]
    truth = [top(items @ query) for query in queries]
    columns = {"plain product": plain(items, queries)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = options.server
        if server is None:
            (folder / "server").mkdir()
            started = time.perf_counter()
            server = stack.enter_context(running(folder / "server", quick=False))
            print(f"the server was up after {time.perf_counter() - started:.1f} s")
        on_server = MilvusStore(f"{server}/bench")
        on_server.discard()
        stack.callback(on_server.discard)
        for name, store in (("lance", LanceStore(folder / "catalogue")), ("milvus", on_server)):
            columns[name] = measured(options, store, items, queries, truth)
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    print(f"{options.items:,} items × {options.dim}, {options.clusters:,} clusters")
    print(f"{'':<44s}" + "".join(f"{name:>16s}" for name in columns))
    for row in rows:
        print(f"{row:<44s}" + "".join(f"{column.get(row, '–')!s:>16s}" for column in columns.values()))
    if options.json:
        options.json.write_text(json.dumps(columns, indent=2, default=str) + "\n")


def plain(items: np.ndarray, queries: np.ndarray) -> dict[str, Any]:
    return {
        **timed("exact", lambda query: top(items @ query), queries),
        **timed_batch("exact", lambda some: [top(row) for row in some @ items.T], queries),
    }


def measured(
    options: argparse.Namespace, store: Store, items: np.ndarray, queries: np.ndarray, truth: list[np.ndarray]
) -> dict[str, Any]:
    """One engine: filled, asked, changed."""
    import pyarrow as pa

    report: dict[str, Any] = {}
    table = store.create(
        "items-1", schema_of(options.dim, [pa.field("tenth", pa.int64()), pa.field("rare", pa.int64())])
    )

    def rows(first: int, part: np.ndarray) -> Any:
        numbers = list(range(first, first + len(part)))
        return pa.table(
            {
                "id": [f"shelf/{number:08d}.jpg" for number in numbers],
                "embedding": embedding_column(part),
                "tenth": [number % 10 for number in numbers],
                "rare": [number % 1000 for number in numbers],
            }
        )

    started = time.perf_counter()
    for first in range(0, options.items, PART):
        table.insert(rows(first, items[first : first + PART]))
    report["filling: items a second"] = round(options.items / (time.perf_counter() - started))
    started = time.perf_counter()
    table.build_index()
    report["index: built, seconds"] = round(time.perf_counter() - started, 1)
    report |= in_memory(table, queries)
    filters = {"10 %": ("tenth", 10), "0.1 %": ("rare", 1000)}
    report |= ways(options, table, items, queries, truth, filters, "exact", None)
    started = time.perf_counter()
    tuned = ann.tune(table, wanted=0.98)
    report["index: tuned, seconds"] = round(time.perf_counter() - started, 1)
    report["index: effort"] = "/".join(str(value) for value in (tuned.effort or {}).values())
    report |= ways(options, table, items, queries, truth, filters, "index", tuned.effort or table.efforts()[-1])
    chosen = np.random.default_rng(1).choice(options.items, options.changes, replace=False).tolist()
    report |= timed("upsert of one", lambda row: table.upsert(rows(row, queries[:1])), chosen)
    readers = [store.open("items-1")]

    def write_and_read(row: int) -> None:
        table.upsert(rows(row, queries[:1]))
        readers[0] = readers[0].newest()
        readers[0].nearest(queries[:1], K, effort=tuned.effort)

    report |= timed("upsert, and another reader's search", write_and_read, chosen[:50])
    report |= timed("refresh where nothing changed", lambda _: readers[0].newest(), chosen)
    started = time.perf_counter()
    table.delete([f"shelf/{row:08d}.jpg" for row in chosen])
    report[f"{options.changes} deleted at once, seconds"] = round(time.perf_counter() - started, 2)
    started = time.perf_counter()
    table.compact(timedelta(0))
    report["compacting, seconds"] = round(time.perf_counter() - started, 1)
    return report


def in_memory(table: Items, queries: np.ndarray) -> dict[str, Any]:
    """As a catalogue of this size searches, whatever the engine."""
    started = time.perf_counter()
    matrix = Matrix(table)
    report: dict[str, Any] = {"all read into a matrix, seconds": round(time.perf_counter() - started, 2)}
    return report | timed("catalogue's matrix", lambda query: matrix.nearest(query[None], K), queries)


def ways(
    options: argparse.Namespace,
    table: Items,
    items: np.ndarray,
    queries: np.ndarray,
    truth: list[np.ndarray],
    filters: dict[str, tuple[str, int]],
    name: str,
    effort: Any,
) -> dict[str, Any]:
    """One way of searching, for single queries, a batch, and with filters."""
    report: dict[str, Any] = {}

    def ask(where: Filter | None, right: list[np.ndarray], what: str) -> None:
        answers: list[list[int]] = []

        def one(query: np.ndarray) -> None:
            (hits,) = table.nearest(query[None], K, where=where, effort=effort)
            answers.append([int(each[6:-4]) for each, _ in hits])

        report.update(timed(what, one, queries))
        report[f"{what}: recall"] = recall(answers, right)

    ask(None, truth, name)
    report |= timed_batch(name, lambda some: table.nearest(some, K, effort=effort), queries)
    for share, (column, modulus) in filters.items():
        rows = np.arange(7 % modulus, options.items, modulus)
        right = [rows[top(items[rows] @ query)] for query in queries]
        where = filter_of({column: 7 % modulus}, metadata_of(table.schema))
        ask(where, right, f"{name}, filter of {share}")
    return report


if __name__ == "__main__":
    main()
