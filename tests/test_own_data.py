"""One's own data: tables as people keep them, and triplets made from a table of attributes."""

import csv
import io
import json
import logging
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from itma.data import datasets
from itma.data.datasets import own
from itma.data.datasets.attributes import make
from itma.data.datasets.pairs import find_pairs
from itma.data.datasets.tables import read_table
from itma.data.datasets.templates import Templates, default_text, read_templates
from itma.data.images import FileImages
from itma.data.triplets import Split
from itma.errors import ConfigError, DataError, UnknownNameError
from itma.evaluation.evaluate import evaluate
from itma.models.retriever import Retriever
from itma.training.loop import train
from tests.made_up import CONFIG, TRAIN

load = partial(datasets.load, "own")


HEADER = "reference,feedback,target,split\n"
ROWS = HEADER + "a.png,is red,b.png,train\nc.png,is blue,d.png,test\n"


BLUE = '{"reference": "c.png", "feedback": "is blue", "target": "d.png", "split": "test", "kind": null}'


def put(root: Path, text: str | bytes, name: str = "triplets.csv") -> Path:
    """Write a file into a root, and give the root."""
    root.mkdir(exist_ok=True)
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def images(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / name, format="PNG")


def rows_of(split: Split) -> list[tuple[str, str, str]]:
    rows = [split.triplets[row] for row in range(len(split.triplets))]
    return [(row.reference, row.feedback, row.target) for row in rows]


def paths(split: Split) -> Sequence[Path]:
    assert isinstance(split.triplets.images, FileImages)
    return split.triplets.images.paths


# --- One's own triplets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("triplets.csv", ROWS),
        ("triplets.csv", "\ufeff" + ROWS.replace("\n", "\r\n")),
        ("triplets.csv", ROWS.replace(",", ";")),
        ("triplets.csv", ROWS.replace(",", "\t")),
        ("triplets.csv", "\n" + ROWS.replace("reference", " Reference ") + ",,,\n\n"),
        ("triplets.csv", ROWS.replace("is red", '"is red"').replace("\n", ",\n")),
        (
            "triplets.jsonl",
            '\ufeff{"reference": "a.png", "feedback": " is red", "target": "b.png", "split": "TRAIN"}\r\n\r\n' + BLUE,
        ),
    ],
)
def test_triplets_are_read_whichever_program_wrote_them(tmp_path: Path, name: str, text: str) -> None:
    put(tmp_path, text, name)
    assert rows_of(load(tmp_path, "train")) == [("a.png", "is red", "b.png")]
    assert rows_of(load(tmp_path, "test")) == [("c.png", "is blue", "d.png")]


def test_the_root_may_be_the_file_itself(tmp_path: Path) -> None:
    put(tmp_path, ROWS, "mine.csv")
    images(tmp_path, "images/a.png")
    assert paths(load(tmp_path / "mine.csv", "train"))[0] == tmp_path / "images" / "a.png"


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1).filter(str.strip),
        min_size=1,
        max_size=4,
    )
)
def test_any_feedback_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, feedback: list[str]
) -> None:
    root, table = tmp_path_factory.mktemp("own"), io.StringIO(newline="")
    lines = csv.writer(table, quoting=csv.QUOTE_ALL)
    lines.writerow((*own.NEEDED, "split"))
    lines.writerows(["a.png", text, "b.png", "train"] for text in feedback)
    whole = [text.strip() for text in feedback]
    assert load(put(root, table.getvalue()), "train").triplets.feedback == whole
    rows = [{"reference": "a.png", "feedback": text, "target": "b.png", "split": "train"} for text in feedback]
    json_lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    assert load(put(root / "json", json_lines, "triplets.jsonl"), "train").triplets.feedback == whole


def test_very_long_feedback_and_emoji_are_taken(tmp_path: Path) -> None:
    long = "longer " * 5000 + "👗"
    (row,) = rows_of(load(put(tmp_path, f"{HEADER}a.png,{long},b.png,train\n"), "train"))
    assert row[1] == long


def test_cells_may_hold_separators_quotes_and_line_ends(tmp_path: Path) -> None:
    text = HEADER + '"a,1.png","12"" longer,\r\nand ""red""",b.png,train\nc.png,,d.png,train\n'
    with pytest.raises(DataError, match="line 4: feedback is empty"):
        load(put(tmp_path, text), "train")
    (row,) = rows_of(load(put(tmp_path, text.rsplit("c.png", 1)[0]), "train"))
    assert row == ("a,1.png", '12" longer,\nand "red"', "b.png")


