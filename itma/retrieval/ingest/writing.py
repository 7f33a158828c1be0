"""Items given one by one → rows of a table, in one commit or not at all."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itma.errors import DataError, ItemExistsError
from itma.models.embedder import Embedder
from itma.retrieval.filters import Filter
from itma.retrieval.ingest.embedding import embed
from itma.retrieval.ingest.image_names import ImageNames
from itma.retrieval.ingest.rows import (
    NO_FILE,
    FileState,
    Item,
    Row,
    check_column,
    list_items,
    same_kind,
    table_of,
    to_shown,
    to_stored,
    type_of,
    unit,
)
from itma.retrieval.manifest import About
from itma.retrieval.reference_maps import unknown_item_error
from itma.retrieval.stores.base import Items, arrow, metadata_of, read_column
from itma.retrieval.stores.conditions import SHOWN, Test, kind_of

if TYPE_CHECKING:
    import pyarrow as pa

MOST_COLUMNS = 500
"""Columns of metadata of a catalogue; every search that tells all of them reads each."""
_BATCH = 64
_AT_ONCE = 1_000
"""Names that are asked for in one expression."""


class Writer:
    """What the only writer of a catalogue does with its items; each change is one commit, or none.

    Args:
        table: the newest version; the caller is its only writer.
        about: of the catalogue.
        model: gives what embeds the images of items without an embedding; called where there are any.
        names: what images are called.
    """

    def __init__(self, table: Items, about: About, model: Callable[[], Embedder], names: ImageNames) -> None:
        self.table, self._about, self._model, self._names = table, about, model, names
        self.replaced = False
        """Whether items were replaced or removed, whose images may be nobody's now."""

    def put(self, items: Iterable[Item], *, new: bool, keep: bool = False) -> None:
        """Write items, all in one commit.

        Args:
            items: what to write.
            new: refuse ids that are there already, instead of taking their place.
            keep: items with neither image nor embedding are to keep those that they have.

        Raises:
            DataError: an id is there already or given twice, an item has neither image nor embedding, an embedding
                makes no sense, a value does not fit its column, or there would be too many columns.
            ImageError: an image cannot be read.
            UnknownItemError: an item that is to keep its image is not there.
        """
        items = list_items(items)
        if not items:
            return
        names = [to_stored(item.id) for item in items]
        if len(set(names)) < len(names):
            twice = next(name for index, name in enumerate(names) if name in names[:index])
            raise DataError(f"the id {to_shown(twice)[:60]!r} is given twice; give every item its own")
        if new and (there := self.table.get(names, ["id"])["id"].to_pylist()):
            raise ItemExistsError(
                f"the id {to_shown(there[0])[:60]!r} is in the catalogue already"
                + (f", as are {len(there) - 1:,} more" if len(there) > 1 else "")
                + "; choose another, or replace the item"
            )
        bare = [item for item in items if keep and item.image is None and item.embedding is None]
        rows = self._keep_rows(bare) | {
            row.id: row
            for row in _rows(self._about, [item for item in items if item not in bare], self._model, self._names)
        }
        fields = _new_columns(self.table, items)
        schema = arrow().schema([*self.table.schema, *fields])
        table = table_of([rows[item.id] for item in items], schema)  # before anything is changed: it may be refused
        if fields:
            self.table.add_columns(fields)
        if new:
            self.table.insert(table)
        else:
            self.replaced = True
            self.table.upsert(table)

    def _keep_rows(self, items: Sequence[Item]) -> dict[str, Row]:
        """The rows of items that are there, with other metadata."""
        if not items:
            return {}
        have = self.table.schema.names
        own = [name for name in ("_image", "_sum", "_size", "_modified", "_tokens") if name in have]
        table = self.table.get([to_stored(item.id) for item in items], ["id", "embedding", *own])
        rows = {to_shown(row["id"]): row for row in table.to_pylist()}
        updates = {}
        for item in items:
            if item.id not in rows:
                raise unknown_item_error(item.id)
            row = rows[item.id]
            image = None if row["_image"] is None else to_shown(row["_image"])
            embedding = np.array(row["embedding"], dtype=np.float32)
            file, tokens = FileState.of_row(row), row.get("_tokens")
            updates[item.id] = Row(item.id, embedding, image, file, item.fields, tokens)
        return updates

    def delete(self, ids: Iterable[str], where: Filter | None = None) -> int:
        """Remove items by id and by a condition; those that are not there are passed over. How many there were."""
        names = set(self.table.get(list(map(to_stored, ids)), ["id"])["id"].to_pylist())
        if where is not None:
            names.update(read_column(self.table, "id", where))
        self.replaced = True
        self.table.delete(sorted(names))
        return len(names)

    def images_of(self, ids: Sequence[str]) -> list[Path]:
        """Where the images of these items are; items that are not there, or have none, are passed over."""
        names = self.table.get(list(map(to_stored, ids)), ["_image"])["_image"].to_pylist()
        return [self._names.file(name) for name in names if name is not None]

    def find_unused(self, images: Sequence[Path]) -> list[Path]:
        """Those of some files that are the image of no item."""
        names = {to_stored(name): path for path in images for name in self._names.all_names(path)}
        used = set()
        for first in range(0, len(names), _AT_ONCE):
            where = Test("_image", "in", tuple(names)[first : first + _AT_ONCE], "text")
            used |= {names[name] for name in read_column(self.table, "_image", where) if name in names}
        return [path for path in images if path not in used]


def _new_columns(table: Items, items: Sequence[Item]) -> "list[pa.Field]":
    have, new = metadata_of(table.schema), []
    for name in dict.fromkeys(name for item in items for name in item.fields):
        kind = type_of((item.fields.get(name) for item in items), name)
        if name not in have:
            check_column(name)
            new.append(arrow().field(name, kind))
        elif not same_kind(have[name], kind) and any(item.fields.get(name) is not None for item in items):
            value = next(item.fields[name] for item in items if item.fields.get(name) is not None)
            raise DataError(
                f"the column {name!r} holds {SHOWN[kind_of(have[name])]} in the catalogue; {value!r} does not fit"
            )
    if new and len(have) + len(new) > MOST_COLUMNS:
        raise DataError(
            f"{len(new):,} new columns of metadata beside the {len(have):,} that there are would be more than the "
            f"{MOST_COLUMNS:,} that a catalogue has at most; leave some out"
        )
    return new


def _rows(about: About, items: Sequence[Item], model: Callable[[], Embedder], names: ImageNames) -> list[Row]:
    sources = {item.id: item.image for item in items if item.embedding is None and item.image is not None}
    ids, embedded = list(sources), dict[str, tuple[np.ndarray, bytes | None]]()
    ready = {}
    for item in items:
        if item.embedding is not None:
            (ready[item.id],) = unit(np.asarray(item.embedding)[None], about.dim, f"the item {item.id[:60]!r}")
        elif item.image is None:
            raise DataError(f"the item {item.id[:60]!r} has neither an image nor an embedding; give one of them")
    for first in range(0, len(ids), _BATCH):
        part = ids[first : first + _BATCH]
        pixels = [model().preprocess.read(sources[name]) for name in part]
        embedded |= zip(part, embed(model(), pixels, about.tokens is not None), strict=True)
    rows = []
    for item in items:
        embedding, maps = embedded[item.id] if item.id in embedded else (ready[item.id], None)
        path = Path(item.image) if isinstance(item.image, str | Path) else None
        file = FileState.of_path(path) if path is not None and item.id in embedded else NO_FILE
        rows.append(Row(item.id, embedding, None if path is None else names.name(path), file, item.fields, maps))
    return rows
