"""Items as a person gives them → rows of a table: names and metadata that a store can hold, embeddings of length 1."""

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itma.data.images import Source
from itma.errors import DataError
from itma.io import file_sum
from itma.retrieval.stores.base import OWN, arrow, embedding_column
from itma.retrieval.stores.conditions import SHOWN, kind_of
from itma.retrieval.values import is_missing

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Item:
    """Something to be found: an image, or a ready-made embedding, with whatever is known about it.

    >>> Item("sku-17", image="dress.jpg", fields={"colour": "red", "price": 49.9}).id
    'sku-17'
    """

    id: str
    """Any text; unique in its catalogue."""
    image: Source | None = None
    """A path, the bytes of a file, or a Pillow image; only a path can be found again."""
    embedding: np.ndarray | None = field(default=None, compare=False)
    """(dim,) where it was made already; it is scaled to length 1."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Metadata by column: text, numbers, true or false, dates, times, or lists of texts."""

    def __repr__(self) -> str:
        image = self.image if isinstance(self.image, str | Path | None) else f"<{type(self.image).__name__}>"
        parts = [repr(self.id), *([] if image is None else [f"image={str(image)!r}"])]
        parts += [] if self.embedding is None else [f"embedding=<{len(self.embedding)} numbers>"]
        columns = list(self.fields.items())
        text = ", ".join(f"{name}={value!r:.40}" for name, value in columns[:4])
        parts += [f"{text}, … {len(columns)} columns" if len(columns) > 4 else text] if columns else []
        return f"Item({', '.join(parts)})"


def list_items(items: Iterable[Item]) -> list[Item]:
    """Items as a list; a generator could be read only once.

    Raises:
        DataError: they are something else than items.
    """
    listed = list(items) if isinstance(items, Iterable) else []
    strange = [each for each in listed if not isinstance(each, Item)]
    if strange or not isinstance(items, Iterable):
        wrong = strange[0] if strange else items
        raise DataError(f"a list of items is expected, e.g. [Item('sku-17', 'dress.jpg')]; {wrong!r:.60} is none")
    return listed


@dataclass(frozen=True)
class Page:
    """Some of a catalogue's items, without their embeddings."""

    items: Sequence[Item]
    next: str | None
    """The mark of the page that follows; None: this is the last one."""


@dataclass(frozen=True)
class FileState:
    """What is known of an image's file; nothing where there is none."""

    sum: str | None = None
    size: int | None = None
    modified: int | None = None

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "FileState":
        """That of a row of a store."""
        return cls(row["_sum"], row["_size"], row["_modified"])

    @classmethod
    def of_path(cls, path: Path) -> "FileState":
        """That of a file, which is read."""
        status = path.stat()
        return cls(file_sum(path), status.st_size, status.st_mtime_ns)


NO_FILE = FileState()


@dataclass(frozen=True)
class Row:
    """One row of a table of items, all but the metadata's types checked."""

    id: str
    embedding: np.ndarray
    image: str | None = None
    file: FileState = NO_FILE
    fields: Mapping[str, Any] = field(default_factory=dict)
    tokens: bytes | None = None


# -- names ------------------------------------------------------------------------------------------------------------

_ODD = re.compile("[\udc80-\udcff]")
_STORED = re.compile("\0([0-9a-f]{2})")


def to_stored(name: str) -> str:
    r"""A name as a store holds it: bytes of a file name that are no text become a zero character and their number.

    >>> to_stored("a\udcff.png")
    'a\x00ff.png'

    Raises:
        DataError: the name is empty, holds a zero character, or is no valid text.
    """
    if not isinstance(name, str):
        raise DataError(f"the id {name!r:.60} is a {type(name).__name__}; ids are texts")
    if not name or "\0" in name:
        raise DataError(f"the id {name[:60]!r} is {'empty' if not name else 'not usable: it holds a zero character'}")
    name = _ODD.sub(lambda odd: f"\0{ord(odd[0]) - 0xDC00:02x}", name)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the id {name[:60]!r} is not usable: it is no valid text") from error
    return name


def to_shown(name: str) -> str:
    r"""A name as it was given.

    >>> to_shown(to_stored("a\udcff.png"))
    'a\udcff.png'
    """
    return _STORED.sub(lambda code: chr(0xDC00 + int(code[1], 16)), name) if "\0" in name else name


# -- embeddings -------------------------------------------------------------------------------------------------------


def unit(embeddings: Any, dim: int | None, what: str) -> np.ndarray:
    """Embeddings as (items, dim) float32 of length 1.

    Raises:
        DataError: another shape, values that are no finite numbers, or a row of zeros; the message begins with `what`.
    """
    try:
        with np.errstate(over="ignore"):  # what is too large for float32 is refused below
            rows = np.asarray(embeddings, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: not an array of numbers ({error})") from error
    if rows.ndim != 2 or (dim is not None and rows.shape[1] != dim) or not rows.shape[1]:
        expected = "(items, dim)" if dim is None else f"{dim} numbers each"
        raise DataError(f"{what}: the shape is {rows.shape}; expected {expected}")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise DataError(f"{what}: the embedding in row {bad[0]} holds a value that is no finite number")
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))[:, None]
    if len(rows) and not lengths.all():
        raise DataError(f"{what}: the embedding in row {int(np.argmin(lengths))} is all zeros and has no direction")
    scaled: np.ndarray = (rows / lengths).astype(np.float32)
    return scaled