J = '{"reference": "a.png", "feedback": "is red", "target": "b.png"'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("triplets.csv", "", "is empty; expected a header"),
        (
            "triplets.csv",
            "reference,text,goal\n",
            "no column 'feedback' and no column 'target'; found .*'text', 'goal'",
        ),
        ("triplets.csv", HEADER, "none of 0 rows is for train"),
        ("triplets.csv", HEADER + "a.png, ,b.png,train", "line 2: feedback is empty"),
        ("triplets.csv", HEADER + "\n,is red,b.png,train", "line 3: reference is empty"),
        ("triplets.csv", HEADER + "a.png,is red,b.png", "line 2: 3 cells, but the header has 4 columns"),
        ("triplets.csv", HEADER + "a.png,is red, long,b.png,train", "line 2: 5 cells, .* double quotes"),
        ("triplets.csv", HEADER + 'a.png,"is red,b.png,train\n' * 3, "line 2: the quotes of this row"),
        (
            "triplets.csv",
            HEADER + "a.png,is red,b.png,held",
            'line 2: the split is "held"; expected train, val or test',
        ),
        ("triplets.csv", HEADER + "a.png,is red,b.png,", "line 2: split is empty"),
        ("triplets.csv", HEADER + "a.png,is red,./a.png,train", "line 2: reference and target are the same image"),
        ("triplets.csv", HEADER.encode() + b"a.png,caf\xe9,b.png,train", "line 2: not UTF-8 text .*0xe9.*UTF-8"),
        ("triplets.csv", "target,target,reference,feedback\n", "line 1: more than one column is called 'target'"),
        ("triplets.jsonl", " \n", "is empty; expected one JSON object"),
        ("triplets.jsonl", J + "}\n" + J, "line 2: not JSON .*expected one object"),
        ("triplets.jsonl", "[\n" + J + "}\n]", "line 1: not JSON"),
        ("triplets.jsonl", '["a.png", "is red", "b.png"]', "line 1: .* is not an object"),
        ("triplets.jsonl", "[" * 100_000, "line 1: not JSON"),
        ("triplets.jsonl", J + '}\n{"reference": "c.png", "feedback": "x"}', "line 2: target is missing"),
        ("triplets.jsonl", J.replace('"is red"', "null") + "}", "line 1: feedback is missing"),
        ("triplets.jsonl", J.replace('"is red"', "7") + "}", "line 1: feedback is 7; expected text"),
        ("triplets.jsonl", J.replace('"a.png"', "true") + "}", "line 1: reference is true; expected text"),
        ("triplets.jsonl", J.replace('"b.png"', '["b.png", "c.png"]') + "}", r"one image. .*one label in labels.csv"),
        ("triplets.jsonl", J + ', "split": "train"}\n' + J + "}", "line 2: split is missing"),
        ("triplets.jsonl", J.replace("a.png", r"a\u0000.png") + "}", r"line 1: reference is .*; expected text"),
        ("triplets.jsonl", J.replace("is red", r"is \ud83d") + "}", r"half a character, '\\ud83d'"),
    ],
)
def test_rows_that_make_no_sense_are_named_by_file_and_line(
    tmp_path: Path, name: str, text: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=f"(?s){name}.*{message}"):
        load(put(tmp_path, text, name), "train")


def test_a_root_without_triplets_says_what_was_expected_and_found(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").touch()
    with pytest.raises(DataError, match=r"expected triplets.jsonl or triplets.csv in it, found readme.txt"):
        load(tmp_path, "train")
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "nowhere", "train")
    put(tmp_path / "shop", ROWS)
    with pytest.raises(DataError, match=r"did you mean .*shop'\?"):
        load(tmp_path, "train")
    images(tmp_path / "shop", "images/a.png")
    with pytest.raises(DataError, match=r"did you mean .*shop'\?"):
        load(tmp_path / "shop" / "images", "train")
    put(tmp_path / "shop", J, "triplets.jsonl")
    with pytest.raises(DataError, match=r"holds both triplets.jsonl and triplets.csv"):
        load(tmp_path / "shop", "train")
    with pytest.raises(DataError, match=r"readme.txt' is no table.*\.jsonl, \.ndjson, \.csv, \.tsv"):
        load(tmp_path / "readme.txt", "train")
    with pytest.raises(UnknownNameError, match="'val'; choose from: test, train"):
        load(tmp_path / "shop", "val")


def test_columns_that_are_not_used_and_repeated_rows_are_told_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "number,reference,feedback,target,split,note\n" + "1,a.png,is red,b.png,train,\n" * 3
    assert len(load(put(tmp_path, text), "train").triplets) == 3
    assert "these columns are not used: number, note" in caplog.text
    assert "2 of 3 train rows repeat an earlier one; they are kept" in caplog.text


