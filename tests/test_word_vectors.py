"""Words that training never saw: read as what they mean where that is known, and dropped where it is not."""

import logging
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from itma.data.tokenizer import Tokenizer
from itma.data.word_vectors import PATH, NearWords, WordVectors, load_word_vectors
from itma.errors import RunError
from itma.models.text_encoders.base import TextEncoderConfig

KNOWN = (
    "make it a red blue green sweater jumpsuit sneakers tracksuit backpack sleeveless knee length short long sleeves "
    "checked plain tshirt sunglasses women men dress stripes"
)
READER = Tokenizer.fit([KNOWN], nearest=True)


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("crimson", "red"),
        ("emerald", "green"),
        ("jumper", "sweater"),
        ("Pullover", "sweater"),
        ("trainers", "sneakers"),
        ("rucksack", "backpack"),
        ("tartan", "checked"),
        ("ladies", "women"),
        ("frock", "dress"),
        ("tee", "tshirt"),
    ],
)
def test_a_synonym_is_read_as_the_word_that_is_known(word: str, known: str) -> None:
    assert READER.read_as(f"make it {word}!") == {word.lower(): known}
    assert READER([f"make it {word}!"]).ids.tolist() == READER([f"make it {known}"]).ids.tolist()
    assert READER.unknown(f"make it {word}!") == []


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("dresses", "dress"),
        ("stripe", "stripes"),
        ("striped", "stripes"),
        ("t-shirts", "tshirt"),
        ("swaeter", "sweater"),
        ("sunglases", "sunglasses"),
        ("knee-length", "knee length"),
        ("long-sleeved", "long sleeves"),
        ("greendress", "green dress"),
    ],
)
def test_another_form_or_spelling_of_a_known_word_is_read_as_that(word: str, known: str) -> None:
    assert READER.read_as(word) == {word: known}


@pytest.mark.parametrize(
    "word", "husband holiday elephant outfit clothes because then kitchen quux xyzzy 37 🔥 ? ǅ".split()
)
def test_a_word_that_is_near_to_nothing_is_dropped_and_said(word: str) -> None:
    sentence = f"make it {word}"
    assert READER.read_as(sentence) == {}
    assert READER(["make it", sentence]).ids[1].tolist() == READER(["make it"]).ids[0].tolist()
    assert len(READER.unknown(sentence)) == len(READER.words(word))


def test_a_word_is_no_form_of_one_that_means_nothing() -> None:
    reader = NearWords(["is", "are", "no", "less"])
    assert [reader(word) for word in ("iss", "ares", "nos", "les", "wearing")] == [()] * 5


def test_a_jumper_is_no_jumpsuit_and_tights_are_not_tight() -> None:
    assert Tokenizer.fit(["jumpsuit sweater"], nearest=True).read_as("jumper") == {"jumper": "sweater"}
    assert Tokenizer.fit(["tight leggings"], nearest=True).read_as("tights") == {"tights": "leggings"}


@pytest.mark.parametrize(
    ("word", "known"), [("long", "short"), ("dark", "light"), ("women", "men"), ("loose", "tight"), ("wide", "narrow")]
)
def test_a_word_is_not_read_as_its_opposite(word: str, known: str) -> None:
    assert NearWords([known])(word) == ()


def test_known_words_are_read_as_they_are_whatever_else_is_in_the_table() -> None:
    reader = Tokenizer.fit(["crimson red jumper sweater"], nearest=True)
    assert reader.read_as("crimson jumper") == {}
    assert [piece.text for piece in reader.pieces("crimson jumper")] == ["crimson", "jumper"]


@given(st.lists(st.sampled_from(KNOWN.split())).map(" ".join))
def test_a_sentence_of_known_words_is_read_as_by_a_tokenizer_that_skips(sentence: str) -> None:
    assert READER([sentence]).ids.tolist() == Tokenizer.fit([KNOWN])([sentence]).ids.tolist()


@given(st.text(max_size=60))
def test_any_text_is_read_in_the_same_way_by_all_that_tell_of_it(sentence: str) -> None:
    dropped, read = READER.unknown(sentence), READER.read_as(sentence)
    words = len(READER.words(sentence))
    assert int(READER([sentence]).mask.sum()) == len(READER.pieces(sentence)) >= words - len(dropped)
    assert len(dropped) <= words and (not read or len(dropped) < words)


def test_a_piece_stands_where_the_word_was_written() -> None:
    assert [tuple(piece) for piece in READER.pieces("Crimson, knee-length")] == [
        ("red", 0, 7),
        ("knee", 9, 20),
        ("length", 9, 20),
    ]


