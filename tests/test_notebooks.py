"""What a person meets in a notebook: images in any form, one `encode`, values that show themselves, short errors."""

import base64
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import itma
from itma.data.images import as_pixels
from tests import made_up

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
AS_TENSOR = torch.from_numpy(IMAGE).permute(2, 0, 1)[None]


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(IMAGE),
        [Image.fromarray(IMAGE)],
        IMAGE,
        IMAGE[None],
        IMAGE.transpose(2, 0, 1),
        AS_TENSOR,
        AS_TENSOR[0],
        AS_TENSOR / 255,
        IMAGE / 255,
    ],
    ids=["pillow", "list", "array", "arrays", "colours first", "tensor", "one tensor", "floats", "float array"],
)
def test_an_image_in_any_form_has_the_same_embedding(image: object) -> None:
    model = made_up.model()
    assert torch.equal(as_pixels(image), AS_TENSOR)
    expected = model.embed_images(AS_TENSOR)
    assert torch.allclose(model.embed_images(image), expected, atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            (AS_TENSOR / 255 - 0.5) / 0.2,
            r"from -2\.\d+ to 2\.\d+ .* expected uint8 from 0 to 255, or floats",
        ),
        (AS_TENSOR.float(), "with values from 0 to 255"),
        (AS_TENSOR.float() * float("nan"), "with values from nan to nan"),
        (AS_TENSOR.long(), r"type torch\.int64"),
        (np.zeros((16, 24), np.uint8), r"shape \(16, 24\)"),
        (np.zeros((0, 24, 3), np.uint8), r"shape \(0, 24, 3\)"),
        ([IMAGE, IMAGE[:8]], "sizes 24×16, 24×8"),
        (["a.png"], "str is no image"),
    ],
)
def test_what_is_no_image_is_refused_in_a_short_message(image: object, message: str) -> None:
    with pytest.raises(itma.DataError, match=message) as caught:
        as_pixels(image)
    assert len(str(caught.value)) < 300


def test_encode_takes_images_sentences_or_both_in_batches_of_any_size(tmp_path: Path) -> None:
    model = made_up.model()
    made_up.photos(tmp_path, ["a.png", "b.png"])
    paths = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "a.png"]
    pixels = torch.stack([model.preprocess.read(path) for path in paths])
    sentences = ["make red cube", "make blue cube", "blue"]
    assert np.allclose(model.encode(paths, batch=2), model.embed_images(pixels), atol=1e-6)
    assert np.allclose(model.encode(sentences=sentences), model.embed_queries(None, sentences), atol=1e-6)
    both = model.embed_queries(pixels, sentences).numpy()
    assert np.allclose(model.encode(paths, sentences, batch=2), both, atol=1e-6)
    assert np.allclose(model.encode(paths[0], sentences[0]), both[0], atol=1e-6)
    mixed = model.encode([paths[0], None], [None, "blue"])
    assert np.allclose(mixed[0], model.embed_queries(pixels[:1], None)[0], atol=1e-6)
    assert np.allclose(mixed[1], model.embed_queries(None, ["blue"])[0], atol=1e-6)
    assert model.encode([]).shape == (0, 16)


@pytest.mark.parametrize("column", [tuple, iter, np.array, lambda names: np.array(names, dtype=object)])
def test_a_column_of_names_or_sentences_has_a_row_for_each(tmp_path: Path, column: Callable[[list[str]], Any]) -> None:
    model = made_up.model()
    made_up.photos(tmp_path, ["a.png", "b.png"])
    names = [str(tmp_path / name) for name in ("a.png", "b.png")]
    assert np.array_equal(model.encode(column(names)), model.encode(names))
    assert np.array_equal(model.encode(sentences=column(["red", "blue"])), model.encode(sentences=["red", "blue"]))
    assert np.array_equal(model.encode(names[0], ["red"]), model.encode(names[:1], ["red"]))


def test_a_sentence_of_unknown_words_is_refused_by_encode_as_by_a_search(tmp_path: Path) -> None:
    made_up.photos(tmp_path, ["a.png"])
    model = made_up.model()
    catalogue = itma.Catalogue.build(model, tmp_path, tmp_path / "catalogue")
    with pytest.raises(itma.FeedbackError) as searched:
        catalogue.search(tmp_path / "a.png", "xyzzy plugh")
    with pytest.raises(itma.FeedbackError) as encoded:
        model.encode(tmp_path / "a.png", "xyzzy plugh")
    assert str(searched.value) == str(encoded.value)


