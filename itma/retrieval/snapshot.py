"""One state of a catalogue: its model, its items, and how they are searched. It never changes."""

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import InitVar, dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itma.data.images import Source
from itma.errors import ConfigError, ItmaError
from itma.models.embedder import Embedder
from itma.records import Hit, Hits
from itma.retrieval import duplicates, manifest, reference_maps
from itma.retrieval.exact import DECIMALS, Matrix
from itma.retrieval.facets import Facet, facets
from itma.retrieval.filters import Filter, Where, column_named, filter_of
from itma.retrieval.ingest.image_names import ImageNames, own_folder
from itma.retrieval.ingest.rows import Item, Page, to_shown, to_stored, unit
from itma.retrieval.manifest import About
from itma.retrieval.nothing import explain_no_hits
from itma.retrieval.query_encoder import QueryEncoder, Search, each
from itma.retrieval.request import SearchRequest, is_of
from itma.retrieval.stores.base import Items, Ranked, metadata_of, read_column, scan_embeddings
from itma.retrieval.stores.conditions import Test

log = logging.getLogger(__name__)

_TOGETHER = 10_000
"""Of so many hits and more each request is searched by itself."""
_LOOKED_AT, _ALIKE = 8, 0.95
"""So many items nearest to the reference, of at least this cosine, are looked at: whether they show the same image."""
_DIFFERENT, _PATCH = 4.0, 20.0
"""Levels of 255 that pixels, and those of any 8x8 of them, differ by on average in images that were only saved again or
made smaller: at most 4 and 18 were seen; of different images alike, at least 11 and 40."""
_MANY = 256
"""Queries at once for which reading all embeddings pays with every engine."""


