"""What is to be indexed: a folder of images, or a table (CSV, JSON Lines, Parquet) that names them, with metadata."""

import base64
import binascii
import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from itma.data.datasets.image_finder import IMAGES, Finder
from itma.data.datasets.tables import CSV_ENDINGS, JSON_ENDINGS, Table, line_error, read_table, short
from itma.data.images import is_inside, list_folder
from itma.errors import ConfigError, DataError, UnknownNameError
from itma.io import write_bytes
from itma.retrieval.ingest.image_names import FOLDER, ImageNames, own_name
from itma.retrieval.ingest.rows import check_column, plain_type, to_stored, type_of
from itma.retrieval.request import IndexOptions, takes
from itma.retrieval.stores.base import arrow
from itma.retrieval.stores.conditions import SHOWN, kind_of
from itma.retrieval.values import (
    KINDS,
    MISSING_WORDS,
    Reader,
    is_missing,
    kind_of_texts,
    reader_for,
    suggest_kind,
    without_missing,
)

MAX_COLUMNS = 1_000
"""Columns of metadata that a table may have."""

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

PARQUET_ENDINGS = (".parquet", ".pq")
IMAGE_COLUMNS = ("image", "file", "picture")
"""Columns that images are looked for in where none is named."""
_LONGEST_NAME = 4_096
"""Bytes of a path."""
_BASE64 = re.compile(r"\s*(iVBORw0KGgo|/9j/|UklGR|R0lGOD|AAAA)[A-Za-z0-9+/\s]*={0,2}\s*")
"""PNG, JPEG, WebP, GIF, and AVIF or HEIC as base64."""


@dataclass(frozen=True)
class Entry:
    """One item to be indexed."""

    id: str
    image: str
    """The file as the catalogue names it: below the listing's root, with `/`, or its whole path; may be empty."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    row: str = ""
    """Where a table names it, for messages; empty in a folder."""
    problem: str = ""
    """Why its image cannot be read, where that is known already."""
    hint: str = ""
    """What may be meant where no file has the image's name."""


@dataclass(frozen=True)
class Listing:
    """Items to be indexed; the entries are made one by one as they are asked for."""

    source: Path
    root: Path
    """The folder that images are named in."""
    ids: Sequence[str]
    """One for each entry, each once."""
    columns: "Mapping[str, pa.DataType]"
    """Metadata, with their types."""
    entries: Callable[[], Iterator[Entry]]
    """All of them, in the order of `ids`."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many files and folders of a folder were left out, by reason."""
    columns_left_out: Mapping[str, str] = field(default_factory=dict)
    """Columns that are no metadata, with the reason."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """By column, how many cells held a word or a number that stands for a missing value."""
    filled: int = 0
    """Rows that were shorter than the header."""
    other_kinds: Mapping[str, str] = field(default_factory=dict)
    """Columns that are kept as texts → what a person could say that they are."""
    own: Path | None = None
    """The folder of the catalogue, which images that stood in a table are in."""

    def file(self, entry: Entry) -> Path:
        """Where an entry's image is."""
        return ImageNames(self.root, self.own).file(to_stored(entry.image))

    def remarks(self) -> list[str]:
        """What was left out and what was taken for missing, a line each."""
        lines = [f"left out: {number:,} {what}" for what, number in self.left_out.items()]
        lines += [f"left out: the column {name!r}: {reason}" for name, reason in self.columns_left_out.items()]
        lines += [f"missing: {number:,} cells of {name!r} hold no value" for name, number in self.missing.items()]
        if self.filled:
            lines.append(f"{self.filled:,} rows are shorter than the header; their last cells count as missing")
        lines += [
            f"kept as text: {name!r}; to compare it otherwise, index into a new catalogue with --type {name}={kind}"
            for name, kind in self.other_kinds.items()
        ]
        return lines

    def __str__(self) -> str:
        what = f"{len(self.ids):,} items in {str(self.source)!r}"
        if not self.columns:
            return what
        columns = ", ".join(f"{name} ({SHOWN[kind_of(kind)]})" for name, kind in self.columns.items())
        return f"{what}, with {columns}"


