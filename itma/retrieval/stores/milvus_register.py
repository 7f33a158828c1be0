"""What a Milvus server's register holds of one table: which commit is the newest, and which rows are gone.

Both are properties of collections. A change of one collection's properties is whole or not there at all.
"""

import base64
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from itma.errors import CatalogueError
from itma.retrieval.stores.base import arrow

if TYPE_CHECKING:
    import pyarrow as pa

    from itma.retrieval.stores.milvus import MilvusStore

_KEY = 22
"""Characters of a row's key."""


@dataclass(frozen=True)
class Head:
    """The newest commit of a table."""

    version: int
    written: int
    """The server's time of its last row."""
    schema: str
    """See `packed`."""
    first: int
    """Columns of metadata that were there from the beginning."""
    items: int
    history: list[tuple[int, float, int]] = field(default_factory=list)
    """Versions that can be opened: number, time in seconds, items."""
    gone: int = 0
    """Rows that are gone in some version and not forgotten."""
    built: int = 0
    """The version that the index was made of; 0: none was asked for."""
    loose: int = 0
    """Rows that came since all were known to be in the index."""

    def arrow_schema(self) -> "pa.Schema":
        """The table's columns."""
        return arrow().ipc.read_schema(arrow().py_buffer(base64.b64decode(self.schema)))

    def properties(self) -> dict[str, str]:
        """As it is written down."""
        return {"head": json.dumps(asdict(self)), "unfinished": ""}


def packed(schema: "pa.Schema") -> str:
    """A table's columns as text."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


class Register:
    """The register's part on one table.

    Args:
        store: its catalogue.
        rows: the collection of its rows, with the newest commit among its properties.
        gone: the collection in whose properties it stands which rows are gone.
    """

    def __init__(self, store: "MilvusStore", rows: str, gone: str) -> None:
        self._store, self.rows, self.gone_rows = store, rows, gone

    def newest(self) -> Head:
        """The newest commit.

        Raises:
            CatalogueError: the table is not there.
        """
        text = self._store.properties(self.rows).get("head")
        if text is None:
            raise CatalogueError(
                f"the catalogue {self._store.place!r} is damaged: its table "
                f"{self.rows.rpartition('__table_')[2].replace('_', '-')} is missing; restore a backup, or index again"
            )
        plain = json.loads(text)
        return Head(**{**plain, "history": [tuple(entry) for entry in plain["history"]]})

    def write(self, head: Head) -> None:
        """Name a commit the newest."""
        self._store.set_properties(self.rows, head.properties())

    def begin(self, version: int) -> None:
        """Write down that rows of a commit may be there that is not named yet."""
        self._store.set_properties(self.rows, {"unfinished": str(version)})

    def unfinished(self) -> bool:
        """Whether a commit was begun and did not come to its end."""
        return bool(self._store.properties(self.rows).get("unfinished"))

    def gone(self) -> dict[int, list[str]]:
        """The keys of rows that are gone, by the version from which on they are."""
        found = {}
        for text in self._slots().values():
            version, _, keys = text.partition(" ")
            if version:
                found[int(version)] = [keys[at : at + _KEY] for at in range(0, len(keys), _KEY)]
        return found

    def add_gone(self, version: int, keys: Sequence[str]) -> None:
        """Write down which rows are gone from a version on that is not named yet."""
        slots = self._slots()
        free = next(name for number in range(len(slots) + 1) if not slots.get(name := f"gone {number}"))
        self._store.set_properties(self.gone_rows, {free: f"{version} {''.join(keys)}"})

    def forget_gone(self, versions: Collection[int]) -> None:
        """Cross out what was written down for these versions."""
        old = {name: "" for name, text in self._slots().items() if text and int(text.partition(" ")[0]) in versions}
        if old:
            self._store.set_properties(self.gone_rows, old)

    def _slots(self) -> dict[str, str]:
        """Properties on rows that are gone; one that is empty is used again, as Milvus 2.3 removes none."""
        found = self._store.properties(self.gone_rows)
        return {name: text for name, text in found.items() if name.startswith("gone ")}
