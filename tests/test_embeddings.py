"""Embeddings from a file are measured on every data set, and those that are not the data set's are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itma import api
from itma.data import datasets
from itma.data.datasets import REGISTRY, DataConfig
from itma.data.triplets import Protocol, Split, Triplets
from itma.errors import DataError
from tests import made_up_data
from tests.test_data_sets import call

Arrays = dict[str, Any]


def split_of(name: str, folder: Path) -> tuple[Split, DataConfig]:
    """What a data set is measured on, in small; its images need not be there."""
    config = DataConfig(name, size="tiny")
    if not config.generated:
        config = DataConfig(name, root=str(made_up_data.write(name, folder)))
    return REGISTRY.find(name)(config).load(config.measured), config


def arrays(triplets: Triplets, seed: int = 0) -> Arrays:
    """Queries near their targets, more or less, of length 1."""
    random = np.random.Generator(np.random.PCG64(seed))
    images = random.standard_normal((len(triplets.labels), 8)).astype(np.float32)
    queries = images[triplets.targets] + images[triplets.references] + random.standard_normal((len(triplets), 8))
    return {
        name: rows / np.linalg.norm(rows, axis=1)[:, None] for name, rows in (("queries", queries), ("images", images))
    }


def by_hand(triplets: Triplets, protocol: Protocol, embeddings: Arrays) -> list[int]:
    """Each query's rank, one score at a time."""
    ranks = []
    for task in protocol.tasks:
        for number, row in enumerate(task.rows.tolist()):
            gallery = task.gallery if task.candidates is None else task.candidates[number]
            removed = task.references(triplets)[number] if protocol.without_reference else -1
            ranked = [image for image in gallery.tolist() if image not in (-1, removed)]
            label = triplets.labels[triplets.targets[row]]
            scores = {image: float(embeddings["images"][image] @ embeddings["queries"][row]) for image in ranked}
            best = max(score for image, score in scores.items() if triplets.labels[image] == label)
            ranks.append(1 + sum(score > best for score in scores.values()))
    return ranks


@pytest.mark.parametrize("name", REGISTRY)
def test_embeddings_alone_are_measured_by_every_protocol_of_every_data_set(name: str, tmp_path: Path) -> None:
    split, config = split_of(name, tmp_path / "data")
    triplets, embeddings = split.triplets, arrays(split.triplets)
    np.savez(tmp_path / "mine.npz", **embeddings)
    changes = {"size": "tiny"} if config.root is None else {"root": config.root}
    names = list(split.protocols)
    measured = api.evaluate_by(names, tmp_path / "mine.npz", name, changes=changes)
    assert len(measured) == len(names) > 0
    for protocol_name, report in zip(names, measured, strict=True):
        protocol = split.protocol(protocol_name)
        ranks, k = by_hand(triplets, protocol, embeddings), protocol.ks[0]
        sizes = np.cumsum([len(task.rows) for task in protocol.tasks])[:-1]
        expected = np.mean([np.mean(part <= k) for part in np.split(np.array(ranks), sizes) if len(part)])
        assert report.queries == len(ranks) and report.recall[k] == pytest.approx(expected), protocol_name
        assert set(report.metrics) == set(protocol.metrics)
    assert measured.folder == tmp_path / f"mine-evaluation-{name}-{config.measured}"
    assert measured.folder.is_dir()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made_up_data.write("cirr", tmp_path / "cirr")


def saved(root: Path, **changes: Any) -> Path:
    """CIRR's val as a file of embeddings, with some arrays changed or, where None, taken out."""
    triplets = datasets.load("cirr", root, "val").triplets
    whole = arrays(triplets) | {"names": np.array(triplets.images.names)} | changes
    path = root.parent / "mine.npz"
    np.savez(path, **{name: array for name, array in whole.items() if array is not None})
    return path


def ranks_of(path: Path, root: Path) -> list[str]:
    api.evaluate(path, "cirr", changes={"root": str(root)}, out=path.parent / "out")
    return (path.parent / "out" / "ranks.csv").read_text().splitlines()


