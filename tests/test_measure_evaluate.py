"""Evaluations: the numbers are those of the embeddings, and the image encoder does no work twice."""

import csv
import errno
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from itma.data.images import MemoryImages, Preprocess
from itma.data.triplets import Protocol, Task, Triplets, by_label
from itma.errors import ConfigError, DataError, StorageError
from itma.evaluation.evaluate import Evaluation, evaluate, score
from itma.models.retriever import Retriever
from tests import made_up

SIZE = Preprocess(height=2, width=3)


class Painter:
    """A stand-in for a retriever: an image's one brightness is its place on a circle, and a sentence turns it."""

    preprocess, name = SIZE, "painter"

    def __init__(self) -> None:
        self.encoder_saw: list[int] = []

    def feature_maps(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        self.encoder_saw += pixels[:, 0, 0, 0].tolist()
        return [pixels[:, :1, :1, :1].float()]

    def embed_images_from(self, maps: list[torch.Tensor]) -> torch.Tensor:
        return self.at(maps[0].flatten())

    def embed_queries_from(self, maps: list[torch.Tensor], feedback: Sequence[str]) -> torch.Tensor:
        return self.at(maps[0].flatten() + torch.tensor([float(sentence) for sentence in feedback]))

    @staticmethod
    def at(brightness: torch.Tensor) -> torch.Tensor:
        angle = brightness * (torch.pi / 256)
        return torch.stack([angle.cos(), angle.sin()], dim=1)


def images(number: int) -> MemoryImages:
    """Image i has the brightness 2·i."""
    values = 2 * torch.arange(number, dtype=torch.uint8)
    return MemoryImages([f"{index}.png" for index in range(number)], values[:, None, None, None].expand(-1, 3, 2, 3))


def walk(steps: Sequence[int], *, off: Sequence[float] | None = None) -> Triplets:
    """Query i goes from image 10·i by steps[i] images; its sentence is `off` by so much."""
    references = 10 * np.arange(len(steps))
    sentences = [str(2 * step + error) for step, error in zip(steps, off or [0.0] * len(steps), strict=True)]
    return Triplets("walk/test", images(40), np.arange(40), references, references + np.array(steps), sentences)


def measured(triplets: Triplets, painter: Painter | None = None, **options: object) -> Evaluation:
    return evaluate(cast(Retriever, painter or Painter()), triplets, **options)[0]  # type: ignore[arg-type]


def test_a_perfect_model_has_rank_1_everywhere() -> None:
    report = measured(walk([3, 1, 2])).report
    assert report.recall == {1: 1.0, 5: 1.0, 10: 1.0, 50: 1.0}
    assert (report.median_rank, report.mean_reciprocal_rank, report.tied_queries) == (1.0, 1.0, 0)


def test_ranks_count_the_images_in_between() -> None:
    assert measured(walk([5, 5, 5], off=[0.0, 2.1, -3.9])).ranks.tolist() == [1, 3, 4]


def test_the_reference_is_never_the_best() -> None:
    evaluation = measured(walk([1, 1], off=[-2.0, -2.0]))  # the sentence says: stay where you are
    assert evaluation.ranks.tolist() == [1, 1]
    assert [best in {(0, 1), (10, 9), (10, 11)} for best in zip([0, 10], evaluation.best, strict=True)] == [True, True]


def test_each_image_goes_through_the_image_encoder_once() -> None:
    painter, references = Painter(), np.array([7, 3, 7, 7, 30, 3, 7])
    triplets = Triplets("t", images(40), np.arange(40), references, references + 1, ["2"] * 7)
    assert measured(triplets, painter, batch=2).ranks.tolist() == [1] * 7
    assert painter.encoder_saw == [2 * index for index in range(40)]


def test_a_reference_outside_the_gallery_goes_through_the_image_encoder_too() -> None:
    painter, references = Painter(), np.array([7, 3, 30, 7])
    triplets = Triplets("t", images(40), np.arange(40), references, references + 1, ["2"] * 4)
    gallery = np.array([4, 8, 9, 12, 31])
    protocol = Protocol("some", "", (Task("some", np.arange(4), gallery),))
    assert measured(triplets, painter, protocols=(protocol,), batch=2).ranks.tolist() == [1] * 4
    assert painter.encoder_saw == [2 * index for index in (3, 4, 7, 8, 9, 12, 30, 31)]


@pytest.mark.parametrize("batch", [1, 3, 5, 1000])
def test_the_batch_changes_no_rank_of_a_real_model(batch: int) -> None:
    triplets, model = made_up.triplets(), made_up.model()
    rows = np.array([0, 5, 5, 5, 2, 0, 9, 31])
    triplets = replace(
        triplets,
        references=triplets.references[rows],
        targets=triplets.targets[rows],
        feedback=[triplets.feedback[row] for row in range(8)],
    )
    (evaluation,) = evaluate(model, triplets, batch=batch)
    pixels = triplets.images.load(range(64), model.preprocess)
    gallery = model.embed_images(pixels)
    for row in range(8):
        reference, target = int(triplets.references[row]), int(triplets.targets[row])
        scores = gallery @ model.embed_queries(pixels[reference : reference + 1], [triplets.feedback[row]])[0]
        higher = [index for index in range(64) if index != reference and scores[index] > scores[target] + 1e-6]
        assert evaluation.ranks[row] == 1 + len(higher)


def test_any_image_of_the_targets_label_counts() -> None:
    triplets = walk([5], off=[2.0])  # points at image 6, not 5
    labels = np.arange(40)
    labels[6] = 5
    assert measured(triplets).ranks.tolist() == [2]
    assert measured(replace(triplets, labels=labels)).ranks.tolist() == [1]


def test_recall_is_also_told_by_kind() -> None:
    triplets = replace(walk([5, 5, 5], off=[0, 2.1, 0]), kinds=["add", "add", "remove"])
    report = measured(triplets, protocols=[by_label(triplets, ks=(1, 5))]).report
    assert report.recall_by_kind == {"add": {1: 0.5, 5: 1.0}, "remove": {1: 1.0, 5: 1.0}}
    assert report.queries_by_kind == {"add": 2, "remove": 1}


def test_recall_is_also_told_by_other_ways_to_divide_the_queries() -> None:
    triplets = replace(walk([5, 5, 5], off=[0, 2.1, 0]), groups={"things": ["10", "9", "9"]})
    report = measured(triplets, protocols=[by_label(triplets, ks=(1, 5))]).report
    assert report.recall_by_group == {"things": {"9": {1: 0.5, 5: 1.0}, "10": {1: 1.0, 5: 1.0}}}
    assert list(report.recall_by_group["things"]) == ["9", "10"]
    assert report.queries_by_group == {"things": {"9": 2, "10": 1}}
    assert "recall@1 by things:\n    9          50.0% of 2" in str(report)
    with pytest.raises(DataError, match="2 parts by 'things' for 3 rows"):
        replace(triplets, groups={"things": ["1", "2"]})


def test_the_report_states_its_protocol_and_the_split() -> None:
    text = str(measured(walk([1]), model_name="Painter, 1 hour").report)
    assert "Painter, 1 hour: 1 queries against 40 images" in text
    assert "protocol: walk/test, by label: gallery = all images of the split; any image with the target's" in text
    assert "the reference is removed" in text


def test_the_seed_decides_the_intervals_and_they_hold_the_recall() -> None:
    triplets = walk([5, 5, 5, 1], off=[0, 2.1, 0, 4.1])
    first, again = measured(triplets).report, measured(triplets).report
    assert first == again
    assert all(first.interval[k].low <= first.recall[k] <= first.interval[k].high for k in (1, 5, 10, 50))


def test_intervals_can_be_left_out() -> None:
    assert measured(walk([1]), intervals=False).report.interval == {}


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="batch=0 must be at least 1"):
        measured(walk([1]), batch=0)
    for ks in ((0,), ()):
        with pytest.raises(DataError, match="ks of 1 and more"):
            by_label(walk([1]), ks=ks)


