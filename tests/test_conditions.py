"""Conditions: one grammar in front of every store."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from itma.errors import FilterError, UnknownNameError
from itma.retrieval.filters import filter_of
from itma.retrieval.stores.base import embedding_column, schema_of
from itma.retrieval.stores.conditions import Every, Like, Not, Some, Test
from itma.retrieval.stores.lance import LanceStore

COLUMNS = {
    "Colour": pa.string(),
    "price": pa.float64(),
    "stock": pa.int64(),
    "sold": pa.bool_(),
    "day": pa.date32(),
    "tags": pa.list_(pa.string()),
    "two words": pa.string(),
    "date": pa.string(),
}
RED = Test("Colour", "=", "red", "text")


@pytest.mark.parametrize(
    "text", ["Colour = 'red'", "`Colour` = 'red'", "\"Colour\" = 'red'", "colour='red'", "'red' = Colour"]
)
def test_a_column_stands_bare_in_backticks_or_in_double_quotes(text: str) -> None:
    assert filter_of(text, COLUMNS) == RED


def test_two_signs_of_equality_count_as_one() -> None:
    assert filter_of("Colour == 'red'", COLUMNS) == RED


@pytest.mark.parametrize("text", ["sold = yes", "sold = 'yes'", "sold != no"])
def test_what_is_true_or_false_says_so(text: str) -> None:
    with pytest.raises(FilterError, match=r"write (true or false|one of these)"):
        filter_of(text, COLUMNS)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        (
            "not Colour = 'red' or sold and price < 5",
            Some((Not(RED), Every((Test("sold", "=", True, "truth"), Test("price", "<", 5, "number"))))),
        ),
        ("5 > price", Test("price", "<", 5, "number")),
        ("price between 1 and 2.5", Every((Test("price", ">=", 1, "number"), Test("price", "<=", 2.5, "number")))),
        ("`two words` not like '%silk%'", Not(Like("two words", "%silk%"))),
        ("date = 'x'", Test("date", "=", "x", "text")),
        ("tags in ('a', 'b')", Some((Test("tags", "=", "a", "texts"), Test("tags", "=", "b", "texts")))),
        ("Colour is not null", Not(Test("Colour", "=", None, "text"))),
        ("id = 'a' and stock = -1", Every((Test("id", "=", "a", "text"), Test("stock", "=", -1, "whole")))),
        ("true", Every(())),
    ],
)
def test_a_text_becomes_its_tree(text: str, tree: Any) -> None:
    assert filter_of(text, COLUMNS) == tree


def test_a_date_is_the_same_with_and_without_its_word() -> None:
    assert filter_of("day > DATE '2026-01-31'", COLUMNS) == filter_of("day > '2026-01-31'", COLUMNS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("price >", "at its end: a value is expected"),
        ("price > 1 1", "at character 11, '1': AND, OR or the end"),
        ("Colour = red", "a text stands in single quotes: 'red'"),
        ('Colour = "red"', "a text stands in single quotes: 'red'"),
        ("Colour < 50", "--type Colour=number"),
        ("price < 'cheap'", "holds numbers; 'cheap' cannot"),
        ("Colour = 'red", "the quote ' is not closed"),
        ("Colour = 'red'; drop", "at character 15"),
        ("Colour = null", "ask with IS NULL"),
        ("day > 'yesterday'", "write it as 2026-01-31"),
        ("day < '2026-01-31T12:00'", "without a time; 2026-01-31 12:00:00 cannot be asked of it, ask for 2026-01-31"),
        ("tags > 'a'", "no order"),
        ("(" * 5000 + "sold", "inside one another"),
        ("not " * 5000 + "sold", "inside one another"),
    ],
)
def test_what_is_wrong_is_shown_with_its_place(text: str, message: str) -> None:
    with pytest.raises(FilterError, match="cannot be understood") as error:
        filter_of(text, COLUMNS)
    assert message in str(error.value)


def test_an_unknown_column_is_named_with_one_that_is_near() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown column 'prise'.*Did you mean 'price'"):
        filter_of("prise < 5", COLUMNS)


APART = "gro\u0308\u00dfe"
"""A word whose dots stand behind their letter, as file systems and spreadsheets of a Mac write it."""
TOGETHER = "gr\u00f6\u00dfe"


@pytest.mark.parametrize("stored", [APART, TOGETHER])
@pytest.mark.parametrize("name", [APART, TOGETHER, TOGETHER.capitalize()])
def test_a_column_is_found_however_its_accents_are_stored(stored: str, name: str) -> None:
    assert filter_of(f"{name} < 5", {stored: pa.float64()}) == Test(stored, "<", 5, "number")
    if name.islower():
        assert filter_of(f'"{name}" < 5', {stored: pa.float64()}) == Test(stored, "<", 5, "number")
        assert filter_of({name: {"<": 5}}, {stored: pa.float64()}) == Test(stored, "<", 5, "number")


@pytest.mark.parametrize("name", ["ราคาที่ดี", "मूल्य", "価格", "prix_é"])
def test_a_bare_column_is_a_word_of_any_script(name: str) -> None:
    assert filter_of(f"{name} < 5", {name: pa.float64()}) == Test(name, "<", 5, "number")


@pytest.mark.parametrize("where", ["Colour = '{}'", "Colour in ('{}', 'red')", "Colour like '{}%'", "tags = '{}'"])
def test_a_text_is_found_however_its_accents_are_stored(where: str) -> None:
    for value, other in ((APART, TOGETHER), (TOGETHER, APART)):
        tree = str(filter_of(where.format(value), COLUMNS))
        assert value in tree and other in tree
    assert filter_of({"Colour": APART}, COLUMNS) == Test("Colour", "in", (APART, TOGETHER), "text")


def test_an_id_is_asked_as_it_is_written() -> None:
    assert filter_of(f"id = '{APART}'", COLUMNS) == Test("id", "=", APART, "text")


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("price > 2.5", "d"),
        ("not price < 2.5", "d"),
        ("price is null", "bc"),
        ("price in (1, 3)", "ad"),
        ({"price": {">": 0}}, "ad"),
        ({"price": None}, "bc"),
        ("small != 1", "d"),
    ],
)
def test_a_number_that_is_none_passes_no_comparison(tmp_path: Path, where: Any, ids: str) -> None:
    columns = [pa.field("price", pa.float64()), pa.field("small", pa.float32())]
    items = LanceStore(tmp_path / "shop").create("items", schema_of(2, columns))
    values = [1.0, float("nan"), None, 3.0]
    embeddings = embedding_column(np.eye(2, dtype=np.float32)[[0, 1, 0, 1]])
    items.insert(
        pa.table(
            {"id": list("abcd"), "embedding": embeddings, "price": values, "small": pa.array(values, pa.float32())}
        )
    )
    condition = filter_of(where, {field.name: field.type for field in columns})
    assert (
        "".join(sorted(name for batch in items.scan(["id"], where=condition) for name in batch["id"].to_pylist()))
        == ids
    )
