"""Why this image? A query and a target → what speaks for and against it."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from itma import errors
from itma.data.images import Source
from itma.device import device_named
from itma.evaluation.evaluate import Evaluation
from itma.explanations.attention import attention_of, has_attention
from itma.explanations.case import Case
from itma.explanations.checks import Maps, check_maps
from itma.explanations.explanation import Explanation, maps_of
from itma.explanations.gradients import gradients_of
from itma.explanations.occlusion import Cells, filling, region_effects, target_effects, word_effects
from itma.io import check_path
from itma.models.checkpoint import checkpoint_folder
from itma.models.embedder import Embedder
from itma.models.feedback import readable
from itma.models.hub_names import hub_name
from itma.models.retriever import Retriever
from itma.records import STEPS, Fill
from itma.retrieval.request import SearchRequest, value_of

if TYPE_CHECKING:  # a training explains queries of a test, without any catalogue
    from itma.retrieval.catalogue import Catalogue
    from itma.retrieval.ingest.rows import Item
    from itma.retrieval.snapshot import Snapshot

log = logging.getLogger(__name__)

METHODS = ("attention", "words", "regions", "target", "gradients", "checks")
"""What can be asked for, by name; see `explain`."""
_MAPPING = ("attention", "regions", "gradients")
"""Those that give a map over the reference."""
ALL = "all"
"""Stands for all methods that apply."""
USUAL = ("attention", "words", "regions", "target")
"""What is done where nothing is asked for."""


def explain(
    catalogue_or_model: "Catalogue | Retriever | str | Path",
    image: Source | None = None,
    text: str | None = None,
    *,
    id: str | None = None,
    target: Source | None = None,
    methods: Sequence[str] = (),
    fill: Fill = "mean",
    steps: int = STEPS,
    run: str | Path | None = None,
    device: str = "auto",
) -> Explanation:
    """Say why an image is where it is among the answers to a query.

    Attention shows where a model looks, which is a hint; the other methods change the query and see what becomes of
    the score and of the rank, which is evidence.

    Args:
        catalogue_or_model: a catalogue or its folder; or a model or a run folder, where the target is an image and has
            no rank.
        image: the reference: a path, the bytes of a file, a Pillow image, or an array.
        text: the feedback.
        id: an item of the catalogue as the reference, in the place of `image`.
        target: the image that is asked about: an item's id, or an image; None: the catalogue's best hit.
        methods: some of `METHODS`; None: `attention` (where the model has it), `words` (each left out), `regions`
            (of the reference, each covered) and `target` (its regions, each covered), as far as they apply.
            `gradients` are integrated gradients; `checks` are sanity checks of the maps that were asked for; `all` are
            all that apply.
        fill: what covers a region: `mean`, the image's mean colour, or `blur`.
        steps: of the integrated gradients.
        run: where the run that made a catalogue is now; None: where it was then.
        device: where a model that is opened here is to work: `auto`, `cpu`, `cuda`, …

    Raises:
        ExplanationError: a method was asked for by name that does not apply, or there is no target.
        UnknownNameError: no such method or fill.
        UnknownItemError: there is no item of that id.
        FeedbackError: no word of the sentence is known.
        ImageError: an image cannot be read.
        CatalogueError, RunError, DataError: see `Catalogue.open`, `Retriever.load` and `Catalogue.search`.
    """
    for method in methods:
        if method not in (*METHODS, ALL):
            raise errors.UnknownNameError("method", method, (*METHODS, ALL))
    case = case_of(open_either(catalogue_or_model, run, device_named(device)), image, text, id=id, target=target)
    return explain_case(case, methods, fill=fill, steps=steps)


def open_either(
    catalogue_or_model: "Catalogue | Retriever | str | Path",
    run: str | Path | None = None,
    device: torch.device | None = None,
) -> "Catalogue | Retriever":
    """The catalogue or the model at a path or an address.

    Raises:
        CatalogueError, RunError: there is neither, or what is there cannot be opened.
    """
    from itma.retrieval.catalogue import Catalogue

    if isinstance(catalogue_or_model, Catalogue | Retriever):
        return catalogue_or_model
    check_path(catalogue_or_model, "a catalogue or a run")
    try:
        checkpoint_folder(catalogue_or_model)
    except errors.RunError as error:
        if hub_name(catalogue_or_model) is not None:
            reason = str(error)
        elif "://" not in str(catalogue_or_model) and not Path(catalogue_or_model).is_dir():
            reason = "it does not exist; itma train makes the one, itma index the other"
        else:
            return Catalogue.open(catalogue_or_model, run, runtime="torch", device=device)
        raise errors.RunError(f"{str(catalogue_or_model)!r} is neither a run nor a catalogue: {reason}") from error
    model = Retriever.load(catalogue_or_model)
    return model if device is None else model.to(device)


def case_of(
    catalogue_or_model: "Catalogue | Snapshot | Retriever",
    image: Source | None = None,
    text: str | None = None,
    *,
    id: str | None = None,
    target: Source | None = None,
    target_is_item: bool = False,
) -> Case:
    """Read a query and a target; arguments and errors as for `explain`.

    With `target_is_item`, a text that is no item's id is never taken for the path of a file.
    """
    from itma.retrieval.catalogue import Catalogue
    from itma.retrieval.snapshot import Snapshot

    if isinstance(catalogue_or_model, Catalogue):
        catalogue_or_model.refresh()
        catalogue_or_model = catalogue_or_model.snapshot
    catalogue = catalogue_or_model if isinstance(catalogue_or_model, Snapshot) else None
    model = retriever_of(catalogue_or_model.model if isinstance(catalogue_or_model, Snapshot) else catalogue_or_model)
    if image is not None and id is not None:
        raise errors.DataError("a query has one reference: give an image or an id")
    if image is None and id is None and not (text or "").strip():
        raise errors.DataError("a query needs a reference image, a feedback sentence, or both; both are empty")
    feedback = readable(model, text, alone=image is None and id is None)
    out: list[str] = []
    reference = None
    if id is not None:
        if catalogue is None:
            raise errors.ConfigError(f"id={id!r} is that of an item, and a run has none; give a catalogue, or an image")
        reference, out = _item_pixels(catalogue, model, id), [id]
    elif image is not None:
        reference = model.preprocess.read(image)
        if catalogue is not None and isinstance(image, str | Path):
            out = catalogue.ids_of(image)
    name = id if id is not None else _name(image)
    if catalogue is None:
        if target is None:
            raise errors.ExplanationError(
                "a run has no images of which one could be the best hit; say which as the target (--target IMAGE)"
            )
        pixels = model.preprocess.read(target)
        return Case(model, _embedding(model, pixels), reference, feedback, pixels, None, None, name, _name(target))
    if target is None:
        hits = value_of(catalogue.answer([SearchRequest(image, text, 1, id=id)])[0])
        if not hits:
            raise errors.ExplanationError("the catalogue has no hit that could be explained; give a target")
        target = hits[0].id
    item = None if not isinstance(target, str) else _find_item(catalogue, target, or_file=not target_is_item)
    target_pixels: torch.Tensor | None = None
    if item is None:
        target_pixels = model.preprocess.read(target)
        embedding, target_name = _embedding(model, target_pixels), _name(target)
    else:
        assert item.embedding is not None
        embedding, target_name, out = torch.tensor(item.embedding), item.id, [*out, item.id]
        try:
            target_pixels = _item_pixels(catalogue, model, item.id)
        except errors.ItmaError as error:
            log.warning("the target cannot be shown: %s", error)
    ranks: Callable[..., np.ndarray | None] = partial(catalogue.ranks, exclude=out)
    return Case(model, embedding, reference, feedback, target_pixels, ranks, len(catalogue), name, target_name)


def case_in(model: Retriever, evaluation: Evaluation, index: int) -> Case:
    """One query of an evaluation with its target, ranked as the evaluation ranks it.

    Args:
        model: what was measured.
        evaluation: the result.
        index: which query, by its index in `evaluation.rows`.
    """
    from itma.retrieval.exact import DECIMALS

    triplets, row = evaluation.triplets, int(evaluation.rows[index])
    target, reference = int(triplets.targets[row]), int(triplets.references[row])
    others = evaluation.others(index)
    gallery, device = evaluation.gallery[others.to(evaluation.gallery.device)], evaluation.gallery.device

    def ranks(queries: np.ndarray, scores: np.ndarray) -> np.ndarray:
        embeddings, levels = torch.tensor(queries, device=device), torch.tensor(scores, device=device)
        values: np.ndarray = 1 + (embeddings @ gallery.T > levels[:, None] + 10.0**-DECIMALS).sum(1).cpu().numpy()
        return values

    pixels = triplets.images.load([reference, target], model.preprocess)
    feedback = triplets.feedback[row] if model.tokenizer.pieces(triplets.feedback[row]) else None
    names = triplets.images.names[reference], triplets.images.names[target]
    items = len(evaluation.task(index).gallery)
    return Case(model, _embedding(model, pixels[1]), pixels[0], feedback, pixels[1], ranks, items, *names)


def explain_case(case: Case, methods: Sequence[str] = (), *, fill: Fill = "mean", steps: int = STEPS) -> Explanation:
    """Explain a case by some methods; see `explain`, whose errors these are."""
    if case.reference is not None:
        filling(case.reference, fill)  # a fill that does not exist is refused whatever is asked for
    parts: dict[str, Any] = {}
    notes: list[str] = []
    seconds: dict[str, float] = {}
    queries = case.query
    scores = case.scores(queries)
    ranks = case.ranks(queries, scores)
    mapping = [method for method in _MAPPING if method in methods] or [
        method for method in _MAPPING if method != "attention" or has_attention(case.model)
    ]
    make = partial(cell_maps, methods=mapping, fill=fill, steps=steps)
    ways = _ways(case, fill, steps)
    ways["checks"] = ("checks", lambda: tuple(check_maps(case, make(case, known=parts), make, fill)))
    for method, (name, do) in ways.items():
        if method not in (METHODS if ALL in methods else methods or USUAL):
            continue
        since = time.perf_counter()
        try:
            parts[name] = do()
            seconds[method] = time.perf_counter() - since
        except errors.ExplanationError as error:
            if method in methods:
                raise
            if method != "attention" or has_attention(case.model):
                notes.append(str(error))
    if (gradients := parts.get("gradients")) is not None and gradients.rough:
        notes.append(
            f"the gradients leave {gradients.gap:+.3f} of the score unexplained: it jumps along the path; try more "
            f"steps than {gradients.steps}, and trust the interventions"
        )
    if case.text is not None and not case.model.reads_words:
        notes.append(f"the model {case.model.name!r} does not read words")
    elif case.text is not None:
        read_as = case.model.tokenizer.read_as(case.text)
        notes += [f"{word!r}, which training never saw, is read as {known!r}" for word, known in read_as.items()]
    return Explanation(
        model=case.model.name,
        text=case.text,
        reference=_show(case.reference),
        target=_show(case.target_pixels),
        reference_name=case.reference_name,
        target_name=case.target_name,
        score=float(scores[0]),
        rank=None if ranks is None else int(ranks[0]),
        items=case.items,
        words=case.words(),
        notes=tuple(notes),
        seconds=seconds,
        **parts,
    )


def _ways(case: Case, fill: Fill, steps: int) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Method → the field of an explanation that it fills, and what does it."""
    return {
        "attention": ("attention", partial(attention_of, case)),
        "words": ("word_effects", partial(word_effects, case)),
        "regions": ("regions", partial(region_effects, case, fill)),
        "target": ("target_regions", partial(target_effects, case, fill)),
        "gradients": ("gradients", partial(gradients_of, case, steps=steps)),
    }


