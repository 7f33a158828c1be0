"""Routes that explain: why an item is where it is among the answers to a search."""

import hashlib
import json
import threading
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Form, Request
from PIL import Image
from starlette.responses import Response

from itma.errors import ConfigError, ExplanationError, UnanswerableError
from itma.explanations.attention import has_attention
from itma.explanations.case import Case
from itma.explanations.explaining import case_of, explain_case
from itma.explanations.explanation import Explanation
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
async def explain(request: Request, service: ServiceOf, body: ExplainFrom) -> Response:
    """What of a search speaks for an item, and what against it: words, regions, gradients; and where attention looks.

    One explanation is made at a time, beside the searches. Slider, "less like this" and filters take no part in it.
    """
    snapshot = _explainable(service)
    data = None if body.url is None else await fetch_image(service, body.url)
    return await _answer(request, service, snapshot, body, data)


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
    return await _answer(request, service, snapshot, read_form(Explain, query), await image.read())


def _explainable(service: Service) -> Snapshot:
    """The state of the catalogue that is explained.

    Raises:
        ProblemError: this server explains nothing.
        UnanswerableError, ExplanationError: this catalogue has no model, or one that cannot be explained.
    """
    snapshot = service.snapshot
    if service.explains(snapshot):
        return snapshot
    if not service.config.explain:
        raise ProblemError(403, "explaining_off", "this server explains nothing; its owner has turned that off")
    if not snapshot.has_model:
        raise UnanswerableError("this catalogue has no model whose answers could be explained")
    raise ExplanationError(
        f"this server answers with the runtime {snapshot.model.runtime!r}, which has neither gradients nor attention; "
        "its owner can start it with --runtime torch"
    )


async def _answer(
    request: Request, service: Service, snapshot: Snapshot, body: Explain, data: bytes | None
) -> Response:
    if (words := len((body.text or "").split())) > WORDS:
        raise ConfigError(f"the sentence has {words} words; at most {WORDS} are explained, so shorten it")
    digest = None if data is None else hashlib.sha256(data).hexdigest()
    key = ("explain", snapshot.stamp, json.dumps([body.model_dump(exclude={"url"}), digest], sort_keys=True))
    if (cache_hit := service.cached(key)) is not None:
        return Response(cache_hit, media_type=JSON)
    gone = threading.Event()

    def work() -> bytes:
        """In a thread of its own: the answer, which is kept even where nobody waits for it any more by then."""
        if (cache_hit := service.answers.get(key)) is not None:  # made meanwhile for somebody who asked the same
            return cache_hit
        if gone.is_set():  # nothing was begun yet, and nobody would read it
            raise ProblemError(499, "hung_up", "nobody waits for the answer any more")
        content = as_json(_explain(service, snapshot, body, image))
        service.answers.put(key, content)
        return content

    try:
        preprocess = snapshot.model.preprocess
        image = None if data is None else await service.decoding.run(service.decoder.image, data, preprocess)
        return Response(await unless_gone(request, service.reckoning.run(work)), media_type=JSON)
    except Exception as error:
        raise problem_of(error, getattr(body, "id", None)) from error
    finally:
        gone.set()


def _explain(service: Service, snapshot: Snapshot, body: Explain, image: Image.Image | None) -> dict[str, Any]:
    id = getattr(body, "id", None)
    case = case_of(snapshot, image, body.text, id=id, target=body.target, target_is_item=True)
    explanation = explain_case(case, body.methods or usual(case))
    for method, seconds in explanation.seconds.items():
        service.metrics.explanation_seconds.labels(method).observe(seconds)
    answer = plain(explanation, images=body.images) | {"stamp": snapshot.stamp}
    if body.where:
        out = [body.target, *([] if id is None else [id])]
        score = np.array([explanation.score], dtype=np.float32)
        ranks = snapshot.ranks(case.query.numpy(), score, exclude=out, where=body.where)
        answer["rank_within"] = None if ranks is None else int(ranks[0])
        answer["items_within"] = snapshot.items.count(snapshot.condition(body.where))
    return answer


def usual(case: Case) -> list[str]:
    """What is done where nothing is asked for: what takes a second, as far as this query has it."""
    applies = {
        "attention": case.reference is not None and has_attention(case.model),
        "words": case.text is not None,
        "regions": case.reference is not None,
        "target": case.target_pixels is not None,
    }
    return [method for method, applicable in applies.items() if applicable]


def plain(explanation: Explanation, *, images: bool) -> dict[str, Any]:
    """An explanation as it goes out: as `Explanation.to_plain`, with gradients summed over squares."""
    gradients = explanation.gradients
    if gradients is not None and gradients.pixels is not None:
        squares = gradients.pixels
        side = -(-max(squares.shape) // _SIDE)
        for axis, length in enumerate(gradients.pixels.shape):
            squares = np.add.reduceat(squares, np.arange(0, length, side), axis=axis)
        explanation = replace(explanation, gradients=replace(gradients, pixels=squares))
    return explanation.to_plain(images=images)