def test_two_tokenizers_of_the_same_words_read_alike() -> None:
    again = Tokenizer.fit([KNOWN], nearest=True)
    sentences = ["a scarlet cardigan", "navy slacks", "baggy hoodie", "flowery frock"]
    assert [READER.read_as(one) for one in sentences] == [again.read_as(one) for one in sentences]


def test_a_word_that_is_learned_is_read_as_another_no_more() -> None:
    reader = Tokenizer.fit(["make it red"], nearest=True)
    assert reader.read_as("crimson") == {"crimson": "red"}
    reader.learn(["crimson"])
    assert reader.read_as("crimson") == {}


@pytest.mark.parametrize(("unknown", "ids"), [("nearest", [2]), ("skip", []), ("keep", [1])])
def test_the_setting_decides_what_becomes_of_a_word(unknown: str, ids: list[int]) -> None:
    config = TextEncoderConfig(unknown=unknown)  # type: ignore[arg-type]
    tokens = config.tokenizer(["red"])(["crimson"])
    assert tokens.ids[tokens.mask].tolist() == ids


def test_a_word_that_is_far_is_kept_as_the_unknown_one_where_that_is_wanted_too() -> None:
    reader = Tokenizer.fit(["red"], nearest=True, keep_unknown=True)
    assert reader(["crimson elephant"]).ids.tolist() == [[2, 1]]


def test_nothing_is_read_before_a_word_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the table was read")

    monkeypatch.setattr("itma.data.word_vectors.load_word_vectors", fail)
    reader = Tokenizer.fit(["make it red"], nearest=True)
    assert reader(["make it red"]).mask.all()
    with pytest.raises(AssertionError, match="the table was read"):
        reader(["crimson"])


def test_two_thousand_unknown_words_do_not_hold_up_an_answer() -> None:
    words = " ".join(f"sweq{number:x}rt" for number in range(2_000))
    since = time.perf_counter()
    READER([words])
    assert time.perf_counter() - since < 5


# -- the table --------------------------------------------------------------------------------------------------------


def test_the_table_is_small_and_says_where_it_comes_from() -> None:
    from safetensors import safe_open

    assert PATH.stat().st_size < 2**21
    with safe_open(PATH, "np") as file:
        assert file.metadata()["source"] == "all-MiniLM-L6-v2 (Apache-2.0)"


def test_vectors_are_no_longer_than_one_and_nothing_means_nothing() -> None:
    table = load_word_vectors()
    lengths = np.linalg.norm(table.vectors, axis=1)
    assert lengths.max() < 1.02 and len(lengths) == len(table.rows) > 20_000
    assert lengths[[table.rows[word] for word in ("because", "with", "please")]].max() == 0


def test_a_table_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "words.safetensors"
    with pytest.raises(RunError, match=r"words\.safetensors' are missing; install itma again"):
        load_word_vectors(path)
    path.write_bytes(PATH.read_bytes()[:100_000])
    with pytest.raises(RunError, match=r"words\.safetensors' are damaged .*; install itma again"):
        load_word_vectors(path)
    save_file({"vectors": np.zeros((3, 2), np.int8), "scale": np.ones(1, np.float32)}, path, {"words": "red blue"})
    with pytest.raises(RunError, match=r"2 words and int8 vectors of the shape \(3, 2\)"):
        load_word_vectors(path)
    save_file({"vectors": np.zeros((3, 2), np.int8)}, path)
    with pytest.raises(RunError, match="are damaged"):
        load_word_vectors(path)


def test_a_table_without_a_known_word_reads_no_word() -> None:
    table = WordVectors({"red": 0}, np.ones((1, 1), np.float32))
    assert NearWords(["blau"], table)("red") == () and NearWords([], table)("red") == ()


def test_words_with_a_slash_between_are_two() -> None:
    assert READER.words("red/blue") == ["red", "blue"] and READER.read_as("red/blue") == {}


# -- a search ---------------------------------------------------------------------------------------------------------


def test_a_search_says_what_was_read_as_what(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    from itma.models.feedback import readable
    from tests import made_up

    with caplog.at_level(logging.WARNING):
        assert readable(made_up.model(), "make it crimson", alone=True) == "make it crimson"
    assert "reads as others: 'crimson' as 'red'" in caplog.text
    assert "ignores: 'it'" in caplog.text


def test_near_words_can_be_pickled_after_they_were_asked() -> None:
    near = NearWords(["crimson", "sleeve"])
    assert pickle.loads(pickle.dumps(near))("sleeves") == near("sleeves") == ("sleeve",)