def test_images_are_found_beside_the_table_under_images_and_by_their_whole_path(tmp_path: Path) -> None:
    root, accent = tmp_path / "shop", unicodedata.normalize("NFD", "é")
    elsewhere = tmp_path / "other" / "e.png"
    images(root, "a.png", "images/b.png", "images/red/c.png", f"images/{accent}.png")
    images(tmp_path, "other/e.png")
    names = ["a.png", "b.png", "images\\red\\c.png", "é.png", str(elsewhere), "../other/e.png", "gone.png"]
    rows = [f"{name},is red,a.png,train\n" for name in names[1:]]
    split = load(put(root, HEADER + "".join(rows)), "train")
    inside = [root / name for name in ("images/b.png", "images/red/c.png", f"images/{accent}.png")]
    assert list(paths(split)) == [*inside, elsewhere, root / "gone.png", root / "a.png"]
    assert split.triplets.images.missing().tolist() == [*[False] * 4, True, False]  # type: ignore[attr-defined]


def test_an_image_that_is_named_in_two_ways_is_one_image(tmp_path: Path) -> None:
    images(tmp_path / "real", "a.png", "b.png")
    (tmp_path / "images").symlink_to(tmp_path / "real")
    ways = ["a.png", "./images/a.png", str(tmp_path / "images" / "a.png"), str(tmp_path / "real" / "a.png")]
    text = HEADER + "".join(f"{way},is red,b.png,test\n" for way in ways)
    assert load(put(tmp_path, text), "test").triplets.images.names == ["a.png", "b.png"]


@pytest.mark.parametrize("name", ["A.PNG", "a", "images/A.png", "Images\\a.png".replace("Images", "images"), "A"])
def test_capitals_and_a_missing_ending_do_not_hide_an_image(tmp_path: Path, name: str) -> None:
    images(tmp_path, "images/a.png", "images/b.PNG")
    split = load(put(tmp_path, f"{HEADER}{name},is red,b,train\n"), "train")
    assert list(paths(split)) == [tmp_path / "images" / "a.png", tmp_path / "images" / "b.PNG"]


def test_a_name_that_may_mean_two_images_means_neither(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "A.png", "c.png", "c.jpg", "d.png")
    (tmp_path / "d.txt").touch()
    rows = "a.PNG,is red,c,train\nA.png,is red,d,train\n"  # references first
    split = load(put(tmp_path, HEADER + rows), "train")
    assert split.triplets.images.missing().tolist() == [True, False, True, False]  # type: ignore[attr-defined]


def test_several_sentences_of_a_pair_are_one_and_a_list_of_one_target_is_that_target(tmp_path: Path) -> None:
    row = {"reference": "a.png", "feedback": ["is red ", "has sleeves"], "target": ["b.png"], "split": "train"}
    (only,) = rows_of(load(put(tmp_path, json.dumps(row), "triplets.jsonl"), "train"))
    assert only == ("a.png", "is red, has sleeves", "b.png")


