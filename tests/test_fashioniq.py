"""FashionIQ: tiny made-up folders, and the published annotations where they are to be had."""

import importlib.util
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from itma import api
from itma.data import datasets, sources
from itma.data.datasets import fashioniq
from itma.data.datasets.fashioniq import (
    CATEGORIES,
    MARKER,
    PUBLISHED,
    SPLITS,
    FashionIq,
    join_captions,
    split_captions,
    submission,
    write_submission,
)
from itma.data.images import FileImages
from itma.data.sources import DataConfig
from itma.data.triplets import UNKNOWN_TARGET, Triplets
from itma.errors import DataError, UnknownNameError
from itma.evaluation.ranking import rank_targets, recall_at

load, galleries = partial(datasets.load, "fashioniq"), FashionIq(DataConfig("fashioniq")).galleries


Row = tuple[str, str, list[str]]
"""Candidate, target, captions."""

PAIR = ["is red", "has long sleeves"]
NAMES = [
    f"fashioniq/{gallery}{way}{leak}"
    for gallery in ("original", "val-union", "all-categories")
    for way in ("", "/both-orders", "/each")
    for leak in ("", "/leak-free")
]


def write(
    root: Path,
    entries: Mapping[tuple[str, str], Sequence[str]] | None = None,
    rows: Mapping[tuple[str, str], Sequence[Row]] | None = None,
) -> Path:
    """A root; (category, split) → its ASINs and rows, which are four images and one row where none are given."""
    for folder in ("captions", "image_splits"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for category in CATEGORIES:
        for split in SPLITS:
            usual = [f"{category}-{split}-{letter}" for letter in "dbca"]
            asins = (entries or {}).get((category, split), usual)
            listed = (rows or {}).get((category, split), [(usual[0], usual[1], PAIR)])
            objects: list[dict[str, Any]] = [
                {"candidate": candidate, "captions": captions} | ({} if split == "test" else {"target": target})
                for candidate, target, captions in listed
            ]
            (root / "image_splits" / f"split.{category}.{split}.json").write_text(json.dumps(list(asins)))
            (root / "captions" / f"cap.{category}.{split}.json").write_text(json.dumps(objects))
    return root


def in_words(triplets: Triplets, rows: Sequence[int] | np.ndarray) -> list[tuple[str, str, str]]:
    return [(row.reference, row.feedback, row.target) for row in (triplets[int(index)] for index in rows)]


# Rows and samples


def test_images_are_the_distinct_asins_of_the_three_split_files_in_order(tmp_path: Path) -> None:
    entries = {("dress", "val"): ["c", "a"], ("shirt", "val"): ["b", "a"], ("toptee", "val"): ["b", "d"]}
    rows = {("dress", "val"): [("c", "a", PAIR)], ("shirt", "val"): [("a", "b", PAIR)], ("toptee", "val"): []}
    triplets = load(write(tmp_path, entries, rows), "val").triplets
    assert triplets.images.names == ["a", "b", "c", "d"]
    assert triplets.labels.tolist() == [0, 1, 2, 3]
    assert {name: images.tolist() for name, images in galleries(tmp_path, "val").items()} == {
        "dress": [0, 2],
        "shirt": [0, 1],
        "toptee": [1, 3],
    }


def test_training_rows_are_joined_exactly_and_stand_in_the_order_of_the_files(tmp_path: Path) -> None:
    rows = {("shirt", "train"): [("b", "a", [" Is  red", "."]), ("a", "c", ["", "é"])]}
    split = load(write(tmp_path, {("shirt", "train"): ["a", "b", "c"]}, rows), "train")
    usual = f"is red {MARKER} has long sleeves"
    assert in_words(split.triplets, range(4)) == [
        ("dress-train-d", usual, "dress-train-b"),
        ("b", f" Is  red {MARKER} .", "a"),
        ("a", f" {MARKER} é", "c"),
        ("toptee-train-d", usual, "toptee-train-b"),
    ]
    assert list(split.triplets.kinds) == ["dress", "shirt", "shirt", "toptee"]
    assert split.triplets.name == "fashioniq/train"
    assert not split.protocols


def test_val_asks_in_the_order_of_the_file_then_reversed_then_each_caption_that_holds_a_word(tmp_path: Path) -> None:
    rows = {
        ("dress", "val"): [("a", "b", PAIR), ("b", "a", ["", "is blue"])],
        ("shirt", "val"): [("a", "b", [" . ", "2"])],
        ("toptee", "val"): [],
    }
    triplets = load(write(tmp_path, dict.fromkeys(rows, "ab"), rows), "val").triplets
    assert in_words(triplets, range(len(triplets))) == [
        ("a", f"is red {MARKER} has long sleeves", "b"),
        ("b", f" {MARKER} is blue", "a"),
        ("a", f" .  {MARKER} 2", "b"),
        ("a", f"has long sleeves {MARKER} is red", "b"),
        ("b", f"is blue {MARKER} ", "a"),
        ("a", f"2 {MARKER}  . ", "b"),
        ("a", "is red", "b"),
        ("a", "has long sleeves", "b"),
        ("b", "is blue", "a"),
        ("a", "2", "b"),
    ]
    assert "".join(kind[0] for kind in triplets.kinds) == "ddsddsddds"


def test_the_test_split_has_joined_rows_without_targets_and_no_protocol(tmp_path: Path) -> None:
    split = load(write(tmp_path), "test")
    assert split.triplets.targets.tolist() == [UNKNOWN_TARGET] * 3
    assert set(split.triplets.feedback) == {join_captions(*PAIR)}
    assert list(split.triplets.kinds) == list(CATEGORIES)
    assert not split.protocols


CAPTION = st.text().filter(lambda text: MARKER not in text)


@given(CAPTION, CAPTION)
def test_two_captions_come_back_from_a_feedback(first: str, second: str) -> None:
    assert split_captions(join_captions(first, second)) == (first, second)


def test_a_feedback_of_one_caption_is_refused() -> None:
    with pytest.raises(DataError, match="'is red' is not of two captions"):
        split_captions("is red")


@given(st.lists(st.tuples(CAPTION, CAPTION), min_size=1, max_size=8), st.integers(0, 2**32), st.data())
def test_a_sample_is_its_row_with_the_captions_in_either_order(
    pairs: list[tuple[str, str]], seed: int, data: st.DataObject
) -> None:
    count = len(pairs)
    rows = np.array(data.draw(st.lists(st.integers(0, count - 1))), dtype=np.int64)
    triplets = Triplets(
        "fashioniq/train",
        FileImages([str(index) for index in range(2 * count)], [Path("none")] * 2 * count),
        np.arange(2 * count),
        np.arange(count),
        count + np.arange(count),
        [join_captions(*pair) for pair in pairs],
        draw=fashioniq.draw_order,
    )
    drawn = triplets.draw_samples(rows, np.random.default_rng(seed))
    assert drawn.references.tolist() == rows.tolist()
    assert drawn.targets.tolist() == (count + rows).tolist()
    for feedback, row in zip(drawn.feedback, rows.tolist(), strict=True):
        assert feedback in (join_captions(*pairs[row]), join_captions(*pairs[row][::-1]))
    assert drawn.feedback == triplets.draw_samples(rows, np.random.default_rng(seed)).feedback


def test_about_half_of_the_samples_are_swapped(tmp_path: Path) -> None:
    triplets = load(write(tmp_path), "train").triplets
    feedback = triplets.draw_samples(np.zeros(1000, dtype=np.int64), np.random.default_rng(0)).feedback
    assert 450 < feedback.count(join_captions(*PAIR)) < 550


# Protocols


def test_the_protocols_and_the_one_to_use_where_none_is_named(tmp_path: Path) -> None:
    protocols = load(write(tmp_path), "val").protocols
    assert sorted(protocols) == sorted(NAMES)
    assert next(iter(protocols)) == "fashioniq/original"
    for name, protocol in protocols.items():
        assert protocol.name == name
        assert protocol.ks == (1, 5, 10, 50)
        assert [task.name for task in protocol.tasks] == list(CATEGORIES)
        assert protocol.without_reference


ASINS = st.sets(st.sampled_from("abcdefgh"), min_size=2)
WORLD = st.fixed_dictionaries({(category, split): ASINS for category in CATEGORIES for split in ("train", "val")})
TEXT = st.sampled_from(["", ".", "red", "long"])


@settings(max_examples=30)
@given(WORLD, st.data())
def test_queries_and_galleries_are_those_of_the_definition(
    tmp_path_factory: pytest.TempPathFactory, world: dict[tuple[str, str], set[str]], data: st.DataObject
) -> None:
    rows: dict[tuple[str, str], list[Row]] = {}
    for (category, split), asins in world.items():
        pairs = st.permutations(sorted(asins)).map(lambda order: (order[0], order[1]))
        triple = st.tuples(pairs, TEXT, TEXT).map(lambda parts: (*parts[0], [parts[1], parts[2]]))
        rows[category, split] = data.draw(st.lists(triple, max_size=3)) if split == "val" else []
    entries = {key: sorted(asins, reverse=True) for key, asins in world.items()}
    split = load(write(tmp_path_factory.getbasetemp() / "fashioniq", entries, rows), "val")
    triplets, names = split.triplets, np.array(split.triplets.images.names)
    for name, protocol in split.protocols.items():
        for task in protocol.tasks:
            own = rows[task.name, "val"]
            expected = [(a, join_captions(*captions), b) for a, b, captions in own]
            if "both-orders" in name:
                expected += [(a, join_captions(*captions[::-1]), b) for a, b, captions in own]
            elif "each" in name:
                expected = [(a, text, b) for a, b, captions in own for text in captions if text not in ("", ".")]
            if "original" in name:
                ranked = world[task.name, "val"]
            elif "val-union" in name:
                ranked = {asin for row in own for asin in row[:2]}
            else:
                ranked = {asin for category in CATEGORIES for asin in world[category, "val"]}
            if "leak-free" in name:
                files = [world[category, "train"] | world[category, "val"] for category in CATEGORIES]
                leaking = {asin for asin in "abcdefgh" if sum(asin in file for file in files) > 1}
                expected = [row for row in expected if not {row[0], row[2]} & leaking]
                ranked = ranked - leaking
            assert in_words(triplets, task.rows) == expected
            assert sorted(names[task.gallery]) == sorted(ranked)
            assert set(triplets.targets[task.rows]) | set(triplets.references[task.rows]) <= set(task.gallery)


def test_what_is_left_out_or_counted_twice_is_said_with_its_number(tmp_path: Path) -> None:
    shirts = [("a", "b", ["", "red"]), ("a", "c", PAIR), ("b", "c", PAIR), ("b", "c", PAIR)]
    entries = {("shirt", "val"): "abc", ("toptee", "train"): "ade"}
    rows = {("shirt", "val"): shirts, ("toptee", "train"): []}
    protocols = load(write(tmp_path, entries, rows), "val").protocols
    assert protocols["fashioniq/original"].about == (
        "gallery = all images of the category's val split file; the two captions joined in the file's order; the "
        "reference is removed; only the target counts; 1 rows that stand in the files more than once count each time"
    )
    assert "(1 without a word are left out: shirt 1)" in protocols["fashioniq/val-union/each"].about
    leak_free = protocols["fashioniq/original/each/leak-free"]
    assert "queries with one as reference or target are not asked (dress 0 of 2, shirt 3 of 7, " in leak_free.about
    assert len(leak_free.tasks[1].rows) == 4


def test_without_the_split_files_of_train_there_are_no_leak_free_protocols(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path)
    (tmp_path / "image_splits" / "split.shirt.train.json").unlink()
    assert list(load(tmp_path, "val").protocols) == [name for name in NAMES if "leak-free" not in name]
    assert "split.shirt.train.json' does not exist" in caplog.text


# Images


@pytest.mark.parametrize(
    "layout",
    [
        "images/{}.jpg",
        "images/{}.png",
        "images/{}.JPG",
        "images/dress/{}.jpg",
        "img/dress/{}",
        "img/dress/{}.jpeg",
        "img/{}",
        "resized_images/{}.jpg",
        "resized_images/dress/{}.png",
        "image_data/dress/{}.jpg",
        "fashion_iq_data/images/dress/{}.jpg",
    ],
)
def test_an_image_is_found_where_people_have_it(tmp_path: Path, layout: str) -> None:
    path = write(tmp_path) / layout.format("dress-val-c")
    path.parent.mkdir(parents=True)
    path.touch()
    assert paths(tmp_path)["dress-val-c"] == path
    assert paths(tmp_path)["dress-val-a"] == tmp_path / "images" / "dress-val-a.jpg"


def test_of_several_files_the_first_place_and_ending_is_taken(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("images/dress-val-a.png", "images/dress-val-a.jpg", "img/dress/dress-val-a", "img/dress/dress-val-b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("images/dress-val-b.jpg.part", "images/.dress-val-b.jpg", "images/dress-val-b.txt"):
        (tmp_path / name).touch()
    assert paths(tmp_path)["dress-val-a"] == tmp_path / "images" / "dress-val-a.jpg"
    assert paths(tmp_path)["dress-val-b"] == tmp_path / "img" / "dress" / "dress-val-b"


def test_images_need_not_exist(tmp_path: Path) -> None:
    assert set(paths(write(tmp_path)).values()) == {
        tmp_path / "images" / f"{category}-val-{letter}.jpg" for category in CATEGORIES for letter in "abcd"
    }


def test_a_file_in_place_of_a_folder_of_images_holds_none(tmp_path: Path) -> None:
    (write(tmp_path) / "images").touch()
    assert paths(tmp_path)["dress-val-a"] == tmp_path / "images" / "dress-val-a.jpg"


def test_a_folder_of_images_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def refuse(folder: Path) -> Any:
        if folder.name == "images":
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    write(tmp_path)
    monkeypatch.setattr("itma.data.datasets.reading.os.scandir", refuse)
    with pytest.raises(DataError, match=r"images' cannot be read: Permission denied; change its permissions"):
        load(tmp_path, "val")


def paths(root: Path) -> dict[str, Path]:
    images = load(root, "val").triplets.images
    assert isinstance(images, FileImages)
    return dict(zip(images.names, images.paths, strict=True))


# Bad input

GOOD = {"candidate": "dress-val-a", "target": "dress-val-b", "captions": PAIR}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (None, "it holds null; expected an object"),
        ("is red", "it holds a text; expected an object"),
        ({}, "'candidate' is missing, found nothing"),
        ({"candidate": "dress-val-a", "captions": PAIR}, "'target' is missing, found candidate, captions"),
        ({"target": "dress-val-a", "captions": PAIR}, "'candidate' is missing, found target, captions"),
        ({"candidate": "dress-val-a", "target": "dress-val-b"}, "'captions' is missing, found candidate, target"),
        (GOOD | {"captions": None}, "captions are null; expected a list of two texts"),
        (GOOD | {"captions": "is red"}, 'captions are "is red"; expected a list of two texts'),
        (GOOD | {"captions": ["is red"]}, r'captions are \["is red"\]; expected a list of two texts'),
        (GOOD | {"captions": [*PAIR, "x" * 90]}, r"captions are .{50,60}…; expected a list of two texts"),
        (GOOD | {"captions": ["is red", None]}, r'captions are \["is red", null\]; expected a list of two texts'),
        (GOOD | {"captions": ["is red", f"a {MARKER} b"]}, "a caption holds 'inadditiontothat'"),
        (GOOD | {"target": "shirt-val-b"}, r'the target "shirt-val-b" is not among the 4 ASINs of .*split\.dress\.val'),
        (
            GOOD | {"candidate": "B0"},
            r'the candidate "B0" is not among the 4 ASINs of .*captions and split files of one',
        ),
        (GOOD | {"candidate": ["B0"]}, r"'candidate' is \[\"B0\"\]; expected a text"),
        (GOOD | {"target": None}, "'target' is null; expected a text"),
        (GOOD | {"target": "dress-val-a"}, "candidate and target are the same image, 'dress-val-a'"),
    ],
)
def test_a_row_that_makes_no_sense_is_named_with_what_was_expected(tmp_path: Path, row: object, problem: str) -> None:
    path = write(tmp_path) / "captions" / "cap.dress.val.json"
    path.write_text(json.dumps([GOOD, row]))
    with pytest.raises(DataError, match=rf"cap\.dress\.val\.json', row 2: {problem}.*; get the published annotations"):
        load(tmp_path, "val")


@pytest.mark.parametrize("asin", [None, 7, "", "../a", "a\\b", "a\0", ["a"]])
def test_an_entry_of_a_split_file_that_is_no_asin_is_named(tmp_path: Path, asin: object) -> None:
    path = write(tmp_path) / "image_splits" / "split.toptee.val.json"
    path.write_text(json.dumps(["toptee-val-a", "toptee-val-b", asin]))
    with pytest.raises(DataError, match=r"split\.toptee\.val\.json', row 3: .* is no image's ASIN"):
        load(tmp_path, "val")


@pytest.mark.parametrize("name", ["captions/cap.shirt.val.json", "image_splits/split.shirt.val.json"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "does not exist; get the published annotations again"),
        ('[{"candidate": "shirt-val-a", "tar', "is damaged or was cut off"),
        ('{"rows": []}', "holds an object; expected a list of rows"),
    ],
    ids=["missing", "cut", "no list"],
)
def test_a_file_that_is_missing_or_damaged_is_named(
    tmp_path: Path, name: str, content: str | None, problem: str
) -> None:
    path = write(tmp_path) / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=rf"{name}' {problem}"):
        load(tmp_path, "val")


