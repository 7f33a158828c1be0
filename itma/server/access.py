"""Who may do what with a request, and what of it is asked for by id."""

from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from itma.server.problems import ProblemError
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
    if not keys.read:
        return
    if keys.reads(_key(request)) or keys.in_session(request.cookies.get(COOKIE, "")):
        return
    raise ProblemError(
        401, "key_needed", "a key is needed: Authorization: Bearer KEY", {"WWW-Authenticate": 'Bearer realm="itma"'}
    )


def may_write(request: Request) -> None:
    """Refuse whoever may not write: a browser's session never may.

    Raises:
        ProblemError: writing is off, or no key for it was shown.
    """
    service = service_of(request)
    if service.changer is None:
        raise ProblemError(403, "writing_off", "this server only reads; its owner can start it with --write")
    if not service.keys.writes(_key(request)):
        raise ProblemError(
            401,
            "key_needed",
            "a key that may write is needed: Authorization: Bearer KEY",
            {"WWW-Authenticate": 'Bearer realm="itma"'},
        )


def item_id(request: Request, id: str) -> str:
    """The id in a request's query, with the bytes of file names that are no text."""
    query = request.scope["query_string"].decode("latin-1")
    pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    return next((value for name, value in reversed(pairs) if name == "id"), id)


ServiceOf = Annotated[Service, Depends(service_of)]
