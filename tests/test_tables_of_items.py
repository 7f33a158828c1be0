"""Tables as people have them: what is missing, numbers of either notation, dates, awkward columns, odd image names."""

import base64
import json
import re
import shutil
import unicodedata
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from itma.errors import DataError
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.listing import Entry, Listing, listing
from itma.retrieval.ingest.rows import Item, Row, facts_of, table_of
from itma.retrieval.stores.base import schema_of
from itma.retrieval.stores.lance import LanceStore
from tests import made_up

pytest.importorskip("lance")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def draw(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), "red").save(path)
    return path.read_bytes()


def csv(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    (folder / "t.csv").write_bytes("\n".join(lines).encode(encoding))
    return folder / "t.csv"


def column(folder: Path, *cells: str, **options: Any) -> tuple[str, list[Any], Listing]:
    path = csv(folder, "image;x", *(f"{number}.png;{cell}" for number, cell in enumerate(cells)))
    return values(listing(path, **options))


def values(source: Listing) -> tuple[str, list[Any], Listing]:
    return str(source.columns.get("x")), [entry.fields.get("x") for entry in source.entries()], source


def only(source: Listing) -> Entry:
    return next(iter(source.entries()))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["129.0", "N/A", "nan", "9.99", "-", "null"], [129.0, None, None, 9.99, None, None]),
        (["1.299,00", "29,90", "149,00"], [1299.0, 29.9, 149.0]),
        (["1 299,00", "29,90"], [1299.0, 29.9]),
        (["€ 1.299,00", "€ 29,90"], [1299.0, 29.9]),
        (["1.299,00 €", "29,90 €"], [1299.0, 29.9]),
        (["1,299.00", "29.90"], [1299.0, 29.9]),
        (["$1,299.00", "$5"], [1299.0, 5.0]),
        (["1,299", "2,500"], ["1,299", "2,500"]),
        (["€ 5", "$ 5"], ["€ 5", "$ 5"]),
        (["1.299,00", "12.50"], ["1.299,00", "12.50"]),
        (["2026-01-31", "", "n/a"], [date(2026, 1, 31), None, None]),
        (["2026-01-31T10:20:30Z"], [datetime(2026, 1, 31, 10, 20, 30, tzinfo=UTC)]),
        (["2026-02-31", "2026-01-01"], ["2026-02-31", "2026-01-01"]),
        (["31.01.2026", "1.2.2026"], [date(2026, 1, 31), date(2026, 2, 1)]),
        (["01/02/2026"], ["01/02/2026"]),
        (["2026-01-31", "NaT", "-"], [date(2026, 1, 31), None, None]),
        (["4.5", "inf", "-Infinity", "#DIV/0!", "\\N", "1e400"], [4.5, None, None, None, None, float("inf")]),
        (["red", "-", "NA"], ["red", "-", "NA"]),
        (["1'299.00", "29.90"], [1299.0, 29.9]),
        (["29,-", "30,50", "1.299,—"], [29.0, 30.5, 1299.0]),
        (["CHF 29.-", "CHF 5.50"], [29.0, 5.5]),
        (["29,90 Euro", "5 Euro"], [29.9, 5.0]),
        (["US$ 29.90", "US$ 1,299.00"], [29.9, 1299.0]),
        (["1 299,00 zł", "5,50 zł"], [1299.0, 5.5]),
        (["-$5.00", "$3.00"], [-5.0, 3.0]),
        (["−5", "−3.5"], [-5.0, -3.5]),
        (["15%", "20%"], ["15%", "20%"]),
        (["1.299,—", "5"], [1299.0, 5.0]),
        (["31.12.2025 10:20", "1.2.2026 9:05:30"], [datetime(2025, 12, 31, 10, 20), datetime(2026, 2, 1, 9, 5, 30)]),
        (["31.12.2025, 10:20"], [datetime(2025, 12, 31, 10, 20)]),
        (["2025/12/31", "2026/1/2"], [date(2025, 12, 31), date(2026, 1, 2)]),
        (["12/31/2025 10:20"], ["12/31/2025 10:20"]),
        (["31.12.2025", "31.12.2025 10:20"], ["31.12.2025", "31.12.2025 10:20"]),
        (["31.13.2025 10:20"], ["31.13.2025 10:20"]),
        (["WAHR", "falsch"], [True, False]),
    ],
)
def test_cells_are_read_as_what_all_of_them_plainly_are(tmp_path: Path, cells: list[str], expected: list[Any]) -> None:
    assert column(tmp_path, *cells)[1] == expected


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["15%", "20%"], "number"),
        (["180 cm", "90 cm"], "number"),
        (["1,299", "2,500"], "decimal-comma (or decimal-point)"),
        (["12/31/2025 10:20", ""], "time"),
        (["31-12-2025"], "date"),
        (["ja", "nein", "ja"], "truth"),
        (["red", "blue"], None),
        (["A1", "A2"], None),
        (["007", "012"], None),
        (["10-20", "20-30"], None),
        (["01/02/2026"], None),
        (["S", "M", "36"], None),
        (["", "N/A"], None),
    ],
)
def test_of_a_column_kept_as_text_it_is_said_what_else_it_can_be(
    tmp_path: Path, cells: list[str], kind: str | None
) -> None:
    source = column(tmp_path, *cells)[2]
    assert source.other_kinds == ({} if kind is None else {"x": kind})
    assert not column(tmp_path, *cells, types={"x": "text"})[2].other_kinds