@takes(IndexOptions)
def listing(source: Path, *, options: IndexOptions, own: Path | None = None) -> Listing:
    """What a folder or a table names.

    Args:
        source: a folder of images, or a CSV, JSON Lines or Parquet file. Of a table, images are named relative to its
            folder or to `images` in it, or with their whole path.
        options: which columns and files are taken; the fields can be given one by one in its place.
        own: the catalogue's folder, where images go that stand in the table themselves; None: their rows are left out.

    Raises:
        DataError: there is nothing to be read, an id stands there twice, or a column is of several kinds.
        UnknownNameError: a column that is not there.
    """
    if source.is_file() and source.suffix.lower() in (*CSV_ENDINGS, *JSON_ENDINGS, *PARQUET_ENDINGS):
        make = _parquet if source.suffix.lower() in PARQUET_ENDINGS else _table
        return make(source, options, _Finder(source.parent, options.allow_outside, own))
    tables = f"a table ending in {', '.join((*CSV_ENDINGS, *JSON_ENDINGS, *PARQUET_ENDINGS))}"
    if not source.is_dir():
        what = "is neither a folder nor a table that is read" if source.exists() else "does not exist"
        sheet = source.suffix.lower() in (".xlsx", ".xls", ".ods") and source.exists()
        save = "; save it as “CSV UTF-8” in the spreadsheet" if sheet else ""
        raise DataError(f"{str(source)!r} {what}{save}; give a folder of images, or {tables}")
    if options.id_column or options.image_column or options.types or options.leave_out or options.missing:
        raise ConfigError(f"{str(source)!r} is no table, so it has no columns; give {tables}")
    contents = list_folder(source, allow_outside=options.allow_outside)
    names = [path.relative_to(source).as_posix() for path in contents.images]
    return Listing(source, source, names, {}, lambda: (Entry(name, name) for name in names), contents.left_out)


# -- CSV and JSON Lines -----------------------------------------------------------------------------------------------


def _table(source: Path, options: IndexOptions, finder: "_Finder") -> Listing:
    table = read_table(source, fill=True)
    if not table.rows:
        raise DataError(f"{str(source)!r} holds no rows below its header; there is nothing to index")
    columns = _Columns(source, table.columns, options)
    other_kinds: dict[str, str] = {}
    for name in columns.names:
        column = _column_of(table, name, columns)
        if isinstance(column, str):
            columns.left_out[name] = column
            continue
        columns.kinds[name], columns.readers[name], columns.missing[name] = column
        if name not in columns.types and kind_of(column[0]) == "text":
            cells = [row.cells.get(name) for row in table.rows]
            texts = [cell for cell in cells if isinstance(cell, str) and not is_missing(cell, MISSING_WORDS)]
            other_kinds |= {name: other} if (other := suggest_kind(texts)) else {}
    cells = [row.cells.get(columns.id or columns.image) for row in table.rows]
    lines = [row.line for row in table.rows]
    rows = columns.listing(columns.ids(cells, lines, set()), lines, lambda: (row.cells for row in table.rows), finder)
    return replace(rows, filled=table.filled, other_kinds=other_kinds)


def _column_of(table: Table, column: str, columns: "_Columns") -> "tuple[pa.DataType, Reader, int] | str":
    """A column's type, what reads its values, and how many stand for a missing one; or why it is no metadata."""
    csv, kind, words = table.path.suffix.lower() in CSV_ENDINGS, columns.types.get(column), columns.words
    filled = [(row, value) for row in table.rows if not is_missing(value := row.cells.get(column), words)]
    odd = sum(row.cells.get(column) not in (None, "") for row in table.rows) - len(filled)
    present = [(row, value) for row, value in filled if not is_missing(value, MISSING_WORDS)]
    texts = [value for _, value in present if isinstance(value, str)]
    if kind is not None:
        if kind in ("text", "texts"):
            present = filled
        try:
            reader = reader_for(kind, texts)
        except DataError as error:
            raise DataError(f"{str(table.path)!r}: the column {column!r}: {error}") from error
        for row, value in present:
            columns.read(column, reader, value, row.line)
        return plain_type(KINDS[kind]), reader, odd + len(filled) - len(present)
    if csv or (texts and len(texts) == len(present)):
        kind, reader = kind_of_texts(texts, numbers=csv)
        if kind == "text" and len(present) < len(filled):  # in texts the usual words stand for themselves
            return plain_type("text"), str, odd
        return plain_type(kind), reader, odd + len(filled) - len(present)
    for _, value in filled:
        texts_only = isinstance(value, list) and all(isinstance(each, str) for each in without_missing(value, words))
        if isinstance(value, dict | list) and not texts_only:
            return f"it holds {short(value)}; metadata are text, numbers, true or false, dates, times, lists of texts"
    if any(isinstance(value, int) and not -(2**63) <= value < 2**63 for _, value in present):
        return _too_large(column)
    if not texts:
        odd, filled = odd + len(filled) - len(present), present
    filled = [(row, without_missing(value, words)) for row, value in filled]
    return _common(table, column, filled), lambda value: value, odd


