"""What a catalogue on a Milvus server keeps beyond the contract of all engines, over a real server."""

import base64
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from itma.cli import cli
from itma.errors import CatalogueError, DataError, FilterError, MissingExtraError
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.filters import filter_of
from itma.retrieval.ingest.indexing import Skipped, write_skipped
from itma.retrieval.ingest.rows import Item
from itma.retrieval.stores import lease, milvus_items
from itma.retrieval.stores.base import embedding_column, embeddings_of, metadata_of, schema_of
from itma.retrieval.stores.milvus import MilvusStore
from itma.retrieval.stores.milvus_items import MilvusItems
from tests import made_up

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pymilvus", reason="the extra is not installed: pip install 'itma[milvus]'")

DIM = 8
METADATA = [pa.field("colour", pa.string()), pa.field("price", pa.int64())]


def unit(rows: int, seed: int = 0) -> np.ndarray:
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal((rows, DIM)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def table(ids: list[str], embeddings: np.ndarray, **columns: list[Any]) -> Any:
    return pa.table({"id": ids, "embedding": embedding_column(embeddings), **columns})


def ids_of(items: MilvusItems) -> list[str]:
    return sorted(name for batch in items.scan(["id"]) for name in batch.column("id").to_pylist())


_NUMBERS = itertools.count()
_READY: deque[tuple[MilvusStore, MilvusItems]] = deque()


@pytest.fixture
def place(milvus_server: str) -> str:
    """The place of a catalogue that is not there yet."""
    return f"{milvus_server}/own{next(_NUMBERS)}"


@pytest.fixture
def made(milvus_server: str) -> tuple[MilvusStore, MilvusItems]:
    """A store with an empty table; the server loads those of later tests in the meantime."""
    while len(_READY) < 4:
        store = MilvusStore(f"{milvus_server}/own{next(_NUMBERS)}")
        _READY.append((store, store.create("items-1", schema_of(DIM, METADATA))))
    return _READY.popleft()


@pytest.fixture
def store(made: tuple[MilvusStore, MilvusItems]) -> MilvusStore:
    return made[0]


@pytest.fixture
def items(made: tuple[MilvusStore, MilvusItems]) -> MilvusItems:
    return made[1]


# -- the place --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    ["milvus://", "milvus://host", "milvus://host/", "milvus://host/a b", "milvus://host/a__b", "milvus://host:0/a",
     "milvus://host:99999/a", "milvus:/host/a", "milvus://host/1/2/3", "milvus://user:word@host/a"],
)  # fmt: skip
def test_a_place_that_names_no_catalogue_is_refused_with_the_form(place: str) -> None:
    with pytest.raises(CatalogueError, match=r"write milvus://HOST:PORT/NAME"):
        MilvusStore(place)


def test_without_the_extra_its_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'itma\[milvus\]'"):
        Catalogue.open("milvus://localhost/shop")


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(CatalogueError, match=r"Milvus server at 127.0.0.1:1 cannot be reached .* start it, or check"):
        Catalogue.open("milvus://127.0.0.1:1/shop")