def test_what_stands_for_no_value_is_counted(tmp_path: Path) -> None:
    assert column(tmp_path, "1", "N/A", "", "nan")[2].missing == {"x": 2}
    _, cells, source = column(tmp_path, "red", "unknown", missing=["Unknown"])
    assert cells == ["red", None] and source.missing == {"x": 1}


@pytest.mark.parametrize(
    ("kind", "cells", "expected"),
    [
        ("date", ["01.01.2026", "2025-12-31"], [date(2026, 1, 1), date(2025, 12, 31)]),
        ("date", ["31/01/2026"], [date(2026, 1, 31)]),
        ("date", ["01/31/2026"], [date(2026, 1, 31)]),
        ("number", ["NaN", "1.5"], [None, 1.5]),
        ("number", ["1.299,00", "5"], [1299.0, 5.0]),
        ("decimal-comma", ["1,299"], [1.299]),
        ("decimal-point", ["1,299"], [1299.0]),
        ("text", ["nan", "-"], ["nan", "-"]),
        ("truth", ["yes", "No", "1", "false", "-"], [True, False, True, False, None]),
        ("truth", ["ja", "nein", "on"], [True, False, True]),
        ("number", ["15 %", "7 %"], [15.0, 7.0]),
        ("number", ["180 cm", "1.75 cm"], [180.0, 1.75]),
        ("number", ["29,-", "1.299,-"], [29.0, 1299.0]),
        (
            "time",
            ["12/31/2025 12:20 AM", "01/01/2026 1:00 pm"],
            [datetime(2025, 12, 31, 0, 20), datetime(2026, 1, 1, 13)],
        ),
        ("time", ["31.12.2025", "31/12/2025 10:20"], [datetime(2025, 12, 31), datetime(2025, 12, 31, 10, 20)]),
        ("date", ["31-12-2025 10:20"], [date(2025, 12, 31)]),
        ("date", ["20251231"], [date(2025, 12, 31)]),
    ],
)
def test_a_kind_can_be_said(tmp_path: Path, kind: str, cells: list[str], expected: list[Any]) -> None:
    assert column(tmp_path, *cells, types={"x": kind})[1] == expected


