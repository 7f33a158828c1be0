"""The catalogue: what is indexed is found, what cannot be read is named, and nothing half done is left behind."""

import errno
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from itma.data.images import Preprocess
from itma.errors import CatalogueError, ConfigError, DataError, FeedbackError, ImageError, RunError, StorageError
from itma.models.retriever import Retriever
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest import indexing
from tests import made_up

pytest.importorskip("lance")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    made_up.model().save(folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of noise in several formats and folders, of several sizes."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.Generator(np.random.PCG64(0))
    for number in range(12):
        height, width = random.integers(4, 60, size=2)
        pixels = random.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
        path = folder / ("shelf" if number % 2 else "wall/left") / f"{number}.{('png', 'jpg', 'webp')[number % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture
def catalogue(run: Path, photos: Path, tmp_path: Path) -> Catalogue:
    return Catalogue.build(run, photos, tmp_path / "catalogue", batch=5)


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- answers ----------------------------------------------------------------------------------------------------------


def test_a_search_gives_the_cosines_of_the_model_s_embeddings_in_falling_order(
    catalogue: Catalogue, photos: Path
) -> None:
    model = made_up.model()
    hits = catalogue.search(photos / "shelf/1.jpg", "make red cube", k=100)
    query = model.embed_queries(model.preprocess.read(photos / "shelf/1.jpg")[None], ["make red cube"])
    slow = {
        name: float(query @ model.embed_images(model.preprocess.read(photos / name)[None])[0])
        for name in catalogue.ids
        if name != "shelf/1.jpg"
    }
    assert [hit.id for hit in hits] == sorted(slow, key=lambda name: -slow[name])
    assert [hit.score for hit in hits] == pytest.approx(sorted(slow.values(), reverse=True), abs=2e-6)
    assert [hit.rank for hit in hits] == list(range(1, 12))
    assert all(Path(hit.path) == photos / hit.id for hit in hits)


def test_fewer_hits_are_the_first_of_more(catalogue: Catalogue, photos: Path) -> None:
    hits = catalogue.search(text="make blue cube", k=12)
    assert len(hits) == 12
    for k in (1, 5, 11):
        assert catalogue.search(text="make blue cube", k=k) == hits[:k]
    assert catalogue.search(text="make blue cube", k=10**9) == hits


@pytest.mark.parametrize("link", [False, True])
def test_a_reference_is_never_its_own_hit(
    catalogue: Catalogue, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    folder = photos
    if link:
        folder = tmp_path / "link"
        folder.symlink_to(photos)
    assert "shelf/3.png" not in [hit.id for hit in catalogue.search(folder / "shelf/3.png", k=12)]
    assert "shelf/3.png" not in [hit.id for hit in catalogue.search(str(folder / "wall/../shelf/3.png"), k=12)]
    monkeypatch.chdir(folder / "shelf")
    assert "shelf/3.png" not in [hit.id for hit in catalogue.search("3.png", k=12)]


def test_a_copy_from_elsewhere_finds_the_item_first(catalogue: Catalogue, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "shelf/3.png", tmp_path / "copy.png")
    copies = (tmp_path / "copy.png", (photos / "shelf/3.png").read_bytes(), Image.open(photos / "shelf/3.png"))
    for copy in copies:
        best = catalogue.search(copy, k=1, keep_same=True)[0]
        assert best.id == "shelf/3.png" and best.score == pytest.approx(1.0, abs=1e-5)


def test_an_item_that_shows_the_image_of_the_reference_is_left_out_and_said_so(
    catalogue: Catalogue, photos: Path, tmp_path: Path
) -> None:
    Image.open(photos / "shelf/3.png").convert("RGB").save(tmp_path / "again.bmp")  # other bytes
    for source in ((photos / "shelf/3.png").read_bytes(), tmp_path / "again.bmp"):
        hits = catalogue.search(source, k=12)
        assert "shelf/3.png" not in [hit.id for hit in hits] and len(hits) == 11
        assert hits.notes == ("left out, as they show the image of the reference: 'shelf/3.png'",)


def test_images_that_are_alike_tie_and_stand_in_the_order_of_ids(run: Path, photos: Path, tmp_path: Path) -> None:
    for name in ("b/9.png", "a/1.png", "c.png", "a/0.png", "b/10.png"):
        (tmp_path / "same" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / "shelf/3.png", tmp_path / "same" / name)
    shutil.copy(photos / "shelf/9.png", tmp_path / "same" / "other.png")
    same = Catalogue.build(run, tmp_path / "same", tmp_path / "catalogue", batch=2)
    hits = same.search(photos / "shelf/3.png", k=6, keep_same=True)
    assert [hit.id for hit in hits] == ["a/0.png", "a/1.png", "b/10.png", "b/9.png", "c.png", "other.png"]
    assert len({hit.score for hit in hits[:5]}) == 1
    assert [hit.id for hit in same.search(photos / "shelf/3.png", k=3, keep_same=True)] == [
        "a/0.png",
        "a/1.png",
        "b/10.png",
    ]


# -- what is asked ----------------------------------------------------------------------------------------------------


def test_a_blank_sentence_counts_as_none(catalogue: Catalogue, photos: Path) -> None:
    alone = catalogue.search(photos / "shelf/1.jpg", k=3)
    for blank in ("", "  \n", "…?!"):
        assert catalogue.search(photos / "shelf/1.jpg", blank, k=3) == alone


@pytest.mark.parametrize("text", [None, "", "   "])
def test_neither_image_nor_sentence_is_refused(catalogue: Catalogue, text: str | None) -> None:
    with pytest.raises(DataError, match="needs a reference image, a feedback sentence, or both"):
        catalogue.search(text=text)


def test_marks_without_a_word_are_refused_where_there_is_no_image(catalogue: Catalogue) -> None:
    with pytest.raises(FeedbackError, match=r"no word in the sentence '\?!'"):
        catalogue.search(text="?!")


def test_a_sentence_of_unknown_words_names_them_and_some_that_are_known(catalogue: Catalogue, photos: Path) -> None:
    with pytest.raises(FeedbackError, match=r"none of the words 'quux', '🔥'; it was trained on .* like: cube, make"):
        catalogue.search(photos / "shelf/1.jpg", "Quux 🔥, quux!")


def test_some_unknown_words_are_ignored_with_a_warning(
    catalogue: Catalogue, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        hits = catalogue.search(photos / "shelf/1.jpg", "please make it red")
    assert "'please', 'it'" in caplog.text
    assert hits == catalogue.search(photos / "shelf/1.jpg", "make red")


def test_five_thousand_words_are_answered_by_the_first(
    catalogue: Catalogue, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert len(catalogue.search(photos / "shelf/1.jpg", "red " * 5_000, k=3)) == 3
    assert "cut after" in caplog.text


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one_is_refused(catalogue: Catalogue, k: int) -> None:
    with pytest.raises(ConfigError, match=f"k={k} "):
        catalogue.search(text="red", k=k)


def test_a_reference_that_cannot_be_read_is_named(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ImageError, match=r"text\.jpg"):
        catalogue.search(tmp_path / "text.jpg")
    with pytest.raises(ImageError, match="bytes"):
        catalogue.search(b"no image")


def test_a_model_that_reads_no_words_says_so(photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = replace(made_up.CONFIG, composer="image-only", options=None)
    model = Retriever.build(config, ["make red cube"])
    blind = Catalogue.build(model, photos, tmp_path / "catalogue")
    with pytest.raises(FeedbackError, match="does not read words"):
        blind.search(text="red")
    with caplog.at_level(logging.WARNING):
        assert blind.search(photos / "shelf/1.jpg", "red") == blind.search(photos / "shelf/1.jpg")
    assert "does not read words" in caplog.text


# -- indexing ---------------------------------------------------------------------------------------------------------


def test_ids_are_paths_below_the_folder_in_order(catalogue: Catalogue) -> None:
    assert len(catalogue) == 12
    assert list(catalogue.ids) == sorted(catalogue.ids)
    assert "wall/left/0.png" in catalogue.ids and "12 images" in repr(catalogue)


def test_the_batch_decides_nothing(run: Path, photos: Path, tmp_path: Path) -> None:
    answers = []
    for batch in (1, 4, 12, 100):
        catalogue = Catalogue.build(run, photos, tmp_path / str(batch), batch=batch)
        answers.append([(hit.id, round(hit.score, 4)) for hit in catalogue.search(photos / "shelf/1.jpg", "make red")])
    assert answers == answers[:1] * 4


def test_unreadable_files_are_named_with_the_reason_and_the_others_indexed(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(photos, mixed)
    (mixed / "shelf/text.jpg").write_text("no image")
    (mixed / "empty.png").touch()
    (mixed / "cut.jpg").write_bytes((photos / "shelf/1.jpg").read_bytes()[:-300])
    catalogue = Catalogue.build(run, mixed, tmp_path / "catalogue", batch=3)
    for opened in (catalogue, Catalogue.open(tmp_path / "catalogue")):
        assert len(opened) == 12
        assert [skipped.id for skipped in opened.skipped] == ["cut.jpg", "empty.png", "shelf/text.jpg"]
        assert "truncated" in str(opened.skipped[0]) and "not an image" in str(opened.skipped[2])
    assert "shelf/text.jpg" in (tmp_path / "catalogue/skipped.csv").read_text()


def test_a_folder_of_unreadable_files_only_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/text.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"none of the 1 images .* text\.jpg: not an image"):
        Catalogue.build(run, tmp_path / "bad", tmp_path / "catalogue")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes file names that are no text")
def test_a_file_name_that_is_no_text_is_kept(run: Path, photos: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    odd.mkdir()
    for number, name in enumerate((b"\xff\xfe.png", b"bad\xff.png")):
        path = os.fsencode(odd) + b"/" + name
        Path(os.fsdecode(path)).write_bytes(b"" if number else (photos / "shelf/3.png").read_bytes())
    Catalogue.build(run, odd, tmp_path / "catalogue")
    opened = Catalogue.open(tmp_path / "catalogue")
    assert [os.fsencode(name) for name in opened.ids] == [b"\xff\xfe.png"]
    assert [os.fsencode(skipped.id) for skipped in opened.skipped] == [b"bad\xff.png"]
    assert Path(opened.search(text="red")[0].path).is_file()


def test_decoding_runs_at_most_two_batches_ahead(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, embedded, most = [0], [0], [0]
    read, embed = Preprocess.read, Retriever.embed_images_from

    def counted_read(self: Preprocess, source: Path) -> torch.Tensor:
        decoded[0] += 1
        most[0] = max(most[0], decoded[0] - embedded[0])
        return read(self, source)

    def counted_embed(self: Retriever, maps: list[torch.Tensor]) -> torch.Tensor:
        embedded[0] += len(maps[0])
        return embed(self, maps)

    monkeypatch.setattr(Preprocess, "read", counted_read)
    monkeypatch.setattr(Retriever, "embed_images_from", counted_embed)
    Catalogue.build(run, photos, tmp_path / "catalogue", batch=2)
    assert decoded == [12] and embedded == [12 + 1]  # a blank one tells how many numbers an embedding has
    assert most[0] <= 3 * 2  # one batch being gathered, two ahead


def test_an_existing_catalogue_is_replaced_only_when_asked(
    catalogue: Catalogue, run: Path, photos: Path, tmp_path: Path
) -> None:
    before = everything(tmp_path / "catalogue")
    with pytest.raises(CatalogueError, match="exists already; choose another path, replace it"):
        Catalogue.build(run, photos, tmp_path / "catalogue")
    assert everything(tmp_path / "catalogue") == before
    assert len(Catalogue.build(run, photos / "shelf", tmp_path / "catalogue", replace=True)) == 6
    assert len(Catalogue.open(tmp_path / "catalogue")) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["catalogue"]


@pytest.mark.parametrize("replacing", [False, True])
def test_a_folder_that_is_no_catalogue_is_never_replaced(
    run: Path, photos: Path, tmp_path: Path, replacing: bool
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/dear.txt").write_text("dear")
    for path in (tmp_path / "letters", tmp_path / "letters/dear.txt"):
        with pytest.raises(CatalogueError, match="exists and is no catalogue"):
            Catalogue.build(run, photos, path, replace=replacing)
    assert (tmp_path / "letters/dear.txt").read_text() == "dear"


@pytest.mark.parametrize("replacing", [False, True])
def test_a_full_disk_leaves_nothing_half_done(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replacing: bool
) -> None:
    if replacing:
        Catalogue.build(run, photos / "shelf", tmp_path / "catalogue")
    before = [path.name for path in tmp_path.glob("*/*")]

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lance.LanceDataset.insert", full)
    with pytest.raises(StorageError, match="disk is full"):
        Catalogue.build(run, photos, tmp_path / "catalogue", replace=replacing)
    assert [path.name for path in tmp_path.glob("*/*")] == before
    if replacing:
        assert len(Catalogue.open(tmp_path / "catalogue")) == 6


@pytest.mark.parametrize("batches", [0, 1])
def test_an_interruption_leaves_what_was_committed_and_nothing_else(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    embed, calls = Retriever.embed_images_from, [0]

    def interrupted(self: Retriever, maps: list[torch.Tensor]) -> torch.Tensor:
        calls[0] += 1
        if calls[0] > 1 + batches:  # the first one is a blank image
            raise KeyboardInterrupt
        return embed(self, maps)

    monkeypatch.setattr(indexing, "COMMIT_ROWS", 2)
    monkeypatch.setattr(Retriever, "embed_images_from", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Catalogue.build(run, photos, tmp_path / "catalogue", batch=2)
    if not batches:
        assert not list(tmp_path.iterdir())
        return
    monkeypatch.setattr(Retriever, "embed_images_from", embed)
    opened = Catalogue.open(tmp_path / "catalogue")
    assert list(opened.ids) == ["shelf/1.jpg", "shelf/11.webp"] and not opened.info().complete
    assert "was interrupted; the same command does the rest" in str(opened.info())
    rest = Catalogue.build(run, photos, tmp_path / "catalogue", update=True)
    assert rest.outcome is not None and (rest.outcome.new, rest.outcome.unchanged) == (10, 2)
    assert len(opened) == 12 and opened.info().complete


@pytest.mark.parametrize(
    ("folder", "message"),
    [("none", "does not exist"), ("empty", "holds no images"), ("file", "is neither a folder nor a table")],
)
def test_a_folder_without_images_is_refused(run: Path, tmp_path: Path, folder: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=message):
        Catalogue.build(run, tmp_path / folder, tmp_path / "catalogue")


def test_a_missing_run_is_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none' does not exist"):
        Catalogue.build(tmp_path / "none", photos, tmp_path / "catalogue")


def test_batch_below_one_is_refused(run: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch=0"):
        Catalogue.build(run, photos, tmp_path / "catalogue", batch=0)


# -- opening ----------------------------------------------------------------------------------------------------------


def test_an_opened_catalogue_answers_as_the_built_one(catalogue: Catalogue, photos: Path, tmp_path: Path) -> None:
    again = Catalogue.open(tmp_path / "catalogue")
    assert again.ids == catalogue.ids
    assert again.search(photos / "shelf/1.jpg", "make red") == catalogue.search(photos / "shelf/1.jpg", "make red")


def test_another_model_is_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    made_up.model(seed=1).save(tmp_path / "other")
    for other in (made_up.model(seed=1), tmp_path / "other"):
        with pytest.raises(CatalogueError, match="was made by another model"):
            Catalogue.open(tmp_path / "catalogue", other)
    assert len(Catalogue.open(tmp_path / "catalogue", made_up.model(seed=0))) == 12


def test_a_run_that_was_trained_further_is_another_model(photos: Path, tmp_path: Path) -> None:
    made_up.model().save(tmp_path / "run")
    Catalogue.build(tmp_path / "run", photos, tmp_path / "catalogue")
    made_up.model(seed=1).save(tmp_path / "run")
    with pytest.raises(CatalogueError, match="trained further is another model"):
        Catalogue.open(tmp_path / "catalogue")


def test_a_model_from_memory_has_to_be_given_again(photos: Path, tmp_path: Path) -> None:
    Catalogue.build(made_up.model(), photos, tmp_path / "catalogue")
    with pytest.raises(CatalogueError, match="give the model"):
        Catalogue.open(tmp_path / "catalogue")
    assert len(Catalogue.open(tmp_path / "catalogue", made_up.model())) == 12


def test_run_images_and_catalogue_can_be_moved_together(run: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "old/run")
    shutil.copytree(photos, tmp_path / "old/photos")
    Catalogue.build(tmp_path / "old/run", tmp_path / "old/photos", tmp_path / "old/catalogue")
    (tmp_path / "old").rename(tmp_path / "new")
    opened = Catalogue.open(tmp_path / "new/catalogue")
    assert all(Path(hit.path).is_file() for hit in opened.search(text="red"))
    assert "shelf/3.png" not in [hit.id for hit in opened.search(tmp_path / "new/photos/shelf/3.png", k=12)]


def test_a_run_that_is_gone_is_named_with_the_way_out(run: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    Catalogue.build(tmp_path / "run", photos, tmp_path / "catalogue")
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    with pytest.raises(CatalogueError, match=r"run' that made the catalogue .* is not there any more; .*--run"):
        Catalogue.open(tmp_path / "catalogue")
    assert len(Catalogue.open(tmp_path / "catalogue", tmp_path / "elsewhere")) == 12


def test_a_folder_that_is_no_catalogue_cannot_be_opened(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"none' does not exist; make it with: itma index"):
        Catalogue.open(tmp_path / "none")
    with pytest.raises(CatalogueError, match="is no catalogue"):
        Catalogue.open(photos)


def test_a_missing_table_is_named(catalogue: Catalogue, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "catalogue/items-1.lance")
    with pytest.raises(CatalogueError, match=r"is damaged: items-1\.lance is missing; restore a backup"):
        Catalogue.open(tmp_path / "catalogue")


@pytest.mark.parametrize("folder", ["data", "_versions"])
def test_a_damaged_table_is_refused(catalogue: Catalogue, tmp_path: Path, folder: str) -> None:
    for path in (tmp_path / "catalogue/items-1.lance" / folder).iterdir():
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CatalogueError, match=r"catalogue' cannot be read or written .*restore a backup or index again"):
        Catalogue.open(tmp_path / "catalogue").search(text="red")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", "[" * 5_000, '{"format": 2}', '{"format": "one"}'])
def test_a_damaged_description_is_refused(catalogue: Catalogue, tmp_path: Path, text: str) -> None:
    (tmp_path / "catalogue/catalogue.json").write_text(text)
    with pytest.raises(CatalogueError, match="is damaged"):
        Catalogue.open(tmp_path / "catalogue")


@pytest.mark.parametrize("key", ["format", "table", "dim", "model", "fingerprint", "run", "images"])
def test_every_part_of_the_description_is_needed(catalogue: Catalogue, tmp_path: Path, key: str) -> None:
    about = json.loads((tmp_path / "catalogue/catalogue.json").read_text())
    del about[key]
    (tmp_path / "catalogue/catalogue.json").write_text(json.dumps(about))
    with pytest.raises(CatalogueError, match=f"is damaged.*'{key}'"):
        Catalogue.open(tmp_path / "catalogue")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("table", ["items-1"]),
        ("dim", "16"),
        ("model", {"a": 1}),
        ("fingerprint", 5),
        ("runtime", []),
        ("checkpoint", 1.5),
        ("run", [1]),
        ("images", {"path": 1, "from_here": None}),
        ("ann", "fast"),
        ("sources", "photos"),
    ],
)
def test_a_value_of_another_kind_in_the_description_is_named(
    key: str, value: object, catalogue: Catalogue, tmp_path: Path
) -> None:
    about = json.loads((tmp_path / "catalogue/catalogue.json").read_text()) | {key: value}
    (tmp_path / "catalogue/catalogue.json").write_text(json.dumps(about))
    with pytest.raises(CatalogueError, match="is damaged"):
        Catalogue.open(tmp_path / "catalogue")


def test_a_newer_format_is_refused_with_the_way_out(catalogue: Catalogue, tmp_path: Path) -> None:
    about = json.loads((tmp_path / "catalogue/catalogue.json").read_text())
    (tmp_path / "catalogue/catalogue.json").write_text(json.dumps(about | {"format": 99}))
    with pytest.raises(CatalogueError, match=r"newer itma \(format 99, this one reads 2\)"):
        Catalogue.open(tmp_path / "catalogue")


def test_an_older_format_is_refused_with_the_way_out(run: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue/catalogue.json").write_text(json.dumps({"format": 1, "items": 0}))
    (tmp_path / "catalogue/embeddings.npy").write_bytes(b"")
    with pytest.raises(CatalogueError, match=r"older itma \(format 1, .*index the images again: .*--replace"):
        Catalogue.open(tmp_path / "catalogue")
    assert len(Catalogue.build(run, photos, tmp_path / "catalogue", replace=True)) == 12
    assert len(Catalogue.open(tmp_path / "catalogue")) == 12


# -- real photographs -------------------------------------------------------------------------------------------------


@pytest.mark.realdata
def test_real_photographs_are_indexed_and_found_again(
    real_data: Callable[[str], Path], run: Path, tmp_path: Path
) -> None:
    photos = real_data("photos/images")
    files = [path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    catalogue = Catalogue.build(run, photos, tmp_path / "catalogue")
    assert len(catalogue) + len(catalogue.skipped) == len(files) and len(catalogue) > 0.99 * len(files)
    for name in catalogue.ids[:: len(catalogue) // 5]:
        assert catalogue.search((photos / name).read_bytes(), k=1, keep_same=True)[0].score == pytest.approx(
            1.0, abs=1e-5
        )
        assert len(catalogue.search(photos / name, "make red", k=10)) == 10


def test_a_name_that_is_no_option_of_a_search_is_a_type_error(catalogue: Catalogue) -> None:
    with pytest.raises(TypeError, match="sentence"):
        catalogue.search(sentence="make red")  # type: ignore[call-arg]