def test_byte_order_marks_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    plain, windows = write(tmp_path / "plain"), write(tmp_path / "windows")
    for path in windows.glob("*/*.json"):
        text = json.dumps(json.loads(path.read_text()), indent=4)
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    expected, actual = (load(root, "val").triplets for root in (plain, windows))
    assert actual.images.names == expected.images.names
    assert in_words(actual, range(len(actual))) == in_words(expected, range(len(expected)))


@pytest.mark.parametrize("subfolder", ["home/captions", "home/image_splits", "."])
def test_a_root_one_level_off_is_answered_with_the_right_one(tmp_path: Path, subfolder: str) -> None:
    root = write(tmp_path.resolve() / "home")
    with pytest.raises(DataError, match="not the folder of FashionIQ: expected captions, image_splits in it") as caught:
        load(tmp_path.resolve() / subfolder, "val")
    assert str(caught.value).endswith(f"; give {str(root)!r} instead")


def test_an_unknown_split_lists_the_choices(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown split of FashionIQ 'valid'; choose from: test, train, val"):
        load(write(tmp_path), "valid")


def test_it_is_found_by_its_name(tmp_path: Path) -> None:
    assert datasets.load("fashioniq", write(tmp_path), "train").triplets.name == "fashioniq/train"


# Submissions


@pytest.fixture
def test_split(tmp_path: Path) -> tuple[Triplets, dict[str, np.ndarray]]:
    """One row of each category; dress has 60 images, the others 4."""
    many = [f"dress-test-{letter}" for letter in "dbca"] + [f"{index:02d}" for index in range(56)]
    write(tmp_path, {("dress", "test"): many})
    return load(tmp_path, "test").triplets, galleries(tmp_path, "test")


def rankings(triplets: Triplets, ranked: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    return [
        ranked[kind][ranked[kind] != reference][::-1]
        for kind, reference in zip(triplets.kinds, triplets.references, strict=True)
    ]


def test_a_submission_holds_each_query_with_its_captions_and_its_first_50(
    tmp_path: Path, test_split: tuple[Triplets, dict[str, np.ndarray]]
) -> None:
    triplets, ranked = test_split
    files = submission(triplets, ranked, rankings(triplets, ranked))
    assert files["shirt"] == [
        {"candidate": "shirt-test-d", "captions": PAIR, "ranking": [f"shirt-test-{letter}" for letter in "cba"]}
    ]
    first = ["dress-test-c", "dress-test-b", "dress-test-a"]
    assert files["dress"][0]["ranking"] == first + [f"{index:02d}" for index in range(55, 8, -1)]
    written = write_submission(tmp_path / "out", files)
    assert sorted(path.name for path in written) == [f"{category}.predict.json" for category in CATEGORIES]
    assert {path.name.split(".")[0]: json.loads(path.read_text()) for path in written} == files


def test_the_joined_rows_of_val_can_be_submitted_and_single_captions_cannot(tmp_path: Path) -> None:
    triplets, ranked = load(write(tmp_path), "val").triplets, galleries(tmp_path, "val")
    some = triplets.only(np.arange(3))
    assert list(submission(some, ranked, rankings(some, ranked))) == list(CATEGORIES)
    with pytest.raises(DataError, match="not of two captions"):
        submission(triplets, ranked, rankings(triplets, ranked))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda order, reference: order[:49], "holds 49 images; 50 are needed"),
        (lambda order, reference: np.r_[order, reference], "holds its own reference 'dress-test-d'"),
        (lambda order, reference: np.r_[order[:1], order], "holds an image twice"),
        (lambda order, reference: np.r_[order, -1], "one that is not among the dress images"),
        (lambda order, reference: np.r_[order, 10_000], "one that is not among the dress images"),
    ],
    ids=["short", "reference", "twice", "negative", "outside"],
)
def test_a_ranking_that_would_be_refused_or_be_wrong_is_not_submitted(
    test_split: tuple[Triplets, dict[str, np.ndarray]],
    change: Callable[[np.ndarray, int], np.ndarray],
    problem: str,
) -> None:
    triplets, ranked = test_split
    orders = rankings(triplets, ranked)
    orders[0] = change(orders[0], int(triplets.references[0]))
    with pytest.raises(DataError, match=f"fashioniq/test, row 1: its ranking .*{problem}"):
        submission(triplets, ranked, orders)


