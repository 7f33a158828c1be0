"""What people's copies of data sets have wrong, in every data set where it can occur: named with file and row.

Each table below holds every data set on disk, or says why it cannot be wrong in that way.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from itma.data import datasets
from itma.data.datasets import NAMES
from itma.data.datasets.css import ANNOTATION
from itma.data.datasets.pickled import write_pickled_npy
from itma.data.triplets import Split
from itma.data.validation.doctor import examine
from itma.errors import DataError
from tests import made_up_data
from tests.test_css import SPLIT

Change = Callable[[Path], object]
Case = tuple[str, Change, str]
"""A split, what is done to the data set's folder, and what the message says."""
MEASURED = {name: datasets.dataset_named(name).measured for name in NAMES}


def row_of(name: str, row: int, change: Callable[[Any], object]) -> Change:
    """Change one row, from 0, of a JSON file."""

    def edit(root: Path) -> None:
        rows = json.loads((root / name).read_text())
        change(rows[row])
        (root / name).write_text(json.dumps(rows))

    return edit


def line_of(name: str, row: int, change: Callable[[str], str]) -> Change:
    """Change one line, from 0, of a text file."""

    def edit(root: Path) -> None:
        lines = (root / name).read_text().split("\n")
        lines[row] = change(lines[row])
        (root / name).write_text("\n".join(lines))

    return edit


def field(name: str, row: int, key: str, value: object = None) -> Change:
    """Set one field of a row of a JSON file; without a value, take it out."""
    return row_of(name, row, lambda fields: fields.pop(key) if value is None else fields.update({key: value}))


def css_says(value: object) -> Change:
    def edit(root: Path) -> None:
        mods = [dict(SPLIT["mods"][0], to_str=value), *SPLIT["mods"][1:]]
        write_pickled_npy(root / ANNOTATION, {split: {**SPLIT, "mods": mods} for split in ("train", "test")})

    return edit


def css_leads_nowhere(root: Path) -> None:
    mods = [dict(SPLIT["mods"][0], to=[]), *SPLIT["mods"][1:]]
    write_pickled_npy(root / ANNOTATION, {split: {**SPLIT, "mods": mods} for split in ("train", "test")})


def own_says(value: object) -> Change:
    def edit(root: Path) -> None:
        (root / "triplets.csv").unlink()
        rows = [{"reference": f"{n}.jpg", "feedback": "in red", "target": f"{n + 1}.jpg"} for n in range(4)]
        rows[2]["feedback"] = value  # type: ignore[assignment]
        text = "\n".join(json.dumps(row | {"split": "test"}) for row in rows)
        (root / "triplets.jsonl").write_text(text + "\n")

    return edit


def session_says(captions: list[str]) -> Change:
    return row_of("dress.val.json", 1, lambda session: session["reference"][0].__setitem__(1, captions))


FASHIONIQ, CIRR, CIRCO = "captions/cap.dress.val.json", "captions/cap.rc2.val.json", "annotations/val.json"
SHOES, GENECIS = "relative_captions_shoes.json", "genecis/focus_object.json"
LABELS = "labels/skirt_test_detect_all.txt"
THREE = ["is red", "is long", "is new"]

