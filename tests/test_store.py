"""What every engine must keep: one suite, over all engines there are."""

import itertools
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from itma.errors import CatalogueError, FilterError, UnknownNameError
from itma.retrieval import exact
from itma.retrieval.exact import Matrix, nearest
from itma.retrieval.filters import Filter, filter_of, ids_in
from itma.retrieval.stores.base import (
    Effort,
    Items,
    Store,
    embedding_column,
    embeddings_of,
    metadata_of,
    schema_of,
)
from itma.retrieval.stores.bucket import BucketStore
from itma.retrieval.stores.lance import LanceItems, LanceStore
from itma.retrieval.stores.milvus import MilvusStore

pytest.importorskip("lance")
pa = pytest.importorskip("pyarrow")

DIM = 16
METADATA = [
    pa.field("colour", pa.string()),
    pa.field("price", pa.int64()),
    pa.field("weight", pa.float64()),
    pa.field("sold", pa.bool_()),
    pa.field("tags", pa.list_(pa.string())),
    pa.field("Made on (year)", pa.timestamp("us")),
]


class Engine:
    """Gives stores at empty places of their own, and such with an empty table in them.

    Args:
        make_store: makes a store of its own for each number.
        ahead: so many tables are made before they are asked for.
        remote: whether it is a server, with which loops over many changes are slow.
        locks: whether the engine keeps a second writer out.
        keeps_versions: whether earlier states can be opened, and a handle shows the state it was opened at.
    """

    def __init__(
        self,
        make_store: Callable[[int], Store],
        *,
        ahead: int = 0,
        remote: bool = True,
        locks: bool = False,
        keeps_versions: bool = True,
    ) -> None:
        self._make_store, self._numbers, self._ahead, self.remote = make_store, itertools.count(), ahead, remote
        self.locks, self.keeps_versions = locks, keeps_versions
        self._ready: deque[tuple[Store, Items]] = deque()

    def store(self) -> Store:
        return self._make_store(next(self._numbers))

    def items(self) -> tuple[Store, Items]:
        while len(self._ready) <= self._ahead:  # a server loads some tables while it answers others
            store = self.store()
            store.write("catalogue.json", "{}")
            self._ready.append((store, store.create("items-1", schema_of(DIM, METADATA))))
        return self._ready.popleft()


