"""What is to be indexed: a folder of pictures, or a table (CSV, JSON Lines, Parquet) that names them, with metadata."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itma.data.datasets.tables import CSV_ENDINGS, JSON_ENDINGS, Table, line_error, read_table
from itma.data.images import find_pictures
from itma.errors import ConfigError, DataError, UnknownNameError
from itma.retrieval.filters import SHOWN, kind_of
from itma.retrieval.ingest.rows import check_column, plain_type, type_of
from itma.retrieval.stores.base import arrow

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_ENDINGS = (".parquet", ".pq")
PICTURE_COLUMNS = ("image", "file", "picture")
"""Columns that pictures are looked for in where none is named."""


@dataclass(frozen=True)
class Entry:
    """One item to be indexed."""

    id: str
    picture: str
    """The file as the catalogue names it: below the listing's root, with `/`, or its whole path; may be empty."""
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """Items to be indexed; the entries are made one by one as they are asked for."""

    place: Path
    root: Path
    """The folder that pictures are named in."""
    ids: Sequence[str]
    """One for each entry, each once."""
    columns: "Mapping[str, pa.DataType]"
    """Metadata, with their types."""
    entries: Callable[[], Iterator[Entry]]
    """All of them, in the order of `ids`."""

    def file(self, entry: Entry) -> Path:
        """Where an entry's picture is."""
        return self.root / entry.picture

    def __str__(self) -> str:
        what = f"{len(self.ids):,} items in {str(self.place)!r}"
        if not self.columns:
            return what
        shown = ", ".join(f"{name} ({SHOWN[kind_of(kind)]})" for name, kind in self.columns.items())
        return f"{what}, with {shown}"


def listing(
    place: Path,
    *,
    id_column: str | None = None,
    picture_column: str | None = None,
    types: Mapping[str, str] | None = None,
) -> Listing:
    """What a folder or a table names.

    Args:
        place: a folder of pictures, or a CSV, JSON Lines or Parquet file.
        id_column: of a table, the column of the ids; absent: `id` where there is one, or else the pictures' names.
        picture_column: of a table, the column of the pictures; absent: the first of `image`, `file` and `picture`.
            Pictures are named relative to the table's folder or to `images` in it, or with their whole path.
        types: of a table, columns whose kind is to be another than it looks like: `text`, `number` or `whole`.

    Raises:
        DataError: there is nothing to be read, an id stands there twice, or a column is of several kinds.
        UnknownNameError: a column that is not there.
    """
    if place.is_file() and place.suffix.lower() in (*CSV_ENDINGS, *JSON_ENDINGS, *PARQUET_ENDINGS):
        parquet = place.suffix.lower() in PARQUET_ENDINGS
        made = _parquet if parquet else _table
        return made(place, id_column, picture_column, types or {})
    if id_column or picture_column or types:
        raise ConfigError(
            f"{str(place)!r} is no table, so it has no columns; give a file ending in "
            f"{', '.join((*CSV_ENDINGS, *JSON_ENDINGS, *PARQUET_ENDINGS))}"
        )
    names = [path.relative_to(place).as_posix() for path in find_pictures(place)]
    return Listing(place, place, names, {}, lambda: (Entry(name, name) for name in names))


# -- CSV and JSON Lines -----------------------------------------------------------------------------------------------


def _table(place: Path, id_column: str | None, picture_column: str | None, types: Mapping[str, str]) -> Listing:
    table = read_table(place)
    if not table.rows:
        raise DataError(f"{str(place)!r} holds no rows below its header; there is nothing to index")
    named, pictured = _chosen(table.columns, id_column, picture_column)
    _known(types, table.columns)
    kinds = {
        name: _column_type(table, name, types.get(name)) for name in table.columns if name not in (named, pictured)
    }
    csv = place.suffix.lower() in CSV_ENDINGS
    pictures = [str(row.cells.get(pictured) or "") for row in table.rows]
    raw = pictures if named is None else [row.cells.get(named) for row in table.rows]
    ids = [_id(place, row.line, value) for row, value in zip(table.rows, raw, strict=True)]
    _refuse_doubles(place, ids, [row.line for row in table.rows])

    def entries() -> Iterator[Entry]:
        for name, picture, row in zip(ids, pictures, table.rows, strict=True):
            fields = {
                column: _as(row.cells.get(column), kind_of(kind), csv=csv)
                for column, kind in kinds.items()
                if row.cells.get(column) not in (None, "")
            }
            yield Entry(name, _picture(place.parent, picture), fields)

    return Listing(place, place.parent, ids, kinds, entries)


_WHOLE, _NUMBER = re.compile(r"[+-]?(0|[1-9]\d{0,17})"), re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TRUTHS = {"true": True, "false": False}


def _column_type(table: Table, column: str, wanted: str | None) -> "pa.DataType":
    check_column(column)
    pa = arrow()
    known = {"text": pa.string(), "number": pa.float64(), "whole": pa.int64()}
    if wanted is not None and wanted not in known:
        raise UnknownNameError("kind of column", wanted, known)
    csv = table.path.suffix.lower() in CSV_ENDINGS
    if csv and wanted is None:
        return _looks_like([str(row.cells[column]) for row in table.rows if row.cells.get(column)])
    for row in table.rows:
        value = row.cells.get(column)
        try:
            if wanted is not None and value not in (None, ""):
                _as(value, {"text": "text", "number": "number", "whole": "whole"}[wanted], csv=True)
            elif not csv:
                type_of([value], column)
        except (DataError, ValueError, TypeError) as error:
            raise line_error(table.path, row.line, f"{error}") from error
    if wanted is not None:
        return known[wanted]
    return _common(table, column)


