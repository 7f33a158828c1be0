"""An image at an address, fetched for a stranger: only from public machines, whatever the address resolves to.

The name is resolved once, every address is checked, and the connection goes to the one that was checked: a name that
resolves to another machine the next time (DNS rebinding) gains nothing. Redirections are not followed.
"""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit

from itma.server.problems import ProblemError

_PORTS = {"http": 80, "https": 443}
_UNICAST = ipaddress.ip_network("2000::/3")
_RESERVED = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")))
"""Networks of protocols and for documentation, some of which Python counts as global."""
_TUNNELS = frozenset({0x5EFE, 0x0200_5EFE})
"""What stands before the IPv4 address of a machine inside, in the second half of an IPv6 one (ISATAP)."""


def is_public(address: str) -> bool:
    """Whether this is an address of the open network, and nobody's own.

    >>> is_public("93.184.215.14"), is_public("10.0.0.1"), is_public("::ffff:127.0.0.1"), is_public("169.254.169.254")
    (True, False, False, False)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None:
            # only what is given out as global unicast: every form that hides another address lies outside, but Teredo
            given_out = ip in _UNICAST and ip.teredo is None and (int(ip) >> 32) & 0xFFFF_FFFF not in _TUNNELS
            return given_out and ip.is_global and not any(ip in network for network in _RESERVED)
        ip = inner
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _RESERVED)


def fetch(
    url: str,
    *,
    most: int,
    seconds: float,
    allowed: Callable[[str], bool] = is_public,
    ports: frozenset[int] = frozenset(_PORTS.values()),
) -> bytes:
    """The bytes at an address.

    Args:
        url: http or https.
        most: bytes; more are refused.
        seconds: for all of it.
        allowed: which addresses of machines may be spoken with.
        ports: which ports.

    Raises:
        ProblemError: the address is none that may be fetched, or what is there cannot be had.
    """
    parts = _check_url(url, ports)
    host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    end = time.monotonic() + seconds
    addresses = _resolve(host, port, seconds)
    if not addresses or not all(map(allowed, addresses)):
        raise _address_error("it does not lead to a public machine")
    connection = _Pinned(host, port, addresses[0], parts.scheme == "https", max(0.001, end - time.monotonic()))
    # the socket's own time limit begins anew with every byte; this one is for all of it
    watch = threading.Timer(max(0.0, end - time.monotonic()), connection.cut)
    watch.daemon = True
    watch.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"User-Agent": "itma", "Accept": "image/*", "Accept-Encoding": ""})
        answer = connection.getresponse()
        if answer.status != 200:
            raise _address_error(f"it answers with status {answer.status}; redirections are not followed")
        data = answer.read(most + 1)
        if len(data) > most:
            raise _address_error(f"it holds more than {most:,} bytes")
        if connection.is_cut:
            raise _address_error("it took too long")
        return data
    except (OSError, http.client.HTTPException, ValueError, UnicodeError) as error:
        raise _address_error("it took too long" if connection.is_cut else "it could not be read") from error
    finally:
        watch.cancel()
        connection.close()


def _resolve(host: str, port: int, seconds: float) -> list[str]:
    """The addresses of a name; a name server that takes its time is not waited for longer than `seconds`."""
    answer: Future[list[Any]] = Future()

    def ask() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name="itma resolving", daemon=True).start()
    try:
        return list(dict.fromkeys(str(one[4][0]) for one in answer.result(seconds)))
    except (OSError, UnicodeError) as error:
        raise _address_error("its machine is not known" if answer.done() else "it took too long") from error


def _check_url(url: str, ports: frozenset[int]) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise _address_error("it is not written as an address") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise _address_error("it does not begin with http:// or https:// and a machine's name")
    if parts.username or parts.password:
        raise _address_error("it holds a name or a password")
    if port not in ports:
        raise _address_error(f"port {port} is not one of: {', '.join(map(str, sorted(ports)))}")
    if any(ord(character) <= 32 or ord(character) > 126 for character in url):
        raise _address_error("it holds characters that an address cannot; write them as %XX")
    return parts


def _address_error(why: str) -> ProblemError:
    return ProblemError(422, "unreachable_image", f"the image's address cannot be used: {why}")


class _Pinned(http.client.HTTPConnection):
    """Speaks with one address, whatever the name resolves to by now."""

    def __init__(self, host: str, port: int, address: str, secure: bool, seconds: float) -> None:
        super().__init__(host, port, timeout=seconds)
        self._address, self._secure = address, secure
        self.is_cut = False

    def cut(self) -> None:
        """End it from another thread, whatever it waits for."""
        self.is_cut = True
        if self._raw is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._raw, socket.SHUT_RDWR)

    _raw: socket.socket | None = None

    def connect(self) -> None:
        self.sock = self._raw = socket.create_connection((self._address, self.port), self.timeout)
        if self._secure:
            # the handshake comes after it is known what to cut: wrapping takes the connection from the first socket
            self.sock = self._raw = ssl.create_default_context().wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
        if self.is_cut:  # between two of these lines
            raise TimeoutError
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.do_handshake()
