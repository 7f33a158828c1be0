"""Which engine keeps a catalogue: told by how its place is written."""

import re
from pathlib import Path

from itma.errors import ConfigError
from itma.retrieval.stores.base import Store
from itma.retrieval.stores.bucket import BucketStore
from itma.retrieval.stores.lance import LanceStore
from itma.retrieval.stores.milvus import MilvusStore

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_url(place: str | Path) -> bool:
    """Whether a place is written as an address rather than as a folder.

    >>> is_url("milvus://host/dresses"), is_url("catalogue/dresses")
    (True, False)
    """
    return isinstance(place, str) and _URL.match(place) is not None


def store_at(place: str | Path) -> Store:
    """The store of a catalogue, whether the catalogue is there yet or not.

    Args:
        place: a folder, `milvus://host:port/name`, or `s3://bucket/name`.

    Raises:
        CatalogueError: the name on the server is none.
        ConfigError: it is an address that no engine knows.
        MissingExtraError, MissingPackageError: the engine is not installed.
    """
    if is_url(place):
        if str(place).startswith("milvus://"):
            return MilvusStore(str(place))
        if str(place).startswith("s3://"):
            return BucketStore(str(place))
        raise ConfigError(
            f"{place!r} is no place for a catalogue; give a folder, milvus://HOST:PORT/NAME or s3://BUCKET/NAME"
        )
    return LanceStore(Path(place))
