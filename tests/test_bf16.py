"""Answers in bf16: near those in float32, remembered by a catalogue, and float32 where there is no bf16."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import itma
from itma import device
from itma.device import knows_bf16
from itma.export import runtimes
from itma.models.retriever import Retriever
from itma.retrieval.catalogue import Catalogue
from itma.training.loop import Measures, train
from tests import made_up

SAID = ["make the red cube blue", "make blue cube"]
has_bf16 = knows_bf16(torch.device("cpu"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("bf16") / "run"
    made_up.model().save(folder)
    return folder


@pytest.fixture(scope="module")
def indexed(run: Path) -> Path:
    """A catalogue of six images."""
    photos = run.parent / "photos"
    photos.mkdir()
    made_up.photos(photos, [f"{number}.jpg" for number in range(6)])
    itma.index(run, photos, run.parent / "catalogue", runtime="torch-bf16")
    return run.parent / "catalogue"


def embeddings(model: Retriever) -> torch.Tensor:
    pixels = made_up.triplets().images.load(range(2), model.preprocess)
    return torch.cat([model.embed_images(pixels), model.embed_queries(pixels, SAID)])


def opened(run: Path, runtime: str) -> Retriever:
    model = runtimes.open_model(run, runtime=runtime)
    assert isinstance(model, Retriever)
    return model


def test_bf16_answers_nearly_as_float32_does_and_is_the_same_model(run: Path) -> None:
    exact, low = opened(run, "torch"), opened(run, "torch-bf16")
    assert (low.runtime, low.fingerprint()) == ("torch-bf16", exact.fingerprint())
    first, second = embeddings(exact), embeddings(low)
    assert second.dtype == torch.float32
    assert float((first * second).sum(1).min()) > 0.999
    assert torch.equal(first, second) is not has_bf16
    assert torch.allclose(second.norm(dim=1), torch.ones(4))


def test_feature_maps_of_bf16_are_float32(run: Path) -> None:
    model = opened(run, "torch-bf16")
    pixels = made_up.triplets().images.load(range(2), model.preprocess)
    assert {level.dtype for level in model.feature_maps(pixels)} == {torch.float32}


def test_a_processor_without_bf16_answers_in_float32_and_says_so(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (runtimes, device):
        monkeypatch.setattr(module, "knows_bf16", lambda device: False)
    with caplog.at_level(logging.INFO):
        low = opened(run, "torch-bf16")
    assert "does not compute in bf16" in caplog.text
    assert torch.equal(embeddings(low), embeddings(opened(run, "torch")))


def test_a_catalogue_remembers_bf16_and_float32_searches_it_too(indexed: Path) -> None:
    low, exact = (Catalogue.open(indexed, runtime=runtime) for runtime in (None, "torch"))
    assert low.snapshot.model.runtime == "torch-bf16"
    hits, others = (catalogue.search(id="3.jpg", text=SAID[0], k=5) for catalogue in (low, exact))
    scores = {hit.id: hit.score for hit in others}
    assert all(abs(hit.score - scores[hit.id]) < 0.02 for hit in hits)


def test_what_bf16_found_can_be_explained(indexed: Path) -> None:
    explanation = itma.explain(indexed, id="3.jpg", text=SAID[0])
    assert explanation.words


def test_a_training_in_bf16_is_measured_in_bf16_and_leaves_a_model_of_float32(tmp_path: Path) -> None:
    def look(model: Retriever) -> Measures:
        precisions.append(model.precision)
        return Measures({"validation/recall@1": 0.5}, {})

    precisions: list[str] = []
    model = made_up.model()
    config = replace(made_up.TRAIN, precision="bf16", steps=4)
    train(model, made_up.triplets(), config, tmp_path / "run", look=look)
    assert (precisions, model.precision) == (["bf16", "bf16"], "float32")
