"""Catalogues from one place to another: copies, exports, imports, and to another model."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from itma.errors import CatalogueError, DataError
from itma.io import write_with
from itma.models.embedder import Embedder
from itma.progress import bar
from itma.retrieval import manifest
from itma.retrieval.ingest import building, image_names
from itma.retrieval.ingest.embedding import Here
from itma.retrieval.ingest.image_names import ImageNames, keep_given_name, own_folder
from itma.retrieval.ingest.indexing import Outcome, index, read_skipped
from itma.retrieval.ingest.listing import (
    IMAGE_COLUMNS,
    PARQUET_ENDINGS,
    Entry,
    Listing,
    kind_of_column,
    open_parquet,
    plain_value,
)
from itma.retrieval.ingest.rows import Item, Row, check_column, plain_type, table_of, to_shown, type_of, unit
from itma.retrieval.manifest import About
from itma.retrieval.request import IndexOptions
from itma.retrieval.stores.base import Items, Store, arrow, metadata_of, read_column, read_embeddings, schema_of
from itma.retrieval.values import KINDS, is_missing, without_missing

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

log = logging.getLogger(__name__)

_ROWS = 8_192
EMBEDDING_COLUMNS = ("embedding", "vector")
_IMAGE_COLUMNS = (*IMAGE_COLUMNS, "image_path")
"""In the order in which they are looked for: exports write the first, clip-retrieval the last."""
_FORMS = "a .parquet, .npz or .npy file of embeddings, or a folder as clip-retrieval writes it"


def copy(source: Store, items: Items, about: About, images: Path | None, target: Store) -> None:
    """Copy one version of a catalogue to another address, of whatever engine; it becomes one when all is there.

    Args:
        source: where its documents are.
        items: its table, as of the version that is copied.
        about: of the catalogue.
        images: where its images are now.
        target: the other address; the catalogue there, if there is one, is searched until the copy is whole.
    """
    report = source.verify(about.table)
    if wrong := (*report.damaged, *report.lost):
        raise CatalogueError(
            f"the catalogue {source.address!r} is damaged ({len(wrong):,} files, the first is {wrong[0]!r}), so it is "
            "not copied; restore an earlier backup, or index again"
        )
    with target.writing(f"copying {source.address}"):
        with building.new_table(target) as name:
            table = target.create(name, items.schema)
            image_names.copy_files(source.address, items, target.address)
            names = ImageNames(images, own_folder(source.address))
            for batch in items.scan(items.schema.names, rows=_ROWS):
                if own_folder(target.address) is None:
                    batch = image_names.with_whole_names(batch, names)
                table.insert(arrow().Table.from_batches([batch]))
            if table.count() != items.count():
                raise DataError(f"{items.count():,} items were to be copied, but {table.count():,} arrived; try again")
            run = about.run and manifest.record_folder(manifest.find_folder(about.run, source.address), target.address)
            folder = None if images is None else manifest.record_folder(images.absolute(), target.address)
            new = replace(about, table=name, run=run, images=folder, ann=None)
            outcome = Outcome(new=table.count(), skipped=read_skipped(source))
            building.finish(target, table, new, outcome, recall=about.recall, complete=about.complete)
        target.sync()


def reindex(
    store: Store,
    items: Items,
    about: About,
    model: Embedder,
    run: Path | None,
    images: Path | None,
    *,
    leave_out: bool = False,
    batch: int = 64,
    progress: bool = False,
) -> Outcome:
    """Embed all images of a catalogue by another model, beside what is there, then switch in one step.

    Raises:
        DataError: the images of some items cannot be read, and these are not to be left out.
    """
    columns = metadata_of(items.schema)
    ids = list(map(to_shown, read_column(items, "id")))

    def entries() -> Iterator[Entry]:
        for part in items.scan(["id", "_image", *columns], rows=_ROWS):
            for row in part.to_pylist():
                fields = {name: row[name] for name in columns if row[name] is not None}
                yield Entry(to_shown(row["id"]), to_shown(row["_image"] or ""), fields)

    listing = Listing(Path(store.address), images or Path(), ids, columns, entries, own=own_folder(store.address))
    with building.new_table(store) as name:
        new = replace(
            about,
            table=name,
            **building.describe_model(model, run, store, about.tokens is not None),
            ann=None,
            complete=False,
        )
        options = IndexOptions(tokens=new.tokens is not None, batch=batch)
        table = store.create(name, schema_of(new.dim, columns.items(), tokens=options.tokens))
        outcome = index(table, listing, Here(lambda: model), options, progress=progress)
        if outcome.skipped and not leave_out:
            raise DataError(
                f"the images of {len(outcome.skipped):,} of {len(ids):,} items cannot be read; the first is "
                f"{outcome.skipped[0]}. Bring them back, or drop these items with --leave-out"
            )
        if not outcome.new:
            raise DataError(f"none of the {len(ids):,} images can be read; the first is {outcome.skipped[0]}")
        building.finish(store, table, new, outcome, recall=about.recall)
    return outcome


# -- files ------------------------------------------------------------------------------------------------------------


def export(items: Items, file: Path, names: ImageNames) -> int:
    """Write all items to `.parquet` or `.npz`, whole or not at all; how many they are.

    Images in the catalogue's own folder are named by their whole paths.

    Raises:
        DataError: the name ends in something else.
        StorageError: the disk is full or the file cannot be written.
    """
    ending = file.suffix.lower()
    if ending == ".parquet":
        write_with(file, lambda draft: _to_parquet(items, draft, names))
    elif ending == ".npz":
        write_with(file, lambda draft: _to_npz(items, draft))
    else:
        raise DataError(f"{str(file)!r} is to hold an export; choose a name that ends in .parquet or .npz")
    return items.count()


def _to_parquet(items: Items, file: Path, images: ImageNames) -> None:
    from pyarrow import parquet

    pa, columns = arrow(), ["id", "embedding", "_image", *metadata_of(items.schema)]
    names = ["image" if name == "_image" else name for name in columns]
    schema = pa.schema([items.schema.field(old).with_name(new) for old, new in zip(columns, names, strict=True)])
    with parquet.ParquetWriter(file, schema) as writer:
        for batch in items.scan(columns, rows=_ROWS):
            batch = image_names.with_whole_names(batch, images)
            writer.write_batch(pa.RecordBatch.from_arrays([batch.column(name) for name in columns], schema=schema))


def _to_npz(items: Items, file: Path) -> None:
    ids, embeddings = read_embeddings(items)
    names = np.array(ids, dtype=str)
    order = np.argsort(names)
    with file.open("wb") as target:
        np.savez(target, ids=names[order], embeddings=embeddings[order])


def import_embeddings(
    store: Store,
    source: str | Path | Sequence[Item],
    model: Embedder | None,
    run: Path | None,
    *,
    images: str | Path | None = None,
    durable: bool = False,
    recall: float = 0.98,
    progress: bool = False,
) -> None:
    """Make a catalogue of ready-made embeddings; see `Catalogue.from_embeddings`."""
    what = f"{len(source):,} items" if not isinstance(source, str | Path) else str(source)
    folder = Path(source).parent if images is None and isinstance(source, str | Path) else images
    with building.new_table(store) as name:
        parts, metadata, total = _read_given(source)
        first = next(parts, None)
        if first is None:
            raise DataError(f"{what!r} holds no items; there is nothing to import")
        named, missing, dim = 0, list[str](), first[0].embedding.shape[0]
        about = About(
            table=name,
            **({"dim": dim} if model is None else building.describe_model(model, run, store)),
            images=None if folder is None else manifest.record_folder(Path(folder).absolute(), store.address),
            durable=durable,
            sources=(what,),
        )
        if about.dim != dim:
            raise DataError(
                f"{what!r} holds embeddings of {dim} numbers, but the model {about.model!r} makes {about.dim}; give "
                "the model that made them, or none"
            )
        items = store.create(name, schema_of(about.dim, metadata))
        ids_before: set[str] = set()
        with bar("importing", show=progress, total=total, unit="item") as meter:
            for part in chain([first], parts):
                _check(part, about.dim, ids_before, what)
                part = [replace(row, image=keep_given_name(row.image)) for row in part]
                items.insert(table_of(part, items.schema))
                names = [row.image for row in part if row.image]
                named += len(names)
                # odd names are no error for os.path
                missing += [name for name in names if not os.path.exists(Path(folder or "") / name)]  # noqa: PTH110
                meter.update(len(part))
        if missing:
            log.warning(
                "%s of %s images are not there: %s; they were looked for in %r. Without its image an item can be found "
                "but neither shown nor changed by a sentence; import again and say which folder they are named in with "
                "--images",
                f"{len(missing):,}",
                f"{named:,}",
                ", ".join(map(repr, missing[:3])) + (", …" if len(missing) > 3 else ""),
                str(folder or "."),
            )
        building.finish(store, items, about, Outcome(new=len(ids_before)), recall=recall)


def _check(rows: Sequence[Row], dim: int, ids_before: set[str], what: str) -> None:
    for row in rows:
        if row.id in ids_before:
            raise DataError(f"{what!r}: the id {row.id[:60]!r} stands there twice; give every item its own")
        if row.embedding.shape != (dim,):
            raise DataError(
                f"{what!r}: the embedding of {row.id[:60]!r} has {row.embedding.shape[0]} numbers; expected {dim}"
            )
        ids_before.add(row.id)


_Given: TypeAlias = "tuple[Iterator[list[Row]], list[pa.Field], int]"
"""Rows in parts, the fields of their metadata, and how many rows there are."""
_Plain: TypeAlias = tuple[str, str | None, Mapping[str, Any]]
"""An item's id, image and metadata."""
_Part: TypeAlias = tuple[str, np.ndarray]
"""Some embeddings, and what messages call them."""