def test_no_queries_are_refused() -> None:
    none = np.zeros(0, dtype=np.int64)
    with pytest.raises(DataError, match="empty/test holds no queries"):
        measured(Triplets("empty/test", images(3), np.arange(3), none, none, []))


def test_a_query_whose_only_target_is_its_reference_is_named() -> None:
    with pytest.raises(DataError, match=r"1 of 2 queries have no target.*rows 1\)"):
        measured(walk([1, 0]))


def test_a_model_of_broken_weights_is_refused() -> None:
    model = made_up.model()
    with torch.no_grad():
        next(model.image_encoder.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="embeddings are not finite"):
        evaluate(model, made_up.triplets())


def test_top_gives_the_best_images_without_the_reference() -> None:
    (second, scores), (first, _) = measured(walk([5, 5, 5], off=[0.1, 2.1, 0.1])).top([1, 0], k=3)
    assert (second, first) == ([16, 17, 15], [5, 6, 4])
    assert scores == sorted(scores, reverse=True)


def test_top_gives_all_but_the_reference_where_more_are_wanted() -> None:
    ((best, _),) = measured(walk([5])).top([0], k=100)
    assert sorted(best) == list(range(1, 40))


def test_the_first_of_the_top_agrees_with_the_rank_and_the_best() -> None:
    triplets, model = made_up.triplets(), made_up.model()
    (evaluation,) = evaluate(model, triplets)
    tops = evaluation.top(range(32), k=1)
    assert [best[0] for best, _ in tops] == evaluation.best.tolist()
    assert [best[0] == target for (best, _), target in zip(tops, triplets.targets, strict=True)] == (
        evaluation.ranks == 1
    ).tolist()