def test_a_submission_needs_a_ranking_for_each_row_and_a_gallery_for_each_category(
    test_split: tuple[Triplets, dict[str, np.ndarray]],
) -> None:
    triplets, ranked = test_split
    with pytest.raises(DataError, match="3 rows of 3 categories, but there are 2 rankings"):
        submission(triplets, ranked, rankings(triplets, ranked)[:2])
    with pytest.raises(UnknownNameError, match="unknown category of a gallery 'dress'; choose from: shirt, toptee"):
        submission(triplets, {name: ranked[name] for name in ("shirt", "toptee")}, rankings(triplets, ranked))


# The published annotations

Real = Callable[[str], Path]


@pytest.mark.realdata
@pytest.mark.parametrize("split", SPLITS)
def test_the_published_files_hold_what_was_published(real_data: Real, split: str) -> None:
    root = real_data("fashioniq")
    triplets, entries = load(root, split).triplets, galleries(root, split)
    rows = 6_016 if split == "val" else len(triplets)  # of val, those in the file's order
    counts = {"distinct images": len(triplets.labels)}
    for category in CATEGORIES:
        counts[f"{category} queries"] = list(triplets.kinds[:rows]).count(category)
        counts[f"{category} split entries"] = len(entries[category])
    assert counts == PUBLISHED[split]


