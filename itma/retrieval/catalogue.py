"""A person's own images, embedded and stored, that can be searched with an image and a sentence."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from itma.errors import CatalogueError, ConfigError, DataError, ItmaError, UnanswerableError
from itma.export.runtimes import open_model
from itma.models.embedder import Embedder
from itma.models.hub_names import hub_name
from itma.models.shipped import locate
from itma.records import Hit, Hits
from itma.retrieval import duplicates, manifest
from itma.retrieval.duplicates import Groups
from itma.retrieval.facets import Facet
from itma.retrieval.filters import Where
from itma.retrieval.info import Info
from itma.retrieval.ingest import building, image_names, moving
from itma.retrieval.ingest.building import EXACT_ITEMS, KEEP
from itma.retrieval.ingest.embedding import Here, Workers
from itma.retrieval.ingest.image_names import ImageNames, own_folder
from itma.retrieval.ingest.indexing import Outcome, Skipped, read_skipped
from itma.retrieval.ingest.listing import listing
from itma.retrieval.ingest.rows import Item, Page, list_items
from itma.retrieval.ingest.writing import Writer
from itma.retrieval.manifest import About
from itma.retrieval.query_encoder import QueryEncoder
from itma.retrieval.request import IndexOptions, SearchRequest, takes, value_of
from itma.retrieval.snapshot import Snapshot
from itma.retrieval.stores.base import Items, Store, Version, read_column
from itma.retrieval.stores.engines import store_at
from itma.retrieval.sums import Verification

log = logging.getLogger(__name__)

T = TypeVar("T")
Model = Embedder | str | Path
"""A model, or the folder of its run."""

_TIDY_EVERY = 64
"""Versions after which a catalogue is compacted by itself."""


class Catalogue:
    """Images that are searched; make one with `Catalogue.build`, open it with `Catalogue.open`.

    An item's id is what its table says, or its path below the folder that was indexed, with `/` between the parts on
    every system. Scores are cosines. Up to 200,000 items every search compares all of them; beyond, an index is
    searched as thoroughly as a stated recall needs, see `info`. One process writes at a time; a search shows everything
    that any process had written when it began, and is answered by one state from its begin to its end, see `snapshot`.
    A catalogue may be used by several threads, which do not wait for one another.
    """

    def __init__(
        self,
        store: Store,
        *,
        version: int | None = None,
        exact_items: int = EXACT_ITEMS,
        model: Model | None = None,
        runtime: str | None = None,
        device: torch.device | None = None,
        images: Path | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        if not hasattr(store, "stamp"):
            name = str(store)
            raise ConfigError(
                f"Catalogue({name!r:.60}): open a catalogue with Catalogue.open({name!r:.60}), or make one with "
                "Catalogue.build"
            )
        self._store, self._version, self._exact_items = store, version, exact_items
        self._model, self._runtime, self._device = model, runtime, device
        self.outcome = outcome
        """What the indexing that this object comes from did."""
        self._lock = threading.Lock()
        self._snapshot = self._look(images=images)

    def _look(self, before: Snapshot | None = None, images: Path | None = None) -> Snapshot:
        """The newest state; the one before where nobody has written since."""
        while True:
            document = self._store.stamp(manifest.NAME)
            try:
                if before is None or document != before.document:
                    return self._read(before, document, images)
                items = before.items.newest()
            except CatalogueError:
                if document == self._store.stamp(manifest.NAME):
                    raise
                continue  # the table was replaced while it was looked at
            if items is before.items:
                return before
            return replace(before, items=items, document=document, earlier=before)

    def _read(
        self, before: Snapshot | None, document: object, images: Path | None, model: Embedder | None = None
    ) -> Snapshot:
        """The state that the catalogue's document tells of, with its model where one was open before."""
        about, address = manifest.read(self._store), self._store.address
        items = self._store.open(about.table, self._version)
        if images is None and before is not None and about.images == before.about.images:
            images = before.images
        if images is None and about.images is not None:
            images = manifest.find_folder(about.images, address)
        if before is not None and before.about.fingerprint == about.fingerprint:
            encoder = before.encoder
        else:
            source_model = model or (self._model if before is None else None)
            encoder = QueryEncoder(lambda: _model_of(about, address, source_model, self._runtime, self._device))
            if before is not None and before.encoder.is_open:
                encoder.open()
                self._model = None
        return Snapshot(items, about, document, images, encoder, address, self._exact_items, before)

    # -- making and opening -------------------------------------------------------------------------------------------

    @classmethod
    @takes(IndexOptions)
    def build(
        cls,
        model: Model,
        source: str | Path,
        path: str | Path,
        *,
        options: IndexOptions,
        update: bool = False,
        device: torch.device | None = None,
        progress: bool = False,
    ) -> "Catalogue":
        """Embed all images of a folder or a table and store them.

        Files are decoded in parallel with the embedding; memory holds a few batches of images and the names of all.
        Images are committed by the thousand: after an interruption what was committed is there, and the same call
        with `update=True` does the rest.

        Args:
            model: a model, or a run folder; only in the second case does the catalogue know where to find it again.
            source: a folder of images in a format of `images.FORMATS`, also in sub-folders; or a CSV, JSON Lines or
                Parquet file with a row for each item, whose other columns become metadata.
            path: the catalogue's own folder.
            options: see `IndexOptions`, whose fields can be given one by one in its place.
            update: bring an existing catalogue to what the source says; only new and changed images are embedded.
            device: where a model given as a folder is to work; None: on the CPU.
            progress: show a progress bar.

        Raises:
            CatalogueError: `path` exists and is neither to be replaced nor updated, is something else than a catalogue,
                was made by another model or from another folder, or is being written by somebody else.
            DataError: the source is missing, holds no images, or none of them can be read; or a column does not fit.
            RunError: the model cannot be opened.
            StorageError: the disk is full or `path` cannot be written to; what was committed before stays.
            MissingExtraError: Ray is to be used and is not installed.
            ConfigError: there is no Ray cluster at the address, or the model is in memory, out of its workers' reach.
        """
        store = store_at(path)
        _refuse_existing(store, replace=options.replace, update=update)
        items_listed = listing(Path(source), options=options, own=own_folder(str(path)))
        updating = update and manifest.exists(store)
        runtime = options.runtime
        if isinstance(model, Embedder):
            runtime = model.runtime
        elif runtime is None:
            runtime = manifest.read(store).runtime if updating else "torch"
        if options.tokens and runtime != "torch":
            raise ConfigError(
                f"feature maps are kept of torch only, not of the runtime {runtime!r}; leave out the tokens"
            )

        @cache
        def retriever() -> Embedder:
            return _open(model, device, runtime, progress)

        if not isinstance(model, Embedder):
            locate(model)  # refuses what is neither a path nor a name
        run = _run_of(model)
        if not updating:
            retriever()  # before anything is written: it may be missing
        with _workers(options, model, device, runtime, retriever) as workers, store.writing(f"indexing {source}"):
            if updating:
                outcome = building.update(
                    store, items_listed, retriever, run, options, workers, runtime=runtime, progress=progress
                )
            else:
                outcome = building.make(store, items_listed, retriever(), run, options, workers, progress=progress)
        model = retriever() if retriever.cache_info().currsize else model
        return cls(store, model=model, device=device, images=items_listed.root, outcome=outcome)

    @classmethod
    def open(
        cls,
        path: str | Path,
        model: Model | None = None,
        *,
        version: int | None = None,
        runtime: str | None = None,
        device: torch.device | None = None,
        without_model: bool = False,
    ) -> "Catalogue":
        """Open a stored catalogue.

        Args:
            path: its folder.
            model: the model that made it, or that model's run folder; None: where the run folder was then.
            version: an earlier state, see `versions`, which can be searched and not be written to; None: the newest.
            runtime: what a model opened from its folder is to answer with; None: what made the catalogue.
            device: where a model opened from its folder is to work; None: on the CPU.
            without_model: open no model, for all that needs none; searching by images or sentences does.

        Raises:
            CatalogueError: the catalogue is missing, damaged, or was made by another model.
            RunError: the model cannot be opened.
        """
        opened = cls(store_at(path), version=version, model=model, runtime=runtime, device=device)
        if not without_model and opened.snapshot.has_model:
            opened.snapshot.encoder.open()
        return opened

    @classmethod
    def from_embeddings(
        cls,
        source: str | Path | Iterable[Item],
        path: str | Path,
        *,
        model: Model | None = None,
        images: str | Path | None = None,
        replace: bool = False,
        durable: bool = False,
        recall: float = 0.98,
        device: torch.device | None = None,
        progress: bool = False,
    ) -> "Catalogue":
        """Make a catalogue of embeddings that are there already.

        Args:
            source: items with embeddings; or a Parquet file with a column `embedding` or `vector`, where wanted `id`,
                `image` (or `file`, `picture`, `image_path`) and metadata; or an `.npz` file with arrays `ids` and
                `embeddings`; or a `.npy` file of shape (items, dim), or a folder of such files (in it or in `img_emb`),
                whose items are described in `metadata/metadata_N.parquet` beside that folder, as clip-retrieval writes
                them. Where nothing says an item's id, it is its image's name, or else its number, from 0.
            path: the catalogue's own folder.
            model: what made them, taken at your word; None: the catalogue can be searched by embeddings and by its
                own items alone.
            images: the folder in which images are named; None: that of the file.
            replace: put it in the place of an existing catalogue.
            durable: see `build`.
            recall: see `build`.
            device: where a model given as a folder is to work.
            progress: show a progress bar.

        Raises:
            CatalogueError: `path` exists and is not to be replaced, or is no catalogue.
            DataError: an id stands there twice, or an embedding has another length, is no number, or is all zeros.
            StorageError: the disk is full or `path` cannot be written to.
        """
        store = store_at(path)
        _refuse_existing(store, replace=replace, update=False)
        retriever = None if model is None else _open(model, device, "torch")
        run = _run_of(model)
        with store.writing("importing embeddings"):
            items = source if isinstance(source, str | Path) else list_items(source)
            moving.import_embeddings(
                store, items, retriever, run, images=images, durable=durable, recall=recall, progress=progress
            )
        return cls(store, model=retriever, device=device)

    # -- what it is ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._ask(len)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._ask(lambda snapshot: id in snapshot)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, or copied, it is opened anew; a catalogue whose model is in memory alone cannot be."""
        model = self._model if isinstance(self._model, str | Path) else None
        again = partial(
            Catalogue.open,
            version=self._version,
            runtime=self._runtime,
            device=self._device,
            without_model=not self.snapshot.encoder.is_open,
        )
        return again, (self._store.address, model)

    def __repr__(self) -> str:
        snapshot = self.snapshot
        by = "made elsewhere" if snapshot.about.model is None else f"embedded by {snapshot.about.model!r}"
        return f"<Catalogue of {len(snapshot):,} images from {str(snapshot.images)!r}, {by}>"

    @property
    def snapshot(self) -> Snapshot:
        """The state that is shown, which never changes: all that is asked of it fits together."""
        return self._snapshot

    @property
    def ids(self) -> Sequence[str]:
        """The items' ids, sorted."""
        return self._ask(Snapshot.ids)

    @property
    def images(self) -> Path | None:
        """The folder that images are named in. None: each has its whole path."""
        return self.snapshot.images

    @property
    def run(self) -> Path | None:
        """The run folder of its model, where it is known and there."""
        if isinstance(self._model, str | Path):
            there = locate(self._model)
            return there if there.is_dir() else None
        return self.snapshot.run

    @property
    def skipped(self) -> Sequence[Skipped]:
        """Files that were left out because they could not be read, with the reason."""
        return read_skipped(self._store)

    @property
    def version(self) -> int:
        """The state that is shown."""
        return self.snapshot.items.version

    @property
    def stamp(self) -> str:
        """The state that is shown, as a text: another one as soon as items, metadata or the model are others."""
        return self.snapshot.stamp

    @property
    def model(self) -> Embedder:
        """The model that embeds references and sentences.

        Raises:
            CatalogueError: the catalogue has none, or it is not to be found.
        """
        return self.snapshot.model

    def versions(self) -> list[Version]:
        """The states that can still be opened, oldest first; `compact` forgets those that are older than wanted."""
        return self.snapshot.items.versions()

    def info(self) -> Info:
        """Items, columns, model, and how searches go."""
        return self._ask(self.info_of)

    def info_of(self, snapshot: Snapshot) -> Info:
        """The same of one state."""
        return Info.of(self._store, snapshot)

    def refresh(self) -> bool:
        """Show the newest state, as every search does by itself; whether that is another one.

        Raises:
            CatalogueError: the catalogue moved to another model, which is not to be found.
        """
        if self._version is not None:
            return False
        with self._lock:
            before = self._snapshot
            self._snapshot = self._look(before)
            return self._snapshot is not before

    def _ask(self, ask: Callable[[Snapshot], T]) -> T:
        """What the newest state says; asked once more where its files went away meanwhile, and there is a newer one."""
        self.refresh()
        snapshot = self._snapshot
        try:
            return ask(snapshot)
        except CatalogueError as error:
            if not is_lost(error):
                raise
            self.refresh()
            if self._snapshot is snapshot:
                raise
        return ask(self._snapshot)

    # -- searching ----------------------------------------------------------------------------------------------------

    @takes(SearchRequest, "request", by_position=3)
    def search(self, *, request: SearchRequest) -> Hits:
        """The k items that fit a reference, a feedback, or both; best first: `search("dress.jpg", "in red", 5)`.

        An item that is itself the reference (by its id, its path, or by what it shows) is left out. An empty
        sentence counts as none. Words that training never saw are read as the nearest known ones, or ignored, as the
        model has it; the log says which. What was said `earlier` in a conversation is read well by a model that was
        trained on conversations, see `itma.models.text_encoders.base.TextEncoderConfig.earlier`.

        Args:
            request: see `SearchRequest`, whose fields can be given one by one in its place, the image, the text and k
                by position.

        Returns:
            At most k hits; fewer where fewer match: k are found wherever k match the condition, see
            `itma.retrieval.filters.Where`. Equal scores stand in the order of ids. `notes` says what is to be known of
            them: which items were left out as the reference itself, why nothing was found.

        Raises:
            DataError: neither an image nor a sentence is given, or the embedding makes no sense.
            ImageError: the reference cannot be read.
            FeedbackError: no word of the sentence is known, or the model does not read words and there is no image.
            FilterError, UnknownNameError: the condition makes no sense, or names a column that is not there.
            UnknownItemError: there is no item of that id.
            UnanswerableError: the catalogue has no model, or the item no image.
            ConfigError: k is below 1, or the emphasis beyond its range.
        """
        return value_of(self.answer([request])[0])

    def answer(self, requests: Iterable[SearchRequest]) -> list[Hits | Exception]:
        """Many searches at once, of one state, which the model and the comparison take together.

        Returns:
            For each request what `search` gives, or the error that it raises.

        Raises:
            DataError: these are no requests.
        """
        if not isinstance(requests, Iterable):
            raise DataError(f"answer takes a list of requests; found one alone: {requests!r:.60}")
        requests = list(requests)
        if strange := [each for each in requests if not isinstance(each, SearchRequest)]:
            raise DataError(f"answer takes a list of requests, [SearchRequest(text=…), …]; found {strange[0]!r:.60}")
        self.refresh()
        snapshot = self._snapshot
        answers = snapshot.answer(requests)
        lost = [row for row, answer in enumerate(answers) if is_lost(answer)]
        if lost:
            self.refresh()
            if self._snapshot is not snapshot:
                again = self._snapshot.answer([requests[row] for row in lost])
                answers = [again.pop(0) if row in lost else answer for row, answer in enumerate(answers)]
        return answers

    def search_all(
        self, embeddings: np.ndarray, k: int = 10, *, where: Where | None = None, fields: Sequence[str] = ()
    ) -> list[list[Hit]]:
        """Many ready-made queries at once: for each the k nearest items, best first.

        Args:
            embeddings: (queries, dim).
            k: how many for each.
            where: see `search`.
            fields: see `search`.
        """
        return self._ask(lambda snapshot: snapshot.search_all(embeddings, k, where=where, fields=fields))

    def ranks(self, queries: np.ndarray, scores: np.ndarray, *, exclude: Sequence[str] = ()) -> np.ndarray | None:
        """At which rank of each query an image of some score would stand, whether or not it is in the catalogue.

        Args:
            queries: (queries, dim) of length 1.
            scores: (queries,) the image's cosine with each.
            exclude: ids that take no part: the reference, and the image itself.

        Returns:
            (queries,) int64: 1 + the number of items that score higher by more than rounding makes; None where there
            are so many items that not all of them are compared.
        """
        return self._ask(lambda snapshot: snapshot.ranks(queries, scores, exclude=exclude))

    # -- changing -----------------------------------------------------------------------------------------------------

    def get(self, id: str) -> Item:
        """One item, with the path of its image, its embedding and its metadata.

        Raises:
            UnknownItemError: there is none of that id.
        """
        return self._ask(lambda snapshot: snapshot.get(id))

    def page(
        self, rows: int = 100, *, after: str | None = None, where: Where | None = None, fields: Sequence[str] = ("*",)
    ) -> Page:
        """About `rows` items, with the paths of their images and their metadata, without reading all the others.

        As long as nobody writes, the pages that follow one another hold every item once, in no particular order.

        Args:
            rows: how many, about; a page may hold fewer and yet not be the last.
            after: `next` of the page before; None: the first page.
            where: see `search`.
            fields: columns of metadata; `"*"` stands for all.

        Raises:
            DataError: `after` is no mark of a page.
            ConfigError: `rows` is below 1.
        """
        return self._ask(lambda snapshot: snapshot.page(rows, after=after, where=where, fields=fields))

    def facets(self, look_at: int = 200_000) -> list[Facet]:
        """What the columns of metadata hold, for people who choose: choices and ranges.

        Args:
            look_at: items that are looked at, at most.
        """
        return self._ask(lambda snapshot: snapshot.facets(look_at))

    def ids_of(self, image: str | Path) -> list[str]:
        """The items whose image is this file."""
        return self._ask(lambda snapshot: snapshot.ids_of(image))

    def image_paths(self) -> list[Path]:
        """Where the items' images were when they were indexed; those without an image are passed over."""
        return self._ask(
            lambda snapshot: [
                Path(snapshot.path(name)) for name in sorted(filter(None, read_column(snapshot.items, "_image")))
            ]
        )

    def name_of(self, image: str | Path) -> str:
        """What the item of an image is called where nothing else is said: its path below the catalogue's folder."""
        return ImageNames(self.images, None).name(image)

    def add(self, items: Iterable[Item]) -> None:
        """Add items, all in one commit.

        Raises:
            ItemExistsError: an id is there already; nothing is added then.
            DataError: an id is given twice, an embedding makes no sense, or a value does not fit its
                column; nothing is added then.
            ImageError: an image cannot be read; nothing is added then.
            BusyError: somebody else is writing.
            CatalogueError: the state that is shown is an earlier one.
            StorageError: the disk is full or nothing can be written there.
        """
        with self.writing("adding items") as writer:
            writer.put(items, new=True)

    def replace(self, items: Iterable[Item]) -> None:
        """Add items, in the place of those with the same ids, all in one commit; errors as for `add`."""
        with self.writing("replacing items") as writer:
            writer.put(items, new=False)

    def delete(self, ids: Iterable[str] = (), *, where: Where | None = None) -> int:
        """Remove items, all in one commit.

        Args:
            ids: which; those that are not there are passed over.
            where: also those that match; see `search`.

        Returns:
            How many were removed.

        Raises:
            BusyError: somebody else is writing.
            CatalogueError: the state that is shown is an earlier one.
            StorageError: nothing can be written there.
        """
        if isinstance(ids, str):
            ids = [ids]
        with self.writing("deleting items") as writer:
            return writer.delete(ids, None if where is None else self.snapshot.condition(where))

    def compact(self, *, keep: timedelta = KEEP, recall: float | None = None) -> None:
        """Join small files, forget old versions, and bring the index up to date where there is to be one.

        Args:
            keep: versions younger than this stay; a reader in another process that shows an older one must refresh.
            recall: recall@10 that the index must reach; None: as before, or 0.98.
        """
        with self._alone("compacting") as (items, about):
            for name in self._store.tables():
                if name != about.table:
                    self._store.drop(name)
            items.compact(keep)
            new = building.build_index(items, about, recall=recall or about.recall, exact_items=self._exact_items)
            if new != about:
                manifest.write(self._store, new)
            building.syncing(self._store, new)()
        self.refresh()

    def verify(self) -> Verification:
        """Read all files of the catalogue and compare them with the sums that were kept when they were written."""
        return self._store.verify(self.snapshot.about.table)

    def reindex(
        self,
        model: Model,
        *,
        leave_out: bool = False,
        batch: int = 64,
        runtime: str = "torch",
        device: torch.device | None = None,
        progress: bool = False,
    ) -> Outcome:
        """Move to another model: embed all images anew beside what is there, then switch in one step.

        Until then searches go on as before; writes wait.

        Args:
            model: the other model, or its run folder.
            leave_out: go on where the images of some items cannot be read, and drop these items.
            batch: images that are embedded at once.
            runtime: what a model given as a folder is to answer with.
            device: where a model given as a folder is to work.
            progress: show a progress bar.

        Raises:
            DataError: the images of some items cannot be read.
        """
        retriever = _open(model, device, runtime, progress)
        run = _run_of(model)
        with self._alone("reindexing") as (items, about):
            outcome = moving.reindex(
                self._store,
                items,
                about,
                retriever,
                run,
                self.images,
                leave_out=leave_out,
                batch=batch,
                progress=progress,
            )
        with self._lock:
            self._model, self._runtime, self._device = retriever if run is None else run, runtime, device
            before = self._snapshot
            self._snapshot = self._read(None, self._store.stamp(manifest.NAME), before.images, retriever)
        return outcome

    @contextmanager
    def writing(self, what: str) -> Iterator[Writer]:
        """Be the only one who changes items, for as long as this is open; what is read by the writer stays so.

        Args:
            what: what is being done, for the message that others get.

        Raises:
            BusyError: somebody else is writing.
            CatalogueError: the state that is shown is an earlier one.
            StorageError: nothing can be written there.
        """
        with self._alone(what) as (items, about):
            before, writer = items.version, Writer(items, about, lambda: self.model, self.snapshot.image_names)
            try:
                yield writer
            finally:
                if items.version != before:  # also where the writer was left by an error after its commit
                    if writer.replaced:
                        image_names.sweep(self._store.address, items)
                    if before // _TIDY_EVERY != items.version // _TIDY_EVERY:
                        building.tidy(items)
                    building.syncing(self._store, about)()
                    try:
                        self.refresh()
                    except ItmaError as error:  # the write stands; whoever asks next hears of it
                        log.warning("everything is written, but the new state cannot be shown: %s", error)

    @contextmanager
    def _alone(self, what: str) -> Iterator[tuple[Items, About]]:
        """The newest table, for its only writer."""
        if self._version is not None:
            raise CatalogueError(
                f"version {self._version} of the catalogue {self._store.address!r} can only be searched; open the "
                "catalogue without a version to change it"
            )
        with self._store.writing(what):
            self.refresh()
            about = self.snapshot.about
            yield self._store.open(about.table), about

    # -- copies -------------------------------------------------------------------------------------------------------

    def backup(self, destination: str | Path) -> None:
        """Copy the state that is shown to another path or address, as a catalogue of its own.

        Raises:
            CatalogueError: something stands there already.
            StorageError: the disk is full or nothing can be written there.
        """
        target = store_at(destination)
        if manifest.exists(target):
            raise CatalogueError(f"{target.address!r} is a catalogue already; choose another path for the copy")
        _refuse_existing(target, replace=False, update=False)
        self._ask(lambda snapshot: moving.copy(self._store, snapshot.items, snapshot.about, snapshot.images, target))

    @staticmethod
    def restore(backup: str | Path, path: str | Path, *, replace: bool = False) -> None:
        """Copy a backup to where the catalogue was.

        Args:
            backup: what `backup` made; stays as it is.
            path: the catalogue's folder.
            replace: put it in the place of what is there, which is searched until the copy is whole.
        """
        target = store_at(path)
        _refuse_existing(target, replace=replace, update=False)
        copied = Catalogue.open(backup, without_model=True)
        snapshot = copied.snapshot
        moving.copy(copied._store, snapshot.items, snapshot.about, snapshot.images, target)

    def export(self, file: str | Path) -> int:
        """Write all items to a file: `.parquet` (ids, embeddings, images, metadata) or `.npz` (ids, embeddings).

        Returns:
            How many.

        Raises:
            DataError: the name ends in something else.
            StorageError: the disk is full or the file cannot be written.
        """
        return self._ask(lambda snapshot: moving.export(snapshot.items, Path(file), snapshot.image_names))

    def near_duplicates(self, threshold: float | None = None, *, progress: bool = False) -> Groups:
        """Groups of items whose images have the same content, and groups that the model sees as nearly the same.

        Args:
            threshold: the cosine from which on two images count as nearly the same; without it, one that fits the
                catalogue's own scores.
            progress: show a progress bar.

        Returns:
            Groups of two and more; every member of a near group is near to its first.
        """
        return self._ask(
            lambda snapshot: duplicates.groups(snapshot.items, threshold, snapshot.nearest, progress=progress)
        )


