"""The engine that keeps a catalogue on a Milvus server or cluster: one machine writes while many read.

A catalogue `shop` is a few collections whose names begin with `shop__`. Its documents, and which commit of a table is
the newest, are properties of collections: the server keeps those in its register, where a change is whole or not there
at all and is seen by all at once. Rows never change. A commit adds rows that nobody looks at yet, writes down which
others are gone, and then names itself the newest in one step; so whoever is killed leaves the table as it was, readers
see no half of a commit, and earlier versions stay until `compact` forgets them.

Consistency is chosen explicitly: a reader waits until the server has taken in the commit that it shows, no longer
(Milvus' level "Customized", with the time of the commit). "Strong" would wait for a tick of the server's clock, 200 ms,
at every search; Milvus' default shows stale reads.
"""

import base64
import json
import logging
import os
import re
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from itma.errors import CatalogueError, FilterError, ItmaError, MissingExtraError, StorageError
from itma.retrieval.filters import Filter
from itma.retrieval.stores.lease import Lease
from itma.retrieval.stores.milvus_items import MilvusItems
from itma.retrieval.stores.milvus_lock import MilvusTokens

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pyarrow as pa

TOKEN = "ITMA_MILVUS_TOKEN"
"""The environment variable that holds `user:password` or a key, where the server asks for one."""
OLDEST = (2, 3)
"""The oldest server that is known to do."""
_PLACE = re.compile(
    r"milvus://([^/\s:@]+|\[[0-9a-fA-F:]+\])(?::(\d{1,5}))?/(?:(\w+)/)?([A-Za-z](?:_?[A-Za-z0-9])*)/?", re.ASCII
)
_SECONDS = 60.0
"""How long one call may take."""
_CONNECTING = 10.0
_NO_COLLECTION = 100
"""Milvus' code for a collection that is not there."""
_INLINE = 200_000
"""Characters of a property; etcd, the server's register, takes 1.5 MB for all that is known of a collection."""


class NoteError(CatalogueError):
    """A collection of that name is there already."""


