"""GeneCIS: its files, galleries that belong to one query each, and boxes that are cut out of photographs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itma.data import datasets
from itma.data.datasets.genecis import TASKS, cut
from itma.data.images import Preprocess
from itma.data.triplets import cover
from itma.data.validation.doctor import examine
from itma.errors import DataError, UnknownNameError
from itma.evaluation.evaluate import score
from tests import made_up
from tests.test_data_sets import call

Row = dict[str, Any]
IMAGES = 8


def image(task: str, number: int) -> Row:
    """Of attributes always the same two photographs, in other boxes."""
    if task.endswith("_object"):
        return {"val_image_id": 10 + number}
    return {"image_id": 200 + number % 2, "instance_bbox": [number, 2, 4, 6]}


def rows_of(task: str) -> list[Row]:
    """Four queries over eight images; each is ranked among its target and three others."""
    return [
        {
            "reference": image(task, row),
            "target": image(task, row + 1),
            "gallery": [image(task, (row + step) % IMAGES) for step in (2, 3, 4)],
            "condition": ("color", "change the dog to a cat")[task.startswith("change")],
        }
        for row in range(4)
    ]


def write(root: Path, task: str, rows: list[Row]) -> None:
    (root / "genecis").mkdir(exist_ok=True)
    (root / "genecis" / f"{task}.json").write_text(json.dumps(rows))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """All four tasks, without images."""
    for task in TASKS:
        write(tmp_path, task, rows_of(task))
    return tmp_path


@pytest.fixture
def with_images(root: Path) -> Path:
    random = np.random.Generator(np.random.PCG64(0))
    (root / "val2017").mkdir()
    for folder, number in (("VG_100K", 200), ("VG_100K_2", 201)):
        (root / folder).mkdir()
        Image.fromarray(random.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(root / folder / f"{number}.jpg")
    for number in range(IMAGES):
        pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "val2017" / f"{10 + number:012d}.jpg")
    return root


def test_each_query_is_ranked_among_its_own_images_as_by_hand(root: Path) -> None:
    split = datasets.load("genecis", root, "test")
    triplets, random = split.triplets, np.random.Generator(np.random.PCG64(0))
    queries, gallery = random.standard_normal((len(triplets), 6)), random.standard_normal((len(triplets.labels), 6))
    evaluation = score(triplets, split.protocol("genecis"), queries, gallery)
    names, ranks = list(triplets.images.names), []
    for task in TASKS:
        for number, row in enumerate(rows_of(task)):
            own = [named(task, one) for one in (row["target"], *row["gallery"])]
            scores = [gallery[names.index(name)] @ queries[len(ranks)] for name in own]
            ranks.append(sorted(scores, reverse=True).index(scores[0]) + 1)
            assert triplets.feedback[4 * TASKS.index(task) + number] == row["condition"]
    assert evaluation.ranks.tolist() == ranks and 1 < np.mean(ranks) < 4
    of_tasks = [np.mean(np.array(ranks[4 * task : 4 * task + 4]) <= 2) for task in range(4)]
    assert evaluation.report.recall[2] == pytest.approx(np.mean(of_tasks))
    assert [part.recall[2] for part in evaluation.report.parts] == of_tasks
    assert {part.gallery for part in evaluation.report.parts} == {4}


def named(task: str, one: Row) -> str:
    if task.endswith("_object"):
        return f"{one['val_image_id']:012d}.jpg"
    return f"{one['image_id']}.jpg[{','.join(map(str, one['instance_bbox']))}]"


def test_the_best_images_of_a_query_are_among_its_own(root: Path) -> None:
    split = datasets.load("genecis", root, "test")
    gallery = np.eye(len(split.triplets.labels))
    evaluation = score(split.triplets, split.protocol(), np.ones((16, len(gallery))), gallery)
    assert evaluation.ties.tolist() == [3] * 16
    for query in (0, 7, 15):
        (images, _), *_ = evaluation.top([query])
        task = TASKS[query // 4]
        row = rows_of(task)[query % 4]
        expected = {named(task, one) for one in (row["target"], *row["gallery"])}
        assert {split.triplets.images.names[index] for index in images} == expected
        assert split.triplets.images.names[evaluation.best[query]] == named(task, row["target"])


def test_each_task_is_a_protocol_and_their_mean_another(root: Path) -> None:
    split = datasets.load("genecis", root, "test")
    assert list(split.protocols) == ["genecis", *(f"genecis/{task}" for task in TASKS)]
    assert all(protocol.ks == (1, 2, 3) for protocol in split.protocols.values())
    assert "a gallery has 4 images" in split.protocol("genecis/focus_object").about


def test_tasks_whose_files_are_not_there_are_left_out_and_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "genecis" / "change_object.json").unlink()
    split = datasets.load("genecis", root, "test")
    assert "lacks change_object.json" in caplog.text and "of focus_attribute and" in split.protocol().about
    assert "genecis/change_object" not in split.protocols
    with pytest.raises(DataError, match=r"change_object\.json' does not exist"):
        datasets.load("genecis", root, "test", categories=("change_object",))


def test_a_missing_image_leaves_the_queries_that_rank_it(root: Path) -> None:
    annotated = datasets.load("genecis", root, "test", categories=("focus_object",))
    split, coverage = cover(annotated, np.arange(8) == 1)  # target of row 0, reference of row 1
    assert coverage.usable == 2  # no query becomes easier: row 0 and 1 are gone, 2 and 3 have all theirs
    whole = np.eye(8)
    report = score(split.triplets, split.protocol(), whole[split.triplets.targets], whole).report
    assert report.queries == 2 and report.wanted == 4 and report.recall[1] == 1.0
    assert cover(annotated, np.arange(8) == 7)[1].usable == 3  # in row 3's gallery alone


def test_a_box_is_cut_out_enlarged_to_the_left_and_above_on_a_black_square(with_images: Path) -> None:
    photo = Image.new("RGB", (100, 60), "white")
    part = np.asarray(cut(photo, (40, 20, 10, 20)))  # 33…50 × 6…40: 17 wide, 34 high
    assert part.shape == (34, 34, 3) and (part[:, 8:25] == 255).all() and (part[:, :8] == 0).all()
    assert cut(photo, (90, 50, 30, 30)).size == (31, 31)  # what lies outside is cut off, the rest is made square
    images = datasets.load("genecis", with_images, "test", categories=("focus_attribute",)).triplets.images
    assert not images.missing().any()
    size = Preprocess(12, 12, fit="stretch")
    first = images.load([list(images.names).index("201.jpg[1,2,4,6]")], size)
    with Image.open(with_images / "VG_100K_2" / "201.jpg") as image:
        expected = size.read(cut(image.convert("RGB"), (1, 2, 4, 6)))
    assert (first[0] == expected).all()


def test_numbers_of_images_are_read_with_and_without_ending(root: Path) -> None:
    plain = datasets.load("genecis", root, "test").triplets
    for task in TASKS:
        rows = rows_of(task)
        for row in rows[:2]:
            for one in (row["reference"], *row["gallery"]):
                key = "image_id" if "image_id" in one else "val_image_id"
                one[key] = f"{one[key]:012d}.jpg"
        write(root, task, rows)
    assert list(datasets.load("genecis", root, "test").triplets.images.names) == list(plain.images.names)


@pytest.mark.parametrize(
    ("task", "change", "problem"),
    [
        ("focus_object", lambda row: row.pop("gallery"), "'gallery' is missing, found reference, target, condition"),
        (
            "focus_object",
            lambda row: row.update(gallery=[]),
            r"'gallery' is \[\]; expected a list of objects, at least",
        ),
        ("focus_object", lambda row: row.pop("target"), "'target' is missing"),
        ("focus_object", lambda row: row.update(target=row["reference"]), "reference and target are the same image"),
        ("focus_object", lambda row: row["target"].update(val_image_id="dog.jpg"), "target: 'val_image_id' is \"dog"),
        ("focus_object", lambda row: row["gallery"].append({}), "'val_image_id' is missing, found nothing"),
        ("focus_object", lambda row: row.update(condition=["a", "b", "c"]), "'condition' is .*expected a text"),
        ("focus_object", lambda row: row.update(condition=[]), r"'condition' is \[\]; expected a text"),
        ("focus_object", lambda row: row.update(condition=" "), "'condition' is empty"),
        ("focus_attribute", lambda row: row["target"].pop("instance_bbox"), "'instance_bbox' is missing"),
        (
            "focus_attribute",
            lambda row: row["gallery"][1].update(instance_bbox=[1, 2, 0, 4]),
            r"image 2 of the gallery: 'instance_bbox' is \[1, 2, 0, 4\]; expected left, top, width",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_named(
    root: Path, task: str, change: Callable[[Row], object], problem: str
) -> None:
    rows = rows_of(task)
    change(rows[2])
    write(root, task, rows)
    with pytest.raises(DataError, match=rf"{task}\.json', row 3: .*{problem}"):
        datasets.load("genecis", root, "test")


def test_pickles_of_an_early_release_are_refused_unopened(tmp_path: Path) -> None:
    (tmp_path / "genecis").mkdir()
    (tmp_path / "genecis" / "focus_object.pkl").write_bytes(b"")
    with pytest.raises(DataError, match=r"focus_object\.pkl' is of an early release.*expected focus_object\.json"):
        datasets.load("genecis", tmp_path, "test")


def test_another_folder_or_split_is_refused(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(DataError, match=r"expected genecis/focus_attribute\.json"):
        datasets.load("genecis", tmp_path_factory.mktemp("other"), "test")
    with pytest.raises(UnknownNameError, match="split of GeneCIS 'train'"):
        datasets.load("genecis", root, "train")


def test_the_doctor_counts_tasks_and_takes_boxes_of_one_photograph_for_no_copies(with_images: Path) -> None:
    findings = {one.what: one for one in examine("genecis", with_images).findings}
    assert findings["focus_object queries"].count == 4 and findings["missing images"].count == 0
    assert (findings["change_attribute queries"].expected, findings["change_attribute queries"].severity) == (
        2_112,
        "problem",
    )
    assert findings["images with the content of another"].count == 0
    (with_images / "VG_100K" / "200.jpg").unlink()
    findings = {one.what: one for one in examine("genecis", with_images).findings}
    assert findings["missing images"].count == 4 and findings["missing images"].severity == "problem"


def test_the_doctor_names_queries_that_are_ranked_among_fewer_images_than_others(root: Path) -> None:
    rows = rows_of("focus_object")
    rows[1]["gallery"] = rows[1]["gallery"][:1]
    rows[2]["gallery"][1] = rows[2]["gallery"][0]
    write(root, "focus_object", rows)
    (finding,) = (one for one in examine("genecis", root, images=False).findings if one.what == "smaller galleries")
    assert finding.severity == "note"
    assert finding.examples == ("focus_object.json row 2: 2 instead of 4", "focus_object.json row 3: 3 instead of 4")


def test_a_model_is_measured_on_it(with_images: Path, tmp_path: Path) -> None:
    made_up.model().save(tmp_path / "run")
    output = call("evaluate", tmp_path / "run", "genecis", "--root", with_images, "--out", tmp_path / "report")
    assert "16 queries against 4 images" in output and "focus_attribute: 4 queries against 4 images" in output
    assert "recall@3" in output
