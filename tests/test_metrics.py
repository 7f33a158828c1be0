"""What a protocol can ask for besides recall: derived again the slow way, and refused where the data lack it."""

from dataclasses import replace

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from itma.data.triplets import METRICS, Protocol, Task, Track, Triplets, by_label, pad
from itma.errors import ConfigError, DataError, UnknownNameError
from itma.evaluation import evaluate
from itma.evaluation.evaluate import first_of, score
from itma.evaluation.ranking import average_precision, rank_each_target, rank_in_subsets
from tests import made_up


@given(
    scores=arrays.arrays(np.float32, (3, 6), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    targets=arrays.arrays(np.int64, (3, 3), elements=st.integers(-1, 5)),
    excluded=arrays.arrays(np.int64, 3, elements=st.integers(-1, 5)),
    block=st.sampled_from([1, 7, 100]),
)
def test_ranks_of_all_targets_are_those_of_a_sort(
    scores: np.ndarray, targets: np.ndarray, excluded: np.ndarray, block: int
) -> None:
    own = [list(dict.fromkeys(image for image in row if image >= 0)) for row in targets.tolist()]
    table = np.full((3, 3), -1)
    for row, some in enumerate(own):
        table[row, : len(some)] = some
    parts = (torch.as_tensor(part) for part in (scores, np.eye(6, dtype=np.float32), table, excluded))
    ranks = rank_each_target(*parts, block=block)
    for row in range(3):
        pool = [image for image in range(6) if image != excluded[row]]
        order = sorted(pool, key=lambda image: (-scores[row, image], image not in own[row]))
        expected = [rank for rank, image in enumerate(order, start=1) if image in own[row]]
        assert ranks[row].tolist() == expected + [0] * (3 - len(expected))


@given(
    scores=arrays.arrays(np.float32, (4, 6), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    subsets=arrays.arrays(np.int64, (4, 3), elements=st.integers(-1, 5)),
)
def test_ranks_in_subsets_count_those_that_score_higher(scores: np.ndarray, subsets: np.ndarray) -> None:
    targets = np.arange(4)
    parts = (torch.as_tensor(part) for part in (scores, np.eye(6, dtype=np.float32), targets, subsets))
    expected = [
        1 + sum(image >= 0 and scores[row, image] > scores[row, row] for image in subsets[row]) for row in range(4)
    ]
    assert rank_in_subsets(*parts).rank.tolist() == expected


def test_average_precision_divides_by_what_k_images_could_hold() -> None:
    ranks = np.array([[1, 2, 3, 0]])
    assert average_precision(ranks, np.array([4]), k=2).tolist() == [1.0]
    assert average_precision(ranks, np.array([4]), k=10).tolist() == [0.75]


def test_average_precision_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="query 1 of 2 has no targets"):
        average_precision(np.zeros((2, 1), dtype=np.int64), np.array([1, 0]), k=5)
    with pytest.raises(ConfigError, match="not 0"):
        average_precision(np.zeros((1, 1), dtype=np.int64), np.array([1]), k=0)


def asking(triplets: Triplets, **metrics: tuple[int, ...]) -> Protocol:
    return replace(by_label(triplets), metrics=metrics)


def test_every_metric_that_a_protocol_can_ask_for_can_be_measured() -> None:
    assert tuple(evaluate._MEASURES) == METRICS


def test_metrics_are_checked_when_a_protocol_is_made() -> None:
    with pytest.raises(UnknownNameError, match="unknown metric 'ndcg'"):
        asking(made_up.triplets(4), ndcg=(5,))
    with pytest.raises(DataError, match="ks of 1 and more"):
        asking(made_up.triplets(4), map=(0,))


def test_recall_within_subsets_needs_subsets() -> None:
    triplets, gallery = made_up.triplets(4), np.eye(8)
    with pytest.raises(DataError, match="made-up/train has no subsets"):
        score(triplets, asking(triplets, recall_subset=(1,)), gallery[triplets.targets], gallery)


def test_a_target_outside_of_its_subset_is_named() -> None:
    with pytest.raises(DataError, match="row 2: its target is not in its subset"):
        replace(made_up.triplets(2), subsets=np.array([[0, 2], [1, 0]]))


@pytest.mark.parametrize("field", ["further_targets", "subsets"])
def test_tables_of_another_size_or_outside_the_images_are_refused(field: str) -> None:
    with pytest.raises(DataError, match=r"of shape \(1, 2\); expected \(2, most\)"):
        replace(made_up.triplets(2), **{field: np.zeros((1, 2), dtype=np.int64)})
    with pytest.raises(DataError, match="lies outside the 4 images"):
        replace(made_up.triplets(2), **{field: np.array([[2, 9], [3, -1]])})


def test_rows_that_are_chosen_keep_their_targets_and_subsets() -> None:
    whole = replace(made_up.triplets(2), further_targets=pad([[0], [1, 2]]), subsets=np.array([[0, 2], [1, 3]]))
    chosen = whole.only(np.array([1]))
    assert chosen.further_targets is not None and chosen.further_targets.tolist() == [[1, 2]]
    assert chosen.subsets is not None and chosen.subsets.tolist() == [[1, 3]]


def test_the_mean_over_tasks_is_that_of_each_task_s_own_mean() -> None:
    triplets, gallery = made_up.triplets(4), np.eye(8)
    tasks = tuple(Task(name, np.array(rows), np.arange(8)) for name, rows in (("a", [0]), ("b", [1, 2, 3])))
    queries = gallery[triplets.targets]
    queries[1:] = 0.0
    queries[1:, 0] = 1.0  # another image stands before each target of the second task
    report = score(triplets, Protocol("two", "", tasks, metrics={"map": (1,)}), queries, gallery).report
    assert [part.metrics["map"][1] for part in report.parts] == [1.0, 0.0]
    assert report.metrics["map"][1] == 0.5 and 0 <= report.metric_intervals["map"][1].low <= 0.5


def test_answers_leave_the_reference_out_or_in_as_the_track_says() -> None:
    triplets, gallery = made_up.triplets(2), np.eye(4)
    task = Task("", np.arange(2), np.arange(4))
    queries = 2 * gallery[triplets.references] + gallery[triplets.targets]
    without, within = first_of(triplets, [Track((task,), 1), Track((task,), 1, False)], queries, gallery)
    assert [image.tolist() for image in without] == [[2], [3]]
    assert [image.tolist() for image in within] == [[0], [1]]
