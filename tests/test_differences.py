"""Birds-to-Words, Spot-the-Diff and LaSCo, in small files of their published forms."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itma.data import datasets
from itma.data.datasets.birds_to_words import COLUMNS, TABLE
from itma.data.validation.doctor import examine
from itma.errors import DataError
from itma.evaluation.evaluate import score

Row = dict[str, Any]


def check_identity(split: datasets.Split, queries: int) -> None:
    """Embeddings that stand for their targets are found, by the first protocol."""
    triplets = split.triplets
    gallery = np.eye(len(triplets.labels))
    report = score(triplets, split.protocol(), gallery[triplets.targets], gallery).report
    assert report.queries == queries and report.recall[1] == 1.0


# -- Birds-to-Words ---------------------------------------------------------------------------------------------------


def link(photo: int) -> str:
    return f"https://static.inaturalist.org/photos/{photo}/large.jpg?{photo}"


def bird(left: int, right: int, split: str, description: str = "animal1 is brown . animal2 is blue .") -> str:
    cells = ["http://x", link(left), "Turdus", "base", "http://y", link(right), "Corvus", "visual", split, "1"]
    return "\t".join([*cells, description])


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    rows = ["\t".join(COLUMNS), bird(1, 2, "train"), bird(3, 4, "test"), bird(3, 4, "test", "animal2 is small")]
    (tmp_path / TABLE).write_text("\n".join([*rows, bird(5, 6, "test"), bird(7, 8, "val")]) + "\n")
    return tmp_path


def test_birds_are_learnt_from_both_sides(birds: Path) -> None:
    triplets = datasets.load("birds_to_words", birds, "train").triplets
    assert [(triplets[row].reference, triplets[row].target) for row in range(2)] == [("1", "2"), ("2", "1")]
    assert triplets.feedback == ["animal1 is brown . animal2 is blue .", "animal2 is brown . animal1 is blue ."]


def test_each_description_of_two_birds_is_asked_once(birds: Path) -> None:
    check_identity(datasets.load("birds_to_words", birds, "test"), 3)


def test_birds_are_found_by_their_number_or_by_the_end_of_their_link(birds: Path) -> None:
    (birds / "images").mkdir()
    Image.new("RGB", (8, 8)).save(birds / "images" / "3.png")
    Image.new("RGB", (8, 8)).save(birds / "images" / "large.jpg?5", "JPEG")
    triplets = datasets.load("birds_to_words", birds, "test").triplets
    there = dict(zip(triplets.images.names, (~triplets.images.missing()).tolist(), strict=True))
    assert there == {"3": True, "4": False, "5": True, "6": False}


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("a\tb", "it has 2 columns; expected 11"),
        (bird(1, 2, "dev"), 'its split is "dev"; expected train, val, test'),
        (bird(1, 1, "test"), "its images are .*; expected two links"),
    ],
)
def test_a_bird_s_row_that_cannot_be_used_is_named(birds: Path, bad: str, problem: str) -> None:
    with (birds / TABLE).open("a") as file:
        file.write(bad + "\n")
    with pytest.raises(DataError, match=rf"\.tsv', row 7: {problem}"):
        datasets.load("birds_to_words", birds, "test")


# -- Spot-the-Diff ----------------------------------------------------------------------------------------------------


def pairs(root: Path, rows: list[Row]) -> Path:
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "val.json").write_text(json.dumps(rows))
    return root


SPOTTED = [
    {"img_id": "5406", "sentences": ["the truck turns"]},
    {"img_id": "8069", "sentences": ["", "no people", "a"]},
]


def test_each_sentence_on_what_has_changed_is_asked_and_empty_ones_are_not(tmp_path: Path) -> None:
    split = datasets.load("spot_the_diff", pairs(tmp_path, SPOTTED), "val")
    check_identity(split, 3)
    assert split.triplets[1].reference == "8069.png" and split.triplets[1].target == "8069_2.png"
    assert split.triplets.feedback == ["the truck turns", "no people", "a"]


def test_the_doctor_names_empty_sentences_on_what_has_changed(tmp_path: Path) -> None:
    rows = [{"img_id": "1", "sentences": ["a car left", " "]}, {"img_id": "2.png", "sentences": [""]}]
    findings = examine("spot_the_diff", pairs(tmp_path, rows), images=False).findings
    (finding,) = (one for one in findings if one.what.startswith("sentences that are empty") and one.split == "val")
    assert finding.severity == "note"
    assert finding.examples == ("val.json row 1, sentence 2", "val.json row 2, sentence 1")


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ({"img_id": "1", "sentences": []}, r"'sentences' is \[\]; expected a list of texts, at least one"),
        ({"img_id": 7, "sentences": ["a"]}, "'img_id' is 7; expected a text"),
        ({"img_id": "../7", "sentences": ["a"]}, "is no pair's img_id"),
    ],
)
def test_a_pair_that_cannot_be_used_is_named(tmp_path: Path, bad: Row, problem: str) -> None:
    with pytest.raises(DataError, match=rf"val\.json', row 3: .*{problem}"):
        datasets.load("spot_the_diff", pairs(tmp_path, [*SPOTTED, bad]), "val")


# -- LaSCo ------------------------------------------------------------------------------------------------------------


def coco(number: int) -> list[object]:
    return [number, f"val2014/COCO_val2014_{number:012d}.jpg"]


def lasco_row(reference: int, target: int) -> Row:
    return {
        "qid": 1000 * reference,
        "query-image": coco(reference),
        "query-text": "The person rides",
        "target-image": coco(target),
    }


def lasco(root: Path, rows: list[Row]) -> Path:
    for split in ("train", "val"):
        (root / f"lasco_{split}.json").write_text(json.dumps(rows))
    corpus = [{"id": number, "path": f"val/{coco(number)[1]}"} for number in range(5)]
    (root / "lasco_val_corpus.json").write_text(json.dumps(corpus))
    return root


def test_lasco_s_gallery_is_the_published_list(tmp_path: Path) -> None:
    split = datasets.load("lasco", lasco(tmp_path, [lasco_row(0, 3), lasco_row(1, 2)]), "val")
    check_identity(split, 2)
    assert len(split.protocol().tasks[0].gallery) == 5
    assert split.triplets[0].target == "val2014/COCO_val2014_000000000003.jpg"
    assert len(datasets.load("lasco", tmp_path, "train").triplets.labels) == 4


def test_lasco_s_images_are_found_under_images(tmp_path: Path) -> None:
    lasco(tmp_path, [lasco_row(0, 3)])
    (tmp_path / "images" / "val2014").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / str(coco(3)[1]))
    assert datasets.load("lasco", tmp_path, "val").triplets.images.missing().tolist() == [True] * 3 + [False, True]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (lasco_row(0, 77), "the image 'val2014/COCO_val2014_000000000077.jpg' is not among the 5"),
        (lasco_row(2, 2), "are the same"),
        ({**lasco_row(0, 1), "target-image": [1, "../a.jpg"]}, "expected an image's number and its path"),
        ({**lasco_row(0, 1), "query-image": 7}, "'query-image' is 7; expected a list"),
        ({**lasco_row(0, 1), "query-text": None}, "'query-text' is null; expected a text"),
    ],
)
def test_a_row_of_lasco_that_cannot_be_used_is_named(tmp_path: Path, bad: Row, problem: str) -> None:
    with pytest.raises(DataError, match=rf"lasco_val\.json', row 2: .*{problem}"):
        datasets.load("lasco", lasco(tmp_path, [lasco_row(0, 3), bad]), "val")
