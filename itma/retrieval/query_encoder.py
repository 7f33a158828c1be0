"""Requests → the embeddings that are searched for: the model works on all of them together.

What is asked beyond a reference and a feedback is arithmetic on embeddings, and so works with every model: `unlike` is
the negative example of relevance feedback (Rocchio 1971), `emphasis` lies between the composed query and one of its
halves.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch

from itma.errors import DataError, ItmaError
from itma.models.embedder import Embedder
from itma.models.feedback import readable
from itma.retrieval.ingest.image_names import ImageNames
from itma.retrieval.ingest.rows import unit
from itma.retrieval.manifest import About
from itma.retrieval.reference_maps import ReferenceMaps, embedding_of_item
from itma.retrieval.request import SearchRequest
from itma.retrieval.stores.base import Items

UNLIKE = 0.35
"""Length of the step away from what is not wanted; the query itself is of length 1."""
_AT_ONCE = 64
"""Queries that the model takes together."""
Maps = list[torch.Tensor]
"""Feature maps of one reference, each (1, channels, rows, columns)."""


@dataclass(frozen=True)
class Query:
    """What a request is searched by."""

    embedding: np.ndarray
    """(dim,) of length 1."""
    alone: np.ndarray | None = None
    """(dim,) of length 1: of the reference without a sentence. None: nobody asks for items that show its image."""
    pixels: torch.Tensor | None = None
    """uint8 (3, height, width): the reference, where it is an image and no item."""


class QueryEncoder:
    """A model, with the feature maps of items that were references before. Several threads may use it.

    Args:
        model: embeds references and sentences.
    """

    def __init__(self, model: Embedder) -> None:
        self.model = model
        self._maps = ReferenceMaps()

    def queries(
        self, requests: Mapping[int, SearchRequest], items: Items, about: About, names: ImageNames
    ) -> dict[int, Query | Exception]:
        """The query of each request, all of which need the model; or why there is none."""
        maps: dict[int, Maps | Exception | None] = {}
        pixels: dict[int, torch.Tensor] = {}
        ids: dict[int, str] = {}
        for row, request in requests.items():
            if request.id is not None:
                ids[row] = request.id
            elif request.pixels is not None:
                pixels[row] = request.pixels
            elif request.image is None:
                maps[row] = None
            else:
                try:
                    pixels[row] = self.model.preprocess.read(request.image)
                except Exception as error:
                    maps[row] = error
        maps |= self._of_items(ids, items, about, names) | self._of_pixels(pixels)
        answers: dict[int, Query | Exception] = {}
        needs: dict[int, Needed] = {}
        for row, levels in maps.items():
            try:
                if isinstance(levels, Exception):
                    raise levels
                needs[row] = Needed.of(requests[row], self.model, levels)
            except Exception as error:
                answers[row] = error
        uploads = {row: need for row, need in needs.items() if row in pixels and not need.request.keep_same}
        images_alone = [replace(need, sentence=None) for need in uploads.values()]
        alone = dict(zip(uploads, embed_requests(images_alone, self.model), strict=True))
        for row, query in zip(needs, embed_requests(list(needs.values()), self.model), strict=True):
            reference = alone.get(row)
            if isinstance(query, Exception):
                answers[row] = query
            elif isinstance(reference, Exception):
                answers[row] = reference
            else:
                answers[row] = Query(query, reference, pixels.get(row))
        return answers

    def _of_items(
        self, ids: Mapping[int, str], items: Items, about: About, names: ImageNames
    ) -> dict[int, Maps | Exception | None]:
        try:
            maps = self._maps.of(list(ids.values()), items, about, self.model, names)
        except Exception as error:
            return dict.fromkeys(ids, error)
        return {row: maps[name] for row, name in ids.items()}

    def _of_pixels(self, pixels: Mapping[int, torch.Tensor]) -> dict[int, Maps | Exception | None]:
        if not pixels:
            return {}
        try:
            levels = self.model.feature_maps(torch.stack(list(pixels.values())))
        except Exception as error:
            if len(pixels) == 1:
                return dict.fromkeys(pixels, error)
            alone = [self._of_pixels({row: one}) for row, one in pixels.items()]  # it is not everybody's fault
            return {row: maps for one in alone for row, maps in one.items()}
        return {row: [level[index : index + 1] for level in levels] for index, row in enumerate(pixels)}


class EncoderOnDemand:
    """Opens a model when it is first needed.

    Args:
        load: gives the model.
    """

    def __init__(self, load: Callable[[], Embedder]) -> None:
        self._load, self._lock = load, threading.Lock()
        self._encoder: QueryEncoder | None = None

    @property
    def is_open(self) -> bool:
        """Whether it was needed already."""
        return self._encoder is not None

    def __call__(self) -> QueryEncoder:
        """The model.

        Raises:
            CatalogueError, RunError: it cannot be opened; the next call tries again.
        """
        with self._lock:
            if self._encoder is None:
                self._encoder = QueryEncoder(self._load())
            return self._encoder


def encode_requests(
    requests: Mapping[int, SearchRequest],
    items: Items,
    about: About,
    names: ImageNames,
    encoder: Callable[[], QueryEncoder],
) -> dict[int, Query | Exception]:
    """The query of each request; or why there is none.

    Args:
        requests: by any number.
        items: the table that is searched.
        about: of the catalogue.
        names: where the items' images are.
        encoder: gives the model; called where a request needs it.
    """
    queries: dict[int, Query | Exception] = {}
    rest: dict[int, SearchRequest] = {}
    for row, request in requests.items():
        try:
            if request.embedding is not None:
                queries[row] = Query(unit(np.asarray(request.embedding)[None], about.dim, "the query")[0])
            elif request.id is not None and not request.has_feedback:
                queries[row] = Query(embedding_of_item(items, request.id))
            else:
                rest[row] = request
        except ItmaError as error:
            queries[row] = error
    if rest:
        try:
            queries |= encoder().queries(rest, items, about, names)
        except ItmaError as error:  # there is no model
            queries |= dict.fromkeys(rest, error)
    for row, request in requests.items():
        query = queries[row]
        if request.unlike and not isinstance(query, Exception):
            try:
                unlike = [embedding_of_item(items, id) for id in request.unlike]
                queries[row] = replace(query, embedding=away(query.embedding, unlike))
            except ItmaError as error:
                queries[row] = error
    return queries


@dataclass(eq=False)
class Needed:
    """What a request needs of the model: a sum of embeddings, each with its weight."""

    request: SearchRequest
    maps: Maps | None = None
    sentence: str | None = None

    @classmethod
    def of(cls, request: SearchRequest, model: Embedder, maps: Maps | None) -> "Needed":
        """What a request needs, its sentence read.

        Raises:
            DataError: there is neither a reference nor a sentence.
            FeedbackError: see `readable`.
        """
        if maps is None and not request.has_feedback:
            raise DataError("a query needs a reference image, a feedback sentence, or both; both are empty")
        return cls(request, maps, readable(model, request.sentence, alone=maps is None))

    def parts(self, model: Embedder) -> list[tuple[float, Maps | None, str | None]]:
        """(weight, maps, sentence) of each query that the model is to embed."""
        emphasis = self.request.emphasis
        if self.maps is None or self.sentence is None or not emphasis or not model.reads_words:
            return [(1.0, self.maps, self.sentence)]
        alone = (self.maps, None) if emphasis < 0 else (None, self.sentence)
        both = [(1 - abs(emphasis), self.maps, self.sentence)] if abs(emphasis) < 1 else []
        return [*both, (abs(emphasis), *alone)]


def embed_requests(needs: Sequence[Needed], model: Embedder) -> list[np.ndarray | Exception]:
    """The embedding (dim,) of length 1 that each request is searched by; or why there is none."""
    answers: list[np.ndarray | Exception] = [np.zeros(0)] * len(needs)
    jobs = [(row, *part) for row, need in enumerate(needs) for part in need.parts(model)]
    sums: dict[int, np.ndarray] = {}
    for imaged, worded in product((True, False), repeat=2):
        group = [job for job in jobs if (job[2] is not None) == imaged and (job[3] is not None) == worded]
        for first in range(0, len(group), _AT_ONCE):
            part = group[first : first + _AT_ONCE]
            for (row, weight, _, _), answer in zip(part, _together([job[2:] for job in part], model), strict=True):
                if isinstance(answer, Exception):
                    answers[row] = answer
                else:
                    sums[row] = answer if weight == 1 else sums.get(row, np.float32(0)) + np.float32(weight) * answer
    for row, total in sums.items():
        if not isinstance(answers[row], Exception):
            answers[row] = total if needs[row].request.emphasis == 0 else unit(total[None], None, "the query")[0]
    return answers


def _together(part: Sequence[tuple[Maps | None, str | None]], model: Embedder) -> Sequence[np.ndarray | Exception]:
    first_maps, first_sentence = part[0]
    try:
        maps = None
        if first_maps is not None:
            rows = [one for one, _ in part if one is not None]
            maps = first_maps if len(rows) == 1 else [torch.cat(level) for level in zip(*rows, strict=True)]
        sentences = None if first_sentence is None else [str(sentence) for _, sentence in part]
        embeddings: np.ndarray = model.embed_queries_from(maps, sentences).cpu().numpy()
        return list(embeddings)
    except Exception as error:
        if len(part) == 1:
            return [error]
        return [answer for one in part for answer in _together([one], model)]  # it is not everybody's fault


def away(query: np.ndarray, unlike: Sequence[np.ndarray]) -> np.ndarray:
    """The query moved away from the mean of what is not wanted; of length 1."""
    if not unlike:
        return query
    step = np.mean(np.stack(unlike), axis=0)
    length = float(np.linalg.norm(step))
    moved = query - (UNLIKE / length) * step if length else query
    embedding: np.ndarray = unit(moved[None], None, "the query")[0]
    return embedding