# -- protocols --------------------------------------------------------------------------------------------------------

ASKED = walk([5, 5, 5, 1], off=[0.1, 2.1, -3.9, 0.1])
PARTS = Protocol(
    "walk/parts",
    "two parts",
    (Task("near", np.array([1, 0]), np.arange(20)), Task("far", np.array([3]), np.array([39, 31, 30, 20]))),
    ks=(1, 2),
)


def test_each_task_ranks_its_own_gallery_and_the_recall_is_the_mean_over_tasks() -> None:
    evaluation = measured(ASKED, protocols=[PARTS])
    assert evaluation.rows.tolist() == [1, 0, 3]
    assert evaluation.ranks.tolist() == [3, 1, 1]  # 16 and 17 before 15
    assert evaluation.best.tolist() == [16, 5, 31]
    report = evaluation.report
    assert [(part.name, part.queries, part.gallery, part.recall[1]) for part in report.parts] == [
        ("near", 2, 20, 0.5),
        ("far", 1, 4, 1.0),
    ]
    assert report.recall == {1: 0.75, 2: 0.75} and report.gallery == 24
    assert "mean recall@1" in str(report) and "far: 1 queries against 4 images" in str(report)
    assert [best for best, _ in evaluation.top([1, 2], k=2)] == [[5, 6], [31, 39]]


def test_several_protocols_share_one_embedding_pass() -> None:
    painter = Painter()
    by_parts, all_of_them = evaluate(cast(Retriever, painter), ASKED, protocols=[PARTS, by_label(ASKED)])
    assert painter.encoder_saw == [2 * index for index in range(40)]
    assert str(by_parts) == str(measured(ASKED, protocols=[PARTS]))
    assert str(all_of_them) == str(measured(ASKED))


def test_only_what_a_protocol_asks_is_embedded() -> None:
    painter = Painter()
    measured(ASKED, painter, protocols=[PARTS])
    assert painter.encoder_saw == [2 * index for index in [*range(20), 20, 30, 31, 39]]


