"""Items given one by one → rows of a table, in one commit or not at all."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from itma.errors import DataError, ItemExistsError
from itma.io import file_sum
from itma.models.embedder import Embedder
from itma.retrieval.filters import SHOWN, kind_of
from itma.retrieval.ingest.embedding import maps_as_bytes
from itma.retrieval.ingest.rows import Item, Row, check_column, same_kind, shown, stored, table_of, type_of, unit
from itma.retrieval.manifest import About
from itma.retrieval.stores.base import Items, arrow, metadata_of

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 64


def put(
    table: Items,
    about: About,
    items: Sequence[Item],
    model: Callable[[], Embedder],
    pictures: Path | None,
    *,
    new: bool,
) -> None:
    """Write items, all in one commit.

    Args:
        table: the caller is its only writer.
        about: of the catalogue.
        items: what to write.
        model: gives what embeds the pictures of items without an embedding; called where there are any.
        pictures: the folder that pictures are named in.
        new: refuse ids that are there already, instead of taking their place.

    Raises:
        DataError: an id is there already or given twice, an item has neither picture nor embedding, an embedding makes
            no sense, or a value does not fit its column.
        PictureError: a picture cannot be read.
    """
    if not items:
        return
    names = [stored(item.id) for item in items]
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise DataError(f"the id {shown(twice)[:60]!r} is given twice; give every item its own")
    if new and (there := table.get(names, ["id"])["id"].to_pylist()):
        raise ItemExistsError(
            f"the id {shown(there[0])[:60]!r} is in the catalogue already"
            + (f", as are {len(there) - 1:,} more" if len(there) > 1 else "")
            + "; choose another, or replace the item"
        )
    fields = _new_columns(table, items)
    rows = _rows(about, items, model, pictures)
    schema = arrow().schema([*table.schema, *fields])
    written = table_of(rows, schema)  # before anything is changed: it may be refused
    if fields:
        table.add_columns(fields)
    if new:
        table.insert(written)
    else:
        table.upsert(written)


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
    return new


def _rows(about: About, items: Sequence[Item], model: Callable[[], Embedder], pictures: Path | None) -> list[Row]:
    rows: dict[str, Row] = {}
    for item in items:
        if item.embedding is not None:
            (embedding,) = unit(np.asarray(item.embedding)[None], about.dim, f"the item {item.id[:60]!r}")
            named = item.picture if isinstance(item.picture, str | Path) else None
            rows[item.id] = Row(item.id, embedding, picture_name(named, pictures), fields=item.fields)
    pictured = [item for item in items if item.embedding is None]
    for item in pictured:
        if item.picture is None:
            raise DataError(f"the item {item.id[:60]!r} has neither a picture nor an embedding; give one of them")
    for first in range(0, len(pictured), _BATCH):
        part = pictured[first : first + _BATCH]
        retriever = model()
        pixels = torch.stack([_read(item, retriever) for item in part])
        embedded = retriever.embed_pictures(pixels).cpu().numpy()
        tokens: Sequence[bytes | None] = maps_as_bytes(retriever, pixels) if about.tokens else [None] * len(part)
        for item, embedding, maps in zip(part, embedded, tokens, strict=True):
            rows[item.id] = _row(item, embedding, maps, pictures)
    return [rows[item.id] for item in items]


def _read(item: Item, model: Embedder) -> torch.Tensor:
    assert item.picture is not None
    return model.preprocess.read(item.picture)


def _row(item: Item, embedding: np.ndarray, tokens: bytes | None, pictures: Path | None) -> Row:
    if isinstance(item.picture, str | Path):
        path = Path(item.picture)
        seen = path.stat()
        name = picture_name(path, pictures)
        return Row(item.id, embedding, name, file_sum(path), seen.st_size, seen.st_mtime_ns, item.fields, tokens)
    return Row(item.id, embedding, fields=item.fields, tokens=tokens)


def picture_name(path: str | Path | None, pictures: Path | None) -> str | None:
    """A picture as the catalogue names it."""
    if path is None:
        return None
    whole = Path(os.path.normpath(Path(path).absolute()))
    if pictures is not None and whole.is_relative_to(folder := Path(os.path.normpath(pictures.absolute()))):
        return whole.relative_to(folder).as_posix()
    return whole.as_posix()