def test_published_counts_add_up_to_the_totals_that_papers_give() -> None:
    totals = {
        what: sum(count for split in SPLITS for name, count in PUBLISHED[split].items() if name.endswith(what))
        for what in ("queries", "split entries")
    }
    assert totals == {"queries": 30_134, "split entries": 77_683}


@pytest.mark.realdata
def test_protocols_have_the_sizes_that_follow_from_the_published_files(real_data: Real) -> None:
    split = load(real_data("fashioniq"), "val")
    sizes = {
        name.removeprefix("fashioniq/"): [(len(task.rows), len(task.gallery)) for task in protocol.tasks]
        for name, protocol in split.protocols.items()
    }
    assert sizes["original"] == [(2017, 3817), (2038, 6346), (1961, 5373)]
    assert sizes["original/both-orders"] == [(4034, 3817), (4076, 6346), (3922, 5373)]
    assert sizes["original/each"] == [(4034, 3817), (4075, 6346), (3920, 5373)]
    assert sizes["original/leak-free"] == [(2017, 3817), (1748, 5806), (1656, 4860)]
    assert sizes["original/both-orders/leak-free"] == [(4034, 3817), (3496, 5806), (3312, 4860)]
    assert sizes["original/each/leak-free"] == [(4034, 3817), (3495, 5806), (3310, 4860)]
    assert sizes["val-union"] == [(2017, 2628), (2038, 3089), (1961, 2902)]
    assert sizes["val-union/leak-free"] == [(2017, 2628), (1748, 2832), (1656, 2623)]
    assert sizes["all-categories"] == [(2017, 15415), (2038, 15415), (1961, 15415)]
    assert sizes["all-categories/leak-free"] == [(2017, 14483), (1748, 14483), (1656, 14483)]
    assert "(3 without a word are left out: shirt 1, toptee 2)" in split.protocols["fashioniq/original/each"].about