@pytest.mark.parametrize(
    ("kind", "cell", "message"),
    [
        ("number", "1,299", "decimal-comma or decimal-point"),
        ("number", "cheap", '--missing "cheap"'),
        ("date", "01/02/2026", "day/month or month/day"),
        ("date", "31.31.2026", "is no date"),
        ("date", "2026-01-31x", "is no date"),
        ("time", "2026-01-31 10.20", "is no time"),
        ("time", "01/31/2026 13:20 PM", "is no time"),
        ("time", "01/02/2026 10:20", "day/month or month/day"),
    ],
)
def test_what_cannot_be_of_the_kind_is_named(tmp_path: Path, kind: str, cell: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        column(tmp_path, cell, types={"x": kind})


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\r\nimage;x\r\na.png;1,5\r\nb.png;2,5\r\n",
        "image;x, and, more, commas;y\na.png;1;2\nb.png;2;3\n",
        "image,x,y\na.png,1,2\nb.png,3\n",
        "image\tx\r\na.png\t1\r\nb.png\t2\r\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_spreadsheets_are_read(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    assert list(listing(tmp_path / "t.csv").ids) == ["a.png", "b.png"]


LISTS = [["a", None], [None], [], ["b", "unknown"], None, ["", "c"]]
"""Lists of texts in which some or all values are missing."""


@pytest.mark.parametrize("kind", [None, "texts"])
def test_missing_values_in_lists_are_left_out_and_a_list_of_nothing_else_is_missing(
    tmp_path: Path, kind: str | None
) -> None:
    options: dict[str, Any] = {"missing": ["unknown"], "types": {"tags": kind} if kind else {}}
    rows = [{"image": f"{number}.png", "tags": tags} for number, tags in enumerate(LISTS)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    for name in ("t.jsonl", "t.parquet"):
        lists = [entry.fields.get("tags") for entry in listing(tmp_path / name, **options).entries()]
        assert lists == [["a"], None, None, ["b"], None, ["c"]]


def test_short_rows_are_counted(tmp_path: Path) -> None:
    assert listing(csv(tmp_path, "image,x,y", "a.png,1,2", "b.png,1")).filled == 1


def test_a_table_of_very_many_columns_is_refused_at_once(tmp_path: Path) -> None:
    header = ",".join(["image", *(f"c{number}" for number in range(20_000))])
    with pytest.raises(DataError, match=r"20,000 columns .*1,000 are the limit"):
        listing(csv(tmp_path, header, "a.png" + ",1" * 20_000))


def test_json_lines_lose_no_row_for_a_number_that_is_none_or_an_awkward_column(tmp_path: Path) -> None:
    rows = [{"image": "a", "x": float("nan"), "y": {"z": 1}}, {"image": "b", "x": 2.5}, {"image": "c", "x": "N/A"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = listing(tmp_path / "t.jsonl")
    assert (
        values(source)[1] == [None, 2.5, None] and source.missing == {"x": 2} and list(source.columns_left_out) == ["y"]
    )


KINDS: list[tuple[Any, str, Any]] = [
    (pa.array([Decimal("1.50")], pa.decimal128(10, 2)), "double", 1.5),
    (pa.array(["red"]).dictionary_encode(), "string", "red"),
    (pa.array(["a"], pa.string_view()), "string", "a"),
    (pa.array(["a"], pa.large_string()), "string", "a"),
    (pa.array([["a", None]], pa.large_list(pa.large_string())), "list<item: string>", ["a"]),
    (pa.array([0], pa.date64()), "date32[day]", date(1970, 1, 1)),
    (pa.array([float("nan")]), "double", None),
    (pa.array(np.array([1.5], dtype=np.float16)), "double", 1.5),
    (pa.nulls(1), "None", None),
    (pa.array([[36, 37]]), "None", None),
    (pa.array([{"w": 1}]), "None", None),
    (pa.array([b"x"]), "None", None),
    (pa.array([timedelta(seconds=1)]), "None", None),
    (pa.array([1], pa.time32("s")), "None", None),
    (pa.array([2**63 + 5], pa.uint64()), "None", None),
    (pa.array([10**7], pa.date32()), "None", None),
    (pa.array([10**13], pa.timestamp("s")), "None", None),
]


@pytest.mark.parametrize(("array", "kind", "value"), KINDS, ids=[str(each[0].type) for each in KINDS])
def test_an_awkward_column_is_converted_or_left_out_by_name(tmp_path: Path, array: Any, kind: str, value: Any) -> None:
    pq.write_table(pa.table({"image": ["a"], "x": array, "__index_level_0__": [0]}), tmp_path / "t.parquet")
    source = listing(tmp_path / "t.parquet")
    left_out = {"__index_level_0__"} | ({"x"} if kind == "None" else set())
    assert values(source)[:2] == (kind, [value]) and set(source.columns_left_out) == left_out


def test_times_of_nanoseconds_and_zones_are_kept(tmp_path: Path) -> None:
    array = pa.array([10**18 + 1], pa.timestamp("ns", "Europe/Berlin"))
    pq.write_table(pa.table({"image": ["a"], "x": array}), tmp_path / "t.parquet")
    value = values(listing(tmp_path / "t.parquet"))[1][0]
    assert value.astimezone(UTC) == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)


def test_a_column_can_be_left_out_or_kept_as_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a"], "x": [[36, 37]], "y": [1]}), tmp_path / "t.parquet")
    source = listing(tmp_path / "t.parquet", types={"x": "texts"}, leave_out=["y"])
    assert values(source)[1] == [["36", "37"]] and source.columns_left_out == {"y": "as it was asked"}


# -- names of images --------------------------------------------------------------------------------------------------

NAMES = [
    ("sub\\p.jpg", "sub/p.jpg"),
    ("sub/p%201.jpg", "sub/p 1.jpg"),
    ("sub%5Cp.jpg", "sub/p.jpg"),
    (unicodedata.normalize("NFD", "Größe.jpg"), unicodedata.normalize("NFC", "Größe.jpg")),
    (unicodedata.normalize("NFC", "Größe.jpg"), unicodedata.normalize("NFD", "Größe.jpg")),
    ("p.jpg", "images/p.jpg"),
    ("100%.jpg", "100%.jpg"),
]


@pytest.mark.parametrize(("name", "file"), NAMES)
def test_images_are_found_however_their_names_are_written(tmp_path: Path, name: str, file: str) -> None:
    draw(tmp_path / file)
    assert only(listing(csv(tmp_path, "image;x", f"{name};1"))).image == file


def test_the_address_of_a_file_is_its_path(tmp_path: Path) -> None:
    draw(tmp_path / "a b.jpg")
    assert only(listing(csv(tmp_path, "image;x", f"{(tmp_path / 'a b.jpg').as_uri()};1"))).image == "a b.jpg"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("https://shop.example/a.jpg?X-Amz-Signature=secret", "is an address.*--urls"),
        ("//cdn.example/a.jpg", "is an address"),
        ("s3://bucket/a.jpg", "is an address"),
        ("../secret.jpg", "outside the table's folder.*--allow-outside"),
        ("link.jpg", "outside the table's folder"),
        ("n" * 300, "too long"),
        ("data:text/html;base64,AAAA", "holds no image"),
        ("iVBORw0KGgo" + "A" * 62, "the base64 text holds no image"),  # cut off
        ("a.jpg, b.jpg", "names 2 images"),
    ],
)
def test_a_cell_that_cannot_be_an_image_of_the_folder_says_why(tmp_path: Path, name: str, problem: str) -> None:
    folder = tmp_path / "in"
    for each in ("secret.jpg", "in/a.jpg", "in/b.jpg"):
        draw(tmp_path / each)
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "t.jsonl").write_text(json.dumps({"id": "1", "image": name}))
    entry = only(listing(folder / "t.jsonl"))
    assert entry.row == "line 1" and not entry.image
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(entry.problem)
    assert "secret" not in entry.problem or "../" in entry.problem


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("a.jpg?v=2", "'a.jpg' is there"),
        ("www.shop.example/media/a.jpg", "'a.jpg' is there"),
        ("C:\\photos\\a.jpg", "'a.jpg' is there"),
        ("\\\\host\\share\\a.jpg", "'a.jpg' is there"),
        ("a.png", "'a.jpg' is there"),
        ("\u200ba.jpg", "'a.jpg' is there"),
        ('<img src="a.jpg">', "'a.jpg' is there"),
        ("['a.jpg']", "'a.jpg' is there"),
        ("C:\\x\\b.png", "a path of Windows"),
        ("\\\\host\\b.png", "a path of Windows"),
        ("www.x/b.png", "an address"),
        ("cdn.example.com/b.png", "an address"),
        ("https:/x/b.png", "an address"),
        ("b.png?v=2", "an address"),
        ("~/b.png", "not replaced"),
        ("{'path': 'b.png'}", "more than a name"),
        ("/media/a.jpg", "'a.jpg' is there"),
        ("b.png", "^$"),
    ],
)
def test_of_a_name_that_no_file_has_it_is_said_what_may_be_meant(tmp_path: Path, name: str, hint: str) -> None:
    draw(tmp_path / "a.jpg")
    (tmp_path / "t.jsonl").write_text(json.dumps({"id": "1", "image": name}))
    entry = only(listing(tmp_path / "t.jsonl"))
    assert re.search(hint, entry.hint or entry.problem)


