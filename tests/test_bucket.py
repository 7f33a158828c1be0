"""A catalogue in a bucket: built, copied, searched; one writer; what it says where the bucket is not to be had."""

import json
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from itma.errors import CatalogueError, ConfigError
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.rows import Item
from itma.retrieval.stores import lease
from itma.retrieval.stores.bucket import BucketStore
from tests import made_up

pytest.importorskip("lance")

PICTURES = 40
_NUMBERS = count()


@pytest.fixture
def place(bucket: str) -> str:
    return f"{bucket}/shop/catalogue{next(_NUMBERS)}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    made_up.model().save(folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    made_up.photos(folder, [f"{number:02d}.png" for number in range(PICTURES)])
    return folder


def hits(catalogue: Catalogue) -> list[tuple[str, float]]:
    return [(hit.id, round(hit.score, 5)) for hit in catalogue.search(id="07.png", k=5)]


def test_it_is_built_and_fetched_as_any_other(place: str, run: Path, photos: Path, tmp_path: Path) -> None:
    alone = Catalogue.build(run, photos, tmp_path / "alone")
    made = Catalogue.build(run, photos, place)
    assert made.ids == alone.ids and hits(made) == hits(alone)
    assert [each.id for each in made.skipped] == ["broken.png"]
    Catalogue.restore(place, tmp_path / "fetched")
    fetched = Catalogue.open(tmp_path / "fetched")
    assert hits(fetched) == hits(alone) and fetched.info().items == PICTURES


def test_a_second_indexing_finds_all_unchanged(place: str, run: Path, photos: Path) -> None:
    Catalogue.build(run, photos, place)
    again = Catalogue.build(run, photos, place, update=True)
    assert again.outcome is not None and (again.outcome.embedded, again.outcome.unchanged) == (0, PICTURES)


def test_a_folder_is_backed_up_into_a_bucket(place: str, run: Path, photos: Path, tmp_path: Path) -> None:
    alone = Catalogue.build(run, photos, tmp_path / "alone")
    alone.backup(place)
    assert hits(Catalogue.open(place)) == hits(alone)
    with pytest.raises(CatalogueError, match="exists"):
        alone.backup(place)


def test_the_command_line_takes_an_address(place: str, run: Path, photos: Path) -> None:
    def told(*words: object) -> str:
        command = [sys.executable, "-m", "itma", "--quiet", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert told("index", run, photos, place).startswith(f"indexed {PICTURES} pictures into {place}")
    found = told("search", place, "--image", photos / "07.png", "-k", "5")
    assert len(found.splitlines()) == 5 and "07.png" not in found


WRITER = """
import sys
from itma.retrieval.stores.bucket import BucketStore
store = BucketStore(sys.argv[1])
with store.writing("indexing photos"):
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_told_who_writes_and_goes_on_once_that_is_dead(place: str) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    store = BucketStore(place)
    with subprocess.Popen([sys.executable, "-c", WRITER, place], **pipes) as other:
        assert other.stdout is not None and other.stdout.readline() == b"writing\n"
        with pytest.raises(CatalogueError, match=rf"being written by process {other.pid} .*indexing photos"):
            store.writing("adding").__enter__()
        other.kill()
        other.wait()
        with store.writing("adding"):
            assert sum(name.startswith("writer.lock") for name, _ in store.names()) == 1
    assert store.names() == []


def test_who_was_silent_too_long_writes_nothing_more(
    place: str, run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Catalogue.build(run, photos, place)
    slow, quick = BucketStore(place), BucketStore(place)
    table = slow.open(slow.tables()[0])
    with slow.writing("adding"):
        later = lease.time.time() + 2 * lease.SILENT
        with monkeypatch.context() as patch:
            patch.setattr(lease.time, "time", lambda: later)
            with quick.writing("adding"):
                pass
        with pytest.raises(CatalogueError, match="taken over by another writer"):
            table.delete(["07.png"])
        with pytest.raises(CatalogueError, match="taken over by another writer"):
            slow.write("catalogue.json", "{}")
    assert "07.png" in made.ids


def test_an_indexing_that_is_killed_is_finished_by_the_same_call(
    place: str, run: Path, photos: Path, tmp_path: Path
) -> None:
    code = f"""
from itma.retrieval import indexing
from itma.retrieval.catalogue import Catalogue
indexing.COMMIT_ROWS = 8
commit = indexing._Writer.commit
def told(self):
    commit(self)
    print("committed", flush=True)
indexing._Writer.commit = told
Catalogue.build({str(run)!r}, {str(photos)!r}, {place!r}, batch=4)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(2):
            assert process.stdout.readline() == b"committed\n"
        process.kill()
    made = Catalogue.build(run, photos, place, update=True)
    assert made.outcome is not None and 0 < made.outcome.embedded < PICTURES
    assert made.ids == Catalogue.build(run, photos, tmp_path / "alone").ids and len(made) == PICTURES


def test_changes_are_seen_by_who_has_it_open(place: str, run: Path, photos: Path) -> None:
    Catalogue.build(run, photos, place)
    reader, writer = Catalogue.open(place), Catalogue.open(place)
    writer.delete(["07.png"])
    writer.add([Item("new", picture=photos / "07.png")])
    assert {"new", "07.png"} & set(reader.ids) == {"new"}
    assert "new" in [hit.id for hit in reader.search(image=photos / "08.png", k=PICTURES)]


@pytest.mark.parametrize("place", ["s3://", "s3://bucket", "s3://bucket/", "s3://B/name"])
def test_an_address_without_bucket_or_name_is_refused(place: str) -> None:
    with pytest.raises(ConfigError, match="s3://BUCKET/NAME"):
        Catalogue.open(place)


def test_a_bucket_that_is_not_there_is_named(bucket: str, run: Path, photos: Path) -> None:
    with pytest.raises(CatalogueError, match="s3://no-such-bucket/shop"):
        Catalogue.build(run, photos, "s3://no-such-bucket/shop")


def test_what_is_no_catalogue_is_left_alone(place: str, run: Path, photos: Path) -> None:
    store = BucketStore(place)
    store.put("report.txt", json.dumps("of somebody else"))
    with pytest.raises(CatalogueError, match=r"is no catalogue|stands there|not empty|no catalogue"):
        Catalogue.build(run, photos, place)
    assert store.read("report.txt") is not None
