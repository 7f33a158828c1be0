"""Ranks and recall, derived again the slow and obvious way."""

from collections.abc import Sequence
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itma.errors import ConfigError, DataError
from itma.evaluation import ranking
from itma.evaluation.ranking import (
    Ranks,
    bootstrap_interval,
    mean_reciprocal_rank,
    median_rank,
    rank_targets,
    recall_at,
)


class Task(NamedTuple):
    """Small whole numbers as embeddings: float32 products are exact, and ties abound."""

    queries: list[list[int]]
    gallery: list[list[int]]
    query_labels: list[int]
    gallery_labels: list[int]
    excluded: list[int]

    def ranks(self, block: int) -> Ranks:
        return rank_targets(
            torch.tensor(self.queries, dtype=torch.float32),
            torch.tensor(self.gallery, dtype=torch.float32),
            torch.tensor(self.query_labels),
            torch.tensor(self.gallery_labels),
            torch.tensor(self.excluded),
            block=block,
        )


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    dim, images, queries = draw(st.integers(1, 3)), draw(st.integers(1, 12)), draw(st.integers(1, 6))
    vector = st.lists(st.integers(-2, 2), min_size=dim, max_size=dim)
    labels = draw(st.lists(st.integers(0, 3), min_size=images, max_size=images))
    return Task(
        draw(st.lists(vector, min_size=queries, max_size=queries)),
        draw(st.lists(vector, min_size=images, max_size=images)),
        draw(st.lists(st.sampled_from(labels), min_size=queries, max_size=queries)),
        labels,
        draw(st.lists(st.integers(-1, images - 1), min_size=queries, max_size=queries)),
    )


def slow_rank(task: Task, query: int) -> tuple[int, int, int] | None:
    """(rank, ties, best) by sorting all scores, or nothing where there is no target."""
    scores = {
        index: sum(a * b for a, b in zip(task.queries[query], image, strict=True))
        for index, image in enumerate(task.gallery)
        if index != task.excluded[query]
    }
    order = sorted(scores, key=lambda index: -scores[index])
    targets = [index for index in order if task.gallery_labels[index] == task.query_labels[query]]
    if not targets:
        return None
    level = scores[targets[0]]
    rank = next(number for number, index in enumerate(order, start=1) if scores[index] == level)
    ties = [index for index in order if scores[index] == level and index not in targets]
    return rank, len(ties), order[0]


@settings(max_examples=200)
@given(tasks(), st.sampled_from([1, 2, 7, 64, 130, 400, 10_000]), st.tuples(*[st.sampled_from([1, 2, 3, 500])] * 4))
def test_ranks_ties_and_best_are_those_of_a_full_sort(task: Task, block: int, parts: tuple[int, ...]) -> None:
    expected = [slow_rank(task, query) for query in range(len(task.queries))]
    sizes = dict(zip(("_TILE", "_GROUP", "_PAIRS", "_MOST_QUERIES"), parts, strict=True))
    with patch.multiple(ranking, **sizes):  # the tasks are small, and are to be cut everywhere all the same
        if None in expected:
            with pytest.raises(DataError, match=f"{expected.count(None)} of {len(expected)} queries have no target"):
                task.ranks(block)
        else:
            actual = task.ranks(block)
            assert list(zip(*(part.tolist() for part in actual), strict=True)) == expected


@pytest.mark.parametrize("block", [64, 700, 64 * 40, 2**23])
def test_the_block_changes_no_rank_of_real_embeddings(block: int) -> None:
    queries, gallery = unit_rows(50, 16), unit_rows(300, 16)
    labels = torch.arange(300) % 40
    ranks = rank_targets(queries, gallery, labels[:50], labels, torch.arange(50), block=block)
    scores = (queries.double() @ gallery.double().T).numpy()
    for query in range(50):
        others = [index for index in range(300) if index != query]
        best = max(scores[query, index] for index in others if labels[index] == labels[query])
        assert ranks.rank[query] == 1 + sum(scores[query, index] > best for index in others)


def unit_rows(rows: int, dim: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(rows, dim), dim=1)


def test_embeddings_that_were_computed_with_gradients_are_ranked_alike() -> None:
    rows, labels = unit_rows(5, 4), torch.arange(5)
    plain = rank_targets(rows, rows, labels, labels)
    assert torch.equal(plain.rank, rank_targets(rows.clone().requires_grad_(), rows, labels, labels).rank)


def test_the_reference_takes_no_part_even_where_it_carries_the_label() -> None:
    gallery, labels = torch.eye(3), torch.tensor([0, 0, 1])
    query = torch.tensor([[1.0, 0.2, 0.5]])
    ranks = rank_targets(query, gallery, labels[:1], labels, torch.tensor([0]))
    assert (ranks.rank.item(), ranks.best.item()) == (2, 2)


def test_a_tie_does_not_lower_the_rank_and_is_counted() -> None:
    gallery, labels = torch.tensor([[1.0], [1.0], [1.0], [0.5]]), torch.tensor([0, 1, 2, 3])
    ranks = rank_targets(torch.tensor([[1.0]]), gallery, labels[1:2], labels)
    assert (ranks.rank.item(), ranks.ties.item(), ranks.best.item()) == (1, 2, 0)