def test_the_command_measures_a_file_and_shows_subset_recalls(root: Path, tmp_path: Path) -> None:
    output = call("evaluate", saved(root), "cirr", "--root", root, "--out", tmp_path / "out")
    assert "embeddings (" in output and "recall_subset@1" in output and "6 queries against 12 images" in output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["weights"] is None and set(report["metrics"]["recall_subset"]) == {"1", "2", "3"}


def test_names_free_the_images_from_their_order_and_may_have_endings(root: Path) -> None:
    plain = ranks_of(saved(root, names=None), root)
    triplets = datasets.load("cirr", root, "val").triplets
    images = arrays(triplets)["images"]
    others = np.concatenate([images, np.ones((1, 8))])[::-1]
    names = np.array([*(f"{name}.png" for name in triplets.images.names), "another.png"])[::-1]
    assert ranks_of(saved(root, images=others, names=names), root) == plain


def test_queries_of_the_protocol_alone_are_enough_and_others_may_be_no_numbers(tmp_path: Path) -> None:
    root = made_up_data.write("fashioniq", tmp_path / "iq")
    split = datasets.load("fashioniq", root, "val")
    name, embeddings = "fashioniq/val-union/each", arrays(split.triplets)
    tasks = split.protocol(name).tasks
    rows = np.unique(np.concatenate([task.rows for task in tasks]))
    images = np.unique(np.concatenate([task.gallery for task in tasks]))
    assert len(rows) < len(split.triplets) and len(images) < len(split.triplets.labels)
    np.savez(tmp_path / "part.npz", queries=embeddings["queries"][rows], images=embeddings["images"][images])
    for what, needed in (("queries", rows), ("images", images)):
        embeddings[what][np.setdiff1d(np.arange(len(embeddings[what])), needed)] = np.nan
    np.savez(tmp_path / "whole.npz", **embeddings)
    one, other = (
        api.evaluate(tmp_path / f"{file}.npz", "fashioniq", protocol=name, changes={"root": str(root)})
        for file in ("part", "whole")
    )
    assert one.recall == other.recall and one.queries == len(rows)


def changed(what: str, index: tuple[int, ...], value: float) -> Callable[[Path], Arrays]:
    def change(root: Path) -> Arrays:
        embeddings = arrays(datasets.load("cirr", root, "val").triplets)[what]
        embeddings[index] = value
        return {what: embeddings}

    return change


def references(root: Path) -> list[str]:
    triplets = datasets.load("cirr", root, "val").triplets
    return [triplets[row].reference for row in range(len(triplets))]


def other_names(root: Path, *, first: str) -> np.ndarray:
    names = datasets.load("cirr", root, "val").triplets.images.names
    return np.array([first, *names[1:]])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda root: {"queries": np.ones((5, 8))}, "holds 5 queries; cirr/val has 6 rows, of which cirr asks 6"),
        (lambda root: {"images": np.ones((11, 8)), "names": None}, "holds 11 images; cirr/val has 12, of which cirr"),
        (lambda root: {"images": np.ones((11, 8))}, r"'names' is of shape \(12,\).*expected \(11,\) texts"),
        (lambda root: {"images": np.ones((12, 7))}, "queries have 8 numbers each, images 7"),
        (lambda root: {"queries": np.ones((6, 8), int)}, "'queries' is of shape .* type int64; expected .* floats"),
        (lambda root: {"queries": np.ones(8)}, r"'queries' is of shape \(8,\)"),
        (lambda root: {"queries": None}, "lacks the array 'queries'; it holds images, names"),
        (changed("queries", (3, 2), np.nan), r"1 of 6 queries .* no finite numbers \(first: row 4 of the split\)"),
        (changed("images", (4, 0), np.inf), r"1 of 12 images .* \(first: 'dev-4-0-img0'\)"),
        (lambda root: {"names": other_names(root, first="x")}, "1 of 12 images that cirr ranks are not among its 12 n"),
        (lambda root: {"names": other_names(root, first="dev-3-0-img0")}, "has 'dev-3-0-img0' in rows 1 and 4"),
        (
            lambda root: {"references": np.array(references(root)[::-1])},
            "query 1: references says 'dev-5-0-img0', but row 1 of cirr/val has 'dev-0-0-img0'",
        ),
        (lambda root: {"feedback": np.array(["has dogs"] * 6)}, "query 1: feedback says 'has dogs', but row 1"),
        (lambda root: {"names": np.array([object()] * 12)}, "cannot be read as .npz .*dtype=str"),
    ],
)
def test_embeddings_that_are_not_those_of_the_data_are_refused(
    root: Path, change: Callable[[Path], Arrays], problem: str
) -> None:
    path = saved(root, **change(root))
    with pytest.raises(DataError, match=rf"mine\.npz'.*{problem}"):
        api.evaluate(path, "cirr", changes={"root": str(root)})


