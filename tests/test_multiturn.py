"""Sessions of several turns: each turn is a query that knows what was said before."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itma.data import datasets
from itma.data.datasets.multiturn import Multiturn
from itma.data.validation.doctor import examine
from itma.errors import DataError, UnknownNameError
from itma.evaluation.evaluate import score
from itma.retrieval.request import SearchRequest
from tests.test_data_sets import call

CATEGORIES = ("dress", "shirt", "toptee")
Session = dict[str, Any]


def session(target: str, *turns: tuple[str, list[str]]) -> Session:
    link = "http://example.org/{}.jpg"
    return {
        "target": [link.format(target), target],
        "reference": [[link.format(asin), captions, asin] for asin, captions in turns],
    }


def sessions(category: str) -> list[Session]:
    """Of one, two and three turns."""
    a, b, c, d = (f"{category}{letter}" for letter in "ABCD")
    return [
        session(d, (a, ["is red", "has sleeves"])),
        session(c, (a, ["is blue", "is shorter"]), (b, ["has dots", "is darker"])),
        session(d, (a, ["is long", "is plain"]), (b, ["has a belt", "is new"]), (c, ["is white", "is wide"])),
    ]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for category in CATEGORIES:
        for split in ("train", "val"):
            write(tmp_path, sessions(category), category, split)
    return tmp_path


def write(root: Path, rows: list[Session], category: str = "dress", split: str = "val") -> None:
    (root / f"{category}.{split}.json").write_text(json.dumps(rows))


def test_each_turn_is_a_row_with_all_that_was_said_before(root: Path) -> None:
    triplets = datasets.load("multiturn", root, "train", categories=("dress",)).triplets
    assert len(triplets) == 6
    assert triplets[1].reference == "dressA" and triplets[1].target == triplets[2].target == "dressC"
    first, second = "is blue inadditiontothat is shorter", "has dots inadditiontothat is darker"
    assert triplets[1].feedback == first and triplets[2].reference == "dressB"
    assert triplets[2].feedback == SearchRequest(text=second, earlier=(first,)).sentence


def test_the_last_turn_of_each_session_is_asked_or_every_one(root: Path) -> None:
    split = datasets.load("multiturn", root, "val")
    assert [len(task.rows) for task in split.protocol("multiturn").tasks] == [3, 3, 3]
    every = split.protocol("multiturn/every-turn")
    assert [(task.name, len(task.rows), len(task.gallery)) for task in every.tasks] == [
        (category, 6, 4) for category in CATEGORIES
    ]


def test_recall_is_reported_by_turn(root: Path) -> None:
    split = datasets.load("multiturn", root, "val")
    gallery = np.eye(12)
    right = np.array(split.triplets.groups["turn"]) == "2"  # only second turns are answered
    queries = np.where(right[:, None], gallery[split.triplets.targets], gallery[split.triplets.references])
    report = score(split.triplets, split.protocol("multiturn/every-turn"), queries, gallery).report
    assert report.queries_by_group == {"turn": {"1": 9, "2": 6, "3": 3}}
    assert [report.recall_by_group["turn"][turn][1] for turn in "123"] == [0.0, 1.0, 0.0]


def test_success_and_rank_are_measured_at_each_turn_by_itself(root: Path) -> None:
    split = datasets.load("multiturn", root, "val", categories=("dress", "shirt"))
    gallery = np.eye(8)
    right = np.array(split.triplets.groups["turn"]) == "2"
    queries = np.where(right[:, None], gallery[split.triplets.targets], gallery[split.triplets.references])
    report = score(split.triplets, split.protocol("multiturn/by-turn"), queries, gallery).report
    parts = {part.name: (part.queries, part.recall[1], part.median_rank) for part in report.parts}
    assert parts == {
        "dress, turn 1": (3, 0.0, 2.0),
        "shirt, turn 1": (3, 0.0, 2.0),
        "dress, turn 2": (2, 1.0, 1.0),
        "shirt, turn 2": (2, 1.0, 1.0),
        "dress, turn 3": (1, 0.0, 2.0),
        "shirt, turn 3": (1, 0.0, 2.0),
    }


def test_the_doctor_names_sessions_of_one_turn_and_of_another_script(root: Path) -> None:
    mixed = session("T", ("A", ["is red", "is long"]), ("B", ["更长一些", "has dots"]))
    accents = session("T", ("A", ["is décolleté", "is long"]), ("B", ["is 100% new!", "has dots"]))
    write(root, [accents, session("T", ("A", ["is red", "is long"])), mixed])
    findings = {one.what: one for one in examine("multiturn", root).findings if one.split == "val"}
    one_turn = findings["sessions of one turn, which are no conversations"]
    other_script = findings["sessions with letters of another script than most"]
    assert one_turn.examples[0] == "dress.val.json row 2" and one_turn.severity == "note"
    assert [other_script.count, other_script.severity] == [1, "note"]
    assert other_script.examples[0].startswith('dress.val.json row 3: Cjk and Latin: [["is red"')


def test_categories_whose_files_are_not_there_are_left_out_and_said(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "shirt.val.json").unlink()
    split = datasets.load("multiturn", root, "val")
    assert [task.name for task in split.protocol().tasks] == ["dress", "toptee"]
    assert "lacks shirt.val.json" in caplog.text and "of dress and toptee alone" in split.protocol().about
    with pytest.raises(DataError, match=r"shirt\.val\.json' does not exist"):
        datasets.load("multiturn", root, "val", categories=("shirt",))


def test_a_turn_of_one_or_three_captions_is_used_and_the_doctor_names_it(root: Path) -> None:
    write(root, [session("T", ("A", ["is red"]), ("B", ["is long", "", "is new"]))])
    triplets = datasets.load("multiturn", root, "val", categories=("dress",)).triplets
    assert triplets.feedback == ["is red", "is red then is long inadditiontothat is new"]
    (note,) = [
        one
        for one in examine("multiturn", root).findings
        if one.split == "val" and one.what == "turns with other than two captions"
    ]
    assert note.severity == "note" and note.count == 2
    assert note.examples[1] == 'dress.val.json row 1, turn 2: ["is long", "", "is new"]'


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (session("T", ("A", [])), r"turn 1: captions are \[\]; expected a list of texts"),
        (session("T", ("A", ["is red", "is long"]), ("B", [])), r"turn 2: captions are \[\]"),
        (session("T"), "a conversation has no turn; expected at least one"),
        (session("T", ("T", ["is red", "is long"])), "turn 1: its image is the target itself, 'T'"),
        ({"reference": []}, "'target' is missing"),
        ({"target": ["x", 3], "reference": []}, "expected a link and an ASIN"),
        ({"target": ["x", "T"], "reference": [["x", ["a", "b"]]]}, "turn 1 is .*expected a link, a list of captions"),
        (session("T", ("A", ["is red inadditiontothat blue", "is long"])), "a caption holds 'inadditiontothat'"),
    ],
)
def test_a_session_that_cannot_be_used_is_named(root: Path, bad: Session, problem: str) -> None:
    write(root, [*sessions("dress"), bad])
    with pytest.raises(DataError, match=rf"dress\.val\.json', row 4: .*{problem}"):
        datasets.load("multiturn", root, "val")


def test_another_split_is_refused_by_name(root: Path) -> None:
    with pytest.raises(UnknownNameError, match="split of MultiturnFashionRetrieval 'test'"):
        datasets.load("multiturn", root, "test")


def test_a_model_learns_from_sessions_and_is_measured_on_them(root: Path, tmp_path: Path) -> None:
    (root / "images").mkdir()
    random = np.random.Generator(np.random.PCG64(0))
    for category in CATEGORIES:
        for letter in "ABCD":
            pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / f"{category}{letter}.jpg")
    run = tmp_path / "run"
    output = call("train", "multiturn", "--root", root, "--preset", "tiny", "--out", run, "--steps", "2")
    assert "trained:" in output, output
    output = call("evaluate", run, "--protocol", "multiturn/every-turn")
    assert "recall@1 by turn:" in output and "dress: 6 queries against 4 images" in output


@pytest.mark.realdata
def test_the_published_sessions_of_dresses_are_as_published(real_data: Callable[[str], Path]) -> None:
    for split in ("train", "val"):
        counts = Multiturn(datasets.DataConfig("multiturn")).counts(real_data("multiturn"), split)
        assert counts["dress sessions"] == Multiturn.published[split]["dress sessions"]
