"""CIRR: its files, recall within subsets, and the two files that its server takes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itma.data import datasets
from itma.data.datasets.cirr import Cirr
from itma.data.triplets import cover
from itma.data.validation.doctor import examine
from itma.errors import DataError, UnknownNameError
from itma.evaluation.evaluate import score
from itma.models.retriever import Retriever
from tests.test_data_sets import call

Row = dict[str, Any]
PREFIX = {"train": "train", "val": "dev", "test1": "test1"}


def name(split: str, number: int) -> str:
    return f"{PREFIX[split]}-{number}-0-img0"


def rows_of(split: str) -> list[Row]:
    """Six queries over twelve images; each one's subset are six images from its reference on."""
    rows = []
    for row in range(6):
        members = [name(split, (row + step) % 12) for step in range(6)]
        row_: Row = {"pairid": 100 + row, "reference": members[0], "caption": f"has {row} dogs"}
        row_ |= {"img_set": {"id": row, "members": members}}
        rows.append(row_ if split == "test1" else row_ | {"target_hard": members[2], "target_soft": {members[2]: 1.0}})
    return rows


def write(root: Path, split: str, rows: list[Row]) -> None:
    path = root / "captions" / f"cap.rc2.{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three splits, with images."""
    root = tmp_path_factory.mktemp("cirr")
    random = np.random.Generator(np.random.PCG64(0))
    (root / "image_splits").mkdir()
    for split, folder in PREFIX.items():
        inner = f"{folder}/3" if split == "train" else folder
        paths = {name(split, number): f"./{inner}/{name(split, number)}.png" for number in range(12)}
        (root / f"image_splits/split.rc2.{split}.json").write_text(json.dumps(paths))
        (root / "img_raw" / inner).mkdir(parents=True)
        for path in paths.values():
            pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "img_raw" / path)
        write(root, split, rows_of(split))
    return root


@pytest.fixture
def bare(whole: Path, tmp_path: Path) -> Path:
    """The annotation alone, to be changed."""
    for folder in ("captions", "image_splits"):
        (tmp_path / folder).mkdir()
        for path in (whole / folder).iterdir():
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    return tmp_path


def embeddings(split: datasets.Split) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.Generator(np.random.PCG64(1))
    return tuple(random.standard_normal((count, 8)) for count in (len(split.triplets), 12))  # type: ignore[return-value]


def test_images_are_found_under_img_raw_and_rows_stand_as_in_the_file(whole: Path) -> None:
    split = datasets.load("cirr", whole, "val")
    assert not split.triplets.images.missing().any()
    assert split.triplets[1].reference == "dev-1-0-img0" and split.triplets[1].target == "dev-3-0-img0"
    assert split.triplets[1].feedback == "has 1 dogs"


def test_recall_within_subsets_is_that_of_a_ranking_by_hand(whole: Path) -> None:
    split = datasets.load("cirr", whole, "val")
    queries, gallery = embeddings(split)
    evaluation = score(split.triplets, split.protocol(), queries, gallery)
    ranks, of_subset = [], []
    for row, annotation in enumerate(rows_of("val")):
        scores = dict(zip(split.triplets.images.names, gallery @ queries[row], strict=True))
        for pool, positions in ((scores, ranks), (annotation["img_set"]["members"], of_subset)):
            order = sorted(
                (image for image in pool if image != annotation["reference"]), key=lambda image: -scores[image]
            )
            positions.append(order.index(annotation["target_hard"]) + 1)
    assert evaluation.ranks.tolist() == ranks
    expected = {k: np.mean([rank <= k for rank in of_subset]) for k in (1, 2, 3)}
    assert evaluation.report.metrics == {"recall_subset": pytest.approx(expected)}
    assert 0 < expected[1] < 1  # neither all nor none, so that the comparison says something
    assert "recall_subset@1 " in str(evaluation.report) and "recall@50" in str(evaluation.report)


def test_the_reference_takes_no_part_in_its_subset_unless_it_is_kept(whole: Path) -> None:
    split = datasets.load("cirr", whole, "val")
    gallery = np.eye(12)
    queries = gallery[split.triplets.references] * 2 + gallery[split.triplets.targets]
    removed, with_reference = (
        score(split.triplets, split.protocol(f"cirr{end}"), queries, gallery).report for end in ("", "/reference-kept")
    )
    assert removed.metrics["recall_subset"][1] == 1.0 and with_reference.metrics["recall_subset"][1] == 0.0


def test_names_are_read_with_and_without_ending(bare: Path) -> None:
    rows = rows_of("val")
    for row in rows[:3]:
        row["reference"] += ".png"
        row["img_set"]["members"] = [f"{member}.png" for member in row["img_set"]["members"]]
    plain = datasets.load("cirr", bare, "val").triplets
    write(bare, "val", rows)
    ended = datasets.load("cirr", bare, "val").triplets
    assert ended.references.tolist() == plain.references.tolist()
    assert ended.subsets is not None and plain.subsets is not None and (ended.subsets == plain.subsets).all()


