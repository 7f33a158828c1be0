"""A shop's table of products: what of it is read, the queries that are drawn from it, and what is refused."""

import gzip
import logging
import re
from collections import Counter
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itma.data import datasets
from itma.data.datasets import products, shop_sentences
from itma.data.datasets.products import Query, Sampler, Shop, draw_queries, find_right_answers, read_shop
from itma.data.synthetic.generated import Dice
from itma.data.tokenizer import EARLIER
from itma.data.triplets import Rows, Triplets
from itma.errors import DataError, UnknownNameError
from tests.shop_table import COLOURS, draw, items, shop, write

load = partial(datasets.load, "products")


ATTRIBUTES = {"kind", "colour", "sleeves", "pattern", "fit"}


def without(rows: list[dict[str, object]], *columns: str) -> list[dict[str, object]]:
    return [{name: value for name, value in row.items() if name not in columns} for row in rows]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shop(tmp_path_factory.mktemp("shop"), items())


@pytest.fixture(scope="module")
def training(folder: Path) -> Triplets:
    return load(folder, "train").triplets


@pytest.fixture(scope="module")
def unclear() -> Shop:
    """A shop in whose table a sixth of all cells, drawn at random, is empty; there are no images."""
    random = np.random.Generator(np.random.PCG64(5))
    names, count = {"kind": 3, "gender": 2, "colour": 4, "sleeves": 2, "fit": 3}, 300
    codes = {
        name: np.where(random.random(count) < 1 / 6, -1, random.integers(0, values, count))
        for name, values in names.items()
    }
    attributes = [
        {name: f"{name} {codes[name][number]}" for name in names if codes[name][number] >= 0} for number in range(count)
    ]
    return Shop(
        [f"{number}.jpg" for number in range(count)],
        [Path(f"{number}.jpg") for number in range(count)],
        ["shop"] * count,
        np.arange(count),
        attributes,
        np.arange(count) // 3,
        [()] * count,
        [None] * count,
        codes,
    )


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def drawn(triplets: Triplets, seed: int = 0, rows: int = 240) -> Rows:
    return triplets.draw_samples(np.arange(rows) % len(triplets), generator(seed))


# -- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["products.csv", "items.jsonl", "shop.jsonl.gz", "shop.csv.gz"])
def test_a_table_says_the_same_in_every_form(folder: Path, tmp_path: Path, name: str) -> None:
    shop(tmp_path, items(), name=name)
    loaded, expected = read_shop(products.find_table(tmp_path), "train"), read_shop(folder / "products.jsonl", "train")
    assert (loaded.names, loaded.attributes) == (expected.names, expected.attributes)
    assert all((loaded.codes[attribute] == expected.codes[attribute]).all() for attribute in ATTRIBUTES)


def test_columns_are_known_by_the_names_that_shops_use(folder: Path) -> None:
    loaded = read_shop(folder / "products.jsonl", "train")
    assert set(loaded.codes) == ATTRIBUTES
    assert loaded.attributes[0] == {
        "kind": "tshirts",
        "colour": "red",
        "sleeves": "short sleeves",
        "pattern": "solid",
        "fit": "slim",
    }


@pytest.mark.parametrize(("column", "cell", "value"), [
    ("base_colour", "Blue", "blue"), ("Colour", "blue", "blue"), ("colour", " BLUE ", "blue"),
])  # fmt: skip
def test_a_value_is_one_however_it_is_written(tmp_path: Path, column: str, cell: str, value: str) -> None:
    rows: list[dict[str, object]] = [{"id": f"a{n}", column: cell if n % 2 else "green"} for n in range(12)]
    shop(tmp_path, [{**row, "split": "train"} for row in rows])
    loaded = read_shop(tmp_path / "products.jsonl", "train")
    assert {one["colour"] for one in loaded.attributes} == {value, "green"}