@pytest.mark.parametrize("name", ["A.JPG", "a", "images\\B.jpeg", "b", "file:a.jpg", "file:./a.jpg"])
def test_capitals_endings_and_file_addresses_are_no_obstacle(tmp_path: Path, name: str) -> None:
    draw(tmp_path / "a.jpg")
    draw(tmp_path / "images/b.jpeg")
    (tmp_path / "t.jsonl").write_text(json.dumps({"id": "1", "image": name}))
    assert only(listing(tmp_path / "t.jsonl")).image in ("a.jpg", "images/b.jpeg")


def test_what_stands_for_no_value_names_no_image(tmp_path: Path) -> None:
    listed = listing(csv(tmp_path, "image,x", "nan,1", "N/A,2", "nan,3"))
    assert list(listed.ids) == ["row-0", "row-1", "row-2"]
    assert not any(entry.image or entry.problem for entry in listed.entries())


def test_images_outside_are_taken_where_it_is_allowed(tmp_path: Path) -> None:
    draw(tmp_path / "secret.jpg")
    (tmp_path / "in").mkdir()
    path = csv(tmp_path / "in", "image;x", "../secret.jpg;1")
    assert only(listing(path, allow_outside=True)).image == "../secret.jpg"


@pytest.mark.parametrize("form", ["struct", "bytes", "data"])
def test_images_that_stand_in_the_table_become_files(tmp_path: Path, form: str) -> None:
    data = draw(tmp_path / "p.jpg")
    cell: Any = {"struct": {"bytes": data, "path": "p.jpg"}, "bytes": data}.get(
        form, "data:image/jpeg;base64," + base64.b64encode(data).decode()
    )
    pq.write_table(pa.table({"image": [cell]}), tmp_path / "t.parquet")
    source = listing(tmp_path / "t.parquet", own=tmp_path / "c")
    entry = only(source)
    assert source.file(entry).read_bytes() == data and source.ids == [{"struct": "p.jpg"}.get(form, "row-0")]
    assert "bucket" not in only(listing(tmp_path / "t.parquet")).problem
    assert "only a catalogue in a folder" in only(listing(tmp_path / "t.parquet")).problem