class MilvusStore:
    """Some collections of a Milvus server; see `itma.retrieval.stores.base.Store`.

    Args:
        place: `milvus://host:port/name`, or `milvus://host:port/database/name`. The port is 19530 where none is given.

    Raises:
        CatalogueError: the place is written in another way.
        MissingExtraError: pymilvus is not installed.
    """

    def __init__(self, place: str) -> None:
        found = _PLACE.fullmatch(place)
        if found is None or len(found[4]) > 100 or not 0 < int(found[2] or 19530) < 65536:
            raise CatalogueError(
                f"{place!r} names no catalogue on a Milvus server; write milvus://HOST:PORT/NAME, with letters, digits "
                "and single underscores in the name"
            )
        try:
            import pymilvus
        except ImportError as error:
            raise MissingExtraError("a catalogue on a Milvus server", "milvus") from error
        self.package: Any = pymilvus
        self._server, self._database, self.name = f"{found[1]}:{found[2] or 19530}", found[3] or "", found[4]
        self._place = place.rstrip("/")
        self._client: Any = None
        self.lock = Lease(MilvusTokens(self))

    @property
    def place(self) -> str:
        """See `Store.place`."""
        return self._place

    # -- documents ----------------------------------------------------------------------------------------------------

    def read(self, name: str) -> str | None:
        """See `Store.read`."""
        kept = self._document(name)
        if kept is None:
            return None
        parts = [kept["text"]] if "text" in kept else []
        notes = (self._part(name, kept["stamp"], number) for number in range(kept.get("parts", 0)))
        parts += [self.properties(note).get("text", "") for note in notes]
        try:
            text: str = json.loads(zlib.decompress(base64.b64decode("".join(parts))))
        except (ValueError, zlib.error) as error:
            raise CatalogueError(
                f"the catalogue {self.place!r} is damaged: {name} cannot be read; restore a backup, or index again"
            ) from error
        return text

    def write(self, name: str, text: str) -> None:
        """See `Store.write`."""
        before = self._document(name)
        packed = base64.b64encode(
            zlib.compress(json.dumps(text).encode())
        ).decode()  # JSON takes bytes that are no text
        stamp = secrets.token_hex(8)
        if len(packed) <= _INLINE:
            kept: dict[str, Any] = {"stamp": stamp, "text": packed}
        else:
            parts = [packed[at : at + _INLINE] for at in range(0, len(packed), _INLINE)]
            for number, part in enumerate(parts):
                self.make_note(self._part(name, stamp, number), {"text": part})
            kept = {"stamp": stamp, "parts": len(parts)}
        if self.described(self._documents) is None:
            with suppress(NoteError):  # somebody else was faster
                self.make_note(self._documents, {})
        self.set_properties(self._documents, {f"document {name}": json.dumps(kept)})
        for number in range(0 if before is None else before.get("parts", 0)):
            assert before is not None
            self.drop_collection(self._part(name, before["stamp"], number))

    def stamp(self, name: str) -> object:
        """See `Store.stamp`."""
        kept = self._document(name)
        return None if kept is None else kept["stamp"]

    @property
    def _documents(self) -> str:
        return f"{self.name}__documents"

    def _part(self, name: str, stamp: str, number: int) -> str:
        return f"{self.name}__part_{re.sub('[^a-z]', '_', name)}_{stamp}_{number}"

    def _document(self, name: str) -> dict[str, Any] | None:
        text = self.properties(self._documents).get(f"document {name}")
        kept: dict[str, Any] | None = None if text is None else json.loads(text)
        return kept

    # -- the whole ----------------------------------------------------------------------------------------------------

    def strange(self) -> bool:
        """See `Store.strange`; nobody else names collections in this way."""
        return False

    def discard(self) -> None:
        """See `Store.discard`."""
        for name in self.collections():
            if not name.startswith(f"{self.name}__lock_"):
                self.drop_collection(name)

    def tables(self) -> list[str]:
        """See `Store.tables`."""
        first = f"{self.name}__table_"
        found = (name.removeprefix(first).replace("_", "-") for name in self.collections() if name.startswith(first))
        return sorted(found)

    def create(self, name: str, schema: "pa.Schema") -> MilvusItems:
        """See `Store.create`."""
        self.drop(name)
        return MilvusItems.create(self, *self._names(name), schema)

    def open(self, name: str, version: int | None = None) -> MilvusItems:
        """See `Store.open`."""
        items = MilvusItems(self, *self._names(name))
        return items if version is None else items.at(version)

    def drop(self, name: str) -> None:
        """See `Store.drop`."""
        for each in self._names(name):
            self.drop_collection(each)

    def _names(self, table: str) -> tuple[str, str]:
        """The collection of a table, and that of what is gone from it."""
        inner = table.replace("-", "_")
        return f"{self.name}__table_{inner}", f"{self.name}__gone_{inner}"

    def writing(self, what: str) -> "AbstractContextManager[None]":
        """See `Store.writing`."""
        return self.lock.held(what)

    def sync(self) -> None:
        """See `Store.sync`: all rows are written to the server's storage, beyond its log.

        Whether that storage survives a loss of power is the server's affair.
        """
        for table in self.tables():
            with self.explained():
                self.client().flush(self._names(table)[0], timeout=_SECONDS)

    # -- the server ---------------------------------------------------------------------------------------------------

    def client(self) -> Any:
        """The connection, made when it is first needed.

        Raises:
            CatalogueError: the server cannot be reached, refuses the person, or is too old.
        """
        if self._client is None:
            logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it prints a trace of what it raises as well
            with self.explained():
                client = self.package.MilvusClient(
                    f"http://{self._server}",
                    token=os.environ.get(TOKEN, ""),
                    db_name=self._database,
                    timeout=_CONNECTING,
                )
                version = str(client.get_server_version(timeout=_CONNECTING))
                databases = client.list_databases(timeout=_CONNECTING) if self._database else [""]
            numbers = re.match(r"v?(\d+)\.(\d+)", version)
            if numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST:
                raise CatalogueError(
                    f"the Milvus server at {self._server} is of version {version}; itma needs {OLDEST[0]}.{OLDEST[1]} "
                    "or newer"
                )
            if self._database not in databases:
                raise CatalogueError(
                    f"the Milvus server at {self._server} has no database {self._database!r}; it has: "
                    f"{', '.join(databases)}"
                )
            self._client = client
        return self._client

    def collections(self) -> list[str]:
        """The names of all collections of this catalogue."""
        with self.explained():
            found = self.client().list_collections(timeout=_SECONDS)
        return sorted(name for name in found if name.startswith(f"{self.name}__"))

    def described(self, collection: str) -> dict[str, Any] | None:
        """What the server's register knows of a collection, as of now; absent: there is none."""
        try:
            with self.explained():
                found: dict[str, Any] = self.client().describe_collection(collection, timeout=_SECONDS)
                return found
        except CatalogueError as error:
            cause = error.__cause__
            if isinstance(cause, self.package.MilvusException) and cause.code == _NO_COLLECTION:
                return None
            raise

    def properties(self, collection: str) -> dict[str, str]:
        """What is written down with a collection; empty where there is none."""
        found = self.described(collection)
        return {} if found is None else dict(found["properties"])

    def set_properties(self, collection: str, changed: dict[str, str]) -> None:
        """Write down with a collection, all in one step."""
        with self.explained():
            self.client().alter_collection_properties(collection, changed, timeout=_SECONDS)

    def make_note(self, collection: str, properties: dict[str, str], description: str = "") -> None:
        """A collection without rows, for its properties alone.

        Raises:
            NoteError: there is one of that name.
        """
        with self.explained():
            client = self.client()
            schema = client.create_schema(auto_id=False, description=description)
            schema.add_field("number", self.package.DataType.INT64, is_primary=True)
            schema.add_field("nothing", self.package.DataType.FLOAT_VECTOR, dim=2)
            client.create_collection(
                collection, schema=schema, num_shards=1, properties=properties or None, timeout=_SECONDS
            )

    def now(self) -> int:
        """The server's time, as it stamps rows: that at which a collection was made."""
        name = f"{self.name}__time_{secrets.token_hex(8)}"
        self.make_note(name, {})
        found = self.described(name)
        self.drop_collection(name)
        assert found is not None
        return int(found["created_timestamp"])

    def drop_collection(self, collection: str) -> None:
        """Remove a collection, whether it is there or not."""
        with self.explained():
            self.client().drop_collection(collection, timeout=_SECONDS)

    @contextmanager
    def explained(self, condition: Filter | None = None) -> Iterator[None]:
        """Turns what pymilvus raises into our errors."""
        import grpc

        try:
            yield
        except ItmaError:
            raise
        except (self.package.MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
            raise self._error(error, condition) from error

    def _error(self, error: Exception, condition: Filter | None) -> ItmaError:
        said = str(getattr(error, "message", "") or error).splitlines()[0][:300]
        low = said.lower()
        if "create duplicate collection" in low:
            return NoteError(
                f"the catalogue {self.place!r} is being changed by another process; wait a moment and try again"
            )
        if condition is not None and "cannot parse expression" in low:
            return FilterError(
                f"the condition {condition.text or condition.tests!r} is not understood by Milvus ({said})"
            )
        if "fail connecting" in low or "unavailable" in low or "statuscode.unavailable" in low:
            return CatalogueError(
                f"the Milvus server at {self._server} cannot be reached ({said}); start it, or check the address in "
                f"{self.place!r}"
            )
        if "deadline" in low or "timeout" in low or "retry run out" in low:
            return CatalogueError(
                f"the Milvus server at {self._server} did not answer in time ({said}); see whether it is overloaded, "
                "and try again"
            )
        if "auth" in low or "permission" in low:
            return CatalogueError(
                f"the Milvus server at {self._server} refuses the access ({said}); set {TOKEN}=user:password, or a key"
            )
        if "quota" in low or "disk" in low or "deny to write" in low:
            return StorageError(f"the Milvus server at {self._server} takes no more writes ({said})")
        return CatalogueError(
            f"the catalogue {self.place!r} cannot be read or written ({said}); if this stays so, restore a backup or "
            "index again"
        )