def test_attributes_may_stand_in_a_table_of_their_own_within_a_row(folder: Path, tmp_path: Path) -> None:
    inner = ("color", "Sleeve Length", "fit")
    rows = [
        {**{name: value for name, value in row.items() if name not in inner}, "attributes": {n: row[n] for n in inner}}
        for row in items()
    ]
    shop(tmp_path, rows)
    loaded, expected = (read_shop(root / "products.jsonl", "train") for root in (tmp_path, folder))
    assert [sorted(one.items()) for one in loaded.attributes] == [sorted(one.items()) for one in expected.attributes]


def test_an_image_column_names_files_beside_the_table_or_in_images(tmp_path: Path) -> None:
    rows = [{**row, "image": f"{row['id']}.png"} for row in items()]
    for number, row in enumerate(rows):
        draw(tmp_path / ("images" if number % 2 else "") / str(row["image"]), row)
    loaded = read_shop(write(tmp_path / "items.csv", without(rows, "id")), "train")
    assert loaded.names == [str(row["image"]) for row in rows if row["split"] == "train"]
    assert {path.parent.name for path in loaded.paths} == {"images", tmp_path.name}


def test_each_folder_of_images_that_bear_the_ids_gives_every_product_an_image(tmp_path: Path) -> None:
    shop(tmp_path, items(), folders=["small", "large"])
    loaded = read_shop(tmp_path / "products.jsonl", "train")
    assert len(loaded.names) == 2 * len(loaded.attributes) == 2 * len(set(loaded.products.tolist()))
    assert loaded.names[:2] == ["large/p000.jpg", "small/p000.jpg"]


def test_a_link_that_leads_back_is_followed_once(tmp_path: Path) -> None:
    shop(tmp_path, items(), folders=["small"])
    (tmp_path / "small" / "again").symlink_to(tmp_path)
    assert len(read_shop(tmp_path / "products.jsonl", "train").names) == 48


def test_columns_that_no_image_shows_or_that_follow_from_the_kind_are_left_out_with_the_reason(folder: Path) -> None:
    loaded = read_shop(folder / "products.jsonl", "train")
    assert loaded.left_out == {"group": "follows from the kind", "price": "no image shows it"}
    assert loaded.groups == {"tshirts": "above", "dresses": "above", "jeans": "below"}


@pytest.mark.parametrize(("cell", "reason"), [
    (lambda number: f"text {number}", "96 different values in 96 products"),
    (lambda number: "tall" if number < 20 else None, "said of 20 of 96 products"),
    (lambda number: "" if number else "tall", "said of 1 of 96 products"),
    (lambda number: "same", "1 different values in 96 products"),
    (lambda number: "odd" if number == 9 else "even", "fewer than two values that 2 products share"),
])  # fmt: skip
def test_a_column_that_tells_too_little_or_too_much_is_left_out_with_the_reason(
    tmp_path: Path, cell: object, reason: str
) -> None:
    rows = [{**row, "further": cell(number)} for number, row in enumerate(items())]  # type: ignore[operator]
    shop(tmp_path, rows)
    assert read_shop(tmp_path / "products.jsonl", "train").left_out["further"] == reason


def test_a_value_that_few_products_share_is_not_known(tmp_path: Path) -> None:
    rows = items()
    rows[0]["color"] = "Vermilion"
    shop(tmp_path, rows)
    loaded = read_shop(tmp_path / "products.jsonl", "train")
    assert "colour" not in loaded.attributes[0] and loaded.codes["colour"][0] == -1
    assert all("colour" in one for one in loaded.attributes[1:])


# -- the split --------------------------------------------------------------------------------------------------------


def families_of(folder: Path, split: str) -> set[str]:
    """The families of a split, by the names of its images."""
    return {re.sub(r"-\d+\.jpg", "", name) for name in read_shop(folder / "products.jsonl", split).names}


