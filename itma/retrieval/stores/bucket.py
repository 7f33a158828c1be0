"""The engine that keeps a catalogue in a bucket: the same tables as in a folder, on storage that speaks S3.

For building a catalogue where many machines can fetch it, and for backups. It can be searched there, but each search
waits for the network: for answering people copy it to a disk (`itma catalogue restore s3://… FOLDER`).

Access is as everywhere with S3: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, and
for storage other than Amazon's `AWS_ENDPOINT_URL`.

A bucket locks nothing, and Lance needs no lock: a commit is an object that is put only where none of its name is, so
that of two writers one commits, and the other repeats on top of that or is told of the conflict. The documents know no
such thing: of two that write `catalogue.json` the later wins.
"""

import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from itma.errors import CatalogueError, ConfigError, ItmaError
from itma.retrieval.stores.lance import LanceStore, is_strange
from itma.retrieval.sums import Verification

_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[^/].*?)/*")
_SECONDS = 10
"""That a connection may take; a host that is not there is named after a few tries of that."""


class BucketStore(LanceStore):
    """A prefix in a bucket with Lance tables and documents; see `itma.retrieval.stores.base.Store`.

    Args:
        address: `s3://bucket/name`, or deeper.

    Raises:
        ConfigError: the address is none.
    """

    def __init__(self, address: str) -> None:
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise ConfigError(f"{address!r} is no address of a bucket; write s3://BUCKET/NAME")
        self._path = f"{match['bucket']}/{match['key']}"
        super().__init__(Path(match["key"]))

    @property
    def address(self) -> str:
        """See `Store.address`."""
        return f"s3://{self._path}"

    @cached_property
    def files(self) -> Any:
        """The bucket's files, as Arrow sees them."""
        from pyarrow.fs import S3FileSystem

        scheme, _, host = _endpoint().rpartition("://")  # Arrow wants the two apart
        more = {"endpoint_override": host, "scheme": scheme or "https"} if host else {}
        if region := _region():
            more["region"] = region
        with self.translate_errors():
            return S3FileSystem(connect_timeout=_SECONDS, request_timeout=60, **more)

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Turns errors of the storage into ours."""
        try:
            yield
        except OSError as error:
            if isinstance(error, ItmaError):
                raise
            text = " ".join(str(error).split())[:300]
            raise CatalogueError(
                f"the catalogue {self.address!r} cannot be reached ({text}); see whether the bucket is there, and "
                "AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error

    def read(self, name: str) -> str | None:
        """See `Store.read`."""
        with self.translate_errors():
            try:
                with self.files.open_input_stream(f"{self._path}/{name}") as file:
                    return bytes(file.read()).decode("utf-8", "surrogateescape")
            except FileNotFoundError:
                return None

    def write(self, name: str, text: str) -> None:
        """See `Store.write`; an object is there whole or not at all."""
        with self.translate_errors(), self.files.open_output_stream(f"{self._path}/{name}") as file:
            file.write(text.encode("utf-8", "surrogateescape"))

    def stamp(self, name: str) -> object:
        """See `Store.stamp`; the times in a bucket are whole seconds, so what stands there tells more."""
        return self.read(name)

    def names(self) -> list[str]:
        """What lies directly at the address."""
        from pyarrow.fs import FileSelector

        with self.translate_errors():
            listed = self.files.get_file_info(FileSelector(self._path, allow_not_found=True))
        return [posixpath.basename(each.path) for each in listed]

    def strange(self) -> bool:
        """See `Store.strange`; a bucket that cannot be reached is an error."""
        return is_strange(self.names())

    def discard(self) -> None:
        """See `Store.discard`."""
        with self.translate_errors():
            self.files.delete_dir_contents(self._path, missing_dir_ok=True)

    def drop(self, name: str) -> None:
        """See `Store.drop`."""
        with self.translate_errors(), suppress(FileNotFoundError):
            self.files.delete_dir(f"{self._path}/{name}.lance")

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """See `Store.writing`; nobody is kept out."""
        yield

    def keep_sums(self, name: str) -> None:
        """Nothing is kept: the storage has sums of its own, and checks them whenever something is read."""

    def verify(self, table: str) -> Verification:
        """See `Store.verify`: the storage checks what is read."""
        return Verification()

    def sync(self) -> None:
        """See `Store.sync`: what a bucket has taken, it keeps."""

    def _options(self) -> dict[str, str] | None:
        options = {"aws_region": region} if (region := _region()) else {}
        if endpoint := _endpoint():
            options |= {"aws_endpoint": endpoint, "allow_http": str(endpoint.startswith("http://")).lower()}
        return options


def _endpoint() -> str:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((os.environ[name].rstrip("/") for name in names if os.environ.get(name)), "")


def _region() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
