"""Images on disk → embeddings: what each worker does, wherever it is, and the workers of this very process."""

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from itma.data.images import NOT_REGULAR, Preprocess
from itma.errors import ImageError
from itma.io import file_sum
from itma.models.embedder import Embedder
from itma.retrieval.ingest.rows import NO_FILE, FileState

MISSING = "the file does not exist"


@dataclass(frozen=True)
class Image:
    """A file to be looked into, and what the catalogue has of it, if anything."""

    id: str
    path: Path | None
    """None: the item names no image."""
    file: FileState = NO_FILE


@dataclass(frozen=True)
class Looked:
    """What became of one file: its embedding, or none where its content is known, or why it cannot be read."""

    id: str
    file: FileState = NO_FILE
    embedding: np.ndarray | None = None
    """(dim,) float32."""
    tokens: bytes | None = None
    problem: str | None = None


class Workers(Protocol):
    """Those who do the heavy work of an indexing; the plan and the writing are not theirs."""

    def embed(self, images: Iterator[Image], *, batch: int, tokens: bool) -> Iterator[Looked]:
        """Look into every image once, in any order; take new ones only as the work gets done.

        Args:
            images: what to look into.
            batch: images that are embedded at once.
            tokens: hand back the feature maps as well.
        """


class Here:
    """The threads of this process; they decode the next images while the model works.

    Args:
        model: gives what makes the embeddings; called only where an image has to be looked into.
        threads: that decode; None: as many as there are cores.
    """

    def __init__(self, model: Callable[[], Embedder], threads: int | None = None) -> None:
        self._model, self._threads = model, threads or os.cpu_count() or 1

    def embed(self, images: Iterator[Image], *, batch: int, tokens: bool) -> Iterator[Looked]:
        """See `Workers.embed`; the order is kept."""
        waiting: list[tuple[Looked, torch.Tensor | None]] = []
        pending = 0
        with ThreadPoolExecutor(max_workers=self._threads) as pool:
            for looked, pixels in self._read_ahead(pool, images, 2 * batch):
                waiting.append((looked, pixels))
                pending += pixels is not None
                if not pending or pending == batch or len(waiting) == 8 * batch:
                    yield from self._embed(waiting, tokens)
                    waiting, pending = [], 0
            yield from self._embed(waiting, tokens)

    def _read_ahead(
        self, pool: ThreadPoolExecutor, images: Iterator[Image], ahead: int
    ) -> Iterator[tuple[Looked, torch.Tensor | None]]:
        """Every file, in order; at most `ahead` are decoded before they are needed."""
        running: deque[Future[tuple[Looked, torch.Tensor | None]]] = deque()
        try:
            for image in images:
                running.append(pool.submit(_look, image, self._model().preprocess))
                if len(running) == ahead:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for each in running:
                each.cancel()

    def _embed(self, waiting: Sequence[tuple[Looked, torch.Tensor | None]], tokens: bool) -> Iterator[Looked]:
        new = [pixels for _, pixels in waiting if pixels is not None]
        answers = embed(self._model(), new, tokens) if new else iter(())
        for looked, pixels in waiting:
            if pixels is None:
                yield looked
            else:
                embedding, map_bytes = next(answers)
                yield replace(looked, embedding=embedding, tokens=map_bytes)


def _look(image: Image, preprocess: Preprocess) -> tuple[Looked, torch.Tensor | None]:
    name, path = image.id, image.path
    if path is None:
        return Looked(name, problem="no image is named"), None
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            return Looked(name, problem=NOT_REGULAR), None
        file = FileState(image.file.sum, status.st_size, status.st_mtime_ns)
        if file.sum is None or file != image.file:
            file = replace(file, sum=file_sum(path))
        return Looked(name, file), None if file.sum == image.file.sum else preprocess.read(path)
    except FileNotFoundError:
        return Looked(name, problem=MISSING), None
    except ImageError as error:
        return Looked(name, problem=error.reason), None
    except (OSError, ValueError) as error:
        return Looked(name, problem=getattr(error, "strerror", None) or str(error)), None


def embed(model: Embedder, images: Sequence[torch.Tensor], tokens: bool) -> Iterator[tuple[np.ndarray, bytes | None]]:
    """Of each image, uint8 (3, height, width), its embedding (dim,), and its feature maps where they are wanted."""
    maps = model.feature_maps(torch.stack(list(images)))
    embeddings = model.embed_images_from(maps).cpu().numpy()
    return zip(embeddings, maps_as_bytes(maps) if tokens else [None] * len(images), strict=True)


def maps_as_bytes(maps: Sequence[torch.Tensor]) -> list[bytes]:
    """Each image's feature maps, all levels one after the other, as float16."""
    levels = [level.to(torch.float16).cpu().contiguous().numpy() for level in maps]
    return [b"".join(level[row].tobytes() for level in levels) for row in range(len(levels[0]))]


def maps_from_bytes(data: bytes, shapes: Sequence[tuple[int, int, int]]) -> list[torch.Tensor]:
    """What `maps_as_bytes` made of one image, as maps (1, channels, rows, columns)."""
    values, maps, first = np.frombuffer(data, dtype=np.float16), [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        maps.append(torch.from_numpy(values[first : first + size].astype(np.float32)).reshape(1, *shape))
        first += size
    return maps