@pytest.fixture(scope="module", params=["lance", "s3", "milvus"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    if request.param == "lance":
        return Engine(
            lambda number: LanceStore(tmp_path_factory.mktemp("lance") / "catalogue"), remote=False, locks=True
        )
    if request.param == "s3":
        bucket = request.getfixturevalue("bucket")
        return Engine(lambda number: BucketStore(f"{bucket}/contract{number}"))
    server = request.getfixturevalue("milvus_server")
    return Engine(lambda number: MilvusStore(f"{server}/contract{number}"), ahead=4, keeps_versions=False)


@pytest.fixture
def store(engine: Engine) -> Store:
    return engine.store()


@pytest.fixture
def share(engine: Engine, request: pytest.FixtureRequest) -> Callable[[int], int]:
    """How many tries of so many: half; a fifth with a server, where each takes a tenth of a second; all with --slow."""
    part = 1 if request.config.getoption("--slow") else 5 if engine.remote else 2
    return lambda tries: tries // part


@pytest.fixture
def without_server(engine: Engine, request: pytest.FixtureRequest) -> None:
    """For what takes more than ten seconds with a server."""
    if engine.remote and not request.config.getoption("--slow"):
        pytest.skip("slow with a server; runs with --slow")


@pytest.fixture
def store_and_items(engine: Engine) -> tuple[Store, Items]:
    return engine.items()


@pytest.fixture
def items(store_and_items: tuple[Store, Items]) -> Items:
    return store_and_items[1]


def unit(rows: int, seed: int = 0) -> np.ndarray:
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal((rows, DIM)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def table(ids: list[str], seed: int = 0, **columns: list[Any]) -> Any:
    """Rows with made-up embeddings; single columns of metadata may be given."""
    types = {field.name: field.type for field in METADATA}
    arrays = {name: pa.array(values, types[name]) for name, values in columns.items()}
    stamps = pa.array([seed] * len(ids), pa.int64())
    return pa.table({"id": ids, "embedding": embedding_column(unit(len(ids), seed)), "_stamp": stamps, **arrays})


def ids_of(items: Items, where: Filter | None = None) -> list[str]:
    return sorted(name for batch in items.scan(["id"], where=where) for name in batch.column("id").to_pylist())


def matching(items: Items, where: Any) -> list[str]:
    return ids_of(items, filter_of(where, metadata_of(items.schema)))


# -- documents and tables ---------------------------------------------------------------------------------------------


def test_a_document_is_read_as_it_was_written(store: Store) -> None:
    assert store.read("about.json") is None and store.stamp("about.json") is None
    store.write("about.json", "grün\n")
    first = store.stamp("about.json")
    assert store.read("about.json") == "grün\n" and store.stamp("about.json") == first
    store.write("about.json", "blue and longer")
    assert store.read("about.json") == "blue and longer" and store.stamp("about.json") != first


def test_tables_are_made_listed_opened_and_dropped(store: Store) -> None:
    assert store.tables() == []
    store.create("items-1", schema_of(DIM)).insert(table(["a"]))
    store.create("items-2", schema_of(DIM))
    assert store.tables() == ["items-1", "items-2"]
    assert ids_of(store.open("items-1")) == ["a"]
    store.drop("items-1")
    store.drop("items-1")
    assert store.tables() == ["items-2"]
    with pytest.raises(CatalogueError, match=r"items[-_]1"):
        store.open("items-1")


def test_a_second_writer_is_kept_out_where_the_engine_locks_and_let_in_where_not(engine: Engine) -> None:
    store = engine.store()
    store.write("catalogue.json", "{}")
    message = r"being written by process \d+ .*\(indexing photos, since"
    refused = pytest.raises(CatalogueError, match=message) if engine.locks else nullcontext()
    with store.writing("indexing photos"), refused, store.writing("adding"):
        pass
    with store.writing("adding"):
        pass


# -- rows -------------------------------------------------------------------------------------------------------------


def test_what_is_inserted_is_scanned_counted_and_got(items: Items) -> None:
    rows = table(["b", "a", "c"], colour=["red", None, "blue"], price=[1, 2, None])
    items.insert(rows)
    assert items.count() == 3 and ids_of(items) == ["a", "b", "c"]
    got = items.get(["a", "c", "none"], ["id", "colour", "price", "embedding"])
    values = {row["id"]: (row["colour"], row["price"]) for row in got.drop_columns("embedding").to_pylist()}
    assert values == {"a": (None, 2), "c": ("blue", None)}
    row = got["id"].to_pylist().index("c")
    assert np.array_equal(embeddings_of(got["embedding"])[row], unit(3)[2])
    assert items.get([], ["id", "price"]).num_rows == 0 and items.get(["none"], ["id"]).num_rows == 0


def test_an_upsert_takes_the_place_of_the_same_ids_and_adds_the_others(items: Items) -> None:
    items.insert(table(["a", "b"], price=[1, 2]))
    items.upsert(table(["b", "c"], seed=1, price=[20, 30]))
    got = items.get(["a", "b", "c"], ["id", "price"])
    assert dict(zip(got["id"].to_pylist(), got["price"].to_pylist(), strict=True)) == {"a": 1, "b": 20, "c": 30}
    assert items.count() == 3


def test_deleting_passes_over_what_is_not_there(items: Items) -> None:
    items.insert(table(["a", "b", "c"]))
    items.delete(["b", "none"])
    items.delete([])
    assert ids_of(items) == ["a", "c"]


def test_thousands_of_ids_are_got_and_deleted_at_once(items: Items) -> None:
    names = [f"shelf/{number}" for number in range(5_000)]
    items.insert(table(names))
    before = items.version
    assert sorted(items.get(names[1:], ["id"])["id"].to_pylist()) == sorted(names[1:])
    items.delete(names[1:])
    assert ids_of(items) == names[:1]
    assert items.version > before


def test_pages_hold_every_item_once_and_only_what_matches(items: Items) -> None:
    items.insert(table([f"i{n:03d}" for n in range(90)], colour=["red" if n % 3 else "blue" for n in range(90)]))
    items.delete(["i004", "i005"])
    for where, expected in ((None, 88), (filter_of({"colour": "blue"}, metadata_of(items.schema)), 30)):
        ids, after = [], None
        while True:
            page, after = items.page(["id"], 20, after=after, where=where)
            ids += page["id"].to_pylist()
            if after is None:
                break
        assert sorted(ids) == ids_of(items, where)
        assert len(ids) == expected


@pytest.fixture(scope="module")
def names(engine: Engine) -> Items:
    _, items = engine.items()
    items.insert(table(["other"]))
    return items


@pytest.mark.parametrize(
    "name",
    ["it's", 'say "yes"', "a/b\\c", "`", "🔥", "x" * 1000, " ", "a\nb", "--", ";", "% _", "\0ff", "\ud7ff\ue000"],
)
def test_an_id_is_any_text(names: Items, name: str) -> None:
    names.insert(table([name]))
    assert names.get([name], ["id"])["id"].to_pylist() == [name]
    names.upsert(table([name], seed=1))
    assert names.count() == 2
    names.delete([name])
    assert ids_of(names) == ["other"]


def test_new_columns_are_null_in_old_rows(items: Items) -> None:
    items.insert(table(["a"]))
    items.add_columns([pa.field("brand", pa.string()), pa.field("stock", pa.int64())])
    rows = table(["b"]).append_column("brand", pa.array(["none"])).append_column("stock", pa.array([3]))
    items.insert(rows)
    assert metadata_of(items.schema)["brand"] == pa.string()
    assert matching(items, {"brand": None}) == ["a"] and matching(items, {"stock": 3}) == ["b"]


# -- versions ---------------------------------------------------------------------------------------------------------


def test_a_handle_that_was_opened_gives_the_newest_state_as_another_object(engine: Engine) -> None:
    store, items = engine.items()
    items.insert(table(["a"]))
    reader = store.open("items-1")
    assert reader.newest() is reader
    items.insert(table(["b"]))
    newest = reader.newest()
    assert ids_of(newest) == ["a", "b"] and newest.version == items.version
    if engine.keeps_versions:
        assert ids_of(reader) == ["a"]


def test_an_earlier_version_is_listed_and_opened_or_refused_where_there_is_none(engine: Engine) -> None:
    store, items = engine.items()
    items.insert(table(["a"]))
    then = items.version
    items.insert(table(["b", "c"]))
    if not engine.keeps_versions:
        with pytest.raises(CatalogueError, match="keeps no earlier versions"):
            store.open("items-1", version=then)
        with pytest.raises(CatalogueError, match="keeps no earlier versions"):
            items.versions()
        return
    counts = {version.number: version.items for version in items.versions()}
    assert counts[then] == 1 and counts[items.version] == 3
    earlier = store.open("items-1", version=then)
    assert ids_of(earlier) == ["a"] and earlier.newest() is earlier
    with pytest.raises(UnknownNameError, match="unknown version 99"):
        store.open("items-1", version=99)


def test_compacting_keeps_the_items_and_forgets_old_versions(engine: Engine) -> None:
    _, items = engine.items()
    for number in range(6):
        items.insert(table([f"{number}"], seed=number))
    items.delete(["3"])
    items.compact(timedelta(days=1))
    if engine.keeps_versions:
        assert len(items.versions()) > 6
    items.compact(timedelta(0))
    if engine.keeps_versions:
        assert len(items.versions()) <= 2
    assert ids_of(items) == ["0", "1", "2", "4", "5"]
    assert items.nearest(unit(1, 4), 1)[0][0][0] == "4"


# -- conditions -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(engine: Engine) -> Items:
    _, items = engine.items()
    items.insert(
        table(
            ["a", "b", "c", "d"],
            colour=["red", "blue", "d'or", None],
            price=[10, 20, 30, None],
            weight=[0.5, 1.5, None, 2.0],
            sold=[True, False, None, True],
            tags=[["x", "it's"], ["y"], [], None],
        )
    )
    return items


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, "abcd"),
        ({"colour": "red"}, "a"),
        ({"colour": "d'or"}, "c"),
        ({"colour": None}, "d"),
        ({"colour": {"!=": None}}, "abc"),
        ({"colour": ["red", "blue"]}, "ab"),
        ({"colour": ["red", None]}, "ad"),
        ({"colour": []}, ""),
        ({"colour": {"!=": "red"}}, "bcd"),
        ({"colour": {"not in": ["red", "blue"]}}, "cd"),
        ({"colour": {"not in": ["red", None]}}, "bc"),
        ({"colour": {">": "c"}}, "ac"),
        ({"price": 20}, "b"),
        ({"price": 20.0}, "b"),
        ({"price": {"<": 20.5}}, "ab"),
        ({"price": {">=": 20, "<": 30}}, "b"),
        ({"price": {"<": 30}, "sold": True}, "a"),
        ({"price": np.int32(30)}, "c"),
        ({"weight": 2}, "d"),
        ({"weight": {"<=": 1.5}}, "ab"),
        ({"sold": False}, "b"),
        ({"tags": "x"}, "a"),
        ({"tags": ["x", "y"]}, "ab"),
        ({"tags": "it's"}, "a"),
        ({"tags": {"!=": "x"}}, "bcd"),
        ({"tags": None}, "d"),
        ("colour = 'red' or price > 20", "ac"),
        ("colour like 'b%' and not price > 20", "b"),
        ("colour <> 'red'", "bc"),
        ("not (colour in ('red') or sold = true)", "b"),
        ("price between 10 and 20 and weight is not null", "ab"),
        ("array_has(tags, 'y') or sold is null", "bc"),
        ("colour = 'no;--'", ""),
        ("\"colour\" = 'red'", "a"),
        ("`price` >= 20 and COLOUR = 'blue'", "b"),
        ("not (weight > 1)", "a"),
        ("30 > price", "ab"),
        ("not sold", "b"),
        ("tags = 'x' or tags in ('y')", "ab"),
        ("price not between 15 and 25", "ac"),
    ],
)
def test_a_condition_finds_what_it_says(shop: Items, where: Any, expected: str) -> None:
    assert "".join(matching(shop, where)) == expected
    assert shop.count(filter_of(where, metadata_of(shop.schema))) == len(expected)


