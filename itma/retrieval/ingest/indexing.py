"""Images → rows of a catalogue, incrementally: what is there already, unchanged, is neither read nor embedded."""

import csv
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from itma.errors import CatalogueError, DataError
from itma.progress import bar
from itma.retrieval.ingest.embedding import MISSING, Image, Looked, Workers
from itma.retrieval.ingest.image_names import inside_own
from itma.retrieval.ingest.listing import Entry, Listing
from itma.retrieval.ingest.rows import NO_FILE, FileState, Row, facts_of, same_kind, table_of, to_shown, to_stored
from itma.retrieval.request import IndexOptions
from itma.retrieval.stores.base import Items, Store, arrow, embeddings_of, metadata_of, read_column, read_columns

SKIPPED = "skipped.csv"
"""The document that names what could not be read."""
_CHUNK = 4_096
"""Entries that are compared with the store at once."""
COMMIT_ROWS, COMMIT_SECONDS = 2_048, 20.0
"""A commit follows after so many images, or so many seconds, whichever comes first."""


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
    """Images or metadata that were other than in the catalogue."""
    unchanged: int = 0
    removed: int = 0
    embedded: int = 0
    """Images that went through the model."""
    skipped: list[Skipped] = field(default_factory=list)
    remarks: Sequence[str] = ()
    """See `Listing.remarks`."""
    again: int = 0
    """Items that were there already and show an image which a new item shows as well."""

    def notes(self) -> list[str]:
        """What was left out and what was taken for missing, a line each."""
        twice = (
            f"twice: {self.again:,} items that were there already, by other ids, show the images of new ones; to "
            "keep only what this source names, index it once more with --prune"
        )
        return [*self.remarks, *([twice] if self.again else [])]

    def __str__(self) -> str:
        parts = [(self.new, "new"), (self.changed, "changed"), (self.unchanged, "unchanged"), (self.removed, "removed")]
        return ", ".join(f"{number:,} {what}" for number, what in parts if number) or "nothing to do"


def index(
    items: Items,
    listing: Listing,
    workers: Workers,
    options: IndexOptions,
    *,
    committed: Callable[[], None] = lambda: None,
    progress: bool = False,
) -> Outcome:
    """Bring a table to what a listing says.

    An image whose size and time are those in the store counts as unchanged; where they differ, its content decides.
    Every commit holds whole items; whoever is stopped in between finds them there and does the rest the next time.

    Args:
        items: the table; the caller is its only writer.
        listing: what is to be in it.
        workers: make the embeddings; asked only where an image has to be looked into.
        options: how many images are embedded at once, whether feature maps are kept, and whether items go that the
            listing does not name, or whose image is not there any more.
        committed: called after every commit.
        progress: show a progress bar.

    Raises:
        DataError: a column is of another kind than in the table.
        StorageError: the place is full or cannot be written to; what was committed stays.
    """
    _fit_columns(items, listing)
    outcome = Outcome(remarks=listing.remarks())
    gone: list[str] = []
    added: dict[str, str] = {}
    begun_empty = items.count() == 0
    writer = _Writer(items, committed)
    pending: dict[str, tuple[Entry, Mapping[str, Any] | None]] = {}
    retouched: list[tuple[Entry, Looked]] = []
    with bar("indexing", show=progress, total=len(listing.ids), unit="image") as meter:

        def images() -> Iterator[Image]:
            entries = listing.entries()
            while chunk := list(islice(entries, _CHUNK)):
                known = {} if begun_empty else _find_known(items, [entry.id for entry in chunk])
                rest = [entry for entry in chunk if not _is_unchanged(listing, entry, known.get(entry.id))]
                outcome.unchanged += len(chunk) - len(rest)
                meter.update(len(chunk) - len(rest))
                for entry in rest:
                    if entry.problem:
                        outcome.skipped.append(Skipped(entry.id, f"{entry.row}: {entry.problem}"))
                        meter.update()
                        continue
                    have = known.get(entry.id)
                    pending[entry.id] = entry, have
                    path = listing.file(entry) if entry.image else None
                    yield Image(entry.id, path, FileState.of_row(have) if have else NO_FILE)

        for looked in workers.embed(images(), batch=options.batch, tokens=options.tokens):
            entry, have = pending.pop(looked.id)
            if looked.problem is not None:
                outcome.skipped.append(Skipped(entry.id, _reason(entry, looked.problem)))
                if looked.problem == MISSING:
                    gone.append(entry.id)
            elif looked.embedding is None:
                retouched.append((entry, looked))
            else:
                writer.add(_row(entry, looked, looked.embedding, looked.tokens), new=have is None)
                outcome.embedded += 1
            if looked.problem is None:
                outcome.new += have is None
                if have is None and not begun_empty and entry.image:
                    added[to_stored(entry.id)] = to_stored(entry.image)
                outcome.changed += have is not None and _differs(entry, looked, have)
                outcome.unchanged += have is not None and not _differs(entry, looked, have)
            if len(retouched) == _CHUNK:
                _retouch(items, retouched, writer, options.tokens)
                retouched.clear()
            meter.update()
        _retouch(items, retouched, writer, options.tokens)
        writer.commit()
    if options.prune and not begun_empty:
        listed = set(map(to_stored, listing.ids))
        names = set(read_column(items, "id"))
        lost = sorted((names - listed) | (names & {*map(to_stored, gone)}))
        items.delete(lost)
        committed()
        outcome.removed = len(lost)
    if added:
        images_added = set(added.values())
        rows = read_columns(items, "id", "_image")
        outcome.again = sum(image in images_added and name not in added for name, image in rows)
    return outcome