@dataclass(eq=False, repr=False)
class Snapshot:
    """A catalogue as it was at one moment: whatever is asked of it is answered by the same model and the same items.

    Several threads may use it.
    """

    items: Items
    """The table as of one version; nobody writes by this object."""
    about: About
    document: object
    """A sign of the document that `about` was read from."""
    images: Path | None
    """The folder that images are named in. None: each image has its whole path."""
    encoder: QueryEncoder
    """Opens the model when it is needed."""
    address: str
    exact_items: int
    """Up to so many items all are compared."""
    earlier: InitVar["Snapshot | None"] = None
    """The state before, whose embeddings in memory are used again where it has some."""

    def __post_init__(self, earlier: "Snapshot | None") -> None:
        self.image_names = ImageNames(self.images, own_folder(self.address))
        self._loading = threading.Lock()
        self._matrix: Matrix | None = None
        self._earlier: Matrix | None = None
        if earlier is not None and earlier.about.table == self.about.table:
            self._earlier = earlier._matrix or earlier._earlier

    def __len__(self) -> int:
        return self.count

    @cached_property
    def count(self) -> int:
        """How many items there are."""
        return self.items.count()

    @property
    def stamp(self) -> str:
        """This state as a text: another one as soon as items, metadata or the model are others."""
        return f"{self.about.table}-{self.items.version}"

    @property
    def model(self) -> Embedder:
        """The model that embeds references and sentences.

        Raises:
            CatalogueError: the catalogue has none, or it is not to be found.
        """
        return self.encoder.open()

    @property
    def has_model(self) -> bool:
        """Whether a model made the embeddings."""
        return self.about.fingerprint is not None

    @cached_property
    def run(self) -> Path | None:
        """The run folder that the catalogue names, where it is there."""
        there = None if self.about.run is None else manifest.find_folder(self.about.run, self.address)
        return there if there is not None and there.is_dir() else None

    # -- searching ----------------------------------------------------------------------------------------------------

    def answer(self, requests: Sequence[SearchRequest]) -> list[Hits | Exception]:
        """For each request its hits, or the error that a person gets; the model takes them together."""
        searches = list(map(Search, requests))
        each(searches, self._plan)
        self.encoder.encode(searches, self.items, self.about, self.image_names)
        each(searches, self._leave_out_same)
        self._rank_together(searches)
        each(searches, self._finish)
        return [search.answer for search in searches if search.answer is not None]

    def search_all(
        self, embeddings: np.ndarray, k: int, *, where: Where | None = None, fields: Sequence[str] = ()
    ) -> list[list[Hit]]:
        """See `Catalogue.search_all`."""
        if k < 1:
            raise ConfigError(f"k={k} images cannot be found; k must be at least 1")
        condition, columns = self.condition(where), self.columns(fields)
        queries = unit(embeddings, self.about.dim, "the queries")
        return [self.hits(hits, columns) for hits in self.nearest(queries, k, condition)]

    def ranks(
        self, queries: np.ndarray, scores: np.ndarray, *, exclude: Sequence[str] = (), where: Where | None = None
    ) -> np.ndarray | None:
        """See `Catalogue.ranks`; with `where`, among the items that match."""
        condition = self.condition(where)
        if self.count > self.exact_items:
            return None
        out = set(map(to_stored, exclude))
        higher = np.zeros(len(queries), dtype=np.int64)
        for names, embeddings in scan_embeddings(self.items, condition):
            items = embeddings[np.array([name not in out for name in names], dtype=bool)]
            higher += (queries @ items.T > scores[:, None] + 10.0**-DECIMALS).sum(1)
        return 1 + higher

    # -- items --------------------------------------------------------------------------------------------------------

    def ids(self) -> list[str]:
        """All ids, sorted."""
        return sorted(map(to_shown, read_column(self.items, "id")))

    def __contains__(self, id: str) -> bool:
        return bool(self.items.get([to_stored(id)], ["id"]).num_rows)

    def get(self, id: str) -> Item:
        """See `Catalogue.get`."""
        columns = list(metadata_of(self.items.schema))
        row = reference_maps.only(self.items, id, ["id", "_image", "embedding", *columns])
        return self._item(row, columns, np.array(row["embedding"], dtype=np.float32))

    def page(
        self, rows: int = 100, *, after: str | None = None, where: Where | None = None, fields: Sequence[str] = ("*",)
    ) -> Page:
        """See `Catalogue.page`."""
        if not is_of(rows, Integral) or rows < 1:
            raise ConfigError(f"a page of {rows!r} items is none; ask for at least 1")
        columns = self.columns(fields)
        table, following = self.items.page(["id", "_image", *columns], rows, after=after, where=self.condition(where))
        return Page([self._item(row, columns) for row in table.to_pylist()], following)

    def _item(self, row: Mapping[str, Any], columns: Sequence[str], embedding: np.ndarray | None = None) -> Item:
        path = None if row["_image"] is None else self.path(row["_image"])
        fields = {name: row[name] for name in columns if row[name] is not None}
        return Item(to_shown(row["id"]), path, embedding, fields)

    def facets(self, look_at: int = 200_000) -> list[Facet]:
        """See `Catalogue.facets`."""
        return facets(self.items, look_at)

    def ids_of(self, image: str | Path) -> list[str]:
        """The items whose image is this file."""
        return sorted(map(to_shown, self.items_of(image)))

    # -- parts of a search; ids are as a store holds them -------------------------------------------------------------

    def _plan(self, search: Search) -> None:
        """What a request asks of the table, checked."""
        request = search.request
        search.where, search.columns = self.condition(request.where), self.columns(request.fields)
        named = [*request.exclude, *request.unlike, *([] if request.id is None else [request.id])]
        search.out = {*map(to_stored, named), *self.items_of(request.image)}
        has_reference = any(each is not None for each in (request.image, request.id, request.pixels))
        if request.emphasis and not (has_reference and request.has_feedback):
            search.notes.append(
                "the emphasis has no effect: it lies between a reference and a sentence, and one is missing"
            )

    def condition(self, where: Where | None) -> Filter | None:
        """A condition, checked against the columns there are; errors as for `filter_of`."""
        schema = self.items.schema
        return filter_of(where, {"id": schema.field("id").type, **metadata_of(schema)})

    def columns(self, fields: Sequence[str]) -> list[str]:
        """Columns of metadata, each once; `"*"` stands for all.

        Raises:
            UnknownNameError: there is no such column.
        """
        known = metadata_of(self.items.schema)
        chosen: dict[str, None] = {}
        for name in fields:
            if name != "*":
                parts = [part.strip() for part in name.split(",")]
                split = len(parts) > 1 and all(part in known for part in parts)
                advice = f"Give them one by one: {' '.join(f'--fields {part}' for part in parts)}" if split else ""
                chosen[column_named(name, known, advice=advice)] = None
        return list(known) if "*" in fields else list(chosen)

    def nearest(self, queries: np.ndarray, k: int, where: Filter | None) -> list[Ranked]:
        """For each query the k nearest of the items that match, as (id, cosine), best first."""
        matrix = self._matrix_for(len(queries))
        if matrix is not None:
            return matrix.nearest(queries, k, where=where)
        effort = None if self.about.ann is None else self.about.ann.effort
        return self.items.nearest(queries, k, where=where, effort=effort)

    def _matrix_for(self, queries: int = 1) -> Matrix | None:
        """All embeddings in memory. None: they are too many, or reading them is not worth it for so few queries."""
        with self._loading:
            if self._matrix is None:
                if self._earlier is None and self.items.compares_quickly and queries < _MANY:
                    return None
                if self.count <= self.exact_items:
                    self._matrix = Matrix(self.items, self._earlier)
                self._earlier = None
            return self._matrix

    def _rank_together(self, searches: Sequence[Search]) -> None:
        """Rank for all requests at once that can be compared with the items together."""
        groups: dict[Filter | None, list[tuple[Search, np.ndarray]]] = {}
        for search in searches:
            if search.answer is None and search.query is not None and search.request.distinct is None:
                groups.setdefault(search.where, []).append((search, search.query))
        for where, group in groups.items():
            most = max(search.request.k + len(search.out) for search, _ in group)
            if len(group) < 2 or most > _TOGETHER:
                continue
            with suppress(Exception):  # each request says so by itself
                queries = np.stack([query for _, query in group])
                nearest = self.nearest(queries, min(most, max(1, self.count)), where)
                for (search, _), hits in zip(group, nearest, strict=True):
                    search.ranked = [hit for hit in hits if hit[0] not in search.out][: search.request.k]

    def _finish(self, search: Search) -> None:
        ranked = self._best(search) if search.ranked is None else search.ranked
        search.notes += [] if ranked else explain_no_hits(self.items, search.where)
        for note in search.notes:
            log.warning("%s", note)
        search.answer = Hits(self.hits(ranked, search.columns), search.notes)

    def _best(self, search: Search) -> Ranked:
        """The k nearest of the items that match, without those left out and without repetitions."""
        k, out, distinct, count = search.request.k, search.out, search.request.distinct, self.count
        if isinstance(distinct, str):
            distinct = column_named(distinct, metadata_of(self.items.schema))
        limit = k + len(out) if distinct is None else 4 * k + len(out)
        while True:
            (nearest,) = self.nearest(np.asarray(search.query)[None], min(limit, max(1, count)), search.where)
            hits = [hit for hit in nearest if hit[0] not in out]
            if distinct is not None:
                hits = duplicates.one_of_each(self.items, hits, distinct)
            if len(hits) >= k or len(nearest) < min(limit, count) or limit >= count:
                return hits[:k]
            limit *= 4

    def hits(self, nearest: Sequence[tuple[str, float]], columns: Sequence[str]) -> list[Hit]:
        """What was found, as a person gets it, with these columns of metadata."""
        names = [name for name, _ in nearest]
        rows: dict[str, dict[str, object]] = {}
        matrix = self._matrix
        if columns or matrix is None:
            rows = {row["id"]: row for row in self.items.get(names, ["id", "_image", *columns]).to_pylist()}
            nearest = [hit for hit in nearest if hit[0] in rows]  # an engine without versions may have lost it by now
        hits = []
        for rank, (name, score) in enumerate(nearest, start=1):
            image = matrix.images[matrix.row[name]] if matrix is not None else rows[name]["_image"]
            fields = {column: rows[name][column] for column in columns}
            hits.append(Hit(rank, to_shown(name), score, self.path(image), fields))
        return hits

    def path(self, image: object) -> str:
        """Where an image's file is; empty where there is none."""
        return "" if image is None else str(self.image_names.file(str(image)))

    def items_of(self, image: Source | None) -> list[str]:
        """The items whose image the reference is, going by its path."""
        if not isinstance(image, str | Path):
            return []
        # a link may be the item itself, or lead to it
        names = [name for follow in (False, True) for name in self.image_names.all_names(image, follow=follow)]
        names = [to_stored(name) for name in dict.fromkeys(names)]
        if self._matrix is not None:  # not loaded for this alone
            return self._matrix.ids_with_image(names)
        return list(read_column(self.items, "id", Test("_image", "in", tuple(names), "text")))

    def _leave_out_same(self, search: Search) -> None:
        """Leave out items that show the image of the reference, and say so."""
        if search.alone is None or search.pixels is None:
            return
        near = self.nearest(search.alone[None], _LOOKED_AT, None)[0]
        ids = [name for name, score in near if score >= _ALIKE and name not in search.out]
        same = []
        for row in self.items.get(ids, ["id", "_image"]).to_pylist():
            with suppress(ItmaError):  # what cannot be seen is not taken for the same
                if row["_image"] and _same_image(self.model.preprocess.read(self.path(row["_image"])), search.pixels):
                    same.append(row["id"])
        search.out |= set(same)
        if same:
            names = ", ".join(map(repr, sorted(map(to_shown, same))))
            search.notes.append(f"left out, as they show the image of the reference: {names}")


def _same_image(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two images (3, height, width) uint8 are one, saved twice perhaps."""
    apart = (one.float() - other.float()).abs().mean(0, keepdim=True)
    patch = torch.nn.functional.avg_pool2d(apart, min(8, *apart.shape[1:]))
    return float(apart.mean()) <= _DIFFERENT and float(patch.max()) <= _PATCH
