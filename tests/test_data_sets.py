"""A public data set on disk, from the command line: training, several protocols, submissions, and missing images."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from itma.cli import cli
from itma.data import datasets
from itma.data.datasets import DataConfig
from itma.data.images import FileImages, MemoryImages
from itma.data.sources import load
from itma.data.triplets import UNKNOWN_TARGET, Rows, Split, Triplets, by_label, cover
from itma.errors import ConfigError, DataError, UnknownNameError
from itma.evaluation.evaluate import score
from tests import made_up

CATEGORIES = ("dress", "shirt", "toptee")


def call(*words: str | Path) -> str:
    result = CliRunner().invoke(cli, ["--quiet", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return re.sub(r"[ \n]+", " ", result.output)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FashionIQ in small: ten images and six queries for each category and split."""
    root = tmp_path_factory.mktemp("fashioniq")
    random = np.random.Generator(np.random.PCG64(0))
    for folder in ("captions", "image_splits", "images"):
        (root / folder).mkdir()
    for split in ("train", "val", "test"):
        for category in CATEGORIES:
            names = [f"{category}{split}{number}" for number in range(10)]
            for name in names:
                Image.fromarray(random.integers(0, 256, (24, 20, 3), dtype=np.uint8)).save(root / f"images/{name}.jpg")
            queries = [
                {"candidate": names[row], "captions": [f"is {colour}", "has sleeves"]}
                | ({} if split == "test" else {"target": names[row + 1]})
                for row, colour in enumerate(("red", "blue", "green", "red", "black", "white"))
            ]
            (root / f"captions/cap.{category}.{split}.json").write_text(json.dumps(queries))
            (root / f"image_splits/split.{category}.{split}.json").write_text(json.dumps(names))
    return root