def _reason(entry: Entry, problem: str) -> str:
    """Why an image cannot be read; of a table with its row and the name that stands there."""
    if not entry.row:
        return problem
    named = f"{entry.image[:200]!r}: " if entry.image and not inside_own(entry.image) else ""
    return f"{entry.row}: {named}{problem}" + (f"; {entry.hint}" if entry.hint and problem == MISSING else "")


def write_skipped(store: Store, skipped: Sequence[Skipped]) -> None:
    """Keep the names of what could not be read, with the reasons."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("id", "reason"), *((each.id, each.reason) for each in skipped)])
    store.write(SKIPPED, text.getvalue())


def read_skipped(store: Store) -> list[Skipped]:
    """What could not be read when the images were indexed last."""
    text = store.read(SKIPPED)
    try:
        return [Skipped(line["id"], line["reason"]) for line in csv.DictReader(io.StringIO(text or ""))]
    except (csv.Error, KeyError) as error:
        raise CatalogueError(
            f"{SKIPPED!r} of the catalogue {store.address!r} is damaged ({error}); remove it"
        ) from error


def _fit_columns(items: Items, listing: Listing) -> None:
    """Give the table the listing's columns; refuse those that are of another kind there."""
    have, new = metadata_of(items.schema), []
    for name, kind in listing.columns.items():
        if name not in have:
            new.append(arrow().field(name, kind))
        elif not same_kind(have[name], kind):
            raise DataError(
                f"the column {name!r} is {kind} in {str(listing.source)!r}, but {have[name]} in the catalogue; give it "
                f"the same kind (--type {name}=KIND), rename it, or begin anew with --replace"
            )
    if new:
        items.add_columns(new)


def _find_known(items: Items, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """What the store has of items."""
    rows = items.get([to_stored(name) for name in ids], ["id", "_image", "_sum", "_size", "_modified", "_facts"])
    return {to_shown(row["id"]): row for row in rows.to_pylist()}


def _is_unchanged(listing: Listing, entry: Entry, have: Mapping[str, Any] | None) -> bool:
    """Whether an entry is as the store has it, going by size and time."""
    if have is None or (have["_image"], have["_facts"]) != (_image(entry), facts_of(entry.fields)):
        return False
    try:
        status = listing.file(entry).stat()
    except (OSError, ValueError):
        return False
    return (status.st_size, status.st_mtime_ns) == (have["_size"], have["_modified"])


def _differs(entry: Entry, looked: Looked, have: Mapping[str, Any]) -> bool:
    return (looked.file.sum, _image(entry), facts_of(entry.fields)) != (have["_sum"], have["_image"], have["_facts"])


def _image(entry: Entry) -> str | None:
    return to_stored(entry.image) if entry.image else None


def _row(entry: Entry, looked: Looked, embedding: np.ndarray, tokens: bytes | None) -> Row:
    return Row(entry.id, embedding, entry.image, looked.file, entry.fields, tokens)


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


def _retouch(items: Items, pairs: Sequence[tuple[Entry, Looked]], writer: _Writer, tokens: bool) -> None:
    """Write rows anew whose image is the same but whose metadata, time or place are not."""
    if not pairs:
        return
    columns = ["id", "embedding", *(["_tokens"] if tokens else [])]
    by_id = {entry.id: (entry, looked) for entry, looked in pairs}
    have = items.get([to_stored(name) for name in by_id], columns)
    map_bytes: list[Any] = have["_tokens"].to_pylist() if tokens else [None] * len(have)
    rows = zip(have["id"].to_pylist(), embeddings_of(have["embedding"]), map_bytes, strict=True)
    for name, embedding, maps in rows:
        entry, looked = by_id[to_shown(name)]
        writer.add(_row(entry, looked, embedding, maps), new=False)
