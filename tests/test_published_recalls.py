"""The recalls of the published evaluation code, from the same pseudo-embeddings, by our own protocols."""

import importlib.util
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from itma.data import datasets
from itma.data.triplets import Protocol, Task, Triplets
from itma.evaluation.evaluate import score

Real = Callable[[str], Path]
KS = (1, 5, 10, 50, 100)

pytestmark = pytest.mark.realdata


@pytest.fixture
def published(real_data: Real) -> tuple[ModuleType, dict[str, Any]]:
    """The makers of pseudo-embeddings, and what the published code found with them."""
    folder = real_data("README.md").parents[1] / "protocols"
    if not (folder / "reference.py").exists() or not (folder / "expected.json").exists():
        pytest.skip(f"reference.py and expected.json are not in {str(folder)!r}")
    spec = importlib.util.spec_from_file_location("reference", folder / "reference.py")
    assert spec is not None and spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    reference.vector = cache(reference.vector)  # type: ignore[attr-defined]
    return reference, json.loads((folder / "expected.json").read_text())


def recalls(
    reference: ModuleType,
    expected: dict[str, Any],
    triplets: Triplets,
    protocol: Protocol,
    targets: Sequence[str],
    images: Sequence[str],
) -> dict[str, float]:
    """Recall of the pseudo-embeddings, by the names that the published code gives them.

    Args:
        targets: (images,) what counts as correct.
        images: (images,) what tells the images apart.
    """
    (task,) = protocol.tasks
    gallery = np.full((len(triplets.labels), reference.DIM), np.nan, dtype=np.float32)
    for image in task.gallery.tolist():
        gallery[image] = reference.gallery_vector(targets[image], images[image], expected["spread"])
    queries = np.full((len(triplets), reference.DIM), np.nan, dtype=np.float32)
    for row in task.rows.tolist():
        target, source = targets[triplets.targets[row]], targets[triplets.references[row]]
        sentence = triplets.feedback[row]
        queries[row] = reference.query_vector(target, source, sentence, expected["noise"], expected["pull"])
    for embeddings in (gallery, queries):
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    wide = Protocol(protocol.name, protocol.about, protocol.tasks, KS, protocol.without_reference)
    report = score(triplets, wide, queries, gallery, intervals=False).report
    assert (report.queries, len(task.gallery)) == (expected["queries"], expected["gallery"])
    shares = {str(k): share for k, share in report.recall.items()}
    for aspect, recall in report.recall_by_aspect.items():
        short = {"adjective": "adj"}.get(aspect, aspect)
        shares |= {f"{k}_correct_{short}": share for k, share in recall.items()}
    return shares


def test_fashioniq(published: tuple[ModuleType, dict[str, Any]], real_data: Real) -> None:
    reference, entries = published
    split = datasets.load("fashioniq", real_data("fashioniq"), "val")
    names = split.triplets.images.names
    tasks = [name for name in entries if name.startswith("fashioniq.")]
    assert tasks
    for name in tasks:
        whole = split.protocol("fashioniq/original")
        (task,) = (task for task in whole.tasks if task.name == name.partition(".")[2])
        protocol = Protocol(whole.name, whole.about, (task,), whole.ks)
        shares = recalls(reference, entries[name], split.triplets, protocol, names, names)
        assert shares == pytest.approx(entries[name]["recall"], abs=1 / entries[name]["queries"])


def test_css(published: tuple[ModuleType, dict[str, Any]], real_data: Real) -> None:
    reference, entries = published
    split = datasets.load("css", real_data("css"), "test")
    labels = [str(label) for label in split.triplets.labels]
    numbers = [str(int(name[9:15])) for name in split.triplets.images.names]
    shares = recalls(reference, entries["css"], split.triplets, split.protocol("css"), labels, numbers)
    assert shares == pytest.approx(entries["css"]["recall"], abs=1 / entries["css"]["queries"])


def test_mitstates(published: tuple[ModuleType, dict[str, Any]], real_data: Real) -> None:
    reference, entries = published
    expected = entries["mitstates"]
    triplets = datasets.load("mitstates", real_data("mitstates"), "test").triplets
    folders = [name.partition("/")[0] for name in triplets.images.names]
    chosen = np.isin([folder.partition(" ")[2] for folder in folders], expected["nouns"])
    task = Task("", np.flatnonzero(chosen[triplets.references]), np.flatnonzero(chosen))
    protocol = Protocol("mitstates", "some nouns", (task,))
    shares = recalls(reference, expected, triplets, protocol, folders, triplets.images.names)
    assert shares == pytest.approx(expected["recall"], abs=1 / expected["queries"])


