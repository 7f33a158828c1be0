"""Pictures → rows of a catalogue, incrementally: what is there already, unchanged, is neither read nor embedded."""

import csv
import io
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch

from itma.data.images import Preprocess
from itma.errors import CatalogueError, DataError, PictureError
from itma.files import file_sum
from itma.model.embedder import Embedder
from itma.progress import bar
from itma.search.listing import Entry, Listing
from itma.search.rows import Row, facts_of, same_kind, shown, stored, table_of
from itma.search.store import Items, Store, arrow, embeddings_of, metadata_of

SKIPPED = "skipped.csv"
"""The document that names what could not be read."""
_CHUNK = 4_096
"""Entries that are compared with the store at once."""
COMMIT_ROWS, COMMIT_SECONDS = 2_048, 20.0
"""A commit follows after so many pictures, or so many seconds, whichever comes first."""


@dataclass(frozen=True)
class Skipped:
    """A file that could not be indexed."""

    id: str
    reason: str

    def __str__(self) -> str:
        return f"{self.id}: {self.reason}"


@dataclass
class Outcome:
    """What an indexing did."""

    new: int = 0
    changed: int = 0
    """Pictures or metadata that were other than in the catalogue."""
    unchanged: int = 0
    removed: int = 0
    embedded: int = 0
    """Pictures that went through the model."""
    skipped: list[Skipped] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [(self.new, "new"), (self.changed, "changed"), (self.unchanged, "unchanged"), (self.removed, "removed")]
        return ", ".join(f"{number:,} {what}" for number, what in parts if number) or "nothing to do"


@dataclass(frozen=True)
class _Known:
    """What the store has of an item."""

    picture: str | None
    sum: str | None
    size: int | None
    modified: int | None
    facts: str | None


@dataclass(frozen=True)
class _Read:
    """What became of one file: its pixels, or none where its content is known, or why it cannot be read."""

    entry: Entry
    sum: str = ""
    size: int = 0
    modified: int = 0
    pixels: torch.Tensor | None = None
    problem: str | None = None


def index(
    items: Items,
    listing: Listing,
    model: Callable[[], Embedder],
    *,
    tokens: bool = False,
    batch: int = 64,
    prune: bool = False,
    committed: Callable[[], None] = lambda: None,
    progress: bool = False,
) -> Outcome:
    """Bring a table to what a listing says.

    A picture whose size and time are those in the store counts as unchanged; where they differ, its content decides.
    Every commit holds whole items; whoever is stopped in between finds them there and does the rest the next time.

    Args:
        items: the table; the caller is its only writer.
        listing: what is to be in it.
        model: gives what makes the embeddings; called only where a picture has to be looked into.
        tokens: keep the pictures' feature maps as well.
        batch: pictures that are embedded at once.
        prune: remove items that the listing does not name, or whose picture is not there any more.
        committed: called after every commit.
        progress: show a progress bar.

    Raises:
        DataError: a column is of another kind than in the table.
        StorageError: the place is full or cannot be written to; what was committed stays.
    """
    _fit_columns(items, listing)
    outcome, gone = Outcome(), []
    writer = _Writer(items, committed)
    with (
        bar("indexing", show=progress, total=len(listing.ids), unit="picture") as meter,
        ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool,
    ):
        embedder = _Embedder(model, batch, tokens, writer)
        empty = items.count() == 0
        entries = listing.entries()
        while chunk := list(islice(entries, _CHUNK)):
            known = {} if empty else _known(items, [entry.id for entry in chunk])
            unchanged, rest = _sorted_out(listing, chunk, known)
            outcome.unchanged += unchanged
            meter.update(unchanged)
            retouched = []
            preprocess = model().preprocess if rest else None
            for read in _read_ahead(pool, listing, rest, known, preprocess, 2 * batch):
                have = known.get(read.entry.id)
                if read.problem is not None:
                    outcome.skipped.append(Skipped(read.entry.id, read.problem))
                    if read.problem == _MISSING:
                        gone.append(read.entry.id)
                elif read.pixels is None:
                    retouched.append(read)
                else:
                    embedder.add(read, new=have is None)
                    outcome.embedded += 1
                if read.problem is None:
                    outcome.new += have is None
                    outcome.changed += have is not None and _differs(read, have)
                    outcome.unchanged += have is not None and not _differs(read, have)
                meter.update()
            _retouch(items, retouched, writer, tokens)
        embedder.flush()
        writer.commit()
    if prune:
        wanted = set(map(stored, listing.ids))
        names = [name for part in items.scan(["id"]) for name in part.column("id").to_pylist()]
        lost = sorted({*(name for name in names if name not in wanted), *({*map(stored, gone)} & {*names})})
        items.delete(lost)
        committed()
        outcome.removed = len(lost)
    return outcome


