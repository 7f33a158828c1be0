"""What `itma doctor` finds in data sets that are broken on purpose, and in the published annotations."""

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from itma.cli import cli
from itma.data import datasets
from itma.data.validation.diagnosis import Diagnosis, Finding
from itma.data.validation.doctor import examine
from itma.errors import DataError, UnknownNameError
from tests import made_up_data
from tests.shop_table import items, shop

CATEGORIES = ("dress", "shirt", "toptee")


def image(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> None:
    """An image with a content of its own."""
    random = np.random.Generator(np.random.PCG64(seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Three rows for each split, over images that only it has."""
    rows = ["reference,feedback,target,split"]
    for split, first in (("train", 0), ("test", 10)):
        rows += [f"{first + row}.jpg,in red number {row},{first + row + 1}.jpg,{split}" for row in range(3)]
        for number in range(4):
            image(tmp_path / "images" / f"{first + number}.jpg", first + number)
    (tmp_path / "triplets.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def add(root: Path, *rows: str) -> None:
    with (root / "triplets.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"{row}\n" for row in rows)


def find(diagnosis: Diagnosis, what: str, split: str) -> Finding:
    """The one finding of a split that is called so, or whose name begins so."""
    own = [one for one in diagnosis.findings if one.split == split]
    (only,) = [one for one in own if one.what == what] or [one for one in own if one.what.startswith(what)]
    return only


def by_severity(diagnosis: Diagnosis, severity: str) -> list[str]:
    return [f"{one.split}: {one}" for one in diagnosis.findings if one.severity == severity]


def test_of_a_table_of_products_it_says_what_is_an_attribute_and_why_other_columns_are_none(tmp_path: Path) -> None:
    diagnosis = examine("products", shop(tmp_path, items()))
    assert diagnosis.healthy
    for split, products in (("train", 48), ("test", 48)):
        assert find(diagnosis, "products", split).count == find(diagnosis, "images", split).count == products
        used = str(find(diagnosis, "attributes", split))
        assert used.startswith("attributes: 5 (kind (3 values), colour (4 values), sleeves (2 values)")
        unused = str(find(diagnosis, "columns that are not used", split))
        assert "price (no image shows it)" in unused and "group (follows from the kind)" in unused
    assert find(diagnosis, "queries of products", "test").count > 0


def test_what_has_no_fault_is_healthy_and_nothing_is_left_out(own: Path) -> None:
    diagnosis = examine("own", own)
    assert diagnosis.healthy and {one.severity for one in diagnosis.findings} == {"ok"}
    assert diagnosis.left_out == ("train: nothing.", "test: nothing.")
    assert find(diagnosis, "queries of own", "test").count == 3
    assert find(diagnosis, "rows", "train").count == 3
    assert "no problems, no notes" in str(diagnosis)


def test_missing_images_are_named_and_the_queries_that_need_them_counted(own: Path) -> None:
    (own / "images" / "11.jpg").unlink()
    diagnosis = examine("own", own)
    assert by_severity(diagnosis, "problem") == [
        "test: missing images: 1 of 4, 25.0% (11.jpg)",
        "test: queries of own: 1 of 3",
    ]
    assert "of own, 2 of 3 queries and 1 of 4 images of the gallery" in diagnosis.left_out[1]


def test_training_that_would_be_refused_is_told_with_the_way_out(own: Path) -> None:
    (own / "images" / "3.jpg").unlink()
    diagnosis = examine("own", own, images=False)
    assert find(diagnosis, "rows that can be used", "train").count == 2
    assert diagnosis.left_out[0] == (
        "train: 1 of 3 rows, for want of an image. 66.7% are left, and training wants 95% unless told otherwise: "
        "--set data.coverage=0.66."
    )


def test_files_that_are_empty_cut_off_or_no_images_are_problems_of_their_own(own: Path) -> None:
    images = own / "images"
    (images / "0.jpg").write_bytes(b"")
    whole = (images / "1.jpg").read_bytes()
    (images / "1.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (images / "10.jpg").write_text("no image at all")
    diagnosis = examine("own", own)
    assert find(diagnosis, "files of zero bytes", "train").examples == ("0.jpg",)
    unreadable = find(diagnosis, "images that cannot be read", "train")
    assert unreadable.count == 1 and unreadable.examples[0].startswith("1.jpg: damaged or truncated")
    assert "not an image in a format" in find(diagnosis, "images that cannot be read", "test").examples[0]
    assert not by_severity(diagnosis, "note")
    assert find(diagnosis, "missing images", "train").severity == "ok"
    assert "stop at each of the 2 images" in diagnosis.left_out[0]
    assert "leaves out 2 rows more (then with --set data.coverage=0.33)" in diagnosis.left_out[0]
    assert "leaves out 2 rows more" in diagnosis.left_out[0] and "leaves out 1 row more" in diagnosis.left_out[1]


def test_without_opening_images_only_the_missing_ones_are_known(own: Path) -> None:
    (own / "images" / "0.jpg").write_bytes(b"")
    diagnosis = examine("own", own, images=False)
    assert diagnosis.healthy and not diagnosis.opened and "were not opened" in str(diagnosis)
    assert not any("zero bytes" in one.what for one in diagnosis.findings)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_what_is_no_file_is_reported_and_not_waited_for(own: Path) -> None:
    for name in ("0.jpg", "1.jpg", "10.jpg"):
        (own / "images" / name).unlink()
    os.mkfifo(own / "images" / "0.jpg")
    (own / "images" / "1.jpg").symlink_to("nowhere.jpg")
    (own / "images" / "10.jpg").mkdir()
    diagnosis = examine("own", own)
    assert find(diagnosis, "images that cannot be read", "train").examples == (
        "0.jpg: this is not a file",
        "1.jpg: the file does not exist",
    )
    assert find(diagnosis, "images that cannot be read", "test").count == 1


def test_images_alike_are_found_by_content_within_a_split_and_between_splits(own: Path) -> None:
    images = own / "images"
    shutil.copy(images / "0.jpg", images / "2.jpg")
    shutil.copy(images / "0.jpg", images / "12.jpg")
    image(images / "3.png", 3)
    (images / "3.png").rename(images / "3.jpg")
    diagnosis = examine("own", own)
    assert diagnosis.healthy
    assert find(diagnosis, "images with the content of another", "train").examples == ("2.jpg is 0.jpg",)
    between = find(diagnosis, "images of one content under two names", "")
    assert (between.severity, between.count) == ("note", 1)
    assert re.fullmatch(r"12\.jpg is [02]\.jpg", between.examples[0])


def test_files_of_one_length_with_other_contents_are_not_alike(own: Path) -> None:
    for number in (0, 1, 10):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(own / "images" / f"{number}.jpg", "bmp")
    assert len({(own / "images" / f"{number}.jpg").stat().st_size for number in (0, 1, 10)}) == 1
    assert not by_severity(examine("own", own), "note")


def test_images_of_odd_sizes_are_noted(own: Path) -> None:
    Image.new("RGB", (1, 1)).save(own / "images" / "0.jpg")
    Image.new("RGB", (10_001, 2)).save(own / "images" / "1.jpg")
    Image.new("RGB", (10_000, 2)).save(own / "images" / "2.jpg")
    odd = find(examine("own", own), "images with a side", "train")
    assert (odd.severity, odd.examples) == ("note", ("0.jpg: 1×1", "1.jpg: 10,001×2"))


def test_odd_captions_are_noted_with_their_lines(own: Path) -> None:
    add(
        own,
        "0.jpg,…!,2.jpg,train",
        "0.jpg,cafÃ© crème,2.jpg,train",
        "0.jpg,naïve “Straße” » Ö,2.jpg,train",
        f"0.jpg,{'very ' * 64}red,2.jpg,train",
        f"0.jpg,{'very ' * 63}red,2.jpg,train",
    )
    diagnosis = examine("own", own)
    assert diagnosis.healthy
    assert find(diagnosis, "captions without a word", "train").examples == ('triplets.csv line 8: "…!"',)
    assert find(diagnosis, "captions that are not ASCII", "train").count == 3
    twice = find(diagnosis, "captions that were probably encoded twice", "train")
    assert twice.examples == ('triplets.csv line 9: "cafÃ© crème"',)
    long = find(diagnosis, "captions that are cut after 64 words", "train")
    assert long.count == 1 and long.examples[0].startswith("triplets.csv line 11")


@pytest.mark.parametrize("text", ["womenâ\x80\x99s", "womenâ€™s", "cafÃ©", "lamÃ©", "â\x84¢", "Â®", "ð\x9f\x98\x80"])
def test_what_was_encoded_twice_is_told_whichever_way_it_was_read(own: Path, text: str) -> None:
    add(own, f"0.jpg,{text} red,2.jpg,train")
    assert find(examine("own", own, images=False), "captions that were probably encoded twice", "train").count == 1


def test_rows_that_stand_there_twice_are_noted(own: Path) -> None:
    add(own, "0.jpg,in red number 0,1.jpg,train", "0.jpg,in red number 0,2.jpg,train")
    repeated = find(examine("own", own), "rows that repeat", "train")
    assert (repeated.severity, repeated.examples) == ("note", ("triplets.csv line 8, as triplets.csv line 2",))


def test_images_in_two_splits_are_noted_and_rows_in_both_are_a_problem_of_ones_own_data(own: Path) -> None:
    add(own, "images/0.jpg,in blue,11.jpg,test")
    diagnosis = examine("own", own)
    assert diagnosis.healthy
    shared = find(diagnosis, "images in both train and test", "")
    assert (shared.severity, shared.count, shared.examples) == ("note", 1, ("images/0.jpg",))
    add(own, "0.jpg,in red number 0,1.jpg,test")
    diagnosis = examine("own", own)
    assert by_severity(diagnosis, "problem") == [
        ": rows in both train and test: 1 (triplets.csv line 9 and triplets.csv line 2)"
    ]


# -- FashionIQ --------------------------------------------------------------------------------------------------------


def published(
    root: Path,
    entries: dict[tuple[str, str], Sequence[str]],
    captions: Sequence[Sequence[str]] = (("is red", "short"),),
) -> Path:
    """FashionIQ with some images of its own in each category and split, those in `entries`, and few rows."""
    for folder in ("captions", "image_splits"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for split in ("train", "val", "test"):
        for category in CATEGORIES:
            names = [f"{category}{split}{number}" for number in range(3)]
            rows = [{"candidate": names[0], "captions": pair} for pair in captions]
            if split != "test":
                rows = [row | {"target": names[1]} for row in rows]
            listed = [*names, *entries.get((category, split), ())]
            (root / "image_splits" / f"split.{category}.{split}.json").write_text(json.dumps(listed))
            (root / "captions" / f"cap.{category}.{split}.json").write_text(json.dumps(rows))
            for number, name in enumerate(listed):
                image(root / "images" / f"{name}.jpg", number)
    return root


def test_counts_that_are_not_the_published_ones_are_problems(tmp_path: Path) -> None:
    diagnosis = examine("fashioniq", published(tmp_path, {}), images=False)
    assert not diagnosis.healthy
    entries = find(diagnosis, "shirt split entries", "val")
    assert (entries.severity, entries.count, entries.expected) == ("problem", 3, 6_346)
    assert str(entries) == "shirt split entries: 3 of 6,346"
    assert len(by_severity(diagnosis, "problem")) == 3 * 7


def test_captions_are_looked_at_one_by_one_and_named_by_file_and_row(tmp_path: Path) -> None:
    root = published(tmp_path, {}, [("is red", ""), (".", "is short"), ("is red", "")])
    diagnosis = examine("fashioniq", root, images=False)
    empty = find(diagnosis, "empty captions", "val")
    assert empty.count == 6  # the split's table asks each of them in several ways
    assert empty.examples[:2] == ("cap.dress.val.json row 1", "cap.dress.val.json row 3")
    assert find(diagnosis, "captions without a word", "test").examples[0] == 'cap.dress.test.json row 2: "."'
    for split in ("train", "val", "test"):
        repeated = find(diagnosis, "rows that repeat", split)
        assert repeated.count == 3
        assert repeated.examples[2] == f"cap.toptee.{split}.json row 3, as cap.toptee.{split}.json row 1"


def test_images_of_several_categories_are_noted_with_where(tmp_path: Path) -> None:
    shared = {("shirt", "train"): ["a", "b"], ("toptee", "train"): ["b"], ("toptee", "val"): ["a", "b", "c"]}
    diagnosis = examine("fashioniq", published(tmp_path, shared), images=False)
    assert find(diagnosis, "images in more than one category", "train").examples == ("train shirt and train toptee: 1",)
    assert find(diagnosis, "images in more than one category", "val").count == 0
    between = find(diagnosis, "images in both train and val", "")
    assert between.count == 2
    assert between.examples == ("train shirt and val toptee: 2", "train toptee and val toptee: 1")


def test_coverage_is_told_by_protocol_and_task(tmp_path: Path) -> None:
    root = published(tmp_path, {}, [("is red", "."), ("is short", "is blue")])
    (root / "images" / "shirtval1.jpg").unlink()
    diagnosis = examine("fashioniq", root)
    text = "\n".join(by_severity(diagnosis, "problem"))
    assert "val: queries of fashioniq/original, " in text and ": 4 of 6 (shirt: 0 of 2)" in text
    assert ": 8 of 12 (shirt: 0 of 4)" in text  # in both orders
    assert ": 6 of 9 (shirt: 0 of 3)" in text  # each caption that holds a word
    names = re.findall(r"fashioniq/[\w/-]+", text)
    assert sorted(names) == sorted(set(names)) and len(names) == 18
    assert "of fashioniq/original, 2 of 6 queries and 1 of 9 images" in diagnosis.left_out[1]
    assert diagnosis.left_out[2].startswith("test: nothing. Its targets were never published")


def test_a_split_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    root = published(tmp_path, {})
    (root / "captions" / "cap.shirt.test.json").write_text('[{"candidate": "shirt')
    diagnosis = examine("fashioniq", root)
    broken = find(diagnosis, "annotations that cannot be read", "test")
    assert broken.severity == "problem" and "was cut off" in broken.examples[0]
    assert find(diagnosis, "missing images", "val").count == 0
    assert diagnosis.left_out[2] == "test: all of it, since its annotations cannot be read."


def test_a_root_that_is_none_and_a_name_that_is_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="is not the folder of FashionIQ"):
        examine("fashioniq", tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'fashioniq'"):
        examine("fashionique", tmp_path)


# -- the command ------------------------------------------------------------------------------------------------------


def call(*words: str | Path) -> Result:
    result = CliRunner().invoke(cli, ["--quiet", "doctor", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_exit_status_tells_scripts_what_was_found(own: Path) -> None:
    assert call("own", "--root", own).exit_code == 0
    (own / "images" / "0.jpg").write_bytes(b"")
    result = call("own", "--root", own)
    assert result.exit_code == 1 and "problem  files of zero bytes: 1 (0.jpg)" in result.output
    assert call("own", "--root", own, "--no-images").exit_code == 0
    (own / "images" / "0.jpg").unlink()
    assert call("own", "--root", own, "--no-images").exit_code == 1
    assert call("own").exit_code == 2
    assert call("fashioniq", "--root", own).exit_code == 1


def test_everything_that_was_found_can_be_read_by_other_programs(own: Path, tmp_path: Path) -> None:
    (own / "images" / "11.jpg").unlink()
    call("own", "--root", own, "--json", tmp_path / "out" / "doctor.json")
    plain = json.loads((tmp_path / "out" / "doctor.json").read_text())
    assert plain["healthy"] is False and plain["name"] == "own"
    assert {
        "severity": "problem",
        "split": "test",
        "what": "missing images",
        "count": 1,
        "expected": None,
        "of": 4,
        "examples": ["11.jpg"],
    } in plain["findings"]
    assert len(plain["left_out"]) == 2


def test_what_a_terminal_would_obey_is_written_out(own: Path) -> None:
    add(own, "0.jpg,\x1b[31m é\x9b2J,2.jpg,train")
    output = call("own", "--root", own).output
    assert "\x1b" not in output and "\x9b" not in output and r"\x9b2J" in output


# -- documentation ----------------------------------------------------------------------------------------------------


def test_the_page_on_data_sets_states_the_published_sizes() -> None:
    page = Path(__file__).parents[1].joinpath("docs", "datasets.md").read_text(encoding="utf-8")
    for name in datasets.NAMES:
        (row,) = re.findall(rf"^\| `{name}` .*$", page, re.MULTILINE)
        for counts in datasets.dataset_named(name).published.values():
            for what, count in counts.items():
                assert f"{count:,}" in row or what.endswith(("split entries", "modifications")), (name, what, count)


# -- published annotations --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.realdata
def test_the_published_fashioniq_is_as_published_but_for_its_images(real_data: Callable[[str], Path]) -> None:
    diagnosis = examine("fashioniq", real_data("fashioniq"))
    for one in diagnosis.findings:
        if one.severity == "problem":
            assert one.what.startswith(("missing images", "queries of ", "rows that can be used", "folders that were"))
            assert one.count == (one.of or one.count)
    numbers = {
        ("train", "empty captions"): 12,
        ("val", "empty captions"): 3,
        ("test", "empty captions"): 1,
        ("train", "captions without a word"): 1,
        ("train", "captions that are not ASCII"): 1,
        ("val", "captions that are not ASCII"): 1,
        ("test", "rows that repeat an earlier one"): 12,
        ("val", "images in more than one category"): 121,
        ("val", "dress queries"): 2_017,
        ("train", "distinct images"): 45_429,
    }
    for (split, what), count in numbers.items():
        assert find(diagnosis, what, split).count == count, (split, what)
    assert find(diagnosis, "images in both train and val", "").examples == (
        "train toptee and val shirt: 419",
        "train shirt and val toptee: 392",
    )
    assert find(diagnosis, "rows in both train and val", "").severity == "note"


@pytest.mark.realdata
def test_images_that_are_drawn_from_scenes_are_not_looked_for(real_data: Callable[[str], Path]) -> None:
    diagnosis = examine("css", real_data("css"))
    assert find(diagnosis, "missing images", "test") == Finding("ok", "test", "missing images", 0, of=91)
    assert find(diagnosis, "images that cannot be read", "test").severity == "ok"
    assert find(diagnosis, "queries of css, css/2d-to-3d", "test").count == find(diagnosis, "queries", "test").count
    assert {one.what for one in diagnosis.findings if one.severity == "problem"} == {
        "images",
        "queries",
        "modifications",
    }


@pytest.mark.slow
@pytest.mark.realdata
def test_the_listing_of_mit_states_is_as_published(real_data: Callable[[str], Path]) -> None:
    diagnosis = examine("mitstates", real_data("mitstates"))
    assert find(diagnosis, "missing images", "train").count == 43_207
    assert [(one.what, one.count) for one in diagnosis.findings if one.split == "test"][:3] == [
        ("images", 10_546),
        ("nouns", 49),
        ("queries", 82_732),
    ]
    assert {one.what for one in diagnosis.findings if one.severity == "problem"} == {
        "missing images",
        "rows that can be used",
        "queries of mitstates",
    }


@pytest.mark.realdata
def test_captions_of_fashion200k_that_were_encoded_twice_are_counted(real_data: Callable[[str], Path]) -> None:
    diagnosis = examine("fashion200k", real_data("fashion200k"))
    for what, count in (("captions that are not ASCII", 95), ("captions that were probably encoded twice", 14)):
        assert sum(find(diagnosis, what, split).count for split in ("train", "test")) == count
    assert "can only be targets" in diagnosis.left_out[0]


@pytest.mark.parametrize("name", sorted(made_up_data.WRITERS))
def test_where_no_image_is_found_it_is_said_where_they_were_looked_for(name: str, tmp_path: Path) -> None:
    root = made_up_data.write(name, tmp_path / name)
    diagnosis = examine(name, root, images=False)
    looked = [finding for finding in diagnosis.findings if finding.what.endswith(("looked in", "looked for"))]
    missing = [finding for finding in diagnosis.findings if finding.what == "missing images" and finding.count]
    assert bool(looked) == bool(missing) and all(finding.examples for finding in looked)
