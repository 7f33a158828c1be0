"""What went wrong → a status and one shape of JSON: a code for programs, a message for people."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from itma.errors import CODES, BusyError, CatalogueError, ImageError, ItmaError, StorageError

log = logging.getLogger(__name__)


class ProblemError(ItmaError):
    """An answer that says what is wrong.

    Args:
        status: of HTTP.
        code: a word for programs; see docs/serve.md.
        message: what happened and what to do.
        headers: more headers of the answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer."""
        body = json.dumps({"error": {"code": self.code, "message": self.message}})
        return Response(body, self.status, self.headers, media_type="application/json")


def invalid_request(message: str) -> ProblemError:
    """What was sent cannot be read as a request."""
    return ProblemError(422, "invalid_request", message)


def overload_error(what: str, seconds: int = 1) -> ProblemError:
    """More is asked for than can be done."""
    return ProblemError(503, "overloaded", f"{what}; try again in a moment", {"Retry-After": str(seconds)})


def timeout_error() -> ProblemError:
    """The time of a request is over."""
    return ProblemError(503, "timeout", "the answer took too long and was given up; try again", {"Retry-After": "2"})


def problem_of(error: BaseException, item: str | None = None) -> ProblemError:
    """One of our errors as an answer; what only the server's owner should read goes to the log.

    Args:
        error: what was raised.
        item: the item that the request was about.
    """
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, BusyError):
        return ProblemError(503, "busy", "somebody else is writing; try again in a moment", {"Retry-After": "2"})
    if isinstance(error, ImageError) and error.path and not error.path.startswith("<"):
        # a file of the catalogue, not an upload
        log.warning("%s", error)
        name = "" if item is None else f" of the item {item[:60]!r}"
        return ProblemError(409, "image_lost", f"the image{name} cannot be read any more")
    if isinstance(error, ItmaError):
        for code, (status, kind) in CODES.items():
            if isinstance(error, kind):
                return ProblemError(status, code, error.public)
        log.error("%s: %s", type(error).__name__, error)
        if isinstance(error, StorageError):
            return ProblemError(507, "storage", "the catalogue cannot be written to; the server's log says why")
        if isinstance(error, CatalogueError):
            message = "the catalogue cannot be read at the moment; the server's log says why"
            return ProblemError(503, "catalogue_unavailable", message, {"Retry-After": "5"})
        return ProblemError(503, "unavailable", "the server cannot answer at the moment; its log says why")
    log.error("a fault of the server", exc_info=error)
    return ProblemError(500, "fault", "a fault of the server; its log says more")


_TEXT = {"type": "string"}
_ERROR = {"type": "object", "required": ["code", "message"], "properties": {"code": _TEXT, "message": _TEXT}}
_SCHEMA = {"type": "object", "required": ["error"], "properties": {"error": _ERROR}}
CONTENT: dict[str, Any] = {"application/json": {"schema": _SCHEMA}}
"""The shape of a problem, for the API's document."""