@pytest.mark.parametrize("validation", ["val", "Validation", "dev"])
def test_rows_for_validation_are_for_testing_where_no_others_are(
    tmp_path: Path, validation: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = f"{HEADER}a.png,is red,b.png,training\nc.png,is blue,d.png,{validation}\n"
    assert rows_of(load(put(tmp_path, text), "test")) == [("c.png", "is blue", "d.png")]
    assert not caplog.records
    put(tmp_path, text + "e.png,is green,f.png,test\n")
    assert rows_of(load(tmp_path, "test")) == [("e.png", "is green", "f.png")]
    assert rows_of(load(tmp_path, "train")) == [("a.png", "is red", "b.png")]
    assert "1 rows for validation are not used" in caplog.text


@pytest.mark.parametrize("nothing", ["", "nan", "N/A"])
def test_all_rows_without_a_sentence_are_named_at_once(tmp_path: Path, nothing: str) -> None:
    text = HEADER + f"a.png,{nothing},b.png,train\nc.png,is red,d.png,train\ne.png,,f.png,test\n"
    with pytest.raises(DataError, match=r"line 2: feedback is .*1 further rows, of line 4"):
        load(put(tmp_path, text), "train")


def test_names_that_no_file_can_have_are_only_missing(tmp_path: Path) -> None:
    names = ["x" * 300 + ".png", "50%20off,\u200b.png", "a.png/c.png"]
    rows = [{"reference": name, "feedback": "is red", "target": "b.png", "split": "train"} for name in names]
    split = load(put(tmp_path, "\n".join(map(json.dumps, rows)), "triplets.jsonl"), "train")
    assert split.triplets.images.missing().all()  # type: ignore[attr-defined]


def test_without_a_column_the_reference_alone_decides_the_split(tmp_path: Path) -> None:
    text = "reference,feedback,target\n" + "".join(f"{n}.png,is red,{n + 1}.png\n" for n in range(2000))
    root = put(tmp_path, text)
    tested = [row[0] for row in rows_of(load(root, "test"))]
    trained = [row[0] for row in rows_of(load(root, "train"))]
    assert sorted(tested + trained) == sorted(f"{n}.png" for n in range(2000))
    assert 0.08 < len(tested) / 2000 < 0.12
    about = load(root, "test").protocols["own"].about
    assert "split by the sum of the reference's name, 10% for testing" in about
    assert "images of the gallery also stand in training rows" in about
    fewer = text.splitlines(keepends=True)
    put(tmp_path, "".join(fewer[:1] + fewer[:0:-3]).replace(".png,is", ".png,was"))
    assert {row[0] for row in rows_of(load(root, "test"))} <= set(tested)


def test_the_gallery_holds_all_that_training_does_not_mention(tmp_path: Path) -> None:
    images(tmp_path, "images/a.png", "images/b.png", "images/d.png", "images/x/other.png", "images/listed.png")
    put(tmp_path, "image,label,split\nlisted.png,,train\nfar.png,,test\n", "labels.csv")
    split = load(put(tmp_path, ROWS), "test")
    assert split.triplets.images.names == ["c.png", "d.png", "far.png", "images/x/other.png"]
    protocol = split.protocol("own")
    assert protocol.tasks[0].gallery.tolist() == [0, 1, 2, 3]
    assert "the 2 images that test rows mention and 2 more that training does not mention" in protocol.about
    assert "only the target counts" in protocol.about
    assert load(tmp_path, "train").protocols == {}


def test_images_of_one_label_count_as_the_same(tmp_path: Path) -> None:
    put(tmp_path, "image;label\nb.png;dress 1\nimages/c.png;dress 1\nd.png;\n", "labels.csv")
    images(tmp_path, "images/b.png", "images/c.png", "images/d.png")
    split = load(put(tmp_path, HEADER + "a.png,is red,b.png,test\n"), "test")
    a, b, c, d = split.triplets.labels.tolist()
    assert b == c
    assert len({a, b, d}) == 3
    assert "any image with the target's label in labels.csv counts" in split.protocol().about


def test_further_columns_of_the_labels_say_what_is_true_of_an_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "Sleeve,image,Colour\nlong,b.png, red\n,c.png,blue\nshort,d.png,red\n", "labels.csv")
    images(tmp_path, "images/b.png", "images/c.png", "images/d.png")
    triplets = load(put(tmp_path, HEADER + "a.png,is red,b.png,test\n"), "test").triplets
    assert not caplog.messages
    assert [Path(name).stem for name in triplets.images.names] == ["a", "b", "c", "d"]
    assert list(triplets.aspects) == ["Sleeve", "Colour"]
    (_, b, c, d), (a, *others) = triplets.aspects["Sleeve"].tolist(), triplets.aspects["Colour"].tolist()
    assert c == -1 and len({b, c, d}) == 3
    assert a == -1 and others[0] == others[2] != others[1]


def test_columns_of_the_labels_that_differ_in_capitals_alone_stay_apart(tmp_path: Path) -> None:
    put(tmp_path, "image,Colour,colour\nb.png,red,1\nc.png,red,2\n", "labels.csv")
    images(tmp_path, "images/b.png", "images/c.png")
    aspects = load(put(tmp_path, HEADER + "a.png,is red,b.png,test\n"), "test").triplets.aspects
    assert {name: len({*values.tolist()} - {-1}) for name, values in aspects.items()} == {"Colour": 1, "colour": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nb.png,1\n", "no column 'image'"),
        ("image,colour\nb.png,red\nb.png,blue\n", "line 3: another row says otherwise of 'b.png'"),
        ("image,label\n,1\n", "line 2: image is empty"),
        ("image,label\nb.png,1\nb.png,2\n", "line 3: another row says otherwise of 'b.png'"),
        ("image,split\nb.png,held\n", "line 2: the split is 'held'"),
    ],
)
def test_labels_that_make_no_sense_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"labels.csv.*{message}"):
        load(put(put(tmp_path, ROWS), text, "labels.csv"), "test")


def test_kinds_are_kept_where_there_are_some(tmp_path: Path) -> None:
    text = "reference,feedback,target,split,kind\na.png,is red,b.png,train,colour\na.png,is long,c.png,train,\n"
    assert load(put(tmp_path, text), "train").triplets.kinds == ["colour", "other"]
    assert load(put(tmp_path, ROWS), "train").triplets.kinds == []


# --- Triplets from a table of attributes --------------------------------------------------------------------------

ATTRIBUTES = {
    "colour": ("red", "blue", "green"),
    "sleeve": ("long", "short"),
    "kids": ("yes", "no"),
}