def test_a_reference_that_is_kept_can_be_a_wrong_answer() -> None:
    triplets = walk([5], off=[-10.0])  # the sentence says: stay where you are
    protocol = replace(by_label(triplets), without_reference=False)
    assert measured(triplets).best.tolist() == [1]
    assert measured(triplets, protocols=[protocol]).best.tolist() == [0]
    assert measured(triplets, protocols=[protocol]).ranks.tolist() == measured(triplets).ranks.tolist()[0] + np.array(
        [1]
    )


def test_a_reference_outside_its_gallery_costs_nothing() -> None:
    outside = Protocol("far", "far", (Task("", np.array([0]), np.array([5, 6, 39])),))
    assert measured(ASKED, protocols=[outside]).ranks.tolist() == [1]


def test_aspects_count_where_they_alone_are_right() -> None:
    triplets = replace(walk([5], off=[2.1]), aspects={"tens": np.arange(40) // 10})
    report = measured(triplets, protocols=[by_label(triplets, ks=(1,))]).report
    assert report.recall == {1: 0.0} and report.recall_by_aspect == {"tens": {1: 1.0}}
    assert "right tens: recall @1 100.0%" in str(report)


def test_embeddings_alone_are_measured_as_those_of_the_model() -> None:
    painter = Painter()
    whole = measured(ASKED, protocols=[PARTS])
    gallery = painter.embed_images_from(painter.feature_maps(ASKED.images.load(range(40), SIZE))).numpy()
    rows = [ASKED.references[row] for row in range(4)]
    maps = painter.feature_maps(ASKED.images.load(rows, SIZE))
    queries = painter.embed_queries_from(maps, ASKED.feedback).numpy()
    alone = score(ASKED, PARTS, queries, gallery, model_name="painter")
    assert alone.report == whole.report and alone.ranks.tolist() == whole.ranks.tolist()


def test_embeddings_of_another_number_are_refused() -> None:
    with pytest.raises(DataError, match="has 4 rows and 40 images, but there are 3 query and 40 gallery"):
        score(ASKED, PARTS, np.zeros((3, 2)), np.zeros((40, 2)))


def test_queries_without_published_targets_are_refused() -> None:
    unknown = replace(ASKED, targets=np.full(4, -1))
    with pytest.raises(DataError, match="never published"):
        measured(unknown)


def test_what_could_not_be_asked_stands_beside_the_number() -> None:
    report = measured(ASKED, protocols=[replace(PARTS, wanted={"near": 6_016})]).report
    assert "3 of 6,017 queries" in str(report) and "near: 2 of 6,016 queries" in str(report)


def test_writing_leaves_a_report_and_every_querys_rank(tmp_path: Path) -> None:
    triplets = replace(walk([5, 5], off=[0, 2.1]), kinds=["add", "remove"])
    measured(triplets).write(tmp_path / "evaluation")
    report = json.loads((tmp_path / "evaluation" / "report.json").read_text())
    assert (report["format"], report["recall"]["1"], report["queries"]) == (1, 0.5, 2)
    assert set(report["interval"]["10"]) == {"low", "high"}
    with (tmp_path / "evaluation" / "ranks.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[1] == {
        "row": "1",
        "task": "",
        "reference": "10.png",
        "feedback": "12.1",
        "kind": "remove",
        "target": "15.png",
        "rank": "3",
        "ties": "0",
        "best": "16.png",
    }


def test_sentences_of_any_signs_survive_the_file_of_ranks(tmp_path: Path) -> None:
    sentence = 'in "red",\nnot blue; größer 🙂 \udce4'
    evaluation = measured(walk([1]))
    replace(evaluation, triplets=replace(evaluation.triplets, feedback=[sentence])).write(tmp_path)
    with (tmp_path / "ranks.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [row["feedback"] for row in csv.DictReader(file)] == [sentence]


def test_a_full_disk_is_a_clear_error_and_keeps_the_earlier_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = measured(walk([1]))
    evaluation.write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="the disk is full"):
        replace(evaluation, ranks=np.array([7])).write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
