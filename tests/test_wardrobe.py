"""The wardrobe world: products, images, sentences, and what of them is kept for the test."""

import csv
import importlib.util
import itertools
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from itma import Retriever, api
from itma.data import datasets
from itma.data.datasets import DataConfig
from itma.data.images import MemoryImages, Preprocess
from itma.data.sources import load
from itma.data.synthetic.generated import Dice
from itma.data.synthetic.wardrobe import CATEGORIES, SHOP, SIZES, SPLITS, World, grammar, lexicon, read
from itma.data.synthetic.wardrobe.grammar import captions, mistaken, request
from itma.data.synthetic.wardrobe.look import Look
from itma.data.synthetic.wardrobe.products import COLOURS, Product, choices, differences
from itma.data.synthetic.wardrobe.render import render
from itma.data.synthetic.wardrobe.world import table
from itma.data.tokenizer import EARLIER
from itma.data.triplets import Rows, Triplets
from itma.errors import ConfigError, DataError, StorageError, UnknownNameError

WORLD = World(SIZES["tiny"])
DEMO = World(SIZES["demo"])
DRESS = Product("dress", "red", "plain", "long", "short", "V", "regular", "none", "none")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worlds") / "wardrobe"
    WORLD.write(folder)
    return folder


NAVY = re.compile("|".join(lexicon.NAMES["navy"]))


def every_phrase(split: str) -> list[str]:
    """All phrases of a split, with braces where values stand."""
    tables = [*lexicon._PHRASES.values(), lexicon._IMPRESSIONS]
    return [phrase for table in tables for phrases in table.values() for phrase in phrases.of(split)]


def words_of(split: str) -> set[str]:
    texts = [*every_phrase(split), *(form for forms in lexicon.FORMS.values() for form in forms.of(split))]
    plain = [re.sub(r"\{\w+\}", " ", text) for text in texts]
    return set(re.findall(r"[a-z'-]+", " ".join([*plain, *(grammar.plural(text) for text in plain)]).lower()))


# --- products ---------------------------------------------------------------------------------------------------------


def test_an_attribute_that_a_category_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="a skirt has no sleeves"):
        Product("skirt", "red", "plain", sleeves="long", length="short", fit="slim", fastening="none", trim="none")


def test_a_value_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="colour of a dress"):
        DRESS.with_values(colour="ultraviolet")


def test_equal_products_share_a_label_and_no_others_do() -> None:
    split = WORLD.split("train")
    for one, label in zip(split.products, split.labels, strict=True):
        for other, another in zip(split.products, split.labels, strict=True):
            assert (one == other) == (label == another)


@pytest.mark.parametrize("split", SPLITS)
def test_a_target_differs_from_its_reference_in_one_to_three_attributes(split: str) -> None:
    part = DEMO.split(split)
    for reference, target in zip(part.references.tolist(), part.targets.tolist(), strict=True):
        assert 1 <= len(differences(part.products[reference], part.products[target])) <= 3


# --- what is held out -------------------------------------------------------------------------------------------------


def test_train_and_test_share_no_combination_of_category_and_colour() -> None:
    train, test = ({(one.category, one.colour) for one in DEMO.split(name).products} for name in SPLITS)
    assert not train & test
    assert {colour for _, colour in test} <= {colour for _, colour in train}


def test_train_and_test_share_no_phrase_and_no_form() -> None:
    for one in (every_phrase, *(forms.of for forms in lexicon.FORMS.values())):
        assert not set(one("train")) & set(one("test"))


def test_every_word_of_the_test_is_a_word_of_the_training() -> None:
    assert words_of("test") <= words_of("train")


def test_no_sentence_of_the_test_is_one_of_the_training() -> None:
    train, test = DEMO.split("train"), DEMO.split("test")
    assert not set(train.requests) & set(test.requests)
    assert not set(train.captions) & set(test.captions)


# --- sentences --------------------------------------------------------------------------------------------------------


def test_a_request_says_every_change_of_value() -> None:
    other = DRESS.with_values(colour="navy", pattern="dots")
    for number in range(50):
        sentence = request(DRESS, other, Dice(str(number)))
        assert NAVY.search(sentence) and re.search("dot|spot", sentence), sentence


@pytest.mark.parametrize("split", SPLITS)
def test_two_captions_together_say_every_change(split: str) -> None:
    other = DRESS.with_values(colour="navy", pattern="dots")
    for number in range(50):
        sentence = " ".join(captions(DRESS, other, Dice(str(number)), split))
        assert NAVY.search(sentence) and re.search("dot|spot", sentence), sentence


def test_no_brace_is_left_in_any_sentence() -> None:
    for split in SPLITS:
        part = DEMO.split(split)
        assert not [text for text in (*part.requests, *sum(part.captions, ())) if "{" in text or "none" in text]


def test_a_mistake_changes_one_long_word_only() -> None:
    before = "the same with long sleeves"
    after = mistaken(before, Dice("1"))
    assert sum(one != other for one, other in zip(before.split(), after.split(), strict=True)) == 1