def shop(root: Path, copies: int = 5, columns: Mapping[str, tuple[str, ...]] = ATTRIBUTES) -> Path:
    """A table with each combination of attributes so many times."""
    items = [values for values in product(*columns.values()) for _ in range(copies)]
    lines = [",".join(["file", *columns])]
    lines += [",".join([f"images/{number}.png", *values]) for number, values in enumerate(items)]
    return put(root, "\n".join(lines) + "\n", "items.csv") / "items.csv"


def written(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "triplets.jsonl").read_text(encoding="utf-8").splitlines()]


def possible(templates: Templates, changes: list[tuple[str, str, str]]) -> set[str]:
    """Every sentence that may stand for some changes."""
    parts = [[templates.sentence(*change, choice) for choice in range(12)] for change in changes]
    if len(parts) == 1:
        return set(parts[0])
    return {templates.join_changes(one, two, choice) for one, two in product(*parts) for choice in range(12)}


def assert_true(folder: Path, rows: list[dict[str, str]], table: dict[str, dict[str, str]]) -> None:
    """Each row names what changes between its images, and nothing else changes."""
    values = {name: sorted({item[name] for item in table.values()}) for name in next(iter(table.values()))}
    templates = read_templates(folder / "templates.toml", values)
    for row in rows:
        old, new = (table[Path(row[end]).name] for end in ("reference", "target"))
        changes = [(name, old[name], new[name]) for name in old if old[name] != new[name]]
        assert ", ".join(name for name, *_ in changes) == row["kind"]
        assert row["feedback"] in possible(templates, changes)


def test_a_pair_differs_in_one_or_two_attributes_and_its_sentence_says_in_which(tmp_path: Path) -> None:
    summary = make(shop(tmp_path), tmp_path / "own")
    table = {
        Path(str(row.cells["file"])).name: {
            name: {"yes": "true", "no": "false"}.get(str(row.cells[name]), str(row.cells[name])) for name in ATTRIBUTES
        }
        for row in read_table(tmp_path / "items.csv").rows
    }
    rows = written(summary.folder)
    assert len(rows) == summary.train + summary.test > 200
    assert max(Counter(row["reference"] for row in rows).values()) == 4
    assert_true(summary.folder, rows, table)
    assert set(summary.kinds) == {"colour", "sleeve", "kids", "colour, sleeve", "colour, kids", "sleeve, kids"}
    assert "60 of 60 images are not there" in str(summary)