NO_CAPTIONS: dict[str, Case | str] = {
    "fashioniq": ("val", field(FASHIONIQ, 1, "captions", []), r"cap\.dress\.val\.json', row 2: captions are \[\]"),
    "cirr": ("val", field(CIRR, 1, "caption", []), r"cap\.rc2\.val\.json', row 2: 'caption' is \[\]"),
    "circo": ("val", field(CIRCO, 1, "relative_caption", []), r"val\.json', row 2: 'relative_caption' is \[\]"),
    "shoes": ("eval", field(SHOES, 4, "RelativeCaption", []), r"shoes\.json', row 5: 'RelativeCaption' is \[\]"),
    "lasco": ("val", field("lasco_val.json", 1, "query-text", []), r"lasco_val\.json', row 2: 'query-text' is \[\]"),
    "genecis": ("test", field(GENECIS, 1, "condition", []), r"focus_object\.json', row 2: 'condition' is \[\]"),
    "multiturn": ("val", session_says([]), r"dress\.val\.json', row 2: turn 1: captions are \[\]"),
    "spot_the_diff": (
        "test",
        field("annotations/test.json", 1, "sentences", []),
        r"test\.json', row 2: 'sentences' is \[\]; expected a list of texts, at least one",
    ),
    "birds_to_words": (
        "test",
        line_of("birds-to-words-v1.0.tsv", 5, lambda line: line.rpartition("\t")[0]),
        r"birds-to-words-v1\.0\.tsv', row 6: it has 10 columns; expected 11",
    ),
    "fashion200k": (
        "test",
        line_of(LABELS, 1, lambda line: line.rpartition("\t")[0]),
        r"skirt_test_detect_all\.txt', row 2: expected path, score and caption",
    ),
    "css": ("test", css_says([]), r"dup\.npy', test modification 0 is .*with a sentence"),
    "own": ("test", own_says([]), r"triplets\.jsonl', line 3: feedback is \[\]; expected text"),
    "mitstates": "its feedback is the adjective of a folder's name",
    "products": "its feedback is made from attributes",
}
THREE_CAPTIONS: dict[str, Case | str] = {
    "fashioniq": (
        "val",
        field(FASHIONIQ, 1, "captions", THREE),
        r"row 2: captions are \[\"is red.*a list of two texts",
    ),
    "cirr": ("val", field(CIRR, 1, "caption", THREE), r"cap\.rc2\.val\.json', row 2: 'caption' is .*expected a text"),
    "circo": ("val", field(CIRCO, 1, "relative_caption", THREE), r"val\.json', row 2: 'relative_caption' is .*a text"),
    "shoes": ("eval", field(SHOES, 4, "RelativeCaption", THREE), r"shoes\.json', row 5: 'RelativeCaption' is .*a text"),
    "lasco": ("val", field("lasco_val.json", 1, "query-text", THREE), r"lasco_val\.json', row 2: .*expected a text"),
    "genecis": ("test", field(GENECIS, 1, "condition", THREE), r"focus_object\.json', row 2: .*expected a text"),
    "birds_to_words": (
        "test",
        line_of("birds-to-words-v1.0.tsv", 5, lambda line: "\t".join([line, *THREE[1:]])),
        r"birds-to-words-v1\.0\.tsv', row 6: it has 13 columns; expected 11",
    ),
    "css": ("test", css_says(THREE), r"dup\.npy', test modification 0 is .*with a sentence"),
    "multiturn": "a turn has as many captions as it likes; the doctor names those of other than two",
    "spot_the_diff": "a pair has as many sentences as it likes; each is a query",
    "own": "several sentences of one row are joined",
    "fashion200k": "what follows a caption in its line is passed over, as in the published code",
    "mitstates": "its feedback is the adjective of a folder's name",
    "products": "its feedback is made from attributes",
}
NO_TARGET: dict[str, Case | str] = {
    "fashioniq": ("val", field(FASHIONIQ, 1, "target"), r"cap\.dress\.val\.json', row 2: 'target' is missing"),
    "cirr": ("val", field(CIRR, 1, "target_hard"), r"cap\.rc2\.val\.json', row 2: 'target_hard' is missing"),
    "circo": ("val", field(CIRCO, 1, "target_img_id"), r"val\.json', row 2: 'target_img_id' is missing"),
    "shoes": ("eval", field(SHOES, 4, "ImageName"), r"shoes\.json', row 5: 'ImageName' is missing"),
    "lasco": ("val", field("lasco_val.json", 1, "target-image"), r"lasco_val\.json', row 2: 'target-image' is missing"),
    "genecis": ("test", field(GENECIS, 1, "target"), r"focus_object\.json', row 2: 'target' is missing"),
    "multiturn": ("val", field("dress.val.json", 1, "target"), r"dress\.val\.json', row 2: 'target' is missing"),
    "birds_to_words": (
        "test",
        line_of("birds-to-words-v1.0.tsv", 5, lambda line: line.replace(line.split("\t")[5], "")),
        r"birds-to-words-v1\.0\.tsv', row 6: its images are .*; expected two links",
    ),
    "fashion200k": (
        "test",
        line_of("test_queries.txt", 1, lambda line: line.split()[0]),
        r"test_queries\.txt', row 2: expected two paths, reference and target",
    ),
    "css": ("test", css_leads_nowhere, r"dup\.npy', test modification 0 leads from 2 images to 0"),
    "own": (
        "test",
        line_of("triplets.csv", 5, lambda line: line.replace("5.jpg", "")),
        r"triplets\.csv', line 6: target is empty",
    ),
    "spot_the_diff": "the target's name is made from the reference's",
    "mitstates": "the target is any image of a folder",
    "products": "the targets are the items that have what is asked for",
}


