"""Routes that search."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable
from datetime import date, datetime
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from itma.errors import ConfigError, UnanswerableError
from itma.io import parse_json
from itma.records import Hit
from itma.retrieval.catalogue import is_lost
from itma.retrieval.request import SearchRequest
from itma.retrieval.snapshot import Snapshot
from itma.server.access import ServiceOf, may_read
from itma.server.fetching import fetch
from itma.server.problems import ProblemError, describe, invalid_request, problem_of
from itma.server.service import Service
from itma.server.shapes import Search, SearchAnswer, SearchOptions

router = APIRouter(tags=["search"], dependencies=[Depends(may_read)])

T = TypeVar("T")
Shape = TypeVar("Shape", bound=BaseModel)
_URL_SECONDS = 10.0
JSON = "application/json"
Upload = Annotated[UploadFile, File(description="An image in a format that items may have; a refusal lists them.")]


@router.post("/search", response_model=SearchAnswer, summary="Search from an item, a sentence, or both")
async def search(request: Request, service: ServiceOf, body: Search) -> Response:
    """Search from an item of the catalogue, by a sentence, or both; from an address or an embedding where wanted."""
    with service.engine.coming():
        _check(service, body)
        data = None if body.url is None else await fetch_image(service, body.url)
        return await _answer(request, service, body, data)


@router.post("/search/upload", response_model=SearchAnswer, summary="Search from an image that is sent along")
async def search_upload(
    request: Request,
    service: ServiceOf,
    image: Upload,
    query: Annotated[str, Form(max_length=200_000, description="As the body of `/search`, as JSON.")] = "{}",
) -> Response:
    """Search from an image, with a sentence where wanted. The image is not kept."""
    with service.engine.coming():
        await check_parts(request, "image", "query")
        body = read_form(SearchOptions, query)
        _check(service, body)
        return await _answer(request, service, body, await image.read())


async def fetch_image(service: Service, url: str) -> bytes:
    """The image at an address.

    Raises:
        ProblemError: this server fetches none, or it cannot be had.
    """
    if not service.config.urls:
        raise ProblemError(403, "urls_off", "this server fetches no images; send the image itself")
    most = service.config.upload_bytes
    return await service.fetching.run(lambda: fetch(url, most=most, seconds=_URL_SECONDS))


async def check_parts(request: Request, *names: str, several: str = "") -> None:
    """Refuse a form with other parts than these, as a body with unknown names is refused, or with one of them twice.

    Args:
        request: whose form it is.
        names: of its parts.
        several: the one that may stand there more than once.

    Raises:
        ProblemError: there is such a part.
    """
    parts = [name for name, _ in (await request.form()).multi_items()]
    for name in parts:
        if name not in names:
            raise invalid_request(f"unknown part {name[:60]!r} of the form; the parts are: {', '.join(names)}")
        if name != several and parts.count(name) > 1:
            raise invalid_request(f"the form has more than one part {name!r}; send one")


def read_form(shape: type[Shape], query: str) -> Shape:
    """What a form asks beside its image.

    Raises:
        ProblemError: it is no JSON, or not of that shape.
    """
    try:
        return shape.model_validate(parse_json(query))
    except ValidationError as error:
        raise invalid_request(f"query: {describe(error.errors())}") from error
    except (ValueError, RecursionError) as error:
        raise invalid_request("query: it is no JSON") from error


def _check(service: Service, body: SearchOptions) -> None:
    if body.k > (most := service.config.most_hits):
        raise ConfigError(f"k={body.k} is more than this server gives; ask for at most {most}")


async def _answer(request: Request, service: Service, body: SearchOptions, data: bytes | None) -> Response:
    snapshot = service.snapshot
    try:
        try:
            return await _answer_by(snapshot, request, service, body, data)
        except Exception as error:
            if not is_lost(error):
                raise
            await service.look()  # the table was replaced or compacted while it was searched
            if service.snapshot is snapshot:
                raise
        return await _answer_by(service.snapshot, request, service, body, data)
    except Exception as error:
        raise problem_of(error, getattr(body, "id", None)) from error


async def _answer_by(
    snapshot: Snapshot, request: Request, service: Service, body: SearchOptions, data: bytes | None
) -> Response:
    """The answer of one state: its model sees the image, and its items are searched."""
    image = None if data is None else hashlib.sha256(data).hexdigest()
    key = (snapshot.stamp, json.dumps([body.model_dump(exclude={"url"}), image], sort_keys=True, default=str))
    if (cache_hit := service.cached(key)) is not None:
        return Response(cache_hit, media_type=JSON)
    options = {name: value for name, value in body if name != "url"} | {"where": body.where or None}
    if data is not None:
        if not snapshot.has_model:
            raise UnanswerableError("this catalogue has no model; search from one of its items")
        options["pixels"] = await service.decoding.run(service.decoder.pixels, data, snapshot.model.preprocess)
    if options.get("embedding") is not None:
        options["embedding"] = np.asarray(options["embedding"])
    answer = await unless_gone(request, service.engine.ask(SearchRequest(**options), snapshot))
    service.browser.remember([(hit.id, hit.path) for hit in answer.hits])
    content = as_json(vars(answer) | {"hits": [_hit(hit) for hit in answer.hits], "notes": answer.hits.notes})
    service.answers.put(key, content)
    return Response(content, media_type=JSON)


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What the work gives; taken back as soon as nobody waits for it any more."""
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ProblemError(499, "hung_up", "nobody waits for the answer any more")
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        "rank": hit.rank,
        "id": hit.id,
        "score": hit.score,
        "image": bool(hit.path),
        "fields": {name: value for name, value in hit.fields.items() if value is not None},
    }


def as_json(value: Any) -> bytes:
    """JSON that every reader takes: in ASCII, dates as texts, nothing where a number is none."""
    try:
        return json.dumps(value, default=_plain, allow_nan=False).encode()
    except ValueError:
        return json.dumps(_finite(value), default=_plain, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, np.generic):
        return value.item()
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
