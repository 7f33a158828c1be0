"""The words of published checkpoints, built again in the order in which the published code numbered them."""

import json
import logging
import string
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itma.data import datasets
from itma.data.tokenizer import Tokenizer
from itma.data.vocabulary import UNKNOWN, build_words, dataset_texts, split_as_published, words_for
from itma.errors import ConfigError, DataError, UnknownNameError

CAPTIONS = {"dress": ("is red", "has a bow"), "shirt": ("is a blue one", ""), "toptee": ("red bow", "is Red-der")}
IN_ORDER = [UNKNOWN, "inadditiontothat", "is", "red", "has", "a", "bow", "blue", "one", "redder"]


@pytest.fixture
def fashioniq(tmp_path: Path) -> Path:
    for folder in ("captions", "image_splits", "images"):
        (tmp_path / folder).mkdir()
    for number, (category, captions) in enumerate(CAPTIONS.items()):
        names = [f"B{number}A", f"B{number}B"]
        row = {"candidate": names[0], "target": names[1], "captions": list(captions)}
        (tmp_path / "captions" / f"cap.{category}.train.json").write_text(json.dumps([row]))
        (tmp_path / "image_splits" / f"split.{category}.train.json").write_text(json.dumps(names))
    return tmp_path


@given(st.text(max_size=60) | st.text(string.punctuation + string.whitespace + "aZé9", max_size=30))
def test_words_are_split_as_the_tokenizer_of_imported_models_does(text: str) -> None:
    assert Tokenizer.from_published([UNKNOWN], keep_unknown=True).words(text) == split_as_published(text)


def test_fashioniq_begins_with_the_marker_and_goes_on_in_order_of_appearance(fashioniq: Path) -> None:
    assert build_words("fashioniq", fashioniq, len(IN_ORDER), order="appearance") == IN_ORDER


def test_words_may_be_sorted(fashioniq: Path) -> None:
    words = build_words("fashioniq", fashioniq, len(IN_ORDER), order="sorted")
    assert words == [UNKNOWN, *sorted(IN_ORDER[1:])]


def test_rows_whose_images_are_not_there_are_left_out_where_the_size_says_so(fashioniq: Path) -> None:
    for name in ("B0A", "B0B", "B1A"):
        (fashioniq / "images" / f"{name}.jpg").touch()
    words = [UNKNOWN, "inadditiontothat", "is", "red", "has", "a", "bow"]
    assert build_words("fashioniq", fashioniq, len(words), order="appearance") == words
    assert build_words("fashioniq", fashioniq, len(IN_ORDER), order="appearance") == IN_ORDER
    with pytest.raises(DataError, match=r"hold 6 \(captions of the 1 rows .* or 9 \(all captions\) words, .* for 7"):
        build_words("fashioniq", fashioniq, 8, order="appearance")


def test_rare_words_keep_their_number_and_are_read_as_unknown(fashioniq: Path) -> None:
    words = build_words("fashioniq", fashioniq, len(IN_ORDER), order="appearance", rare=2)
    tokenizer = Tokenizer.from_published(words, keep_unknown=True)
    assert len(tokenizer) == len(IN_ORDER)
    assert tokenizer(["is red has one bow"]).ids.tolist() == [[2, 3, 0, 0, 6]]


def test_fashion200k_and_mitstates_warn_that_their_order_is_the_folders(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "dress_train_detect_all.txt").write_text("women/a.jpeg\t0.5\tred & dress\n")
    for folder in ("old house", "new house", "ancient clock"):  # a clock is for testing
        (tmp_path / "images" / folder).mkdir(parents=True)
        (tmp_path / "images" / folder / "1.jpg").touch()
    with caplog.at_level(logging.WARNING):
        assert build_words("fashion200k", tmp_path, 4, order="appearance") == [UNKNOWN, "red", "andmark", "dress"]
        assert sorted(build_words("mitstates", tmp_path, 4, order="appearance")) == [UNKNOWN, "house", "new", "old"]
    assert caplog.text.count("measure the imported model before relying on it") == 2
    caplog.clear()
    build_words("mitstates", tmp_path, 4, order="sorted")
    assert not caplog.text


def test_another_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="trained on 'birds', whose words cannot be built again"):
        words_for(tmp_path, 3, name="birds", order="sorted")
    with pytest.raises(UnknownNameError, match="birds"):
        dataset_texts("birds", tmp_path)


def test_a_list_does_not_say_which_words_are_rare(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("red\n")
    with pytest.raises(ConfigError, match="--threshold_rare_words=5"):
        words_for(tmp_path / "words.txt", 2, name=None, order="sorted", rare=5)


@pytest.mark.realdata
def test_the_published_captions_give_the_words_in_the_order_of_the_files(real_data: Callable[[str], Path]) -> None:
    root = real_data("fashioniq")
    (texts,) = dataset_texts("fashioniq", root)
    expected: dict[str, None] = {"inadditiontothat": None}
    for category in ("dress", "shirt", "toptee"):
        for row in json.loads((root / "captions" / f"cap.{category}.train.json").read_text()):
            for caption in row["captions"]:
                clean = "".join(
                    letter for letter in caption.lower() if letter.isascii() and letter not in string.punctuation
                )
                expected.update(dict.fromkeys(clean.split()))
    assert build_words("fashioniq", root, len(expected) + 1, order="appearance") == [UNKNOWN, *expected]
    assert texts.certain


@pytest.mark.realdata
def test_the_css_annotation_gives_its_words(real_data: Callable[[str], Path]) -> None:
    root = real_data("css")
    feedback = datasets.load("css", root, "train").triplets.feedback
    expected = list(dict.fromkeys(" ".join(feedback).replace("-", "").split()))
    assert build_words("css", root, len(expected) + 1, order="appearance") == [UNKNOWN, *expected]