@pytest.mark.parametrize("sentences", [["xyzzy plugh"], ["blue", "xyzzy"], "blue", [3]])
def test_a_sentence_that_cannot_be_read_is_refused_by_embed_queries_too(sentences: object) -> None:
    with pytest.raises(itma.FeedbackError, match=r"knows none of the words|one text|is a int"):
        made_up.model().embed_queries(None, sentences)  # type: ignore[arg-type]


@pytest.mark.parametrize("image", [IMAGE, AS_TENSOR, AS_TENSOR[0] / 255, IMAGE / 255, Image.fromarray(IMAGE)])
def test_a_search_and_an_explanation_take_an_image_in_any_form(image: object, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    made_up.photos(tmp_path / "photos", ["a.png", "b.png"])
    Image.fromarray(IMAGE).save(tmp_path / "reference.png")
    catalogue = itma.Catalogue.build(made_up.model(), tmp_path / "photos", tmp_path / "catalogue")
    expected = [(hit.id, hit.score) for hit in catalogue.search(tmp_path / "reference.png")]
    assert [(hit.id, hit.score) for hit in catalogue.search(image)] == expected  # type: ignore[arg-type]
    assert itma.explain(catalogue, image, "blue").text == "blue"  # type: ignore[arg-type]


@pytest.mark.parametrize("image", [3, ["a.png"], np.zeros((8, 8)), np.full((8, 8, 3), np.nan), np.stack([IMAGE] * 2)])
def test_a_search_says_in_short_what_is_no_image(image: object, tmp_path: Path) -> None:
    made_up.photos(tmp_path, ["a.png"])
    catalogue = itma.Catalogue.build(made_up.model(), tmp_path, tmp_path / "catalogue")
    with pytest.raises(itma.DataError) as caught:
        catalogue.search(image)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 300


def test_an_array_that_cannot_be_written_to_is_an_image_without_a_warning() -> None:
    image = IMAGE.copy()
    image.setflags(write=False)
    assert torch.equal(as_pixels(image), AS_TENSOR)


@pytest.mark.parametrize("items", ["photos/a.png", ["photos/a.png"], itma.Item("a"), [None]])
def test_what_is_no_list_of_items_is_not_added(items: object, tmp_path: Path) -> None:
    made_up.photos(tmp_path, ["a.png"])
    catalogue = itma.Catalogue.build(made_up.model(), tmp_path, tmp_path / "catalogue")
    with pytest.raises(itma.DataError, match="a list of items is expected"):
        catalogue.add(items)  # type: ignore[arg-type]


def test_an_id_that_is_no_text_is_refused(tmp_path: Path) -> None:
    made_up.photos(tmp_path, ["a.png"])
    catalogue = itma.Catalogue.build(made_up.model(), tmp_path, tmp_path / "catalogue")
    with pytest.raises(itma.DataError, match="the id 3 is a int; ids are texts"):
        catalogue.get(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", [3, None, ["shapes"], IMAGE])
def test_what_is_no_path_is_refused_in_a_short_message(path: Any, tmp_path: Path) -> None:
    made_up.photos(tmp_path, ["a.png"])
    for call in (
        lambda: itma.load(path),
        lambda: itma.Catalogue.open(path),
        lambda: itma.evaluate(path),
        lambda: itma.index(path, tmp_path, tmp_path / "catalogue"),
    ):
        with pytest.raises(itma.ItmaError, match=r"is a \w+; expected the path of a") as caught:
            call()
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("changes", ["train.steps=3", ["train.steps=3"], 3, {3: 3}])
def test_settings_that_are_no_mapping_are_refused(changes: object) -> None:
    with pytest.raises(itma.ConfigError, match="expected values by name"):
        itma.train("shapes", preset="tiny", changes=changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "sentences", "batch", "message"),
    [
        (None, None, 1, "neither was given"),
        ([IMAGE], ["a", "b"], 1, "1 images were given with 2 sentences"),
        (IMAGE, ["a", "b"], 1, "1 images were given with 2 sentences"),
        (Path("some-long-name.png"), ["a", "b"], 1, "1 images were given with 2 sentences"),
        ([IMAGE], None, 0, "batch=0"),
        ([IMAGE], None, "2", "batch='2'"),
        (IMAGE.astype(np.uint16), None, 1, "torch.uint16"),
        (IMAGE > 9, None, 1, "torch.bool"),
        (IMAGE.astype(complex), None, 1, "an array of complex128 is no image"),
        ([None], ["red", "blue"][:0], 1, "1 images were given with 0 sentences"),
    ],
)
def test_encode_says_what_it_cannot_do(images: object, sentences: object, batch: int, message: str) -> None:
    with pytest.raises(itma.ItmaError, match=message):
        made_up.model().encode(images, sentences, batch=batch)  # type: ignore[arg-type]


def test_hits_show_their_images_and_escape_what_is_not_ours(tmp_path: Path) -> None:
    made_up.photos(tmp_path, ["a.png"])
    hit = itma.Hit(1, "<script>", 0.5, str(tmp_path / "a.png"), {"name": "<b>"})
    html = itma.Hits([hit, itma.Hit(2, "gone", 0.1, str(tmp_path / "gone.png"))])._repr_html_()
    assert html.count("data:image/png;base64,") == 1
    assert "<script>" not in html and "&lt;script&gt;" in html and "&lt;b&gt;" in html
    assert "&lt;script&gt;" in hit._repr_html_()


def test_a_hit_is_shown_upright_and_with_the_colours_of_its_profile(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter
    Image.new("RGB", (40, 20), "red").save(tmp_path / "a.png", exif=exif, icc_profile=b"wide")
    Image.new("CMYK", (40, 20), (0, 255, 255, 0)).save(tmp_path / "b.jpg", icc_profile=b"inks")
    os.mkfifo(tmp_path / "pipe.jpg")
    sizes, profiles = [], []
    for name in ("a.png", "b.jpg", "pipe.jpg"):
        for address in re.findall(r'base64,([^"]+)', itma.Hit(1, name, 0.5, str(tmp_path / name))._repr_html_()):
            with Image.open(io.BytesIO(base64.b64decode(address))) as image:
                sizes.append(image.size)
                profiles.append(image.info.get("icc_profile"))
    assert sizes == [(20, 40), (40, 20)] and profiles == [b"wide", None]


def test_a_table_of_hits_needs_pandas_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    hits = itma.Hits([itma.Hit(1, "a", 0.5, "", {"price": 3})])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(itma.MissingPackageError, match="pip install pandas"):
        hits.to_pandas()
    monkeypatch.undo()
    table = pytest.importorskip("pandas") and hits.to_pandas()
    assert table.to_dict("records") == [{"rank": 1, "id": "a", "score": 0.5, "path": "", "price": 3}]


def test_a_report_shows_its_recalls_as_a_table() -> None:
    report = itma.Report("m <x>", "p", 4, 9, {1: 0.25}, {1: itma.Interval(0.1, 0.5)}, 2.0, 0.4, 0)
    html = report._repr_html_()
    assert "<td>25.0%</td><td>10.0%</td><td>50.0%</td>" in html
    assert "m &lt;x&gt;" in html


def test_a_search_answers_with_hits_that_show_themselves(tmp_path: Path) -> None:
    made_up.photos(tmp_path, ["a.png", "b.png"])
    catalogue = itma.Catalogue.build(made_up.model(), tmp_path, tmp_path / "catalogue")
    assert isinstance(catalogue.search(text="blue cube"), itma.Hits)


def test_an_item_prints_short() -> None:
    long = {f"column {number}": "x" * 1000 for number in range(50)}
    item = itma.Item("sku-17", image=b"\x00" * 9999, embedding=np.zeros(512, np.float32), fields=long)
    assert repr(item).startswith("Item('sku-17', image='<bytes>', embedding=<512 numbers>, column 0='xxx")
    assert len(repr(item)) < 400
    assert repr(itma.Item("a")) == "Item('a')"


def test_a_catalogue_made_of_a_folder_s_name_says_how_to_open_it() -> None:
    with pytest.raises(itma.ConfigError, match=r"Catalogue\.open\('folder'\)"):
        itma.Catalogue("folder")  # type: ignore[arg-type]


def test_settings_take_values_that_are_no_texts() -> None:
    changes = {"train.steps": 3, "model.image_encoder.levels": (2, 3), "data.root": Path("a"), "train.flip": True}
    settings = itma.settings_for("shapes", changes=changes)
    assert (settings.train.steps, settings.model.image_encoder.levels) == (3, (2, 3))
    assert (settings.data.root, settings.train.flip) == ("a", True)


def test_another_loss_comes_with_its_own_options() -> None:
    changes = {"train.loss_options.weight": 2, "train.loss": "graded"}
    assert itma.settings_for("shapes", changes=changes).train.loss_options.weight == 2.0
    assert itma.settings_for("wardrobe", changes={"train.loss": "soft-triplet"}).train.loss == "soft-triplet"