def _make_rows(plain: Iterator[_Plain], parts: Iterable[_Part]) -> Iterator[list[Row]]:
    for what, embeddings in parts:
        pairs = zip(unit(embeddings, None, what), plain, strict=False)
        yield [Row(id, embedding, image, fields=fields) for embedding, (id, image, fields) in pairs]


def _cut(path: Path, embeddings: np.ndarray) -> Iterator[_Part]:
    for first in range(0, len(embeddings), _ROWS):
        yield f"{str(path)!r} from row {first:,}", embeddings[first : first + _ROWS]


def _read_given(source: str | Path | Sequence[Item]) -> _Given:
    if not isinstance(source, str | Path):
        return _from_items(source)
    path = Path(source)
    if not path.exists():
        raise DataError(f"the file {str(path)!r} does not exist; give {_FORMS}")
    if path.is_dir():
        return _from_arrays(_find_numbered(path))
    if not path.is_file():
        raise DataError(f"{str(path)!r} is a pipe, a socket or a device, not a file; give {_FORMS}")
    if path.suffix.lower() in PARQUET_ENDINGS:
        return _from_parquet(path)
    if path.suffix.lower() == ".npz":
        return _from_npz(path)
    if path.suffix.lower() == ".npy":
        return _from_arrays([path])
    raise DataError(f"{str(path)!r} is no file of embeddings that is known here; give {_FORMS}")


