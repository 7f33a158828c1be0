"""Which engine keeps a catalogue: told by how its place is written."""

from pathlib import Path

from itma.search.lance import LanceStore
from itma.search.milvus import MilvusStore
from itma.search.store import Store


def store_at(place: str | Path) -> Store:
    """The store of a catalogue, whether the catalogue is there yet or not.

    Args:
        place: a folder, or `milvus://host:port/name`.

    Raises:
        MissingPackageError, MissingExtraError: the engine is not installed.
    """
    if str(place).startswith("milvus:"):
        return MilvusStore(str(place))
    return LanceStore(Path(place))
