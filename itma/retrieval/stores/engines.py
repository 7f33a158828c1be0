"""Which engine keeps a catalogue, by how its address is written."""

import re
from pathlib import Path
from typing import Any

from itma.errors import ConfigError
from itma.registry import HOW_TO_ADD, Registry
from itma.retrieval.stores.base import Store
from itma.retrieval.stores.lance import LanceStore

REGISTRY: Registry[Any] = Registry(
    "store",
    object,
    {"milvus": "itma.retrieval.stores.milvus:MilvusStore", "s3": "itma.retrieval.stores.bucket:BucketStore"},
)
"""Store by the scheme of its address: a class that is made from the whole address, and is a `Store`."""
register = REGISTRY.register

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_url(address: str | Path) -> bool:
    """Whether a catalogue is named by an address rather than by a folder.

    >>> is_url("milvus://host/dresses"), is_url("catalogue/dresses")
    (True, False)
    """
    return isinstance(address, str) and _URL.match(address) is not None


def store_at(address: str | Path) -> Store:
    """The store of a catalogue, whether the catalogue is there yet or not.

    Args:
        address: a folder, `milvus://host:port/name`, or `s3://bucket/name`.

    Raises:
        CatalogueError: the name on the server is none.
        ConfigError: it is an address that no engine knows, or no text and no path.
        MissingExtraError, MissingPackageError: the engine is not installed.
    """
    if not isinstance(address, str | Path):
        raise ConfigError(f"{address!r:.60} is a {type(address).__name__}; expected the path of a catalogue")
    if not is_url(address):
        return LanceStore(Path(address))
    kind = REGISTRY.lookup(str(address).partition("://")[0])
    if kind is None:
        raise ConfigError(
            f"{address!r} is no address of a catalogue; give a folder, milvus://HOST:PORT/NAME or s3://BUCKET/NAME. "
            + HOW_TO_ADD
        )
    store: Store = kind(str(address))
    return store