def _from_items(source: Sequence[Item]) -> _Given:
    names = list(dict.fromkeys(name for item in source for name in item.fields))
    for name in names:
        check_column(name)
    fields = [arrow().field(name, type_of((item.fields.get(name) for item in source), name)) for name in names]

    def parts() -> Iterator[list[Row]]:
        for first in range(0, len(source), _ROWS):
            some = source[first : first + _ROWS]
            without = next((item for item in some if item.embedding is None), None)
            if without is not None:
                raise DataError(f"the item {without.id[:60]!r} has no embedding; add it to the catalogue afterwards")
            rows = [unit(np.asarray(item.embedding)[None], None, f"the item {item.id[:60]!r}")[0] for item in some]
            yield [
                Row(item.id, row, str(item.image) if isinstance(item.image, str | Path) else None, fields=item.fields)
                for item, row in zip(some, rows, strict=True)
            ]

    return parts(), fields, len(source)


def _from_parquet(path: Path) -> _Given:
    file = open_parquet(path)
    columns = _Columns.of(path, file.schema_arrow)
    if columns.embedding is None:
        raise DataError(
            f"{str(path)!r} has no column {' or '.join(map(repr, EMBEDDING_COLUMNS))}; expected one with a list of "
            f"numbers in each row; found: {', '.join(file.schema_arrow.names)}"
        )
    embedding = columns.embedding

    def parts() -> Iterator[_Part]:
        done = 0
        for batch in file.iter_batches(batch_size=_ROWS, columns=[embedding]):
            what = f"{str(path)!r}, rows {done + 1:,} to {done + len(batch):,}"
            yield what, _even(batch.column(0), what)
            done += len(batch)

    return _make_rows(columns.describe([open_parquet(path)]), parts()), columns.fields, file.metadata.num_rows


