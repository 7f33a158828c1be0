"""A person's own pictures, embedded and stored, that can be searched with a picture and a sentence."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import torch

from itma.data.images import Source
from itma.errors import CatalogueError, ConfigError, ItmaError, UnanswerableError, UnknownNameError
from itma.export.runtimes import open_model
from itma.models.embedder import Embedder
from itma.models.hub_names import hub_name
from itma.models.shipped import located
from itma.records import Hit
from itma.retrieval import duplicates, manifest, query_encoder
from itma.retrieval.duplicates import NEAR, Group
from itma.retrieval.exact import DECIMALS
from itma.retrieval.facets import Facet, facets
from itma.retrieval.filters import Where
from itma.retrieval.info import Info
from itma.retrieval.ingest import building, moving
from itma.retrieval.ingest.building import EXACT_ITEMS, KEEP
from itma.retrieval.ingest.embedding import Here, Workers
from itma.retrieval.ingest.indexing import Outcome, Skipped, read_skipped
from itma.retrieval.ingest.listing import listing
from itma.retrieval.ingest.rows import Item, Page, shown, stored, unit
from itma.retrieval.ingest.writing import picture_name, put
from itma.retrieval.queries import Question
from itma.retrieval.snapshot import State, answered
from itma.retrieval.stores.base import Items, Store, Version, embeddings_of, metadata_of
from itma.retrieval.stores.engines import store_at

Model = Embedder | str | Path
"""A model, or the folder of its run."""

_TIDY_EVERY = 64
"""Versions after which a catalogue is compacted by itself."""


class Catalogue:
    """Pictures that are searched; make one with `Catalogue.build`, open it with `Catalogue.open`.

    An item's id is what its table says, or its path below the folder that was indexed, with `/` between the parts on
    every system. Scores are cosines. Up to 200,000 items every search compares all of them; beyond, an index is
    searched as thoroughly as a stated recall needs, see `info`. One process writes at a time; a search shows everything
    that any process had written when it began. A catalogue may be used by several threads.
    """

    def __init__(self, store: Store, *, version: int | None = None, exact_items: int = EXACT_ITEMS) -> None:
        self._store, self._version, self._exact_items = store, version, exact_items
        self._lock = threading.RLock()
        self._model: Embedder | None = None
        self._given: Model | None = None
        self._runtime: str | None = None
        self._device: torch.device | None = None
        self._maps = query_encoder.ReferenceMaps()
        self.outcome: Outcome | None = None
        """What the indexing that this object comes from did."""
        self._look()

    def _look(self) -> None:
        self._seen = self._store.stamp(manifest.NAME)
        self._about = manifest.read(self._store)
        self._items: Items = self._store.open(self._about.table, self._version)
        folder = None if self._about.pictures is None else manifest.found(self._about.pictures, self._store.place)
        self._state = State(self._items, self._about, folder, self._exact_items)

    # -- making and opening -------------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        model: Model,
        source: str | Path,
        path: str | Path,
        *,
        replace: bool = False,
        update: bool = False,
        prune: bool = False,
        id_column: str | None = None,
        picture_column: str | None = None,
        types: Mapping[str, str] | None = None,
        tokens: bool = False,
        durable: bool = False,
        recall: float = 0.98,
        batch: int = 64,
        runtime: str | None = None,
        engine: str = "local",
        address: str | None = None,
        device: torch.device | None = None,
        progress: bool = False,
    ) -> "Catalogue":
        """Embed all pictures of a folder or a table and store them.

        Files are decoded in parallel with the embedding; memory holds a few batches of pictures and the names of all.
        Pictures are committed by the thousand: after an interruption what was committed is there, and the same call
        with `update=True` does the rest.

        Args:
            model: a model, or a run folder; only in the second case does the catalogue know where to find it again.
            source: a folder of pictures in any format that Pillow reads, also in sub-folders; or a CSV, JSON Lines or
                Parquet file with a row for each item, whose other columns become metadata.
            path: the catalogue's own folder.
            replace: make a new catalogue in the place of an existing one, which is searched until the new one is whole.
            update: bring an existing catalogue to what the source says; only new and changed pictures are embedded.
            prune: with `update`, remove items that the source does not name or whose file is gone.
            id_column: of a table, the column of the ids; absent: `id`, or else the pictures' names.
            picture_column: of a table, the column of the pictures; absent: `image`, `file` or `picture`.
            types: of a table, the kind of single columns: `text`, `number`, `whole`; absent: what they look like.
            tokens: keep each picture's feature maps, so that a search from an item with a sentence needs no picture.
            durable: every write returns only once it would survive a loss of power.
            recall: recall@10 that an index must reach, where the catalogue is large enough for one.
            batch: pictures that are embedded at once.
            runtime: what a model given as a folder is to answer with: `torch`, `onnx` or `onnx-int8`; absent: what
                computed the embeddings that are there already, or torch.
            engine: who embeds: `local`, this process; or `ray`, the machines of a Ray cluster, all of which see the
                run and the pictures at the same paths.
            address: of the Ray cluster; absent: one is started on this machine and stopped at the end.
            device: where a model given as a folder is to work; absent: on the CPU.
            progress: show a progress bar.

        Raises:
            CatalogueError: `path` exists and is neither to be replaced nor updated, is something else than a catalogue,
                was made by another model or from another folder, or is being written by somebody else.
            DataError: the source is missing, holds no pictures, or none of them can be read; or a column does not fit.
            RunError: the model cannot be opened.
            StorageError: the disk is full or `path` cannot be written to; what was committed before stays.
            MissingExtraError: Ray is to be used and is not installed.
            ConfigError: there is no Ray cluster at the address, or the model is in memory, out of its workers' reach.
        """
        if batch < 1:
            raise ConfigError(f"batch={batch} must be at least 1")
        if not 0 < recall <= 1:
            raise ConfigError(f"recall={recall} must be above 0 and at most 1")
        store = store_at(path)
        _refuse_existing(store, replace=replace, update=update)
        wanted = listing(Path(source), id_column=id_column, picture_column=picture_column, types=types)
        opened: list[Embedder] = []
        if isinstance(model, Embedder):
            runtime = model.runtime
        elif runtime is None:
            runtime = manifest.read(store).runtime if update and manifest.exists(store) else "torch"
        if tokens and runtime != "torch":
            raise ConfigError(
                f"feature maps are kept of torch only, not of the runtime {runtime!r}; leave out the tokens"
            )

        def retriever() -> Embedder:
            if not opened:
                opened.append(_opened(model, device, runtime, progress))
            return opened[0]

        run = None if isinstance(model, Embedder) else Path(model)
        if not update or not manifest.exists(store):
            retriever()  # before anything is written: it may be missing
        with (
            _workers(engine, address, model, device, runtime, retriever) as workers,
            store.writing(f"indexing {source}"),
        ):
            if update and manifest.exists(store):
                outcome = building.update(
                    store,
                    wanted,
                    retriever,
                    run,
                    runtime=runtime,
                    prune=prune,
                    recall=recall,
                    batch=batch,
                    workers=workers,
                    progress=progress,
                )
            else:
                outcome = building.make(
                    store,
                    wanted,
                    retriever(),
                    run,
                    tokens=tokens,
                    durable=durable,
                    recall=recall,
                    batch=batch,
                    workers=workers,
                    progress=progress,
                )
        made = cls(store)
        made._model, made._given, made._device = next(iter(opened), None), model, device
        made.outcome = outcome
        made._state.pictures = wanted.root
        return made

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
            model: the model that made it, or that model's run folder; absent: where the run folder was then.
            version: an earlier state, see `versions`, which can be searched and not be written to; absent: the newest.
            runtime: what a model opened from its folder is to answer with; absent: what made the catalogue.
            device: where a model opened from its folder is to work; absent: on the CPU.
            without_model: open no model, for all that needs none; searching by pictures or sentences does.

        Raises:
            CatalogueError: the catalogue is missing, damaged, or was made by another model.
            RunError: the model cannot be opened.
        """
        opened = cls(store_at(path), version=version)
        opened._given, opened._runtime, opened._device = model, runtime, device
        if not without_model and opened._about.fingerprint is not None:
            opened._open_model()
        return opened

    @classmethod
    def from_embeddings(
        cls,
        source: str | Path | Sequence[Item],
        path: str | Path,
        *,
        model: Model | None = None,
        pictures: str | Path | None = None,
        replace: bool = False,
        durable: bool = False,
        recall: float = 0.98,
        device: torch.device | None = None,
        progress: bool = False,
    ) -> "Catalogue":
        """Make a catalogue of embeddings that are there already.

        Args:
            source: items with embeddings; or a Parquet file with columns `id` and `embedding`, where wanted `picture`,
                and metadata; or an `.npz` file with arrays `ids` and `embeddings`.
            path: the catalogue's own folder.
            model: what made them, taken at your word; absent: the catalogue can be searched by embeddings and by its
                own items alone.
            pictures: the folder in which pictures are named; absent: that of the file.
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
        retriever = None if model is None else _opened(model, device, "torch")
        run = None if model is None or isinstance(model, Embedder) else Path(model)
        with store.writing("importing embeddings"):
            moving.import_embeddings(
                store, source, retriever, run, pictures=pictures, durable=durable, recall=recall, progress=progress
            )
        made = cls(store)
        made._model, made._given, made._device = retriever, model, device
        return made

    # -- what it is ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        self.refresh()
        return self._items.count()

    def __repr__(self) -> str:
        by = "made elsewhere" if self._about.model is None else f"embedded by {self._about.model!r}"
        return f"<Catalogue of {self._items.count():,} pictures from {str(self.pictures)!r}, {by}>"

    @property
    def ids(self) -> Sequence[str]:
        """The items' ids, sorted."""
        self.refresh()
        batches = self._items.scan(["id"], rows=65_536)
        return sorted(shown(name) for batch in batches for name in batch.column("id").to_pylist())

    @property
    def pictures(self) -> Path | None:
        """The folder that pictures are named in; absent: each has its whole path."""
        return self._state.pictures

    @property
    def run(self) -> Path | None:
        """The run folder of its model, where it is known and there."""
        given = self._given if isinstance(self._given, str | Path) else None
        if given is None and self._about.run is not None:
            given = manifest.found(self._about.run, self._store.place)
        there = None if given is None else located(given)
        return there if there is not None and there.is_dir() else None

    @property
    def skipped(self) -> Sequence[Skipped]:
        """Files that were left out because they could not be read, with the reason."""
        return read_skipped(self._store)

    @property
    def version(self) -> int:
        """The state that is shown."""
        return self._items.version

    @property
    def stamp(self) -> str:
        """The state that is shown, as a text: another one as soon as items, metadata or the model are others."""
        return f"{self._about.table}-{self._items.version}"

    @property
    def model(self) -> Embedder:
        """The model that embeds references and sentences.

        Raises:
            CatalogueError: the catalogue has none, or it is not to be found.
        """
        if self._model is None:
            self._open_model()
        assert self._model is not None
        return self._model

    def versions(self) -> list[Version]:
        """The states that can still be opened, oldest first; `compact` forgets those that are older than wanted."""
        return self._items.versions()

    def info(self) -> Info:
        """Items, columns, model, and how searches go."""
        self.refresh()
        return Info.of(self._store, self._items, self._about, self._state.pictures, self._exact_items)

    def refresh(self) -> bool:
        """Show the newest state, as every search does by itself; whether that is another one.

        Raises:
            CatalogueError: the catalogue moved to another model, which is not to be found.
        """
        if self._version is not None:
            return False
        with self._lock:
            if self._store.stamp(manifest.NAME) != self._seen:
                before, folder = self._about, self._state.pictures
                self._look()
                if self._about.pictures == before.pictures:
                    self._state.pictures = folder
                if self._about.fingerprint != before.fingerprint and self._model is not None:
                    self._model, self._given = None, None
                    self._open_model()
                return True
            return self._items.refresh()

    # -- searching ----------------------------------------------------------------------------------------------------

    def search(
        self,
        image: Source | None = None,
        text: str | None = None,
        k: int = 10,
        *,
        id: str | None = None,
        embedding: np.ndarray | None = None,
        where: Where | None = None,
        exclude: Sequence[str] = (),
        fields: Sequence[str] = (),
        distinct: str | float | None = None,
        unlike: Sequence[str] = (),
        emphasis: float = 0.0,
        earlier: Sequence[str] = (),
    ) -> list[Hit]:
        """The k items that fit a reference, a feedback, or both; best first.

        An item that is itself the reference (by its path, or by its id) is left out. An empty sentence counts as none.
        Words that training never saw are ignored, with a warning in the log.

        Args:
            image: the reference: a path, the bytes of a file, or a Pillow image.
            text: the feedback.
            k: how many.
            id: an item of the catalogue as the reference, in the place of `image`.
            embedding: (dim,) a ready-made query, in the place of all of them.
            where: which items may be found, see `itma.retrieval.filters.Where`; k are found wherever k match.
            exclude: ids that are left out.
            fields: columns of metadata that the hits are to tell; `"*"` stands for all.
            distinct: a column: one hit for each of its values; or a cosine, e.g. 0.99: no two hits that are nearer to
                each other than that.
            unlike: ids of items that the hits are to be less like; none of them is a hit.
            emphasis: from −1, the reference alone, over 0, as the model joins the two, to 1, the feedback alone.
            earlier: what was said before in a conversation, first to last, if that is still to count now that one of
                its hits is the reference. A model reads it well that was trained on conversations, see
                `itma.models.text_encoders.base.LanguageConfig.earlier`.

        Returns:
            At most k hits; fewer where fewer match. Equal scores stand in the order of ids.

        Raises:
            DataError: neither a picture nor a sentence is given, or the embedding makes no sense.
            PictureError: the reference cannot be read.
            FeedbackError: no word of the sentence is known, or the model does not read words and there is no picture.
            FilterError, UnknownNameError: the condition makes no sense, or names a column that is not there.
            UnknownItemError: there is no item of that id.
            UnanswerableError: the catalogue has no model, or the item no picture.
            ConfigError: k is below 1, or the emphasis beyond its range.
        """
        question = Question(
            image,
            text,
            k,
            id=id,
            embedding=embedding,
            where=where,
            exclude=exclude,
            fields=fields,
            distinct=distinct,
            unlike=unlike,
            emphasis=emphasis,
            earlier=earlier,
        )
        (answer,) = self.answer([question])
        if isinstance(answer, ItmaError):
            raise answer
        return answer

    def answer(self, questions: Sequence[Question]) -> list[list[Hit] | ItmaError]:
        """Many searches at once, which the model and the comparison take together.

        Returns:
            For each question what `search` gives, or the error that it raises.
        """
        with self._lock:
            self.refresh()
            return answered(questions, self._state, self._maps, lambda: self.model)

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
        if k < 1:
            raise ConfigError(f"k={k} pictures cannot be found; k must be at least 1")
        with self._lock:
            self.refresh()
            condition, told = self._state.condition(where), self._state.columns(fields)
            queries = unit(embeddings, self._about.dim, "the queries")
            return [self._state.hits(found, told) for found in self._state.nearest(queries, k, condition)]

    def ranks(self, queries: np.ndarray, scores: np.ndarray, *, exclude: Sequence[str] = ()) -> np.ndarray | None:
        """At which rank of each query a picture of some score would stand, whether or not it is in the catalogue.

        Args:
            queries: (queries, dim) of length 1.
            scores: (queries,) the picture's cosine with each.
            exclude: ids that take no part: the reference, and the picture itself.

        Returns:
            (queries,) int64: 1 + the number of items that score higher by more than rounding makes; absent where there
            are so many items that not all of them are compared.
        """
        with self._lock:
            self.refresh()
            if self._items.count() > self._exact_items:
                return None
            out = set(map(stored, exclude))
            higher = np.zeros(len(queries), dtype=np.int64)
            for batch in self._items.scan(["id", "embedding"]):
                ranked = np.array([name not in out for name in batch.column("id").to_pylist()], dtype=bool)
                items = embeddings_of(batch.column("embedding"))[ranked]
                higher += (queries @ items.T > scores[:, None] + 10.0**-DECIMALS).sum(1)
            return 1 + higher

    # -- changing -----------------------------------------------------------------------------------------------------

    def get(self, id: str) -> Item:
        """One item, with the path of its picture, its embedding and its metadata.

        Raises:
            UnknownItemError: there is none of that id.
        """
        with self._lock:
            self.refresh()
            columns = list(metadata_of(self._items.schema))
            row = query_encoder.only(self._items, id, ["_picture", "embedding", *columns])
            told = {name: row[name] for name in columns if row[name] is not None}
            path = None if row["_picture"] is None else self._state.path(row["_picture"])
            return Item(id, path, np.array(row["embedding"], dtype=np.float32), told)

    def page(
        self, rows: int = 100, *, after: str | None = None, where: Where | None = None, fields: Sequence[str] = ("*",)
    ) -> Page:
        """About `rows` items, with the paths of their pictures and their metadata, without reading all the others.

        As long as nobody writes, the pages that follow one another hold every item once, in no particular order.

        Args:
            rows: how many, about; a page may hold fewer and yet not be the last.
            after: `next` of the page before; absent: the first page.
            where: see `search`.
            fields: columns of metadata; `"*"` stands for all.

        Raises:
            DataError: `after` is no mark of a page.
            ConfigError: `rows` is below 1.
        """
        if rows < 1:
            raise ConfigError(f"a page of {rows} items is none; ask for at least 1")
        with self._lock:
            self.refresh()
            told = self._state.columns(fields)
            found, following = self._items.page(
                ["id", "_picture", *told], rows, after=after, where=self._state.condition(where)
            )
            items = [
                Item(
                    shown(row["id"]),
                    None if row["_picture"] is None else self._state.path(row["_picture"]),
                    fields={name: row[name] for name in told if row[name] is not None},
                )
                for row in found.to_pylist()
            ]
            return Page(items, following)

    def facets(self, look_at: int = 200_000) -> list[Facet]:
        """What the columns of metadata hold, for people who choose: choices and ranges.

        Args:
            look_at: items that are looked at, at most.
        """
        with self._lock:
            self.refresh()
            items = self._items
        return facets(items, look_at)

    def ids_of(self, picture: str | Path) -> list[str]:
        """The items whose picture is this file."""
        with self._lock:
            self.refresh()
            return sorted(map(shown, self._state.items_of(picture)))

    def picture_paths(self) -> list[Path]:
        """Where the items' pictures were when they were indexed; those without a picture are passed over."""
        with self._lock:
            self.refresh()
            names = [
                name for part in self._items.scan(["_picture"]) for name in part.column("_picture").to_pylist() if name
            ]
            return [Path(self._state.path(name)) for name in sorted(names)]

    def name_of(self, picture: str | Path) -> str:
        """What the item of a picture is called where nothing else is said: its path below the catalogue's folder."""
        name = picture_name(picture, self._state.pictures)
        assert name is not None
        return name

    def add(self, items: Sequence[Item]) -> None:
        """Add items, all in one commit.

        Raises:
            ItemExistsError: an id is there already; nothing is added then.
            DataError: an id is given twice, an embedding makes no sense, or a value does not fit its
                column; nothing is added then.
            PictureError: a picture cannot be read; nothing is added then.
            BusyError: somebody else is writing.
            CatalogueError: the state that is shown is an earlier one.
            StorageError: the disk is full or the place cannot be written to.
        """
        self._put(items, new=True)

    def replace(self, items: Sequence[Item]) -> None:
        """Add items, in the place of those with the same ids, all in one commit; errors as for `add`."""
        self._put(items, new=False)

    def _put(self, items: Sequence[Item], *, new: bool) -> None:
        with self._writing("adding items" if new else "replacing items"):
            put(self._items, self._about, items, lambda: self.model, self._state.pictures, new=new)

    def delete(self, ids: Sequence[str] = (), *, where: Where | None = None) -> int:
        """Remove items, all in one commit.

        Args:
            ids: which; those that are not there are passed over.
            where: also those that match; see `search`.

        Returns:
            How many were removed.

        Raises:
            BusyError: somebody else is writing.
            CatalogueError: the state that is shown is an earlier one.
            StorageError: the place cannot be written to.
        """
        if isinstance(ids, str):
            ids = [ids]
        with self._writing("deleting items"):
            names = set(self._items.get(list(map(stored, ids)), ["id"])["id"].to_pylist())
            if where is not None:
                batches = self._items.scan(["id"], where=self._state.condition(where))
                names |= {name for batch in batches for name in batch.column("id").to_pylist()}
            self._items.delete(sorted(names))
            return len(names)

    def compact(self, *, keep: timedelta = KEEP, recall: float | None = None) -> None:
        """Join small files, forget old versions, and bring the index up to date where there is to be one.

        Args:
            keep: versions younger than this stay; a reader in another process that shows an older one must refresh.
            recall: recall@10 that the index must reach; absent: as before, or 0.98.
        """
        with self._writing("compacting", tidy=False):
            for name in self._store.tables():
                if name != self._about.table:
                    self._store.drop(name)
            self._items.compact(keep)
            wanted = recall or (self._about.ann.wanted if self._about.ann is not None else 0.98)
            about = building.indexed(self._items, self._about, recall=wanted, exact_items=self._exact_items)
            if about != self._about:
                manifest.write(self._store, about)

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
        """Move to another model: embed all pictures anew beside what is there, then switch in one step.

        Until then searches go on as before; writes wait.

        Args:
            model: the other model, or its run folder.
            leave_out: go on where the pictures of some items cannot be read, and drop these items.
            batch: pictures that are embedded at once.
            runtime: what a model given as a folder is to answer with.
            device: where a model given as a folder is to work.
            progress: show a progress bar.

        Raises:
            DataError: the pictures of some items cannot be read.
        """
        retriever = _opened(model, device, runtime, progress)
        run = None if isinstance(model, Embedder) else Path(model)
        with self._writing("reindexing", tidy=False):
            outcome = moving.reindex(
                self._store,
                self._items,
                self._about,
                retriever,
                run,
                self._state.pictures,
                leave_out=leave_out,
                batch=batch,
                progress=progress,
            )
        with self._lock:
            self._look()
            self._model, self._given, self._runtime, self._device = retriever, model, runtime, device
        return outcome

    @contextmanager
    def _writing(self, what: str, *, tidy: bool = True) -> Iterator[None]:
        if self._version is not None:
            raise CatalogueError(
                f"version {self._version} of the catalogue {self._store.place!r} can only be searched; open the "
                "catalogue without a version to change it"
            )
        with self._store.writing(what), self._lock:
            self.refresh()
            before = self._items.version
            yield
            if tidy and before // _TIDY_EVERY != self._items.version // _TIDY_EVERY:
                self._items.compact(KEEP)
            building.syncing(self._store, self._about)()

    # -- copies -------------------------------------------------------------------------------------------------------

    def backup(self, place: str | Path) -> None:
        """Copy the state that is shown to another place, as a catalogue of its own.

        Raises:
            CatalogueError: something stands there already.
            StorageError: the disk is full or the place cannot be written to.
        """
        target = store_at(place)
        _refuse_existing(target, replace=False, update=False)
        with self._lock:
            self.refresh()
            moving.copy(self._store, self._items, self._about, self._state.pictures, target)

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
        moving.copy(copied._store, copied._items, copied._about, copied.pictures, target)

    def export(self, file: str | Path) -> int:
        """Write all items to a file: `.parquet` (ids, embeddings, pictures, metadata) or `.npz` (ids, embeddings).

        Returns:
            How many.

        Raises:
            DataError: the name ends in something else.
            StorageError: the disk is full or the file cannot be written.
        """
        with self._lock:
            self.refresh()
            return moving.export(self._items, Path(file))

    def near_duplicates(self, threshold: float = NEAR, *, progress: bool = False) -> list[Group]:
        """Groups of items whose pictures are the same file's content, or nearly the same picture.

        Args:
            threshold: the cosine from which on two pictures count as nearly the same.
            progress: show a progress bar.

        Returns:
            Groups of two and more, the largest first.
        """
        with self._lock:
            self.refresh()
            return duplicates.groups(self._items, threshold, self._state.nearest, progress=progress)

    # -- the model ----------------------------------------------------------------------------------------------------

    def _open_model(self) -> None:
        about, place = self._about, self._store.place
        model = self._given
        if about.fingerprint is None:
            raise UnanswerableError(
                f"the catalogue {place!r} was made of ready-made embeddings and has no model; search it by an "
                "embedding or by the id of an item"
            )
        if model is None:
            if about.run is None:
                raise CatalogueError(
                    f"the catalogue {place!r} was made by a model in memory and does not know its folder; give the "
                    "model when opening it"
                )
            model = manifest.found(about.run, place)
            if not model.is_dir() and hub_name(model) is None:
                raise CatalogueError(
                    f"the run {str(model)!r} that made the catalogue {place!r} is not there any more; say where it "
                    "is now (--run RUN on the command line, Catalogue.open(path, model) in Python), or index again"
                )
        retriever = _opened(model, self._device, self._runtime or about.runtime)
        mine = retriever.fingerprint()
        if mine != about.fingerprint:
            if (retriever.runtime, about.runtime).count("onnx-int8") == 1:
                raise CatalogueError(
                    f"the catalogue {place!r} was made with the runtime {about.runtime!r} and cannot be searched with "
                    f"{retriever.runtime!r}: int8 embeddings differ from the others. Use --runtime {about.runtime}, or "
                    "index the pictures again"
                )
            raise CatalogueError(
                f"the catalogue {place!r} was made by another model ({about.model!r}, {about.fingerprint[:12]}…) than "
                f"this one ({retriever.name!r}, {mine[:12]}…); their embeddings cannot be compared. Open it with its "
                "own model, or move it to this one with itma reindex (a run that was trained further is another model "
                "too)"
            )
        self._model = retriever