@pytest.mark.realdata
def test_recall_is_that_of_the_published_evaluation(real_data: Real) -> None:
    root = real_data("fashioniq")
    folder = root.parents[1] / "protocols"
    if not (folder / "reference.py").exists() or not (folder / "expected.json").exists():
        pytest.skip(f"reference.py and expected.json are not in {str(folder)!r}")
    reference = module(folder / "reference.py")
    expected = json.loads((folder / "expected.json").read_text())["fashioniq.dress"]
    split = load(root, "val")
    task = split.protocols["fashioniq/original"].tasks[0]
    names, triplets = split.triplets.images.names, split.triplets
    assert (task.name, len(task.rows), len(task.gallery)) == ("dress", expected["queries"], expected["gallery"])
    gallery = unit([reference.gallery_vector(names[i], names[i], expected["spread"]) for i in task.gallery.tolist()])
    queries = unit(
        [
            reference.query_vector(row.target, row.reference, row.feedback, expected["noise"], expected["pull"])
            for row in (triplets[index] for index in task.rows.tolist())
        ]
    )
    targets, excluded = (
        torch.from_numpy(np.searchsorted(task.gallery, indices[task.rows]))
        for indices in (triplets.targets, triplets.references)
    )
    ranks = rank_targets(queries, gallery, targets, torch.arange(len(gallery)), excluded).rank.numpy()
    wanted = {int(k): share for k, share in expected["recall"].items()}
    assert recall_at(ranks, list(wanted)) == pytest.approx(wanted, abs=1 / expected["queries"])


