"""CIRCO: several targets to each query, mean average precision as its code computes it, and its server's file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itma import api
from itma.data import datasets
from itma.data.datasets.circo import LIST, Circo
from itma.data.triplets import Protocol, Task, Triplets, cover, pad
from itma.errors import DataError, UnknownNameError
from itma.evaluation.evaluate import score
from itma.evaluation.ranking import average_precision
from tests import made_up
from tests.test_data_sets import call

Row = dict[str, Any]
IMAGES = 9


def rows_of(split: str) -> list[Row]:
    """Four queries over nine images, numbered in tens."""
    rows = []
    for row in range(4):
        plain = {"reference_img_id": 10 * row, "relative_caption": f"has {row} dogs", "shared_concept": "a dog"}
        targets = [10 * (row + 1), 10 * (row + 3), 80][: 1 + row % 3]
        aspects = ["cardinality", "addition"][: 1 + row % 2]
        known = {"target_img_id": targets[0], "gt_img_ids": targets, "semantic_aspects": aspects}
        rows.append({**plain, "id": row} | (known if split == "val" else {}))
    return rows


def write(root: Path, split: str, rows: list[Row]) -> None:
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"{split}.json").write_text(json.dumps(rows))


def write_list(root: Path) -> None:
    (root / LIST).parent.mkdir(parents=True, exist_ok=True)
    images = [{"id": 10 * number, "file_name": f"{10 * number:012d}.jpg"} for number in range(IMAGES)]
    (root / LIST).write_text(json.dumps({"images": images}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Both splits and the list of images, without images."""
    for split in ("val", "test"):
        write(tmp_path, split, rows_of(split))
    write_list(tmp_path)
    return tmp_path


