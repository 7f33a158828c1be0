"""Losses, derived again the slow way."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from itma.training.losses import batch_classification, graded_rest, soft_triplet

LABELS = st.lists(st.integers(0, 4), min_size=2, max_size=7)


def rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(LABELS, st.integers(0, 99))
def test_classification_is_the_mean_cross_entropy_without_duplicates_of_the_target(
    labels: list[int], seed: int
) -> None:
    logits = rows(len(labels), seed) @ rows(len(labels), seed + 1).T
    slow = 0.0
    for i, label in enumerate(labels):
        others = [math.exp(logits[i, j]) for j in range(len(labels)) if j == i or labels[j] != label]
        slow -= math.log(math.exp(logits[i, i]) / sum(others)) / len(labels)
    assert batch_classification(logits, torch.tensor(labels)).item() == pytest.approx(slow)


@given(LABELS, st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(0, 99))
def test_further_pictures_are_negatives_once_each_and_never_where_they_are_targets(
    labels: list[int], others: list[int], seed: int
) -> None:
    N = len(labels)
    logits = rows(N, seed) @ rows(N + len(others), seed + 1).T
    slow = 0.0
    for i, label in enumerate(labels):
        against = [j for j in range(N) if j == i or labels[j] != label]
        for place, other in enumerate(others):
            if other not in labels and other not in others[:place]:
                against.append(N + place)
        slow -= math.log(math.exp(logits[i, i]) / sum(math.exp(logits[i, j]) for j in against)) / N
    found = batch_classification(logits, torch.tensor(labels), others=torch.tensor(others))
    assert found.item() == pytest.approx(slow)


@given(LABELS, st.integers(0, 99), st.sampled_from([1.0, 3.0, 5.0]))
def test_the_rest_is_compared_with_shares_that_fall_with_every_aspect_that_differs(
    labels: list[int], seed: int, asked: float
) -> None:
    N = len(labels)
    logits = rows(N, seed) @ rows(N, seed + 1).T
    random = torch.Generator().manual_seed(seed)
    wanted, references = (torch.randint(-1, 3, (N, 4), generator=random) for _ in range(2))
    slow = []
    for i in range(N):
        rest = [j for j in range(N) if labels[j] != labels[i]]
        if not rest:
            continue
        apart = [
            sum(
                asked if aspect == 0 or wanted[i, aspect] != references[i, aspect] else 1
                for aspect in range(4)
                if wanted[i, aspect] != wanted[j, aspect] and min(wanted[i, aspect], wanted[j, aspect]) >= 0
            )
            for j in rest
        ]
        shares = [math.exp(-one) / sum(math.exp(-other) for other in apart) for one in apart]
        scores = [math.exp(logits[i, j]) / sum(math.exp(logits[i, k]) for k in rest) for j in rest]
        slow.append(sum(p * (math.log(p) - math.log(q)) for p, q in zip(shares, scores, strict=True)))
    twice = torch.tensor(labels * 2)
    found = graded_rest(logits, twice, wanted=wanted, references=references, others=wanted, asked=asked)
    assert found.item() == pytest.approx(sum(slow) / len(slow) if slow else 0.0, abs=1e-6)


@given(LABELS, st.integers(0, 99))
def test_soft_triplet_is_the_mean_over_all_triplets_of_the_published_definition(labels: list[int], seed: int) -> None:
    queries, targets = rows(len(labels), seed), rows(len(labels), seed + 1)
    everything, both, N = torch.cat([queries, targets]), labels + labels, len(labels)
    losses = [
        math.log(
            1
            + math.exp((everything[a] - everything[p]).square().sum() - (everything[a] - everything[n]).square().sum())
        )
        for a in range(2 * N)
        for p in [(a + N) % (2 * N)]
        for n in range(2 * N)
        if both[n] != both[a]
    ]
    expected = sum(losses) / len(losses) if losses else 0.0
    assert soft_triplet(queries, targets, torch.tensor(labels)).item() == pytest.approx(expected)


def test_both_losses_fall_where_queries_move_to_their_targets() -> None:
    targets = torch.nn.functional.normalize(rows(6, 0), dim=1)
    away, near, labels = torch.nn.functional.normalize(rows(6, 1), dim=1), targets, torch.arange(6)
    assert batch_classification(16 * near @ targets.T, labels) < batch_classification(16 * away @ targets.T, labels)
    assert soft_triplet(near, targets, labels) < soft_triplet(away, targets, labels)
