"""What is known of items that are references: their feature maps, their embeddings, and which items show an image."""

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itma.errors import DataError, ImageError, ItmaError, UnanswerableError, UnknownItemError
from itma.models.embedder import Embedder
from itma.retrieval.ingest.embedding import maps_from_bytes
from itma.retrieval.ingest.image_names import ImageNames
from itma.retrieval.ingest.rows import to_stored
from itma.retrieval.manifest import About
from itma.retrieval.stores.base import Items

_AT_ONCE = 32
"""Images that go through the image encoder together."""
_CACHED = 64 * 2**20
"""Bytes of feature maps that are kept of items that were asked from."""


class ReferenceMaps:
    """Feature maps of items, from the catalogue or else from their images; the latest are kept, for all threads."""

    def __init__(self) -> None:
        self._cache: OrderedDict[tuple[str, int], list[torch.Tensor]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def of(
        self, names: Sequence[str], items: Items, about: About, model: Embedder, files: ImageNames
    ) -> "dict[str, list[torch.Tensor] | ItmaError]":
        """The maps of items, each (1, channels, rows, columns); or why there are none.

        The errors: `UnknownItemError` where there is no such item, `UnanswerableError` where neither its maps nor its
        image are there, `ImageError` where the image cannot be read.
        """
        columns = ["id", "_stamp", "_image", *(["_tokens"] if about.tokens else [])]
        answers: dict[str, list[torch.Tensor] | ItmaError] = {}
        names_left: dict[str, str] = {}
        for name in dict.fromkeys(names):
            try:
                names_left[to_stored(name)] = name
            except DataError as error:
                answers[name] = error
        missing: dict[str, tuple[tuple[str, int], Path]] = {}
        for row in items.get(list(names_left), columns).to_pylist():
            name = names_left.pop(row["id"])
            key = (name, row["_stamp"])
            if (maps := self._look_up(key)) is not None:
                answers[name] = maps
            elif about.tokens is not None and row["_tokens"] is not None:
                answers[name] = maps_from_bytes(row["_tokens"], about.tokens.shapes)
            elif row["_image"] is None:
                answers[name] = UnanswerableError(
                    f"the item {name!r} has no image that a sentence could change; search by the sentence alone, or "
                    "give an image"
                )
            else:
                missing[name] = key, files.file(row["_image"])
        answers |= {name: unknown_item_error(name) for name in names_left.values()}
        return answers | self._make(missing, model)

    def _make(
        self, missing: Mapping[str, tuple[tuple[str, int], Path]], model: Embedder
    ) -> "dict[str, list[torch.Tensor] | ItmaError]":
        """Maps of images, several at once; they are kept."""
        answers: dict[str, list[torch.Tensor] | ItmaError] = {}
        names = list(missing)
        for first in range(0, len(names), _AT_ONCE):
            part = names[first : first + _AT_ONCE]
            with ThreadPoolExecutor(min(len(part), os.cpu_count() or 1)) as pool:
                pixels = dict(zip(part, pool.map(lambda name: _read(model, missing[name][1]), part), strict=True))
            answers |= {name: error for name, error in pixels.items() if isinstance(error, ItmaError)}
            read = {name: image for name, image in pixels.items() if isinstance(image, torch.Tensor)}
            if not read:
                continue
            levels = model.feature_maps(torch.stack(list(read.values())))
            for index, name in enumerate(read):
                maps = [level[index : index + 1].clone() for level in levels]
                answers[name] = maps
                self._keep(missing[name][0], maps)
        return answers

    def _look_up(self, key: tuple[str, int]) -> list[torch.Tensor] | None:
        with self._lock:
            maps = self._cache.get(key)
            if maps is not None:
                self._cache.move_to_end(key)
            return maps

    def _keep(self, key: tuple[str, int], maps: list[torch.Tensor]) -> None:
        with self._lock:
            if key in self._cache:  # another thread was quicker
                return
            self._cache[key] = maps
            self._bytes += _size(maps)
            while self._bytes > _CACHED and len(self._cache) > 1:
                self._bytes -= _size(self._cache.popitem(last=False)[1])


def _read(model: Embedder, path: Path) -> torch.Tensor | ItmaError:
    try:
        return model.preprocess.read(path)
    except ItmaError as error:
        if isinstance(error, ImageError) and not path.exists():
            moved = "if the images were moved, itma index with their new folder brings the catalogue up to date"
            return ImageError(path, f"the file does not exist; {moved}")
        return error


def _size(maps: Sequence[torch.Tensor]) -> int:
    return sum(level.numel() * level.element_size() for level in maps)


def only(items: Items, name: str, columns: Sequence[str]) -> dict[str, Any]:
    """Some columns of one item.

    Raises:
        UnknownItemError: there is none of that id.
    """
    rows: list[dict[str, Any]] = items.get([to_stored(name)], columns).to_pylist()
    if not rows:
        raise unknown_item_error(name)
    return rows[0]


def unknown_item_error(name: str) -> UnknownItemError:
    """What is said of an id that no item has."""
    there = f"there is no item {name[:60]!r} in the catalogue"
    return UnknownItemError(
        f"{there}; itma catalogue export writes all to a file, Catalogue.ids lists them", public=there
    )


def embedding_of_item(items: Items, name: str) -> np.ndarray:
    """(dim,) float32: what the catalogue holds of one item."""
    return np.array(only(items, name, ["embedding"])["embedding"], dtype=np.float32)