def test_what_is_made_is_read_back_with_labels_for_items_that_are_alike(tmp_path: Path) -> None:
    table = shop(tmp_path)
    images(tmp_path, *(f"images/{number}.png" for number in range(60)))
    summary = make(table, tmp_path / "deep" / "own", split=0.2)
    assert summary.missing == 0
    for split, count in (("train", 48), ("test", 12)):
        data = load(summary.folder, split)
        assert len(data.triplets) == {"train": summary.train, "test": summary.test}[split]
        assert len(paths(data)) <= count
        assert not data.triplets.images.missing().any()  # type: ignore[attr-defined]
        numbers = [int(path.stem) // 5 for path in paths(data)]  # five copies of each combination
        for one, other in product(range(len(numbers)), repeat=2):
            same = data.triplets.labels[one] == data.triplets.labels[other]
            assert same == (numbers[one] == numbers[other])
    assert len(paths(load(summary.folder, "test"))) == 12


def test_no_item_is_in_both_splits(tmp_path: Path) -> None:
    rows = written(make(shop(tmp_path, 8), tmp_path / "own", split=0.3).folder)
    ends = {
        split: {row[end] for row in rows if row["split"] == split for end in ("reference", "target")}
        for split in own.SPLITS
    }
    assert ends["train"] and ends["test"]
    assert not ends["train"] & ends["test"]


def test_images_of_one_id_stay_together_and_are_never_a_pair(tmp_path: Path) -> None:
    lines = [f"{number}.png,{number // 2},{('red', 'blue')[number % 2]},long" for number in range(40)]
    rows = written(
        make(put(tmp_path, "image,ID,colour,sleeve\n" + "\n".join(lines), "t.csv") / "t.csv", tmp_path).folder
    )
    item = {f"{number}.png": number // 2 for number in range(40)}
    assert all(item[row["reference"]] != item[row["target"]] for row in rows)
    homes = [{item[row["reference"]] for row in rows if row["split"] == split} for split in own.SPLITS]
    assert not homes[0] & homes[1]


def test_the_same_table_and_seed_give_the_same_files_wherever_they_are(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two/deeper")]
    for folder, seed in ((folders[0], 0), (folders[1], 0), (tmp_path / "three", 1)):
        folder.parent.mkdir(exist_ok=True)
        make(shop(folder), folder / "own", seed=seed)
    for name in ("triplets.jsonl", "labels.csv", "templates.toml"):
        assert (folders[0] / "own" / name).read_bytes() == (folders[1] / "own" / name).read_bytes()
    assert written(folders[0] / "own") != written(tmp_path / "three" / "own")


def test_triplets_are_made_anew_with_edited_templates_and_those_written_by_hand_are_kept(tmp_path: Path) -> None:
    table = shop(tmp_path)
    summary = make(table, tmp_path)
    assert summary.templates == tmp_path / "templates.toml"
    edited = '[general]\njoined = "{first}; {second}"\n[colour]\nchange = "jetzt {new} 👗"\nred = ["rot!"]\n'
    put(tmp_path, edited, "templates.toml")
    make(table, tmp_path)
    colours = {row["feedback"] for row in written(tmp_path) if row["kind"] == "colour"}
    assert colours == {"rot!", "jetzt blue 👗", "jetzt green 👗"}
    assert (tmp_path / "templates.toml").read_text(encoding="utf-8") == edited
    put(tmp_path, J + "}", "triplets.jsonl")
    with pytest.raises(DataError, match=r"triplets.jsonl' was not made from attributes, or edited since"):
        make(table, tmp_path)
    put(tmp_path / "hand", ROWS)
    with pytest.raises(DataError, match=r"hand/triplets.csv' was not made"):
        make(table, tmp_path / "hand")


def test_templates_from_elsewhere_are_used_and_not_copied(tmp_path: Path) -> None:
    put(tmp_path, "[general]\nchange = ['{attribute}: {old} → {new}']\n", "mine.toml")
    columns = {"sleeve_length": ("long", "short"), "colour": ("red", "blue")}
    summary = make(
        shop(tmp_path, columns=columns), tmp_path / "own", templates=tmp_path / "mine.toml", differing=(1, 1)
    )
    assert "sleeve length: long → short" in {row["feedback"] for row in written(summary.folder)}
    assert not (summary.folder / "templates.toml").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[colour]\nchange = ['{color} now']",
            r"\[colour\] change: \{color\} in .* choose from: \{new\}, \{old\}, \{att",
        ),
        ("[colour]\nchange = ['{new.__class__}']", r"\{new.__class__\} in"),
        ("[colour]\nchange = ['{new:>99999999}']", r"\{new:>99999999\} in"),
        ("[colour]\nchange = ['{} now']", r"\{\} in"),
        ("[colour]\nchange = ['{new']", r"\[colour\] change: the braces of '\{new' do not fit"),
        ("[colour]\nred = ['{first}']", r"\[colour\] red: \{first\} in"),
        ("[general]\njoined = ['{first} only']", r"joined: '\{first\} only' must hold both"),
        ("[general]\ntrue = ['{new}']", r"\[general\] true: \{new\} in"),
        ("[general]\nchnage = ['{new}']", r"\[general\]: 'chnage' is not known"),
        ("[colour]\nchange = []", r"\[colour\] change: expected sentences"),
        ("[colour]\nchange = [1]", r"\[colour\] change: expected sentences"),
        ("change = ['{new}']", "'change' stands outside of a table"),
        ("[colour\n", "is not TOML"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_named_by_table_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"mine.toml'.*{message}"):
        make(shop(tmp_path), tmp_path, templates=put(tmp_path, text, "mine.toml") / "mine.toml")


def test_templates_that_are_not_used_are_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "[sleeves]\nchange = ['x']\n[colour]\npink = ['y']\n", "mine.toml")
    make(shop(tmp_path), tmp_path, templates=tmp_path / "mine.toml")
    assert "[sleeves] is not used" in caplog.text
    assert "[colour]: pink is not used" in caplog.text


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda name: name.split() == [name]))
def test_the_templates_that_are_written_can_be_read(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    file = tmp_path_factory.mktemp("templates") / "templates.toml"
    for values in (["x", "y"], ["false", "true"]):
        file.write_bytes(default_text({name: values, "colour": ["red"]}).encode())
        sentence = read_templates(file, {name: values, "colour": ["red"]}).sentence(name, values[0], values[1])
        assert name == "general" or "y" in sentence or name.replace("_", " ").strip() in sentence


def test_yes_and_no_have_their_own_sentences(tmp_path: Path) -> None:
    columns = {"colour": ("red", "blue"), "kids": ("1", "0"), "water_proof": ("True", "FALSE")}
    rows = written(make(shop(tmp_path, columns=columns), tmp_path, differing=(1, 1), per_reference=9).folder)
    sentences = {kind: {row["feedback"] for row in rows if row["kind"] == kind} for kind in columns}
    assert sentences["kids"] == {"for children", "is for children", "not for children", "is not for children"}
    assert sentences["water_proof"] == {"is water proof", "water proof", "is not water proof", "not water proof"}


def test_an_unknown_value_is_passed_over_and_spellings_are_one_value(tmp_path: Path) -> None:
    cells = "1,Red,long|2,red,n/a|3,Blue,long|4,blue,|5,red,short|6,Red,unknown|7,,-|8,red,long"
    text = "file,colour,sleeve\n" + cells.replace("|", "\n")
    rows = written(
        make(put(tmp_path, text, "t.csv") / "t.csv", tmp_path, split=0, differing=(1, 1), per_reference=9).folder
    )
    ends = {(int(row["reference"]), int(row["target"])): row for row in rows}
    assert {ends[pair]["kind"] for pair in ((1, 3), (1, 4), (2, 3), (4, 5), (5, 4))} == {"colour"}
    assert ends[1, 5]["kind"] == "sleeve"
    assert not {(1, 2), (1, 8), (1, 7), (2, 5), (3, 5)} & set(ends)
    assert not any("Red" in row["feedback"] for row in rows)


def test_columns_that_are_no_attributes_are_left_out_and_said_so(tmp_path: Path) -> None:
    lines = [
        f"{n}.png,name {n},{100 + n},{('red', 'blue')[n % 2]},{('s', 'm', 'l')[n % 3]},shop,{36 + n % 4}"
        for n in range(60)
    ]
    header = "image,title,price,colour,size,seller,number\n"
    table = put(tmp_path, header + "\n".join(lines), "t.csv") / "t.csv"
    summary = make(table, tmp_path / "own")
    assert summary.attributes == {"colour": 2, "size": 3, "number": 4}
    assert summary.left_out == {
        "title": "60 different values in 60 items, like an id or a text",
        "price": "60 different numbers",
        "seller": "always shop",
    }
    assert make(table, tmp_path / "own", attributes=["colour"], split=0).attributes == {"colour": 2}


def test_pairs_stay_within_a_column(tmp_path: Path) -> None:
    columns = {"category": ("dress", "shirt", ""), "colour": ("red", "blue")}
    summary = make(shop(tmp_path, columns=columns), tmp_path, within="category", split=0)
    category = [value for value in columns["category"] for _ in range(10)]
    ends = [[int(Path(row[end]).stem) for end in ("reference", "target")] for row in written(summary.folder)]
    assert {(category[one], category[other]) for one, other in ends} == {("dress", "dress"), ("shirt", "shirt")}
    assert summary.kinds.keys() == {"colour"}
    labels = (tmp_path / "labels.csv").read_text()
    assert "category: dress; colour: red" in labels
    truths = load(tmp_path, "train").triplets.aspects
    assert list(truths) == ["category", "colour"]
    assert {len(set(values.tolist()) - {-1}) for values in truths.values()} == {2}


def test_rows_that_name_no_image_are_left_out_of_triplets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with_gaps = "file,colour\n" + "".join(
        f"{number}.png,{colour}\n,red\nN/A,blue\n" for number, colour in enumerate(("red", "blue", "green"))
    )
    summary = make(put(tmp_path, with_gaps, "t.csv") / "t.csv", tmp_path / "own", split=0)
    assert summary.items == 3 and "6 rows name no image" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "item,colour\n1,red\n",
            "no column that names images; expected one called file, picture, image; found: 'item'",
        ),
        ("file,colour\n1,red\n2,red\n", r"0 attributes .* Left out: colour \(always red\)"),
        ("file,colour\n,red\n", "no row names an image in the column 'file'"),
        ("file,colour\n1,red\n1,blue\n", "line 3: '1' stands in line 2 with other values"),
        (
            "file,a,b,c,d\n1,x,x,x,p\n2,y,y,y,q\n3,x,y,z,r\n",
            r"no two of 3 items differ in 1 or 2 of 4 attributes .*No two items ever agree in c, d\. ",
        ),
    ],
)
def test_a_table_that_gives_no_triplets_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"t.csv'.*{message}"):
        make(put(tmp_path, text, "t.csv") / "t.csv", tmp_path / "own", split=0)
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        {"differing": (0, 1)},
        {"differing": (2, 1)},
        {"per_reference": 0},
        {"seed": -1},
        {"split": 1.0},
        {"within": "shape"},
        {"attributes": ["color"]},
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, arguments: dict[str, object]) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=r"must be|at least|shape|Did you mean 'colour'"):
        make(shop(tmp_path), tmp_path / "own", **arguments)  # type: ignore[arg-type]


