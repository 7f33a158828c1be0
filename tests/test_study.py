"""The study of attention: masks are those of the renderer, shares those of the weights, intervals those of seeds."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from examples.attention_study.__main__ import main
from examples.attention_study.attention import MEASURES, numbers, spread, study_attention
from examples.attention_study.charts import Dot, dot_chart
from examples.attention_study.measures import ATTENTION, Measures, measured
from examples.attention_study.scenes import chosen, naming, scenes, without_each
from itma import api
from itma.data.synthetic.shapes import SIZES, World, render
from itma.errors import DataError, ExplanationError, RunError
from itma.explanations.attention import attention_of, measure_moved
from itma.explanations.case import Case
from itma.models.composers.itma import ItmaOptions
from itma.models.retriever import Retriever
from itma.records import Interval
from tests import made_up

WORLD = World(SIZES["tiny"])
CHANGES = {"train.steps": "2", "train.evaluate_every": "2", "model.options.heads": "2"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Toy runs, each trained once: by attention and seed."""
    folder = tmp_path_factory.mktemp("studied")

    def train(attention: str = "softmax", seed: int = 0) -> Path:
        run = folder / f"{attention}-{seed}"
        if not run.exists():
            size = {"model.preprocess.height": "32", "model.preprocess.width": "48"}
            changes = {**CHANGES, **size, "model.options.attention": attention, "train.seed": str(seed)}
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(api, "_EXPLANATIONS", 1)
                api.train("shapes", preset="tiny", changes=changes, out=run, device="cpu")
        return run

    return train


def model(**options: Any) -> Retriever:
    config = replace(
        made_up.CONFIG,
        preprocess=replace(made_up.CONFIG.preprocess, height=32, width=48),
        options=ItmaOptions(**{"blocks": 1, "heads": 2, "width": 16, **options}),
    )
    return Retriever.build(config, WORLD.split("train").feedback)


def look(retriever: Retriever, rows: list[int] | None = None) -> Measures:
    part = WORLD.split("test")
    cases = scenes(WORLD, "test", rows if rows is not None else range(len(part.feedback)))
    targets = retriever.embed_images(WORLD.render("test", [one.target for one in cases]))
    return measured(
        retriever,
        cases,
        lambda images: WORLD.render("test", images),
        lambda image: without_each(WORLD, "test", image),
        targets,
        0.0,
    )


# -- scenes -----------------------------------------------------------------------------------------------------------


def test_words_that_name_the_thing_are_neither_the_verb_nor_the_new_value() -> None:
    part = WORLD.split("train")
    for sentence in part.feedback:
        words = sentence.split()
        named = [words[index] for index in naming(sentence)]
        assert "make" not in named and "remove" not in named and "add" not in named and "to" not in named
        assert len(named) == len(words) - (2 if words[0] in ("make", "add") else 1)


def test_parts_of_a_reference_cover_every_pixel_once() -> None:
    for one in scenes(WORLD, "test", range(20)):
        assert torch.equal(one.parts.sum(0), torch.ones(32, 48))
        assert torch.equal(one.parts[0].bool(), one.mask)


def test_the_place_of_a_thing_that_is_to_be_added_is_where_it_would_be_seen() -> None:
    part = WORLD.split("test")
    row = part.kinds.index("add")
    (one,) = scenes(WORLD, "test", [row])
    scene, look_ = part.scenes[one.target], WORLD.look("test", one.reference)
    before, after = render([part.scenes[one.reference], scene], [look_, look_], 32, 48)
    changed = (before.int() - after.int()).abs().amax(0) > 60
    assert one.concerned is None
    assert (changed & one.mask).sum() > 0.5 * changed.sum()


def test_an_image_without_a_thing_differs_where_the_thing_was() -> None:
    (one,) = scenes(WORLD, "test", [WORLD.split("test").kinds.index("make colour")])
    assert one.concerned is not None
    image = WORLD.render("test", [one.reference])[0]
    without = without_each(WORLD, "test", one.reference)
    assert len(without) == len(one.things)
    differs = (image.int() - without[one.concerned].int()).abs().amax(0) > 20
    assert differs[one.mask].float().mean() > 0.6


def test_queries_are_drawn_evenly_and_by_seed() -> None:
    part = WORLD.split("test")
    assert chosen(part, None) == list(range(len(part.feedback)))
    assert chosen(part, 7) == chosen(part, 7) == sorted(set(chosen(part, 7)))
    assert len(chosen(part, 7)) == 7


# -- measures ---------------------------------------------------------------------------------------------------------


def test_attention_of_a_query_is_that_of_its_explanation() -> None:
    retriever = model()
    measures = look(retriever)
    (one,) = scenes(WORLD, "test", [3])
    row = int(np.flatnonzero((measures.references == one.reference) & (measures.groups == one.group))[0])
    query = scenes(WORLD, "test", range(len(WORLD.split("test").feedback)))[row]
    image = WORLD.render("test", [query.reference])[0]
    attention = attention_of(Case(retriever, torch.zeros(16), image, query.feedback))
    cells = attention.of_word(block=0)
    parts = torch.nn.functional.adaptive_avg_pool2d(query.parts, cells.shape).numpy()
    expected = (parts * cells).sum((1, 2)) / cells.sum()
    np.testing.assert_allclose(measures.shares["all words"][row], expected, rtol=1e-4)


@pytest.mark.parametrize("attention", ["softmax", "identity"])
def test_shares_of_the_three_parts_sum_to_one(attention: str) -> None:
    measures = look(model(attention=attention))
    for shares in [measures.area, measures.occlusion, measures.occlusion_area, *measures.shares.values()]:
        np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-4)
    assert set(measures.shares) == set(ATTENTION) - ({"rollout"} if attention == "identity" else set())