def module(path: Path) -> ModuleType:
    """A Python file that belongs to no package; its vectors are made once for each key."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    code.vector = cache(code.vector)  # type: ignore[attr-defined]
    return code


def unit(vectors: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(np.stack(vectors)).float())


def test_chosen_categories_need_no_files_of_the_others(tmp_path: Path) -> None:
    write(tmp_path)
    for path in tmp_path.glob("*/*toptee*"):
        path.unlink()
    split = datasets.load("fashioniq", tmp_path, "val", categories=("dress", "shirt"))
    assert [task.name for task in split.protocol().tasks] == ["dress", "shirt"]
    assert split.protocol().about.endswith("; of dress and shirt alone")
    with pytest.raises(UnknownNameError, match="category of fashioniq 'coat'"):
        datasets.load("fashioniq", tmp_path, "val", categories=("coat",))


@pytest.mark.parametrize("damage", ["empty", "missing"])
def test_a_split_that_cannot_be_measured_is_a_warning_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    root = write(tmp_path / "data")
    (root / "images").mkdir()
    for category, letter in itertools.product(CATEGORIES, "dbca"):
        Image.new("RGB", (4, 4)).save(root / "images" / f"{category}-train-{letter}.jpg")
    for path in root.glob("captions/cap.*.val.json"):
        path.write_text("[]") if damage == "empty" else path.unlink()
    changes = {"data.root": root, "train.steps": 2, "train.batch": 2, "train.warmup": 1, "data.cache": "false"}
    run = api.train("fashioniq", preset="tiny", changes=changes, out=tmp_path / "run")
    assert "recall on the split val is not measured during training" in caplog.text
    api.resume(run, changes={"train.steps": 3})
    assert (run / "step-000003").is_dir()
    with pytest.raises(DataError):
        api.train("fashioniq", preset="tiny", changes={**changes, "train.metric": "test/recall@1"}, out=tmp_path / "b")


def test_a_missing_layout_lists_the_places_that_were_tried(tmp_path: Path) -> None:
    config = DataConfig("fashioniq", root=str(write(tmp_path)))
    with pytest.raises(DataError, match=r"looked under .* in images, images/<category>, image_data, "):
        sources.load(config, "train")


def test_unreadable_images_count_as_missing_where_that_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "images").mkdir()
    for category in CATEGORIES:
        for letter in "dbca":
            Image.new("RGB", (4, 4)).save(tmp_path / "images" / f"{category}-train-{letter}.jpg")
    (tmp_path / "images" / "dress-train-d.jpg").write_bytes(b"")
    (tmp_path / "images" / "shirt-train-b.jpg").write_text("<html>not found</html>")
    config = DataConfig("fashioniq", root=str(tmp_path), coverage=0.1)
    assert len(sources.load(config, "train").triplets) == 3
    left = sources.load(replace(config, unreadable="missing"), "train").triplets
    assert left.kinds == ["toptee"]