def test_references_and_feedback_in_the_order_of_the_split_are_taken(root: Path) -> None:
    feedback = datasets.load("cirr", root, "val").triplets.feedback
    path = saved(root, references=np.array([f"{name}.png" for name in references(root)]), feedback=np.array(feedback))
    assert len(ranks_of(path, root)) == 7


def test_a_damaged_or_missing_file_or_one_without_data_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.npz' does not exist"):
        api.evaluate(tmp_path / "none.npz", "cirr", changes={"root": str(root)})
    (tmp_path / "cut.npz").write_bytes(saved(root).read_bytes()[:300])
    with pytest.raises(DataError, match=r"cut\.npz' cannot be read as \.npz"):
        api.evaluate(tmp_path / "cut.npz", "cirr", changes={"root": str(root)})
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.ones((6, 8)))
    with pytest.raises(DataError, match=r"one\.npz' cannot be read as \.npz"):
        api.evaluate(tmp_path / "one.npz", "cirr", changes={"root": str(root)})
    with pytest.raises(DataError, match="does not say of what; name the data"):
        api.evaluate(saved(root))
    with pytest.raises(DataError, match="targets were never published"):
        api.evaluate(saved(root), "cirr", split="test1", changes={"root": str(root)})


def test_embeddings_of_other_lengths_than_one_are_said_to_give_products(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    triplets = datasets.load("cirr", root, "val").triplets
    ranks_of(saved(root, images=3 * arrays(triplets)["images"]), root)
    assert "images are not of length 1 (3 to 3)" in caplog.text and "queries are not" not in caplog.text


@pytest.mark.parametrize("name", [name for name in REGISTRY if REGISTRY.find(name).submitted])
def test_embeddings_alone_answer_the_queries_whose_targets_are_not_published(name: str, tmp_path: Path) -> None:
    root = made_up_data.write(name, tmp_path / "data")
    split = REGISTRY.find(name).submitted
    embeddings = arrays(datasets.load(name, root, split).triplets)
    np.savez(tmp_path / "mine.npz", **embeddings)
    paths = api.submit(tmp_path / "mine.npz", tmp_path / "out", name, root=root, device="cpu")
    assert paths and all(json.loads(path.read_text()) for path in paths)
    np.savez(tmp_path / "fewer.npz", **embeddings | {"queries": embeddings["queries"][1:]})
    with pytest.raises(DataError, match=rf"queries; {name}/{split} has .* rows, of which the submission asks"):
        api.submit(tmp_path / "fewer.npz", tmp_path / "none", name, root=root, device="cpu")
    assert not (tmp_path / "none").exists()


def test_a_submission_from_embeddings_needs_the_data_by_name_and_folder(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", queries=np.ones((1, 2), dtype=np.float32), images=np.ones((1, 2), dtype=np.float32))
    with pytest.raises(DataError, match="does not say of what; name the data"):
        api.submit(tmp_path / "mine.npz", tmp_path / "out")
    with pytest.raises(DataError, match=r"say where circo is on this machine: --root DIR"):
        api.submit(tmp_path / "mine.npz", tmp_path / "out", "circo")
