"""What a catalogue on a Milvus server keeps beyond the contract of all engines, over a real server."""

import base64
import itertools
import random
import signal
import sys
import threading
from collections import deque
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
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
from itma.retrieval.stores import milvus
from itma.retrieval.stores.base import embedding_column, embeddings_of, metadata_of, schema_of
from itma.retrieval.stores.milvus import MilvusItems, MilvusStore
from tests import made_up
from tests.forked import Program

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
def address(milvus_server: str) -> str:
    """The place of a catalogue that is not there yet."""
    return f"{milvus_server}/own{next(_NUMBERS)}"


@pytest.fixture
def store_and_items(milvus_server: str) -> tuple[MilvusStore, MilvusItems]:
    """A store with an empty table; the server loads those of later tests in the meantime."""
    while len(_READY) < 4:
        store = MilvusStore(f"{milvus_server}/own{next(_NUMBERS)}")
        _READY.append((store, store.create("items-1", schema_of(DIM, METADATA))))
    return _READY.popleft()


@pytest.fixture
def store(store_and_items: tuple[MilvusStore, MilvusItems]) -> MilvusStore:
    return store_and_items[0]


@pytest.fixture
def items(store_and_items: tuple[MilvusStore, MilvusItems]) -> MilvusItems:
    return store_and_items[1]


# -- the place --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["milvus://", "milvus://host", "milvus://host/", "milvus://host/a b", "milvus://host/a__b", "milvus://host:0/a",
     "milvus://host:99999/a", "milvus:/host/a", "milvus://host/1/2/3", "milvus://user:word@host/a"],
)  # fmt: skip
def test_a_place_that_names_no_catalogue_is_refused_with_the_form(address: str) -> None:
    with pytest.raises(CatalogueError, match=r"write milvus://HOST:PORT/NAME"):
        MilvusStore(address)


def test_without_the_extra_its_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'itma\[milvus\]'"):
        Catalogue.open("milvus://localhost/shop")


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(CatalogueError, match=r"Milvus server at 127.0.0.1:1 cannot be reached .* start it, or check"):
        Catalogue.open("milvus://127.0.0.1:1/shop")


def test_an_older_server_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import pymilvus

    monkeypatch.setattr(pymilvus.MilvusClient, "get_server_version", lambda *_, **__: "v2.2.16")
    with pytest.raises(CatalogueError, match=r"is of version v2\.2\.16; itma needs 2\.3 or newer"):
        MilvusStore(address).tables()


def test_a_database_that_is_not_there_is_named_with_those_that_are(milvus_server: str) -> None:
    with pytest.raises(CatalogueError, match="has no database 'nobody'; it has: default"):
        MilvusStore(f"{milvus_server}/nobody/shop").tables()


def test_a_catalogue_that_is_not_there_is_named(address: str) -> None:
    with pytest.raises(CatalogueError, match=f"the catalogue '{address}' does not exist; make it with"):
        Catalogue.open(address)


# -- documents --------------------------------------------------------------------------------------------------------


def test_a_long_document_with_bytes_that_are_no_text_is_kept(address: str) -> None:
    store = MilvusStore(address)
    text = base64.b64encode(random.Random(0).randbytes(300_000)).decode() + "\udcff"
    store.write("skipped.csv", text)
    assert store.read("skipped.csv") == text
    store.write("skipped.csv", "a\udcff.png")
    assert store.read("skipped.csv") == "a\udcff.png"


def test_a_document_that_the_server_s_register_cannot_hold_is_refused_and_the_earlier_one_stays(address: str) -> None:
    store = MilvusStore(address)
    store.write("skipped.csv", "a.png")
    with pytest.raises(DataError, match=r"skipped.csv .* takes [\d,]+ bytes, compressed; .* keeps at most 524,288"):
        store.write("skipped.csv", base64.b64encode(random.Random(0).randbytes(700_000)).decode())
    assert store.read("skipped.csv") == "a.png"


# -- what cannot be kept ----------------------------------------------------------------------------------------------


