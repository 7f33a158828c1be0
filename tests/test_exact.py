"""Searching among all embeddings, rounded ones first."""

import numpy as np
import pytest
import torch

from itma.retrieval import exact
from itma.retrieval.exact import nearest


def adversarial(kind: str, random: np.random.Generator) -> np.ndarray:
    """(1024, 64) of length 1, whose order is hard to tell by rounded numbers."""
    rows = random.standard_normal((1024, 64))
    if kind == "near-equal":
        rows = random.standard_normal(64) + 10.0 ** random.uniform(-7, -3, (1024, 1)) * rows
    elif kind == "copies":
        rows = rows[random.integers(0, 40, 1024)]
    elif kind == "tiny":
        rows *= 10.0 ** random.uniform(-9, 0, (1024, 64))
    elif kind == "whole numbers":
        rows = random.integers(-1, 2, (1024, 64)) + np.eye(1024, 64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("kind", ["drawn", "near-equal", "copies", "tiny", "whole numbers"])
def test_a_product_with_rounded_embeddings_first_gives_the_same_answers(kind: str) -> None:
    random = np.random.Generator(np.random.PCG64(5))
    rows, names = adversarial(kind, random), [f"{row:04d}" for row in random.permutation(1024)]
    rounded = torch.from_numpy(rows).half()
    for number in range(20):
        query = rows[number : number + 1] + (number % 3) * 0.02 * adversarial("drawn", random)[:1]
        query /= np.linalg.norm(query)
        for mask in (None, random.random(1024) < 0.9, random.random(1024) < 0.1):
            for k in (1, 10, 64, 65, 1024):
                plain = list(nearest(query, rows, names, k, mask))
                assert list(nearest(query, rows, names, k, mask, rounded)) == plain


def test_rounding_passes_over_no_row_that_may_be_among_the_nearest() -> None:
    random = np.random.Generator(np.random.PCG64(6))
    for kind in ("drawn", "near-equal", "copies", "tiny"):
        rows = adversarial(kind, random)
        near = exact._may_be_nearest(rows[0], torch.from_numpy(rows).half(), 20, None)
        scores = rows.astype(np.float64) @ rows[0].astype(np.float64)
        if near is None:
            assert kind in ("near-equal", "copies")  # there are too many
        else:
            assert set(np.argsort(-scores)[:20].tolist()) <= set(near.tolist())


def test_sums_of_float16_are_known_to_be_made_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exact._adds_in_float32()

    def lossy(rows: torch.Tensor, query: torch.Tensor) -> torch.Tensor:  # 32 sums side by side, each rounded to float16
        products = (rows * query).unflatten(1, (-1, 32))
        total = products[:, 0]
        for some in products.unbind(1)[1:]:
            total = total + some
        return total.sum(1)

    monkeypatch.setattr(torch, "mv", lossy)
    assert not exact._adds_in_float32.__wrapped__()