# -- metadata ---------------------------------------------------------------------------------------------------------


def check_column(name: str) -> None:
    """Refuse names of metadata columns that no store can hold.

    Raises:
        DataError: the name is taken or holds a character that has another meaning there.
    """
    if name in ("id", "embedding") or name.startswith("_"):
        raise DataError(
            f"metadata cannot be called {name!r}: id, embedding and names that begin with _ are the catalogue's own; "
            "rename the column"
        )
    if not name.strip() or set(name) & set(".`\0") or _ODD.search(name):
        raise DataError(f"metadata cannot be called {name!r}: a name may not be empty or hold a dot or `; rename it")


def type_of(values: Iterable[Any], column: str) -> "pa.DataType":
    """The type of a column that holds these values, `None` left out.

    Raises:
        DataError: the values are of several kinds, or of one that is no metadata.
    """
    kinds: dict[str, Any] = {}
    for value in values:
        if value is not None:
            kinds.setdefault(_kind(value, column), value)
    if "number" in kinds:
        kinds.pop("whole", None)
    if len(kinds) > 1:
        (one, first), (other, second) = list(kinds.items())[:2]
        raise DataError(
            f"the column {column!r} holds {SHOWN[one]} ({first!r}) as well as {SHOWN[other]} ({second!r}); a column is "
            "of one kind"
        )
    return plain_type(next(iter(kinds), "text"))


def plain_type(kind: str) -> "pa.DataType":
    """The type that a column of a kind has where it is made anew."""
    pa = arrow()
    if kind == "texts":
        return pa.list_(pa.string())
    same = {"truth": "bool", "text": "string", "date": "date32", "time": "timestamp[us]"}
    return pa.type_for_alias({"whole": "int64", "number": "float64", **same}[kind])


_KINDS: tuple[tuple[Any, str], ...] = (
    (bool | np.bool_, "truth"),
    (int | np.integer, "whole"),
    (float | np.floating, "number"),
    (str, "text"),
    (datetime, "time"),
    (date, "date"),
)
"""The first of these types that a value is of says its kind."""


def _kind(value: Any, column: str) -> str:
    for types, kind in _KINDS:
        if isinstance(value, types):
            return kind
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return "texts"
    raise DataError(
        f"the column {column!r} holds {value!r}; metadata are text, numbers, true or false, dates, times, or lists of "
        "texts"
    )


def same_kind(have: "pa.DataType", new: "pa.DataType") -> bool:
    """Whether values of type `new` fit into a column of type `have`: whole numbers also into one of numbers."""
    kinds = kind_of(have), kind_of(new)
    return kinds[0] == kinds[1] or kinds == ("number", "whole")


def facts_of(fields: Mapping[str, Any]) -> str:
    """A sum over an item's metadata: equal metadata, equal sums."""
    plain = {name: value for name, value in fields.items() if not is_missing(value) or value == ""}
    text = json.dumps(plain, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def table_of(rows: Sequence[Row], schema: "pa.Schema") -> "pa.Table":
    """Rows as an Arrow table.

    Raises:
        DataError: a value of the metadata does not fit its column; the message names the item.
    """
    pa = arrow()
    columns: dict[str, Any] = {
        "id": [to_stored(row.id) for row in rows],
        "embedding": embedding_column(np.stack([row.embedding for row in rows])),
        "_image": [None if row.image is None else to_stored(row.image) for row in rows],
        "_sum": [row.file.sum for row in rows],
        "_size": [row.file.size for row in rows],
        "_modified": [row.file.modified for row in rows],
        "_facts": [facts_of(row.fields) for row in rows],
        "_stamp": [secrets.randbits(63) for _ in rows],
        "_tokens": [row.tokens for row in rows],
    }
    arrays = []
    for each in schema:
        if each.name in ("id", "embedding", *OWN):
            arrays.append(columns[each.name] if each.name == "embedding" else pa.array(columns[each.name], each.type))
        else:
            arrays.append(_column(each, rows))
    return pa.Table.from_arrays(arrays, schema=schema)


def _column(field: "pa.Field", rows: Sequence[Row]) -> "pa.Array":
    pa, kind = arrow(), kind_of(field.type)
    values = []
    for row in rows:
        value = row.fields.get(field.name)
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and is_missing(value):
            value = None  # a number that is no number would pass every comparison
        if isinstance(value, datetime) and value.tzinfo is not None:
            value = value.astimezone(UTC).replace(tzinfo=None)
        if value is not None and (other := _kind(value, field.name)) != kind and (kind, other) != ("number", "whole"):
            raise DataError(
                f"the item {row.id[:60]!r} has {value!r} in the column {field.name!r}, which holds {SHOWN[kind]}"
            )
        values.append(value)
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, ValueError, TypeError) as error:
        raise DataError(f"a value of the column {field.name!r} cannot be kept as {SHOWN[kind]}: {error}") from error