def _opened(model: Model, device: torch.device | None, runtime: str, progress: bool = False) -> Embedder:
    if isinstance(model, Embedder):
        return model
    return open_model(model, runtime=runtime, device=device, progress=progress)


@contextmanager
def _workers(
    engine: str,
    address: str | None,
    model: Model,
    device: torch.device | None,
    runtime: str,
    opened: Callable[[], Embedder],
) -> Iterator[Workers]:
    if engine not in ("local", "ray"):
        raise UnknownNameError("engine", engine, ("local", "ray"))
    if engine == "local":
        if address is not None:
            raise ConfigError(f"address={address!r} is that of a Ray cluster; say so with engine='ray' (--engine ray)")
        yield Here(opened)
        return
    from itma.retrieval.distributed import RayWorkers

    if isinstance(model, Embedder):
        raise ConfigError("a model in memory cannot be sent to a Ray cluster; give the folder of its run")
    gpus = device is not None and device.type == "cuda"
    with RayWorkers(partial(_opened, located(model).resolve(), device, runtime), address, gpus=gpus) as workers:
        yield workers


def _refuse_existing(store: Store, *, replace: bool, update: bool) -> None:
    if replace and update:
        raise ConfigError("replace and update contradict each other; choose one")
    if store.strange():
        raise CatalogueError(f"{store.place!r} exists and is no catalogue; choose another place for the catalogue")
    if manifest.exists(store) and not replace and not update:
        raise CatalogueError(
            f"the catalogue {store.place!r} exists already; choose another place, replace it (--replace on the command "
            "line, replace=True in Python), or bring it up to date (itma index, update=True)"
        )