def test_evenly_spread_attention_has_the_share_of_the_area() -> None:
    retriever = model()
    with torch.no_grad():
        for block in retriever.composer.blocks:  # type: ignore[union-attr]
            block.attention.query.weight.zero_()
            block.attention.query.bias.zero_()
    measures = look(retriever)
    for name in ("naming words", "all words", "embedding", "rollout"):
        np.testing.assert_allclose(measures.shares[name], measures.area, rtol=1e-4)
        named = measures.named[name]
        both = np.isfinite(named).all(1)
        np.testing.assert_allclose(named[both, 0], named[both, 1], rtol=1e-4)


def test_a_model_that_does_not_read_words_needs_what_the_bare_image_needs() -> None:
    retriever = model(pool_words=False)
    with torch.no_grad():  # values of nothing: cells read nothing from the words
        for block in retriever.composer.blocks:  # type: ignore[union-attr]
            block.attention.value.weight.zero_()
            block.attention.value.bias.zero_()
    measures = look(retriever)
    np.testing.assert_allclose(measures.needed, measures.needed_alone, atol=1e-5)


def test_what_is_handed_over_has_the_length_of_weight_times_value() -> None:
    random = torch.Generator().manual_seed(0)
    weights, values = torch.randn(2, 3, 5, 5, generator=random), torch.randn(2, 5, 6, generator=random)
    output = torch.randn(6, 6, generator=random)
    moved = measure_moved(weights, values, output)
    heads = torch.cat([weights[1, head, 2, 4] * values[1, 4, 2 * head : 2 * head + 2] for head in range(3)])
    assert moved[1, 2, 4] == pytest.approx(float((output @ heads).norm()), rel=1e-5)


def test_a_study_needs_attention() -> None:
    retriever = Retriever.build(replace(model().config, composer="tirg", options=None), ["make red cube blue"])
    with pytest.raises(ExplanationError, match="'tirg' has no attention"):
        look(retriever, [0])


# -- the study --------------------------------------------------------------------------------------------------------


def test_runs_that_differ_in_their_seed_are_one_variant_with_an_interval(
    runs: Callable[..., Path], tmp_path: Path
) -> None:
    study = study_attention([runs(seed=0), runs(seed=1), runs("identity")])
    assert {name: len(some) for name, some in study.runs.items()} == {"attention=softmax": 2, "attention=identity": 1}
    one = study.of("attention=softmax", "change", "all words: per area")
    assert one is not None and one.interval is not None and len(one.values) == 2
    assert one.interval.low <= one.mean <= one.interval.high
    alone = study.of("attention=identity", "change", "all words: per area")
    assert alone is not None and alone.interval is None
    assert study.of("attention=identity", "change", "rollout: per area") is None

    paths = study.write(tmp_path / "study")
    plain = json.loads((tmp_path / "study" / "study.json").read_text())
    assert set(plain["measures"]) == set(MEASURES)
    assert sum(plain["queries"].values()) <= len(WORLD.split("test").feedback)
    assert (tmp_path / "study" / "study.csv").read_text().startswith("variant,feedback,measure,mean,low,high,runs")
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.width > 400


def test_numbers_are_ratios_of_means() -> None:
    measures = look(model())
    rows = measures.groups == "change"
    values = numbers(measures, "change")
    assert values["all words: per area"] == pytest.approx(
        measures.shares["all words"][rows, 0].mean() / measures.area[rows, 0].mean()
    )
    of_a_thing = {name for name in MEASURES if "named" in name} | {"need of it / of others", "need of it / unasked"}
    assert of_a_thing & set(values) and not of_a_thing & set(numbers(measures, "add"))  # it is not in the reference


def test_the_interval_is_students() -> None:
    mean, interval, values = spread([2.0, 4.0, 6.0])
    assert mean == 4 and values == (2, 4, 6)
    assert isinstance(interval, Interval)
    assert interval.high - mean == pytest.approx(4.3027 * 2 / np.sqrt(3), abs=1e-3)


def test_a_chart_shows_every_dot() -> None:
    rows = {"a": [Dot(0, 0.8, 0.5, 1.2), Dot(1, 3.0, 2.0, 4.0)]}
    image = dot_chart({"remove": rows, "change": {}}, rows=["a"], title="ratios", variants=["one", "other"])
    colours = {colour for _, colour in image.getcolors(100_000) or []}
    assert {(0, 114, 178), (213, 94, 0)} <= colours


def test_runs_of_other_data_are_refused(runs: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="missing"):
        study_attention([tmp_path])
    other = tmp_path / "other"
    other.mkdir()
    plain = json.loads((runs() / "run.json").read_text())
    plain["data"]["name"] = "wardrobe"
    (other / "run.json").write_text(json.dumps(plain))
    with pytest.raises(DataError, match=r"one shapes world.*shapes tiny.*wardrobe tiny"):
        study_attention([runs(), other])
    with pytest.raises(DataError, match="at least one run"):
        study_attention([])


def test_the_command_prints_the_table_and_writes_the_plots(runs: Callable[..., Path], tmp_path: Path) -> None:
    words = ["--quiet", runs(), "--queries", "6", "--out", tmp_path / "out", "--device", "cpu"]
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == 0, result.output
    assert "all words: per area" in result.output and (tmp_path / "out" / "attention.png").is_file()


def test_training_shows_explained_queries_in_tensorboard(runs: Callable[..., Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(runs()))
    events.Reload()
    assert any(tag.startswith("explanations/") for tag in events.Tags()["images"])