@pytest.fixture
def with_images(root: Path) -> Path:
    random = np.random.Generator(np.random.PCG64(0))
    folder = root / "COCO2017_unlabeled" / "unlabeled2017"
    folder.mkdir()
    for number in range(IMAGES):
        Image.fromarray(random.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(folder / f"{10 * number:012d}.jpg")
    return root


def by_hand(order: list[int], right: list[int], k: int) -> float:
    """Average precision of one ranked list."""
    ranks = [rank for rank, image in enumerate(order[:k], start=1) if image in right]
    return sum(count / rank for count, rank in enumerate(ranks, start=1)) / min(len(right), k)


def test_map_and_recall_are_those_of_rankings_by_hand(root: Path) -> None:
    split = datasets.load("circo", root, "val")
    random = np.random.Generator(np.random.PCG64(0))
    queries, gallery = random.standard_normal((4, 6)), random.standard_normal((IMAGES, 6))
    report = score(split.triplets, split.protocol(), queries, gallery).report
    orders = [[10 * int(image) for image in np.argsort(-(gallery @ query))] for query in queries]
    for k in (5, 10):
        expected = [by_hand(order, row["gt_img_ids"], k) for order, row in zip(orders, rows_of("val"), strict=True)]
        assert report.metrics["map"][k] == pytest.approx(np.mean(expected), abs=1e-12)
        assert report.metrics_by_group["semantic aspect"]["addition"]["map"][k] == pytest.approx(
            np.mean([expected[1], expected[3]]), abs=1e-12
        )
    recalls = [row["target_img_id"] in order[:5] for order, row in zip(orders, rows_of("val"), strict=True)]
    assert report.recall[5] == np.mean(recalls)
    assert report.queries_by_group["semantic aspect"] == {"addition": 2, "cardinality": 4}
    assert "map@5 " in str(report) and "addition" in str(report)


def test_targets_stand_before_others_that_score_alike(root: Path) -> None:
    split = datasets.load("circo", root, "val")
    report = score(split.triplets, split.protocol(), np.zeros((4, 2)), np.zeros((IMAGES, 2))).report
    assert report.metrics["map"][5] == 1.0 and report.recall[5] == 1.0


def test_a_target_that_is_missing_is_one_less_to_be_found(root: Path) -> None:
    annotated = datasets.load("circo", root, "val")
    split, _ = cover(annotated, np.arange(IMAGES) == 8)  # 80, the third target of row 2
    gallery = np.eye(IMAGES)
    queries = np.stack([gallery[3] + gallery[5] if row == 2 else gallery[row + 1] for row in range(4)])
    gallery[8] = np.nan
    evaluation = score(split.triplets, split.protocol(), queries, gallery)
    assert evaluation.measures["map"][5][2] == 1.0


def test_the_reference_stays_in_the_gallery_as_in_the_published_code(root: Path) -> None:
    split = datasets.load("circo", root, "val")
    gallery = np.eye(IMAGES)
    queries = 2 * gallery[split.triplets.references] + gallery[split.triplets.targets]
    evaluation = score(split.triplets, split.protocol(), queries, gallery)
    assert evaluation.ranks.tolist() == [2] * 4


def test_without_the_list_of_images_the_protocol_says_so_by_its_name(root: Path) -> None:
    (root / LIST).unlink()
    split = datasets.load("circo", root, "val")
    assert list(split.protocols) == ["circo/annotated"] and "not comparable" in split.protocol().about


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda row: row.pop("gt_img_ids"), "'gt_img_ids' is missing"),
        (lambda row: row.update(gt_img_ids=[]), r"'gt_img_ids' is \[\]; expected a list of whole numbers, at least"),
        (lambda row: row.update(gt_img_ids=[80]), "gt_img_ids must hold the target_img_id 30"),
        (lambda row: row["gt_img_ids"].append(20), "gt_img_ids holds the reference_img_id 20"),
        (lambda row: row.update(reference_img_id=77), "the image 77 is not among the 9 of COCO2017_unlabeled"),
        (lambda row: row.update(reference_img_id="000000000020.jpg"), "expected a whole number"),
        (lambda row: row.update(relative_caption=["a", "b", "c"]), "'relative_caption' is .*expected a text"),
        (lambda row: row.update(id=0), "the id 0 also stands in row 1"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(root: Path, change: Callable[[Row], object], problem: str) -> None:
    rows = rows_of("val")
    change(rows[2])
    write(root, "val", rows)
    with pytest.raises(DataError, match=rf"val\.json', row 3: .*{problem}"):
        datasets.load("circo", root, "val")


def test_there_is_nothing_to_train_on(root: Path) -> None:
    with pytest.raises(UnknownNameError, match="split of CIRCO 'train'"):
        datasets.load("circo", root, "train")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    made_up.model().save(folder / "run")
    return folder / "run"


def test_a_model_is_measured_and_its_answers_are_written_for_the_server(
    run: Path, with_images: Path, tmp_path: Path
) -> None:
    output = call("evaluate", run, "circo", "--root", with_images, "--out", tmp_path / "report")
    assert "map@25" in output and "addition" in output
    call("submit", run, tmp_path / "out", "circo", "--root", with_images)
    answers = json.loads((tmp_path / "out" / "circo.json").read_text())
    assert list(answers) == ["0", "1", "2", "3"]
    assert all(sorted(images) == [10 * number for number in range(IMAGES)] for images in answers.values())


def test_a_submission_passes_over_images_that_cannot_be_read_where_it_is_told_to(
    run: Path, with_images: Path, tmp_path: Path
) -> None:
    broken = max(with_images.rglob("*.jpg"))
    broken.write_text("<html>not found</html>")
    words = ("submit", run, tmp_path / "out", "circo", "--root", with_images)
    assert broken.name in call(*words)
    call(*words, "--skip-unreadable")
    answers = json.loads((tmp_path / "out" / "circo.json").read_text())
    assert int(broken.stem) not in answers["0"] and len(answers["0"]) == IMAGES - 1


def test_test_is_not_measured_and_a_submission_needs_the_list_of_images(
    run: Path, with_images: Path, tmp_path: Path
) -> None:
    output = call("evaluate", run, "circo", "--root", with_images, "--split", "test")
    assert "targets were never published" in output and "itma submit" in output
    (with_images / LIST).unlink()
    assert "image_info_unlabeled2017" in call("submit", run, tmp_path / "out", "circo", "--root", with_images)


def test_a_pair_of_towers_is_measured_and_answers_the_server_too(with_images: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra is not installed: pip install 'itma[hub]'")
    from tests import tiny_hub

    tiny_hub.clip(tmp_path / "clip")
    report = api.evaluate(tmp_path / "clip", "circo", changes={"root": str(with_images)}, out=tmp_path, device="cpu")
    assert set(report.metrics["map"]) == {5, 10, 25, 50}
    (path,) = api.submit(tmp_path / "clip", tmp_path / "out", "circo", root=with_images, device="cpu")
    assert len(json.loads(path.read_text())["3"]) == IMAGES
    with pytest.raises(DataError, match=r"say where that is: --root DIR"):
        api.submit(tmp_path / "clip", tmp_path / "out", "circo", device="cpu")
    with pytest.raises(DataError, match=r"nobody takes answers to shoes.*circo, cirr, fashioniq"):
        api.submit(tmp_path / "clip", tmp_path / "out", "shoes", root=with_images, device="cpu")


# -- the published computation ----------------------------------------------------------------------------------------


@pytest.fixture
def published(real_data: Callable[[str], Path]) -> tuple[list[Row], dict[str, list[int]], dict[str, Any]]:
    """The published rows, some predictions, and what CIRCO's own code says of them."""
    folder = real_data("README.md").parents[1] / "protocols"
    if not (folder / "circo_val_expected.json").exists():
        pytest.skip(f"circo_val_expected.json is not in {str(folder)!r}")
    rows, predictions, expected = (
        json.loads(path.read_text())
        for path in (
            real_data("circo/val.json"),
            folder / "circo_val_predictions.json",
            folder / "circo_val_expected.json",
        )
    )
    return rows, predictions, expected


@pytest.mark.realdata
def test_average_precision_of_lists_is_the_published_one(
    published: tuple[list[Row], dict[str, list[int]], dict[str, Any]],
) -> None:
    rows, predictions, expected = published
    ranks_of = [{image: rank for rank, image in enumerate(predictions[str(row["id"])], start=1)} for row in rows]
    ranked = [[at.get(image, 0) for image in row["gt_img_ids"]] for row, at in zip(rows, ranks_of, strict=True)]
    ranks = pad(ranked)
    targets = np.array([len(row["gt_img_ids"]) for row in rows])
    for k, value in expected["mAP"].items():
        assert average_precision(np.maximum(ranks, 0), targets, int(k)).mean() == pytest.approx(value, abs=1e-9)


@pytest.mark.realdata
def test_scores_that_rank_as_the_predictions_give_the_published_figures(
    published: tuple[list[Row], dict[str, list[int]], dict[str, Any]], real_data: Callable[[str], Path]
) -> None:
    rows, predictions, expected = published
    images = sorted(
        {image for row in rows for image in row["gt_img_ids"]}
        | {image for some in predictions.values() for image in some}
    )
    number = {image: index for index, image in enumerate(images)}
    queries = np.zeros((len(rows), len(images)), dtype=np.float32)
    for row in rows:
        for rank, image in enumerate(predictions[str(row["id"])]):
            queries[row["id"], number[image]] = 50 - rank
        for image in row["gt_img_ids"]:  # what is not predicted stands behind everything else
            if image not in predictions[str(row["id"])]:
                queries[row["id"], number[image]] = -1
    read = datasets.load("circo", real_data("circo"), "val").triplets
    stand_ins = made_up.triplets(2 * ((len(images) + 3) // 4)).images
    triplets = Triplets(
        "circo/val",
        stand_ins,
        np.arange(len(stand_ins.names)),
        np.zeros(len(rows), dtype=np.int64),
        np.array([number[row["target_img_id"]] for row in rows]),
        read.feedback,
        groups=read.groups,
        further_targets=pad([[number[image] for image in row["gt_img_ids"][1:]] for row in rows]),
    )
    task = Task("", np.arange(len(rows)), np.arange(len(images)))
    protocol = Protocol("circo", "", (task,), (5, 10, 25, 50), False, metrics={"map": (5, 10, 25, 50)})
    gallery = np.eye(len(stand_ins.names), len(images), dtype=np.float32)
    report = score(triplets, protocol, queries, gallery, intervals=False).report
    assert report.metrics["map"] == pytest.approx({int(k): value for k, value in expected["mAP"].items()}, abs=1e-9)
    assert report.recall == pytest.approx({int(k): value for k, value in expected["recall"].items()}, abs=1e-9)
    by_aspect = {aspect: metrics["map"][10] for aspect, metrics in report.metrics_by_group["semantic aspect"].items()}
    assert by_aspect == pytest.approx(expected["semantic_mAP@10"], abs=1e-9)


@pytest.mark.realdata
def test_the_published_files_hold_what_was_published(real_data: Callable[[str], Path]) -> None:
    for split in ("val", "test"):
        triplets = datasets.load("circo", real_data("circo"), split).triplets
        assert len(triplets) == Circo.published[split]["queries"]