@pytest.mark.parametrize(
    "form",
    [
        lambda data: list(data),
        lambda data: [data],
        lambda data: [{"bytes": data, "path": None}],
        lambda data: {"bytes": list(data), "path": None},
        lambda data: base64.b64encode(data).decode(),
        lambda data: {"bytes": base64.b64encode(data).decode(), "path": None},
        lambda data: "data:image/jpeg;base64," + quote(base64.b64encode(data).decode()),
    ],
)
def test_embedded_images_are_read_in_whatever_form_they_are_passed_on(tmp_path: Path, form: Any) -> None:
    data = draw(tmp_path / "p.jpg")
    pq.write_table(pa.table({"image": [form(data)]}), tmp_path / "t.parquet")
    source = listing(tmp_path / "t.parquet", own=tmp_path / "c")
    assert source.file(only(source)).read_bytes() == data and source.ids == ["row-0"]


def test_a_row_without_an_image_is_no_obstacle_to_the_others(tmp_path: Path) -> None:
    data = draw(tmp_path / "p.png")
    pq.write_table(pa.table({"image": [data, None, b""]}), tmp_path / "t.parquet")
    catalogue = Catalogue.build(made_up.model(), tmp_path / "t.parquet", tmp_path / "c")
    assert list(catalogue.ids) == ["row-0"] and {each.id for each in catalogue.skipped} == {"row-1", "row-2"}
    assert list(listing(csv(tmp_path, "image;x", "p.png;1", ";2")).ids) == ["p.png", "row-1"]


