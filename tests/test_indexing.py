"""Folders and tables are brought into a catalogue: what they say, what is new in them, and what cannot be used."""

import json
import os
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from itma.errors import CatalogueError, ConfigError, DataError, ImageError, UnknownNameError
from itma.models.retriever import Retriever
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest import indexing
from itma.retrieval.ingest.embedding import embed
from itma.retrieval.ingest.listing import Listing, listing
from tests import made_up

pytest.importorskip("lance")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    made_up.model().save(folder)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six images of noise."""
    (tmp_path / "photos").mkdir()
    for number in range(6):
        draw(tmp_path / f"photos/{number}.png", seed=number)
    return tmp_path / "photos"


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images went through the model at a time; a catalogue that is new begins with a blank one."""
    counts: list[int] = []
    embed = Retriever.embed_images_from

    def counted(self: Retriever, maps: list[torch.Tensor]) -> torch.Tensor:
        counts.append(len(maps[0]))
        return embed(self, maps)

    monkeypatch.setattr(Retriever, "embed_images_from", counted)
    return counts


def draw(path: Path, seed: int) -> None:
    pixels = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, size=(20, 30, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def later(path: Path) -> None:
    """As if the file had been written again a second later."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def fields_of(source: Listing) -> dict[str, dict[str, object]]:
    return {entry.id: dict(entry.fields) for entry in source.entries()}


def table(folder: Path, text: str, name: str = "items.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


# -- again ------------------------------------------------------------------------------------------------------------


def test_a_second_run_embeds_only_new_and_changed_images(
    run: Path, photos: Path, tmp_path: Path, embedded: list[int]
) -> None:
    Catalogue.build(run, photos, tmp_path / "c")
    assert embedded == [1, 6]
    embedded.clear()
    again = Catalogue.build(run, photos, tmp_path / "c", update=True)
    assert embedded == [] and str(again.outcome) == "6 unchanged"
    draw(photos / "0.png", seed=77)
    later(photos / "0.png")
    later(photos / "1.png")  # another time, the same content
    draw(photos / "new.png", seed=78)
    again = Catalogue.build(run, photos, tmp_path / "c", update=True)
    assert embedded == [2] and str(again.outcome) == "1 new, 1 changed, 5 unchanged"
    assert again.search((photos / "0.png").read_bytes(), k=1, keep_same=True)[0].id == "0.png"
    assert Catalogue.build(run, photos, tmp_path / "c", update=True).outcome is not None
    assert embedded == [2]


def test_a_catalogue_that_is_up_to_date_opens_no_model(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Catalogue.build(run, photos, tmp_path / "c")
    with monkeypatch.context() as patch:
        patch.setattr(Retriever, "load", None)
        again = Catalogue.build(run, photos, tmp_path / "c", update=True)
        assert again.outcome is not None and again.outcome.unchanged == 6
    assert len(again.search(photos / "0.png", "make red")) == 5


def test_what_is_gone_stays_until_pruned(run: Path, photos: Path, tmp_path: Path) -> None:
    Catalogue.build(run, photos, tmp_path / "c")
    (photos / "3.png").unlink()
    assert len(Catalogue.build(run, photos, tmp_path / "c", update=True)) == 6
    pruned = Catalogue.build(run, photos, tmp_path / "c", update=True, prune=True)
    assert "3.png" not in pruned.ids and str(pruned.outcome) == "5 unchanged, 1 removed"


def test_an_image_that_became_unreadable_keeps_its_item_and_is_named(run: Path, photos: Path, tmp_path: Path) -> None:
    Catalogue.build(run, photos, tmp_path / "c")
    (photos / "3.png").write_bytes(b"no image")
    again = Catalogue.build(run, photos, tmp_path / "c", update=True, prune=True)
    assert len(again) == 6 and [skipped.id for skipped in again.skipped] == ["3.png"]


def test_commits_come_every_so_many_images_and_hold_whole_items(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "COMMIT_ROWS", 2)
    catalogue = Catalogue.build(run, photos, tmp_path / "c", batch=1)
    assert [version.items for version in catalogue.versions()][:4] == [0, 2, 4, 6]


def test_another_model_or_another_folder_is_refused(run: Path, photos: Path, tmp_path: Path) -> None:
    Catalogue.build(run, photos, tmp_path / "c")
    with pytest.raises(CatalogueError, match=r"made by another model .*itma reindex"):
        Catalogue.build(made_up.model(seed=1), photos, tmp_path / "c", update=True)
    shutil.copytree(photos, tmp_path / "other")
    with pytest.raises(CatalogueError, match=r"was made from .*photos', not from .*other'"):
        Catalogue.build(run, tmp_path / "other", tmp_path / "c", update=True)
    with pytest.raises(ConfigError, match="contradict"):
        Catalogue.build(run, photos, tmp_path / "c", update=True, replace=True)


def test_another_model_is_refused_with_the_command_for_the_catalogue_s_own(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other run"
    made_up.model(seed=1).save(other)
    catalogue = Catalogue.build(run, photos, tmp_path / "catalogue")
    with pytest.raises(CatalogueError) as refused:
        Catalogue.build(other, photos, tmp_path / "catalogue", update=True)
    assert f"itma index {run} SOURCE" in str(refused.value) and f"'{other!s}'" in str(refused.value)
    assert f"from {run}" in str(catalogue.info())


def test_images_that_come_in_again_by_other_ids_are_counted_and_said(run: Path, photos: Path, tmp_path: Path) -> None:
    rows = "".join(f"sku-{number},{number}.png\n" for number in range(4))
    (photos / "items.csv").write_text("id,image\n" + rows)
    Catalogue.build(run, photos / "items.csv", tmp_path / "catalogue")
    both = Catalogue.build(run, photos, tmp_path / "catalogue", update=True)
    assert both.outcome is not None and (both.outcome.new, both.outcome.again) == (6, 4)
    assert any("4 items that were there already" in note and "--prune" in note for note in both.outcome.notes())
    pruned = Catalogue.build(run, photos, tmp_path / "catalogue", update=True, prune=True)
    assert len(pruned) == 6 and pruned.outcome is not None and pruned.outcome.again == 0


def test_images_that_were_moved_are_told_with_the_way_out_which_helps(run: Path, photos: Path, tmp_path: Path) -> None:
    Catalogue.build(run, photos, tmp_path / "catalogue")
    photos.rename(tmp_path / "moved")
    opened = Catalogue.open(tmp_path / "catalogue")
    with pytest.raises(ImageError, match="if the images were moved, itma index with their new folder brings"):
        opened.search(id="1.png", text="make red cube", k=1)
    Catalogue.build(run, tmp_path / "moved", tmp_path / "catalogue", update=True)
    assert len(opened.search(id="1.png", text="make red cube", k=1)) == 1


def test_a_folder_that_was_moved_is_followed(run: Path, photos: Path, tmp_path: Path, embedded: list[int]) -> None:
    Catalogue.build(run, photos, tmp_path / "c")
    photos.rename(tmp_path / "moved")
    embedded.clear()
    moved = Catalogue.build(run, tmp_path / "moved", tmp_path / "c", update=True)
    assert embedded == [] and moved.outcome is not None and moved.outcome.unchanged == 6
    assert Path(Catalogue.open(tmp_path / "c").search(text="red", k=1)[0].path).is_file()


# -- tables -----------------------------------------------------------------------------------------------------------


def test_a_table_gives_ids_images_and_metadata(run: Path, photos: Path, tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "sku,photo,colour,price,sold,code\n"
        + "".join(
            f"s{number},photos/{number}.png,{'red' if number % 2 else ''},{number}.5,{number > 2},00{number}\n"
            for number in range(6)
        ),
    )
    catalogue = Catalogue.build(run, path, tmp_path / "c", id_column="sku", image_column="photo")
    assert list(catalogue.ids) == [f"s{number}" for number in range(6)]
    assert catalogue.info().columns == {"colour": "text", "price": "numbers", "sold": "true or false", "code": "text"}
    item = catalogue.get("s3")
    assert item.fields == {"colour": "red", "price": 3.5, "sold": True, "code": "003"}
    assert item.image == str(tmp_path / "photos/3.png") and item.embedding is not None
    assert catalogue.get("s2").fields == {"price": 2.5, "sold": False, "code": "002"}
    hits = catalogue.search(photos / "3.png", k=6, where={"colour": "red"}, fields=["price"])
    assert sorted(hit.id for hit in hits) == ["s1", "s5"] and all(set(hit.fields) == {"price"} for hit in hits)


def test_changed_metadata_need_no_embedding(run: Path, photos: Path, tmp_path: Path, embedded: list[int]) -> None:
    rows = [{"id": f"{number}", "image": f"photos/{number}.png", "price": number} for number in range(6)]
    path = table(tmp_path, "\n".join(map(json.dumps, rows)), "items.jsonl")
    Catalogue.build(run, path, tmp_path / "c")
    embedded.clear()
    rows[2]["price"], rows[3]["brand"] = 99, "new"
    table(tmp_path, "\n".join(map(json.dumps, rows)), "items.jsonl")
    again = Catalogue.build(run, path, tmp_path / "c", update=True)
    assert embedded == [] and str(again.outcome) == "2 changed, 4 unchanged"
    assert again.get("2").fields == {"price": 99} and again.get("3").fields == {"price": 3, "brand": "new"}


def test_a_missing_image_in_a_table_is_named_and_the_others_indexed(run: Path, photos: Path, tmp_path: Path) -> None:
    rows = [f"{number},photos/{number}.png\n" for number in range(6)]
    path = table(tmp_path, "".join(["id,image\n", *rows[:3], "gone,photos/none.png\n", "blank,\n", *rows[3:]]))
    catalogue = Catalogue.build(run, path, tmp_path / "c")
    assert len(catalogue) == 6
    assert [str(skipped) for skipped in catalogue.skipped] == [
        "gone: line 5: 'photos/none.png': the file does not exist",
        "blank: line 6: no image is named",
    ]


def test_images_are_found_beside_the_table_in_its_images_and_by_their_whole_path(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 0)
    draw(tmp_path / "images/b.png", 1)
    draw(tmp_path / "elsewhere/c.png", 2)
    path = table(tmp_path, f"image\na.png\nb.png\n{tmp_path / 'elsewhere/c.png'}\n/none/d.png\n")
    source = listing(path, allow_outside=True)
    entries = list(source.entries())
    assert [entry.image for entry in entries] == ["a.png", "images/b.png", "elsewhere/c.png", "/none/d.png"]
    assert [source.file(entry).is_file() for entry in entries] == [True, True, True, False]
    assert list(source.ids) == ["a.png", "b.png", str(tmp_path / "elsewhere/c.png"), "/none/d.png"]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "", "-20"], "whole numbers"),
        (["1", "2.5", "1e3"], "numbers"),
        (["01", "2", "3"], "text"),
        (["true", "False", ""], "true or false"),
        (["true", "1", "2"], "text"),
        (["", "", ""], "text"),
        (["1", "2", "many"], "text"),
        (["9" * 30, "1", "2"], "numbers"),
    ],
)
def test_the_kind_of_a_csv_s_column_is_what_all_its_cells_are(tmp_path: Path, cells: list[str], kind: str) -> None:
    path = table(tmp_path, "image,x\n" + "".join(f"{n}.png,{cell}\n" for n, cell in enumerate(cells)))
    assert f"x ({kind})" in str(listing(path))


def test_a_column_can_be_told_its_kind(tmp_path: Path) -> None:
    path = table(tmp_path, "image,size\na.png,1\nb.png,2\n")
    assert fields_of(listing(path, types={"size": "text"})) == {"a.png": {"size": "1"}, "b.png": {"size": "2"}}
    assert fields_of(listing(path, types={"size": "number"}))["a.png"] == {"size": 1.0}
    with pytest.raises(UnknownNameError, match=r"unknown column 'siz'.*Did you mean 'size'"):
        listing(path, types={"siz": "text"})
    with pytest.raises(UnknownNameError, match="unknown kind of column 'float'; choose from: date, decimal-comma"):
        listing(path, types={"size": "float"})
    table(tmp_path, "image,size\na.png,1\nb.png,big\n")
    with pytest.raises(DataError, match=r"line 3: .*big"):
        listing(path, types={"size": "number"})


def test_a_column_that_changes_its_kind_is_named_with_the_line(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        '{"image": "a.png", "x": 1}\n{"image": "b.png", "x": 2.5}\n{"image": "c.png", "x": "big"}\n',
        "i.jsonl",
    )
    with pytest.raises(
        DataError, match=r"line 3: .*'x' holds numbers \(2.5\) as well as text \('big'\).*--type x=text"
    ):
        listing(path)
    assert fields_of(listing(path, types={"x": "text"}))["b.png"] == {"x": "2.5"}


def test_a_column_that_is_of_another_kind_than_before_is_refused(run: Path, photos: Path, tmp_path: Path) -> None:
    path = table(tmp_path, "image,size\nphotos/0.png,1\nphotos/1.png,2\n")
    Catalogue.build(run, path, tmp_path / "c")
    table(tmp_path, "image,size\nphotos/0.png,1\nphotos/1.png,big\n")
    with pytest.raises(DataError, match=r"'size' is string in .*, but int64 in the catalogue"):
        Catalogue.build(run, path, tmp_path / "c", update=True)
    assert Catalogue.open(tmp_path / "c").get("photos/1.png").fields == {"size": 2}


def test_one_id_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    for name, text in (
        ("a.csv", "id,image\nx,1.png\ny,2.png\nx,3.png\n"),
        ("a.jsonl", '\n{"id": "x", "image": "1.png"}\n\n{"id": "x", "image": "2.png"}\n'),
    ):
        with pytest.raises(DataError, match=r"line 4: the id 'x' stands on line 2 as well"):
            listing(table(tmp_path, text, name))


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    columns = {
        "id": [7, 8],
        "image": ["a.png", None],
        "made": [date(2020, 1, 1), None],
        "tags": [["x", "y"], []],
        "price": pa.array([1.5, 2.5], pa.float32()),
        "stock": pa.array([1, None], pa.uint8()),
    }
    pq.write_table(pa.table(columns), tmp_path / "i.parquet")
    source = listing(tmp_path / "i.parquet")
    assert "made (dates), tags (lists of texts), price (numbers), stock (whole numbers)" in str(source)
    assert fields_of(source)["7"] == {"made": date(2020, 1, 1), "tags": ["x", "y"], "price": 1.5, "stock": 1}
    assert [entry.image for entry in source.entries()] == ["a.png", ""]


def test_a_parquet_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"no.parquet' cannot be read as Parquet"):
        listing(tmp_path / "no.parquet")


def test_a_table_without_a_column_of_images_is_refused(tmp_path: Path) -> None:
    message = r"none of the columns \(photo, x\) is called image, file, picture; .*--image COLUMN"
    with pytest.raises(DataError, match=message):
        listing(table(tmp_path, "photo,x\na.png,1\n"))


def test_columns_are_asked_of_tables_only(photos: Path) -> None:
    with pytest.raises(ConfigError, match="is no table, so it has no columns"):
        listing(photos, id_column="sku")


@pytest.mark.parametrize("value", ["null", "1.5", "true", '""', "[1]"])
def test_an_id_that_is_no_name_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(DataError, match=r"line 1: .* cannot be an id"):
        listing(table(tmp_path, f'{{"id": {value}, "image": "a.png"}}', "i.jsonl"))


def test_feature_maps_that_are_kept_are_those_that_images_are_embedded_from(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made_up.model()
    images = list(made_up.triplets().images.load(range(3), model.preprocess))
    plain = list(embed(model, images, tokens=False))
    calls: list[int] = []
    maps = model.feature_maps
    monkeypatch.setattr(model, "feature_maps", lambda pixels: calls.append(len(pixels)) or maps(pixels))
    batches = list(embed(model, images, tokens=True))
    assert calls == [3]
    assert [embedding.tolist() for embedding, _ in batches] == [embedding.tolist() for embedding, _ in plain]
    assert [data for _, data in plain] == [None] * 3 and all(data for _, data in batches)