def is_lost(answer: object) -> bool:
    """Whether this is the error of a state whose files are gone: a newer one may answer."""
    return type(answer) is CatalogueError


def _model_of(
    about: About, address: str, model: Model | None, runtime: str | None, device: torch.device | None
) -> Embedder:
    """The model that made a catalogue.

    Raises:
        UnanswerableError: there was none.
        CatalogueError: it is not to be found, or the one that was given is another.
    """
    if about.fingerprint is None:
        raise UnanswerableError(
            f"the catalogue {address!r} was made of ready-made embeddings and has no model; search it by an "
            "embedding or by the id of an item",
            public="this catalogue has no model; search by an embedding or from one of its items",
        )
    if model is None:
        if about.run is None:
            raise CatalogueError(
                f"the catalogue {address!r} was made by a model in memory and does not know its folder; give the "
                "model when opening it"
            )
        model = manifest.find_folder(about.run, address)
        if not model.is_dir() and hub_name(model) is None:
            raise CatalogueError(
                f"the run {str(model)!r} that made the catalogue {address!r} is not there any more; say where it "
                "is now (--run RUN on the command line, Catalogue.open(path, model) in Python), or index again"
            )
    retriever = _open(model, device, runtime or about.runtime)
    fingerprint = retriever.fingerprint()
    if fingerprint != about.fingerprint:
        if (retriever.runtime, about.runtime).count("onnx-int8") == 1:
            raise CatalogueError(
                f"the catalogue {address!r} was made with the runtime {about.runtime!r} and cannot be searched with "
                f"{retriever.runtime!r}: int8 embeddings differ from the others. Use --runtime {about.runtime}, or "
                "index the images again"
            )
        raise CatalogueError(
            f"the catalogue {address!r} was made by another model ({about.model!r}, {about.fingerprint[:12]}…) than "
            f"this one ({retriever.name!r}, {fingerprint[:12]}…); their embeddings cannot be compared. Open it with "
            "its own model, or move it to this one with itma reindex (a run that was trained further is another model "
            "too)"
        )
    return retriever