def test_embedded_images_of_one_path_are_different_items(tmp_path: Path) -> None:
    data = draw(tmp_path / "p.png")
    pq.write_table(pa.table({"image": [{"bytes": data, "path": "image.png"}] * 2}), tmp_path / "t.parquet")
    assert listing(tmp_path / "t.parquet", own=tmp_path / "c").ids == ["image.png", "row-1"]


def test_ids_are_texts_even_where_a_table_holds_them_as_bytes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [b"k\xc3\xb6"], "image": ["a"]}), tmp_path / "t.parquet")
    assert listing(tmp_path / "t.parquet").ids == ["k\u00f6"]


def test_bytes_that_are_texts_are_read_as_such(tmp_path: Path) -> None:
    draw(tmp_path / "a.jpg")
    table = pa.table({"image": [b"a.jpg"], "x": [b"red"], "y": pa.array([[b"a", b"b"]], pa.list_(pa.binary()))})
    pq.write_table(table, tmp_path / "t.parquet")
    source = listing(tmp_path / "t.parquet", types={"x": "text", "y": "texts"})
    assert list(source.ids) == ["a.jpg"]
    assert (only(source).image, only(source).fields) == ("a.jpg", {"x": "red", "y": ["a", "b"]})
    assert "--type" in listing(tmp_path / "t.parquet").columns_left_out["x"]


def test_bytes_that_are_no_text_are_no_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a.jpg"], "x": [b"\xff\x00"]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"the column 'x' holds .*is no text"):
        list(listing(tmp_path / "t.parquet", types={"x": "text"}).entries())


def test_columns_of_one_name_are_refused_by_name(tmp_path: Path) -> None:
    columns = [pa.array(["a"]), pa.array([1]), pa.array([2])]
    pq.write_table(pa.table(columns, names=["image", "x", "x"]), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="more than one column is called 'x'"):
        listing(tmp_path / "t.parquet")


def test_numbers_too_large_to_be_kept_leave_only_their_column_out(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"image": "a", "x": 2**63, "y": 10**400, "z": 2**62}))
    source = listing(tmp_path / "t.jsonl")
    assert list(source.columns) == ["z"] and "--type x=text" in source.columns_left_out["x"]


def test_half_a_character_in_json_is_shown_as_one_that_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(r'{"image": "a", "x": "cut \ud83d", "y": "\ud83d\ude00"}')
    assert only(listing(tmp_path / "t.jsonl")).fields == {"x": "cut \ufffd", "y": "\U0001f600"}


def test_a_number_that_is_none_is_never_stored() -> None:
    schema = schema_of(2, [pa.field("x", pa.float64())])
    row = Row("a", np.ones(2, dtype=np.float32), fields={"x": float("nan")})
    assert table_of([row], schema)["x"].null_count == 1 and facts_of(row.fields) == facts_of({})