def test_texts_that_are_too_long_are_refused_by_name_and_nothing_is_written(items: MilvusItems) -> None:
    with pytest.raises(DataError, match=r"'yyy.*' has an id of 70,000 bytes; a Milvus server keeps at most 65,535"):
        items.insert(table(["a", "y" * 70_000], unit(2)))
    with pytest.raises(
        DataError, match=r"the item 'b' has metadata of 80,\d+ bytes; a Milvus server keeps at most 65,"
    ):
        items.insert(table(["b"], unit(1), colour=["é" * 40_000]))
    items.insert(table(["é" * 32_000], unit(1), colour=["é" * 32_000]))
    assert ids_of(items) == ["é" * 32_000] and items.count() == 1


def test_a_number_that_json_does_not_know_is_refused_and_nothing_is_written(store: MilvusStore) -> None:
    items = store.create("items-2", schema_of(DIM, [pa.field("weight", pa.float64())]))
    with pytest.raises(DataError, match="the column 'weight' holds inf; a Milvus server keeps finite numbers alone"):
        items.insert(table(["a", "b"], unit(2), weight=[1.5, float("inf")]))
    assert items.count() == 0


def test_feature_maps_are_refused_before_anything_is_made(store: MilvusStore) -> None:
    with pytest.raises(DataError, match="keeps no feature maps; make the catalogue without --tokens"):
        store.create("items-2", schema_of(DIM, tokens=True))
    assert store.tables() == ["items-1"]


@pytest.mark.parametrize("pattern", ["%e%", "_ed", "red", "r%d%", "r\\%%"])
def test_of_like_only_beginnings_can_be_asked(items: MilvusItems, pattern: str) -> None:
    with pytest.raises(FilterError, match="of LIKE only 'begins%' can be asked of a Milvus server"):
        items.count(filter_of(f"colour like '{pattern}'", metadata_of(items.schema)))


# -- the nearest ------------------------------------------------------------------------------------------------------


def test_many_equal_scores_stand_in_the_order_of_ids(items: MilvusItems) -> None:
    names = [f"{number:03d}" for number in range(300)]
    mixed = random.Random(1).sample(names, 300)
    items.insert(table(mixed, np.repeat(unit(1), 300, axis=0)))
    assert [name for name, _ in items.nearest(unit(1), 5)[0]] == names[:5]


def test_more_hits_than_the_server_gives_are_refused(items: MilvusItems) -> None:
    items.insert(table(["a"], unit(1)))
    with pytest.raises(DataError, match=r"20,000 hits were asked for; a Milvus server gives at most 16,384"):
        items.nearest(unit(1), 20_000)


def test_pages_hold_every_item_once_where_the_server_keeps_them_in_several_files(store: MilvusStore) -> None:
    items = store.create("items-1", schema_of(DIM, METADATA))
    prices = {f"i{number}": number for number in range(300)}
    items.upsert(table(list(prices), unit(300), price=list(prices.values())))
    store.sync()
    prices |= {f"i{number}": -number for number in range(100, 450)}
    items.upsert(table(list(prices)[100:], unit(350), price=list(prices.values())[100:]))
    items.delete(gone := [f"i{number}" for number in range(0, 450, 7)])
    rows, after = [], None
    while True:
        page, after = items.page(["id", "price"], 40, after=after)
        rows += page.to_pylist()
        if after is None:
            break
    assert sorted(row["id"] for row in rows) == ids_of(items) == sorted(prices.keys() - set(gone))
    assert all(row["price"] == prices[row["id"]] for row in rows)


def test_items_that_are_gone_do_not_take_the_place_of_others(items: MilvusItems) -> None:
    names = [f"{number:03d}" for number in range(120)]
    items.insert(table(names, unit(120)))
    nearest = [name for name, _ in items.nearest(unit(1, 9), 120)[0]]
    items.delete(nearest[:60])
    assert [name for name, _ in items.nearest(unit(1, 9), 10)[0]] == nearest[60:70]
    assert items.count(filter_of("id >= '000'", metadata_of(items.schema))) == 60


# -- writing ----------------------------------------------------------------------------------------------------------


