"""Requests → the embeddings that are searched for: the model works on all of them together.

What is asked beyond a reference and a feedback is arithmetic on embeddings, and so works with every model: `unlike` is
the negative example of relevance feedback (Rocchio 1971), `emphasis` lies between the composed query and one of its
halves.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TypeVar

import numpy as np
import torch

from itma.errors import DataError, ItmaError
from itma.models.embedder import Embedder
from itma.models.feedback import readable
from itma.records import Hits
from itma.retrieval.filters import Filter
from itma.retrieval.ingest.image_names import ImageNames
from itma.retrieval.ingest.rows import unit
from itma.retrieval.manifest import About
from itma.retrieval.reference_maps import ReferenceMaps, embedding_of_item
from itma.retrieval.request import SearchRequest, value_of
from itma.retrieval.stores.base import Items, Ranked

UNLIKE = 0.35
"""Length of the step away from what is not wanted; the query itself is of length 1."""
_AT_ONCE = 64
"""Queries that the model takes together."""
T = TypeVar("T")
U = TypeVar("U")
Maps = list[torch.Tensor]
"""Feature maps of one reference, each (1, channels, rows, columns)."""
Part = tuple[Maps | None, str | None]
"""What the model embeds at once: a reference, a sentence, or both."""


@dataclass(eq=False)
class Search:
    """One request on its way to its answer: every step adds what it finds out."""

    request: SearchRequest
    where: Filter | None = None
    columns: Sequence[str] = ()
    out: set[str] = field(default_factory=set)
    """Ids that are left out."""
    pixels: torch.Tensor | None = None
    """uint8 (3, height, width): the reference, where it is an image and no item."""
    maps: Maps | None = None
    """Of the reference."""
    sentence: str | None = None
    """The feedback, as the model reads it."""
    query: np.ndarray | None = None
    """(dim,) of length 1: what is searched for."""
    alone: np.ndarray | None = None
    """(dim,) of length 1: of the reference without a sentence. None: nobody asks for items that show its image."""
    ranked: Ranked | None = None
    notes: list[str] = field(default_factory=list)
    """What the person who asked is to know."""
    answer: Hits | Exception | None = None
    """An error ends it."""


def each(searches: Sequence[Search], step: Callable[[Search], None]) -> None:
    """Take a step with every search that has no answer; one that fails fails alone."""
    for search in searches:
        if search.answer is None:
            try:
                step(search)
            except Exception as error:
                search.answer = error


def together(work: Callable[[Sequence[T]], Sequence[U]], rows: Sequence[T]) -> list[U | Exception]:
    """What some work gives for each row; where it fails, for each row by itself: it is not everybody's fault."""
    try:
        return list(work(rows))
    except Exception as error:
        return [error] if len(rows) == 1 else [answer for row in rows for answer in together(work, [row])]