def test_an_older_server_is_refused(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import pymilvus

    monkeypatch.setattr(pymilvus.MilvusClient, "get_server_version", lambda *_, **__: "v2.2.16")
    with pytest.raises(CatalogueError, match=r"is of version v2\.2\.16; itma needs 2\.3 or newer"):
        MilvusStore(place).tables()


def test_a_database_that_is_not_there_is_named_with_those_that_are(milvus_server: str) -> None:
    with pytest.raises(CatalogueError, match="has no database 'nobody'; it has: default"):
        MilvusStore(f"{milvus_server}/nobody/shop").tables()


def test_a_catalogue_that_is_not_there_is_named(place: str) -> None:
    with pytest.raises(CatalogueError, match=f"the catalogue '{place}' does not exist; make it with"):
        Catalogue.open(place)


# -- documents --------------------------------------------------------------------------------------------------------


def test_a_long_document_with_bytes_that_are_no_text_is_kept_and_leaves_nothing_behind(place: str) -> None:
    store = MilvusStore(place)
    text = base64.b64encode(random.Random(0).randbytes(700_000)).decode() + "\udcff"
    store.write("skipped.csv", text)
    assert store.read("skipped.csv") == text and len(store.collections()) > 3
    store.write("skipped.csv", "a\udcff.png")
    assert store.read("skipped.csv") == "a\udcff.png" and len(store.collections()) == 1


# -- what cannot be kept ----------------------------------------------------------------------------------------------


def test_texts_that_are_too_long_are_refused_by_name_and_nothing_is_written(items: MilvusItems) -> None:
    with pytest.raises(DataError, match=r"'yyy.*' has an id of 70,000 bytes; a Milvus server keeps at most 65,535"):
        items.insert(table(["a", "y" * 70_000], unit(2)))
    with pytest.raises(DataError, match=r"the item 'b' has a text of 80,000 bytes"):
        items.insert(table(["b"], unit(1), colour=["é" * 40_000]))
    items.insert(table(["é" * 32_000], unit(1), colour=["é" * 32_767]))
    assert ids_of(items) == ["é" * 32_000] and items.count() == 1


@pytest.mark.parametrize("pattern", ["%e%", "_ed", "red", "r%d%", "r\\%%"])
def test_of_like_only_beginnings_can_be_asked(items: MilvusItems, pattern: str) -> None:
    with pytest.raises(FilterError, match="of LIKE only 'begins%' can be asked here"):
        items.count(filter_of(f"colour like '{pattern}'", metadata_of(items.schema)))


# -- the nearest ------------------------------------------------------------------------------------------------------


def test_many_equal_scores_stand_in_the_order_of_ids(items: MilvusItems) -> None:
    names = [f"{number:03d}" for number in range(300)]
    mixed = random.Random(1).sample(names, 300)
    items.insert(table(mixed, np.repeat(unit(1), 300, axis=0)))
    assert [name for name, _ in items.nearest(unit(1), 5)[0]] == names[:5]


def test_more_hits_than_the_server_gives_are_found(items: MilvusItems, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number:03d}" for number in range(200)]
    items.insert(table(names, unit(200)))
    whole = items.nearest(unit(2, 9), 200)
    monkeypatch.setattr(milvus_items, "_RESULTS", 20)
    few = items.nearest(unit(2, 9), 100)
    assert [[name for name, _ in hits] for hits in few] == [[name for name, _ in hits[:100]] for hits in whole]


def test_items_that_are_gone_do_not_take_the_place_of_others(items: MilvusItems) -> None:
    names = [f"{number:03d}" for number in range(120)]
    items.insert(table(names, unit(120)))
    nearest = [name for name, _ in items.nearest(unit(1, 9), 120)[0]]
    items.delete(nearest[:60])
    assert [name for name, _ in items.nearest(unit(1, 9), 10)[0]] == nearest[60:70]
    assert items.count(filter_of("id >= '000'", metadata_of(items.schema))) == 60


# -- commits ----------------------------------------------------------------------------------------------------------


def test_a_commit_that_breaks_off_is_never_seen_and_the_next_writer_clears_it(
    store: MilvusStore, items: MilvusItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    items.insert(table(["a", "b"], unit(2), price=[1, 2]))
    with monkeypatch.context() as patch:
        patch.setattr(MilvusItems, "_write", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.open("items-1").upsert(table(["b", "c"], unit(2, 1), price=[20, 30]))
    reader = store.open("items-1")
    assert ids_of(reader) == ["a", "b"] and reader.count() == 2
    assert reader.get(["b"], ["price"])["price"].to_pylist() == [2]
    store.open("items-1").insert(table(["d"], unit(1, 2)))
    assert reader.refresh() and ids_of(reader) == ["a", "b", "d"] and reader.count() == 3
    assert reader.get(["b"], ["price"])["price"].to_pylist() == [2]


def test_a_reader_sees_no_half_of_a_commit(store: MilvusStore, items: MilvusItems) -> None:
    names = [f"{number:03d}" for number in range(200)]
    items.insert(table(names, unit(200), price=[0] * 200))
    reader, over, wrong, looks = store.open("items-1"), threading.Event(), [], 0

    def write() -> None:
        for step in range(1, 12):
            items.upsert(table(names, unit(200, step), price=[step] * 200))
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not over.is_set():
        reader.refresh()
        looks += 1
        prices = [price for batch in reader.scan(["price"]) for price in batch.column("price").to_pylist()]
        step = prices[0] if prices else -1
        found = [name for name, _ in reader.nearest(unit(200, step)[:1], 3)[0]]
        if (
            prices != [step] * 200
            or found[0] != "000"
            or reader.count(filter_of({"price": step}, METADATA_TYPES)) != 200
        ):
            wrong.append((reader.version, len(prices), set(prices), found))
    writer.join()
    assert not wrong and looks > 1


METADATA_TYPES = {field.name: field.type for field in METADATA}


def test_more_that_goes_than_one_commit_holds_goes_in_several(
    items: MilvusItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_items, "_GONE", 10)
    names = [f"{number:02d}" for number in range(40)]
    items.insert(table(names, unit(40)))
    items.delete(names[:25])
    items.upsert(table(names[25:], unit(15, 1)))
    assert ids_of(items) == names[25:] and items.count() == 15


def test_old_versions_are_cleared_from_the_server(store: MilvusStore, items: MilvusItems) -> None:
    items.insert(table(["a", "b"], unit(2)))
    items.upsert(table(["a"], unit(1, 1)))
    items.delete(["b"])
    items.compact(timedelta(0))
    kept = store.client().query(items._rows, filter="born >= 0", output_fields=["id"], consistency_level="Strong")
    assert [row["id"] for row in kept] == ["a"] and [version.items for version in items.versions()] == [1]


def test_a_reader_that_looks_after_a_compaction_sees_nothing_that_was_gone(
    store: MilvusStore, items: MilvusItems
) -> None:
    items.insert(table(["a", "b", "c"], unit(3)))
    items.delete(["b"])
    reader = store.open("items-1")
    items.compact(timedelta(0))
    assert ids_of(reader) == ["a", "c"]
    assert {name for name, _ in reader.nearest(unit(3)[1:2], 3)[0]} == {"a", "c"}


# -- one writer -------------------------------------------------------------------------------------------------------


def test_a_writer_that_is_silent_for_long_loses_the_lock_and_can_commit_no_more(
    store: MilvusStore, items: MilvusItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = MilvusStore(store.place)
    with store.writing("sleeping"):
        with pytest.raises(CatalogueError, match="sleeping"), other.writing("adding"):
            pass
        later = time.time() + 2 * lease.SILENT
        monkeypatch.setattr(lease.time, "time", lambda: later)
        with other.writing("adding"), pytest.raises(CatalogueError, match="taken over by another writer"):
            items.insert(table(["a"], unit(1)))
    assert items.count() == 0
    with store.writing("adding"):
        items.insert(table(["a"], unit(1)))


_WRITER = """
import sys
import numpy as np
import pyarrow as pa
from itma.retrieval.stores.milvus import MilvusStore
from itma.retrieval.stores.base import embedding_column
store = MilvusStore(sys.argv[1])
with store.writing("adding for ever"):
    items = store.open("items-1")
    for number in range(100_000):
        ids = [f"{number:05d}-{part}" for part in range(20)]
        rows = np.eye(8, dtype=np.float32)[np.arange(20) % 8]
        items.insert(pa.table({"id": ids, "embedding": embedding_column(rows)}))
        print(number, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_writer_that_is_killed_loses_nothing_acknowledged_and_locks_nobody_out(
    store: MilvusStore, items: MilvusItems
) -> None:
    items.insert(table(["first"], unit(1)))  # loads the table
    command = [sys.executable, "-c", _WRITER, store.place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(8)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged = int((lines + writer.stdout.readlines())[-1])
    items.refresh()
    names = [name for name in ids_of(items) if name != "first"]
    commits = {name[:5] for name in names}
    assert len(names) == len(set(names)) == 20 * len(commits)
    assert len(commits) in (acknowledged + 1, acknowledged + 2)
    with store.writing("going on"):  # at once: its process is known to be gone
        items.insert(table(["last"], unit(1)))
    assert items.count() == len(names) + 2


# -- the command line -------------------------------------------------------------------------------------------------


def test_the_command_line_takes_a_server_wherever_it_takes_a_folder(place: str, tmp_path: Path) -> None:
    made_up.model().save(tmp_path / "run")
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (20, 20), (80 * number, 30, 60)).save(tmp_path / "photos" / f"{number}.png")

    def call(*words: str | Path) -> str:
        done = CliRunner().invoke(cli, ["--quiet", *map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert "indexed 3" in call("index", tmp_path / "run", tmp_path / "photos", place)
    call("index", tmp_path / "run", tmp_path / "photos", place)
    assert "1.png" in call("search", place, "--image", tmp_path / "photos" / "0.png", "-k", "2")
    call("catalogue", "delete", place, "1.png")
    assert f"{place}: 2 items" in call("catalogue", "info", place)


def test_an_address_of_no_engine_is_refused() -> None:
    done = CliRunner().invoke(cli, ["catalogue", "info", "mysql://host/shop"])
    assert done.exit_code == 1 and "'mysql://host/shop' is no place for a catalogue" in done.output


# -- whole catalogues -------------------------------------------------------------------------------------------------


def rows_of(catalogue: Catalogue) -> list[dict[str, Any]]:
    items = catalogue._items
    found = [row for batch in items.scan(items.schema.names) for row in batch.to_pylist()]
    return sorted(found, key=lambda row: str(row["id"]))


def test_a_catalogue_moves_to_a_server_and_back_and_keeps_everything(place: str, tmp_path: Path) -> None:
    fields: list[dict[str, Any]] = [
        {"colour": "d'or\n", "price": -(2**63), "weight": 1e-300, "sold": True, "tags": ["x", ""]},
        {"colour": "", "price": 2**63 - 1, "weight": float("inf"), "sold": False, "tags": []},
        {"made": date(1969, 1, 1), "weight": -0.0},
        {"seen": datetime(1950, 1, 1, 0, 0, 0, 1)},
    ]
    ids = ["a/'\"🔥", "x" * 1000, "b", "odd\udcff.png"]
    Catalogue.from_embeddings(
        [Item(name, tmp_path / "p.png", row, told) for name, row, told in zip(ids, unit(4), fields, strict=True)],
        tmp_path / "shop",
        pictures=tmp_path,
    )
    first = Catalogue.open(tmp_path / "shop")
    first.add([Item("later", None, unit(1, 5)[0], {"number": 7})])
    write_skipped(first._store, [Skipped("b\udcff.png", "damaged")])
    first.backup(place)
    there = Catalogue.open(place)
    assert there._items.schema == first._items.schema and rows_of(there) == rows_of(first)
    Catalogue.restore(place, tmp_path / "back")
    back = Catalogue.open(tmp_path / "back")
    assert back._items.schema == first._items.schema and rows_of(back) == rows_of(first)
    assert back.info().skipped == there.info().skipped == 1
    assert [hit.id for hit in back.search(id="later", k=5)] == [hit.id for hit in there.search(id="later", k=5)]


def test_feature_maps_move_too(items: MilvusItems, store: MilvusStore) -> None:
    schema = schema_of(DIM, tokens=True)
    kept = store.create("items-2", schema)
    maps = [None, b"", random.Random(2).randbytes(200_000)]
    kept.insert(table(["a", "b", "c"], unit(3)).append_column("_tokens", pa.array(maps, pa.large_binary())))
    got = kept.get(["a", "b", "c"], ["id", "_tokens"]).to_pylist()
    assert {row["id"]: row["_tokens"] for row in got} == dict(zip("abc", maps, strict=True))
    with pytest.raises(DataError, match=r"feature maps of 'd' take 900,000 bytes; .* at most 786,"):
        kept.insert(table(["d"], unit(1)).append_column("_tokens", pa.array([bytes(900_000)], pa.large_binary())))


def test_a_catalogue_on_a_server_lives_as_one_in_a_folder_does(place: str, tmp_path: Path) -> None:
    def made() -> list[Item]:
        rows = unit(30)
        return [Item(f"s{number:02d}", embedding=rows[number], fields={"price": number}) for number in range(30)]

    pair = [Catalogue.from_embeddings(made(), where, pictures=tmp_path) for where in (tmp_path / "shop", place)]
    for catalogue in pair:
        catalogue.add([Item("new", embedding=unit(1, 3)[0], fields={"price": 99, "brand": "x"})])
        catalogue.replace([Item("s03", embedding=unit(1, 4)[0], fields={"price": 3})])
        assert catalogue.delete(["s04"], where="price between 20 and 22 or brand = 'y'") == 4
    folder, server = pair
    asked = [
        {},
        {"where": {"price": {"<": 12}}},
        {"where": "price > 5 and not price in (7, 8)"},
        {"where": {"brand": "x"}},
    ]
    for some in asked:
        for ann in (10**9, 0):  # all in memory, and by the engine
            reader = Catalogue(MilvusStore(place), exact_items=ann)
            hits = reader.search(embedding=unit(1, 9)[0], k=12, fields="*", **some)  # type: ignore[arg-type]
            assert hits == folder.search(embedding=unit(1, 9)[0], k=12, fields="*", **some)  # type: ignore[arg-type]
    assert len(server) == 27 and server.get("new").fields == {"price": 99, "brand": "x"}
    assert [len(Catalogue.open(place, version=version.number)) for version in server.versions()][:2] == [0, 30]
    assert "27 items of 8 numbers" in str(server.info())
    server.compact(keep=timedelta(0))
    assert len(server.versions()) == 1 and len(Catalogue.open(place)) == 27


@pytest.mark.slow
def test_an_index_on_a_server_is_tuned_and_new_items_are_found(place: str, tmp_path: Path) -> None:
    rows = unit(1_500)
    items = [Item(f"{number:04d}", embedding=row) for number, row in enumerate(rows)]
    catalogue = Catalogue.from_embeddings(items, place, pictures=tmp_path)
    large = Catalogue(catalogue._store, exact_items=100)
    large.compact()
    large.add([Item("new", embedding=unit(1, 5)[0])])
    info = large.info()
    assert info.ann is not None and info.ann.recall >= 0.98 and info.index is not None and info.index.waiting == 1
    assert large.search(embedding=unit(1, 5)[0], k=1)[0].id == "new"
    assert large.search(embedding=rows[7], k=1)[0].id == "0007"


def test_embeddings_come_back_as_they_were(items: MilvusItems) -> None:
    items.insert(table(["a", "b"], unit(2)))
    got = items.get(["a"], ["embedding"])
    assert np.array_equal(embeddings_of(got["embedding"])[0], unit(2)[0])
