"""Questions → the embeddings that are searched for, by one model."""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from itma.data.images import Source
from itma.errors import ItmaError
from itma.model.embedder import Embedder
from itma.search.about import About
from itma.search.asking import ReferenceMaps, embedding_of_item
from itma.search.questions import Needed, Question, away, embedded
from itma.search.rows import unit
from itma.search.store import Items

log = logging.getLogger(__name__)

Maps = list[torch.Tensor]
"""Feature maps of one reference, each (1, channels, rows, columns)."""


class QueryEncoder:
    """A model, with the feature maps of items that were references before. Several threads may use it.

    Args:
        model: embeds references and sentences.
    """

    def __init__(self, model: Embedder) -> None:
        self.model = model
        self._maps = ReferenceMaps()

    def needed(
        self, questions: Mapping[int, Question], items: Items, about: About, pictures: Path | None
    ) -> dict[int, Needed | Exception]:
        """What each question needs of the model, its reference read; or why that cannot be had."""
        maps: dict[int, Maps | Exception | None] = {}
        pixels: dict[int, torch.Tensor] = {}
        ids: dict[int, str] = {}
        for row, question in questions.items():
            if question.id is not None:
                ids[row] = question.id
            elif question.image is None and question.pixels is None:
                maps[row] = None
            else:
                try:
                    pixels[row] = self._pixels(question)
                except Exception as error:
                    maps[row] = error
        maps |= self._of_items(ids, items, about, pictures) | self._of_pixels(pixels)
        needs: dict[int, Needed | Exception] = {}
        for row, found in maps.items():
            try:
                if isinstance(found, Exception):
                    raise found
                needs[row] = Needed.of(questions[row], self.model, found)
            except Exception as error:
                needs[row] = error
        return needs

    def _pixels(self, question: Question) -> torch.Tensor:
        if question.pixels is not None:
            return question.pixels
        image: Source | None = question.image
        assert image is not None
        return self.model.preprocess.read(image)

    def _of_items(
        self, ids: Mapping[int, str], items: Items, about: About, pictures: Path | None
    ) -> dict[int, Maps | Exception | None]:
        if not ids:
            return {}
        try:
            found = self._maps.of(list(ids.values()), items, about, self.model, pictures)
        except Exception as error:
            return dict.fromkeys(ids, error)
        return {row: found[name] for row, name in ids.items()}

    def _of_pixels(self, pixels: Mapping[int, torch.Tensor]) -> dict[int, Maps | Exception | None]:
        if not pixels:
            return {}
        try:
            levels = self.model.trunk_maps(torch.stack(list(pixels.values())))
        except Exception as error:
            if len(pixels) == 1:
                return dict.fromkeys(pixels, error)
            alone = [self._of_pixels({row: one}) for row, one in pixels.items()]  # it is not everybody's fault
            return {row: found for one in alone for row, found in one.items()}
        return {row: [level[place : place + 1] for level in levels] for place, row in enumerate(pixels)}


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


def query_embeddings(
    questions: Mapping[int, Question],
    items: Items,
    about: About,
    pictures: Path | None,
    encoder: Callable[[], QueryEncoder],
) -> dict[int, np.ndarray | Exception]:
    """The embedding (dim,) of length 1 that each question is searched by; or why there is none.

    Args:
        questions: by any number.
        items: the table that is searched.
        about: of the catalogue.
        pictures: the folder that pictures are named in.
        encoder: gives the model; called where a question needs it.
    """
    found: dict[int, np.ndarray | Exception] = {}
    rest: dict[int, Question] = {}
    for row, question in questions.items():
        try:
            if question.embedding is not None:
                found[row] = unit(np.asarray(question.embedding)[None], about.dim, "the query")[0]
            elif question.id is not None and not question.said:
                found[row] = embedding_of_item(items, question.id)
            else:
                rest[row] = question
        except ItmaError as error:
            found[row] = error
    if rest:
        try:
            found |= _encoded(rest, items, about, pictures, encoder())
        except ItmaError as error:  # there is no model
            found |= dict.fromkeys(rest, error)
    for row, question in questions.items():
        query = found[row]
        if question.unlike and not isinstance(query, Exception):
            try:
                found[row] = away(query, [embedding_of_item(items, id) for id in question.unlike])
            except ItmaError as error:
                found[row] = error
    return found


def _encoded(
    questions: Mapping[int, Question], items: Items, about: About, pictures: Path | None, encoder: QueryEncoder
) -> dict[int, np.ndarray | Exception]:
    needs = encoder.needed(questions, items, about, pictures)
    found: dict[int, np.ndarray | Exception] = {row: need for row, need in needs.items() if isinstance(need, Exception)}
    good = {row: need for row, need in needs.items() if not isinstance(need, Exception)}
    return found | dict(zip(good, embedded(list(good.values()), encoder.model), strict=True))