def cell_maps(
    case: Case,
    *,
    methods: Sequence[str],
    fill: Fill = "mean",
    steps: int = STEPS,
    known: Mapping[str, Any] | None = None,
) -> Maps:
    """The maps over the reference, all on the grid of `Cells`; nothing where there is no reference.

    Args:
        case: what is explained.
        methods: `attention`, `regions`, `gradients`: which.
        fill: see `explain`.
        steps: see `explain`.
        known: what of an explanation is known already, by its field.
    """
    if case.reference is None:
        return {}
    ways = _ways(case, fill, steps)
    values = {method: (known or {}).get(method) or ways[method][1]() for method in methods}
    maps = maps_of(*(values.get(method) for method in ("regions", "attention", "gradients")))
    grid = Cells(*case.reference.shape[1:]).grid
    return {
        name: F.adaptive_avg_pool2d(torch.tensor(values, dtype=torch.float32)[None], grid)[0].numpy()
        for name, values in maps.items()
    }


def retriever_of(model: Embedder) -> Retriever:
    """The model, if it is one that can be explained.

    Raises:
        ExplanationError: it answers with ONNX graphs, which have neither gradients nor attention.
    """
    if isinstance(model, Retriever):
        return model
    raise errors.ExplanationError(
        f"the runtime {model.runtime!r} answers with graphs that have neither gradients nor attention; open the "
        "catalogue, or the run, with the runtime torch"
    )


