"""Sentences to numbers: any text is taken, none is lost silently."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itma.data.tokenizer import MAX_WORDS, Tokenizer
from itma.errors import ConfigError, DataError, FeedbackError, RunError

TOKENIZER = Tokenizer.fit(["make red cube blue", "remove red object"])


@given(
    st.lists(st.text(max_size=80) | st.lists(st.sampled_from(["red", "Blue!", "quux", "🔥"])).map(" ".join), min_size=1)
)
def test_any_text_gives_as_many_masked_words_as_it_has_known_ones(sentences: list[str]) -> None:
    tokens = TOKENIZER(sentences)
    assert tokens.ids.shape == tokens.mask.shape
    known = [len(TOKENIZER.words(sentence)) - len(TOKENIZER.unknown(sentence)) for sentence in sentences]
    assert tokens.mask.sum(1).tolist() == [min(MAX_WORDS, words) for words in known]
    assert (tokens.ids[~tokens.mask] == 0).all()
    assert (tokens.ids[tokens.mask] > 1).all()


def test_of_a_large_vocabulary_words_that_say_something_are_shown() -> None:
    sentences = [
        f"the same {word} but in a"
        for word in (
            "dress shirt skirt jeans boots scarf black white green brown purple orange yellow sporty casual"
        ).split()
    ]
    with pytest.raises(FeedbackError, match="with words like: ") as refused:
        Tokenizer.fit(sentences).check("quux")
    words = str(refused.value).rpartition(": ")[2].split(", ")
    assert len(words) == 12 and not {"the", "same", "but", "in", "a"} & set(words)


def test_frequent_words_come_first_then_the_alphabet() -> None:
    assert list(TOKENIZER.vocabulary) == ["<pad>", "<unk>", "red", "blue", "cube", "make", "object", "remove"]


@pytest.mark.parametrize("sentence", ["", "   ", "...", "—!?"])
def test_a_sentence_without_words_is_an_empty_row(sentence: str) -> None:
    assert not TOKENIZER([sentence]).mask.any()


def test_an_emoji_is_an_unknown_word() -> None:
    assert TOKENIZER.unknown("make 🔥 red") == ["🔥"]
    assert not TOKENIZER(["🔥"]).mask.any()


def test_unknown_words_are_left_out() -> None:
    assert TOKENIZER(["please make it red"]).ids.tolist() == TOKENIZER(["make red"]).ids.tolist()


def test_the_marks_of_padding_and_unknown_are_not_words_of_a_sentence() -> None:
    assert not TOKENIZER(["<pad> <unk>"]).mask.any()


def test_five_thousand_words_are_cut_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tokens = TOKENIZER(["red " * 5_000])
    assert tokens.ids.shape == (1, MAX_WORDS)
    assert "cut after 64 words" in caplog.text


def test_a_saved_tokenizer_reads_alike(tmp_path: Path) -> None:
    TOKENIZER.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    assert again.vocabulary == TOKENIZER.vocabulary
    assert again(["make middle-left red"]).ids.tolist() == TOKENIZER(["make middle-left red"]).ids.tolist()


def test_a_missing_or_damaged_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"tokenizer.json' is missing"):
        Tokenizer.load(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(RunError, match=r"tokenizer.json' is damaged"):
        Tokenizer.load(tmp_path / "tokenizer.json")


def test_training_sentences_without_words_are_refused() -> None:
    with pytest.raises(DataError, match="no word in any"):
        Tokenizer.fit(["", "?!"])
    with pytest.raises(ConfigError, match="max_words=0"):
        Tokenizer.fit(["red"], max_words=0)