def test_fashion200k(published: tuple[ModuleType, dict[str, Any]], real_data: Real) -> None:
    reference, entries = published
    expected = entries["fashion200k"]
    root = real_data("fashion200k")
    split = datasets.load("fashion200k", root, "test")
    captions = captions_of(root, split.triplets)
    shares = recalls(reference, expected, split.triplets, split.protocol(), captions, split.triplets.images.names)
    assert shares == pytest.approx(expected["recall"], abs=1 / expected["queries"])


def captions_of(root: Path, triplets: Triplets) -> list[str]:
    """Each image's caption, read again the plain way, with the published replacements."""
    by_name = {}
    for path in (root / "labels").glob("*_test_*"):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, caption = line.split("\t")
            for mark, word in ((".", "dotmark"), ("?", "questionmark"), ("&", "andmark"), ("*", "starmark")):
                caption = caption.strip().replace(mark, word)
            by_name[name] = caption
    return [by_name[name] for name in triplets.images.names]


def pseudo(reference: ModuleType, triplets: Triplets, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of queries and images by the images' names, of length 1."""
    names = triplets.images.names
    gallery = np.stack([reference.gallery_vector(name, name, 0.5) for name in names])
    queries = np.stack(
        [
            reference.query_vector(names[target], names[source], sentence, noise, 0.5)
            for target, source, sentence in zip(triplets.targets, triplets.references, triplets.feedback, strict=True)
        ]
    )
    return tuple(rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, gallery))  # type: ignore[return-value]


def test_cirr_s_recalls_and_subset_recalls(published: tuple[ModuleType, dict[str, Any]], real_data: Real) -> None:
    """As the published baselines count: all names sorted by score, the reference's taken out, then the others' too."""
    split = datasets.load("cirr", real_data("cirr"), "val")
    triplets = split.triplets
    queries, gallery = pseudo(published[0], triplets, 4.0)
    evaluation = score(triplets, split.protocol("cirr"), queries, gallery, intervals=False)
    names = np.array(triplets.images.names)
    sorted_names = names[np.argsort(-(queries @ gallery.T), axis=1, kind="stable")]
    rows = len(triplets)
    others = sorted_names[sorted_names != names[triplets.references][:, None]].reshape(rows, -1)
    right = others == names[triplets.targets][:, None]
    assert evaluation.ranks.tolist() == (right.argmax(1) + 1).tolist()
    for k in (1, 5, 10, 50):
        assert evaluation.report.recall[k] == right[:, :k].sum() / rows
    rows_of_file = json.loads((real_data("cirr") / "captions" / "cap.rc2.val.json").read_text())
    members = [set(row["img_set"]["members"]) - {row["reference"]} for row in rows_of_file]
    in_subset = np.array([[name in own for name in order] for order, own in zip(others, members, strict=True)])
    of_subset = right[in_subset].reshape(rows, 5)
    for k in (1, 2, 3):
        assert evaluation.measures["recall_subset"][k].tolist() == of_subset[:, :k].sum(1).tolist()
        assert 0.1 < evaluation.report.metrics["recall_subset"][k] < 0.99


def test_circo_s_map_and_recall(published: tuple[ModuleType, dict[str, Any]], real_data: Real) -> None:
    """As CIRCO's own code: precision at each right image, summed, by the right images that k could hold."""
    root = real_data("circo")
    split = datasets.load("circo", root, "val")
    triplets, protocol = split.triplets, split.protocol()
    queries, gallery = pseudo(published[0], triplets, 2.0)
    evaluation = score(triplets, protocol, queries, gallery, intervals=False)
    numbers = np.array([int(name.partition(".")[0]) for name in triplets.images.names])
    order = numbers[np.argsort(-(queries @ gallery.T), axis=1, kind="stable")]
    for row, fields in enumerate(json.loads((root / "val.json").read_text())):
        right = np.isin(order[row], fields["gt_img_ids"])
        precision = np.cumsum(right) * right / np.arange(1, len(right) + 1)
        for k in (5, 10, 25, 50):
            expected = precision[:k].sum() / min(len(fields["gt_img_ids"]), k)
            assert evaluation.measures["map"][k][row] == pytest.approx(expected, abs=1e-12)
            assert (evaluation.ranks[row] <= k) == (fields["target_img_id"] in order[row, :k])
    assert 0.1 < evaluation.report.metrics["map"][10] < 0.95