def test_a_write_that_breaks_off_is_seen_as_a_change_and_the_same_call_does_the_rest(
    store: MilvusStore, items: MilvusItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    items.insert(table(["a"], unit(1)))
    reader = store.open("items-1")
    monkeypatch.setattr(milvus, "_MESSAGE_BYTES", 1)  # each row is a request of its own
    client, upsert, names = store.client, store.client.upsert, ["b", "c", "d"]
    with monkeypatch.context() as patch:
        patch.setattr(client, "upsert", lambda *words, **more: upsert(*words, **more) and _break_off())
        with pytest.raises(KeyboardInterrupt):
            items.upsert(table(names, unit(3, 1)))
    reader = reader.newest()
    assert ids_of(reader) == ["a", "b"]
    items.upsert(table(names, unit(3, 1)))
    reader = reader.newest()
    assert ids_of(reader) == ["a", *names] and reader.count() == 4


def _break_off() -> None:
    raise KeyboardInterrupt


def test_two_writers_at_once_lose_nothing_and_the_later_row_of_one_id_wins(store: MilvusStore) -> None:
    def write(number: int) -> None:
        items = MilvusStore(store.address).open("items-1")
        for step in range(5):
            items.upsert(table([f"{number}-{step}", "both"], unit(2, step), price=[step, 10 * number + step]))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    items = store.open("items-1")
    assert ids_of(items) == sorted([f"{number}-{step}" for number in range(2) for step in range(5)] + ["both"])
    assert items.count() == 11 and items.get(["both"], ["price"])["price"].to_pylist() in ([4], [14])


def test_a_row_that_is_replaced_is_gone_from_the_server(store: MilvusStore, items: MilvusItems) -> None:
    items.insert(table(["a", "b"], unit(2)))
    items.upsert(table(["a"], unit(1, 1)))
    items.delete(["b"])
    rows = store.client.query(items._collection, filter='key != ""', output_fields=["id"], consistency_level="Strong")
    assert [row["id"] for row in rows] == ["a"]


def test_after_a_change_a_reader_waits_for_it_once_and_then_for_nothing(
    store: MilvusStore, items: MilvusItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    items.insert(table(["a"], unit(1)))
    reader, levels, query = store.open("items-1"), [], store.client.query
    monkeypatch.setattr(
        store.client, "query", lambda *w, **more: levels.append(more["consistency_level"]) or query(*w, **more)
    )
    assert [reader.count(), reader.count()] == [1, 1]
    items.insert(table(["b"], unit(1, 1)))
    reader = reader.newest()
    assert [reader.count(), reader.count()] == [2, 2]
    assert levels == ["Strong", "Eventually"] * 2


_WRITER = """
import sys
import numpy as np
import pyarrow as pa
from itma.retrieval.stores.milvus import MilvusStore
from itma.retrieval.stores.base import embedding_column
items = MilvusStore(sys.argv[1]).open("items-1")
for number in range(100_000):
    ids = [f"{number:05d}-{part}" for part in range(20)]
    rows = np.eye(8, dtype=np.float32)[np.arange(20) % 8]
    items.insert(pa.table({"id": ids, "embedding": embedding_column(rows)}))
    print(number, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_writer_that_is_killed_loses_nothing_acknowledged_and_keeps_nobody_out(
    store: MilvusStore, items: MilvusItems
) -> None:
    items.insert(table(["first"], unit(1)))  # loads the table
    with Program(_WRITER, store.address) as writer:
        lines = [writer.stdout.readline() for _ in range(8)]
        writer.kill()
        acknowledged = int((lines + writer.stdout.readlines())[-1])
    items = items.newest()
    items.insert(table(["last"], unit(1)))
    names = [name for name in ids_of(items) if name not in ("first", "last")]
    commits = {name[:5] for name in names}
    assert len(names) == len(set(names)) == 20 * len(commits)
    assert len(commits) in (acknowledged + 1, acknowledged + 2)


# -- the command line -------------------------------------------------------------------------------------------------


def test_the_command_line_takes_a_server_wherever_it_takes_a_folder(address: str, tmp_path: Path) -> None:
    made_up.model().save(tmp_path / "run")
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (20, 20), (80 * number, 30, 60)).save(tmp_path / "photos" / f"{number}.png")

    def call(*words: str | Path) -> str:
        done = CliRunner().invoke(cli, ["--quiet", *map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert "indexed 3" in call("index", tmp_path / "run", tmp_path / "photos", address)
    call("index", tmp_path / "run", tmp_path / "photos", address)
    assert "1.png" in call("search", address, "--image", tmp_path / "photos" / "0.png", "-k", "2")
    call("catalogue", "delete", address, "1.png")
    assert f"{address}: 2 items" in call("catalogue", "info", address)


def test_an_address_of_no_engine_is_refused() -> None:
    done = CliRunner().invoke(cli, ["catalogue", "info", "mysql://host/shop"])
    assert done.exit_code == 1 and "'mysql://host/shop' is no address of a catalogue" in done.output
    assert "itma --import FILE.py" in done.output


# -- whole catalogues -------------------------------------------------------------------------------------------------


def rows_of(catalogue: Catalogue) -> list[dict[str, Any]]:
    items = catalogue.snapshot.items
    rows = [row for batch in items.scan(items.schema.names) for row in batch.to_pylist()]
    return sorted(rows, key=lambda row: str(row["id"]))


def test_a_catalogue_moves_to_a_server_and_back_and_keeps_everything(address: str, tmp_path: Path) -> None:
    fields: list[dict[str, Any]] = [
        {"colour": "d'or\n", "price": -(2**63), "weight": 1e-300, "sold": True, "tags": ["x", ""]},
        {"colour": "", "price": 2**63 - 1, "weight": -1e300, "sold": False, "tags": []},
        {"made": date(1969, 1, 1), "weight": -0.0},
        {"seen": datetime(1950, 1, 1, 0, 0, 0, 1)},
    ]
    ids = ["a/'\"🔥", "x" * 1000, "b", "odd\udcff.png"]
    Catalogue.from_embeddings(
        [Item(name, tmp_path / "p.png", row, values) for name, row, values in zip(ids, unit(4), fields, strict=True)],
        tmp_path / "shop",
        images=tmp_path,
    )
    first = Catalogue.open(tmp_path / "shop")
    first.add([Item("later", None, unit(1, 5)[0], {"number": 7})])
    write_skipped(first._store, [Skipped("b\udcff.png", "damaged")])
    first.backup(address)
    there = Catalogue.open(address)
    assert there.snapshot.items.schema == first.snapshot.items.schema and rows_of(there) == rows_of(first)
    Catalogue.restore(address, tmp_path / "back")
    back = Catalogue.open(tmp_path / "back")
    assert back.snapshot.items.schema == first.snapshot.items.schema and rows_of(back) == rows_of(first)
    assert back.info().skipped == there.info().skipped == 1
    assert [hit.id for hit in back.search(id="later", k=5)] == [hit.id for hit in there.search(id="later", k=5)]


def test_a_catalogue_on_a_server_lives_as_one_in_a_folder_does(address: str, tmp_path: Path) -> None:
    def make_items() -> list[Item]:
        rows = unit(30)
        return [Item(f"s{number:02d}", embedding=rows[number], fields={"price": number}) for number in range(30)]

    pair = [Catalogue.from_embeddings(make_items(), where, images=tmp_path) for where in (tmp_path / "shop", address)]
    for catalogue in pair:
        catalogue.add([Item("new", embedding=unit(1, 3)[0], fields={"price": 99, "brand": "x"})])
        catalogue.replace([Item("s03", embedding=unit(1, 4)[0], fields={"price": 3})])
        assert catalogue.delete(["s04"], where="price between 20 and 22 or brand = 'y'") == 4
    folder, server = pair
    requests = [
        {},
        {"where": {"price": {"<": 12}}},
        {"where": "price > 5 and not price in (7, 8)"},
        {"where": {"brand": "x"}},
    ]
    for some in requests:
        for ann in (10**9, 0):  # all in memory, and by the engine
            reader = Catalogue(MilvusStore(address), exact_items=ann)
            hits = reader.search(embedding=unit(1, 9)[0], k=12, fields=["*"], **some)  # type: ignore[arg-type]
            assert hits == folder.search(embedding=unit(1, 9)[0], k=12, fields=["*"], **some)  # type: ignore[arg-type]
    assert len(server) == 27 and server.get("new").fields == {"price": 99, "brand": "x"}
    with pytest.raises(CatalogueError, match="keeps no earlier versions"):
        server.versions()
    with pytest.raises(CatalogueError, match="keeps no earlier versions"):
        Catalogue.open(address, version=1)
    assert "27 items of 8 numbers" in str(server.info())
    server.compact(keep=timedelta(0))
    assert len(Catalogue.open(address)) == 27


@pytest.mark.slow
def test_an_index_on_a_server_is_tuned_and_new_items_are_found(address: str, tmp_path: Path) -> None:
    rows = unit(1_500)
    items = [Item(f"{number:04d}", embedding=row) for number, row in enumerate(rows)]
    catalogue = Catalogue.from_embeddings(items, address, images=tmp_path)
    large = Catalogue(catalogue._store, exact_items=100)
    large.compact()
    large.add([Item("new", embedding=unit(1, 5)[0])])
    info = large.info()
    assert info.ann is not None and info.ann.recall >= 0.98 and info.index is not None and info.index.waiting == 1
    assert large.search(embedding=unit(1, 5)[0], k=1)[0].id == "new"
    assert large.search(embedding=rows[7], k=1)[0].id == "0007"


@pytest.mark.parametrize("rows", [1_500, 300])
def test_an_index_is_waited_for_until_it_is_loaded_where_a_file_is_large_enough_for_one(
    items: MilvusItems, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    call, answers = items._store.call, iter([0, 0, 7])
    segments = [SimpleNamespace(num_rows=rows, state="Sealed", index_id=0)]

    def answer(method: str, *args: Any, **named: Any) -> Any:
        if method == "list_loaded_segments":
            segments[0].index_id = next(answers)
            return segments
        return call(method, *args, **named)

    monkeypatch.setattr(items._store, "call", answer)
    items.build_index()
    assert len(list(answers)) == (0 if rows == 1_500 else 2)


def test_embeddings_come_back_as_they_were(items: MilvusItems) -> None:
    items.insert(table(["a", "b"], unit(2)))
    got = items.get(["a"], ["embedding"])
    assert np.array_equal(embeddings_of(got["embedding"])[0], unit(2)[0])


def test_a_catalogue_on_a_milvus_server_is_served_the_same(tmp_path: Path, milvus_server: str) -> None:
    pytest.importorskip("fastapi", reason="the extra is not installed: pip install 'itma[serve]'")
    from fastapi.testclient import TestClient

    from itma.server.app import make_app
    from itma.server.config import Keys, ServeConfig
    from tests import served
    from tests.test_serve import API, WRITES, add, search

    here = Catalogue.open(served.build(tmp_path, 12), made_up.model())
    address = f"{milvus_server}/serve"
    here.backup(address)
    config = ServeConfig(address, hosts=("*",), write=True, uploads=str(tmp_path / "uploads"))
    with TestClient(make_app(config, Keys(write=(served.WRITE,)), made_up.model())) as client:
        assert client.get(f"{API}/catalogue").json()["items"] == 12
        ids: list[str] = []
        after = None
        while True:
            page = client.get(f"{API}/items", params={"limit": 5, **({"after": after} if after else {})}).json()
            ids += [item["id"] for item in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert sorted(ids) == here.ids
        request: dict[str, Any] = {"id": "item-03", "text": "make red cube", "where": {"colour": "blue"}}
        hits = search(client, **request)["hits"]
        assert [hit["id"] for hit in hits] == [hit.id for hit in here.search(**request)]
        assert client.get(f"{API}/item/thumbnail", params={"id": "item-03"}).status_code == 200
        assert add(client, "new", served.as_bytes(served.noise(5)), colour="blue").status_code == 201
        assert "new" in [hit["id"] for hit in search(client, **request)["hits"]]
        assert client.delete(f"{API}/item", params={"id": "new"}, headers=WRITES).json() == {"removed": 1}
