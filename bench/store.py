"""A catalogue beside a plain NumPy product and FAISS, in one run on the same vectors.

    pip install faiss-cpu   # for this comparison alone; without it those rows are left out
    python bench/store.py [--items 100000] [--dim 512] [--threads 2] [--no-index] [--no-faiss] [--json FILE]

The vectors are clustered, as those of images are: unit vectors around `--clusters` centres; the queries are further
vectors of the same kind that are not in the catalogue. Recall is recall@10 against the plain product. The catalogue is
filled and searched in processes of its own, so that peak memories are their own.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

K = 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=2_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--changes", type=int, default=1_000, help="upserts one by one, and deletes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the catalogue goes; absent: a temporary folder")
    parser.add_argument("--no-index", action="store_true", help="leave the index and FAISS out")
    parser.add_argument("--no-faiss", action="store_true", help="leave FAISS out, whose HNSW takes long to build")
    parser.add_argument("--json", type=Path, help="write all numbers there too")
    parser.add_argument("--phase", choices=["fill", "search"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.phase:
        {"fill": fill, "search": search}[options.phase](options)
        return
    print(f"{options.items:,} items × {options.dim}, {options.clusters:,} clusters, {options.threads} threads")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        numbers: dict[str, Any] = {}
        for phase in ("fill", "search"):
            command = [sys.executable, __file__, *sys.argv[1:], "--phase", phase, "--folder", str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            numbers |= json.loads(done.splitlines()[-1])
    for name, value in numbers.items():
        print(f"{name:<58s} {value}")
    if options.json:
        options.json.write_text(json.dumps({**vars(options), **numbers}, indent=2, default=str) + "\n")


def vectors(options: argparse.Namespace) -> Iterator[np.ndarray]:
    """The items' embeddings, in parts; the last part holds the queries."""
    random = np.random.Generator(np.random.PCG64(0))
    centres = random.standard_normal((options.clusters, options.dim)).astype(np.float32)
    part = 20_000
    for first in range(0, options.items + options.queries, part):
        rows = min(part, options.items + options.queries - first)
        noise = random.standard_normal((rows, options.dim), dtype=np.float32)
        points = centres[random.integers(0, options.clusters, rows)] + 0.8 * noise
        yield points / np.linalg.norm(points, axis=1, keepdims=True)


