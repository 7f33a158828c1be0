"""Who may do what with a request, and what of it is asked for by id."""

from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from itma.server.changing import Changer
from itma.server.problems import ProblemError, invalid_request
from itma.server.service import Service

COOKIE = "itma_session"


def service_of(request: Request) -> Service:
    """What this worker holds."""
    service: Service = request.app.state.service
    return service


def _key(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def may_read(request: Request) -> None:
    """Refuse whoever may not read.

    Raises:
        ProblemError: keys are needed, and none that is right was shown.
    """
    keys = service_of(request).keys
    if keys.read and not keys.reads(_key(request)) and not keys.in_session(request.cookies.get(COOKIE, "")):
        raise _key_error("a key is needed")


def changer_of(request: Request) -> Changer:
    """What changes the catalogue, for whoever may write: a browser's session never may.

    Raises:
        ProblemError: writing is off, or no key for it was shown.
    """
    service = service_of(request)
    if service.changer is None:
        raise ProblemError(403, "writing_off", "this server only reads; its owner can start it with --write")
    if not service.keys.writes(_key(request)):
        raise _key_error("a key that may write is needed")
    return service.changer


def _key_error(what: str) -> ProblemError:
    header = {"WWW-Authenticate": 'Bearer realm="itma"'}
    return ProblemError(401, "key_needed", f"{what}: Authorization: Bearer KEY", header)


async def check_parameters(request: Request) -> None:
    """Refuse names after the `?` that the route does not know, and those that stand there twice.

    Raises:
        ProblemError: there is such a name.
    """
    names = [name for name, _ in request.query_params.multi_items()]
    choices = _names(request.scope["route"].dependant) if names else []
    for name in names:
        if name not in choices:
            advice = f"there are: {', '.join(choices)}" if choices else "there are none here"
            raise invalid_request(f"unknown name {name[:60]!r} in the address; {advice}")
        if names.count(name) > 1:
            raise invalid_request(f"{name!r} stands in the address more than once")


def _names(dependant: Any) -> list[str]:
    """What a route and what it depends on read after the `?`."""
    own = [field.alias for field in dependant.query_params]
    return own + [name for other in dependant.dependencies for name in _names(other)]


def item_id(request: Request, id: str) -> str:
    """The id in a request's query, with the bytes of file names that are no text."""
    query = request.scope["query_string"].decode("latin-1")
    pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    return next((value for name, value in reversed(pairs) if name == "id"), id)


ServiceOf = Annotated[Service, Depends(service_of)]
