"""Annotation files as they come off other systems, and folders that are one level off."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itma.data.datasets.reading import check_root, read_json_rows, read_lines, read_text, row_error
from itma.errors import DataError

LETTERS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))


@given(
    lines=st.lists(LETTERS, min_size=1).filter(lambda lines: lines[-1] != ""),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.booleans(),
    last=st.booleans(),
)
def test_lines_are_the_same_with_any_line_ends_and_with_a_byte_order_mark(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str, mark: bool, last: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.txt"
    text = end.join(lines) + (end if last else "")
    mark = mark or text.startswith("\ufeff")  # a first letter that looks like a mark is one
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + text.encode())
    assert read_lines(path, "get it again") == lines


def test_a_file_of_nothing_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    assert read_lines(tmp_path / "empty.txt", "get it again") == []


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes(b"caf\xc3\xa9\r\ncaf\xe9\r\n")
    with pytest.raises(DataError, match=r"old\.txt', line 2: not UTF-8 text \(byte 0xe9\); save it as UTF-8"):
        read_text(tmp_path / "old.txt", "save it as UTF-8")


def test_a_missing_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt' does not exist; get it again"):
        read_lines(tmp_path / "none.txt", "get it again")


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: .*; get it again"):
        read_text(tmp_path, "get it again")


@pytest.mark.parametrize(
    "text", ['["a", "b', "", "<!DOCTYPE html>", "[" * 100_000], ids=["cut", "empty", "page", "deep"]
)
def test_json_that_is_cut_off_or_no_json_is_named_with_its_beginning(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(DataError, match=r"rows\.json' is damaged or was cut off: .*it begins with .*; get it again"):
        read_json_rows(tmp_path / "rows.json", "get it again")


@pytest.mark.parametrize(
    ("text", "kind"), [("{}", "an object"), ("null", "null"), ('"a"', "a text"), ("3", "a number")]
)
def test_json_that_is_no_list_is_named_by_what_it_is(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(DataError, match=rf"rows\.json' holds {kind}; expected a list of rows"):
        read_json_rows(tmp_path / "rows.json", "get it again")


def test_rows_are_counted_from_1_in_messages() -> None:
    assert str(row_error(Path("a.json"), 0, "it is empty")) == "'a.json', row 1: it is empty"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tmp_path = tmp_path.resolve()
    (tmp_path / "home" / "data" / "labels" / "inner").mkdir(parents=True)
    (tmp_path / "home" / "data" / "list.txt").touch()
    return tmp_path / "home" / "data"


def test_the_right_root_passes(root: Path) -> None:
    check_root(root, "Things", ("labels", "list.txt"))


@pytest.mark.parametrize("steps", [["labels"], ["labels", "inner"], []], ids=["one down", "two down", "one up"])
def test_a_root_that_is_too_deep_or_too_shallow_is_answered_with_the_right_one(root: Path, steps: list[str]) -> None:
    folder = root.joinpath(*steps) if steps else root.parent
    with pytest.raises(
        DataError, match=r"not the folder of Things: expected labels, list\.txt in it, found "
    ) as caught:
        check_root(folder, "Things", ("labels", "list.txt"))
    assert str(caught.value).endswith(f"; give {str(root)!r} instead")


def test_a_root_far_from_the_right_one_says_what_was_found(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(
        DataError, match=r"found 0\.txt, 1\.txt, .*5\.txt and 2 more; give the folder that holds labels"
    ):
        check_root(tmp_path, "Things", ("labels",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"found nothing; give the folder that holds labels"):
        check_root(tmp_path / "empty", "Things", ("labels",))


def test_a_root_that_does_not_exist_or_is_a_file_is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"gone' does not exist; give the folder of Things, which holds labels"):
        check_root(root / "gone", "Things", ("labels",))
    with pytest.raises(DataError, match=r"list\.txt' is a file; give the folder of Things"):
        check_root(root / "list.txt", "Things", ("labels",))
    with pytest.raises(DataError, match=r"cannot be read|does not exist"):
        check_root(root / ("long" * 100), "Things", ("labels",))