@pytest.fixture(scope="module")
def undivided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred families of three products each, and no column that divides them."""
    colours = list(COLOURS)
    rows: list[dict[str, object]] = [
        {"id": f"f{family}-{number}", "style": f"f{family}", "color": colours[(family + number) % 4]}
        for family in range(100)
        for number in range(3)
    ]
    return shop(tmp_path_factory.mktemp("undivided"), rows)


def test_families_never_straddle_the_split(undivided: Path) -> None:
    train, test = families_of(undivided, "train"), families_of(undivided, "test")
    assert not train & test and len(train | test) == 100


def test_without_a_split_column_a_tenth_of_the_families_is_for_testing(undivided: Path) -> None:
    assert 5 <= len(families_of(undivided, "test")) <= 16


def test_a_split_column_decides(folder: Path) -> None:
    ids = {str(row["id"]) for row in items() if row["split"] == "test"}
    assert {name.removesuffix(".jpg") for name in read_shop(folder / "products.jsonl", "test").names} == ids


# -- what is drawn ----------------------------------------------------------------------------------------------------


@given(st.integers(0, 299), st.integers(0, 2**32))
def test_a_target_differs_in_exactly_what_is_said_and_agrees_in_the_rest_that_is_known(
    unclear: Shop, reference: int, seed: int
) -> None:
    edit = Sampler(unclear).edit(reference, generator(seed))
    if edit is None:
        return
    target, changed = edit
    assert 1 <= len(changed) <= 3
    for name, codes in unclear.codes.items():
        here, there = int(codes[reference]), int(codes[target])
        if name in changed:
            assert here != there and min(here, there) >= 0
        elif name in products.MAIN:
            assert here == there >= 0
        else:
            assert here == there or min(here, there) < 0


def test_most_references_find_a_target(unclear: Shop) -> None:
    sampler, random = Sampler(unclear), generator(0)
    main = [number for number in range(300) if all(unclear.codes[name][number] >= 0 for name in products.MAIN)]
    assert sum(sampler.edit(number, random) is not None for number in main) > 0.8 * len(main)


@given(st.integers(0, 299), st.integers(0, 2**32))
def test_a_twin_has_nothing_that_is_known_to_differ(unclear: Shop, image: int, seed: int) -> None:
    twin = Sampler(unclear).alike(image, generator(seed))
    if twin is None:
        return
    assert twin != image
    assert all(unclear.codes[name][twin] == unclear.codes[name][image] >= 0 for name in products.MAIN)
    assert all(codes[twin] == codes[image] or min(codes[twin], codes[image]) < 0 for codes in unclear.codes.values())


def test_draws_are_a_function_of_the_seed(training: Triplets) -> None:
    one, other, another = drawn(training, 1), drawn(training, 1), drawn(training, 2)
    assert (one.references == other.references).all() and (one.targets == other.targets).all()
    assert list(one.feedback) == list(other.feedback) != list(another.feedback)


def test_draws_hold_words_alone_and_images_alone_and_conversations(tmp_path: Path) -> None:
    rows = drawn(load(shop(tmp_path, items(3)), "train").triplets)
    alone = [sentence for sentence, reference in zip(rows.feedback, rows.references, strict=True) if reference < 0]
    assert 0.1 < len(alone) / len(rows.feedback) < 0.5 and all(alone)
    images = [number for number, sentence in enumerate(rows.feedback) if not sentence]
    assert images and (rows.references[images] >= 0).all() and (rows.references[images] != rows.targets[images]).all()
    assert any(EARLIER in sentence for sentence in rows.feedback)


def test_images_that_are_not_to_be_used_are_never_drawn(folder: Path) -> None:
    triplets = load(folder, "train").triplets
    present = np.arange(len(triplets.labels)) % 3 > 0
    usable = Triplets(**{**triplets.__dict__, "present": present}).only(np.flatnonzero(present[triplets.references]))
    rows = drawn(usable)
    assert present[rows.targets].all() and present[rows.references[rows.references >= 0]].all()


def test_products_without_an_image_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop(tmp_path, items())
    (tmp_path / "p003.jpg").unlink()
    with caplog.at_level(logging.WARNING):
        triplets = load(tmp_path, "train").triplets
    assert "1 of 48 train products have no image and are left out" in caplog.text
    assert "p003.jpg" not in triplets.images.names and len(triplets.images.names) == 47


# -- the test ---------------------------------------------------------------------------------------------------------


def test_right_is_what_has_the_main_attributes_and_what_was_asked_and_is_another_product(folder: Path) -> None:
    shop_ = read_shop(folder / "products.jsonl", "test")
    for query in draw_queries(shop_, Sampler(shop_)):
        wanted = {**shop_.of(query.reference), **{name: shop_.of(query.target)[name] for name in query.changed}}
        names = {"kind", "colour", *query.changed}
        expected = [
            product_ != query.reference and all(shop_.of(product_)[name] == wanted[name] for name in names)
            for product_ in range(len(shop_.names))
        ]
        assert find_right_answers(shop_, query, np.arange(len(shop_.names))).tolist() == expected
        assert expected[query.target]


def test_right_answers_are_never_the_reference_in_another_size(tmp_path: Path) -> None:
    shop(tmp_path, items(), folders=["small", "large"])
    shop_ = read_shop(tmp_path / "products.jsonl", "test")
    right = find_right_answers(shop_, Query(0, 0, "", ()), np.arange(len(shop_.names)))
    assert right.any() and not right[shop_.products == shop_.products[0]].any()


def test_queries_of_the_test_change_the_main_attributes_only_and_ask_no_product_for_itself(folder: Path) -> None:
    split = load(folder, "test")
    triplets = split.triplets
    assert set(triplets.kinds) == {"kind", "colour", "two"} and max(Counter(triplets.references.tolist()).values()) <= 2
    assert (triplets.references != triplets.targets).all()
    assert list(split.protocols) == ["products"]


def test_labels_of_the_test_are_equal_where_the_main_attributes_are(folder: Path) -> None:
    triplets = load(folder, "test").triplets
    kind, colour = triplets.aspects["kind"], triplets.aspects["colour"]
    for one, other in product(range(len(kind)), repeat=2):
        same = kind[one] == kind[other] and colour[one] == colour[other]
        assert (triplets.labels[one] == triplets.labels[other]) == same


def test_each_folder_of_images_has_a_protocol_over_its_own(tmp_path: Path) -> None:
    shop(tmp_path, items(), folders=["small"])
    for row in items()[:-6]:
        draw(tmp_path / "large" / f"{row['id']}.jpg", row)
    split = load(tmp_path, "test")
    assert list(split.protocols) == ["products", "products/large"]
    for name, folder in (("products", "small"), ("products/large", "large")):
        (task,) = split.protocols[name].tasks
        named = [split.triplets.images.names[image] for image in task.gallery]
        assert named and {name.split("/")[0] for name in named} == {folder}
        for images in (split.triplets.references[task.rows], split.triplets.targets[task.rows]):
            assert set(images.tolist()) <= set(task.gallery.tolist())


def test_the_same_table_gives_the_same_test(folder: Path) -> None:
    one, other = load(folder, "test").triplets, load(folder, "test").triplets
    assert list(one.feedback) == list(other.feedback) and (one.targets == other.targets).all()


# -- sentences --------------------------------------------------------------------------------------------------------

VALUES = {
    "colour": [*shop_sentences.COLOURS, "chartreuse"],
    "kind": [*shop_sentences.KINDS, "top hat"],
    "gender": [*shop_sentences._NAMES["gender"], "babies"],
    "sleeves": [*shop_sentences._NAMES["sleeves"], "puffed sleeves"],
    "neck": [*shop_sentences._NAMES["neck"], "ruff"],
    "pattern": [*shop_sentences._NAMES["pattern"], "paisley", "solid"],
    "occasion": [*shop_sentences._NAMES["occasion"], "wedding"],
    "fit": ["slim", "loose"],
}


def names_of(attribute: str, value: str) -> set[str]:
    """Everything that a value may be called in a request."""
    if attribute == "colour":
        return set(shop_sentences.COLOURS.get(value, (value,)))
    if attribute == "kind":
        return set(shop_sentences.KINDS.get(value, (value,)))
    if value == "solid":
        return {
            "plain",
            "solid",
            "one colour",
            "no ",
            "nothing",
            "without",
            "don't",
            "leave",
            "take",
            "remove",
            "doesn't",
        }
    things, adjectives = shop_sentences._NAMES.get(attribute, {}).get(value, ((value,), (value,)))
    return {*things, *adjectives}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("attribute", VALUES)
@pytest.mark.parametrize("way", shop_sentences.WAYS)
def test_a_phrase_names_the_new_value(attribute: str, way: str, split: str) -> None:
    values = VALUES[attribute]
    for number, value in enumerate(values):
        for old in (values[number - 1], None):
            one = {} if old is None else {attribute: old}
            sentence = shop_sentences._phrase(attribute, way, one, {attribute: value}, Dice(f"{value}/{old}"), split)
            assert any(name in sentence for name in names_of(attribute, value)), sentence
            assert "{" not in sentence


def test_a_request_names_what_is_to_change_in_every_attribute(training: Triplets) -> None:
    reference = {"kind": "shirts", "colour": "red", "sleeves": "short sleeves", "fit": "slim"}
    target = {"kind": "dresses", "colour": "navy blue", "sleeves": "long sleeves", "fit": "loose"}
    for number in range(100):
        sentence = shop_sentences.request(reference, target, list(target), Dice(f"request/{number}"), "test")
        for attribute, value in target.items():
            plural = {f"{name[:-1]}es" for name in names_of(attribute, value)}
            assert any(name in sentence for name in names_of(attribute, value) | plural), sentence


@pytest.mark.parametrize(("value", "words"), [
    ("yes", ("with", "but", "is", "has", "it", "add", "comes", "pockets")),
    ("no", ("no", "not", "without", "don't", "leave")),
])  # fmt: skip
def test_a_column_of_yes_and_no_is_asked_for_by_its_name(value: str, words: tuple[str, ...]) -> None:
    other = {"yes": "no", "no": "yes"}[value]
    for way, split, number in product(shop_sentences.WAYS, ("train", "test"), range(6)):
        sentence = shop_sentences._phrase(
            "pockets", way, {"pockets": other}, {"pockets": value}, Dice(f"{number}"), split
        )
        assert "pockets" in sentence and any(word in sentence for word in words), sentence


def test_training_and_test_share_no_form_of_a_sentence() -> None:
    for forms in (shop_sentences._FORMS, shop_sentences.FORMS["requests"]):
        assert not set(forms.train) & set(forms.test)


@pytest.mark.parametrize("name", ["colour", "kind", "gender", "thing", "plain", "occasion", "other", "yes", "no"])
def test_training_and_test_share_no_phrase(name: str) -> None:
    for train, test in shop_sentences._PHRASES[name].values():
        assert train and test and not set(train) & set(test)


def test_a_wish_names_the_kind_and_asks_for_nothing_else_than_there_is() -> None:
    values = {"kind": "tshirts", "colour": "red", "gender": "men", "fit": "slim"}
    for number in range(60):
        sentence = shop_sentences.wish(values, Dice(f"wish/{number}"), "test")
        assert any(name in sentence for name in shop_sentences.KINDS["tshirts"])
        assert "loose" not in sentence and "women" not in sentence


# -- bad input --------------------------------------------------------------------------------------------------------


def test_another_split_is_refused(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"dev.*train"):
        load(folder, "dev")


def refused(root: Path, message: str, split: str = "train") -> None:
    with pytest.raises(DataError, match=message):
        datasets.load("products", root, split)


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "holds no table: give a CSV or JSON Lines file with a row for each product")


def test_a_place_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere' does not exist; give a table of products")


def test_two_tables_in_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("a.csv", "b.jsonl"):
        write(tmp_path / name, items())
    refused(tmp_path, "holds a.csv, b.jsonl; name one")


def test_a_table_among_others_is_found_by_its_name(folder: Path, tmp_path: Path) -> None:
    for name in ("a.csv", "products.jsonl"):
        write(tmp_path / name, items())
    assert products.find_table(tmp_path).name == "products.jsonl"


def test_a_table_without_an_id_or_an_image_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", without(items(), "id"))
    refused(
        tmp_path, "no column that says which image belongs to a row; expected one called image, file, picture, or id"
    )


def test_a_table_without_attributes_is_refused_with_the_reasons(tmp_path: Path) -> None:
    rows = [{"id": str(number), "price": "3", "size": "XL", "width": str(number % 4)} for number in range(20)]
    shop(tmp_path, rows)
    refused(
        tmp_path,
        r"no usable attributes: width \(no image shows it\), size \(.*\), price \(no image shows it\)\. Give columns",
    )


def test_attributes_that_never_differ_are_refused(tmp_path: Path) -> None:
    shop(tmp_path, [{"id": str(number), "colour": "red", "kind": "dress"} for number in range(20)])
    refused(tmp_path, r"no usable attributes: kind \(fewer than two values that 2 products share\), colour \(fewer")


def test_a_single_product_is_refused(tmp_path: Path) -> None:
    shop(tmp_path, items()[:1])
    refused(tmp_path, "no usable attributes")


def test_products_that_differ_in_too_much_are_refused(tmp_path: Path) -> None:
    names = ("kind", "colour", "sleeves", "pattern", "neck")
    rows = [{"id": f"{n}", "split": "train"} | {name: f"{name} {'ab'[n % 2]}" for name in names} for n in range(20)]
    shop(tmp_path, rows)
    refused(tmp_path, "no two of 20 training products differ in one to three attributes and agree in the others")


def test_a_test_in_which_nothing_can_be_asked_is_refused(tmp_path: Path) -> None:
    rows = items()
    for number, row in enumerate(rows):
        row["split"] = "test" if number == 0 else "train"
    shop(tmp_path, rows)
    refused(tmp_path, "no two of 1 test products differ only in kind, colour; there is nothing to measure", "test")


def test_a_table_none_of_whose_images_is_there_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", items())
    refused(
        tmp_path, "no image of its 48 train products was found. They are looked for in .* and its folders, as <id>.jpg"
    )


def test_a_table_whose_image_column_leads_nowhere_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", [{**row, "image": "none.jpg"} for row in items()])
    refused(tmp_path, "no image of its 48 train products was found. The column 'image' names them relative to")


def test_a_row_that_names_no_image_stops_no_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{**row, "image": f"{row['id']}.jpg"} for row in items()]
    rows[2]["image"] = ""
    path = shop(tmp_path, rows, name="t.csv")
    read_shop(products.find_table(path), "train")
    assert "1 of 48 train products have no image and are left out" in caplog.text


def test_another_word_for_a_split_is_refused_by_its_line(tmp_path: Path) -> None:
    rows = items()
    rows[4]["split"] = "dev"
    shop(tmp_path, rows)
    refused(tmp_path, 'line 5: the split is "dev"; expected train or test')


def test_a_split_without_products_is_refused_with_advice(tmp_path: Path) -> None:
    shop(tmp_path, [{**row, "split": "train"} for row in items()])
    refused(tmp_path, "none of 96 products is for test. Say which are, in a column 'split'", "test")


@pytest.mark.parametrize("harm", [lambda zip_: zip_[:-20], lambda zip_: zip_[:30] + b"xx" + zip_[32:], lambda _: b"a"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, harm: object) -> None:
    path = write(tmp_path / "products.jsonl.gz", items())
    path.write_bytes(harm(path.read_bytes()))  # type: ignore[operator]
    refused(tmp_path, "products.jsonl.gz' is no whole gzip file")


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "products.csv").write_text(text)
    refused(tmp_path, "is empty; expected a header")


def test_a_table_with_a_header_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("id,colour\n")
    refused(tmp_path, "products.csv' has a header and no rows")


def test_a_packed_table_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "products.csv.gz").write_bytes(gzip.compress("id,colour\n1,crème\n".encode("latin-1")))
    refused(tmp_path, "line 2: not UTF-8 text")
