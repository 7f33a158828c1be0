"""What went wrong → a status and one shape of JSON: a code for programs, a message for people."""

import json
import logging
import tempfile
from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import Response

from itma.errors import CODES, BusyError, CatalogueError, ImageError, ItmaError, StorageError

log = logging.getLogger(__name__)

_CODES = {404: "not_found", 405: "method_not_allowed", 400: "invalid_request"}
"""Status of HTTP → the word for programs, of what the web framework refuses by itself."""


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


_MESSAGES = {
    "missing": "this is missing",
    "extra_forbidden": "there is no such name here",
    "json_invalid": "this is no JSON",
    "no_file": "expected a file with a file name, as curl -F image=@photo.jpg sends it",
    "model_attributes_type": "expected a JSON object, sent with Content-Type: application/json",
}
"""Kinds of error of pydantic → what is said of them."""


def describe(errors: Any) -> str:
    """What is wrong with a request, in one line; values that were sent are not repeated."""
    parts = []
    for error in errors[:3]:
        field = ".".join(str(step) for step in error.get("loc", ()) if step != "body")[:200]
        if "Expected UploadFile" in str(error.get("msg")):
            error = {**error, "type": "no_file"}
        message = _MESSAGES.get(error.get("type"), str(error.get("msg", "not valid")).removeprefix("Value error, "))
        parts.append(f"{field}: {message}" if field else message)
    return "; ".join(parts) + (" …" if len(errors) > 3 else "")


def overload_error(what: str, seconds: int = 1) -> ProblemError:
    """More is asked for than can be done."""
    return ProblemError(503, "overloaded", f"{what}; try again in a moment", {"Retry-After": str(seconds)})


def timeout_error() -> ProblemError:
    """The time of a request is over."""
    return ProblemError(503, "timeout", "the answer took too long and was given up; try again", {"Retry-After": "2"})


def problem_of(error: BaseException, item: str | None = None) -> ProblemError:
    """An error as an answer; what only the server's owner should read goes to the log.

    Args:
        error: what was raised.
        item: the item that the request was about.
    """
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, RequestValidationError):
        message = describe(error.errors())
        if isinstance(error.body, FormData) and any(each["type"] == "missing" for each in error.errors()):
            message += f"; the form has {', '.join(repr(name[:60]) for name in list(error.body)[:10]) or 'no part'}"
        return invalid_request(message)
    if isinstance(error, HTTPException) and isinstance(cause := error.__cause__, OSError):
        # a form's files are kept on a disk while they arrive
        log.error("a request's body could not be kept in %s: %s", tempfile.gettempdir(), cause)
        return ProblemError(507, "storage", "there is no room for what was sent; the server's log says why")
    if isinstance(error, HTTPException):
        code = _CODES.get(error.status_code, "invalid_request")
        return ProblemError(error.status_code, code, str(error.detail), error.headers)
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