def _common(table: Table, column: str, filled: Sequence[Any]) -> "pa.DataType":
    """The type of a JSON Lines column; where there are several, the line is named on which it changes."""
    try:
        return type_of((value for _, value in filled), column)
    except DataError as error:
        kinds = [(row, kind_of(type_of([value], column))) for row, value in filled]
        same = {"whole", "number"}
        changed = next(row for row, kind in kinds if kind != kinds[0][1] and {kind, kinds[0][1]} != same)
        raise table.error(
            changed,
            f"{error}; keep it as text with --type {column}=text, leave it out with --leave-out {column}, or repair "
            "the line",
        ) from error


# -- Parquet ----------------------------------------------------------------------------------------------------------


def _parquet(source: Path, options: IndexOptions, finder: "_Finder") -> Listing:
    file = open_parquet(source)
    schema = file.schema_arrow
    if repeated := [name for name, times in Counter(schema.names).items() if times > 1]:
        raise DataError(f"{str(source)!r}: more than one column is called {repeated[0]!r}; give each its own name")
    columns = _Columns(source, schema.names, options)
    for name in columns.names:
        kind = KINDS[columns.types[name]] if name in columns.types else kind_of_column(schema.field(name).type)
        if kind in SHOWN:
            columns.kinds[name], columns.readers[name] = plain_type(kind), plain_value
        else:
            columns.left_out[name] = kind
    ids: list[str] = []
    own_paths: set[str] = set()
    texts: dict[str, list[str]] = {name: [] for name in columns.types}
    needed = list(dict.fromkeys([columns.id or columns.image, *columns.kinds]))
    for batch in file.iter_batches(batch_size=8_192, columns=needed):
        cells = batch.column(0).to_pylist()
        ids += columns.ids(cells, range(len(ids) + 1, len(ids) + len(cells) + 1), own_paths, len(ids))
        for name in list(columns.kinds):
            try:
                values = batch.column(needed.index(name)).to_pylist()
            except (OverflowError, ValueError, arrow().ArrowException) as error:  # years beyond 9999
                reason = f"it holds a value of type {schema.field(name).type} that is none ({error})"
                columns.leave_out(name, reason)
                continue
            none = columns.none_of(name)
            columns.missing[name] += sum(value is not None and is_missing(value, none) for value in values)
            if name in texts:
                texts[name] += [value for value in values if isinstance(value, str) and not is_missing(value, none)]
            elif str(schema.field(name).type) == "uint64" and any((value or 0) >= 2**63 for value in values):
                columns.leave_out(name, _too_large(name))
    if not ids:
        raise DataError(f"{str(source)!r} holds no rows; there is nothing to index")
    columns.readers |= {
        name: reader_for(kind, texts[name]) for name, kind in columns.types.items() if name in columns.kinds
    }

    def rows() -> Iterator[Mapping[str, Any]]:
        needed = list(dict.fromkeys([columns.image, *columns.kinds]))
        for batch in open_parquet(source).iter_batches(batch_size=1_024, columns=needed):
            yield from batch.to_pylist()

    return columns.listing(ids, range(1, len(ids) + 1), rows, finder, "row")


