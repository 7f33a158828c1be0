"""Routes about the server: the catalogue, health, metrics, a browser's session, and the page itself."""

import hashlib
from importlib import resources
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from itma.server.access import COOKIE, ServiceOf, may_read
from itma.server.problems import ProblemError
from itma.server.searching import JSON, as_json
from itma.server.shapes import MANY, TEXT, WORDS, About, Health, KeyShape

router = APIRouter(tags=["about"])
outside = APIRouter()
"""Routes that are not part of the API's versions."""

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@router.get("/catalogue", response_model=About, dependencies=[Depends(may_read)], summary="What the catalogue is")
async def catalogue(service: ServiceOf) -> Response:
    """Items, model, columns with their choices and ranges, and what this server can do."""
    summary = await service.reading.run(service.browser.summary)
    info, snapshot, config = summary.info, summary.snapshot, service.config
    model = snapshot.model if snapshot.has_model else None
    body: dict[str, Any] = {
        "items": info.items,
        "dim": info.dim,
        "model": info.model,
        "fingerprint": info.fingerprint,
        "runtime": None if model is None else model.runtime,
        "stamp": snapshot.stamp,
        "protocol": "exact: all items are compared; the reference is left out; equal scores in the order of ids"
        if info.exact
        else "by an index; scores are exact; the reference is left out",
        "columns": dict(info.columns),
        "facets": [facet.__dict__ for facet in summary.facets],
        "suggestions": list(summary.suggestions),
        "can": {
            "image": model is not None,
            "text": model is not None and model.reads_words,
            "emphasis": model is not None and model.reads_words,
            "earlier": model is not None and model.reads_earlier,
            "unlike": True,
            "explain": service.explains(snapshot),
            "write": service.changer is not None,
            "url": config.urls,
        },
        "shop": {"title": config.title, "price": config.price, "link": config.link, "currency": config.currency},
        "limits": {
            "k": config.most_hits,
            "text": TEXT,
            "explained_words": WORDS,
            "upload_bytes": config.upload_bytes,
            "upload_pixels": config.upload_pixels,
            "bulk": MANY,
        },
    }
    return Response(as_json(body), media_type=JSON)


@router.post("/session", status_code=204, summary="Show a key, once, for a browser")
async def session(request: Request, service: ServiceOf, body: KeyShape) -> Response:
    """Set a cookie that may read for twelve hours; images in a page cannot carry a key themselves."""
    if not service.keys.reads(body.key):
        raise ProblemError(401, "wrong_key", "this is no key of this server")
    answer = Response(status_code=204)
    answer.set_cookie(
        COOKIE,
        service.keys.session(),
        max_age=12 * 3600,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@outside.get("/healthz", response_model=Health, tags=["about"], summary="Whether the process lives")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "alive"}


@outside.get(
    "/readyz",
    response_model=Health,
    tags=["about"],
    summary="Whether searches are answered",
    responses={503: {"description": "Not ready, or stopping."}},
)
async def readyz(service: ServiceOf) -> dict[str, str]:
    """Whether the model is loaded and the catalogue can be read."""
    if not await service.reading.run(service.ready):
        raise ProblemError(503, "not_ready", "the server is starting, stopping, or cannot read its catalogue")
    return {"status": "ready"}


@outside.get("/metrics", dependencies=[Depends(may_read)], tags=["about"], summary="Numbers for Prometheus")
async def metrics(service: ServiceOf) -> Response:
    """Counters of all workers."""
    body = await service.reading.run(service.metrics.text)
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")


def page_files() -> dict[str, tuple[bytes, str, str]]:
    """The page's files: name → content, type, tag."""
    files = {}
    for file in resources.files("itma.server").joinpath("page").iterdir():
        ending = file.name.rpartition(".")[2]
        if ending in _TYPES:
            data = file.read_bytes()
            files[file.name] = data, _TYPES[ending], f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    return files


def page_routes() -> APIRouter:
    """The page: only these files, by their names."""
    routes = APIRouter(include_in_schema=False)
    for name, (data, kind, tag) in page_files().items():
        path = "/" if name == "index.html" else f"/page/{name}"

        def answer(request: Request, data: bytes = data, kind: str = kind, tag: str = tag) -> Response:
            headers = {"Cache-Control": "no-cache", "ETag": tag}
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers=headers)
            return Response(data, media_type=kind, headers=headers)

        routes.add_route(path, answer, methods=["GET", "HEAD"])
    return routes
