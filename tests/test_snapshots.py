"""One state of a catalogue answers a question from begin to end; writers, readers and disks harm nobody."""

import shutil
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from itma.errors import BusyError, CatalogueError, DataError, StorageError, UnknownItemError
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.exact import Matrix
from itma.retrieval.ingest.rows import Item
from itma.retrieval.request import SearchRequest
from itma.retrieval.stores.lance import LanceItems
from itma.retrieval.sums import NAME
from tests import made_up
from tests.served import noise


def unit(rows: int, seed: int = 0, dim: int = 8) -> np.ndarray:
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal((rows, dim)).astype(np.float32)
    vectors: np.ndarray = values / np.linalg.norm(values, axis=1, keepdims=True)
    return vectors


@pytest.fixture
def numbers(tmp_path: Path) -> Catalogue:
    """Twenty items of ready-made embeddings."""
    items = [Item(f"{number:02d}", embedding=row) for number, row in enumerate(unit(20))]
    return Catalogue.from_embeddings(items, tmp_path / "catalogue")


@pytest.fixture
def imaged(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(4):
        noise(number).save(tmp_path / "photos" / f"{number}.png")
    made_up.model().save(tmp_path / "run")
    Catalogue.build(tmp_path / "run", tmp_path / "photos", tmp_path / "catalogue")
    return tmp_path


def test_a_snapshot_stays_as_it_was_while_others_write(numbers: Catalogue) -> None:
    before = numbers.snapshot
    first = before.search_all(unit(1, 3), 30)
    numbers.delete(["00", "01"])
    numbers.add([Item("new", embedding=unit(1, 3)[0])])
    assert before.search_all(unit(1, 3), 30) == first and len(before) == 20
    assert numbers.search(embedding=unit(1, 3)[0], k=1)[0].id == "new" and len(numbers) == 19


def test_a_matrix_shares_its_memory_with_the_one_it_follows(numbers: Catalogue) -> None:
    earlier = Matrix(numbers.snapshot.items)
    numbers.replace([Item("03", embedding=unit(1, 9)[0])])
    after = Matrix(numbers.snapshot.items, earlier)
    assert np.shares_memory(after.embeddings, earlier.embeddings)
    assert after.nearest(unit(1, 9), 1)[0][0][0] == "03" and earlier.nearest(unit(1, 9), 1)[0][0][1] < 0.99


def test_two_matrices_that_follow_the_same_one_do_not_disturb_each_other(numbers: Catalogue) -> None:
    earlier = Matrix(numbers.snapshot.items)
    numbers.add([Item("a", embedding=unit(1, 5)[0])])
    first = numbers.snapshot.items
    numbers.delete(["a"])
    numbers.add([Item("b", embedding=unit(1, 6)[0])])
    one, other = Matrix(first, earlier), Matrix(numbers.snapshot.items, earlier)
    assert one.nearest(unit(1, 5), 1)[0][0] == ("a", 1.0) and other.nearest(unit(1, 6), 1)[0][0] == ("b", 1.0)
    assert {hit for hit, _ in one.nearest(unit(1, 6), 99)[0]} == {*(f"{n:02d}" for n in range(20)), "a"}


def test_reading_deleting_and_searching_in_threads_disturb_nobody(numbers: Catalogue) -> None:
    errors: list[Exception] = []
    stop = threading.Event()

    def again(read: object) -> None:
        while not stop.is_set():
            try:
                read()  # type: ignore[operator]
            except Exception as error:
                errors.append(error)

    query = unit(1, 4)[0]
    reads = [lambda: numbers.search(embedding=query), numbers.info, lambda: len(numbers), lambda: numbers.ids]
    threads = [threading.Thread(target=again, args=(read,)) for read in reads]
    for thread in threads:
        thread.start()
    for number in range(15):
        numbers.add([Item(f"new-{number}", embedding=unit(1, number)[0])])
        numbers.delete([f"new-{number}"])
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_search_goes_on_while_another_one_waits_for_the_model(imaged: Path) -> None:
    catalogue = Catalogue.open(imaged / "catalogue")
    begun, go = threading.Event(), threading.Event()
    model = catalogue.model
    before = model.embed_queries_from

    def slow(*args: object) -> torch.Tensor:
        begun.set()
        assert go.wait(30)
        return before(*args)  # type: ignore[arg-type]

    model.embed_queries_from = slow  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: catalogue.search(text="red"))
    thread.start()
    assert begun.wait(30)
    assert catalogue.search(id="1.png", k=1) and catalogue.get("0.png").id == "0.png"
    catalogue.delete(["3.png"])
    go.set()
    thread.join()


def test_deleting_loads_no_embeddings_into_memory(numbers: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Matrix, "_load", lambda self: pytest.fail("the matrix was loaded"))
    numbers.delete(["01"])
    assert numbers.ids_of("nowhere.png") == []


def test_one_bad_question_in_a_batch_fails_alone(imaged: Path) -> None:
    catalogue = Catalogue.open(imaged / "catalogue")
    wrong = torch.zeros((3, 7, 9), dtype=torch.uint8)
    right = catalogue.model.preprocess.read(imaged / "photos" / "2.png")
    answers = catalogue.answer([SearchRequest(pixels=one, k=1, keep_same=True) for one in (right, wrong[:1], right)])
    assert isinstance(answers[1], Exception)
    assert not isinstance(answers[0], Exception) and answers[0][0].id == "2.png" and answers[2][0].id == "2.png"  # type: ignore[index]


