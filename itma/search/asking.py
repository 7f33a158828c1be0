"""A picture, an item and a sentence → the embedding that is searched for."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itma.errors import FeedbackError, UnanswerableError, UnknownItemError
from itma.model.embedder import Embedder
from itma.search.about import About
from itma.search.filters import Filter, Test
from itma.search.indexing import maps_from_bytes
from itma.search.rows import shown, stored
from itma.search.store import Items, embeddings_of

log = logging.getLogger(__name__)

_CACHED = 64 * 2**20
"""Bytes of feature maps that are kept of items that were asked from."""


class ReferenceMaps:
    """Feature maps of items, from the catalogue or else from their pictures; the latest are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], list[torch.Tensor]] = OrderedDict()
        self._bytes = 0

    def of(self, name: str, items: Items, about: About, model: Embedder, pictures: Path | None) -> list[torch.Tensor]:
        """One item's maps, each (1, channels, rows, columns).

        Raises:
            UnknownItemError: there is no such item.
            UnanswerableError: neither its maps nor its picture are there.
            PictureError: its picture cannot be read.
        """
        columns = ["_stamp", "_picture", *(["_tokens"] if about.tokens else [])]
        row = only(items, name, columns)
        key = (name, row["_stamp"])
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if about.tokens is not None and row["_tokens"] is not None:
            return maps_from_bytes(row["_tokens"], about.tokens.shapes)
        if row["_picture"] is None:
            raise UnanswerableError(
                f"the item {name!r} has no picture that a sentence could change; search by the sentence alone, or give "
                "a picture"
            )
        path = (pictures or Path()) / shown(row["_picture"])
        maps = [level.clone() for level in model.trunk_maps(model.preprocess.read(path)[None])]
        self._kept[key] = maps
        self._bytes += _size(maps)
        while self._bytes > _CACHED and len(self._kept) > 1:
            self._bytes -= _size(self._kept.popitem(last=False)[1])
        return maps


def _size(maps: Sequence[torch.Tensor]) -> int:
    return sum(level.numel() * level.element_size() for level in maps)


def only(items: Items, name: str, columns: Sequence[str]) -> dict[str, Any]:
    """Some columns of one item.

    Raises:
        UnknownItemError: there is none of that id.
    """
    rows: list[dict[str, Any]] = items.get([stored(name)], columns).to_pylist()
    if not rows:
        raise UnknownItemError(f"there is no item {name[:60]!r} in the catalogue; Catalogue.ids lists those there are")
    return rows[0]


def embedding_of_item(items: Items, name: str) -> np.ndarray:
    """(dim,) float32: what the catalogue holds of one item."""
    only(items, name, ["id"])
    found: np.ndarray = embeddings_of(items.get([stored(name)], ["embedding"])["embedding"])[0]
    return found


def ids_with_picture(items: Items, pictures: Sequence[str]) -> list[str]:
    """The items whose picture is named by one of these, as a store holds names."""
    where = Filter(tests=(Test("_picture", "in", tuple(pictures), "text"),))
    return [name for batch in items.scan(["id"], where=where) for name in batch.column("id").to_pylist()]


def readable(model: Embedder, text: str | None, *, alone: bool) -> str | None:
    """The sentence if it has words.

    Raises:
        FeedbackError: no word of it is known, or it has none and stands alone.
    """
    words = model.tokenizer.words(text or "")
    if not words:
        if alone:
            raise FeedbackError(f"there is no word in the sentence {text!r}; write one, or give a picture as well")
        return None
    if not model.reads_words:
        if not alone:
            log.warning("the model %r does not read words: %r has no effect", model.name, text)
        return text
    unknown = list(dict.fromkeys(model.tokenizer.unknown(text or "")))
    listed = ", ".join(map(repr, unknown[:8])) + (" …" if len(unknown) > 8 else "")
    if len(unknown) == len(set(words)):
        known = list(model.tokenizer.vocabulary)[2:14]
        raise FeedbackError(
            f"the model knows none of the words {listed}; it was trained on sentences with words like: "
            f"{', '.join(known)}"
        )
    if unknown:
        effect = "reads as one unknown word" if model.tokenizer.keep_unknown else "ignores"
        log.warning("words that the model never saw in training and %s: %s", effect, listed)
    return text
