"""The application: routes over a service, behind the gate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from itma import __version__
from itma.errors import ItmaError
from itma.models.embedder import Embedder
from itma.server import about, explaining, items, searching
from itma.server.access import check_parameters, may_read
from itma.server.config import Keys, ServeConfig
from itma.server.gate import Gate
from itma.server.problems import CONTENT, problem_of
from itma.server.service import Service

API = "/api/v1"


def make_app(config: ServeConfig, keys: Keys | None = None, model: Embedder | None = None) -> FastAPI:
    """The application that serves a catalogue.

    Args:
        config: of the server.
        keys: who may do what; None: as the environment says.
        model: the model, where it is in memory already.

    Raises:
        ConfigError: writing is on without a key.
        CatalogueError, RunError: see `Catalogue.open`.
    """
    service = Service(config, Keys.of() if keys is None else keys, model)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="itma",
        version=__version__,
        summary="Find images with an image and a sentence.",
        openapi_url=None,  # below: where reading needs a key, this does too
        docs_url=None,  # it would load its scripts from another host
        redoc_url=None,
        lifespan=lifespan,
        responses={
            "4XX": {"description": "What is wrong with the request.", "content": CONTENT},
            "5XX": {"description": "Overloaded, busy, or out of order.", "content": CONTENT},
        },
    )
    app.state.service = service
    for routes in (searching.router, explaining.router, items.router, about.router):
        app.include_router(routes, prefix=API, dependencies=[Depends(check_parameters)])
    app.include_router(about.outside)
    app.include_router(about.page_routes())
    document = APIRouter(dependencies=[Depends(may_read)], include_in_schema=False)
    document.add_api_route("/openapi.json", app.openapi, response_model=None)
    app.include_router(document, prefix=API)
    for kind in (ItmaError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _refuse)
    app.add_middleware(Gate, config=config, metrics=service.metrics)
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    return problem_of(error).response()
