"""Explanations: attention is what the model computed, effects are what interventions do, gradients sum to the score."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import itma
from itma.cli import cli
from itma.errors import (
    ConfigError,
    DataError,
    ExplanationError,
    FeedbackError,
    ImageError,
    RunError,
    StorageError,
    UnknownItemError,
    UnknownNameError,
)
from itma.evaluation.evaluate import evaluate
from itma.explanations.attention import attention_of, pooling, record_blocks, rollout, shares_of_cells
from itma.explanations.case import Case
from itma.explanations.checks import check_maps, curves, randomise, rank_correlation
from itma.explanations.explaining import METHODS, case_in, case_of, explain, explain_case
from itma.explanations.explanation import Explanation
from itma.explanations.gradients import beginning_with, gradients_of
from itma.explanations.occlusion import Cells, cover, region_effects, word_effects
from itma.models.composers.itma import ItmaOptions
from itma.models.embedder import Embedder
from itma.models.image_encoders.base import ImageEncoderConfig
from itma.models.retriever import Retriever
from itma.retrieval.catalogue import Catalogue
from tests import made_up
from tests.test_model_checks import CONFIGS, built, some

SENTENCE = "make red cube"


def noise(seed: int = 0, size: tuple[int, int] = (24, 16)) -> Image.Image:
    random = np.random.Generator(np.random.PCG64(seed))
    return Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def attentive(**options: Any) -> Retriever:
    shape = {"blocks": 2, "heads": 2, "width": 16, **options}
    config = replace(made_up.CONFIG, options=ItmaOptions(**shape))
    return Retriever.build(config, made_up.triplets().feedback, seed=1)


def case(model: Retriever | None = None, text: str | None = SENTENCE) -> Case:
    return case_of(model or made_up.model(), noise(), text, target=noise(1))


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Twelve images of noise, embedded by a run that was saved."""
    folder = tmp_path_factory.mktemp("explained")
    (folder / "photos").mkdir()
    for number in range(12):
        noise(number).save(folder / "photos" / f"{number:02d}.png")
    made_up.model().save(folder / "run")
    return Catalogue.build(folder / "run", folder / "photos", folder / "catalogue")


# -- attention --------------------------------------------------------------------------------------------------------