def test_a_folder_of_a_persons_own_images_is_never_taken_for_a_catalogue(tmp_path: Path) -> None:
    draw(tmp_path / "shop/images/a.png")
    assert LanceStore(tmp_path / "shop").strange()


def test_embedded_images_are_indexed_and_kept_in_the_catalogues_folder(tmp_path: Path) -> None:
    data = [draw(tmp_path / "p.png"), b"no image"]
    cells = [{"bytes": each, "path": f"{number}.png"} for number, each in enumerate(data)]
    pq.write_table(pa.table({"image": cells}), tmp_path / "t.parquet")
    catalogue = Catalogue.build(made_up.model(), tmp_path / "t.parquet", tmp_path / "c")
    assert list(catalogue.ids) == ["0.png"] and Path(str(catalogue.get("0.png").image)).is_relative_to(tmp_path / "c")
    assert [skipped.id for skipped in catalogue.skipped] == ["1.png"] and len(catalogue.skipped[0].reason) < 400


def with_images(folder: Path, count: int = 3) -> Path:
    """A table in which different images stand themselves, 0.png and so on."""
    rows = []
    for number in range(count):
        Image.new("RGB", (8, 6), (40 * number, 0, 0)).save(folder / "drawn.png")
        rows.append({"bytes": (folder / "drawn.png").read_bytes(), "path": f"{number}.png"})
    pq.write_table(pa.table({"image": rows}), folder / "t.parquet")
    return folder / "t.parquet"


def image_files(folder: Path) -> set[Path]:
    return set((folder / "embedded-images").iterdir())


def test_embedded_images_go_with_their_items(tmp_path: Path) -> None:
    model = made_up.model()
    catalogue = Catalogue.build(model, with_images(tmp_path), tmp_path / "c")
    (tmp_path / "c/embedded-images/own.txt").touch()
    before = image_files(tmp_path / "c")
    gone = Path(str(catalogue.get("1.png").image))
    catalogue.delete(["1.png"])
    assert before - image_files(tmp_path / "c") == {gone}
    draw(tmp_path / "new.png")
    gone = Path(str(catalogue.get("2.png").image))
    catalogue.replace([Item("2.png", tmp_path / "new.png")])
    assert not gone.exists() and Path(str(catalogue.get("0.png").image)).is_file()


def test_an_indexing_removes_embedded_images_that_it_does_not_use_any_more(tmp_path: Path) -> None:
    model = made_up.model()
    Catalogue.build(model, with_images(tmp_path), tmp_path / "c")
    assert len(image_files(tmp_path / "c")) == 3
    again = Catalogue.build(model, with_images(tmp_path, 2), tmp_path / "c", update=True, prune=True)
    assert image_files(tmp_path / "c") == {Path(str(again.get(name).image)) for name in ("0.png", "1.png")}


def test_a_backup_holds_its_embedded_images_and_gives_them_back(tmp_path: Path) -> None:
    catalogue = Catalogue.build(made_up.model(), with_images(tmp_path), tmp_path / "c")
    catalogue.delete(["2.png"])
    catalogue.backup(tmp_path / "backup")
    shutil.rmtree(tmp_path / "c")
    Catalogue.restore(tmp_path / "backup", tmp_path / "back")
    for folder in (tmp_path / "backup", tmp_path / "back"):
        opened = Catalogue.open(folder, without_model=True)
        assert {Path(str(opened.get(name).image)) for name in ("0.png", "1.png")} == image_files(folder)


def test_a_catalogue_that_was_moved_has_its_embedded_images(tmp_path: Path) -> None:
    Catalogue.build(made_up.model(), with_images(tmp_path), tmp_path / "c")
    (tmp_path / "c").rename(tmp_path / "moved")
    catalogue = Catalogue.open(tmp_path / "moved", without_model=True)
    assert {Path(str(catalogue.get(f"{number}.png").image)) for number in range(3)} == image_files(tmp_path / "moved")


