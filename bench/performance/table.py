"""The rows of the table, by name."""

from dataclasses import replace
from functools import partial

from bench.performance import evaluation, searching, training
from bench.performance.rows import Row

_LARGE, _SMALL = (224, 224), (64, 96)
_LOOP = "a plain float32 loop as published"


def _steps(composer: str, pixels: tuple[int, int], goal: float, *, quick: bool = True) -> Row:
    about = f"training step, {composer.upper()}, ResNet-18, {pixels[1]}×{pixels[0]}, batch 32, read from disk"
    itma, other = training.itma_steps(composer, pixels), training.published_steps(composer, pixels)
    smaller = "batch 8" if pixels == _LARGE else ""
    return Row(about, _LOOP, itma, other, "triplets", goal, prepare=training.prepare, quick=quick, smaller=smaller)


_INDEXING = Row(
    "indexing 200 photographs of 640×480, ResNet-18 at 224",
    "one by one, Pillow and torch in float32",
    searching.itma_indexing,
    searching.published_indexing,
    "images",
    5,
    prepare=searching.prepare_photographs,
    smaller="40 photographs, torch alone",
)
_SEARCH = Row(
    "search by item and feedback, 100,000 items, warm",
    "the reference embedded anew, dot product, full sort",
    searching.itma_search,
    searching.published_search,
    goal=5,
    at_most={"p50 ms": 10},
    prepare=searching.prepare_items,
    smaller="20,000 items, torch alone",
)

ROWS = {
    "step-itma-224": _steps("itma", _LARGE, 3, quick=False),
    "step-tirg-224": _steps("tirg", _LARGE, 3, quick=False),
    "step-itma-96": _steps("itma", _SMALL, 2.5, quick=True),
    "step-tirg-96": _steps("tirg", _SMALL, 2.5, quick=False),
    "head": Row(
        "training the head over a frozen ResNet-18, 224×224, batch 32",
        "the images are embedded anew in every step",
        training.itma_steps("itma", _LARGE, frozen=True),
        training.published_steps("itma", _LARGE, frozen=True),
        "triplets",
        20,
        prepare=training.prepare,
        smaller="batch 8",
    ),
    "head-clip": Row(
        "training TIRG's gate over a frozen CLIP ViT-B/32 with weights as drawn, batch 32, from the second round on",
        "images and sentences are embedded anew in every step",
        training.itma_clip,
        training.published_clip,
        "triplets",
        20,
        prepare=training.prepare_clip,
        quick=False,
    ),
    "loss-32": Row(
        "soft triplet loss, batch 32, forwards and backwards",
        "triplet lists in Python",
        training.itma_loss(0),
        training.published_loss(0),
        goal=50,
    ),
    "loss-256": Row(
        "soft triplet loss, batch 256, forwards and backwards",
        "triplet lists in Python",
        training.itma_loss(1),
        training.published_loss(1),
        goal=500,
    ),
    "ranks": Row(
        "ranks from embeddings, 18,057 × 19,057 × 512",
        "a full sort of every row",
        evaluation.itma_ranks,
        evaluation.published_ranks,
        goal=20,
        at_most={"megabytes": 1000},
        smaller="3,000 × 5,000 × 512",
    ),
    "evaluation": Row(
        "evaluation from files, 900 queries, 1,000 images of 96×64, ResNet-18",
        "published evaluation",
        evaluation.itma_evaluation,
        evaluation.published_evaluation,
        "queries",
        4,
        prepare=evaluation.prepare,
        smaller="180 queries, 200 images",
    ),
    "indexing": _INDEXING,
    "indexing-photos": replace(
        _INDEXING,
        about="indexing 200 photographs of 1600×1200 by the model `photos`, which comes with itma",
        prepare=partial(searching.prepare_photographs, shipped="photos"),
        quick=False,
        smaller="",
    ),
    "search": _SEARCH,
    "search-photos": replace(
        _SEARCH,
        about="the same by the model `photos`, references of 1600×1200",
        prepare=partial(searching.prepare_items, shipped="photos"),
        quick=False,
        smaller="",
    ),
    "clients": Row(
        "64 clients on the server, search by id with new sentences",
        "one request at a time",
        searching.itma_clients,
        searching.one_client,
        "requests",
        3,
        at_most={"p99 / p50": 10},
        prepare=searching.prepare_items,
        quick=False,
        smaller="20,000 items, torch alone",
    ),
    "start-search": Row(
        "start of `itma search`, to its answer",
        "import of torch and transformers",
        searching.start_of_search,
        searching.start_of_torch,
        at_most={"seconds": 2},
        prepare=searching.prepare_start,
    ),
    "start-import": Row(
        "`import itma`",
        "import of torch and transformers",
        searching.start_of_import,
        searching.start_of_torch,
        at_most={"seconds": 0.5},
    ),
}
