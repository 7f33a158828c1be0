"""Sentences split into words: known words stay known whatever stands between them."""

from pathlib import Path

import pytest

from itma.data.tokenizer import Tokenizer

TRAINED = ["red with long sleeves", "white v-neck", "blue and 3.5 cm", "middle-left"]


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("red,with long sleeves", ["red", "with", "long", "sleeves"]),
        ("red/white", ["red", "white"]),
        ("red;white", ["red", "white"]),
        ("red\u2014white", ["red", "white"]),
        ("red\u2192white", ["red", "white"]),
        ("long_sleeves", ["long", "sleeves"]),
        ("(red)white!", ["red", "white"]),
        ("V\u2011neck, V\u2010neck; v\u2013neck", ["vneck", "vneck", "vneck"]),
        ("\uff32\uff25\uff24\uff0c\uff57\uff48\uff49\uff54\uff45", ["red", "white"]),
        ("Middle-left", ["middleleft"]),
        ("3.5", ["35"]),
    ],
)
def test_known_words_stay_known_whatever_stands_between_them(sentence: str, words: list[str]) -> None:
    tokenizer = Tokenizer.fit(TRAINED)
    assert tokenizer.words(sentence) == words and not tokenizer.unknown(sentence)
    assert len(tokenizer.pieces(sentence)) == len(words)


@pytest.mark.parametrize(
    ("trained", "sentence"),
    [
        ("袖が長くて赤いもの", "赤いもの"),
        ("红色长袖的", "红色的"),
        ("สีแดงแขนยาว", "แขนสีแดง"),
        ("빨간색으로 긴 소매", "긴빨간색"),
        ("أحمر بأكمام طويلة", "أَحْمَر"),
    ],
)
def test_a_part_of_a_trained_sentence_is_known_where_words_have_no_blanks(trained: str, sentence: str) -> None:
    assert not Tokenizer.fit([trained]).unknown(sentence)


@pytest.mark.parametrize(
    ("trained", "written"),
    [
        ("größer in weiß", "GRÖSSER in WEISS"),
        ("grösser", "größer"),
        ("à manches courtes, doré", "a manches courtes dore"),
        ("istanbul", "İSTANBUL"),
        ("אדום", "אָדֹם".replace("ֹ", "ו")),
    ],
)
def test_a_word_is_known_without_its_accents_and_with_capitals(trained: str, written: str) -> None:
    tokenizer = Tokenizer.fit([trained])
    assert not tokenizer.unknown(written)
    assert tokenizer.content(written) == tokenizer.content(trained)


def test_accents_count_where_two_known_words_differ_in_them_alone() -> None:
    tokenizer = Tokenizer.fit(["schön schon"])
    assert tokenizer.unknown("schôn") == ["schôn"] and not tokenizer.unknown("SCHÖN schon")


def test_latin_words_within_japanese_stay_whole() -> None:
    assert Tokenizer.fit(["赤いdress"]).words("赤いdress") == ["赤", "い", "dress"]


@pytest.mark.parametrize(
    ("sentence", "read", "unknown"),
    [
        ("red-white", ["red", "white"], []),
        ("Red\u2013white dress", ["red", "white"], ["dress"]),
        ("long-sleeves, blue", ["long", "sleeves", "blue"], []),
        ("middle-left", ["middleleft"], []),
        ("red-dress", [], ["reddress"]),
        ("red'white", [], ["redwhite"]),
    ],
)
def test_known_words_that_a_hyphen_joins_are_read_where_the_whole_is_no_word(
    sentence: str, read: list[str], unknown: list[str]
) -> None:
    tokenizer = Tokenizer.fit(TRAINED)
    assert [piece.text for piece in tokenizer.pieces(sentence)] == read
    assert tokenizer.unknown(sentence) == unknown


def test_words_of_a_published_vocabulary_stay_joined_by_a_hyphen() -> None:
    assert Tokenizer.from_published(["<UNK>", "red", "white"]).pieces("red-white") == []


def test_a_published_vocabulary_is_split_as_its_own_code_did() -> None:
    assert Tokenizer.from_published(["<UNK>", "red"], keep_unknown=True).words("red,with V\u2011neck") == [
        "redwith",
        "vneck",
    ]


def test_a_saved_tokenizer_splits_as_before(tmp_path: Path) -> None:
    tokenizer = Tokenizer.fit(TRAINED)
    tokenizer.save(tmp_path / "tokenizer.json")
    read = Tokenizer.load(tmp_path / "tokenizer.json")
    assert read.to_json() == tokenizer.to_json() and read.words("red/white") == ["red", "white"]
