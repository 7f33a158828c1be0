"""Routes that explain: why an item is where it is among the answers to a search."""

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Form, Request
from PIL import Image
from starlette.responses import Response

from itma.explanations.attention import has_attention
from itma.explanations.case import Case
from itma.explanations.explaining import case_of, explain_case
from itma.explanations.explanation import Explanation
from itma.explanations.gradients import Gradients
from itma.retrieval.snapshot import Snapshot
from itma.server.access import ServiceOf, may_read
from itma.server.problems import ProblemError, problem_of
from itma.server.searching import JSON, Upload, as_json, check_parts, fetch_image, read_form, unless_gone
from itma.server.service import Service
from itma.server.shapes import WORDS, Explain, ExplainFrom, ExplanationAnswer

router = APIRouter(tags=["explain"], dependencies=[Depends(may_read)])

_SIDE = 32
"""Squares along the longer side of a map of gradients; of single pixels they would be megabytes."""


@router.post("/explain", response_model=ExplanationAnswer, summary="Why an item is where it is among the answers")
async def explain(request: Request, service: ServiceOf, question: ExplainFrom) -> Response:
    """What of a search speaks for an item, and what against it: words, regions, gradients; and where attention looks.

    One explanation is made at a time, beside the searches. Slider, "less like this" and filters take no part in it.
    """
    snapshot = _explainable(service)
    data = None if question.url is None else await fetch_image(service, question.url)
    return await _answer(request, service, snapshot, question, data)


@router.post("/explain/upload", response_model=ExplanationAnswer, summary="The same for an image that is sent along")
async def explain_upload(
    request: Request,
    service: ServiceOf,
    image: Upload,
    query: Annotated[str, Form(max_length=200_000, description="As the body of `/explain`, as JSON.")],
) -> Response:
    """As `/explain`, from an image, which is not kept."""
    snapshot = _explainable(service)
    await check_parts(request, "image", "query")
    question = read_form(Explain, query)
    return await _answer(request, service, snapshot, question, await image.read())


def _explainable(service: Service) -> Snapshot:
    """The state of the catalogue that is explained.

    Raises:
        ProblemError: this server explains nothing.
    """
    snapshot = service.snapshot
    if service.explains(snapshot):
        return snapshot
    if not service.config.explain:
        raise ProblemError(403, "explaining_off", "this server explains nothing; its owner has turned that off")
    if not snapshot.has_model:
        raise ProblemError(409, "unanswerable", "this catalogue has no model whose answers could be explained")
    raise ProblemError(
        409,
        "unexplainable",
        f"this server answers with the runtime {snapshot.model.runtime!r}, which has neither gradients nor attention; "
        "its owner can start it with --runtime torch",
    )


async def _answer(
    request: Request, service: Service, snapshot: Snapshot, question: Explain, data: bytes | None
) -> Response:
    words = len((question.text or "").split())
    if words > WORDS:
        raise ProblemError(
            422, "out_of_range", f"the sentence has {words} words; at most {WORDS} are explained, so shorten it"
        )
    digest = None if data is None else hashlib.sha256(data).hexdigest()
    said = question.model_dump(exclude={"url"})
    key = ("explain", snapshot.stamp, json.dumps([said, digest], sort_keys=True))
    if (cache_hit := service.cached(key)) is not None:
        return Response(cache_hit, media_type=JSON)
    gone = threading.Event()
    try:
        preprocess = snapshot.model.preprocess
        image = None if data is None else await service.decoding.run(service.decoder.image, data, preprocess)
        work = service.reckoning.run(_make_answer, service, snapshot, question, image, key, gone)
        return Response(await unless_gone(request, work), media_type=JSON)
    except Exception as error:
        raise problem_of(error, getattr(question, "id", None)) from error
    finally:
        gone.set()


def _make_answer(
    service: Service,
    snapshot: Snapshot,
    question: Explain,
    image: Image.Image | None,
    key: tuple[str, str, str],
    gone: threading.Event,
) -> bytes:
    """In a thread of its own: the answer, which is kept even where nobody waits for it any more by then."""
    cache_hit = service.answers.get(key)  # the same may have been asked by somebody who gave up while it was made
    if cache_hit is not None:
        return cache_hit
    if gone.is_set():  # nothing was begun yet, and nobody would read it
        raise ProblemError(499, "hung_up", "nobody waits for the answer any more")
    case = case_of(
        snapshot, image, question.text, id=getattr(question, "id", None), target=question.target, target_is_item=True
    )
    explanation = explain_case(case, question.methods or usual(case))
    for method, seconds in explanation.seconds.items():
        service.metrics.explanation_seconds.labels(method).observe(seconds)
    answer = plain(explanation, images=question.images) | {"stamp": snapshot.stamp}
    if question.where:
        out = [question.target, *filter(None, [getattr(question, "id", None)])]
        score = np.array([explanation.score], dtype=np.float32)
        ranks = snapshot.ranks(case.query.numpy(), score, exclude=out, where=question.where)
        answer["rank_within"] = None if ranks is None else int(ranks[0])
        answer["items_within"] = snapshot.items.count(snapshot.condition(question.where))
    body = as_json(answer)
    service.answers.put(key, body)
    return body


def usual(case: Case) -> list[str]:
    """What is done where nothing is asked for: what takes a second, as far as this query has it."""
    has = {
        "attention": case.reference is not None and has_attention(case.model),
        "words": case.text is not None,
        "regions": case.reference is not None,
        "target": case.target_pixels is not None,
    }
    return [method for method, there in has.items() if there]


def plain(explanation: Explanation, *, images: bool) -> dict[str, Any]:
    """An explanation as it goes out: as `Explanation.to_plain`, with gradients summed over squares."""
    if explanation.gradients is not None:
        explanation = replace(explanation, gradients=_sum(explanation.gradients))
    return explanation.to_plain(images=images)


def _sum(gradients: Gradients) -> Gradients:
    """Gradients whose pixels are squares, so many that the sum stays what it was."""
    if gradients.pixels is None:
        return gradients
    height, width = gradients.pixels.shape
    side = max(1, -(-max(height, width) // _SIDE))
    edges: Sequence[np.ndarray] = np.arange(0, height, side), np.arange(0, width, side)
    squares = np.add.reduceat(np.add.reduceat(gradients.pixels, edges[0], axis=0), edges[1], axis=1)
    return replace(gradients, pixels=squares)