class QueryEncoder:
    """A model that is opened when it is first needed, with the feature maps of items that were references before.

    Several threads may use it.

    Args:
        load: gives the model.
    """

    def __init__(self, load: Callable[[], Embedder]) -> None:
        self._load, self._lock = load, threading.Lock()
        self._model: Embedder | None = None
        self._maps = ReferenceMaps()

    @property
    def is_open(self) -> bool:
        """Whether it was needed already."""
        return self._model is not None

    def open(self) -> Embedder:
        """The model.

        Raises:
            CatalogueError, RunError: it cannot be opened; the next call tries again.
        """
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return self._model

    def encode(self, searches: Sequence[Search], items: Items, about: About, names: ImageNames) -> None:
        """Find out what each request is searched by.

        Args:
            searches: of any requests; the model is opened where one needs it.
            items: the table that is searched.
            about: of the catalogue.
            names: where the items' images are.
        """

        def look_up(search: Search) -> None:
            request = search.request
            if request.embedding is not None:
                (search.query,) = unit(np.asarray(request.embedding)[None], about.dim, "the query")
            elif request.id is not None and not request.has_feedback:
                search.query = embedding_of_item(items, request.id)

        def step_away(search: Search) -> None:
            if search.query is not None and search.request.unlike:
                unlike = [embedding_of_item(items, id) for id in search.request.unlike]
                search.query = away(search.query, unlike)

        each(searches, look_up)
        if rest := [search for search in searches if search.query is None and search.answer is None]:
            try:
                model = self.open()
            except ItmaError as error:  # there is none
                for search in rest:
                    search.answer = error
            else:
                self._compose(rest, model, items, about, names)
        each(searches, step_away)

    def _compose(
        self, searches: Sequence[Search], model: Embedder, items: Items, about: About, names: ImageNames
    ) -> None:
        """What the model makes of references and sentences."""

        def read_image(search: Search) -> None:
            search.pixels = search.request.pixels
            if search.request.image is not None:
                search.pixels = model.preprocess.read(search.request.image)

        def make_maps(some: Sequence[Search]) -> list[Maps]:
            levels = model.feature_maps(torch.stack([search.pixels for search in some if search.pixels is not None]))
            return [[level[index : index + 1] for level in levels] for index in range(len(some))]

        def take_maps(search: Search) -> None:
            search.maps = value_of(maps.get(search))
            if search.maps is None and not search.request.has_feedback:
                raise DataError("a query needs a reference image, a feedback sentence, or both; both are empty")
            search.sentence = readable(model, search.request.sentence, alone=search.maps is None)

        def take_embeddings(search: Search) -> None:
            for weight, embedding in embeddings[search]:
                more = value_of(embedding) if weight == 1 else np.float32(weight) * value_of(embedding)
                search.query = more if search.query is None else search.query + more
            if search.request.emphasis:
                (search.query,) = unit(np.asarray(search.query)[None], None, "the query")
            search.alone = value_of(alone.get(search))

        each(searches, read_image)
        imaged = [search for search in searches if search.pixels is not None]
        maps: dict[Search, Maps | Exception] = dict(zip(imaged, together(make_maps, imaged), strict=True))
        ids = {search: search.request.id for search in searches if search.request.id is not None}
        try:
            maps_of_items = self._maps.of(list(ids.values()), items, about, model, names)
            maps |= {search: maps_of_items[id] for search, id in ids.items()}
        except Exception as error:
            maps |= dict.fromkeys(ids, error)
        each(searches, take_maps)
        left = [search for search in searches if search.answer is None]
        uploads = [search for search in left if search.pixels is not None and not search.request.keep_same]
        alone = dict(zip(uploads, embed_parts([(search.maps, None) for search in uploads], model), strict=True))
        jobs = [(search, weight, part) for search in left for weight, part in _parts(search, model)]
        embeddings: dict[Search, list[tuple[float, np.ndarray | Exception]]] = {search: [] for search in left}
        for (search, weight, _), embedding in zip(jobs, embed_parts([job[2] for job in jobs], model), strict=True):
            embeddings[search].append((weight, embedding))
        each(left, take_embeddings)


def _parts(search: Search, model: Embedder) -> list[tuple[float, Part]]:
    """What the model is to embed for a search, each with its weight in the sum."""
    emphasis = search.request.emphasis
    if search.maps is None or search.sentence is None or not emphasis or not model.reads_words:
        return [(1.0, (search.maps, search.sentence))]
    alone: Part = (search.maps, None) if emphasis < 0 else (None, search.sentence)
    both: list[tuple[float, Part]] = [(1 - abs(emphasis), (search.maps, search.sentence))]
    return [*(both if abs(emphasis) < 1 else []), (abs(emphasis), alone)]


def embed_parts(parts: Sequence[Part], model: Embedder) -> list[np.ndarray | Exception]:
    """The embedding (dim,) of length 1 of each part; or why there is none."""

    def embed(some: Sequence[Part]) -> list[np.ndarray]:
        levels = [maps for maps, _ in some if maps is not None]
        maps = (
            [torch.cat(level) for level in zip(*levels, strict=True)] if len(levels) > 1 else next(iter(levels), None)
        )
        sentences = [sentence for _, sentence in some if sentence is not None] or None
        return list(model.embed_queries_from(maps, sentences).cpu().numpy())

    answers: dict[int, np.ndarray | Exception] = {}
    for kind in product((True, False), repeat=2):
        rows = [row for row, (maps, sentence) in enumerate(parts) if (maps is not None, sentence is not None) == kind]
        for first in range(0, len(rows), _AT_ONCE):
            some = rows[first : first + _AT_ONCE]
            answers |= zip(some, together(embed, [parts[row] for row in some]), strict=True)
    return [answers[row] for row in range(len(parts))]


def away(query: np.ndarray, unlike: Sequence[np.ndarray]) -> np.ndarray:
    """The query moved away from the mean of what is not wanted; of length 1."""
    if not unlike:
        return query
    step = np.mean(np.stack(unlike), axis=0)
    length = float(np.linalg.norm(step))
    moved = query - (UNLIKE / length) * step if length else query
    embedding: np.ndarray = unit(moved[None], None, "the query")[0]
    return embedding