def _find_item(catalogue: "Snapshot", target: str, *, or_file: bool) -> "Item | None":
    """The item that is asked about; None: the text is the path of an image's file, where that may be."""
    try:
        return catalogue.get(target)
    except (errors.UnknownItemError, errors.DataError) as error:
        if not or_file:
            raise
        if os.path.isfile(target):  # noqa: PTH113 - a path that cannot be is no file either
            return None
        raise errors.UnknownItemError(
            f"the target {target[:60]!r} is neither an item of the catalogue nor an image's file; Catalogue.ids lists "
            "the items"
        ) from error


def _item_pixels(catalogue: "Snapshot", model: Retriever, id: str) -> torch.Tensor:
    image = catalogue.get(id).image
    if image is None:
        raise errors.ExplanationError(f"the item {id!r} has no image that could be looked at; give an image")
    return model.preprocess.read(image)


def _embedding(model: Retriever, pixels: torch.Tensor) -> torch.Tensor:
    return model.embed_images(pixels[None]).cpu()[0].clone()


def _name(image: Source | None) -> str:
    if image is None:
        return ""
    return Path(image).name if isinstance(image, str | Path) else "an image"


def _show(pixels: torch.Tensor | None) -> np.ndarray | None:
    return None if pixels is None else pixels.permute(1, 2, 0).contiguous().cpu().numpy()