def test_training_samples_are_worded_anew_and_come_out_the_same_for_the_same_seed() -> None:
    table = WORLD.triplets("train")
    rows = np.arange(len(table))
    one, again, other = (table.draw_samples(rows, np.random.default_rng(seed)).feedback for seed in (1, 1, 2))
    assert one == again
    assert one != other


# --- images ---------------------------------------------------------------------------------------------------------


def test_an_image_is_the_same_whichever_batch_it_is_part_of() -> None:
    assert torch.equal(WORLD.render("train", [3, 1])[1], WORLD.render("train", [1])[0])


def test_two_images_of_one_product_differ() -> None:
    one, other = render([DRESS, DRESS], [Look.draw("a"), Look.draw("b")], 64, 64)
    assert (one.float() - other.float()).abs().mean() > 5


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_value_of_every_attribute_is_drawn(category: str) -> None:
    base = Product(category, **{name: values[-1] for name, values in choices(category).items()})
    look = Look.draw("a")
    plain = render([base.with_values(pattern="plain")], [look], 96, 96)
    for attribute, values in choices(category).items():
        for value in values[:-1]:
            other = base.with_values(**{"pattern": "plain", attribute: value})
            if other == base.with_values(pattern="plain"):
                continue
            changed = render([other], [look], 96, 96)
            assert (changed != plain).any(), f"{attribute} {value}"


@pytest.mark.parametrize("colour", ["red", "green", "navy", "yellow", "white", "black"])
def test_a_plain_product_has_its_colour(colour: str) -> None:
    shirt = Product("T-shirt", colour, "plain", "short", "regular", "round", "regular", None, "none", "none")
    middle = render([shirt], [Look.draw("a")], 96, 96)[0, :, 44:52, 44:52].float().mean((1, 2))
    assert (middle - torch.tensor(COLOURS[colour], dtype=torch.float32)).abs().max() < 35


def test_an_image_can_be_of_any_size() -> None:
    assert render([DRESS], [Look.draw("a")], 40, 100).shape == (1, 3, 40, 100)


def test_an_image_that_there_is_not_is_refused() -> None:
    with pytest.raises(DataError, match="there is no image 30 in train"):
        WORLD.render("train", [30])


def test_the_same_configuration_makes_the_same_world() -> None:
    assert World(SIZES["tiny"]).fingerprint() == WORLD.fingerprint()


# --- on disk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_what_was_written_is_read_back(written: Path, split: str) -> None:
    drawn, (loaded, images) = WORLD.split(split), read(written, split)
    assert (loaded.products, loaded.names, loaded.captions, loaded.requests, loaded.kinds) == (
        drawn.products,
        drawn.names,
        drawn.captions,
        drawn.requests,
        drawn.kinds,
    )
    for column in ("labels", "references", "targets"):
        np.testing.assert_array_equal(getattr(loaded, column), getattr(drawn, column))
    look = Preprocess(height=32, width=32)
    whole, again = WORLD.triplets(split).images.load([0], look), images.load([0], look)
    assert (whole.float() - again.float()).abs().mean() < 6  # JPEG