def cases(table: dict[str, Case | str]) -> list[Any]:
    return [pytest.param(name, *case, id=name) for name, case in table.items() if not isinstance(case, str)]


@pytest.mark.parametrize(
    ("name", "split", "change", "problem"), [*cases(NO_CAPTIONS), *cases(THREE_CAPTIONS), *cases(NO_TARGET)]
)
def test_a_row_without_captions_or_with_three_or_without_a_target_is_named_with_its_file(
    name: str, split: str, change: Change, problem: str, tmp_path: Path
) -> None:
    root = made_up_data.write(name, tmp_path / name)
    assert len(datasets.load(name, root, split).triplets)
    change(root)
    with pytest.raises(DataError, match=problem):
        datasets.load(name, root, split)


# -- names of images with and without ending --------------------------------------------------------------------------


def ended(value: object) -> object:
    return f"{value}.jpg"


ENDINGS: dict[str, tuple[str, Change] | str] = {
    "fashioniq": ("val", row_of(FASHIONIQ, 1, lambda row: row.update(target=ended(row["target"])))),
    "cirr": ("val", row_of(CIRR, 1, lambda row: row.update(target_hard=ended(row["target_hard"])))),
    "shoes": ("eval", row_of(SHOES, 4, lambda row: row.update(ImageName=row["ImageName"].removesuffix(".jpg")))),
    "lasco": (
        "val",
        row_of("lasco_val.json", 1, lambda row: row["target-image"].__setitem__(1, row["target-image"][1][:-4])),
    ),
    "genecis": (
        "test",
        row_of(GENECIS, 1, lambda row: row["target"].update(val_image_id=ended(row["target"]["val_image_id"]))),
    ),
    "multiturn": (
        "val",
        row_of("dress.val.json", 1, lambda row: row["target"].__setitem__(1, ended(row["target"][1]))),
    ),
    "spot_the_diff": (
        "test",
        row_of("annotations/test.json", 1, lambda row: row.update(img_id=f"{row['img_id']}.png")),
    ),
    "fashion200k": ("test", line_of("test_queries.txt", 1, lambda line: line.replace(".jpeg", ""))),
    "circo": "its images are numbers; a text is refused with its row",
    "birds_to_words": "its images are links",
    "css": "its images are numbers",
    "mitstates": "its images are the files themselves",
    "own": "names are those of files; see tests/test_own_data.py",
    "products": "names are those of files; see tests/test_products.py",
}


def plain(split: Split) -> list[tuple[str, str, str]]:
    triplets = split.triplets
    return [(one.reference, one.feedback, one.target) for one in map(triplets.__getitem__, range(len(triplets)))]


@pytest.mark.parametrize(
    ("name", "split", "change"), [(name, *case) for name, case in ENDINGS.items() if not isinstance(case, str)]
)
def test_images_are_named_with_or_without_ending_in_every_data_set_that_has_names(
    name: str, split: str, change: Change, tmp_path: Path
) -> None:
    root = made_up_data.write(name, tmp_path / name)
    before = datasets.load(name, root, split)
    change(root)
    after = datasets.load(name, root, split)
    assert plain(after) == plain(before)
    assert list(after.triplets.images.names) == list(before.triplets.images.names)


UNKNOWN: dict[str, Case] = {
    "fashioniq": ("val", field(FASHIONIQ, 1, "target", "B000"), r"row 2: the target \"B000\" is not among the 6 ASINs"),
    "cirr": ("val", field(CIRR, 1, "reference", "dev-x"), r"row 2: the reference 'dev-x' is not among the 12 images"),
    "circo": ("val", field(CIRCO, 1, "reference_img_id", 7), r"val\.json', row 2: the image 7 is not among the 9"),
    "shoes": ("eval", field(SHOES, 4, "ImageName", "x.jpg"), r"row 5: the image 'x' is neither in train_im_names"),
    "lasco": (
        "val",
        row_of("lasco_val.json", 1, lambda row: row["target-image"].__setitem__(1, "val2014/x.jpg")),
        r"lasco_val\.json', row 2: the image 'val2014/x\.jpg' is not among the 5",
    ),
    "fashion200k": (
        "test",
        line_of("test_queries.txt", 1, lambda line: f"women/x.jpeg {line.split()[1]}"),
        r"test_queries\.txt', row 2: the image 'women/x\.jpeg' is in none of the test label files",
    ),
}
"""Data sets that say beforehand which images there are."""


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_image_that_the_data_set_does_not_list_is_named_with_file_and_row(name: str, tmp_path: Path) -> None:
    split, change, problem = UNKNOWN[name]
    root = made_up_data.write(name, tmp_path / name)
    change(root)
    with pytest.raises(DataError, match=problem):
        datasets.load(name, root, split)