def fill(options: argparse.Namespace) -> None:
    """Write the vectors as Parquet, and time how they become a catalogue."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from itma.retrieval.catalogue import Catalogue
    from itma.retrieval.stores.base import embedding_column

    shutil.rmtree(options.folder / "catalogue", ignore_errors=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    writer, done = None, 0
    for rows in vectors(options):
        rows = rows[: options.items - done]
        if not len(rows):
            break
        ids = [f"shelf/{number:08d}.jpg" for number in range(done, done + len(rows))]
        tenths = pa.array([number % 10 for number in range(done, done + len(rows))])
        rare = pa.array([number % 1000 for number in range(done, done + len(rows))])
        table = pa.table({"id": ids, "embedding": embedding_column(rows), "tenth": tenths, "rare": rare})
        writer = writer or pq.ParquetWriter(options.folder / "embeddings.parquet", table.schema)
        writer.write_table(table)
        done += len(rows)
    assert writer is not None
    writer.close()
    before = peak_megabytes()
    started = time.perf_counter()
    Catalogue.from_embeddings(options.folder / "embeddings.parquet", options.folder / "catalogue", recall=1e-9)
    seconds = time.perf_counter() - started
    report = {
        "filling: items a second": round(options.items / seconds),
        "filling: peak memory above the start, MB": round(peak_megabytes() - before),
        "disk, MB": round(megabytes(options.folder / "catalogue")),
        "embeddings alone, MB": round(options.items * options.dim * 4 / 2**20),
    }
    print(json.dumps(report))


def search(options: argparse.Namespace) -> None:
    """Time every way of searching, and changes."""
    import torch

    from itma.retrieval.catalogue import Catalogue
    from itma.retrieval.ingest.rows import Item

    torch.set_num_threads(options.threads)
    report: dict[str, Any] = {}
    started, before = time.perf_counter(), peak_megabytes()
    catalogue = Catalogue.open(options.folder / "catalogue")
    report["opening, seconds"] = round(time.perf_counter() - started, 3)
    # exact
    exact = Catalogue(catalogue._store, exact_items=10**9)
    started = time.perf_counter()
    exact.search(embedding=np.ones(options.dim), k=K)
    report["exact: first search (loads all), seconds"] = round(time.perf_counter() - started, 2)
    report["exact: peak memory above the start, MB"] = round(peak_megabytes() - before)
    parts = list(vectors(options))
    everything = np.concatenate(parts)
    items, queries = everything[: options.items], everything[options.items :].copy()
    del parts, everything
    truth = [top(items @ query) for query in queries]
    report |= side_by_side(
        {
            "plain product and partition": lambda query: top(items @ query),
            "exact": lambda query: exact.search(embedding=query, k=K),
        },
        queries,
    )
    report |= timed_batch("plain product and partition", lambda some: [top(row) for row in some @ items.T], queries)
    report |= timed_batch("exact", lambda some: exact.search_all(some, K), queries)
    product = report["plain product and partition: p50, ms"]
    report["exact: times the plain product"] = round(report["exact: p50, ms"] / product, 2)
    filters = {"10 %": {"tenth": 3}, "0.1 %": {"rare": 7}}
    right = {}
    for share, where in filters.items():
        rows = np.arange(3, options.items, 10) if share == "10 %" else np.arange(7, options.items, 1000)
        part = items[rows]
        right[share] = [rows[top(part @ query)] for query in queries]
        answers: list[Any] = []
        report |= timed(f"exact, filter of {share}", asking(exact, answers, where=where), queries)
        report[f"exact, filter of {share}: recall"] = recall(answers, right[share])
    if not options.no_index:
        ann = Catalogue(catalogue._store, exact_items=0)
        started = time.perf_counter()
        ann.compact(recall=0.98)
        report["index: built and tuned, seconds"] = round(time.perf_counter() - started, 1)
        ann = Catalogue(catalogue._store, exact_items=0)
        report["index"] = str(ann.info()).split("search: ")[1].splitlines()[0]
        answers = []
        report |= timed("index", asking(ann, answers), queries)
        report["index: recall"] = recall(answers, truth)
        report |= timed_batch("index", lambda some: ann.search_all(some, K), queries)
        for share, where in filters.items():
            answers = []
            report |= timed(f"index, filter of {share}", asking(ann, answers, where=where), queries)
            report[f"index, filter of {share}: recall"] = recall(answers, right[share])
        if not options.no_faiss:
            report |= with_faiss(options, items, queries, truth)
    writer = Catalogue(catalogue._store, exact_items=10**9 if options.no_index else 0)
    random = np.random.default_rng(1)
    chosen = [f"shelf/{number:08d}.jpg" for number in random.choice(options.items, options.changes, replace=False)]
    fresh = [Item(name, embedding=random.standard_normal(options.dim)) for name in chosen]
    report |= timed("upsert, one by one", lambda item: writer.replace([item]), fresh)
    report |= timed("delete, one by one", lambda name: writer.delete([name]), chosen)
    started = time.perf_counter()
    writer.add([Item(f"new/{name}", embedding=item.embedding) for name, item in zip(chosen, fresh, strict=True)])
    report[f"{options.changes:,} added in one commit, seconds"] = round(time.perf_counter() - started, 2)
    report["disk after all that, MB"] = round(megabytes(options.folder / "catalogue"))
    started = time.perf_counter()
    writer.compact(keep=timedelta(0))
    report["compacting, seconds"] = round(time.perf_counter() - started, 1)
    report["disk after compacting, MB"] = round(megabytes(options.folder / "catalogue"))
    print(json.dumps(report))


def with_faiss(
    options: argparse.Namespace, items: np.ndarray, queries: np.ndarray, truth: list[np.ndarray]
) -> dict[str, Any]:
    """FAISS in memory: HNSW and IVF, with the cheapest setting that reaches a recall of 0.98, or the best tried."""
    try:
        import faiss
    except ImportError:
        return {"FAISS": "not installed"}
    faiss.omp_set_num_threads(options.threads)
    report: dict[str, Any] = {}
    lists = int(4 * options.items**0.5)
    flat = faiss.IndexFlatIP(options.dim)
    ways: dict[str, tuple[Any, Callable[[Any, int], None], tuple[int, ...]]] = {
        "FAISS HNSW (32 links)": (
            faiss.IndexHNSWFlat(options.dim, 32, faiss.METRIC_INNER_PRODUCT),
            lambda index, effort: setattr(index.hnsw, "efSearch", effort),
            (16, 32, 64, 128, 256, 512),
        ),
        f"FAISS IVF ({lists:,} lists)": (
            faiss.IndexIVFFlat(flat, options.dim, lists, faiss.METRIC_INNER_PRODUCT),
            lambda index, effort: setattr(index, "nprobe", effort),
            (1, 2, 4, 8, 16, 32, 64, 128),
        ),
    }
    for name, (index, set_effort, efforts) in ways.items():
        started = time.perf_counter()
        index.train(items[:: max(1, len(items) // (40 * lists))])
        index.add(items)
        report[f"{name}: built, seconds"] = round(time.perf_counter() - started, 1)
        for effort in efforts:
            set_effort(index, effort)
            share = recall([index.search(query[None], K)[1][0] for query in queries], truth)
            if share >= 0.98:
                break
        report |= timed(name, lambda query, index=index: index.search(query[None], K), queries)
        report[f"{name}: recall"] = share
        report[f"{name}: effort"] = effort
    return report


def asking(catalogue: Any, answers: list[Any], **request: Any) -> Callable[[np.ndarray], None]:
    def ask(query: np.ndarray) -> None:
        hits = catalogue.search(embedding=query, k=K, **request)
        answers.append([int(hit.id[6:-4]) for hit in hits])

    return ask


def top(scores: np.ndarray) -> np.ndarray:
    best = np.argpartition(-scores, min(K, len(scores) - 1))[:K]
    return best[np.argsort(-scores[best])]


def recall(answers: list[Any], truth: list[np.ndarray]) -> float:
    shares = [
        len({*map(int, hits)} & {*map(int, right)}) / len(right)
        for hits, right in zip(answers[-len(truth) :], truth, strict=True)
    ]
    return round(float(np.mean(shares)), 4)


def timed(name: str, do: Callable[[Any], Any], over: Any) -> dict[str, float]:
    """Median and 99th percentile, after a few that warm up."""
    for each in over[:3]:
        do(each)
    seconds = []
    for each in over:
        started = time.perf_counter()
        do(each)
        seconds.append(time.perf_counter() - started)
    seconds.sort()
    return {
        f"{name}: p50, ms": round(1e3 * statistics.median(seconds), 2),
        f"{name}: p99, ms": round(1e3 * seconds[int(0.99 * (len(seconds) - 1))], 2),
    }


def side_by_side(ways: dict[str, Callable[[Any], Any]], over: Any) -> dict[str, float]:
    """As `timed`, in turns, so that what else the machine does falls on all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number, each in enumerate([*over[:3], *over]):
        for name, do in ways.items():
            started = time.perf_counter()
            do(each)
            if number >= 3:
                seconds[name].append(time.perf_counter() - started)
    report = {}
    for name, each in seconds.items():
        each.sort()
        report[f"{name}: p50, ms"] = round(1e3 * statistics.median(each), 2)
        report[f"{name}: p99, ms"] = round(1e3 * each[int(0.99 * (len(each) - 1))], 2)
    return report


def timed_batch(name: str, do: Callable[[np.ndarray], Any], queries: np.ndarray) -> dict[str, float]:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        do(queries[:64])
        seconds.append(time.perf_counter() - started)
    return {f"{name}: a batch of 64, ms": round(1e3 * statistics.median(seconds), 1)}


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def peak_megabytes() -> float:
    """The most memory that this process has held, in MB."""
    used: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