def without(field: str) -> Callable[[Row], object]:
    return lambda row: row.pop(field)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (without("img_set"), "'img_set' is missing, found pairid, reference"),
        (lambda row: row["img_set"].update(members=[]), r"'members' is \[\]; expected a list of texts"),
        (lambda row: row["img_set"]["members"].pop(0), "its img_set lacks the reference, 'dev-2-0-img0'"),
        (lambda row: row["img_set"]["members"].pop(2), "its img_set lacks the target_hard, 'dev-4-0-img0'"),
        (lambda row: row.update(reference="dev-99-0-img0"), "the reference 'dev-99-0-img0' is not among the 12 images"),
        (without("target_hard"), "'target_hard' is missing"),
        (lambda row: row.update(target_hard=row["reference"]), "are the same image"),
        (lambda row: row.update(caption=[]), r"'caption' is \[\]; expected a text"),
        (lambda row: row.update(caption=["a", "b", "c"]), "expected a text"),
        (lambda row: row["img_set"]["members"].append("dev-3-0-img0.png"), "its img_set holds an image twice"),
        (lambda row: row.update(pairid=100), "the pairid 100 also stands in row 1"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(bare: Path, change: Callable[[Row], object], problem: str) -> None:
    rows = rows_of("val")
    change(rows[2])
    write(bare, "val", rows)
    with pytest.raises(DataError, match=rf"cap\.rc2\.val\.json', row 3: .*{problem}"):
        datasets.load("cirr", bare, "val")


def test_the_doctor_names_subsets_of_another_size(bare: Path) -> None:
    rows = rows_of("val")
    rows[1]["img_set"]["members"] = rows[1]["img_set"]["members"][:3]
    write(bare, "val", rows)
    findings = examine("cirr", bare, images=False).findings
    (finding,) = (one for one in findings if "subsets of other" in one.what and one.split == "val")
    assert (finding.severity, finding.examples) == ("problem", ("row 2, pairid 101: 3",))


def test_an_image_that_stands_in_the_split_file_with_and_without_ending_is_refused(bare: Path) -> None:
    path = bare / "image_splits" / "split.rc2.val.json"
    path.write_text(json.dumps({"a": "./dev/a.png", "a.png": "./dev/a.png"}))
    with pytest.raises(DataError, match=r"entry 2: 'a\.png' stands there twice"):
        datasets.load("cirr", bare, "val")


@pytest.mark.parametrize("path", ["/etc/a.png", "../a.png", "", None, 3])
def test_a_path_outside_of_the_root_is_refused(bare: Path, path: object) -> None:
    (bare / "image_splits" / "split.rc2.val.json").write_text(json.dumps({"a": path}))
    with pytest.raises(DataError, match=r"entry 1: .*expected an image's name and its path below the root"):
        datasets.load("cirr", bare, "val")


def test_another_split_is_refused_by_name(bare: Path) -> None:
    with pytest.raises(UnknownNameError, match="test1"):
        datasets.load("cirr", bare, "test")


def test_a_missing_image_leaves_its_queries_and_its_subsets(whole: Path) -> None:
    annotated = datasets.load("cirr", whole, "val")
    missing = np.arange(12) == 3  # of row 1 the target, of row 3 the reference, of rows 0 and 2 in the subset
    split, coverage = cover(annotated, missing)
    assert coverage.usable == 4
    queries, gallery = embeddings(split)
    gallery[3] = np.nan
    report = score(split.triplets, split.protocol(), queries, gallery).report
    assert report.queries == 4 and report.wanted == 6 and 0 <= report.metrics["recall_subset"][1] <= 1


def test_a_report_is_read_again_with_its_metrics_and_stands_in_the_card(whole: Path, run: Path, tmp_path: Path) -> None:
    output = call("evaluate", run, "cirr", "--root", whole)
    assert "recall_subset@3" in output and "the reference is removed" in output
    lines = (run / "evaluation-cirr-val" / "ranks.csv").read_text().splitlines()
    assert lines[0].endswith("best,recall_subset@1,recall_subset@2,recall_subset@3") and len(lines) == 7
    assert "recall_subset@2" in call("card", run)


@pytest.fixture(scope="module")
def run(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    output = call("train", "cirr", "--root", whole, "--preset", "tiny", "--out", folder, "--steps", "2")
    assert "trained:" in output, output
    return folder


def test_both_tracks_are_written_as_the_server_takes_them(run: Path, tmp_path: Path) -> None:
    call("submit", run, tmp_path)
    for metric, length in (("recall", 11), ("recall_subset", 3)):
        file = json.loads((tmp_path / f"{metric}.json").read_text())
        assert (file.pop("version"), file.pop("metric")) == ("rc2", metric)
        assert list(file) == [str(100 + row) for row in range(6)]
        for row in rows_of("test1"):
            answers, others = file[str(row["pairid"])], set(row["img_set"]["members"]) - {row["reference"]}
            assert len(set(answers)) == len(answers) == length and row["reference"] not in answers
            assert metric == "recall" or set(answers) < others


def test_the_embeddings_of_a_model_give_the_submission_of_that_model(run: Path, whole: Path, tmp_path: Path) -> None:
    model, triplets = Retriever.load(run), datasets.load("cirr", whole, "test1").triplets
    images = model.embed_images(triplets.images.load(np.arange(len(triplets.labels)), model.preprocess))
    queries = model.embed_queries(triplets.images.load(triplets.references, model.preprocess), list(triplets.feedback))
    # in any order, by names without their ending, and without the images themselves
    order = np.arange(len(images))[::-1]
    names = [triplets.images.names[image] for image in order]
    np.savez(tmp_path / "mine.npz", queries=queries, images=images[order.copy()], names=names)
    bare_root = tmp_path / "bare"
    for part in ("captions", "image_splits"):
        shutil.copytree(whole / part, bare_root / part)
    call("submit", run, tmp_path / "by-model", "cirr", "--root", whole)
    output = call("submit", tmp_path / "mine.npz", tmp_path / "by-file", "cirr", "--root", bare_root)
    for metric in ("recall", "recall_subset"):
        assert str(tmp_path / "by-file" / f"{metric}.json") in output
        one, other = ((tmp_path / by / f"{metric}.json").read_text() for by in ("by-model", "by-file"))
        assert one == other


def test_test1_is_not_measured_and_the_message_names_the_way_out(run: Path, whole: Path) -> None:
    output = call("evaluate", run, "cirr", "--root", whole, "--split", "test1")
    assert "targets were never published" in output and "itma submit" in output


def test_a_submission_that_the_server_would_refuse_is_not_written(run: Path, bare: Path, tmp_path: Path) -> None:
    (bare / "test1").mkdir()
    for number in range(11):
        Image.new("RGB", (8, 8)).save(bare / "test1" / f"{name('test1', number)}.png")
    output = call("submit", run, tmp_path / "out", "cirr", "--root", bare)
    assert "cirr/test1: 4 of 6" not in output and "an answer to each of 6 queries" not in output  # image 11 is nobody's
    (bare / "test1" / f"{name('test1', 8)}.png").unlink()
    output = call("submit", run, tmp_path / "none", "cirr", "--root", bare)
    assert "an answer to each of 6 queries" in output and not (tmp_path / "none").exists()


@pytest.mark.realdata
@pytest.mark.parametrize("split", ["val", "test1"])
def test_the_published_files_hold_what_was_published(real_data: Callable[[str], Path], split: str) -> None:
    triplets = datasets.load("cirr", real_data("cirr"), split).triplets
    assert {"queries": len(triplets), "images": len(triplets.images.names)} == Cirr.published[split]


@pytest.mark.realdata
def test_the_doctor_finds_nothing_wrong_with_the_published_val_but_its_images(
    real_data: Callable[[str], Path],
) -> None:
    problems = [one for one in examine("cirr", real_data("cirr")).findings if one.severity == "problem"]
    for one in problems:
        if one.split == "val":
            assert one.what.startswith(("missing images", "queries of cirr", "folders that were")), one


@pytest.mark.realdata
def test_recalls_agree_with_the_published_computation_to_the_last_query(real_data: Callable[[str], Path]) -> None:
    """Whole rankings, sorted, without the reference, then only what stands in the subset: as the baselines' code does.

    Embeddings of a query lie near its target's and its reference's, so that neither number is trivial.
    """
    split = datasets.load("cirr", real_data("cirr"), "val")
    triplets = split.triplets
    random = np.random.Generator(np.random.PCG64(0))
    gallery = random.standard_normal((len(triplets.labels), 32), dtype=np.float32)
    queries = gallery[triplets.targets] + gallery[triplets.references]
    queries = queries + random.standard_normal(queries.shape, dtype=np.float32) * np.float32(2.0)
    assert triplets.subsets is not None
    ranked, ranked_of_subset = [], []
    for row, (reference, target) in enumerate(zip(triplets.references, triplets.targets, strict=True)):
        order = np.argsort(-(gallery @ queries[row]), kind="stable")
        order = order[order != reference]
        ranked.append(int(np.flatnonzero(order == target)[0]) + 1)
        ranked_of_subset.append(int(np.flatnonzero(order[np.isin(order, triplets.subsets[row])] == target)[0]) + 1)
    report = score(triplets, split.protocol(), queries, gallery, intervals=False).report
    assert report.recall == {k: np.mean(np.array(ranked) <= k) for k in (1, 5, 10, 50)}
    of_subset = {k: pytest.approx(np.mean(np.array(ranked_of_subset) <= k), abs=1e-12) for k in (1, 2, 3)}
    assert report.metrics == {"recall_subset": of_subset}
    assert 0.05 < report.recall[1] < 0.95 and 0.05 < report.metrics["recall_subset"][1] < 0.95
