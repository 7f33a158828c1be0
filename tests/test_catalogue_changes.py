"""A catalogue that lives: items come, change and go, copies are made, another model takes over."""

import copy
import os
import pickle
import shutil
import stat
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from itma.cli import cli
from itma.errors import (
    CatalogueError,
    ConfigError,
    DataError,
    FilterError,
    ImageError,
    MissingPackageError,
    StorageError,
    UnknownNameError,
)
from itma.records import Hits
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.rows import Item
from itma.retrieval.request import IndexOptions, SearchRequest
from tests import made_up

pytest.importorskip("lance")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

DIM = 8


def unit(rows: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal((rows, dim)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def make_items(ids: Sequence[str], seed: int = 0, **fields: Sequence[object]) -> list[Item]:
    columns = [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)] or [{}] * len(
        ids
    )
    return [Item(*each) for each in zip(ids, [None] * len(ids), unit(len(ids), seed), columns, strict=True)]


@pytest.fixture
def shop(tmp_path: Path) -> Catalogue:
    """Ten items without images and without a model."""
    ids = [f"s{number}" for number in range(10)]
    colours = [("red", "blue")[number % 2] for number in range(10)]
    return Catalogue.from_embeddings(
        make_items(ids, colour=colours, price=list(range(10))), tmp_path / "shop", images=tmp_path
    )


def test_what_can_be_read_only_once_counts_as_what_it_holds(shop: Catalogue, tmp_path: Path) -> None:
    queries = list(unit(2, 3))
    listed = [SearchRequest(embedding=query, k=2, exclude=["s0"], fields=["colour"]) for query in queries]
    once = [
        SearchRequest(embedding=query, k=2, exclude=(id for id in ["s0"]), fields=(name for name in ["colour"]))  # type: ignore[arg-type]
        for query in queries
    ]
    assert shop.answer(request for request in once) == shop.answer(listed)
    shop.add(item for item in make_items(["a", "b"], 7))
    shop.replace(item for item in make_items(["b"], 8))
    assert {"a", "b"} <= set(shop.ids)
    assert shop.delete(id for id in ["a", "b"]) == 2
    copied = Catalogue.from_embeddings((item for item in make_items(["a", "b"], 7)), tmp_path / "copied")
    assert copied.ids == ["a", "b"]
    options = IndexOptions(leave_out=(name for name in ["note"]), missing=(text for text in ["-"]))  # type: ignore[arg-type]
    assert (options.leave_out, options.missing) == (("note",), ("-",))


@pytest.mark.parametrize("requests", [["in red"], SearchRequest(text="in red"), 3, [None]])
def test_what_is_no_list_of_requests_is_refused(shop: Catalogue, requests: Any) -> None:
    with pytest.raises(DataError, match="answer takes a list of requests"):
        shop.answer(requests)


def test_numbers_of_another_kind_are_refused(shop: Catalogue) -> None:
    with pytest.raises(ConfigError, match="a page of '3' items"):
        shop.page("3")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"threshold='0\.9' is no cosine"):
        shop.near_duplicates("0.9")  # type: ignore[arg-type]


def test_a_request_that_is_given_as_the_image_is_told_where_it_goes(shop: Catalogue) -> None:
    with pytest.raises(DataError, match=r"answer\(\[request\]\)"):
        shop.search(SearchRequest(text="in red"))  # type: ignore[arg-type]


def test_a_catalogue_says_whether_an_id_is_in_it(shop: Catalogue) -> None:
    assert "s3" in shop and "s33" not in shop and 3 not in shop


def test_a_pickled_catalogue_is_opened_anew_at_its_version(shop: Catalogue) -> None:
    before = shop.version
    shop.delete(["s3"])
    assert "s3" not in pickle.loads(pickle.dumps(shop)) and "s3" not in copy.deepcopy(shop)
    earlier = Catalogue.open(str(shop.info().address), version=before)
    assert "s3" in pickle.loads(pickle.dumps(earlier))


def test_some_of_the_hits_are_shown_like_all(shop: Catalogue) -> None:
    hits = shop.search(embedding=unit(1, 3)[0], k=3)
    assert isinstance(hits[:2], Hits) and hits[:2] == list(hits)[:2] and hits[:2].notes == hits.notes
    assert hits[0].rank == 1 and "<img" not in hits[1:]._repr_html_()