def _common(table: Table, column: str) -> "pa.DataType":
    """The type of a JSON Lines column; where there are several, the line is named on which it changes."""
    try:
        return type_of((row.cells.get(column) for row in table.rows), column)
    except DataError as error:
        kinds = [
            (row, kind_of(type_of([row.cells[column]], column)))
            for row in table.rows
            if row.cells.get(column) is not None
        ]
        numbers = {"whole", "number"}
        changed = next(row for row, kind in kinds if kind != kinds[0][1] and {kind, kinds[0][1]} != numbers)
        raise table.error(changed, f"{error}; keep it as text with --type {column}=text, or repair the line") from error


def _looks_like(texts: Sequence[str]) -> "pa.DataType":
    """What the cells of a CSV's column are, all of them: whole numbers, numbers, true or false, or text."""
    pa = arrow()
    if texts and all(_WHOLE.fullmatch(text) for text in texts):
        return pa.int64()
    if texts and all(_NUMBER.fullmatch(text) and not re.match(r"[+-]?0\d", text) for text in texts):
        return pa.float64()
    if texts and all(text.lower() in _TRUTHS for text in texts):
        return pa.bool_()
    return pa.string()


def _as(value: Any, kind: str, *, csv: bool) -> Any:
    if value is None or (csv and value == ""):
        return None
    if kind == "text":
        return value if isinstance(value, str) else str(value)
    if kind == "truth" and isinstance(value, str):
        return _TRUTHS[value.lower()]
    if kind == "whole":
        return int(value)
    if kind == "number":
        return float(value)
    return value


# -- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(place: Path, id_column: str | None, picture_column: str | None, types: Mapping[str, str]) -> Listing:
    pa = arrow()
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(place)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{str(place)!r} cannot be read as Parquet ({str(error).splitlines()[0]})") from error
    schema = file.schema_arrow
    named, pictured = _chosen(schema.names, id_column, picture_column)
    _known(types, schema.names)
    if types:
        raise ConfigError(f"{str(place)!r} says itself what its columns are; types are for CSV and JSON Lines")
    kinds = {}
    for each in schema:
        if each.name not in (named, pictured):
            check_column(each.name)
            kind = kind_of(each.type)
            if not kind:
                raise DataError(
                    f"{str(place)!r}: the column {each.name!r} is of type {each.type}; metadata are text, numbers, "
                    "true or false, dates, times, or lists of texts; leave it out, or write it as one of them"
                )
            kinds[each.name] = plain_type(kind)
    ids: list[str] = []
    for batch in file.iter_batches(columns=[named or pictured]):
        ids += [_id(place, len(ids) + row + 1, value) for row, value in enumerate(batch.column(0).to_pylist())]
    if not ids:
        raise DataError(f"{str(place)!r} holds no rows; there is nothing to index")
    _refuse_doubles(place, ids, range(1, len(ids) + 1))

    def entries() -> Iterator[Entry]:
        done = 0
        for batch in pq.ParquetFile(place).iter_batches(batch_size=8_192):
            for row in batch.to_pylist():
                fields = {name: row[name] for name in kinds if row[name] is not None}
                yield Entry(ids[done], _picture(place.parent, str(row[pictured] or "")), fields)
                done += 1

    return Listing(place, place.parent, ids, kinds, entries)


# -- both -------------------------------------------------------------------------------------------------------------


def _chosen(columns: Sequence[str], id_column: str | None, picture_column: str | None) -> tuple[str | None, str]:
    """The column of the ids (absent: the pictures' names), and that of the pictures."""
    for column in (id_column, picture_column):
        if column is not None and column not in columns:
            raise UnknownNameError("column", column, columns)
    pictured = picture_column or next((name for name in PICTURE_COLUMNS if name in columns), None)
    if pictured is None:
        raise DataError(
            f"none of the columns ({', '.join(columns)}) is called {', '.join(PICTURE_COLUMNS)}; say which one "
            "names the pictures: --image COLUMN"
        )
    return id_column or ("id" if "id" in columns else None), pictured


def _known(types: Mapping[str, str], columns: Sequence[str]) -> None:
    for name in types:
        if name not in columns:
            raise UnknownNameError("column", name, columns)


def _id(place: Path, line: int, value: Any) -> str:
    if value is None or value == "" or isinstance(value, float | bool | list | dict):
        raise line_error(place, line, f"{value!r} cannot be an id; give every item its own name, as text")
    return str(value)


def _refuse_doubles(place: Path, ids: Sequence[str], lines: Sequence[int]) -> None:
    if len(set(ids)) == len(ids):
        return
    first: dict[str, int] = {}
    for name, line in zip(ids, lines, strict=True):
        if name in first:
            raise line_error(
                place, line, f"the id {name[:60]!r} stands on line {first[name]:,} as well; give every item its own"
            )
        first[name] = line


def _picture(folder: Path, name: str) -> str:
    """A picture as the catalogue names it: relative to the folder where it lies in it, or else its whole path."""
    if not name:
        return ""
    path = Path(name)
    if path.is_absolute():
        return (
            path.relative_to(folder.absolute()).as_posix()
            if path.is_relative_to(folder.absolute())
            else path.as_posix()
        )
    if not (folder / path).is_file() and (folder / "images" / path).is_file():
        path = Path("images") / path
    return path.as_posix()