def test_rows_that_repeat_another_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = shop(tmp_path)
    table.write_text(table.read_text() + table.read_text().splitlines()[1])
    assert make(table, tmp_path).items == 60
    assert "1 rows repeat another" in caplog.text


def test_a_test_split_without_a_pair_is_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "file,colour,sleeve\n1,red,long\n2,blue,long\n3,red,short\n4,blue,short\n"
    with caplog.at_level(logging.WARNING):
        assert make(put(tmp_path, text, "t.csv") / "t.csv", tmp_path).test == 0
    assert "the 1 test items make no pair" in caplog.text


@given(
    arrays(np.int64, st.tuples(st.integers(1, 14), st.integers(1, 4)), elements=st.integers(-1, 2)),
    st.sampled_from([(1, 1), (1, 2), (2, 2)]),
    st.data(),
)
def test_the_pairs_are_those_that_a_comparison_of_all_with_all_finds(
    values: np.ndarray, differing: tuple[int, int], data: st.DataObject
) -> None:
    items = len(values)
    groups, owners = (data.draw(arrays(np.int64, items, elements=st.integers(least, 3))) for least in (-1, 0))
    # With more than a few patterns of what is unknown, pairs may be missed; none may be wrong.
    result = find_pairs(values, groups, owners, differing=differing, per_reference=14)
    pairs = list(zip(result.references.tolist(), result.targets.tolist(), strict=True))
    right = {}
    for one, other in product(range(items), repeat=2):
        changed = tuple(np.flatnonzero((values[one] >= 0) & (values[other] >= 0) & (values[one] != values[other])))
        allowed = groups[one] == groups[other] >= 0 and owners[one] != owners[other]
        if allowed and differing[0] <= len(changed) <= differing[1]:
            right[one, other] = changed
    assert all(right[pair] == result.sets[number] for pair, number in zip(pairs, result.changed.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    if len(np.unique(values >= 0, axis=0)) <= 4:
        assert set(pairs) == set(right)


def test_no_more_pairs_than_asked_for_and_not_all_of_one_kind() -> None:
    values = np.random.Generator(np.random.PCG64(0)).integers(0, 4, (2000, 5))
    pairs = find_pairs(values, np.zeros(2000, np.int64), np.arange(2000), per_reference=3)
    assert np.bincount(pairs.references).max() == 3
    sizes = np.array([len(changed) for changed in pairs.sets])[pairs.changed]
    assert 0.25 < (sizes == 1).mean() < 0.75


@pytest.mark.slow
def test_a_hundred_thousand_items_take_less_than_a_minute() -> None:
    values = np.random.Generator(np.random.PCG64(0)).integers(0, 6, (100_000, 8))
    start = time.perf_counter()
    pairs = find_pairs(values, np.zeros(100_000, np.int64), np.arange(100_000))
    assert time.perf_counter() - start < 60
    assert len(pairs.references) > 100_000


def test_the_examples_of_the_page_work(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "own-data.md").read_text(encoding="utf-8")
    json_lines, rows, labels, table, toml = (
        re.search(rf"```{language}\n({begin}.*?)```", page, re.DOTALL)[1]  # type: ignore[index]
        for language, begin in (
            ("json", "{"),
            ("csv", "reference"),
            ("csv", "image"),
            ("csv", "file"),
            ("toml", r"\[general"),
        )
    )
    for folder, name, text in (("one", "triplets.jsonl", json_lines), ("two", "triplets.csv", rows)):
        put(put(tmp_path / folder, text, name), labels, "labels.csv")
        assert [len(load(tmp_path / folder, split).triplets) for split in own.SPLITS] == [1, 1]
    templates = put(tmp_path, toml, "templates.toml") / "templates.toml"
    make(put(tmp_path, table, "t.csv") / "t.csv", tmp_path / "shop", templates=templates, split=0, per_reference=99)
    feedback = {row["feedback"] for row in written(tmp_path / "shop")}
    assert feedback & {"blue instead of red", "the colour is blue"}
    assert feedback & {"with short sleeves", "short sleeves instead of long"}


@pytest.mark.realdata
def test_a_shop_with_attributes_but_no_captions_can_train(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    table = real_data("photos") / "items.csv"
    summary = make(table, tmp_path / "own", attributes=["category", "kids"])
    items = {
        Path(str(row.cells["file"])).name: {name: str(row.cells[name]) for name in ("category", "kids")}
        for row in read_table(table).rows
    }
    assert summary.missing == 0
    assert summary.without_pair == 0
    assert summary.test > 100
    assert_true(summary.folder, written(summary.folder), items)
    learn, test = (load(summary.folder, split) for split in own.SPLITS)
    retriever = Retriever.build(CONFIG, learn.triplets.feedback, seed=0)
    train(retriever, learn.triplets, replace(TRAIN, steps=3), tmp_path / "run")
    (evaluation,) = evaluate(retriever, test.triplets, protocols=[test.protocol()])
    assert evaluation.report.queries == summary.test
    assert set(evaluation.report.recall_by_kind) == {"category", "kids", "category, kids"}