def test_deleting_what_is_not_there_names_it(shop: Catalogue) -> None:
    address = str(shop.info().address)
    ended = CliRunner().invoke(cli, ["catalogue", "delete", address, "s3", "s33"])
    assert ended.exit_code == 0 and "removed 1 items" in ended.output and "not there: 's33'" in ended.output


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, six photographs and a catalogue of them."""
    folder = tmp_path_factory.mktemp("built") / "first"
    made_up.model().save(folder / "run")
    (folder / "photos").mkdir()
    for number in range(6):
        noise(number).save(folder / f"photos/{number}.png")
    Catalogue.build(folder / "run", folder / "photos", folder / "catalogue", tokens=True)
    return folder.rename(folder.with_name("moved"))  # so that its copies find what is beside them


@pytest.fixture
def imaged(built: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(built, tmp_path / "copy"))


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (20, 30, 3), dtype=np.uint8))


def search_ids(catalogue: Catalogue, **request: object) -> list[str]:
    return [hit.id for hit in catalogue.search(embedding=unit(1, 5)[0], k=100, **request)]  # type: ignore[arg-type]


# -- items ------------------------------------------------------------------------------------------------------------


def test_items_are_added_replaced_got_and_deleted(shop: Catalogue) -> None:
    shop.add(make_items(["new"], seed=3, price=[99]))
    assert len(shop) == 11 and shop.get("new").fields == {"price": 99}
    assert shop.search(embedding=unit(1, 3)[0], k=1)[0].id == "new"
    shop.replace(make_items(["new", "other"], seed=4, colour=["green", "red"]))
    assert shop.get("new").fields == {"colour": "green"} and len(shop) == 12
    assert shop.search(embedding=unit(1, 3)[0], k=1)[0].score < 0.999
    assert shop.delete(["new", "none"]) == 1 and shop.delete(where={"colour": "blue"}) == 5
    assert sorted(search_ids(shop)) == ["other", "s0", "s2", "s4", "s6", "s8"] == list(shop.ids)
    with pytest.raises(CatalogueError, match="no item 'new'"):
        shop.get("new")


def test_a_new_column_comes_with_the_first_item_that_has_it(shop: Catalogue) -> None:
    shop.add(make_items(["new"], tags=[["x", "y"]], rating=[4.5]))
    assert shop.info().columns["tags"] == "lists of texts" and shop.info().columns["rating"] == "numbers"
    assert search_ids(shop, where={"tags": "y"}) == ["new"] and search_ids(shop, where={"rating": {">": 4}}) == ["new"]
    shop.add(make_items(["whole"], rating=[4]))
    assert shop.get("whole").fields == {"rating": 4.0}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (make_items(["s1"]), "'s1' is in the catalogue already"),
        (make_items(["x", "x"]), "'x' is given twice"),
        ([Item("x")], "neither an image nor an embedding"),
        ([Item("x", embedding=np.full(DIM, np.nan))], "no finite number"),
        ([Item("x", embedding=np.full(DIM, np.inf))], "no finite number"),
        ([Item("x", embedding=np.zeros(DIM))], "all zeros"),
        ([Item("x", embedding=np.ones(DIM + 1))], rf"\(1, {DIM + 1}\); expected {DIM} numbers"),
        ([Item("x", embedding=np.array(["a"] * DIM))], "not an array of numbers"),
        ([Item("", embedding=np.ones(DIM))], "is empty"),
        ([Item("a\0b", embedding=np.ones(DIM))], "zero character"),
        ([Item("\ud800", embedding=np.ones(DIM))], "no valid text"),
        (make_items(["x"], price=["cheap"]), "'price' holds whole numbers in the catalogue; 'cheap' does not fit"),
        (make_items(["x"], price=[2.5]), "'price' holds whole numbers in the catalogue; 2.5 does not fit"),
        (make_items(["x"], price=[2**70]), "'price' cannot be kept"),
        (make_items(["x"], embedding=[1]), "cannot be called 'embedding'"),
        (make_items(["x"], odd=[{"a": 1}]), "metadata are text, numbers"),
        (make_items(["x", "y"], odd=[1, "a"]), r"'odd' holds whole numbers \(1\) as well as text"),
    ],
)
def test_what_cannot_be_added_is_refused_and_nothing_is_written(
    shop: Catalogue, items: list[Item], message: str
) -> None:
    before = shop.version
    with pytest.raises(DataError, match=message):
        shop.add([*make_items(["fine"], seed=9), *items])
    assert shop.version == before and len(shop) == 10


@pytest.mark.parametrize("name", ["a/b\\c", "it's", '"', "🔥", "x" * 1000, " ", "'; drop table items; --", "\n"])
def test_an_id_is_any_text(shop: Catalogue, name: str) -> None:
    shop.add(make_items([name], seed=3))
    assert shop.get(name).id == name
    assert shop.search(embedding=unit(1, 3)[0], k=1)[0].id == name
    assert name not in [hit.id for hit in shop.search(id=name, k=100)]
    assert shop.delete([name]) == 1


def test_images_are_added_by_the_model(imaged: Path) -> None:
    catalogue = Catalogue.open(imaged / "catalogue")
    noise(50).save(imaged / "photos/new.png")
    noise(51).save(imaged / "elsewhere.png")
    (imaged / "bad.png").write_bytes(b"no image")
    name = catalogue.name_of(imaged / "photos/new.png")
    catalogue.add(
        [Item(name, imaged / "photos/new.png"), Item("far", imaged / "elsewhere.png"), Item("mem", noise(52))]
    )
    assert name == "new.png" and catalogue.get("far").image == str(imaged / "elsewhere.png")
    assert catalogue.get("mem").image is None
    assert catalogue.search((imaged / "elsewhere.png").read_bytes(), k=1, keep_same=True)[0].id == "far"
    assert "far" not in [hit.id for hit in catalogue.search(imaged / "elsewhere.png", k=100)]
    with pytest.raises(ImageError, match=r"bad\.png"):
        catalogue.add([Item("fine", noise(53)), Item("bad", imaged / "bad.png")])
    assert len(catalogue) == 9


# -- searching --------------------------------------------------------------------------------------------------------


def test_conditions_come_before_the_search(shop: Catalogue) -> None:
    everything = search_ids(shop)
    for where, expected in (
        ({"colour": "red"}, [name for name in everything if int(name[1]) % 2 == 0]),
        ("price between 3 and 5", [name for name in everything if 3 <= int(name[1]) <= 5]),
        ({"id": ["s1", "s7"]}, [name for name in everything if name in ("s1", "s7")]),
    ):
        assert search_ids(shop, where=where) == expected
        hits = shop.search(embedding=unit(1, 5)[0], k=2, where=where)
        assert [hit.id for hit in hits] == expected[:2]
    with pytest.raises(FilterError, match="cannot be understood"):
        search_ids(shop, where="price <")
    with pytest.raises(UnknownNameError, match=r"unknown column 'colr'; choose from: colour, id, price"):
        search_ids(shop, where={"colr": 1})


@pytest.mark.parametrize(
    ("where", "note"),
    [
        ("colour = 'Red'", "colour = 'Red' matches nothing; near values: red"),
        ({"colour": ["bleu"]}, "colour = 'bleu' matches nothing; near values: blue"),
        ("price > 50 and colour = 'red'", "price > 50 matches nothing; the column holds 0 to 9"),
        ("price = 1 and colour = 'red'", "no item matches all of the condition, though some match each part of it"),
        ("colour like 'RE%'", "colour like 'RE%' (capitals count) matches nothing; near values: red"),
        ("colour = 'ro\u0308t'", "colour = 'r\u00f6t' matches nothing; the column holds, e.g.: red, blue"),
        ("not price >= 0", "no item matches the condition"),
    ],
)
def test_a_search_that_finds_nothing_says_why(shop: Catalogue, where: Any, note: str) -> None:
    hits = shop.search(embedding=unit(1, 5)[0], where=where)
    assert hits == [] and hits.notes == (note,)


def test_a_near_group_holds_only_what_is_near_to_its_first(tmp_path: Path) -> None:
    angles = [0.0, 0.1, 0.2, 0.3, 2.0]  # a chain: each is near to the next
    ring = [Item(f"i{n}", embedding=np.array([np.cos(a), np.sin(a)], np.float32)) for n, a in enumerate(angles)]
    groups = Catalogue.from_embeddings(ring, tmp_path / "ring").near_duplicates(float(np.cos(0.15)))
    assert [group.ids for group in groups] == [("i1", "i0", "i2")]


def test_without_a_threshold_one_is_taken_that_fits_the_scores(tmp_path: Path) -> None:
    spread = unit(40, 3)
    for squeeze in (1.0, 0.05):  # a model that puts everything near to everything else
        centre = np.ones(spread.shape[1], np.float32)
        rows = centre * (1 - squeeze) * 3 + spread * squeeze
        rows = np.concatenate([rows, rows[:1] + squeeze * 0.002 * spread[5:6]])
        items = [Item(f"i{n:02d}", embedding=row) for n, row in enumerate(rows)]
        groups = Catalogue.from_embeddings(items, tmp_path / f"c{squeeze}").near_duplicates()
        assert [group.ids for group in groups] == [("i00", "i40")]


def test_excluded_items_are_left_out_and_k_still_come(shop: Catalogue) -> None:
    first = search_ids(shop)
    hits = shop.search(embedding=unit(1, 5)[0], k=3, exclude=[first[0], first[2], "none"])
    assert [hit.id for hit in hits] == [first[1], first[3], first[4]]


def test_hits_tell_the_fields_that_are_asked_for(shop: Catalogue) -> None:
    (hit,) = shop.search(embedding=unit(1, 5)[0], k=1, fields=["price"])
    assert hit.fields == {"price": int(hit.id[1])} and str(hit).endswith(f"{hit.id}  price={hit.id[1]}")
    (hit,) = shop.search(embedding=unit(1, 5)[0], k=1, fields=["*"])
    assert set(hit.fields) == {"colour", "price"}
    with pytest.raises(UnknownNameError, match="unknown column 'cost'"):
        shop.search(embedding=unit(1, 5)[0], fields=["cost"])


def test_distinct_gives_one_hit_a_value(shop: Catalogue) -> None:
    everything = search_ids(shop)
    red = next(name for name in everything if int(name[1]) % 2 == 0)
    blue = next(name for name in everything if int(name[1]) % 2 == 1)
    assert set(search_ids(shop, distinct="colour")) == {red, blue}
    shop.add(make_items(["without", "too"], seed=8))
    assert {"without", "too"} <= set(search_ids(shop, distinct="colour"))
    assert [hit.id for hit in shop.search(embedding=unit(1, 5)[0], k=1, distinct="colour")] == search_ids(shop)[:1]
    with pytest.raises(UnknownNameError, match="unknown column 'brand'"):
        search_ids(shop, distinct="brand")


def test_distinct_leaves_out_what_is_nearer_than_a_cosine(shop: Catalogue) -> None:
    near = shop.get("s3").embedding
    assert near is not None
    shop.add([Item("s3 again", embedding=near + 0.001)])
    assert "s3 again" in search_ids(shop)
    assert {"s3", "s3 again"} & set(search_ids(shop, distinct=0.99)) in ({"s3"}, {"s3 again"})
    assert len(search_ids(shop, distinct=0.99)) == 10 and len(search_ids(shop, distinct=1.0)) in (10, 11)
    assert len(search_ids(shop, distinct=-1.0)) == 1
    with pytest.raises(ConfigError, match="neither a column nor a cosine"):
        search_ids(shop, distinct=2.0)


def test_a_query_has_one_reference(shop: Catalogue) -> None:
    with pytest.raises(DataError, match="one reference"):
        shop.search(id="s1", embedding=unit(1)[0])
    with pytest.raises(DataError, match="cannot be changed by a sentence"):
        shop.search(text="red", embedding=unit(1)[0])
    with pytest.raises(DataError, match="expected 8 numbers"):
        shop.search(embedding=unit(1, dim=9)[0])
    with pytest.raises(CatalogueError, match="no item 'none'"):
        shop.search(id="none")


def test_many_queries_at_once_answer_as_one_by_one(shop: Catalogue) -> None:
    queries = unit(5, 9)
    together = shop.search_all(queries, 4, where={"colour": "red"}, fields=["price"])
    assert together == [shop.search(embedding=q, k=4, where={"colour": "red"}, fields=["price"]) for q in queries]


def test_without_a_model_items_and_embeddings_can_be_searched_and_words_cannot(shop: Catalogue, tmp_path: Path) -> None:
    assert "s4" not in [hit.id for hit in shop.search(id="s4", k=100)]
    opened = Catalogue.open(tmp_path / "shop")
    with pytest.raises(CatalogueError, match="has no model; search it by an embedding"):
        opened.search(text="red")
    assert "made elsewhere" in repr(opened) and "model: none" in str(opened.info())


@pytest.mark.parametrize("gone", [False, True])
def test_an_item_with_a_sentence_is_searched_as_its_image_is(imaged: Path, gone: bool) -> None:
    expected = Catalogue.open(imaged / "catalogue").search(imaged / "photos/3.png", "make red", k=5)
    if gone:  # the feature maps are kept, as float16
        (imaged / "photos/3.png").unlink()
    catalogue = Catalogue.open(imaged / "catalogue")
    hits = catalogue.search(id="3.png", text="make red", k=5)
    assert [hit.id for hit in hits] == [hit.id for hit in expected]
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=2e-3)
    assert catalogue.info().tokens_bytes == 2 * 64 * 2 * 3


def test_without_kept_maps_the_image_is_read_once(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue.build(built / "run", built / "photos", tmp_path / "c")
    expected = catalogue.search(built / "photos/3.png", "make red", k=5)
    assert catalogue.search(id="3.png", text="make red", k=5) == expected
    monkeypatch.setattr(type(catalogue.model), "feature_maps", None)
    assert catalogue.search(id="3.png", text="make red", k=5) == expected
    assert catalogue.search(id="3.png", text=" ", k=5)[0].id == catalogue.search(id="3.png", k=1)[0].id


def test_an_item_without_image_cannot_be_changed_by_a_sentence(imaged: Path) -> None:
    catalogue = Catalogue.open(imaged / "catalogue")
    catalogue.add([Item("bare", embedding=unit(1, dim=16)[0])])
    assert len(catalogue.search(id="bare", k=3)) == 3
    with pytest.raises(CatalogueError, match="'bare' has no image that a sentence could change"):
        catalogue.search(id="bare", text="red")


# -- versions, readers, places ----------------------------------------------------------------------------------------


def test_an_earlier_version_can_be_searched_and_not_changed(shop: Catalogue, tmp_path: Path) -> None:
    then = shop.version
    shop.delete(["s3"])
    assert [version.items for version in shop.versions() if version.number == then] == [10]
    earlier = Catalogue.open(tmp_path / "shop", version=then)
    assert "s3" in search_ids(earlier) and "s3" not in search_ids(shop) and len(earlier) == 10
    with pytest.raises(CatalogueError, match=f"version {then} .* can only be searched"):
        earlier.delete(["s4"])
    with pytest.raises(UnknownNameError, match="unknown version 999"):
        Catalogue.open(tmp_path / "shop", version=999)


def test_a_reader_sees_what_was_written_before_its_search(shop: Catalogue, tmp_path: Path) -> None:
    reader = Catalogue.open(tmp_path / "shop")
    assert "new" not in search_ids(reader)
    shop.add(make_items(["new"], seed=3))
    assert "new" in search_ids(reader) and len(reader) == 11
    shop.delete(["new"])
    assert "new" not in search_ids(reader)


def test_many_changes_are_tidied_up_by_themselves(shop: Catalogue, tmp_path: Path) -> None:
    for number in range(70):
        shop.replace(make_items(["s1"], seed=number))
    assert len(list((tmp_path / "shop/items-1.lance/data").iterdir())) < 75
    shop.compact(keep=timedelta(0))
    assert len(shop.versions()) <= 2 and len(list((tmp_path / "shop/items-1.lance/data").iterdir())) == 1
    assert len(shop) == 10 and shop.search(embedding=unit(1, 69)[0], k=1)[0].id == "s1"


def test_two_writers_do_not_get_into_each_other_s_way(shop: Catalogue, tmp_path: Path) -> None:
    other = Catalogue.open(tmp_path / "shop")
    with other._store.writing("indexing photos"):
        with pytest.raises(
            CatalogueError, match=rf"being written by process {os.getpid()} on .*\(indexing photos, since"
        ):
            shop.delete(["s1"])
        assert len(search_ids(shop)) == 10
    other.add(make_items(["a"], seed=11))
    shop.add(make_items(["b"], seed=12))
    assert len(other) == len(shop) == 12


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder_is_searched_and_not_written(shop: Catalogue, tmp_path: Path) -> None:
    for path in [tmp_path / "shop", *(tmp_path / "shop").rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    opened = Catalogue.open(tmp_path / "shop")
    assert len(search_ids(opened)) == 10
    with pytest.raises(StorageError, match="cannot be written to"):
        opened.delete(["s1"])


@pytest.mark.parametrize("number", [28, 30])
def test_a_disk_that_cannot_take_more_leaves_everything_as_it_was(
    shop: Catalogue, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(f"LanceError(IO): Generic LocalFileSystem error: some words (os error {number})")

    with monkeypatch.context() as patch:
        patch.setattr("lance.LanceDataset.insert", full)
        with pytest.raises(StorageError, match="disk is full" if number == 28 else "cannot be written to"):
            shop.add(make_items(["x"]))
    assert len(search_ids(shop)) == 10
    shop.add(make_items(["x"]))


def test_a_durable_catalogue_waits_for_the_disk_after_every_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []
    monkeypatch.setattr(os, "sync", lambda: waited.append(True))
    shop = Catalogue.from_embeddings(make_items(["a"]), tmp_path / "shop", durable=True)
    before = len(waited)
    assert before and "loss of power" in str(shop.info())
    shop.add(make_items(["b"]))
    shop.delete(["a"])
    assert len(waited) == before + 2


def test_without_the_engine_the_message_says_what_to_install(
    shop: Catalogue, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "lance", None)
    with pytest.raises(MissingPackageError, match="pip install pylance"):
        Catalogue.open(tmp_path / "shop")
    with pytest.raises(MissingPackageError, match="pip install pylance"):
        Catalogue.build(built / "run", built / "photos", tmp_path / "new")
    assert not (tmp_path / "new").exists()


# -- copies -----------------------------------------------------------------------------------------------------------


def test_a_backup_is_a_catalogue_and_can_be_restored(shop: Catalogue, tmp_path: Path) -> None:
    shop.backup(tmp_path / "backup")
    expected = shop.search(embedding=unit(1, 5)[0], fields=["*"])
    shop.delete(where="true")
    assert len(shop) == 0 and shop.search(embedding=unit(1, 5)[0]) == []
    with pytest.raises(CatalogueError, match="is a catalogue already; choose another path for the copy"):
        shop.backup(tmp_path / "backup")
    with pytest.raises(CatalogueError, match="exists already"):
        Catalogue.restore(tmp_path / "backup", tmp_path / "shop")
    Catalogue.restore(tmp_path / "backup", tmp_path / "shop", replace=True)
    assert shop.search(embedding=unit(1, 5)[0], fields=["*"]) == expected
    assert Catalogue.open(tmp_path / "backup").search(embedding=unit(1, 5)[0], fields=["*"]) == expected
    with pytest.raises(CatalogueError, match="does not exist"):
        Catalogue.restore(tmp_path / "none", tmp_path / "other")


def test_a_backup_of_images_finds_them_and_its_model(imaged: Path, tmp_path: Path) -> None:
    catalogue = Catalogue.open(imaged / "catalogue")
    catalogue.backup(tmp_path / "deep/down/backup")
    copy = Catalogue.open(tmp_path / "deep/down/backup")
    assert copy.search(imaged / "photos/3.png", "make red") == catalogue.search(imaged / "photos/3.png", "make red")


def test_what_is_exported_is_imported_as_it_was(shop: Catalogue, tmp_path: Path) -> None:
    shop.add(make_items(["tagged"], seed=7, tags=[["x"]]))
    for name in ("e.parquet", "e.npz"):
        assert shop.export(tmp_path / name) == 11
        again = Catalogue.from_embeddings(tmp_path / name, tmp_path / name.replace(".", "-"))
        assert [(h.id, h.score) for h in again.search(embedding=unit(1, 5)[0])] == [
            (h.id, h.score) for h in shop.search(embedding=unit(1, 5)[0])
        ]
    parquet = Catalogue.open(tmp_path / "e-parquet")
    assert parquet.get("tagged").fields == {"tags": ["x"]} and parquet.get("s3").fields == {
        "colour": "blue",
        "price": 3,
    }
    with np.load(tmp_path / "e.npz", allow_pickle=False) as file:
        assert list(file["ids"]) == sorted(shop.ids) and file["embeddings"].shape == (11, DIM)
    with pytest.raises(DataError, match=r"ends in \.parquet or \.npz"):
        shop.export(tmp_path / "e.csv")


def test_an_export_with_a_column_called_picture_is_imported_with_its_own_images(imaged: Path, tmp_path: Path) -> None:
    catalogue = Catalogue.open(imaged / "catalogue")
    catalogue.export(tmp_path / "e.parquet")
    table = pq.read_table(tmp_path / "e.parquet")
    pq.write_table(table.append_column("picture", pa.array(["a text"] * len(table))), tmp_path / "e.parquet")
    again = Catalogue.from_embeddings(tmp_path / "e.parquet", tmp_path / "again")
    assert {again.get(name).fields["picture"] for name in again.ids} == {"a text"}


def clip_retrieval(folder: Path, arrays: list[np.ndarray], tables: list[dict[str, list[object]]]) -> Path:
    """A folder as clip-retrieval writes it."""
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    for number, array in enumerate(arrays):
        np.save(folder / "img_emb" / f"img_emb_{number}.npy", array)
    for number, table in enumerate(tables):
        pq.write_table(pa.table(table), folder / "metadata" / f"metadata_{number}.parquet")
    return folder


def test_columns_in_one_text_are_told_to_be_given_one_by_one(tmp_path: Path) -> None:
    catalogue = Catalogue.from_embeddings(make_items(["a"], colour=["red"], price=[1]), tmp_path / "c")
    with pytest.raises(UnknownNameError, match="Give them one by one: --fields colour --fields price"):
        catalogue.search(embedding=unit(1)[0], fields=["colour, price"])


def test_embeddings_as_clip_retrieval_writes_them_are_imported(tmp_path: Path) -> None:
    rows = unit(24, 5).astype(np.float16)
    parts = [rows[2 * number : 2 * number + 2] for number in range(12)]  # of which 10 and 11 are sorted after 9
    tables: list[dict[str, list[object]]] = [
        {"image_path": [f"{number}/a.jpg", f"{number}/b.jpg"], "caption": ["x", None]} for number in range(12)
    ]
    folder = clip_retrieval(tmp_path / "emb", parts, tables)
    for source in (folder, folder / "img_emb"):
        catalogue = Catalogue.from_embeddings(source, tmp_path / f"c-{source.name}", images=tmp_path)
        assert len(catalogue) == 24 and catalogue.get("11/a.jpg").fields == {"caption": "x"}
        assert catalogue.get("11/b.jpg").image == str(tmp_path / "11/b.jpg")
        assert next(iter(catalogue.search(embedding=rows[22].astype(np.float32), k=1))).id == "11/a.jpg"


@pytest.mark.parametrize("there", [True, False])
def test_an_import_whose_images_are_elsewhere_says_so(
    tmp_path: Path, there: bool, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a.png", None, "b/ü.png"]
    pq.write_table(pa.table({"id": list("abc"), "embedding": [[1.0, 0.0]] * 3, "image": names}), tmp_path / "e.parquet")
    (tmp_path / "a.png").touch()
    if there:
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "ü.png").touch()
    Catalogue.from_embeddings(tmp_path / "e.parquet", tmp_path / "c")
    message = f"1 of 2 images are not there: 'b/ü.png'; they were looked for in {str(tmp_path)!r}"
    assert (message in caplog.text) is not there and ("--images" in caplog.text) is not there


def test_a_pipe_is_no_file_of_embeddings(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "e.npy")
    with pytest.raises(DataError, match="is a pipe, a socket or a device, not a file"):
        Catalogue.from_embeddings(tmp_path / "e.npy", tmp_path / "c")


def test_arrays_alone_are_imported_by_their_places(tmp_path: Path) -> None:
    rows = unit(7, 3)
    np.save(tmp_path / "e.npy", rows)
    catalogue = Catalogue.from_embeddings(tmp_path / "e.npy", tmp_path / "c")
    assert next(iter(catalogue.search(embedding=rows[2], k=1))).id == "2" and len(catalogue) == len(rows)


def test_a_column_vector_is_taken_and_awkward_columns_are_left_out_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = {
        "id": [7, 8],
        "vector": [[1.0, 0.0], [0.0, 1.0]],
        "price": [Decimal("1.50"), None],
        "size": [{"w": 1}] * 2,
        "_x": [1, 2],
        "rating": [float("nan"), 2.0],
    }
    pq.write_table(pa.table(table), tmp_path / "e.parquet")
    catalogue = Catalogue.from_embeddings(tmp_path / "e.parquet", tmp_path / "c")
    assert catalogue.get("7").fields == {"price": 1.5} and catalogue.get("8").fields == {"rating": 2.0}
    assert "the column 'size' is left out" in caplog.text and "the column '_x' is left out" in caplog.text


def test_embeddings_that_cannot_be_used_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    np.savez(tmp_path / "nan.npz", ids=np.array(["a", "b"]), embeddings=np.array([[1.0, 2.0], [np.nan, 1.0]]))
    np.savez(tmp_path / "twice.npz", ids=np.array(["a", "a"]), embeddings=np.ones((2, 4)))
    np.savez(tmp_path / "fewer.npz", ids=np.array(["a"]), embeddings=np.ones((2, 4)))
    np.savez(tmp_path / "other.npz", names=np.array(["a"]))
    np.savez(tmp_path / "flat.npz", ids=np.array(["a"]), embeddings=np.ones(1))
    pq.write_table(pa.table({"id": ["a", "b"], "embedding": [[1.0, 2.0], [1.0]]}), tmp_path / "uneven.parquet")
    pq.write_table(pa.table({"id": ["a"], "numbers": [[1.0, 2.0]]}), tmp_path / "unnamed.parquet")
    (tmp_path / "no.parquet").write_bytes(b"no")
    np.save(tmp_path / "cube.npy", np.ones((2, 2, 2)))
    (tmp_path / "text.npy").write_bytes(b"no")
    (tmp_path / "nothing").mkdir()
    clip_retrieval(tmp_path / "short", [np.ones((2, 4))], [{"id": ["a"]}])
    clip_retrieval(tmp_path / "half", [np.ones((1, 4)), np.ones((1, 4))], [{"id": ["a"]}])
    for name, message in (
        ("nan.npz", "row 1 holds a value that is no finite number"),
        ("twice.npz", "the id 'a' stands there twice"),
        ("fewer.npz", "1 ids for 2 embeddings"),
        ("other.npz", "expected arrays ids and embeddings"),
        ("flat.npz", r"the shape is \(1,\)"),
        ("uneven.parquet", "not all lists of one length"),
        ("unnamed.parquet", "no column 'embedding' or 'vector'; .*found: id, numbers"),
        ("cube.npy", r"the shape \(2, 2, 2\); expected \(items, dim\)"),
        ("text.npy", "cannot be read as an array of numbers"),
        ("nothing", "holds no .npy files"),
        ("short", "1 rows with id; expected 2"),
        ("half", "metadata_1.parquet' does not exist, but others like it do"),
        ("no.parquet", "cannot be read as Parquet"),
        ("none.npz", "does not exist"),
        ("nan.csv", "does not exist"),
    ):
        with pytest.raises(DataError, match=message):
            Catalogue.from_embeddings(tmp_path / name, tmp_path / "c")
        assert not (tmp_path / "c").exists(), name


def test_no_array_of_an_import_is_unpickled(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "harm",)

    np.savez(tmp_path / "bad.npz", ids=np.array([Harm()], dtype=object), embeddings=np.ones((1, 4)))
    with pytest.raises(DataError, match="cannot be read"):
        Catalogue.from_embeddings(tmp_path / "bad.npz", tmp_path / "c")
    assert not (tmp_path / "harm").exists()


def test_a_model_that_makes_other_embeddings_is_refused(built: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds embeddings of 8 numbers, but the model 'itma' makes 16"):
        Catalogue.from_embeddings(make_items(["a"]), tmp_path / "c", model=built / "run")
    with_model = Catalogue.from_embeddings(
        [Item("a", embedding=unit(1, dim=16)[0])], tmp_path / "c", model=built / "run"
    )
    assert [hit.id for hit in with_model.search(text="red")] == ["a"]


# -- another model ----------------------------------------------------------------------------------------------------


def test_reindexing_moves_to_another_model_and_readers_follow(imaged: Path) -> None:
    reader = Catalogue.open(imaged / "catalogue")
    writer = Catalogue.open(imaged / "catalogue")
    writer.replace([Item("0.png", imaged / "photos/0.png", fields={"colour": "red"})])
    before = reader.search(text="make red", k=6)
    other = made_up.model(seed=1)
    other.save(imaged / "other")
    outcome = writer.reindex(imaged / "other")
    assert outcome.embedded == 6 and len(writer) == 6 and writer.get("0.png").fields == {"colour": "red"}
    fresh = Catalogue.build(other, imaged / "photos", imaged / "fresh")
    expected = [(hit.id, hit.score) for hit in fresh.search(text="make red", k=6)]
    assert [(hit.id, hit.score) for hit in writer.search(text="make red", k=6)] == expected
    assert [(hit.id, hit.score) for hit in reader.search(text="make red", k=6)] == expected
    assert [(hit.id, hit.score) for hit in before] != expected
    assert Catalogue.open(imaged / "catalogue").model.fingerprint() == other.fingerprint()
    assert sorted(path.name for path in (imaged / "catalogue").glob("*.lance")) == ["items-2.lance"]


def test_reindexing_loses_no_item_silently(imaged: Path) -> None:
    catalogue = Catalogue.open(imaged / "catalogue")
    (imaged / "photos/3.png").unlink()
    before = catalogue.search(text="make red", k=6)
    with pytest.raises(DataError, match=r"images of 1 of 6 items cannot be read; the first is 3\.png.*--leave-out"):
        catalogue.reindex(made_up.model(seed=1))
    assert catalogue.search(text="make red", k=6) == before
    assert sorted(path.name for path in (imaged / "catalogue").glob("*.lance")) == ["items-1.lance"]
    catalogue.reindex(made_up.model(seed=1), leave_out=True)
    assert len(catalogue) == 5 and [skipped.id for skipped in catalogue.skipped] == ["3.png"]


def test_a_reader_whose_new_model_is_nowhere_says_so(imaged: Path) -> None:
    reader = Catalogue.open(imaged / "catalogue")
    Catalogue.open(imaged / "catalogue").reindex(made_up.model(seed=1))
    with pytest.raises(CatalogueError, match="made by a model in memory"):
        reader.search(text="red")


# -- duplicates -------------------------------------------------------------------------------------------------------


def test_the_same_and_nearly_the_same_images_come_in_groups(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built / "photos", tmp_path / "photos")
    shutil.copy(tmp_path / "photos/0.png", tmp_path / "photos/copy.png")
    noise(1).save(tmp_path / "photos/again.bmp")  # the same pixels, other bytes
    catalogue = Catalogue.build(built / "run", tmp_path / "photos", tmp_path / "c")
    groups = catalogue.near_duplicates(0.999999)
    assert [str(group) for group in groups] == ["same  0.png  copy.png", "near  1.png  again.bmp"]
    assert all(
        hit.id != "copy.png" for hit in catalogue.search(id="1.png", k=100, distinct=0.999999) if hit.id == "0.png"
    )
    everything = catalogue.near_duplicates(-1)
    assert [(group.same_content, len(group.ids)) for group in everything] == [(True, 2), (False, 7)]
    with pytest.raises(ConfigError, match="threshold=2"):
        catalogue.near_duplicates(2)


# -- the index --------------------------------------------------------------------------------------------------------


def test_beyond_a_size_an_index_is_made_measured_and_searched(tmp_path: Path) -> None:
    random = np.random.Generator(np.random.PCG64(0))
    centres = unit(30, 1, dim=32)
    rows = centres[random.integers(0, 30, 3_000)] + 0.25 * random.standard_normal((3_000, 32)).astype(np.float32)
    np.savez(tmp_path / "e.npz", ids=np.array([f"{n:04d}" for n in range(3_000)]), embeddings=rows)
    Catalogue.from_embeddings(tmp_path / "e.npz", tmp_path / "c")
    exact = Catalogue.open(tmp_path / "c")
    large = Catalogue(exact._store, exact_items=1_000)
    large.compact(recall=0.95)
    info = large.info()
    assert info.ann is not None and info.ann.effort is not None and info.ann.recall >= 0.95 and not info.exact
    assert "IVF_RQ" in str(info) and "0.95 wanted" in str(info)
    queries = rows[random.integers(0, 3_000, 40)] + 0.05 * random.standard_normal((40, 32)).astype(np.float32)
    shares = []
    for query in queries:
        right = exact.search(embedding=query, k=10)
        hits = large.search(embedding=query, k=10)
        shares.append(len({hit.id for hit in hits} & {hit.id for hit in right}) / 10)
    assert np.mean(shares) > 0.85
    large.add([Item("new", embedding=queries[0])])
    assert large.search(embedding=queries[0], k=1)[0].id == "new"
    assert len(large.search(embedding=queries[0], k=10, where={"id": [f"{n:04d}" for n in range(10)]})) == 10
    assert len(large.search(embedding=queries[0], k=5, exclude=["new"])) == 5
    assert "1 newer items are compared one by one" in str(large.info())
