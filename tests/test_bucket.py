"""A catalogue in a bucket: built, copied, searched; one writer; what it says where the bucket is not to be had."""

import json
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from itma.cli import cli
from itma.errors import BusyError, CatalogueError, ConfigError
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.rows import Item
from itma.retrieval.stores.base import embedding_column
from itma.retrieval.stores.bucket import BucketStore
from tests import made_up
from tests.forked import Program

pytest.importorskip("lance")
pa = pytest.importorskip("pyarrow")

IMAGES = 40
_NUMBERS = count()


@pytest.fixture
def address(bucket: str) -> str:
    return f"{bucket}/shop/catalogue{next(_NUMBERS)}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    made_up.model().save(folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    made_up.photos(folder, [f"{number:02d}.png" for number in range(IMAGES)])
    return folder


def hits(catalogue: Catalogue) -> list[tuple[str, float]]:
    return [(hit.id, round(hit.score, 5)) for hit in catalogue.search(id="07.png", k=5)]


def test_it_is_built_and_fetched_as_any_other(address: str, run: Path, photos: Path, tmp_path: Path) -> None:
    alone = Catalogue.build(run, photos, tmp_path / "alone")
    catalogue = Catalogue.build(run, photos, address)
    assert catalogue.ids == alone.ids and hits(catalogue) == hits(alone)
    assert [each.id for each in catalogue.skipped] == ["broken.png"]
    Catalogue.restore(address, tmp_path / "fetched")
    fetched = Catalogue.open(tmp_path / "fetched")
    assert hits(fetched) == hits(alone) and fetched.info().items == IMAGES


def test_a_second_indexing_finds_all_unchanged(address: str, run: Path, photos: Path) -> None:
    Catalogue.build(run, photos, address)
    again = Catalogue.build(run, photos, address, update=True)
    assert again.outcome is not None and (again.outcome.embedded, again.outcome.unchanged) == (0, IMAGES)


def test_a_folder_is_backed_up_into_a_bucket(address: str, run: Path, photos: Path, tmp_path: Path) -> None:
    alone = Catalogue.build(run, photos, tmp_path / "alone")
    alone.backup(address)
    assert hits(Catalogue.open(address)) == hits(alone)
    with pytest.raises(CatalogueError, match="is a catalogue already"):
        alone.backup(address)


def test_the_command_line_takes_an_address(address: str, run: Path, photos: Path) -> None:
    def output_of(*words: object) -> str:
        done = CliRunner().invoke(cli, ["--quiet", *map(str, words)])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert output_of("index", run, photos, address).startswith(f"indexed {IMAGES} images into {address}")
    output = output_of("search", address, "--image", photos / "07.png", "-k", "5")
    assert len(output.splitlines()) == 5 and "07.png" not in output


def test_two_writers_at_once_both_commit_and_neither_loses_a_row(address: str) -> None:
    Catalogue.from_embeddings([Item("first", embedding=np.eye(4)[0])], address)
    first, second = (BucketStore(address).open("items-1") for _ in range(2))  # both show the same version
    for name, items in (("a", first), ("b", second)):
        items.insert(pa.table({"id": [name], "embedding": embedding_column(np.eye(4, dtype=np.float32)[1:2])}))
    assert Catalogue.open(address).ids == ["a", "b", "first"]


def test_a_change_on_top_of_an_older_state_is_told_of_the_conflict_or_made_again(address: str) -> None:
    Catalogue.from_embeddings([Item(name, embedding=np.eye(4)[0]) for name in "abc"], address)
    first, second = (BucketStore(address).open("items-1") for _ in range(2))
    first.delete(["a"])
    with suppress(BusyError):
        second.delete(["a", "b"])
    second.newest().delete(["b"])
    assert Catalogue.open(address).ids == ["c"]


def test_compacting_leaves_the_files_of_a_writer_at_work(address: str) -> None:
    Catalogue.from_embeddings([Item(name, embedding=np.eye(4)[0]) for name in "abc"], address)
    store = BucketStore(address)
    store.write("items-1.lance/data/unfinished.lance", "written, not committed yet")
    Catalogue.open(address).compact(keep=timedelta(0))
    assert store.read("items-1.lance/data/unfinished.lance") == "written, not committed yet"


def test_an_indexing_that_is_killed_is_finished_by_the_same_call(
    address: str, run: Path, photos: Path, tmp_path: Path
) -> None:
    code = f"""
from itma.retrieval.ingest import indexing
from itma.retrieval.catalogue import Catalogue
indexing.COMMIT_ROWS = 8
commit = indexing._Writer.commit
def told(self):
    commit(self)
    print("committed", flush=True)
indexing._Writer.commit = told
Catalogue.build({str(run)!r}, {str(photos)!r}, {address!r}, batch=4)
"""
    with Program(code) as process:
        for _ in range(2):
            assert process.stdout.readline() == "committed\n"
        process.kill()
    catalogue = Catalogue.build(run, photos, address, update=True)
    assert catalogue.outcome is not None and 0 < catalogue.outcome.embedded < IMAGES
    assert catalogue.ids == Catalogue.build(run, photos, tmp_path / "alone").ids and len(catalogue) == IMAGES


def test_changes_are_seen_by_who_has_it_open(address: str, run: Path, photos: Path) -> None:
    Catalogue.build(run, photos, address)
    reader, writer = Catalogue.open(address), Catalogue.open(address)
    writer.delete(["07.png"])
    writer.add([Item("new", image=photos / "07.png")])
    assert {"new", "07.png"} & set(reader.ids) == {"new"}
    assert "new" in [hit.id for hit in reader.search(image=photos / "08.png", k=IMAGES)]


@pytest.mark.parametrize("address", ["s3://", "s3://bucket", "s3://bucket/", "s3://B/name"])
def test_an_address_without_bucket_or_name_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="s3://BUCKET/NAME"):
        Catalogue.open(address)


def test_a_bucket_that_is_not_there_is_named(bucket: str, run: Path, photos: Path) -> None:
    with pytest.raises(CatalogueError, match="s3://no-such-bucket/shop"):
        Catalogue.build(run, photos, "s3://no-such-bucket/shop")


def test_a_storage_that_cannot_be_reached_is_not_taken_for_somebody_elses_folder(
    address: str, monkeypatch: pytest.MonkeyPatch, run: Path, photos: Path
) -> None:
    def fail(store: BucketStore) -> list[str]:
        with store.translate_errors():
            raise OSError("no route to host")

    monkeypatch.setattr(BucketStore, "names", fail)
    with pytest.raises(CatalogueError, match=r"cannot be reached .*no route to host"):
        Catalogue.build(run, photos, address)


def test_what_is_no_catalogue_is_left_alone(address: str, run: Path, photos: Path) -> None:
    store = BucketStore(address)
    store.write("report.txt", json.dumps("of somebody else"))
    with pytest.raises(CatalogueError, match=r"is no catalogue|stands there|not empty|no catalogue"):
        Catalogue.build(run, photos, address)
    assert store.read("report.txt") is not None