def open_parquet(path: Path) -> "parquet.ParquetFile":
    """A Parquet file, opened.

    Raises:
        DataError: it is none.
    """
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except (OSError, arrow().ArrowException) as error:
        raise DataError(f"{str(path)!r} cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def _too_large(column: str) -> str:
    return f"it holds numbers of 2**63 and more; keep them as text: --type {column}=text"


def kind_of_column(kind: Any) -> str:
    """The kind of metadata that a column of Parquet becomes, or else why it becomes none."""
    types = arrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_null(kind):
        return "it holds no values"
    if types.is_decimal(kind):
        return "number"
    if types.is_large_string(kind) or str(kind) == "string_view":
        return "text"
    if str(kind).startswith("date"):
        return "date"
    if re.match(r"(large_|fixed_size_)?list", str(kind)) and kind_of_column(kind.value_type) == "text":
        return "texts"
    if "binary" in str(kind):
        return f"it is of type {kind}; if it holds texts, say so with --type, as text"
    return kind_of(kind) or (
        f"it is of type {kind}; metadata are text, numbers, true or false, dates, times, or lists of texts; write it "
        "as one of them, or say one with --type"
    )


def plain_value(value: Any) -> Any:
    """A value as Arrow gives it, without what no kind of metadata has."""
    if hasattr(value, "to_pydatetime"):  # nanoseconds, of which microseconds are kept
        return value.floor("us").to_pydatetime()
    return float(value) if type(value).__name__ == "Decimal" else value


# -- both -------------------------------------------------------------------------------------------------------------


class _Columns:
    """What the columns of a table are: ids, images, metadata with what reads them, and those that are left out.

    Every name in the options must be a column, and every kind a known one.
    """

    def __init__(self, source: Path, columns: Sequence[str], options: IndexOptions) -> None:
        self.source, self.types = source, options.types or {}
        for column in (options.id_column, options.image_column, *self.types, *options.leave_out):
            if column is not None and column not in columns:
                raise UnknownNameError("column", column, columns)
        for kind in self.types.values():
            if kind not in KINDS:
                raise UnknownNameError("kind of column", kind, KINDS)
        image = options.image_column or next((name for name in IMAGE_COLUMNS if name in columns), None)
        if image is None:
            raise DataError(
                f"none of the columns ({', '.join(columns)}) is called {', '.join(IMAGE_COLUMNS)}; say which one "
                "names the images: --image COLUMN"
            )
        self.image, self.id = image, options.id_column or ("id" if "id" in columns else None)
        self.words = frozenset(word.strip().lower() for word in options.missing)
        """Texts that stand for no value, besides the usual ones."""
        self.kinds: dict[str, pa.DataType] = {}
        self.readers: dict[str, Reader] = {}
        self.missing: Counter[str] = Counter()
        self.left_out: dict[str, str] = {}
        self.names: list[str] = []
        """Columns that can be metadata by their names."""
        for name in columns:
            if name in (self.id, self.image):
                continue
            try:
                check_column(name)
            except DataError as error:
                self.left_out[name] = str(error)
            else:
                if name in options.leave_out:
                    self.left_out[name] = "as it was asked"
                else:
                    self.names.append(name)
        if len(self.names) > MAX_COLUMNS:
            raise DataError(
                f"{str(source)!r} has {len(self.names):,} columns beside ids and images; {MAX_COLUMNS:,} are the "
                "limit. Write a table of those that will be asked for, or leave columns out with --leave-out"
            )

    def leave_out(self, name: str, reason: str) -> None:
        """Keep a column from becoming metadata."""
        del self.kinds[name]
        self.left_out[name] = reason

    def none_of(self, name: str) -> frozenset[str]:
        """What stands for a missing value in a column: in texts the usual words stand for themselves."""
        return self.words if kind_of(self.kinds[name]) in ("text", "texts") else self.words | MISSING_WORDS

    def ids(self, cells: Sequence[Any], lines: Sequence[int], own_paths: set[str], first: int = 0) -> list[str]:
        """The ids of some rows, of their cells in the column of ids, or else in that of images, see `_image_ids`."""
        values = cells if self.id is not None else _image_ids(cells, first, own_paths)
        return [_id(self.source, line, value) for line, value in zip(lines, values, strict=True)]

    def read(self, name: str, reader: Reader, value: Any, line: int) -> Any:
        """A cell's value; where it is none of its column, the error names the line."""
        try:
            return reader(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise line_error(
                self.source,
                line,
                f"the column {name!r} holds {short(value)}, which is no {self.types[name]}; write it otherwise, or say "
                f"that it stands for a missing value: --missing {short(value)}",
            ) from error

    def listing(
        self,
        ids: Sequence[str],
        lines: Sequence[int],
        rows: Callable[[], Iterator[Mapping[str, Any]]],
        finder: "_Finder",
        unit: str = "line",
    ) -> Listing:
        """The items of all rows.

        Args:
            ids: of the rows.
            lines: their numbers.
            rows: gives their cells.
            finder: of their images.
            unit: what the numbers count.
        """
        _refuse_doubles(self.source, ids, lines)
        none = {name: self.none_of(name) for name in self.kinds}

        def entries() -> Iterator[Entry]:
            for id, line, cells in zip(ids, lines, rows(), strict=True):
                fields = {
                    name: self.read(name, self.readers[name], without_missing(value, self.words), line)
                    for name in self.kinds
                    if not is_missing(value := cells.get(name), none[name])
                }
                yield finder.entry(id, cells.get(self.image), fields, f"{unit} {line:,}")

        return Listing(
            self.source,
            self.source.parent,
            ids,
            self.kinds,
            entries,
            columns_left_out=self.left_out,
            missing=+self.missing,
            own=finder.own,
        )


def _id(source: Path, line: int, value: Any) -> str:
    if isinstance(value, bytes):  # as some programs write texts into Parquet
        with suppress(UnicodeDecodeError):
            value = value.decode()
    if value is None or value == "" or isinstance(value, float | bool | list | dict | bytes):
        raise line_error(source, line, f"{value!r:.60} cannot be an id; give every item its own name, as text")
    return str(value)


def _refuse_doubles(source: Path, ids: Sequence[str], lines: Sequence[int]) -> None:
    if len(set(ids)) == len(ids):
        return
    first: dict[str, int] = {}
    for name, line in zip(ids, lines, strict=True):
        if name in first:
            raise line_error(
                source, line, f"the id {name[:60]!r} stands on line {first[name]:,} as well; give every item its own"
            )
        first[name] = line


def _image_ids(cells: Sequence[Any], first: int, own_paths: set[str]) -> list[Any]:
    """The ids of items that have no other: their images' names, or else their places in the table, from 0.

    Args:
        cells: of the column of images.
        first: the place of the first of them.
        own_paths: paths of embedded images so far, which need not differ; new ones are added.
    """
    ids = []
    for number, cell in enumerate(cells, first):
        value = _name_or_image(cell)
        if isinstance(value, Mapping):
            value = value.get("path")
            if value in own_paths:
                value = None
            elif isinstance(value, str):
                own_paths.add(value)
        embedded = isinstance(value, bytes) or (
            isinstance(value, str) and (value.lstrip()[:5].lower() == "data:" or _is_base64(value))
        )
        none = is_missing(value, MISSING_WORDS) or isinstance(value, list)
        ids.append(f"row-{number}" if embedded or none else value)
    return ids


def _single(cell: Any) -> Any:
    """What a cell holds: of a list of one thing this thing, and of a list of numbers that are bytes the bytes."""
    if not isinstance(cell, list) or not cell:
        return cell
    if len(cell) > 1 and all(type(each) is int and 0 <= each < 256 for each in cell):
        return bytes(cell)
    return cell[0] if len(cell) == 1 else cell


def _name_or_image(cell: Any) -> Any:
    """What a cell holds; bytes that are a line of text are that text, as some programs write names."""
    cell = _single(cell)
    if not isinstance(cell, bytes) or len(cell) > _LONGEST_NAME:
        return cell
    try:
        text = cell.decode()
    except UnicodeDecodeError:
        return cell
    return text if text.isprintable() else cell


def _is_base64(text: str) -> bool:
    """Whether a text is an image as base64, without `data:` before it."""
    return len(text) >= 64 and _BASE64.fullmatch(text) is not None


class _Finder:
    """Where the images are that a table names.

    Args:
        folder: of the table.
        allow_outside: take images outside it.
        own: the catalogue's folder, where images go that stand in the table themselves.
    """

    def __init__(self, folder: Path, allow_outside: bool, own: Path | None) -> None:
        self._folder, self._outside, self.own = folder, allow_outside, own
        self._real = os.path.realpath(folder)
        self._finder = Finder(folder)

    def entry(self, name: str, cell: Any, fields: Mapping[str, Any], row: str) -> Entry:
        """One item, whose image a cell names or holds."""
        try:
            image, hint = self._image(cell)
            return Entry(name, image, fields, row, hint=hint)
        except _NoImageError as error:
            return Entry(name, "", fields, row, str(error))

    def _image(self, cell: Any) -> tuple[str, str]:
        """The image's name, and what may be meant where there is none of that name."""
        cell = _name_or_image(cell)
        if isinstance(cell, Mapping) and cell.get("bytes") is not None:
            cell = _single(cell["bytes"])
        elif isinstance(cell, Mapping) and "path" in cell:
            cell = cell["path"]
        if isinstance(cell, bytes):
            return self._write_image(cell), ""
        if is_missing(cell):
            return "", ""
        if isinstance(cell, list):
            raise _NoImageError(f"the cell names {len(cell):,} images; give each a row of its own")
        if isinstance(cell, Mapping | bool | float):
            raise _NoImageError("the cell is neither the name of a file nor an image")
        text = str(cell).strip()
        if text[:5].lower() == "data:":
            return self._data(text), ""
        if _is_base64(text):
            return self._write_base64(text, "the base64 text"), ""
        if address := re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://|//[^/]", text):
            if (address[1] or "").lower() != "file":
                begin = f"{urlsplit(text).scheme or 'https'}://{urlsplit(text).hostname or ''}/…"
                raise _NoImageError(
                    f"{begin} is an address, not a file; download the image and name the file (itma index fetches "
                    "nothing; only a server does, of references, with --urls)"
                )
            text = url2pathname(urlsplit(text).path)
        elif text[:5].lower() == "file:":
            text = url2pathname(text[5:])
        try:
            sizes = [len(os.fsencode(part)) for part in (text, *Path(text).parts)]
        except UnicodeEncodeError:
            raise _NoImageError(f"{text[:40]!r} holds half a character and can be no name of a file") from None
        if "\0" in text or sizes[0] > _LONGEST_NAME or max(sizes[1:], default=0) > 255:
            raise _NoImageError(f"the name {text[:40]!r}… is too long for a file, or holds a zero character")
        return self._find(text)

    def _find(self, text: str) -> tuple[str, str]:
        """The file of a name, as it is written or as other systems write it; where there is none, what may be meant."""
        spelt = [text, text.replace("\\", "/"), unquote(text), unquote(text).replace("\\", "/")]
        spelt += [unicodedata.normalize(form, each) for each in spelt[1:] for form in ("NFC", "NFD")]
        for name in dict.fromkeys(spelt):
            for path in (Path(name), Path(IMAGES) / name):
                whole = self._folder / path
                try:
                    if whole.exists():
                        return self._name(whole, path), ""
                except (OSError, ValueError):
                    continue
        like = self._finder.path(text)
        if self._finder.exists(like):
            inside = like.is_relative_to(self._finder.folder)
            return self._name(like, like.relative_to(self._finder.folder) if inside else like), ""
        if is_missing(text, MISSING_WORDS):
            return "", ""
        parts = re.split(r"\s*[,;|]\s*", text)
        if len(parts) > 1 and all(
            (self._folder / part).is_file() or (self._folder / IMAGES / part).is_file() for part in parts
        ):
            raise _NoImageError(f"the cell names {len(parts):,} images; give each a row of its own")
        path, hint = Path(text), self._finder.hint(text)
        return self._name(self._folder / path, path, hint), hint

    def _name(self, whole: Path, path: Path, hint: str = "") -> str:
        """A file as the catalogue names it: relative to the folder where it lies in it, or else its whole path."""
        if not self._outside and not is_inside(whole, self._real):
            also = f"; {hint}" if hint else ""
            raise _NoImageError(
                f"{str(path)!r} lies outside the table's folder; take such images with --allow-outside{also}"
            )
        home = self._folder.absolute()
        if path.is_absolute():
            return path.relative_to(home).as_posix() if path.is_relative_to(home) else path.as_posix()
        return path.as_posix()

    def _data(self, text: str) -> str:
        head, comma, body = text.partition(",")
        if not comma or not head.lower().startswith("data:image/") or not head.lower().endswith(";base64"):
            raise _NoImageError("the data: address holds no image (expected data:image/…;base64,…)")
        return self._write_base64(unquote(body), "the data: address")

    def _write_base64(self, text: str, what: str) -> str:
        try:
            data = base64.b64decode("".join(text.split()), validate=True)
        except binascii.Error as error:
            raise _NoImageError(f"{what} holds no image ({str(error)[:80]})") from error
        return self._write_image(data)

    def _write_image(self, data: bytes) -> str:
        """An image that stands in the table becomes a file, named after its content."""
        if self.own is None:
            raise _NoImageError("the table holds the image itself, which only a catalogue in a folder can keep")
        if not data:
            raise _NoImageError("the cell holds an image of no bytes")
        name = f"{FOLDER}/{hashlib.sha256(data).hexdigest()[:40]}.img"
        if not (self.own / name).exists():
            write_bytes(self.own / name, data)
        return own_name(name)


class _NoImageError(DataError):
    """A cell gives no image; the message says why, and never holds the cell's bytes."""
