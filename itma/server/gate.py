"""What every request passes before it is answered: hosts, sizes, times, numbers; and what every answer carries.

Plain ASGI: it sees the bytes of a body as they come, so that nothing is held that is refused.
"""

import asyncio
import codecs
import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from itma.server.config import ServeConfig
from itma.server.metrics import Metrics
from itma.server.problems import ProblemError, overload_error, problem_of, timeout_error

log = logging.getLogger("itma.server.access")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
"""What every answer carries, unless it says otherwise itself."""
_JSON_BYTES = 256_000
_BULK_UPLOADS = 5
_IN_FLIGHT = 1024
"""Requests under way in one process whose bodies are there."""
_ARRIVING = 512
"""Requests in one process whose bodies are still on their way."""
_ALWAYS = frozenset(("/", "/healthz", "/readyz", "/metrics"))
"""Paths that are answered however much is under way; the page's own files likewise."""
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))


_FORM = "itma-form"
"""An encoding of forms: UTF-8 whose bad bytes become lone surrogates, where the parser would guess Latin-1 instead."""


def _form_codec(name: str) -> codecs.CodecInfo | None:
    if name.replace("_", "-") != _FORM:
        return None
    utf8 = codecs.lookup("utf-8")
    return codecs.CodecInfo(utf8.encode, lambda data, errors="strict": utf8.decode(data, "surrogateescape"), name=_FORM)


codecs.register(_form_codec)


def _strict(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers; a form's texts are read so that what is no UTF-8 is noticed, see `shapes.FormName`."""
    return [
        (name, value + b"; charset=" + _FORM.encode())
        if name.lower() == b"content-type" and value.lower().startswith(b"multipart/form-data")
        else (name, value)
        for name, value in headers
    ]


class _Stopped(Exception):
    """The body is not read on: what to answer is decided."""


class Gate:
    """Wraps an application.

    Args:
        app: what answers.
        config: of the server.
        metrics: what is counted.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig, metrics: Metrics) -> None:
        self._app, self._config, self._metrics = app, config, metrics
        self._hosts = {host.lower() for host in config.allowed_hosts}
        self._in_flight = 0
        self._arriving: set[_Passage] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the server's start and stop."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "headers": _strict(scope["headers"])}
        passage = _Passage(scope, receive, send, self._most(scope["path"]), self._config.body_seconds, self._arriving)
        began = time.perf_counter()
        self._in_flight += 1
        self._metrics.in_flight.inc()
        try:
            if (problem := self._find_problem(scope, passage)) is not None:
                await passage.answer(problem)
            else:
                await self._pass(scope, passage)
        finally:
            self._in_flight -= 1
            self._arriving.discard(passage)
            self._metrics.in_flight.dec()
            self._record(scope, passage.status, time.perf_counter() - began)

    async def _pass(self, scope: Scope, passage: "_Passage") -> None:
        try:
            # what the parts of an answer take is limited where they are made; this is for what nobody thought of
            async with asyncio.timeout(2 * self._config.seconds + self._config.body_seconds):
                await self._app(scope, passage.receive, passage.send)
        except _Stopped:
            await passage.answer(problem_of(passage.problem or timeout_error()))
        except TimeoutError:
            await passage.answer(timeout_error())
        except Exception as error:
            await passage.answer(problem_of(error))

    def _most(self, path: str) -> int:
        if path.endswith("/items/bulk"):
            return _BULK_UPLOADS * self._config.upload_bytes + _JSON_BYTES
        if path.endswith(("/search/upload", "/explain/upload", "/items", "/item")):
            return self._config.upload_bytes + _JSON_BYTES
        return _JSON_BYTES

    def _find_problem(self, scope: Scope, passage: "_Passage") -> ProblemError | None:
        host = passage.headers.get("host", "").lower()
        name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
        if "*" not in self._hosts and name not in self._hosts:
            return ProblemError(421, "unknown_host", "this server does not answer to that name; see --allow-host")
        always = scope["path"] in _ALWAYS or scope["path"].startswith("/page/")
        if self._in_flight - len(self._arriving) > _IN_FLIGHT and not always:
            return overload_error("too many requests are under way")
        if len(self._arriving) > _ARRIVING and not passage.whole:
            return overload_error("the bodies of too many requests are on their way")
        if scope["method"] not in _METHODS:
            return ProblemError(405, "method_not_allowed", "this method is not known here", {"Allow": "GET, POST"})
        length = passage.headers.get("content-length", "0")
        return _size_error(passage.most) if length.isdecimal() and int(length) > passage.most else None

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if self._config.access_log:  # never the query, the body or a header: they hold what people look for, and keys
            log.info("%s %s %d %.0f ms", method, route, status, 1000 * seconds)


class _Passage:
    """One request's way in and out."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, most: int, seconds: float, arriving: "set[_Passage]"
    ) -> None:
        self._scope, self._receive, self._send, self.most = scope, receive, send, most
        self._until = time.monotonic() + seconds
        self._size, self._begun = 0, False
        self.headers = Headers(scope=scope)
        self.whole = self.headers.get("content-length", "0") == "0" and "transfer-encoding" not in self.headers
        self._arriving = arriving
        if not self.whole:
            arriving.add(self)
        self.problem: ProblemError | None = None
        self.status = 499  # nobody was there any more to be answered

    async def receive(self) -> Message:
        """A part of the body."""
        if self.problem is not None:
            raise _Stopped
        if self.whole:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._until - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            self.problem = ProblemError(408, "slow_request", "the request took too long to arrive")
            raise _Stopped from None
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
            if self.whole:
                self._arriving.discard(self)
            if self._size > self.most:
                self.problem = _size_error(self.most)
                raise _Stopped
        return message

    async def send(self, message: Message) -> None:
        """A part of the answer; replaced where the body was refused, whatever the application made of that."""
        if self.problem is not None and not self._begun:
            await self.answer(self.problem)
        elif self.problem is None or self.status != self.problem.status:  # else the rest of an answer that was replaced
            await self._forward(message)

    async def _forward(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun, self.status = True, message["status"]
            headers = MutableHeaders(raw=list(message.get("headers", ())))
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            message = {**message, "headers": headers.raw}
        await self._send(message)

    async def answer(self, problem: ProblemError) -> None:
        """Send a problem, if no answer has begun."""
        if self._begun:
            return
        response = problem.response()
        if not self.whole:
            response.headers["connection"] = "close"
        await response(self._scope, self._receive, self._forward)


def _size_error(most: int) -> ProblemError:
    return ProblemError(413, "too_large", f"the request is larger than the {most:,} bytes that are taken")