def test_an_indexing_into_a_moved_catalogue_embeds_nothing_again(tmp_path: Path) -> None:
    Catalogue.build(made_up.model(), with_images(tmp_path), tmp_path / "c")
    (tmp_path / "c").rename(tmp_path / "moved")
    again = Catalogue.build(made_up.model(), tmp_path / "t.parquet", tmp_path / "moved", update=True)
    assert again.outcome is not None and (again.outcome.embedded, again.outcome.unchanged) == (0, 3)


def test_a_moved_catalogue_is_moved_to_another_model(tmp_path: Path) -> None:
    Catalogue.build(made_up.model(), with_images(tmp_path), tmp_path / "c")
    (tmp_path / "c").rename(tmp_path / "moved")
    outcome = Catalogue.open(tmp_path / "moved", without_model=True).reindex(made_up.model())
    assert outcome.embedded == 3


def test_a_moved_catalogue_keeps_the_images_that_were_added_in_its_folder(tmp_path: Path) -> None:
    model = made_up.model()
    catalogue = Catalogue.build(model, with_images(tmp_path), tmp_path / "c")
    draw(tmp_path / "c/uploads/up.png")
    catalogue.add([Item("up", tmp_path / "c/uploads/up.png")])
    catalogue.backup(tmp_path / "copy")
    (tmp_path / "c").rename(tmp_path / "moved")
    for folder in (tmp_path / "moved", tmp_path / "copy"):
        opened = Catalogue.open(folder, without_model=True)
        assert opened.get("up").image == str(folder / "uploads/up.png")
        assert opened.ids_of(folder / "uploads/up.png") == ["up"]
        with opened.writing("a look") as writer:
            assert writer.find_unused([folder / "uploads/up.png", folder / "uploads/orphan.png"]) == [
                folder / "uploads/orphan.png"
            ]


def test_an_export_names_embedded_images_by_their_whole_paths(tmp_path: Path) -> None:
    catalogue = Catalogue.build(made_up.model(), with_images(tmp_path), tmp_path / "c")
    catalogue.export(tmp_path / "out.parquet")
    assert {*map(Path, pq.read_table(tmp_path / "out.parquet")["image"].to_pylist())} == image_files(tmp_path / "c")


def test_a_name_given_from_outside_is_not_taken_for_an_image_of_the_catalogues_own(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    catalogue = Catalogue.from_embeddings([Item("a", "./a.png", np.ones(2))], tmp_path / "c", images=tmp_path)
    assert catalogue.get("a").image == str(tmp_path / "a.png")


def test_an_embedded_image_that_is_none_is_not_named_by_a_file_that_nobody_knows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [{"bytes": b"no image", "path": "0.png"}]}), tmp_path / "t.parquet")
    with pytest.raises(DataError) as refusal:
        Catalogue.build(made_up.model(), tmp_path / "t.parquet", tmp_path / "c")
    assert "not an image" in str(refusal.value) and "embedded-images" not in str(refusal.value)


def test_dates_with_dots_are_dates(tmp_path: Path) -> None:
    assert column(tmp_path, "31.12.2025", "1.3.2026", "")[:2] == (
        "date32[day]",
        [date(2025, 12, 31), date(2026, 3, 1), None],
    )
    assert column(tmp_path, "31.12.2025", "01/02/2026")[0] == "string"  # which may be January or February
    assert column(tmp_path, "1.2.2026", "31.31.2026")[0] == "string"


@pytest.mark.parametrize("name", ["t.xlsx", "t.json", "gone.parquet", "gone"])
def test_a_source_that_is_neither_folder_nor_table_is_told_what_would_be_one(tmp_path: Path, name: str) -> None:
    if not name.startswith("gone"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"(does not exist|neither a folder nor a table).*folder of images.*\.csv"):
        listing(tmp_path / name, id_column="sku")
