"""What a catalogue knows of itself: its model, where its images are, which table is the one that is searched."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from itma.config import from_plain
from itma.errors import CatalogueError
from itma.io import parse_json
from itma.models.hub_names import hub_name
from itma.models.shipped import is_shipped, locate
from itma.retrieval.stores.base import Store, damage_error

FORMAT = 2
NAME = "catalogue.json"
"""The document that makes a folder, or what stands at an address, a catalogue."""


@dataclass(frozen=True)
class FolderRecord:
    """Where a folder is, so that it and the catalogue can be moved together."""

    path: str
    from_here: str
    """As seen from the catalogue; empty where it is not."""


@dataclass(frozen=True)
class MapShapes:
    """Which feature maps are kept with each item, so that a reference needs no image."""

    shapes: tuple[tuple[int, int, int], ...]
    """(channels, rows, columns) of each level."""

    @property
    def bytes_each(self) -> int:
        """What one item's maps take, as float16."""
        return 2 * sum(channels * rows * columns for channels, rows, columns in self.shapes)


@dataclass(frozen=True)
class Ann:
    """How the index is searched, and what that was measured to find."""

    kind: str
    effort: Mapping[str, int] | None
    """The cheapest one that reached `wanted`; None: none did, and all items are compared."""
    recall: float
    """Recall@10 against comparing all, over `queries` made of the catalogue's own items."""
    wanted: float
    queries: int
    items: int
    milliseconds: float
    """Median time of one of those queries."""


@dataclass(frozen=True)
class About:
    """The contents of `catalogue.json`."""

    table: str
    """The table that is searched."""
    dim: int
    model: str | None = None
    """The model's name; None: the embeddings came from elsewhere, without a model."""
    fingerprint: str | None = None
    runtime: str = "torch"
    """What computed the embeddings: a name in `itma.export.runtimes.RUNTIMES`."""
    checkpoint: str | None = None
    """Sum over the files of the model's checkpoint, which tells without opening it that it is the same."""
    run: FolderRecord | None = None
    """The run folder; None: the model was given in memory."""
    images: FolderRecord | None = None
    """The folder that images are named in; None: every image has its whole path."""
    tokens: MapShapes | None = None
    durable: bool = False
    """Whether a write returns only once it would survive a loss of power."""
    complete: bool = True
    """Whether the last indexing came to its end."""
    ann: Ann | None = None
    sources: tuple[str, ...] = ()
    """What was indexed last, for people."""

    @property
    def recall(self) -> float:
        """What an index of it must reach."""
        return 0.98 if self.ann is None else self.ann.wanted

    def to_json(self) -> str:
        """As a document."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"


def exists(store: Store) -> bool:
    """Whether a catalogue is there, of whatever format, whole or not."""
    return store.read(NAME) is not None


def read(store: Store) -> About:
    """What a catalogue knows of itself.

    Raises:
        CatalogueError: there is none, it is damaged, or of another format; the message says what to do.
    """
    text = store.read(NAME)
    if text is None:
        if store.strange():
            raise CatalogueError(f"{store.address!r} is no catalogue: {NAME} is missing; make one with: itma index")
        raise CatalogueError(
            f"the catalogue {store.address!r} does not exist; make it with: itma index RUN FOLDER {store.address}"
        )
    try:
        plain = parse_json(text)
        number = plain.pop("format")
        if number != FORMAT:
            again = f"index the images again: itma index RUN FOLDER {store.address} --replace"
            age, way_out = ("a newer", "upgrade with: pip install -U itma") if number > FORMAT else ("an older", again)
            raise CatalogueError(
                f"the catalogue {store.address!r} was written by {age} itma (format {number}, this one reads "
                f"{FORMAT}); {way_out}"
            )
        return from_plain(About, {each.name: plain[each.name] for each in fields(About)})
    except CatalogueError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damage_error(store.address, f"{NAME}: {error!r}") from error


def write(store: Store, about: About) -> None:
    """Keep what a catalogue knows of itself, whole or not at all: readers see either the old or the new."""
    store.write(NAME, about.to_json())


def record_folder(folder: Path, catalogue: str) -> FolderRecord:
    """Where a folder is, as the catalogue keeps it; a model of itma's own or of the hub is kept by its name.

    A folder that is no model's is given as a whole path, so that it is never taken for such a name.
    """
    if is_shipped(folder) or hub_name(folder) is not None:
        return FolderRecord(str(folder), "")
    there = folder.resolve()
    if "://" in catalogue:
        return FolderRecord(str(there), "")
    try:
        relative = Path(os.path.relpath(there, Path(catalogue).resolve())).as_posix()
    except ValueError:  # another drive
        relative = ""
    return FolderRecord(str(there), relative)


def name_folder(record: FolderRecord, catalogue: str) -> str:
    """How a person names a folder in a command: a model of itma's own or of the hub by its name."""
    return str(find_folder(record, catalogue)) if record.from_here else record.path


def find_folder(record: FolderRecord, catalogue: str) -> Path:
    """Where a folder is now: where it was, or else where it is seen from the catalogue."""
    far = Path(record.path)
    if not record.from_here or far.is_dir():
        return locate(far)
    near = Path(os.path.normpath(Path(catalogue).resolve() / record.from_here))
    return near if near.is_dir() else far
