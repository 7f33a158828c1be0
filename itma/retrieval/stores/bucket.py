"""The engine that keeps a catalogue in a bucket: the same tables as in a folder, on storage that speaks S3.

For building a catalogue where many machines can fetch it, and for backups. It can be searched there, but each search
waits for the network: for answering people copy it to a disk (`itma catalogue restore s3://… FOLDER`).

Access is as everywhere with S3: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, and
for storage other than Amazon's `AWS_ENDPOINT_URL`.
"""

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from itma.errors import CatalogueError, ConfigError, ItmaError
from itma.retrieval.stores.lance import LanceStore
from itma.retrieval.stores.lease import Lease

_PLACE = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[^/].*?)/*")
_TOKEN = "writer.lock."
_SECONDS = 10
"""That a connection may take; a host that is not there is named after a few tries of that."""


class BucketStore(LanceStore):
    """A prefix in a bucket with Lance tables and documents; see `itma.retrieval.stores.base.Store`.

    Args:
        place: `s3://bucket/name`, or deeper.

    Raises:
        ConfigError: the address is none.
    """

    def __init__(self, place: str) -> None:
        found = _PLACE.fullmatch(place)
        if found is None:
            raise ConfigError(f"{place!r} is no place in a bucket; write s3://BUCKET/NAME")
        self._path = f"{found['bucket']}/{found['key']}"
        super().__init__(Path(found["key"]))
        self._lease = Lease(_BucketTokens(self))

    @property
    def place(self) -> str:
        """See `Store.place`."""
        return f"s3://{self._path}"

    @cached_property
    def files(self) -> Any:
        """The bucket's files, as Arrow sees them."""
        from pyarrow.fs import S3FileSystem

        scheme, _, host = _endpoint().rpartition("://")
        more = {"endpoint_override": host, "scheme": scheme or "https"} if host else {}
        region = _region()
        if region is not None:
            more["region"] = region
        with self.reached():
            return S3FileSystem(connect_timeout=_SECONDS, request_timeout=60, **more)

    def path(self, name: str) -> str:
        """Of one file, as Arrow names it."""
        return f"{self._path}/{name}"

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turns errors of the storage into ours."""
        try:
            yield
        except OSError as error:
            if isinstance(error, ItmaError):
                raise
            text = " ".join(str(error).split())[:300]
            raise CatalogueError(
                f"the catalogue {self.place!r} cannot be reached ({text}); see whether the bucket is there, and "
                "AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error

    def read(self, name: str) -> str | None:
        """See `Store.read`."""
        with self.reached():
            try:
                with self.files.open_input_stream(self.path(name)) as file:
                    return bytes(file.read()).decode("utf-8", "surrogateescape")
            except FileNotFoundError:
                return None

    def write(self, name: str, text: str) -> None:
        """See `Store.write`; a file of a bucket is there whole or not at all."""
        self._lease.check()
        self.put(name, text)

    def put(self, name: str, text: str) -> None:
        """Write one file, whoever holds the lock."""
        with self.reached(), self.files.open_output_stream(self.path(name)) as file:
            file.write(text.encode("utf-8", "surrogateescape"))

    def stamp(self, name: str) -> object:
        """See `Store.stamp`; the times in a bucket are whole seconds, so what stands there tells more."""
        return self.read(name)

    def names(self) -> list[tuple[str, bool]]:
        """What lies directly at the place: names, and whether it is a folder."""
        from pyarrow.fs import FileSelector, FileType

        with self.reached():
            found = self.files.get_file_info(FileSelector(self._path, allow_not_found=True))
        return [(posixpath.basename(each.path), each.type == FileType.Directory) for each in found]

    def strange(self) -> bool:
        """See `Store.strange`."""
        names = [name for name, _ in self.names()]
        known = [name.startswith(_TOKEN) or name == "skipped.csv" or name.endswith(".lance") for name in names]
        return "catalogue.json" not in names and not all(known)

    def discard(self) -> None:
        """See `Store.discard`."""
        with self.reached():
            self.files.delete_dir_contents(self._path, missing_dir_ok=True)

    def remove(self, name: str) -> None:
        """Remove one file."""
        with self.reached(), suppress(FileNotFoundError):
            self.files.delete_file(self.path(name))

    def tables(self) -> list[str]:
        """See `Store.tables`."""
        return sorted(
            name.removesuffix(".lance") for name, folder in self.names() if folder and name.endswith(".lance")
        )

    def drop(self, name: str) -> None:
        """See `Store.drop`."""
        with self.reached(), suppress(FileNotFoundError):
            self.files.delete_dir(self.path(f"{name}.lance"))

    def writing(self, what: str) -> AbstractContextManager[None]:
        """See `Store.writing`."""
        return self._lease.held(what)

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Around every change of a table: only who still holds the lock makes it."""
        self._lease.check()
        with super().committing():
            yield

    def sync(self) -> None:
        """See `Store.sync`: what a bucket has taken, it keeps."""

    def _options(self) -> dict[str, str] | None:
        options = {}
        if endpoint := _endpoint():
            options = {"aws_endpoint": endpoint, "allow_http": str(endpoint.startswith("http://")).lower()}
        if region := _region():
            options["aws_region"] = region
        return options


class _BucketTokens:
    """See `itma.retrieval.stores.lease.Tokens`; the sign is part of the name, so that no token overwrites another."""

    def __init__(self, store: BucketStore) -> None:
        self._store = store

    @property
    def place(self) -> str:
        return self._store.place

    def all(self) -> list[str]:
        return [name for name, _ in self._store.names() if name.startswith(_TOKEN)]

    def put(self, others: Sequence[str], sign: str, text: str) -> str:
        self._store.put(_TOKEN + sign, text)
        return _TOKEN + sign

    def read(self, name: str) -> str | None:
        return self._store.read(name)

    def renew(self, name: str, sign: str, text: str) -> None:
        self._store.put(name, text)

    def is_there(self, name: str, sign: str) -> bool:
        return self._store.read(name) is not None

    def remove(self, name: str) -> None:
        self._store.remove(name)


def _endpoint() -> str:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((os.environ[name].rstrip("/") for name in names if os.environ.get(name)), "")


def _region() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
