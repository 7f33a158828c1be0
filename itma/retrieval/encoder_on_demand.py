"""Requests → the embeddings that are searched for, by one model."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from itma.data.images import Source
from itma.errors import ItmaError
from itma.models.embedder import Embedder
from itma.retrieval.ingest.image_names import ImageNames
from itma.retrieval.ingest.rows import unit
from itma.retrieval.manifest import About
from itma.retrieval.queries import Needed, away, embed_requests
from itma.retrieval.query_encoder import ReferenceMaps, embedding_of_item
from itma.retrieval.request import SearchRequest
from itma.retrieval.stores.base import Items

log = logging.getLogger(__name__)

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
            elif request.image is None and request.pixels is None:
                maps[row] = None
            else:
                try:
                    pixels[row] = self._pixels(request)
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

    def _pixels(self, request: SearchRequest) -> torch.Tensor:
        if request.pixels is not None:
            return request.pixels
        image: Source | None = request.image
        assert image is not None
        return self.model.preprocess.read(image)

    def _of_items(
        self, ids: Mapping[int, str], items: Items, about: About, names: ImageNames
    ) -> dict[int, Maps | Exception | None]:
        if not ids:
            return {}
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