def test_another_target_of_the_same_score_is_no_tie() -> None:
    labels = torch.tensor([0, 0])
    assert rank_targets(torch.ones(1, 1), torch.ones(2, 1), labels[:1], labels).ties.item() == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["query", "gallery"])
def test_embeddings_that_are_not_finite_are_refused_with_their_row(where: str, value: float) -> None:
    queries, gallery, labels = torch.ones(4, 2), torch.ones(4, 2), torch.zeros(4, dtype=torch.int64)
    (queries if where == "query" else gallery)[2, 1] = value
    with pytest.raises(DataError, match=f"1 of 4 {where} embeddings are not finite.*row 2"):
        rank_targets(queries, gallery, labels, labels)


def test_no_queries_give_no_ranks() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert rank_targets(torch.zeros(0, 3), torch.ones(2, 3), none, torch.tensor([0, 1])).rank.tolist() == []


def test_an_empty_gallery_holds_no_target() -> None:
    with pytest.raises(DataError, match="1 of 1 queries have no target among the 0 gallery images"):
        rank_targets(torch.ones(1, 3), torch.ones(0, 3), torch.tensor([0]), torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 3), (4, 5), 2, 4, 2), r"\(2, 3\) and gallery \(4, 5\) do not fit"),
        (((2, 3), (4, 3), 1, 4, 2), "2 queries came with 1 labels"),
        (((2, 3), (4, 3), 2, 4, 1), "1 excluded images were given for 2 queries"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_by_number(shapes: Sequence[object], message: str) -> None:
    queries, gallery, query_labels, gallery_labels, excluded = (torch.zeros(shape) for shape in shapes)  # type: ignore[call-overload]
    with pytest.raises(DataError, match=message):
        rank_targets(queries, gallery, query_labels, gallery_labels, excluded.long())


def test_an_excluded_image_outside_the_gallery_is_refused() -> None:
    labels = torch.tensor([0])
    with pytest.raises(DataError, match="outside the gallery of 1"):
        rank_targets(torch.ones(1, 1), torch.ones(1, 1), labels, labels, torch.tensor([1]))


def test_a_block_of_nothing_is_refused() -> None:
    labels = torch.tensor([0])
    with pytest.raises(ConfigError, match="block=0"):
        rank_targets(torch.ones(1, 1), torch.ones(1, 1), labels, labels, block=0)


ranks_given = st.lists(st.integers(1, 60), min_size=1, max_size=50)


@given(ranks_given, st.lists(st.integers(1, 70), min_size=1, max_size=4, unique=True))
def test_recall_is_the_share_of_ranks_up_to_k(ranks: list[int], ks: list[int]) -> None:
    expected = {k: len([rank for rank in ranks if rank <= k]) / len(ranks) for k in ks}
    assert recall_at(np.array(ranks), ks) == pytest.approx(expected)


@given(ranks_given)
def test_median_and_mean_reciprocal_rank_are_those_of_the_definition(ranks: list[int]) -> None:
    ordered = sorted(ranks)
    middle = (ordered[(len(ranks) - 1) // 2] + ordered[len(ranks) // 2]) / 2
    assert median_rank(np.array(ranks)) == middle
    assert mean_reciprocal_rank(np.array(ranks)) == pytest.approx(sum(1 / rank for rank in ranks) / len(ranks))


def test_recall_at_0_is_refused() -> None:
    with pytest.raises(ConfigError, match="not at 0"):
        recall_at(np.array([1]), (0, 5))


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(DataError, match="no queries"):
        recall_at(np.array([], dtype=np.int64), (1,))


def test_the_interval_is_that_of_drawing_queries_one_by_one() -> None:
    values = np.random.default_rng(1).random(60)
    random = np.random.default_rng(2)
    means = [random.choice(values, len(values)).mean() for _ in range(4000)]
    interval = bootstrap_interval(values, resamples=4000)
    assert [interval.low, interval.high] == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist(), abs=0.01)


@given(ranks_given, st.integers(0, 5))
def test_the_interval_holds_the_recall_and_depends_on_the_seed_alone(ranks: list[int], seed: int) -> None:
    hits = np.array(ranks) <= 10
    interval = bootstrap_interval(hits, seed=seed)
    assert 0 <= interval.low <= hits.mean() <= interval.high <= 1
    assert interval == bootstrap_interval(hits, seed=seed)


@pytest.mark.gpu
def test_ranks_on_a_gpu_are_those_on_the_cpu() -> None:
    task = [torch.randint(-3, 4, (200, 8)).float(), torch.randint(-3, 4, (500, 8)).float()]
    labels = torch.arange(500) % 200
    arguments = [*task, labels[:200], labels, torch.arange(200)]
    here = rank_targets(*arguments, block=4096)
    there = rank_targets(*(part.cuda() for part in arguments), block=4096)
    assert all(torch.equal(a, b.cpu()) for a, b in zip(here, there, strict=True))
