"""The settings of a server, and the keys that open it."""

import hashlib
import hmac
import ipaddress
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from itma.config import check_ranges, from_plain
from itma.errors import ConfigError

READ_KEYS, WRITE_KEYS = "ITMA_READ_KEYS", "ITMA_WRITE_KEYS"
"""Environment variables: keys with commas or blanks between them."""
_SESSION_SECONDS = 12 * 3600
_SHORTEST = 16


@dataclass(frozen=True)
class ServeConfig:
    """How a catalogue is served."""

    catalogue: str
    """Its folder, or its address on a Milvus server."""
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    """Processes; each holds the model and, up to 200,000 items, the embeddings."""
    hosts: tuple[str, ...] = ()
    """Names that requests may call the server by; empty: this machine's own where only it is listened on, else all."""
    run: str | None = None
    """The run folder, if it was moved."""
    imports: tuple[str, ...] = ()
    """Files or modules with parts of one's own, which each process imports first; see `itma.registry.import_file`."""
    runtime: str | None = None
    """What answers: `torch`, `torch-bf16`, `onnx`, `onnx-int8`; None: what made the catalogue."""
    write: bool = False
    """Whether items can be added, replaced and deleted."""
    uploads: str | None = None
    """The folder for images of added items; None: `uploads` in the catalogue's folder."""
    urls: bool = False
    """Whether a reference may be named by an address, which the server then fetches."""
    explain: bool = True
    """Whether answers are explained, which costs a hundred times the computing of a search."""
    upload_bytes: int = 20_000_000
    """Largest image that is taken."""
    upload_pixels: int = 50_000_000
    """Most pixels of an image that is taken."""
    decode_seconds: float = 10.0
    """How long an image may take to decode; then the process that does it is killed."""
    decode_bytes: int = 1_000_000_000
    """Memory that decoding one image may take."""
    item_columns: int = 100
    """Most columns of metadata of an item that is added."""
    item_bytes: int = 65_536
    """Most bytes of an item's metadata, as JSON."""
    title: str | None = None
    """The column of the items' titles on the page. None: the first of `title`, `name`, or else the first text."""
    price: str | None = None
    """The column of the items' prices on the page. None: `price`, where there is one."""
    link: str | None = None
    """The column of the addresses that items lead to from the page. None: they lead nowhere."""
    currency: str = ""
    """What stands behind a price on the page, such as `€`; before it where it ends with a blank, such as `$ `."""
    most_hits: int = 500
    """Largest k."""
    batch: int = 32
    """Queries that the model takes together; 1: each by itself."""
    batch_milliseconds: float = 4.0
    """How long a query waits for others that are on their way."""
    waiting: int = 256
    """Queries that may wait for the model; further ones are answered with 503."""
    seconds: float = 20.0
    """After so long a request is given up."""
    body_seconds: float = 30.0
    """How long a request's body may take to arrive."""
    stop_seconds: int = 30
    """How long a stopping server finishes what it has accepted."""
    lock_seconds: float = 5.0
    """How long a write waits for another one."""
    cache_bytes: int = 32_000_000
    """Memory for answers that are given again, and twice as much for thumbnails."""
    access_log: bool = False
    """Whether every request is logged: method, path, status, milliseconds."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ConfigError(f"port={self.port} is none; choose one from 1 to 65535, or 0 for any that is free")
        check_ranges(
            self,
            "serve",
            at_least_one="workers upload_bytes upload_pixels most_hits batch waiting decode_bytes item_columns",
            above_zero="seconds body_seconds stop_seconds decode_seconds",
            not_negative="batch_milliseconds lock_seconds cache_bytes",
        )

    @property
    def local(self) -> bool:
        """Whether only this machine is listened to."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Names in a request's `Host` that are answered; `*` stands for all."""
        if self.hosts:
            return self.hosts
        return ("localhost", "127.0.0.1", "[::1]", self.host) if self.local else ("*",)

    @property
    def uploads_folder(self) -> Path:
        """Where images of added items go.

        Raises:
            ConfigError: the catalogue is on a server and no folder was named.
        """
        if self.uploads is not None:
            return Path(self.uploads)
        if "://" in self.catalogue:
            raise ConfigError(
                f"{self.catalogue!r} has no folder of its own for the images that are added; name one that all "
                "machines see: --uploads FOLDER"
            )
        return Path(self.catalogue) / "uploads"

    def to_json(self) -> str:
        """As a text for a worker's environment; holds no keys."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ServeConfig":
        """What `to_json` wrote."""
        return from_plain(cls, json.loads(text))


@dataclass(frozen=True)
class Keys:
    """Who may do what. A key that writes also reads."""

    read: tuple[str, ...] = field(default=(), repr=False)
    """None: everybody may read."""
    write: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "Keys":
        """The keys in the environment.

        Raises:
            ConfigError: a key is too short to be one, or holds what a header cannot.
        """
        groups = []
        for name in (READ_KEYS, WRITE_KEYS):
            keys = tuple(filter(None, re.split(r"[,\s]+", environment.get(name, ""))))
            for key in keys:
                if len(key) < _SHORTEST or not re.fullmatch(r"[\x21-\x7e]+", key):
                    raise ConfigError(
                        f"a key in {name} is shorter than {_SHORTEST} characters or holds others than ASCII's; make "
                        'one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
                    )
            groups.append(keys)
        return cls(*groups)

    def reads(self, key: str) -> bool:
        """Whether this is a key that may read."""
        return _is_one(key, (*self.read, *self.write))

    def writes(self, key: str) -> bool:
        """Whether this is a key that may write."""
        return _is_one(key, self.write)

    def session(self, now: float | None = None) -> str:
        """A sign for a browser that showed a key: it may read for twelve hours, and never write."""
        end = str(int((time.time() if now is None else now) + _SESSION_SECONDS))
        return f"{end}.{self._sign(end)}"

    def in_session(self, sign: str, now: float | None = None) -> bool:
        """Whether a browser's sign is one of ours and not too old."""
        end, _, signature = sign.partition(".")
        if not hmac.compare_digest(self._sign(end).encode(), signature.encode("utf-8", "replace")):
            return False
        return int(end) > (time.time() if now is None else now)

    def _sign(self, text: str) -> str:
        secret = hashlib.sha256("\n".join((*self.read, *self.write)).encode()).digest()
        return hmac.new(secret, b"itma session " + text.encode("utf-8", "replace"), "sha256").hexdigest()


def _is_one(key: str, keys: tuple[str, ...]) -> bool:
    """In a time that tells nothing of the keys: all are compared, and their digests rather than themselves."""
    digest = hashlib.sha256(key.encode("utf-8", "replace")).digest()
    return sum([hmac.compare_digest(digest, hashlib.sha256(one.encode()).digest()) for one in keys]) > 0


def check(config: ServeConfig, keys: Keys) -> None:
    """Refuse what would leave a catalogue open to strangers.

    Raises:
        ConfigError: writing is on and there is no key for it.
    """
    if config.write and not keys.write:
        raise ConfigError(
            f"writing is on, but {WRITE_KEYS} holds no key; set it, e.g. "
            f'{WRITE_KEYS}=$(python -c "import secrets; print(secrets.token_urlsafe(32))"), or leave --write out'
        )
    if config.write:
        _ = config.uploads_folder
