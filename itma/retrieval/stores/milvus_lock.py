"""Where the writers of a catalogue on a server put their tokens: collections, whose names are given only once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itma.retrieval.stores.milvus import MilvusStore


class MilvusTokens:
    """See `itma.retrieval.stores.lease.Tokens`."""

    def __init__(self, store: "MilvusStore") -> None:
        self._store = store

    @property
    def place(self) -> str:
        """See `Tokens.place`."""
        return self._store.place

    def all(self) -> list[str]:
        """See `Tokens.all`."""
        first = f"{self._store.name}__lock_"
        return [name for name in self._store.collections() if name.startswith(first)]

    def put(self, others: Sequence[str], sign: str, text: str) -> str:
        """See `Tokens.put`."""
        numbers = [int(name.rpartition("_")[2]) for name in others]
        name = f"{self._store.name}__lock_{max(numbers, default=0) + 1}"
        self._store.make_note(name, {"holder": text}, sign)
        return name

    def read(self, name: str) -> str | None:
        """See `Tokens.read`."""
        return self._store.properties(name).get("holder")

    def renew(self, name: str, sign: str, text: str) -> None:
        """See `Tokens.renew`."""
        self._store.set_properties(name, {"holder": text})

    def is_there(self, name: str, sign: str) -> bool:
        """See `Tokens.is_there`."""
        found = self._store.described(name)
        return found is not None and found["description"] == sign

    def remove(self, name: str) -> None:
        """See `Tokens.remove`."""
        self._store.drop_collection(name)