_MISSING = "the file does not exist"


def write_skipped(store: Store, skipped: Sequence[Skipped]) -> None:
    """Keep the names of what could not be read, with the reasons."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("id", "reason"), *((each.id, each.reason) for each in skipped)])
    store.write(SKIPPED, text.getvalue())


def read_skipped(store: Store) -> list[Skipped]:
    """What could not be read when the pictures were indexed last."""
    text = store.read(SKIPPED)
    try:
        return [Skipped(line["id"], line["reason"]) for line in csv.DictReader(io.StringIO(text or ""))]
    except (csv.Error, KeyError) as error:
        raise CatalogueError(f"{SKIPPED!r} of the catalogue {store.place!r} is damaged ({error}); remove it") from error


def _fit_columns(items: Items, listing: Listing) -> None:
    """Give the table the listing's columns; refuse those that are of another kind there."""
    have, new = metadata_of(items.schema), []
    for name, kind in listing.columns.items():
        if name not in have:
            new.append(arrow().field(name, kind))
        elif not same_kind(have[name], kind):
            raise DataError(
                f"the column {name!r} is {kind} in {str(listing.place)!r}, but {have[name]} in the catalogue; give it "
                f"the same kind (--type {name}=KIND), rename it, or begin anew with --replace"
            )
    if new:
        items.add_columns(new)


def _known(items: Items, ids: Sequence[str]) -> dict[str, _Known]:
    columns = ["id", "_picture", "_sum", "_size", "_modified", "_facts"]
    rows = items.get([stored(name) for name in ids], columns)
    names, *rest = (rows[name].to_pylist() for name in columns)
    return {shown(name): _Known(*each) for name, each in zip(names, zip(*rest, strict=True), strict=True)}


def _sorted_out(listing: Listing, entries: Sequence[Entry], known: dict[str, _Known]) -> tuple[int, list[Entry]]:
    """How many are as the store has them, going by size and time, and those that are to be looked into."""
    rest = []
    for entry in entries:
        have = known.get(entry.id)
        if have is None or have.picture != _picture(entry) or have.facts != facts_of(entry.fields):
            rest.append(entry)
            continue
        try:
            seen = listing.file(entry).stat()
        except (OSError, ValueError):
            rest.append(entry)
            continue
        if (seen.st_size, seen.st_mtime_ns) != (have.size, have.modified):
            rest.append(entry)
    return len(entries) - len(rest), rest


def _differs(read: _Read, have: _Known) -> bool:
    return (read.sum, _picture(read.entry), facts_of(read.entry.fields)) != (have.sum, have.picture, have.facts)


def _picture(entry: Entry) -> str | None:
    return stored(entry.picture) if entry.picture else None


def _read_ahead(
    pool: ThreadPoolExecutor,
    listing: Listing,
    entries: Sequence[Entry],
    known: dict[str, _Known],
    preprocess: Preprocess | None,
    ahead: int,
) -> Iterator[_Read]:
    """Every entry's file, in order; at most `ahead` are decoded before they are needed."""

    def read(entry: Entry) -> _Read:
        if not entry.picture:
            return _Read(entry, problem="no picture is named")
        path = listing.file(entry)
        have = known.get(entry.id)
        try:
            seen = path.stat()
            if have is not None and (seen.st_size, seen.st_mtime_ns) == (have.size, have.modified) and have.sum:
                return _Read(entry, have.sum, seen.st_size, seen.st_mtime_ns)
            digest = file_sum(path)
            if have is not None and digest == have.sum:
                return _Read(entry, digest, seen.st_size, seen.st_mtime_ns)
            assert preprocess is not None, "there is nothing to read without a model"
            return _Read(entry, digest, seen.st_size, seen.st_mtime_ns, preprocess.read(path))
        except FileNotFoundError:
            return _Read(entry, problem=_MISSING)
        except PictureError as error:
            return _Read(entry, problem=error.reason)
        except (OSError, ValueError) as error:
            return _Read(entry, problem=getattr(error, "strerror", None) or str(error))

    upcoming = iter(entries)
    running: deque[Future[_Read]] = deque(pool.submit(read, entry) for entry in islice(upcoming, ahead))
    try:
        while running:
            done = running.popleft().result()
            running.extend(pool.submit(read, entry) for entry in islice(upcoming, 1))
            yield done
    finally:
        for each in running:
            each.cancel()