def test_a_state_keeps_its_model_after_a_reindex_elsewhere(imaged: Path) -> None:
    reader = Catalogue.open(imaged / "catalogue")
    before = reader.snapshot
    made_up.model(seed=1).save(imaged / "other")
    Catalogue.open(imaged / "catalogue").reindex(imaged / "other")
    hits = reader.search(text="red", k=4)
    assert reader.snapshot is not before and reader.model.fingerprint() != before.model.fingerprint()
    assert hits == Catalogue.open(imaged / "catalogue").search(text="red", k=4)


def test_a_search_under_way_is_asked_again_when_its_files_are_gone(numbers: Catalogue, tmp_path: Path) -> None:
    reader = Catalogue.open(tmp_path / "catalogue", without_model=True)
    lost, calls = reader.snapshot, []

    def gone(questions: object) -> list[object]:
        calls.append(questions)
        numbers.delete(["05"])
        numbers.compact(keep=timedelta(0))
        return [CatalogueError("Not found: data/x.lance")]

    lost.answer = gone  # type: ignore[method-assign, assignment]
    assert len(reader.search(embedding=unit(1)[0], k=30)) == 19 and len(calls) == 1


def test_a_failed_tidy_up_undoes_no_write(numbers: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: LanceItems, keep: timedelta) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(LanceItems, "compact", full)
    monkeypatch.setattr("itma.retrieval.catalogue._TIDY_EVERY", 1)
    numbers.add([Item("new", embedding=unit(1, 7)[0])])
    assert numbers.get("new").id == "new"


def test_who_lost_the_lock_s_file_writes_no_more(numbers: Catalogue, tmp_path: Path) -> None:
    with numbers.writing("a test") as writer:
        (tmp_path / "catalogue" / "writer.lock").unlink()
        Catalogue.open(tmp_path / "catalogue").add([Item("other", embedding=unit(1, 8)[0])])
        with pytest.raises(BusyError, match="was removed while"):
            writer.put([Item("mine", embedding=unit(1, 9)[0])], new=True)
    assert "other" in numbers.ids and "mine" not in numbers.ids


def test_flipped_bytes_are_found_and_not_copied(numbers: Catalogue, tmp_path: Path) -> None:
    assert numbers.verify().sound and numbers.verify().files > 3 and not numbers.verify().unknown
    file = max((tmp_path / "catalogue").rglob("data/*.lance"), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    report = numbers.verify()
    assert not report.sound and file.name in report.damaged[0] and f"damaged: {report.damaged[0]}" in str(report)
    with pytest.raises(CatalogueError, match="is damaged"):
        numbers.backup(tmp_path / "backup")


@pytest.mark.parametrize("name", ["data/*.lance", "_versions/*.manifest", "_deletions/*"])
def test_files_that_are_gone_are_found_and_nothing_is_copied(name: str, numbers: Catalogue, tmp_path: Path) -> None:
    numbers.delete([numbers.ids[0]])
    assert numbers.verify().sound
    min((tmp_path / "catalogue").glob(f"items-1.lance/{name}")).unlink()  # of versions, the newest is the smallest
    report = Catalogue.open(tmp_path / "catalogue").verify()
    assert not report.sound and len(report.lost) == 1 and f"lost: {report.lost[0]}" in str(report)
    with pytest.raises(CatalogueError, match="is damaged"):
        Catalogue.open(tmp_path / "catalogue").backup(tmp_path / "backup")


def test_sums_follow_writes_compactions_and_documents(numbers: Catalogue, tmp_path: Path) -> None:
    numbers.add([Item("new", embedding=unit(1, 7)[0])])
    numbers.compact(keep=timedelta(0))
    report = numbers.verify()
    assert report.sound and not report.unknown
    listed = {line.split("  ")[1] for line in (tmp_path / "catalogue" / NAME).read_text().splitlines()}
    assert all((tmp_path / "catalogue" / name).exists() for name in listed) and "catalogue.json" in listed


def test_more_columns_than_a_catalogue_has_are_refused(numbers: Catalogue) -> None:
    with pytest.raises(DataError, match="more than the 500"):
        numbers.add([Item("new", embedding=unit(1, 7)[0], fields={f"column {n}": 1 for n in range(501)})])
    assert len(numbers) == 20


def test_metadata_of_an_item_that_is_gone_is_not_written(imaged: Path) -> None:
    catalogue = Catalogue.open(imaged / "catalogue")
    with catalogue.writing("a test") as writer:
        writer.delete(["0.png"])
        with pytest.raises(UnknownItemError):
            writer.put([Item("0.png", fields={"colour": "red"})], new=False, keep=True)
        writer.put([Item("1.png", fields={"colour": "red"})], new=False, keep=True)
    item = catalogue.get("1.png")
    assert item.fields == {"colour": "red"} and Path(str(item.image)).name == "1.png"


def test_uploads_of_a_copy_are_told_from_those_of_items(imaged: Path) -> None:
    catalogue = Catalogue.open(imaged / "catalogue")
    shutil.copy(imaged / "photos" / "0.png", imaged / "photos" / "orphan.png")
    with catalogue.writing("a test") as writer:
        unused = writer.find_unused([imaged / "photos" / name for name in ("0.png", "orphan.png")])
    assert [path.name for path in unused] == ["orphan.png"]