@dataclass(frozen=True)
class _Columns:
    """What the columns of a Parquet file with items are."""

    id: str | None
    """None: an item is called after its image, or else after its row, from 0."""
    embedding: str | None
    image: str | None
    fields: "list[pa.Field]"
    """Metadata."""

    @classmethod
    def of(cls, path: Path, schema: "pa.Schema") -> "_Columns":
        def first(names: Sequence[str]) -> str | None:
            return next((name for name in names if name in schema.names), None)

        texts = [
            name
            for name in _IMAGE_COLUMNS
            if name in schema.names and kind_of_column(schema.field(name).type) == "text"
        ]
        id, embedding, image = first(["id"]), first(EMBEDDING_COLUMNS), next(iter(texts), None)
        fields = []
        for each in schema:
            if each.name in (id, embedding, image):
                continue
            try:
                check_column(each.name)
                kind = kind_of_column(each.type)
                if kind not in KINDS:
                    raise DataError(kind)
            except DataError as error:
                log.warning("%s: the column %r is left out: %s", path, each.name, error)
            else:
                fields.append(arrow().field(each.name, plain_type(kind)))
        return cls(id, embedding, image, fields)

    def describe(self, tables: "Sequence[parquet.ParquetFile]") -> Iterator[_Plain]:
        """The items of some files, one after the other."""
        names = [name for name in (self.id, self.image, *(each.name for each in self.fields)) if name is not None]
        batches = (batch for table in tables for batch in table.iter_batches(batch_size=_ROWS, columns=names))
        rows = (row for batch in batches for row in batch.to_pylist()) if names else repeat({})
        for number, row in enumerate(rows):
            image = None if self.image is None else row[self.image]
            id = (image or number) if self.id is None else row[self.id]
            values = {each.name: row[each.name] for each in self.fields if not is_missing(row[each.name])}
            yield str(id), image, {name: plain_value(without_missing(value)) for name, value in values.items()}


def _even(lists: "pa.Array", what: str) -> np.ndarray:
    """A column of lists of numbers as an array, refused where they are not all of one length."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(lists).to_pylist() if hasattr(lists, "flatten") else [None]
    if len(set(lengths)) != 1 or lengths[0] is None:
        raise DataError(f"{what}: the embeddings are not all lists of one length")
    values: np.ndarray = np.asarray(lists.flatten().to_numpy(zero_copy_only=False))
    return values.reshape(len(lists), lengths[0])


def _from_npz(path: Path) -> _Given:
    try:
        with np.load(path, allow_pickle=False) as file:
            ids, embeddings = file["ids"], file["embeddings"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(f"{str(path)!r} cannot be read: expected arrays ids and embeddings in it ({error})") from error
    if len(ids) != len(embeddings):
        raise DataError(f"{str(path)!r} holds {len(ids):,} ids for {len(embeddings):,} embeddings")

    plain: Iterator[_Plain] = ((to_shown(str(name)), None, {}) for name in ids)
    return _make_rows(plain, _cut(path, embeddings)), [], len(ids)


def _find_numbered(folder: Path) -> list[Path]:
    """The arrays of a folder as clip-retrieval writes it (`img_emb/img_emb_0.npy` …), or of any, in order."""
    paths = list(folder.glob("img_emb/*.npy")) or list(folder.glob("*.npy"))
    if not paths:
        raise DataError(f"the folder {str(folder)!r} holds no .npy files, nor does img_emb in it; give {_FORMS}")
    return sorted(paths, key=lambda path: (_number(path), path.name))


def _number(path: Path) -> int:
    return int((re.findall(r"\d+", path.stem) or ["0"])[-1])


def _from_arrays(files: Sequence[Path]) -> _Given:
    """Arrays of embeddings, a row for each item; beside each, in `../metadata`, what is known of its items."""
    arrays = [_array(file) for file in files]
    beside = [file.parent.parent / "metadata" / f"metadata_{_number(file)}.parquet" for file in files]
    tables = [open_parquet(path) for path in beside if path.is_file()]
    if tables and len(tables) < len(files):
        missing = next(path for path in beside if not path.is_file())
        raise DataError(f"the file {str(missing)!r} does not exist, but others like it do; expected one for each array")
    for table, array, path in zip(tables, arrays, beside, strict=False):
        if table.metadata.num_rows != len(array) or table.schema_arrow.names != tables[0].schema_arrow.names:
            raise DataError(
                f"{str(path)!r} has {table.metadata.num_rows:,} rows with {', '.join(table.schema_arrow.names)}; "
                f"expected {len(array):,} with {', '.join(tables[0].schema_arrow.names)}"
            )
    columns = _Columns.of(beside[0], tables[0].schema_arrow) if tables else _Columns(None, None, None, [])

    parts = chain.from_iterable(map(_cut, files, arrays))
    return _make_rows(columns.describe(tables), parts), columns.fields, sum(map(len, arrays))


def _array(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{str(path)!r} cannot be read as an array of numbers ({error})") from error
    if array.ndim != 2:
        raise DataError(f"{str(path)!r} has the shape {array.shape}; expected (items, dim)")
    return array
