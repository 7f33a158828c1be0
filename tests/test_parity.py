"""Published checkpoints answer here as they do in the published code.

The cases of `../shared/parity` (or `$ITMA_PARITY`) hold outputs of that code for weights and images made by a recipe.
"""

import json
import os
import runpy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from itma.interop.published import open_checkpoint, rebuild
from itma.models.retriever import Retriever
from itma.training.losses import batch_classification
from tests import published_checkpoints as published

PARITY = Path(os.environ.get("ITMA_PARITY") or Path(__file__).resolve().parents[2] / "shared" / "parity")
CASES = sorted(json.loads((PARITY / "cases.json").read_text())) if (PARITY / "cases.json").is_file() else []


@cache
def reference() -> Any:
    return SimpleNamespace(**runpy.run_path(str(PARITY / "reference.py")))


def away(actual: torch.Tensor, published: np.ndarray) -> float:
    """The largest difference, as a share of the largest distance from the batch's mean."""
    expected = torch.from_numpy(published).float()
    return float((actual - expected).abs().max() / (expected - expected.mean(0)).abs().max())


def raw(model: Retriever, images: torch.Tensor, sentences: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Query and gallery embeddings before they are scaled to length 1."""
    with torch.inference_mode():
        maps = model.image_encoder(images)
        words = None if model.text_encoder is None else model.text_encoder(model.tokenizer(sentences))
        return model.composer.embed_queries(maps, words), model.composer.embed_images(maps)


@pytest.mark.skipif(not CASES, reason=f"outputs of the published code are not in {PARITY}; name it in ITMA_PARITY")
@pytest.mark.parametrize("name", CASES or ["none"])
def test_a_published_checkpoint_answers_as_in_the_published_code(name: str, tmp_path: Path) -> None:
    case, expected = reference().cases()[name], np.load(PARITY / f"{name}.npz")
    reference().write_checkpoint(case, tmp_path / "original.pth")
    model, _ = rebuild(open_checkpoint(tmp_path / "original.pth"), case["vocabulary"])
    images = reference().images(4)
    queries, gallery = raw(model, images, case["texts"])
    assert away(queries, expected["query"]) < 1e-3
    assert away(gallery, expected["gallery"]) < 1e-3
    unit = torch.nn.functional.normalize
    logits = model.logits(unit(queries), unit(gallery).flip(0))
    loss = batch_classification(logits, torch.arange(4)).item()
    assert loss == pytest.approx(float(expected["loss"]), rel=1e-3)


@pytest.mark.parametrize("name", published.CASES)
def test_stored_answers_of_the_published_computation_are_ours(name: str, tmp_path: Path) -> None:
    model, _ = rebuild(open_checkpoint(published.write(tmp_path / "original.pth", name)), published.VOCABULARY)
    queries, gallery = raw(model, published.images(2), published.SENTENCES)
    expected_queries, expected_gallery = published.outputs(name)
    assert away(queries, expected_queries.numpy()) < 1e-3
    assert away(gallery, expected_gallery.numpy()) < 1e-3
    unit = torch.nn.functional.normalize
    published_logits = 16 * unit(expected_queries) @ unit(expected_gallery).flip(0).T  # 4² times the cosines
    by_hand = (published_logits.exp().sum(1).log() - published_logits.diagonal()).mean().item()
    logits = model.logits(unit(queries), unit(gallery).flip(0))
    assert batch_classification(logits, torch.arange(2)).item() == pytest.approx(by_hand, rel=1e-3, abs=1e-4)
