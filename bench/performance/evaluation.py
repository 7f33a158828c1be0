"""Evaluation: ranks from embeddings that are there, and a whole evaluation from files to recall.

The other side is the published one: the whole matrix of scores, a full sort of every row, and lists of the labels in
the order found; from files, each query's reference is decoded and embedded for itself, one batch after the other.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from bench.performance.limits import products_a_second
from bench.performance.rows import peak_megabytes, seconds_of
from bench.performance.training import Published, model_of
from itma.allocation import reuse_memory
from itma.data.image_cache import open_cache
from itma.data.synthetic import shapes
from itma.data.triplets import Triplets
from itma.device import knows_bf16
from itma.evaluation.evaluate import evaluate
from itma.evaluation.ranking import rank_targets

_RANKED = {"full": (18_057, 19_057), "quick": (3_000, 5_000), "tiny": (20, 30)}
"""Queries and images; the first is CSS's test."""
_WORLDS = {"full": (100, 9), "quick": (20, 9), "tiny": (4, 5)}


def _embeddings(size: str) -> list[torch.Tensor]:
    """Queries, gallery, the labels of both, and the reference that does not count."""
    queries, images = _RANKED[size]
    random = torch.Generator().manual_seed(0)
    embeddings = [F.normalize(torch.randn(rows, 512, generator=random), dim=1) for rows in (queries, images)]
    labels = [torch.arange(rows) % (images // 3) for rows in (queries, images)]
    return [*embeddings, *labels, torch.randint(0, images, (queries,), generator=random)]


def itma_ranks(folder: Path, size: str) -> dict[str, Any]:
    reuse_memory()
    task = _embeddings(size)
    before = peak_megabytes()
    took = seconds_of(lambda: rank_targets(*task), turns=1 if size == "full" else 2, warm=False)
    used = peak_megabytes() - before
    queries, gallery = task[:2]

    def product() -> None:  # images first and many queries at once: the fastest of the plain ways
        for some in queries.split(1024):
            gallery @ some.T

    alone = seconds_of(product, turns=1, warm=size != "full")
    operations = 2 * len(queries) * len(gallery) * 512
    limit = f"the product alone, {operations / alone / 1e9:.0f} GFLOP/s"
    return {"seconds": took, "count": 1, "megabytes": used, "ideal": alone, "limit": limit}


def published_ranks(folder: Path, size: str) -> dict[str, Any]:
    queries, gallery, query_labels, gallery_labels, excluded = (part.numpy() for part in _embeddings(size))
    before = peak_megabytes()
    took = seconds_of(
        lambda: sorted_recall(queries, gallery, query_labels, gallery_labels, excluded), turns=1, warm=False
    )
    return {"seconds": took, "count": 1, "megabytes": peak_megabytes() - before}


def sorted_recall(
    queries: np.ndarray, gallery: np.ndarray, query_labels: np.ndarray, gallery_labels: np.ndarray, excluded: np.ndarray
) -> dict[int, float]:
    scores = queries @ gallery.T
    for row, reference in enumerate(excluded):
        scores[row, reference] = -10e10
    orders = [np.argsort(-row) for row in scores]
    names = gallery_labels.tolist()
    answers = [[names[index] for index in order] for order in orders]
    hits = {k: [own in labels[:k] for own, labels in zip(query_labels, answers, strict=True)] for k in (1, 10, 50)}
    return {k: float(np.mean(each)) for k, each in hits.items()}


def prepare(folder: Path, size: str) -> None:
    scenes, changes = _WORLDS[size]
    config = shapes.ShapesConfig(height=64, width=96, train_scenes=2, test_scenes=scenes, changes=changes)
    shapes.World(config).write(folder / "world")


def _test(folder: Path) -> Triplets:
    return shapes.read(folder / "world")["test"]


def itma_evaluation(folder: Path, size: str) -> dict[str, Any]:
    reuse_memory()
    triplets = _test(folder)
    model = model_of("itma", (64, 96), size, triplets).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    cached = replace(triplets, images=open_cache(triplets.images, model.preprocess))
    model.precision = "bf16"
    took = seconds_of(lambda: evaluate(model, cached), turns=1, warm=False)
    again = seconds_of(lambda: evaluate(model, cached), turns=1, warm=False)
    pixels = triplets.images.load(range(min(64, len(triplets.labels))), model.preprocess)
    alone = seconds_of(lambda: model.feature_maps(pixels), turns=2)
    low = knows_bf16(model.device)
    peak = products_a_second(torch.bfloat16 if low else torch.float32)
    return {
        "seconds": took,
        "count": len(triplets.feedback),
        "ideal": alone * len(triplets.labels) / len(pixels),
        "limit": f"the image encoder alone, {len(pixels) / alone:.0f} images/s; "
        f"matrix product {peak / 1e9:.0f} GFLOP/s",
        "precision": "bf16" if low else "float32 (no bf16 in this processor)",
        "second time, images cached": again,
    }


def published_evaluation(folder: Path, size: str) -> dict[str, Any]:
    triplets = _test(folder)
    model = model_of("itma", (64, 96), size, triplets).eval()
    files = Published(triplets, model)

    @torch.no_grad()
    def call() -> None:
        queries, gallery = [], []
        for first in range(0, len(triplets.feedback), 32):
            rows = range(first, min(first + 32, len(triplets.feedback)))
            pixels = torch.stack([files.image(triplets.references[row]) for row in rows])
            words = model.text_encoder(model.tokenizer([triplets.feedback[row] for row in rows]))  # type: ignore[misc]
            queries.append(F.normalize(model.composer.embed_queries(model.image_encoder(pixels), words)))
        for first in range(0, len(triplets.labels), 32):
            some = range(first, min(first + 32, len(triplets.labels)))
            pixels = torch.stack([files.image(index) for index in some])
            gallery.append(F.normalize(model.composer.embed_images(model.image_encoder(pixels))))
        own = triplets.labels[triplets.targets]
        sorted_recall(torch.cat(queries).numpy(), torch.cat(gallery).numpy(), own, triplets.labels, triplets.references)

    return {"seconds": seconds_of(call, turns=1, warm=False), "count": len(triplets.feedback)}
