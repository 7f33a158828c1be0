"""Losses, derived again the slow way."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from itma.errors import ConfigError
from itma.training.distillation import DistillationOptions, distillation
from itma.training.hard_negatives import HardNegatives, HardNegativesOptions, hardest_hinge
from itma.training.losses import (
    Classification,
    ClassificationOptions,
    LossBatch,
    batch_classification,
    grade_rest,
    soft_triplet,
)
from itma.training.memory_bank import MemoryBank, MemoryBankOptions

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
def test_further_images_are_negatives_once_each_and_never_where_they_are_targets(
    labels: list[int], others: list[int], seed: int
) -> None:
    N = len(labels)
    logits = rows(N, seed) @ rows(N + len(others), seed + 1).T
    slow = 0.0
    for i, label in enumerate(labels):
        against = [j for j in range(N) if j == i or labels[j] != label]
        for number, other in enumerate(others):
            if other not in labels and other not in others[:number]:
                against.append(N + number)
        slow -= math.log(math.exp(logits[i, i]) / sum(math.exp(logits[i, j]) for j in against)) / N
    loss = batch_classification(logits, torch.tensor(labels), others=torch.tensor(others))
    assert loss.item() == pytest.approx(slow)


@given(LABELS, st.integers(0, 99), st.sampled_from([1.0, 3.0, 5.0]))
def test_the_rest_is_compared_with_shares_that_fall_with_every_aspect_that_differs(
    labels: list[int], seed: int, weight: float
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
                weight if aspect == 0 or wanted[i, aspect] != references[i, aspect] else 1
                for aspect in range(4)
                if wanted[i, aspect] != wanted[j, aspect] and min(wanted[i, aspect], wanted[j, aspect]) >= 0
            )
            for j in rest
        ]
        shares = [math.exp(-one) / sum(math.exp(-other) for other in apart) for one in apart]
        scores = [math.exp(logits[i, j]) / sum(math.exp(logits[i, k]) for k in rest) for j in rest]
        slow.append(sum(p * (math.log(p) - math.log(q)) for p, q in zip(shares, scores, strict=True)))
    twice = torch.tensor(labels * 2)
    loss = grade_rest(logits, twice, wanted=wanted, references=references, others=wanted, changed=weight)
    assert loss.item() == pytest.approx(sum(slow) / len(slow) if slow else 0.0, abs=1e-6)


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


@given(LABELS, st.integers(0, 99), st.booleans())
def test_the_hinge_is_on_the_hardest_negative_by_rows_and_by_columns(
    labels: list[int], seed: int, semi_hard: bool
) -> None:
    N = len(labels)
    scores = rows(N, seed) @ rows(N, seed + 1).T
    slow = 0.0
    for i in range(N):
        for against in ([scores[i, j] for j in range(N)], [scores[j, i] for j in range(N)]):
            wrong = [against[j] for j in range(N) if labels[j] != labels[i]]
            wrong = [score for score in wrong if not semi_hard or score < scores[i, i]]
            slow += max(0.0, 0.5 + float(max(wrong)) - float(scores[i, i])) / N if wrong else 0.0
    loss = hardest_hinge(scores, torch.tensor(labels), margin=0.5, semi_hard=semi_hard)
    assert loss.item() == pytest.approx(slow)


def batch_of(labels: list[int], seed: int) -> LossBatch:
    queries, targets = (torch.nn.functional.normalize(rows(len(labels), seed + shift), dim=1) for shift in (0, 1))
    return LossBatch(queries, targets.requires_grad_(), torch.tensor(labels), torch.tensor(2.0, dtype=torch.float64))


def test_the_hinge_does_not_depend_on_the_scale() -> None:
    loss, batch = HardNegatives(HardNegativesOptions(margin=1.0)), batch_of([0, 1, 2], 0)
    longer = LossBatch(batch.queries, batch.targets, batch.labels, 3 * batch.scale)
    assert loss(batch) == loss(longer) > 0


def test_a_row_without_negatives_adds_nothing_to_the_hinge_nor_to_its_gradient() -> None:
    scores = torch.randn(2, 2, requires_grad=True)
    amount = hardest_hinge(scores, torch.tensor([4, 4]))
    amount.backward()
    assert amount == 0 and scores.grad is not None and not scores.grad.any()


def test_a_bank_compares_with_the_newest_targets_of_earlier_batches() -> None:
    bank = MemoryBank(MemoryBankOptions(size=4))
    batches = [batch_of([0, 1], 0), batch_of([2, 3, 0], 10), batch_of([5, 2], 20)]
    for batch in batches[:2]:
        bank(batch)
    amount = bank(batches[2])
    first, second, third = batches
    remembered = torch.cat([second.targets, first.targets[:1]])  # labels 2, 3, 0 and 0; of size 4
    logits = third.scale**2 * third.queries @ torch.cat([third.targets, remembered]).T.detach()
    slow = 0.0
    for i in range(2):
        against = [0, 1, 3, 4]  # not the older of the two of label 0, nor that of label 2, which the batch has itself
        slow -= math.log(math.exp(logits[i, i]) / sum(math.exp(logits[i, j]) for j in against)) / 2
    assert amount.item() == pytest.approx(slow)


def test_a_bank_is_empty_at_first() -> None:
    batch = batch_of([0, 1, 2], 0)
    assert MemoryBank()(batch) == batch_classification(batch.scores(batch.targets), batch.labels)


def test_what_a_bank_remembers_gets_no_gradient() -> None:
    bank, first, second = MemoryBank(), batch_of([0, 1], 0), batch_of([2, 3], 10)
    bank(first)
    bank(second).backward()
    assert first.targets.grad is None and second.targets.grad is not None


@pytest.mark.parametrize("margin", [0, -0.1, 2.1, float("nan")])
def test_a_margin_that_no_cosine_has_is_refused(margin: float) -> None:
    with pytest.raises(ConfigError, match=r"margin=.* must be a cosine above 0"):
        HardNegativesOptions(margin)


def test_a_bank_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="size=0 must be at least 1"):
        MemoryBankOptions(0)


def test_both_ways_average_the_loss_of_queries_and_of_targets() -> None:
    batch = batch_of([0, 1, 2, 0], 0)
    there = batch_classification(batch.scores(batch.targets), batch.labels)
    back = batch_classification(batch.scores(batch.targets).T, batch.labels)
    assert there != back
    assert Classification(ClassificationOptions(both_ways=True))(batch) == (there + back) / 2


@given(LABELS, st.integers(0, 99), st.sampled_from([0.5, 1.0, 4.0]))
def test_distillation_is_the_divergence_from_the_teachers_shares(
    labels: list[int], seed: int, temperature: float
) -> None:
    N = len(labels)
    scores, teacher = (rows(N, seed + one) @ rows(N, seed + one + 1).T for one in (0, 2))
    slow = 0.0
    for i in range(N):
        against = [j for j in range(N) if j == i or labels[j] != labels[i]]
        each = [[math.exp(table[i, j] / temperature) for j in against] for table in (teacher, scores)]
        wanted, actual = ([one / sum(part) for one in part] for part in each)
        slow += sum(p * math.log(p / q) for p, q in zip(wanted, actual, strict=True)) / N
    amount = distillation(scores, teacher, torch.tensor(labels), temperature=temperature)
    assert amount.item() == pytest.approx(slow * temperature**2, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"temperature": 0.0}, r"temperature=0\.0 must be above 0"), ({"weight": 1.5}, r"weight=1\.5 must be a share")],
)
def test_distillation_that_cannot_be_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DistillationOptions("runs/teacher", **options)


def test_a_loss_that_builds_on_the_classification_decides_by_itself_what_it_reads() -> None:
    class Own(Classification):
        @property
        def reads_references(self) -> bool:
            return True

    assert Own().reads_references and not Classification().reads_references
    assert Classification(ClassificationOptions(reference_negatives=True)).reads_references