# -- subsets, splits without targets, sessions, languages --------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda row: row.pop("img_set"), "'img_set' is missing"),
        (lambda row: row["img_set"].pop("members"), "'members' is missing"),
        (lambda row: row["img_set"].update(members=[]), r"'members' is \[\]"),
        (lambda row: row["img_set"]["members"].append("x"), "the member of img_set 'x' is not among the 12"),
    ],
)
@pytest.mark.parametrize(("split", "file"), [("train", "train"), ("val", "val"), ("test1", "test1")])
def test_a_missing_subset_is_named_in_every_split_of_cirr(
    change: Callable[[Any], object], problem: str, split: str, file: str, tmp_path: Path
) -> None:
    root = made_up_data.write("cirr", tmp_path / "cirr")
    row_of(f"captions/cap.rc2.{file}.json", 3, change)(root)
    with pytest.raises(DataError, match=rf"cap\.rc2\.{file}\.json', row 4: .*{problem}"):
        datasets.load("cirr", root, split)


@pytest.mark.parametrize(("name", "split"), [("fashioniq", "test"), ("cirr", "test1"), ("circo", "test")])
def test_a_test_split_without_targets_is_read_and_not_measured(name: str, split: str, tmp_path: Path) -> None:
    root = made_up_data.write(name, tmp_path / name)
    data = datasets.load(name, root, split)
    assert len(data.triplets) and data.without_targets
    with pytest.raises(DataError, match=rf"{name}/{split} cannot be evaluated: its targets were never .*itma submit"):
        data.protocol()


def test_sessions_of_one_turn_are_read_and_the_doctor_names_them(tmp_path: Path) -> None:
    root = made_up_data.write("multiturn", tmp_path / "multiturn")
    (note,) = [
        one
        for one in examine("multiturn", root).findings
        if (one.split, one.what) == ("val", "sessions of one turn, which are no conversations")
    ]
    assert (note.severity, note.count, note.examples[0]) == ("note", 3, "dress.val.json row 1")


FOREIGN = "есть собака"
SAYS: dict[str, Change | str] = {
    "fashioniq": field(FASHIONIQ, 1, "captions", [FOREIGN, "is red"]),
    "cirr": field(CIRR, 1, "caption", FOREIGN),
    "circo": field(CIRCO, 1, "relative_caption", FOREIGN),
    "shoes": field(SHOES, 4, "RelativeCaption", FOREIGN),
    "lasco": field("lasco_val.json", 1, "query-text", FOREIGN),
    "genecis": field(GENECIS, 1, "condition", FOREIGN),
    "multiturn": session_says([FOREIGN, "is red"]),
    "spot_the_diff": field("annotations/test.json", 1, "sentences", [FOREIGN]),
    "birds_to_words": line_of("birds-to-words-v1.0.tsv", 5, lambda line: f"{line.rpartition(chr(9))[0]}\t{FOREIGN}"),
    "fashion200k": line_of(LABELS, 1, lambda line: f"{line.rpartition(chr(9))[0]}\t{FOREIGN}"),
    "css": css_says(FOREIGN),
    "own": line_of("triplets.csv", 5, lambda line: line.replace("in red", FOREIGN)),
    "mitstates": "its words are names of folders",
    "products": "its sentences are made in English",
}


@pytest.mark.parametrize("table", [NO_CAPTIONS, THREE_CAPTIONS, NO_TARGET, ENDINGS, SAYS])
def test_every_data_set_stands_in_every_table(table: dict[str, object]) -> None:
    assert sorted(table) == sorted(NAMES)


@pytest.mark.parametrize(
    ("name", "change"), [(name, change) for name, change in SAYS.items() if not isinstance(change, str)]
)
def test_captions_of_another_language_among_english_ones_are_noted_with_where_they_stand(
    name: str, change: Change, tmp_path: Path
) -> None:
    root = made_up_data.write(name, tmp_path / name)

    def notes() -> list[str]:
        findings = examine(name, root, images=False).findings
        return [
            example
            for one in findings
            if one.what == "captions in letters other than Latin ones" and one.split == MEASURED[name]
            for example in one.examples
        ]

    assert not notes()
    change(root)
    examples = notes()
    assert examples and all(FOREIGN[:4] in example and any(map(str.isdigit, example)) for example in examples), examples