def _run_of(model: Model | None) -> Path | None:
    """The run folder that a model is to be found in again; None: it is in memory, or there is none."""
    return None if model is None or isinstance(model, Embedder) else Path(model)


def _open(model: Model, device: torch.device | None, runtime: str, progress: bool = False) -> Embedder:
    if isinstance(model, Embedder):
        return model
    return open_model(model, runtime=runtime, device=device, progress=progress)


def _workers(
    options: IndexOptions, model: Model, device: torch.device | None, runtime: str, opened: Callable[[], Embedder]
) -> AbstractContextManager[Workers]:
    if options.engine == "local":
        return nullcontext(Here(opened))
    from itma.retrieval.distributed import RayWorkers

    if isinstance(model, Embedder):
        raise ConfigError("a model in memory cannot be sent to a Ray cluster; give the folder of its run")
    gpus = device is not None and device.type == "cuda"
    return RayWorkers(partial(_open, locate(model).resolve(), device, runtime), options.address, gpus=gpus)


def _refuse_existing(store: Store, *, replace: bool, update: bool) -> None:
    if replace and update:
        raise ConfigError("replace and update contradict each other; choose one")
    if store.strange():
        raise CatalogueError(f"{store.address!r} exists and is no catalogue; choose another path for the catalogue")
    if manifest.exists(store) and not replace and not update:
        raise CatalogueError(
            f"the catalogue {store.address!r} exists already; choose another path, replace it (--replace on the "
            "command line, replace=True in Python), or bring it up to date (itma index, or update=True in Python)"
        )