def test_times_are_compared(items: Items) -> None:
    from datetime import date, datetime

    items.insert(table(["a", "b"], **{"Made on (year)": [datetime(2020, 1, 1), datetime(2021, 6, 1, 12)]}))
    assert matching(items, {"Made on (year)": {"<": date(2021, 1, 1)}}) == ["a"]
    assert matching(items, {"Made on (year)": "2021-06-01T12:00:00"}) == ["b"]


@pytest.mark.parametrize("where", [{"colr": "red"}, "colr = 'red'"])
def test_a_column_that_is_not_there_is_named_with_those_that_are(shop: Items, where: Any) -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown column 'colr'; choose from: .*colour, id, price.*Did you mean"
    ):
        matching(shop, where)


@pytest.mark.parametrize(
    "where",
    ["colour = 'red", "colour = 'red'; drop table items", "true -- more", "a /* b", "", "  ", "price <", "price < 'x'"],
)
def test_a_text_that_is_no_condition_is_refused(shop: Items, where: str) -> None:
    with pytest.raises(FilterError, match="condition"):
        matching(shop, where)
    assert shop.count() == 4


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"price": "cheap"}, "'price' holds whole numbers; 'cheap' cannot"),
        ({"price": True}, "True cannot"),
        ({"price": 2**63}, "beyond 64 bits"),
        ({"price": float("nan")}, "no number"),
        ({"price": {"in": 3}}, "give a list"),
        ({"price": {"<": None}}, "None goes with"),
        ({"colour": 3}, "holds text; 3 cannot"),
        ({"colour": b"red"}, "holds text"),
        ({"colour": "\ud800"}, "no valid text"),
        ({"sold": 1}, "holds true or false; 1 cannot"),
        ({"tags": {"<": "x"}}, "no order"),
        ({"Made on (year)": "yesterday"}, "write it as 2026-01-31"),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_refused(shop: Items, where: Any, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        matching(shop, where)


def test_an_unknown_comparison_is_named_with_those_that_are_known(shop: Items) -> None:
    with pytest.raises(UnknownNameError, match="unknown comparison '=='; choose from: !=, <"):
        matching(shop, {"price": {"==": 3}})


HOSTILE = st.text(alphabet=st.sampled_from("'\"`\\;-*/%_ \n\tOR1=()ax🔥é"), max_size=12) | st.text(max_size=8)


def test_no_text_leaves_its_quotes(items: Items, share: Callable[[int], int]) -> None:
    items.insert(table(["a", "b"], colour=["plain", "other"]))

    @hypothesis.given(HOSTILE, HOSTILE)
    @hypothesis.settings(max_examples=share(60))
    def holds(value: str, other: str) -> None:
        hypothesis.assume(value not in ("plain", "other"))
        assert matching(items, {"colour": value}) == []
        assert matching(items, {"colour": {"!=": value}}) == ["a", "b"]
        assert matching(items, {"colour": [value, "plain", other]}) in (["a"], ["a", "b"])
        assert ids_of(items, ids_in([value, "b"])) in (["b"], ["a", "b"])
        assert matching(items, {"tags": value}) == []
        items.upsert(table(["c"], colour=[value]))
        assert matching(items, {"colour": value}) == ["c"]
        items.delete(["c"])

    holds()


def test_numbers_are_compared_as_in_python(items: Items, share: Callable[[int], int]) -> None:
    values = [-(2**63), -1, 0, 7, 2**53 + 1, 2**63 - 1]
    items.insert(table([f"{value}" for value in values], price=values, weight=[float(value) for value in values]))

    @hypothesis.given(st.sampled_from(values) | st.integers(-(2**63), 2**63 - 1))
    @hypothesis.settings(max_examples=share(30))
    def whole(value: int) -> None:
        assert matching(items, {"price": {"<": value}}) == sorted(f"{each}" for each in values if each < value)
        assert matching(items, {"price": value}) == sorted(f"{each}" for each in values if each == value)

    @hypothesis.given(st.floats(allow_nan=False, allow_infinity=False))
    @hypothesis.settings(max_examples=share(30))
    def real(value: float) -> None:
        assert matching(items, {"weight": {">=": value}}) == sorted(
            f"{each}" for each in values if float(each) >= value
        )

    whole()
    real()


# -- the nearest ------------------------------------------------------------------------------------------------------


def slow(query: np.ndarray, embeddings: np.ndarray, ids: list[str], k: int) -> list[tuple[str, float]]:
    scores = np.round((embeddings.astype(np.float64) @ query.astype(np.float64)), 6).tolist()
    return sorted(zip(ids, scores, strict=True), key=lambda hit: (-hit[1], hit[0]))[:k]


def close(hits: list[tuple[str, float]], expected: list[tuple[str, float]]) -> bool:
    return [name for name, _ in hits] == [name for name, _ in expected] and bool(
        np.allclose([score for _, score in hits], [score for _, score in expected], atol=2e-6)
    )


def test_all_are_compared_where_no_effort_is_named(items: Items) -> None:
    names = [f"{number:03d}" for number in range(300)]
    items.insert(table(names, price=list(range(300))))
    queries = unit(3, seed=9)
    answers = items.nearest(queries, 7)
    assert all(close(hits, slow(query, unit(300), names, 7)) for hits, query in zip(answers, queries, strict=True))
    few = filter_of({"price": {"<": 5}}, metadata_of(items.schema))
    answers = items.nearest(queries, 7, where=few)
    assert all(close(hits, slow(q, unit(300)[:5], names[:5], 7)) for hits, q in zip(answers, queries, strict=True))


def test_an_index_finds_k_of_whatever_matches_and_what_came_after_it(items: Items) -> None:
    names = [f"{number:04d}" for number in range(2_000)]
    items.insert(table(names, price=list(range(2_000))))
    assert items.index_state() is None
    items.build_index()
    items.insert(table(["new"], seed=77, price=[5_000]))
    state = items.index_state()
    assert state is not None and (state.indexed, state.waiting) == (2_000, 1)
    most, least = items.efforts()[-1], items.efforts()[0]
    hits = {name for name, _ in items.nearest(unit(1, 9), 10, effort=most)[0]}
    assert len(hits & {name for name, _ in slow(unit(1, 9)[0], unit(2_000), names, 10)}) >= 9
    assert items.nearest(unit(1, 77), 1, effort=least)[0][0] == ("new", pytest.approx(1, abs=1e-5))
    for matching_items in (1, 12, 200):
        rare = filter_of({"price": {"<": matching_items}}, metadata_of(items.schema))
        assert len(items.nearest(unit(1, 9), 12, where=rare, effort=least)[0]) == min(12, matching_items)
    items.compact(timedelta(days=1))
    state = items.index_state()
    assert state is not None and state.indexed + state.waiting == 2_001


def clustered(count: int) -> tuple[np.ndarray, list[str], Any]:
    """Embeddings around 60 centres, their ids, and the table of both."""
    random = np.random.Generator(np.random.PCG64(3))
    noise = 0.3 * random.standard_normal((count, DIM)).astype(np.float32)
    rows = unit(60, seed=5)[random.integers(0, 60, count)] + noise
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    names = [f"{number:05d}" for number in range(count)]
    plain = table(names, price=[number % 3 for number in range(count)])
    return rows, names, plain.set_column(1, "embedding", embedding_column(rows))


@pytest.mark.usefixtures("without_server")
def test_what_an_effort_finds_is_found_after_changes_and_compacting_too(items: Items) -> None:
    rows, names, whole = clustered(14_000)
    items.insert(whole.slice(0, 9_000))
    items.build_index()

    best = {
        count: [{name for name, _ in slow(query, rows[:count], names[:count], 10)} for query in rows[:30]]
        for count in (9_000, 14_000)
    }

    def recall(effort: Effort, count: int) -> float:
        hits = [
            {name for name, _ in items.nearest(query[None], 10, effort=effort)[0]} & right
            for query, right in zip(rows, best[count], strict=False)
        ]
        return sum(map(len, hits)) / 300

    effort = next(one for one in items.efforts() if recall(one, 9_000) > 0.93)
    items.insert(whole.slice(9_000))
    items.compact(timedelta(0))
    state = items.index_state()
    assert recall(effort, 14_000) > 0.88
    assert state is not None and (state.indexed, state.waiting) == (14_000, 0)


@pytest.mark.usefixtures("without_server")
def test_a_condition_costs_no_recall(items: Items) -> None:
    rows, names, whole = clustered(9_000)
    items.insert(whole)
    items.build_index()
    third = filter_of({"price": 1}, metadata_of(items.schema))

    def recall(effort: Effort, where: Filter | None, step: int) -> float:
        count = 0
        for query in rows[:20]:
            right = {name for name, _ in slow(query, rows[step // 3 :: step], names[step // 3 :: step], 10)}
            count += len(right & {name for name, _ in items.nearest(query[None], 10, where=where, effort=effort)[0]})
        return count / 200

    little, most = items.efforts()[2], items.efforts()[-1]  # how well little does differs from one k-means to the next
    assert recall(little, third, 3) >= recall(little, None, 1) - 0.03
    assert recall(most, third, 3) >= 0.97


def test_equal_scores_stand_in_the_order_of_ids(items: Items) -> None:
    same = table(["c", "a", "b"]).set_column(1, "embedding", embedding_column(np.repeat(unit(1), 3, axis=0)))
    items.insert(same)
    assert [name for name, _ in items.nearest(unit(1), 3)[0]] == ["a", "b", "c"]
    assert [name for name, _ in Matrix(items).nearest(unit(1), 2)[0]] == ["a", "b"]


# -- the matrix -------------------------------------------------------------------------------------------------------


def test_the_best_rows_are_those_of_a_full_sort() -> None:
    random = np.random.Generator(np.random.PCG64(1))
    embeddings = random.integers(-2, 3, size=(200, 4)).astype(np.float32)  # few values: many ties
    names = [f"{row:03d}" for row in random.permutation(200)]
    queries = random.integers(-2, 3, size=(5, 4)).astype(np.float32)
    for share in (0, 0.005, 0.1, 0.9, 1):
        mask = random.random(200) < share
        for k in (1, 3, 50, 199, 200, 300):
            matching = [name for name, there in zip(names, mask, strict=True) if there]
            expected = [slow(query, embeddings[mask], matching, k) for query in queries]
            assert list(nearest(queries, embeddings, names, k, mask)) == expected
    whole = [slow(query, embeddings, names, 20) for query in queries]
    assert list(nearest(queries, embeddings, names, 20)) == whole


def test_the_matrix_keeps_its_rounded_embeddings_in_step(items: Items, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_ROUNDED_FROM", 0)
    items.insert(table([f"{number}" for number in range(200)]))
    matrix = Matrix(items)
    matrix.nearest(unit(1), 5)
    items.upsert(table(["7", "new"], seed=8))
    after = Matrix(items, matrix)
    assert after._buffer is matrix._buffer
    assert np.array_equal(after._buffer.rounded[: len(after.ids)], after.embeddings.astype(np.float16))
    for number in range(5):
        assert after.nearest(unit(1, number), 5) == Matrix(items).nearest(unit(1, number), 5)


def test_the_matrix_follows_every_change_of_its_table(items: Items, share: Callable[[int], int]) -> None:
    random = np.random.Generator(np.random.PCG64(3))
    items.insert(table([f"{number}" for number in range(40)], price=list(range(40))))
    matrix = Matrix(items)
    for step in range(1, share(40)):
        names = sorted({f"{number}" for number in random.integers(0, 60, size=random.integers(1, 6))})
        if step % 3:
            items.upsert(table(names, seed=step, price=[step] * len(names)))
        else:
            items.delete(names)
        matrix = Matrix(items, matrix)
        fresh = Matrix(items)
        for where in (None, filter_of({"price": {"<": 20}}, metadata_of(items.schema))):
            assert matrix.nearest(unit(2, 9), 60, where=where) == fresh.nearest(unit(2, 9), 60, where=where)
        assert len(matrix) == items.count()


def test_a_count_that_failed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = LanceStore(tmp_path / "catalogue").create("items-1", schema_of(DIM, METADATA))
    items.insert(table([f"{number:04d}" for number in range(3_000)], price=list(range(3_000))))
    where, count, counts = filter_of({"price": {">=": 500}}, metadata_of(items.schema)), LanceItems.count, []

    def fail_once(self: LanceItems, where: Filter | None = None) -> int:
        counts.append(where)
        if len(counts) == 1:
            raise OSError("the disk is gone")
        return count(self, where)

    monkeypatch.setattr(LanceItems, "count", fail_once)
    with pytest.raises(OSError, match="the disk is gone"):
        items._matching(where)
    assert items._matching(where) == items._matching(where) == 2_500 and len(counts) == 2