def test_a_folder_that_exists_is_not_written_to(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there already"):
        WORLD.write(tmp_path)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    WORLD.write(tmp_path / "world")
    (tmp_path / "world" / "images" / "train_000003.jpg").unlink()
    with pytest.raises(DataError, match=r"train_000003\.jpg"):
        read(tmp_path / "world", "train")


def test_fashioniq_reads_what_was_written(written: Path) -> None:
    train, val = (datasets.load("fashioniq", written, split) for split in ("train", "val"))
    assert not train.triplets.images.missing().any()
    own = [
        json.loads((written / "captions" / f"cap.{name}.val.json").read_text()) for name in ("dress", "shirt", "toptee")
    ]
    protocol = val.protocol("fashioniq/original")
    assert sum(len(task.rows) for task in protocol.tasks) == sum(map(len, own))


def test_the_shop_has_metadata_for_filters(written: Path) -> None:
    with (written / SHOP / "products.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == WORLD.config.images(SHOP)
    assert all(float(row["price"]) > 0 and row["brand"] and row["sizes"] for row in rows)
    assert all((written / SHOP / row["image"]).is_file() for row in rows)


@pytest.mark.parametrize("rooted", [False, True])
def test_a_model_is_trained_and_evaluated(written: Path, tmp_path: Path, rooted: bool) -> None:
    changes = {"data.size": "tiny", "train.steps": "2"} | ({"data.root": str(written)} if rooted else {})
    run = api.train("wardrobe", preset="tiny", changes=changes, out=tmp_path / "run", device="cpu")
    assert "wardrobe/requests" in str(api.evaluate(run, device="cpu"))
    assert Retriever.load(run).tokenizer.words("navy")


def test_a_split_asks_in_three_ways() -> None:
    split = load(DataConfig("wardrobe", size="tiny"), "test")
    assert list(split.protocols) == ["wardrobe/requests", "wardrobe/captions", "wardrobe/known-wording"]
    counts = {len(protocol.tasks[0].rows) for protocol in split.protocols.values()}
    assert counts == {len(WORLD.split("test").requests)}


def load_and_draw(conversations: float) -> tuple[Triplets, Rows]:
    split = WORLD.split("train")
    pixels = torch.zeros(len(split.names), 3, 1, 1, dtype=torch.uint8)
    data = table(
        split, MemoryImages(split.names, pixels), replace(WORLD.config, conversations=conversations, mistakes=0.0)
    )
    return data, data.draw_samples(np.arange(len(data)), np.random.default_rng(5))


def test_conversations_lead_to_the_same_target_from_its_reference_or_from_where_they_began() -> None:
    data, drawn = load_and_draw(1.0)
    products = WORLD.split("train").products
    assert (drawn.targets == data.targets).all()
    talks = [row for row, text in enumerate(drawn.feedback) if EARLIER in text]
    assert len(talks) > 0.8 * len(data)  # a reference without another target has nobody to come from
    elsewhere = [row for row in talks if drawn.references[row] != data.references[row]]
    assert 0.3 < len(elsewhere) / len(talks) < 0.7
    assert set(np.flatnonzero(drawn.references != data.references)) == set(elsewhere)
    assert {text.count(EARLIER) for text in drawn.feedback} >= {1, 2}
    neighbours = set(zip(data.references.tolist(), data.targets.tolist(), strict=True))
    two = [row for row in elsewhere if drawn.feedback[row].count(EARLIER) == 1]
    assert all((int(data.references[row]), int(drawn.references[row])) in neighbours for row in two)
    recoloured = 0
    for row in talks:
        reference, target = products[data.references[row]], products[data.targets[row]]
        if differences(reference, target) == ("colour",):
            recoloured += 1
            last = drawn.feedback[row].rsplit(EARLIER, 1)[1]
            assert any(name in last for name in lexicon.NAMES.get(target.colour, (target.colour,)))
    assert recoloured


def test_without_conversations_every_sample_is_its_row() -> None:
    data, drawn = load_and_draw(0.0)
    assert (drawn.references == data.references).all()
    assert not any(EARLIER in text for text in drawn.feedback)


def test_what_is_true_of_images_is_equal_where_their_products_are() -> None:
    split = WORLD.split("test")
    aspects = load(DataConfig("wardrobe", size="tiny"), "test").triplets.aspects
    assert next(iter(aspects)) == "category"
    for name, values in aspects.items():
        for one, other in itertools.combinations(range(len(split.products)), 2):
            same = getattr(split.products[one], name) == getattr(split.products[other], name)
            assert (values[one] == values[other]) == same


# --- conversations ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).parents[1] / "bench" / "conversations.py"
    if not path.exists():
        pytest.skip("bench/ is not part of this copy")
    spec = importlib.util.spec_from_file_location("conversations", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["conversations"] = module
    spec.loader.exec_module(module)
    return module


def test_conversations_are_counted_right_without_a_model(bench: ModuleType) -> None:
    module = bench
    conversations = module.conversations()
    assert len(conversations) == 30 and {len(one["steps"]) for one in conversations} == {3}
    shop = WORLD.split(SHOP)
    products = dict(zip(shop.names, shop.products, strict=True))
    one = conversations[0]
    wanted = one["steps"][-1]["wanted"]
    products["wanted"] = DRESS.with_values(**{name: value for name, value in wanted.items() if name != "category"})
    steps = module.played(one, products, lambda reference, say, wanted, excluded: ["wanted"])
    assert steps[-1].fitting == (True,)
    wrong = module.played(one, products, lambda reference, say, wanted, excluded: [shop.names[0]])
    assert module.summary([steps, wrong]).startswith("1 of 2 conversations")
    navy, belted = DRESS.with_values(colour="navy", trim="belt"), DRESS.with_values(trim="belt")
    few = {"start": DRESS, "navy belted": navy, "red belted, long": belted.with_values(length="long")}
    few |= {"navy plain, long": navy.with_values(trim="none", length="long", neckline="round")}
    wishes = [{"category": "dress", "length": "long"}, {"category": "dress", "length": "long", "trim": "belt"}]
    for forgetful, best in ((False, "red belted, long"), (True, "navy belted")):
        search = module.by_attributes(few, forgetful=forgetful)
        search("start", ["longer"], wishes[0], ["start"])
        assert search("navy plain, long", ["longer", "with a belt"], wishes[1], [])[0] == best
    calls = []
    module.played(one, products, lambda reference, texts, wanted, excluded: calls.append(list(texts)) or ["wanted"])
    assert calls[-1] == [step["say"] for step in one["steps"]]


def test_generated_conversations_end_at_what_the_shop_has(bench: ModuleType) -> None:
    shop = WORLD.split(SHOP)
    products = dict(zip(shop.names, shop.products, strict=True))
    conversations = bench.generated(products, 3)
    assert conversations == bench.generated(products, 3)
    for one in conversations:
        assert [len(step["wanted"]) for step in one["steps"]] == [2, 3, 4]
        assert any(product.fits(one["steps"][-1]["wanted"]) for product in products.values())
