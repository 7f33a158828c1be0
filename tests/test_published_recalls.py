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
        said = triplets.feedback[row]
        queries[row] = reference.query_vector(target, source, said, expected["noise"], expected["pull"])
    for embeddings in (gallery, queries):
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    wide = Protocol(protocol.name, protocol.about, protocol.tasks, KS, protocol.without_reference)
    report = score(triplets, wide, queries, gallery, intervals=False).report
    assert (report.queries, len(task.gallery)) == (expected["queries"], expected["gallery"])
    found = {str(k): share for k, share in report.recall.items()}
    for aspect, recall in report.recall_by_aspect.items():
        short = {"adjective": "adj"}.get(aspect, aspect)
        found |= {f"{k}_correct_{short}": share for k, share in recall.items()}
    return found


def test_fashioniq(published: tuple[ModuleType, dict[str, Any]], real_data: Real) -> None:
    reference, entries = published
    split = datasets.load("fashioniq", real_data("fashioniq"), "val")
    names = split.triplets.images.names
    asked = [name for name in entries if name.startswith("fashioniq.")]
    assert asked
    for name in asked:
        whole = split.protocol("fashioniq/original")
        (task,) = (task for task in whole.tasks if task.name == name.partition(".")[2])
        protocol = Protocol(whole.name, whole.about, (task,), whole.ks)
        found = recalls(reference, entries[name], split.triplets, protocol, names, names)
        assert found == pytest.approx(entries[name]["recall"], abs=1 / entries[name]["queries"])


def test_css(published: tuple[ModuleType, dict[str, Any]], real_data: Real) -> None:
    reference, entries = published
    split = datasets.load("css", real_data("css"), "test")
    labels = [str(label) for label in split.triplets.labels]
    numbers = [str(int(name[9:15])) for name in split.triplets.images.names]
    found = recalls(reference, entries["css"], split.triplets, split.protocol("css"), labels, numbers)
    assert found == pytest.approx(entries["css"]["recall"], abs=1 / entries["css"]["queries"])


def test_mitstates(published: tuple[ModuleType, dict[str, Any]], real_data: Real) -> None:
    reference, entries = published
    expected = entries["mitstates"]
    triplets = datasets.load("mitstates", real_data("mitstates"), "test").triplets
    folders = [name.partition("/")[0] for name in triplets.images.names]
    asked = np.isin([folder.partition(" ")[2] for folder in folders], expected["nouns"])
    task = Task("", np.flatnonzero(asked[triplets.references]), np.flatnonzero(asked))
    protocol = Protocol("mitstates", "some nouns", (task,))
    found = recalls(reference, expected, triplets, protocol, folders, triplets.images.names)
    assert found == pytest.approx(expected["recall"], abs=1 / expected["queries"])


def test_fashion200k(published: tuple[ModuleType, dict[str, Any]], real_data: Real) -> None:
    reference, entries = published
    expected = entries["fashion200k"]
    root = real_data("fashion200k")
    split = datasets.load("fashion200k", root, "test")
    captions = captions_of(root, split.triplets)
    found = recalls(reference, expected, split.triplets, split.protocol(), captions, split.triplets.images.names)
    assert found == pytest.approx(expected["recall"], abs=1 / expected["queries"])


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
