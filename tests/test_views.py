"""Views: what frozen levels make of the training images, computed once; and what is frozen then."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from itma.errors import ConfigError, StorageError, UnknownNameError
from itma.models.image_encoders.base import ImageEncoderConfig
from itma.models.retriever import Retriever
from itma.sharing import share_results
from itma.training.config import TrainConfig
from itma.training.loop import TrainingInterrupted, train
from itma.training.run import read_metrics
from itma.training.views import Views, change_images, make_views
from tests.made_up import CONFIG, TRAIN, triplets

LITE = replace(CONFIG, image_encoder=ImageEncoderConfig("efficientnet-lite0", levels=(2, 3)))
VIEWS = replace(TRAIN, frozen_levels=1, views=2, fixed_norms=True, flip=True, grounds=0.5)


def model() -> Retriever:
    return Retriever.build(LITE, triplets().feedback)


def trained(folder: Path, config: TrainConfig = VIEWS, **options: object) -> Retriever:
    retriever = model()
    train(retriever, triplets(), config, folder, **options)  # type: ignore[arg-type]
    return retriever


@pytest.mark.parametrize("frozen", [1, 2, 3])
def test_the_plain_view_leads_to_the_maps_of_the_image_encoder_itself(frozen: int) -> None:
    retriever, data = model(), triplets(4)
    views = Views(retriever, data.images, np.arange(8), replace(VIEWS, views=1, frozen_levels=frozen))
    pixels = data.images.load(np.arange(8), retriever.preprocess)
    with torch.inference_mode():
        finished = retriever.image_encoder.finish(views.load(np.arange(8), step=0), frozen)
        whole = retriever.image_encoder(retriever.preprocess.normalise(pixels))
    assert len(finished) == len(whole) == 2
    for one, other in zip(finished, whole, strict=True):
        assert torch.allclose(one, other, atol=2e-3 * float(other.abs().max()))


def test_each_image_has_the_maps_of_its_own_views() -> None:
    retriever, data = model(), triplets(4)
    wanted, config = np.array([1, 3, 6]), replace(VIEWS, crop=0.5)
    views = Views(retriever, data.images, wanted, config)
    pixels = data.images.load(wanted, retriever.preprocess)
    with torch.inference_mode():
        possible = [
            retriever.image_encoder.begin(retriever.preprocess.normalise(one), 1)[0].half().float()
            for one in (pixels, change_images(pixels, config, step=1))
        ]
    drawn = set()
    for step in range(8):
        for image, loaded in zip((2, 0), views.load(np.array([6, 1]), step=step)[0], strict=True):
            (view,) = [number for number, maps in enumerate(possible) if torch.equal(loaded, maps[image])][:1]
            drawn.add(view)
    assert drawn == {0, 1}


def test_the_views_of_a_step_are_a_function_of_seed_and_step() -> None:
    retriever, data = model(), triplets(8)
    one, other = (Views(retriever, data.images, np.arange(16), VIEWS) for _ in range(2))
    again = other.load(np.arange(16), step=3)[0]
    assert torch.equal(one.load(np.arange(16), step=3)[0], again)
    assert not torch.equal(one.load(np.arange(16), step=4)[0], again)


def test_an_image_that_was_not_wanted_has_no_maps() -> None:
    views = Views(model(), triplets(4).images, np.array([0, 1]), VIEWS)
    with pytest.raises(AssertionError, match="not among the wanted"):
        views.load(np.array([2]), step=0)


@pytest.mark.parametrize("stop", [3, 4])
def test_a_resumed_run_with_views_ends_bit_for_bit_as_an_uninterrupted_one(tmp_path: Path, stop: int) -> None:
    whole = trained(tmp_path / "whole")
    with pytest.raises(TrainingInterrupted):
        trained(tmp_path / "parts", stop_after=stop)
    assert trained(tmp_path / "parts", resume=True).fingerprint() == whole.fingerprint()
    losses = [[line["loss"] for line in read_metrics(tmp_path / name) if "loss" in line] for name in ("whole", "parts")]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("views", [0, 2])
def test_frozen_levels_do_not_move_and_deeper_ones_do(tmp_path: Path, views: int) -> None:
    before, after = model(), trained(tmp_path, replace(VIEWS, views=views))
    stages, moved = before.image_encoder.network.stages, after.image_encoder.network.stages  # type: ignore[union-attr]
    for one, other in ((before.image_encoder.network.stem, after.image_encoder.network.stem), (stages[0], moved[0])):  # type: ignore[union-attr,index]
        own, trained_weights = one.state_dict(), other.state_dict()
        assert all(torch.equal(own[name], trained_weights[name]) for name in own)
    for stage in (1, 2):
        own, trained_weights = dict(stages[stage].named_parameters()), dict(moved[stage].named_parameters())  # type: ignore[index]
        assert any(not torch.equal(own[name], trained_weights[name]) for name in own)


@pytest.mark.parametrize("fixed", [True, False])
def test_fixed_norms_keep_their_statistics_and_others_do_not(tmp_path: Path, fixed: bool) -> None:
    before = model().image_encoder.state_dict()
    after = trained(tmp_path, replace(VIEWS, fixed_norms=fixed)).image_encoder.state_dict()
    names = [name for name in before if name.endswith("running_mean") and "stages.1" in name]
    assert names and all(torch.equal(before[name], after[name]) == fixed for name in names)


def test_no_room_for_the_maps_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(StorageError, match=r"GB in .*: No space left on device; make room, .*ITMA_CACHE.*train\.views"):
        trained(tmp_path)


def test_views_without_frozen_levels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.views=2 stores what frozen levels make"):
        TrainConfig(views=2)


def test_an_image_encoder_that_cannot_be_parted_is_refused_and_nothing_is_frozen_halfway() -> None:
    retriever = Retriever.build(replace(CONFIG, image_encoder=ImageEncoderConfig(levels=(2,))), ["red"])
    with pytest.raises(ConfigError, match=r"train\.frozen_levels=1: this image encoder can only be frozen whole"):
        retriever.freeze([], levels=1)
    with pytest.raises(UnknownNameError, match="part to freeze"):
        retriever.freeze(["image_encoder", "nose"], levels=2)
    retriever.train()
    assert all(module.training for module in retriever.image_encoder.modules())
    assert all(parameter.requires_grad for parameter in retriever.parameters())


def test_rows_of_words_alone_have_the_query_that_words_alone_have() -> None:
    retriever = model()
    pixels, references = torch.rand(3, 3, 16, 24), torch.tensor([0, -1, 2, -1])
    tokens = retriever.tokenizer(["make red cube", "make blue cube", "red cube", "blue"])
    with torch.inference_mode():
        queries, _ = retriever(pixels, references, torch.tensor([1, 1, 0, 2]), tokens)
    alone = retriever.embed_queries(None, ["make blue cube", "blue"])
    assert torch.allclose(queries[[1, 3]], alone, atol=1e-5)
    with torch.inference_mode():
        rest, _ = retriever(
            pixels, references[[0, 2]], torch.tensor([1, 0]), retriever.tokenizer(["make red cube", "red cube"])
        )
    assert torch.allclose(queries[[0, 2]], rest, atol=1e-5)


def test_runs_that_share_results_share_the_views_of_the_same_image_encoder_alone() -> None:
    retriever, data, wanted = model(), triplets(4), np.arange(8)
    plain = replace(VIEWS, views=1)
    other = model()
    with torch.no_grad():
        next(other.image_encoder.parameters()).add_(1.0)
    with share_results():
        first = make_views(retriever, data.images, wanted, plain)
        assert make_views(model(), data.images, wanted, replace(plain, seed=5)) is first
        assert make_views(other, data.images, wanted, plain) is not first
    assert make_views(retriever, data.images, wanted, plain) is not make_views(retriever, data.images, wanted, plain)
    with share_results():
        first = make_views(retriever, data.images, wanted, VIEWS)
        assert make_views(retriever, data.images, wanted, replace(VIEWS, seed=5)) is not first