def _row(read: _Read, embedding: np.ndarray, tokens: bytes | None) -> Row:
    entry = read.entry
    return Row(entry.id, embedding, entry.picture, read.sum, read.size, read.modified, entry.fields, tokens)


class _Writer:
    """Gathers rows and commits them."""

    def __init__(self, items: Items, committed: Callable[[], None]) -> None:
        self._items, self._committed = items, committed
        self._rows: dict[bool, list[Row]] = {True: [], False: []}
        self._since = time.monotonic()

    def add(self, row: Row, *, new: bool) -> None:
        self._rows[new].append(row)
        enough = sum(map(len, self._rows.values())) >= COMMIT_ROWS
        if enough or time.monotonic() - self._since > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        for new, rows in self._rows.items():
            if rows:
                write = self._items.insert if new else self._items.upsert
                write(table_of(rows, self._items.schema))
                rows.clear()
                self._committed()
        self._since = time.monotonic()


class _Embedder:
    """Gathers pictures and embeds them in batches."""

    def __init__(self, model: Callable[[], Embedder], batch: int, tokens: bool, writer: _Writer) -> None:
        self._model, self._batch, self._tokens, self._writer = model, batch, tokens, writer
        self._waiting: list[tuple[_Read, bool]] = []

    def add(self, read: _Read, *, new: bool) -> None:
        self._waiting.append((read, new))
        if len(self._waiting) == self._batch:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        pixels = torch.stack([read.pixels for read, _ in self._waiting if read.pixels is not None])
        model = self._model()
        embeddings = model.embed_pictures(pixels).cpu().numpy()
        kept: Sequence[bytes | None] = maps_as_bytes(model, pixels) if self._tokens else [None] * len(pixels)
        for (read, new), embedding, tokens in zip(self._waiting, embeddings, kept, strict=True):
            self._writer.add(_row(read, embedding, tokens), new=new)
        self._waiting.clear()


def maps_as_bytes(model: Embedder, pixels: torch.Tensor) -> list[bytes]:
    """Each picture's feature maps, all levels one after the other, as float16."""
    maps = [level.to(torch.float16).cpu().contiguous().numpy() for level in model.trunk_maps(pixels)]
    return [b"".join(level[row].tobytes() for level in maps) for row in range(len(pixels))]


def maps_from_bytes(kept: bytes, shapes: Sequence[tuple[int, int, int]]) -> list[torch.Tensor]:
    """What `maps_as_bytes` made of one picture, as maps (1, channels, rows, columns)."""
    values, maps, first = np.frombuffer(kept, dtype=np.float16), [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        maps.append(torch.from_numpy(values[first : first + size].astype(np.float32)).reshape(1, *shape))
        first += size
    return maps


def _retouch(items: Items, reads: Sequence[_Read], writer: _Writer, tokens: bool) -> None:
    """Write rows anew whose picture is the same but whose metadata, time or place are not."""
    if not reads:
        return
    columns = ["id", "embedding", *(["_tokens"] if tokens else [])]
    by_id = {read.entry.id: read for read in reads}
    have = items.get([stored(name) for name in by_id], columns)
    kept: list[Any] = have["_tokens"].to_pylist() if tokens else [None] * len(have)
    rows = zip(have["id"].to_pylist(), embeddings_of(have["embedding"]), kept, strict=True)
    for name, embedding, maps in rows:
        writer.add(_row(by_id[shown(name)], embedding, maps), new=False)