def test_attention_is_told_for_every_block_head_and_token() -> None:
    model = attentive()
    attention = attention_of(case(model))
    cells = attention.grids[0][0] * attention.grids[0][1]
    assert attention.weights.shape == (2, 2, cells + 3, cells + 3)
    assert [word.text for word in attention.words] == SENTENCE.split()
    np.testing.assert_allclose(attention.weights.sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize("pool", ["levels", "cells", "weighted"])
def test_what_is_pooled_is_the_outgoing_tokens_by_their_shares(pool: str) -> None:
    model = attentive(pool=pool)
    if pool == "weighted":
        torch.nn.init.normal_(model.composer.weigh.weight)  # type: ignore[union-attr, arg-type]
    one = case(model)
    outgoing: list[torch.Tensor] = []
    hook = model.composer.norm.register_forward_hook(lambda module, inputs, output: outgoing.append(output))  # type: ignore[union-attr]
    query = one.query
    hook.remove()
    pooled = torch.tensor(attention_of(one).pool) @ outgoing[0][0]
    torch.testing.assert_close(torch.nn.functional.normalize(pooled, dim=0), query[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("query", ["added", "gated"])
def test_attention_is_that_of_the_pass_with_words_where_the_reference_is_added(query: str) -> None:
    attention = attention_of(case(attentive(query=query)))
    assert attention.weights.shape == (2, 2, attention.cells + 3, attention.cells + 3)


def test_attention_of_levels_stands_on_the_cells_of_each() -> None:
    config = replace(made_up.CONFIG, image_encoder=ImageEncoderConfig(levels=(2, 3)))
    model = Retriever.build(config, made_up.triplets().feedback)
    attention = attention_of(case(model))
    assert len(attention.grids) == 2
    maps = [attention.of_word(level=level, block=0) for level in (0, 1)]
    assert [one.shape for one in maps] == list(attention.grids)
    on_words = attention.weights[0].mean(0)[attention.cells :, attention.cells :].mean(0).sum()
    assert sum(one.sum() for one in maps) == pytest.approx(1 - on_words, abs=1e-5)


def test_rollout_is_the_product_of_what_each_block_passes_on() -> None:
    random = np.random.Generator(np.random.PCG64(0))
    weights = random.random((3, 2, 5, 5))
    weights /= weights.sum(-1, keepdims=True)
    passed = [(0.5 * block.mean(0) + 0.5 * np.eye(5)) for block in weights]
    np.testing.assert_allclose(rollout(weights), passed[2] @ passed[1] @ passed[0])
    np.testing.assert_allclose(rollout(weights).sum(1), 1)


def test_identity_attention_is_shown_as_signed_scores_and_never_as_shares() -> None:
    attention = attention_of(case(attentive(attention="identity")))
    assert attention.weights.min() < 0 < attention.weights.max()
    assert attention.rollout is None and attention.of_embedding() is None
    np.testing.assert_allclose(
        attention.of_word(0).reshape(-1), attention.weights[:, :, attention.cells].mean((0, 1))[: attention.cells]
    )
    plain = explain(attentive(attention="identity"), noise(), SENTENCE, target=noise(1)).to_plain()
    assert plain["maps"]["attention_of_words"]["kind"] == plain["word_maps"]["kind"] == "signed"


def test_recording_leaves_the_model_as_it_was() -> None:
    model = attentive()
    before = model.fingerprint()
    attention_of(case(model))
    assert model.fingerprint() == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("words_count", [True, False])
def test_pooling_shares_sum_to_one(words_count: bool) -> None:
    shares = pooling(shares_of_cells(((2, 3), (1, 2)), whole=False), 4, words_count=words_count)
    assert shares.sum() == pytest.approx(1)
    assert shares[8:].sum() == pytest.approx(0.5 if words_count else 0)


def test_a_block_or_level_that_is_not_there_is_refused() -> None:
    attention = attention_of(case(attentive()))
    with pytest.raises(ConfigError, match=r"block=2: this model has the blocks 0 to 1"):
        attention.of_word(block=2)
    with pytest.raises(ConfigError, match="level=1"):
        attention.of_word(level=1)
    with pytest.raises(ConfigError, match="say of which"):
        attention.of_word(head=0)


def elsewhere(work: Callable[[], torch.Tensor]) -> torch.Tensor:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_searches_of_other_threads_are_neither_recorded_nor_changed() -> None:
    model = attentive()
    one = case(model)
    assert one.reference is not None and model.text_encoder is not None
    image, text_encoder = one.reference[None], model.text_encoder
    expected = model.embed_queries(image, [SENTENCE])
    with (
        record_blocks(model.composer) as recorded,  # type: ignore[arg-type]
        beginning_with(text_encoder.table, torch.zeros(1, 3, 16)),
    ):
        assert torch.equal(elsewhere(lambda: model.embed_queries(image, [SENTENCE])), expected)
        assert not recorded.weights
        assert not torch.equal(model.embed_queries(image, [SENTENCE]), expected)
        assert len(recorded.weights) == 2


def test_a_word_of_several_tokens_has_the_mean_of_their_attention() -> None:
    model = built("itma-bert")
    text = "make smallish cube"
    attention = attention_of(case_of(model, noise(), text, target=noise(1)))
    words = attention.words
    pieces = model.tokenizer.pieces(text)
    assert [text[word.begin : word.end] for word in words] == text.split()
    assert [pieces[token].text for token in words[1].tokens] == ["small", "##ish"]
    rows = [attention.cells + token for token in words[1].tokens]
    expected = attention.weights[0].mean(0)[rows].mean(0)[: attention.grids[0][0] * attention.grids[0][1]]
    np.testing.assert_allclose(attention.of_word(1, block=0).reshape(-1), expected)
    marks = set(range(len(pieces))) - {token for word in words for token in word.tokens}
    assert {pieces[mark].text for mark in marks} <= {"[CLS]", "[SEP]"}


# -- interventions ----------------------------------------------------------------------------------------------------


def test_the_effect_of_a_region_is_the_score_minus_the_score_without_it() -> None:
    one = case()
    assert one.reference is not None
    regions = region_effects(one)
    top, bottom, left, right = regions.windows[5].tolist()
    image = one.reference.clone()
    image[:, top:bottom, left:right] = image.float().mean((1, 2)).round().to(torch.uint8)[:, None, None]
    alone = one.model.embed_queries(image[None], [SENTENCE]) @ one.target
    assert regions.effects[5] == pytest.approx(float(one.scores(one.query)[0] - alone), abs=1e-5)


def test_the_effect_of_a_word_is_the_score_minus_the_score_without_it() -> None:
    one = case()
    assert one.reference is not None
    words = word_effects(one)
    without = one.model.embed_queries(one.reference[None], ["make cube"]) @ one.target
    assert words.effects[1] == pytest.approx(float(one.scores(one.query)[0] - without), abs=1e-5)


def test_without_its_only_word_a_query_is_its_reference_alone() -> None:
    one = case(text="red")
    assert one.reference is not None
    alone = one.model.embed_queries(one.reference[None], None) @ one.target
    assert word_effects(one).effects[0] == pytest.approx(float(one.scores(one.query)[0] - alone), abs=1e-5)


def test_where_nothing_would_be_left_an_effect_is_no_number() -> None:
    explanation = explain(made_up.model(), None, "red", target=noise(1))
    assert explanation.word_effects is not None and np.isnan(explanation.word_effects.effects[0])
    assert explanation.to_plain()["words"][0]["effect"] is None
    assert "nothing left" in str(explanation)


def test_words_that_the_model_does_not_read_are_told_apart() -> None:
    one = case(text="make it  RED, please")
    words = one.words()
    assert [(word.text, bool(word.tokens)) for word in words] == [
        ("make", True),
        ("it", False),
        ("RED,", True),
        ("please", False),
    ]
    effects = word_effects(one).effects
    assert effects[1] == effects[3] == pytest.approx(0, abs=1e-6)


def test_a_word_that_is_read_as_another_has_an_effect_and_is_told() -> None:
    explanation = explain_case(case(text="make crimson cube"), ["words"])
    expected = explain_case(case(text="make red cube"), ["words"])
    assert explanation.word_effects is not None and expected.word_effects is not None
    assert explanation.word_effects.effects.tolist() == expected.word_effects.effects.tolist()
    assert explanation.notes == ("'crimson', which training never saw, is read as 'red'",)


def test_windows_cover_every_pixel_and_stay_inside() -> None:
    for height, width in ((64, 96), (17, 5), (1, 1), (224, 224)):
        windows = Cells(height, width).windows()
        covered = np.zeros((height, width), dtype=bool)
        for top, bottom, left, right in windows:
            assert 0 <= top < bottom <= height and 0 <= left < right <= width
            covered[top:bottom, left:right] = True
        assert covered.all()


def test_a_cell_holds_the_mean_of_the_windows_that_cover_it() -> None:
    cells = Cells(64, 96)
    windows = cells.windows()
    means = cells.average(windows, np.arange(len(windows), dtype=np.float64))
    assert means.shape == (8, 12)
    assert means[0, 0] == 0 and means[0, 1] == 0.5 and means[1, 1] == np.mean([0, 1, 11, 12])


def test_blur_covers_with_the_image_itself() -> None:
    pixels = torch.zeros(3, 32, 32, dtype=torch.uint8)
    pixels[:, :, 16:] = 200
    mask = torch.ones(1, 32, 32, dtype=torch.bool)
    blurred = cover(pixels, mask, "blur")[0]
    assert blurred[0, 16, 0] < 20 and 60 < blurred[0, 16, 16] < 140 and blurred[0, 16, -1] > 180
    with pytest.raises(UnknownNameError, match="blur, mean"):
        cover(pixels, mask, "black")  # type: ignore[arg-type]


# -- gradients --------------------------------------------------------------------------------------------------------


# of the two that are left out the score jumps where everything is 0: by a layer norm, and by CoSMo's normalised map
@pytest.mark.parametrize("name", some(name for name in CONFIGS if name not in ("itma-identity", "cosmo")))
def test_integrated_gradients_sum_to_the_change_of_the_score(name: str) -> None:
    model = built(name)
    one = case_of(model, noise(), "make red", target=noise(1))
    gradients = gradients_of(one, steps=64)
    assert gradients.end == pytest.approx(float(one.scores(one.query)[0]), abs=1e-4)
    assert abs(gradients.gap) < 0.02 and not gradients.rough
    assert gradients.pixels is not None and gradients.pixels.shape == (model.preprocess.height, model.preprocess.width)


def test_a_score_that_jumps_along_the_path_is_said_to_leave_a_gap() -> None:
    # without positions and biases all tokens are 0 at the beginning, and a layer norm makes a jump of the first step
    explanation = explain(built("itma-identity"), noise(), "make red", target=noise(1), methods=["gradients"])
    assert explanation.gradients is not None and explanation.gradients.rough
    assert any("unexplained: it jumps along the path" in note for note in explanation.notes)


def test_a_word_that_no_path_leads_through_has_no_gradient() -> None:
    model = built("image-only")
    assert gradients_of(case_of(model, noise(), "make red", target=noise(1))).words.tolist() == [0, 0]


def test_gradients_leave_neither_hooks_nor_slopes_behind() -> None:
    model = made_up.model()
    gradients_of(case(model))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


# -- checks -----------------------------------------------------------------------------------------------------------


def test_random_weights_are_others_in_every_layer_and_the_model_stays() -> None:
    model = made_up.model()
    before = model.fingerprint()
    other = randomise(model, 0)
    assert model.fingerprint() == before
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        if name.endswith("weight") and one.dim() > 1:
            assert not torch.equal(one, two), name


def test_a_map_that_is_the_same_for_random_weights_fails() -> None:
    one = case()
    assert one.reference is not None
    same = np.arange(96.0).reshape(Cells(16, 24).grid)
    (check,) = check_maps(one, {"edges": same}, lambda other: {"edges": same})
    assert check.random_model == pytest.approx(1)
    assert "random weights" in check.fails and "FAILS random weights" in str(check)


def test_deletion_ends_at_the_covered_image_and_insertion_at_the_whole_one() -> None:
    one = case()
    assert one.reference is not None
    deletion, insertion = curves(one, np.random.Generator(np.random.PCG64(0)).random(Cells(16, 24).grid))
    covered_whole = cover(one.reference, torch.ones(1, 16, 24, dtype=torch.bool))
    blank = float(one.scores(one.embed(covered_whole, [SENTENCE]))[0])
    whole = float(one.scores(one.query)[0])
    assert [deletion[0], deletion[-1]] == pytest.approx([whole, blank], abs=1e-5)
    assert [insertion[0], insertion[-1]] == pytest.approx([blank, whole], abs=1e-5)


def test_covering_in_the_order_of_a_map_and_in_its_reverse_differ_where_the_map_is_right() -> None:
    one = case()
    values = region_effects(one).map
    assert np.mean(curves(one, values)[0]) < np.mean(curves(one, -values)[0])


def test_rank_correlation_is_that_of_ranks_and_of_ties_by_their_mean() -> None:
    assert rank_correlation(np.array([1, 2, 2, 3]), np.array([10, 20, 20, 99])) == pytest.approx(1)
    assert rank_correlation(np.array([1.0, 1, 1]), np.array([1.0, 2, 3])) == 0


# -- the whole --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", some(CONFIGS))
def test_every_composer_can_be_explained(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    model, steps = built(name), 32 if request.config.getoption("--slow") else 8
    explanation = explain(model, noise(), "make red", target=noise(1), methods=["all"], steps=steps)
    assert (
        explanation.word_effects is not None and explanation.regions is not None and explanation.gradients is not None
    )
    assert (explanation.attention is not None) == name.startswith("itma")
    assert {check.map for check in explanation.checks} >= {"regions", "gradients"}
    explanation.save(tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as image:
        assert image.width > 500


def test_usually_causes_and_attention_are_told_and_slow_methods_wait_to_be_asked(catalogue: Catalogue) -> None:
    explanation = explain(catalogue, noise(99), SENTENCE)
    assert explanation.attention and explanation.word_effects and explanation.regions and explanation.target_regions
    assert explanation.gradients is None and not explanation.checks
    assert set(explanation.seconds) == {"attention", "words", "regions", "target"}


def test_the_best_hit_is_explained_where_no_target_is_given(catalogue: Catalogue) -> None:
    explanation = explain(catalogue, text=SENTENCE, id="03.png", methods=["words"])
    (best,) = catalogue.search(id="03.png", text=SENTENCE, k=1)
    assert (explanation.target_name, explanation.rank, explanation.items) == (best.id, 1, 12)
    assert explanation.score == pytest.approx(best.score, abs=1e-5)


def test_ranks_are_those_of_a_search(catalogue: Catalogue) -> None:
    hits = catalogue.search(noise(99), SENTENCE, k=12)
    assert [explain(catalogue, noise(99), SENTENCE, target=hit.id, methods=["words"]).rank for hit in hits] == [
        hit.rank for hit in hits
    ]


def test_ranks_without_a_word_are_those_of_a_search_without_it(catalogue: Catalogue) -> None:
    effects = explain(catalogue, noise(99), SENTENCE, target="05.png", methods=["words"]).word_effects
    assert effects is not None and effects.ranks is not None
    hits = catalogue.search(noise(99), "make cube", k=12)
    assert effects.ranks[1] == next(hit.rank for hit in hits if hit.id == "05.png")


def test_a_target_may_be_an_image_that_is_not_in_the_catalogue(catalogue: Catalogue, tmp_path: Path) -> None:
    noise(77).save(tmp_path / "other.png")
    explanation = explain(catalogue, noise(99), SENTENCE, target=str(tmp_path / "other.png"), methods=["words"])
    hits = catalogue.search(noise(99), SENTENCE, k=12)
    assert explanation.rank == 1 + sum(hit.score > explanation.score for hit in hits)


def test_a_query_of_words_alone_has_words_and_a_target_and_says_what_is_missing(catalogue: Catalogue) -> None:
    explanation = explain(catalogue, text=SENTENCE)
    assert explanation.word_effects is not None and explanation.target_regions is not None
    assert explanation.regions is None and explanation.attention is None
    assert any("regions are those of a reference" in note for note in explanation.notes)
    explanation.draw()


def test_a_target_whose_image_is_gone_is_explained_as_far_as_possible(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        noise(number).save(tmp_path / "photos" / f"{number}.png")
    other = Catalogue.build(catalogue.model, tmp_path / "photos", tmp_path / "catalogue")
    (tmp_path / "photos" / "1.png").unlink()
    explanation = explain(other, noise(99), SENTENCE, target="1.png")
    assert explanation.regions is not None and explanation.target is None
    assert any("'1.png' is not there" in note for note in explanation.notes)


def test_a_query_of_an_evaluation_has_the_rank_that_was_measured() -> None:
    model, triplets = made_up.model(), made_up.triplets()
    (evaluation,) = evaluate(model, triplets, intervals=False)
    for row in (0, 7):
        assert explain_case(case_in(model, evaluation, row), ["words"]).rank == evaluation.ranks[row]


def test_it_is_part_of_the_public_face(catalogue: Catalogue) -> None:
    explanation = itma.explain(catalogue, noise(99), SENTENCE, methods=["words"])
    assert isinstance(explanation, itma.Explanation)
    assert "what the score loses without each" in str(explanation)


# -- what is written --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole() -> Explanation:
    return explain(attentive(), noise(), SENTENCE, target=noise(1), methods=METHODS)


def test_json_holds_every_map_and_effect(whole: Explanation, tmp_path: Path) -> None:
    whole.save(tmp_path / "why.json")
    plain = json.loads((tmp_path / "why.json").read_text())
    assert set(plain["maps"]) == {"regions", "attention_of_words", "attention_of_embedding"}
    assert [word["text"] for word in plain["words"]] == SENTENCE.split()
    for one in [*plain["maps"].values(), *plain["word_maps"]["maps"], plain["regions"], plain["gradients"]]:
        assert len(one["values"]) == one["rows"] * one["columns"]
    assert {check["map"] for check in plain["checks"]} == {*plain["maps"], "gradients"}
    with_images = whole.to_plain(images=True)
    assert with_images["reference_image"].startswith("data:image/png;base64,")


def test_arrays_are_opened_without_pickle(whole: Explanation, tmp_path: Path) -> None:
    whole.save(tmp_path / "why.npz")
    with np.load(tmp_path / "why.npz", allow_pickle=False) as arrays:
        assert arrays["words"].tolist() == SENTENCE.split()
        assert whole.attention is not None
        np.testing.assert_array_equal(arrays["attention.weights"], whole.attention.weights)


def test_an_ending_that_is_not_known_is_refused_and_nothing_is_written(whole: Explanation, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'why\.txt' ends in neither"):
        whole.save(tmp_path / "why.txt")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to_is_a_storage_error(whole: Explanation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("why.png", "why.json", "why.npz"):
        with pytest.raises(StorageError):
            whole.save(tmp_path / "file" / name)


# -- bad input --------------------------------------------------------------------------------------------------------


def test_a_target_that_is_nowhere_is_named(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownItemError, match=r"'nowhere\.png' is neither an item of the catalogue nor an image"):
        explain(catalogue, noise(), SENTENCE, target="nowhere.png")


def test_attention_of_a_model_without_is_refused_by_name() -> None:
    with pytest.raises(ExplanationError, match="'tirg' has no attention"):
        explain(built("tirg"), noise(), "make red", target=noise(1), methods=["attention"])


def test_a_sentence_of_unknown_words_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(FeedbackError, match="knows none of the words 'frobnicate'"):
        explain(catalogue, noise(), "frobnicate")


def test_an_image_that_cannot_be_read_is_named(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.png"):
        explain(catalogue, tmp_path / "broken.png", SENTENCE)
    with pytest.raises(ImageError, match=r"broken\.png"):
        explain(catalogue, noise(), SENTENCE, target=tmp_path / "broken.png")


def test_graphs_have_neither_gradients_nor_attention() -> None:
    class Graphs(Embedder):
        name, runtime, reads_words = "itma", "onnx", True  # type: ignore[assignment]
        fingerprint = feature_maps = embed_images = embed_images_from = _queries = None  # type: ignore[assignment]

    with pytest.raises(ExplanationError, match="runtime 'onnx' answers with graphs"):
        case_of(Graphs(), noise(), SENTENCE, target=noise(1))  # type: ignore[arg-type]


def test_a_run_needs_a_target_and_has_no_items() -> None:
    with pytest.raises(ExplanationError, match="--target IMAGE"):
        explain(made_up.model(), noise(), SENTENCE)
    with pytest.raises(ConfigError, match="id='a' is that of an item"):
        explain(made_up.model(), id="a", text=SENTENCE, target=noise())


def test_a_query_of_nothing_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(DataError, match="both are empty"):
        explain(catalogue, text="  ")
    with pytest.raises(DataError, match="one reference"):
        explain(catalogue, noise(), SENTENCE, id="03.png")


def test_a_method_that_does_not_exist_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownNameError, match="unknown method 'magic'"):
        explain(catalogue, noise(), SENTENCE, methods=["magic"])


def test_a_place_that_is_nowhere_is_refused() -> None:
    with pytest.raises(RunError, match="'nowhere' is neither a run nor a catalogue"):
        explain("nowhere", noise(), SENTENCE)


# -- the command ------------------------------------------------------------------------------------------------------


def call(*words: str | Path) -> Any:
    result = CliRunner().invoke(cli, ["--quiet", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_command_explains_a_hit_and_writes_an_image(catalogue: Catalogue, tmp_path: Path) -> None:
    noise(99).save(tmp_path / "a.png")
    folder, out = catalogue.run.parent / "catalogue", tmp_path / "why.png"  # type: ignore[union-attr]
    result = call("explain", folder, "--image", tmp_path / "a.png", "--text", SENTENCE, "-o", out, "--device", "cpu")
    assert result.exit_code == 0 and "written to" in result.output
    with Image.open(out) as image:
        assert image.format == "PNG"


def test_the_command_explains_with_a_run_alone(catalogue: Catalogue, tmp_path: Path) -> None:
    noise(99).save(tmp_path / "a.png")
    run, photo = catalogue.run, catalogue.images / "02.png"  # type: ignore[operator]
    assert run is not None
    result = call(
        "explain", run, "--image", tmp_path / "a.png", "--text", SENTENCE, "--target", photo, "--method", "all"
    )
    assert result.exit_code == 0 and "check of regions" in result.output


def test_the_command_refuses_an_ending_before_it_computes(catalogue: Catalogue) -> None:
    folder = catalogue.run.parent / "catalogue"  # type: ignore[union-attr]
    result = call("explain", folder, "--text", SENTENCE, "-o", "why.txt")
    assert result.exit_code == 1 and result.output.startswith("error: 'why.txt' ends in neither")


def test_the_command_says_in_one_line_what_is_wrong(catalogue: Catalogue) -> None:
    folder = catalogue.run.parent / "catalogue"  # type: ignore[union-attr]
    result = call("explain", folder, "--text", SENTENCE, "--target", "nowhere")
    assert result.exit_code == 1 and result.output.startswith("error: the target 'nowhere'")