@pytest.fixture(scope="module")
def run(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    output = call("train", "fashioniq", "--root", published, "--preset", "tiny", "--out", folder, "--steps", "2")
    assert "trained:" in output, output
    return folder


def test_a_run_remembers_its_data_and_is_measured_by_the_first_protocol(run: Path) -> None:
    output = call("evaluate", run)
    assert "18 queries against 30 images" in output and "fashioniq/val, fashioniq/original: " in output
    assert "mean recall@10" in output and all(f"{name}: 6 queries against 10 images" in output for name in CATEGORIES)


def test_images_are_kept_in_a_cache_that_can_be_listed_and_removed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITMA_CACHE", str(tmp_path / "cache"))
    first = call("evaluate", run)
    assert "30" in call("cache") and "in all: 1" in call("cache")
    read: list[object] = []
    monkeypatch.setattr("itma.data.images.Preprocess.read", lambda *_: read.append(1))
    assert call("evaluate", run) == first and not read
    assert "removed: 1" in call("cache", "--remove") and "in all: 0" in call("cache")
    monkeypatch.undo()
    assert call("evaluate", run, "--set", "cache=false") == first


def test_several_protocols_are_printed_and_written_side_by_side(run: Path, published: Path, tmp_path: Path) -> None:
    names = ["fashioniq/original", "fashioniq/all-categories/each", "fashioniq/val-union/reference-kept"]
    options = [word for name in names for word in ("--protocol", name)]
    output = call("evaluate", run, "fashioniq", "--root", published, *options, "--out", tmp_path)
    assert all(f"fashioniq/val, {name}:" in output for name in names)
    assert "36 queries" in output and "but the reference is not removed" in output
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(name.replace("/", "-") for name in names)
    report = json.loads((tmp_path / "fashioniq-all-categories-each" / "report.json").read_text())
    assert [part["gallery"] for part in report["parts"]] == [30, 30, 30]


def test_answers_to_queries_without_targets_are_written_for_the_challenge(
    run: Path, published: Path, tmp_path: Path
) -> None:
    call("submit", run, tmp_path / "out")
    for category in CATEGORIES:
        queries = json.loads((tmp_path / f"out/{category}.predict.json").read_text())
        assert len(queries) == 6
        for row, query in enumerate(queries):
            assert query["candidate"] == f"{category}test{row}"
            others = {f"{category}test{number}" for number in range(10)} - {query["candidate"]}
            assert set(query["ranking"]) == others and len(query["ranking"]) == 9
    assert "cannot be evaluated" in call("evaluate", run, "--split", "test")


def test_images_that_are_missing_stand_beside_the_number(run: Path, published: Path, tmp_path: Path) -> None:
    root = tmp_path / "partial"
    shutil.copytree(published, root)
    for name in ("dressval1", "shirtval9"):  # the first is two queries' image, the second nobody's
        (root / f"images/{name}.jpg").unlink()
    output = call("evaluate", run, "--root", root)
    assert "16 of 18 queries against 28 images" in output
    assert "dress: 4 of 6 queries against 9 images" in output and "shirt: 6 queries against 9 images" in output


def test_training_is_refused_below_the_coverage_unless_told_otherwise(published: Path, tmp_path: Path) -> None:
    root = tmp_path / "partial"
    shutil.copytree(published, root)
    for path in (root / "images").glob("dresstrain*.jpg"):
        path.unlink()
    words = ["train", "fashioniq", "--root", root, "--preset", "tiny", "--out", tmp_path / "run", "--steps", "1"]
    output = call(*words)
    assert "80 of 90" not in output and "20 of 30 images are there, 12 of 18 rows can be used" in output
    assert "66.7%, and training wants at least 95%" in output and "data.coverage=0.66" in output
    assert not (tmp_path / "run").exists()
    assert "trained:" in call(*words, "--set", "data.coverage=0.66")


def test_nothing_left_to_work_on_is_refused(published: Path, tmp_path: Path) -> None:
    shutil.copytree(published, tmp_path / "bare", ignore=shutil.ignore_patterns("*.jpg"))
    with pytest.raises(DataError, match="0 of 30 images are there, 0 of 72 rows"):
        load(DataConfig("fashioniq", root=str(tmp_path / "bare")), "val")


def test_names_and_roots_are_checked() -> None:
    with pytest.raises(UnknownNameError, match="unknown data set 'genecist'"):
        datasets.load("genecist", "x", "train")
    with pytest.raises(DataError, match="say where mitstates is"):
        load(DataConfig("mitstates"), "train")
    with pytest.raises(ConfigError, match=r"coverage=1\.5"):
        DataConfig("css", coverage=1.5)


def test_a_table_of_attributes_becomes_a_model_of_ones_own(tmp_path: Path) -> None:
    random = np.random.Generator(np.random.PCG64(0))
    lines = ["file,colour,sleeve"]
    for number in range(24):
        Image.fromarray(random.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{('red', 'blue', 'green')[number % 3]},{('long', 'short')[number // 12]}")
    (tmp_path / "items.csv").write_text("\n".join(lines))
    output = call("triplets", tmp_path / "items.csv", tmp_path / "shop", "--test-share", "0.3")
    assert "from 24 items" in output and "colour (3 values), sleeve (2 values)" in output
    words = ["train", "own", "--root", tmp_path / "shop", "--preset", "tiny", "--out", tmp_path / "run", "--steps", "2"]
    assert "trained:" in call(*words)
    output = call("evaluate", tmp_path / "run")
    assert "own/test, own: triplets.jsonl" in output and "recall@1" in output
    assert "choose from: colour, file, sleeve" in call(
        "triplets", tmp_path / "items.csv", tmp_path / "other", "--attributes", "color"
    )


# -- drawn samples ----------------------------------------------------------------------------------------------------


def table(**changes: object) -> Triplets:
    """Six images; row i goes from image i to any other, which is drawn."""

    def draw(triplets: Triplets, rows: np.ndarray, random: np.random.Generator) -> Rows:
        steps = random.integers(1, 6, size=len(rows))
        references = triplets.references[rows]
        return Rows(references, (references + steps) % 6, [f"by {step}" for step in steps])

    pixels = made_up.triplets().images.load(range(6), made_up.CONFIG.preprocess)
    images = MemoryImages([f"{number}.png" for number in range(6)], pixels)
    whole = Triplets("t/train", images, np.arange(6), np.arange(6), np.arange(6)[::-1].copy(), ["red"] * 6)
    return replace(whole, draw=draw, draws_targets=True, **changes)  # type: ignore[arg-type]


def test_samples_are_a_pure_function_of_the_source_of_chance() -> None:
    one, again, other = (table().draw_samples(np.arange(6), np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert one.targets.tolist() == again.targets.tolist() and one.feedback == again.feedback
    assert one.targets.tolist() != other.targets.tolist()


def test_samples_whose_target_is_missing_are_drawn_anew() -> None:
    present = np.array([True, True, False, True, False, False])
    pairs = set()
    for seed in range(30):
        rows = np.array([0, 1, 3, 0, 0])
        samples = table(present=present).draw_samples(rows, np.random.default_rng(seed))
        assert present[samples.targets].all() and samples.references.tolist() == rows.tolist()
        steps = [int(sentence.removeprefix("by ")) for sentence in samples.feedback]
        assert ((samples.references + steps) % 6).tolist() == samples.targets.tolist()
        pairs |= set(zip(samples.references.tolist(), samples.targets.tolist(), strict=True))
    assert pairs == {(0, 1), (0, 3), (1, 0), (1, 3), (3, 0), (3, 1)}


def test_a_reference_without_any_present_target_is_named() -> None:
    present = np.array([True, False, False, False, False, False])
    with pytest.raises(DataError, match=r"no target with an image for the reference '0\.png'"):
        table(present=present).draw_samples(np.array([0]), np.random.default_rng(0))


def test_rows_whose_targets_are_drawn_need_only_their_reference() -> None:
    missing = np.array([False, False, True, False, False, True])
    covered, coverage = cover(Split(table(), {}), missing)
    assert coverage.usable == 4 and covered.triplets.references.tolist() == [0, 1, 3, 4]
    assert covered.triplets.present is not None and covered.triplets.present.tolist() == (~missing).tolist()


def test_rows_that_could_never_be_drawn_are_left_out_before_training() -> None:
    def only_the_next(triplets: Triplets, rows: np.ndarray, random: np.random.Generator) -> Rows:
        references = triplets.references[rows]
        return Rows(references, (references + 1) % 6, ["next"] * len(rows))

    missing = np.array([False, False, True, False, False, False])
    covered, coverage = cover(Split(replace(table(), draw=only_the_next), {}), missing)
    assert covered.triplets.references.tolist() == [0, 3, 4, 5]  # 1 leads to 2 alone, 2 is not there
    assert coverage.usable == 4
    samples = covered.triplets.draw_samples(np.arange(4), np.random.default_rng(0))
    assert not missing[samples.targets].any()


# -- coverage ---------------------------------------------------------------------------------------------------------


def test_covered_keeps_what_can_be_used_and_counts_the_rest() -> None:
    whole = Triplets("t/test", table().images, np.arange(6), np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4]), ["a"] * 4)
    missing = np.array([False, False, True, False, False, False])
    covered, coverage = cover(Split(whole, {"by label": by_label(whole)}), missing)
    (task,) = covered.protocol().tasks
    assert [covered.triplets[int(row)].reference for row in task.rows] == ["0.png", "3.png"]
    assert task.gallery.tolist() == [0, 1, 3, 4, 5]
    assert covered.protocol().wanted == {"": 4}
    assert str(coverage) == "5 of 6 images are there, 2 of 4 rows can be used; missing: 2.png"
    assert coverage.share == 0.5


def test_a_query_stays_where_another_image_of_the_target_is_there() -> None:
    labels = np.array([0, 1, 1, 2, 2, 0])
    whole = Triplets("t/test", table().images, labels, np.array([0, 0, 3]), np.array([1, 3, 4]), ["a"] * 3)
    covered, coverage = cover(Split(whole, {"by label": by_label(whole)}), np.array([0, 1, 0, 0, 1, 0], dtype=bool))
    (task,) = covered.protocol().tasks
    assert [covered.triplets.references[row] for row in task.rows] == [0, 0]  # the third leads to itself alone
    assert covered.protocol().wanted == {"": 3} and coverage.usable == 2
    rows = np.eye(6, dtype=np.float32)
    report = score(covered.triplets, covered.protocol(), rows[covered.triplets.references], rows).report
    assert report.queries == 2 and report.gallery == 4 and "2 of 3 queries" in str(report)


def test_a_query_without_a_published_target_needs_only_its_reference() -> None:
    whole = Triplets("t/test", table().images, np.arange(6), np.array([0, 5]), np.full(2, UNKNOWN_TARGET), ["a"] * 2)
    covered, _ = cover(Split(whole, {}), np.arange(6) == 5)
    assert covered.triplets.references.tolist() == [0]


def test_missing_files_are_found_with_one_look_into_each_folder(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "none/1.jpg"]
    for name in names[1:3]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    images = FileImages(names, [tmp_path / name for name in names])
    assert images.missing().tolist() == [True, False, False, True]


def test_a_complete_split_stays_as_it_is(published: Path) -> None:
    split = datasets.load("fashioniq", published, "val")
    covered, coverage = cover(split, split.triplets.images.missing())
    assert covered is split and coverage.share == 1.0 and not coverage.missing


def test_protocols_are_asked_for_by_name(published: Path) -> None:
    split = datasets.load("fashioniq", published, "val")
    assert split.protocol().name == "fashioniq/original"
    assert not split.protocol("fashioniq/original/reference-kept").without_reference
    with pytest.raises(UnknownNameError, match="Did you mean 'fashioniq/original'"):
        split.protocol("fashioniq/orginal")
    with pytest.raises(DataError, match="it is for training"):
        datasets.load("fashioniq", published, "train").protocol()
