"""A person's own pictures, embedded and stored, that can be searched with a picture and a sentence."""

import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itma.data.images import Preprocess, Source, find_pictures
from itma.errors import CatalogueError, ConfigError, DataError, FeedbackError, PictureError
from itma.model.embedder import Embedder
from itma.model.runtimes import open_model
from itma.progress import bar
from itma.records import Hit, Query
from itma.search import store
from itma.search.store import Rows, Skipped

log = logging.getLogger(__name__)

Model = Embedder | str | Path
"""A model, or the folder of its run."""


class Catalogue:
    """Pictures that are searched; make one with `Catalogue.build`, open it with `Catalogue.open`.

    An item's id is its path below the folder that was indexed, with `/` between the parts on every system. Scores
    are cosines, compared with every item: the search is exact.

    Args:
        rows: the stored items.
        model: the model that embedded them.
        pictures: the folder that was indexed.
    """

    def __init__(self, rows: Rows, model: Embedder, pictures: Path) -> None:
        self._rows, self.model, self.pictures = rows, model, pictures
        self._number = {name: row for row, name in enumerate(rows.ids)}

    def __len__(self) -> int:
        return len(self._rows.ids)

    def __repr__(self) -> str:
        return f"<Catalogue of {len(self):,} pictures from {str(self.pictures)!r}, embedded by {self.model.name!r}>"

    @property
    def ids(self) -> Sequence[str]:
        """The items' ids, sorted."""
        return self._rows.ids

    @property
    def skipped(self) -> Sequence[Skipped]:
        """Files that were left out because they could not be read, with the reason."""
        return self._rows.skipped

    @classmethod
    def build(
        cls,
        model: Model,
        folder: str | Path,
        path: str | Path,
        *,
        replace: bool = False,
        batch: int = 64,
        runtime: str = "torch",
        device: torch.device | None = None,
        progress: bool = False,
    ) -> "Catalogue":
        """Embed all pictures under a folder and store them.

        Files are decoded in parallel with the embedding; memory holds a few batches of pictures and all embeddings.

        Args:
            model: a model, or a run folder; only in the second case does the catalogue know where to find it again.
            folder: pictures in any format that Pillow reads, also in sub-folders.
            path: the catalogue's own folder.
            replace: put the new catalogue in the place of an existing one.
            batch: pictures that are embedded at once.
            runtime: what a model given as a folder is to be opened with: `torch`, `onnx` or `onnx-int8`.
            device: where a model given as a folder is to work; absent: on the CPU.
            progress: show a progress bar.

        Raises:
            CatalogueError: `path` exists and is not to be replaced, or is something else than a catalogue.
            DataError: the folder is missing, holds no pictures, or none of them can be read.
            RunError: the model cannot be opened.
            StorageError: the disk is full or `path` cannot be written to; an existing catalogue stays as it was.
        """
        folder, path = Path(folder), Path(path)
        if batch < 1:
            raise ConfigError(f"batch={batch} must be at least 1")
        _refuse_existing(path, replace)
        paths = find_pictures(folder)
        retriever = _opened(model, device, runtime, progress)
        names = [file.relative_to(folder).as_posix() for file in paths]
        ids: list[str] = []
        parts: list[np.ndarray] = []
        skipped: list[Skipped] = []
        waiting: list[torch.Tensor] = []

        def embed() -> None:
            parts.append(retriever.embed_pictures(torch.stack(waiting)).cpu().numpy())
            waiting.clear()

        with bar("indexing", show=progress, total=len(paths), unit="picture") as meter:
            for name, pixels in zip(names, decoded(paths, retriever.preprocess, 2 * batch), strict=True):
                if isinstance(pixels, PictureError):
                    skipped.append(Skipped(name, pixels.reason))
                else:
                    ids.append(name)
                    waiting.append(pixels)
                if len(waiting) == batch:
                    embed()
                meter.update()
            if waiting:
                embed()
        if not ids:
            raise DataError(
                f"none of the {len(paths):,} pictures under {str(folder)!r} can be read; the first is {skipped[0]}"
            )
        about: dict[str, Any] = {
            "model": retriever.name,
            "fingerprint": retriever.fingerprint(),
            "runtime": retriever.runtime,
            "run": None if isinstance(model, Embedder) else _place(Path(model), path),
            "pictures": _place(folder, path),
        }
        store.write(path, Rows(ids, np.concatenate(parts), skipped, about), replace=replace)
        return cls(store.read(path), retriever, folder)

    @classmethod
    def open(
        cls,
        path: str | Path,
        model: Model | None = None,
        *,
        runtime: str | None = None,
        device: torch.device | None = None,
    ) -> "Catalogue":
        """Open a stored catalogue.

        Args:
            path: its folder.
            model: the model that made it, or that model's run folder; absent: where the run folder was then.
            runtime: what a model opened from its folder is to answer with; absent: what made the catalogue.
            device: where a model opened from its folder is to work; absent: on the CPU.

        Raises:
            CatalogueError: the catalogue is missing, damaged, or was made by another model.
            RunError: the model cannot be opened.
        """
        path = Path(path)
        rows = store.read(path)
        try:
            pictures = _found(rows.about["pictures"], path)
            run = None if rows.about["run"] is None else _found(rows.about["run"], path)
            made_by = (rows.about["model"], rows.about["fingerprint"])
        except (KeyError, TypeError) as error:
            raise CatalogueError(f"the catalogue {str(path)!r} is damaged: no {error}; index again") from error
        if model is None:
            if run is None:
                raise CatalogueError(
                    f"the catalogue {str(path)!r} was made by a model in memory and does not know its folder; give the "
                    "model when opening it"
                )
            if not run.is_dir():
                raise CatalogueError(
                    f"the run {str(run)!r} that made the catalogue {str(path)!r} is not there any more; say where it "
                    "is now (--run RUN on the command line, Catalogue.open(path, model) in Python), or index again"
                )
            model = run
        made_with = rows.about.get("runtime", "torch")
        retriever = _opened(model, device, runtime or made_with)
        if retriever.fingerprint() != made_by[1]:
            if (retriever.runtime, made_with).count("onnx-int8") == 1:
                raise CatalogueError(
                    f"the catalogue {str(path)!r} was made with the runtime {made_with!r} and cannot be searched with "
                    f"{retriever.runtime!r}: int8 embeddings differ from the others. Use --runtime {made_with}, or "
                    "index the pictures again"
                )
            raise CatalogueError(
                f"the catalogue {str(path)!r} was made by another model ({made_by[0]!r}, {made_by[1][:12]}…) than "
                f"this one ({retriever.name!r}, {retriever.fingerprint()[:12]}…); their embeddings cannot be compared. "
                "Open it with its own model, or index the pictures again with this one (a run that was trained further "
                "is another model too)"
            )
        return cls(rows, retriever, pictures)

    def search(self, image: Source | None = None, text: str | None = None, k: int = 10) -> list[Hit]:
        """The k pictures that fit a reference, a feedback, or both; best first.

        An item that is itself the reference (by its path) is left out. An empty sentence counts as none. Words that
        training never saw are ignored, with a warning in the log.

        Args:
            image: the reference: a path, the bytes of a file, or a Pillow image.
            text: the feedback.
            k: how many.

        Returns:
            At most k hits; fewer where the catalogue is smaller. Equal scores stand in the order of ids.

        Raises:
            DataError: neither a picture nor a sentence is given.
            PictureError: the reference cannot be read.
            FeedbackError: no word of the sentence is known, or the model does not read words and there is no picture.
            ConfigError: k is below 1.
        """
        if k < 1:
            raise ConfigError(f"k={k} pictures cannot be found; k must be at least 1")
        Query(None if image is None else "given", text)  # refuses a query without both
        sentence = self._readable(text, alone=image is None)
        pixels = None if image is None else self.model.preprocess.read(image)[None]
        query = self.model.embed_queries(pixels, None if sentence is None else [sentence])[0].cpu().numpy()
        hits = self._rows.best(query, k, without=self._row_of(image))
        return [
            Hit(rank, self.ids[row], score, str(self.pictures / self.ids[row]))
            for rank, (row, score) in enumerate(hits, start=1)
        ]

    def _readable(self, text: str | None, *, alone: bool) -> str | None:
        """The sentence if it has words; refused where none of them is known."""
        words = self.model.tokenizer.words(text or "")
        if not words:
            if alone:
                raise FeedbackError(f"there is no word in the sentence {text!r}; write one, or give a picture as well")
            return None
        if not self.model.reads_words:
            if not alone:
                log.warning("the model %r does not read words: %r has no effect", self.model.name, text)
            return text
        unknown = list(dict.fromkeys(self.model.tokenizer.unknown(text or "")))
        shown = ", ".join(map(repr, unknown[:8])) + (" …" if len(unknown) > 8 else "")
        if len(unknown) == len(set(words)):
            known = list(self.model.tokenizer.vocabulary)[2:14]
            raise FeedbackError(
                f"the model knows none of the words {shown}; it was trained on sentences with words like: "
                f"{', '.join(known)}"
            )
        if unknown:
            log.warning("words that the model never saw in training and ignores: %s", shown)
        return text

    def _row_of(self, image: Source | None) -> int | None:
        """The item that the reference is, going by its path."""
        if not isinstance(image, str | Path):
            return None
        for follow in (False, True):  # a link may be the item itself, or lead to it
            file, folder = (_plain(Path(path), follow) for path in (image, self.pictures))
            if file.is_relative_to(folder):
                row = self._number.get(file.relative_to(folder).as_posix())
                if row is not None:
                    return row
        return None


def _plain(path: Path, follow: bool) -> Path:
    return path.resolve() if follow else Path(os.path.normpath(path.absolute()))


def _opened(model: Model, device: torch.device | None, runtime: str, progress: bool = False) -> Embedder:
    if isinstance(model, Embedder):
        return model
    return open_model(model, runtime=runtime, device=device, progress=progress)


def _refuse_existing(path: Path, replace: bool) -> None:
    if not os.path.lexists(path):
        return
    if not store.is_catalogue(path):
        raise CatalogueError(f"{str(path)!r} exists and is no catalogue; choose another place for the catalogue")
    if not replace:
        raise CatalogueError(
            f"the catalogue {str(path)!r} exists already; choose another place, or replace it (--replace on the "
            "command line, replace=True in Python)"
        )


def _place(folder: Path, path: Path) -> dict[str, str]:
    """Where a folder is, also as seen from the catalogue, so that both can be moved together."""
    there = folder.resolve()
    try:
        seen = Path(os.path.relpath(there, path.resolve())).as_posix()
    except ValueError:  # another drive
        seen = ""
    return {"path": str(there), "from here": seen}


def _found(place: dict[str, str], path: Path) -> Path:
    near = Path(os.path.normpath(path.resolve() / place["from here"])) if place["from here"] else None
    far = Path(place["path"])
    return near if near is not None and near.is_dir() and not far.is_dir() else far


def decoded(paths: Sequence[Path], preprocess: Preprocess, ahead: int) -> Iterator[torch.Tensor | PictureError]:
    """Every picture's pixels, or why there are none, in order; at most `ahead` are decoded before they are needed."""

    def read(path: Path) -> torch.Tensor | PictureError:
        try:
            return preprocess.read(path)
        except PictureError as error:
            return error

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        upcoming = iter(paths)
        running: deque[Future[torch.Tensor | PictureError]] = deque(
            pool.submit(read, path) for path in islice(upcoming, ahead)
        )
        try:
            while running:
                done = running.popleft().result()
                running.extend(pool.submit(read, path) for path in islice(upcoming, 1))
                yield done
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def indexed_pictures(path: str | Path) -> list[Path]:
    """Where the pictures of a stored catalogue were when they were indexed, in the order of ids.

    Raises:
        CatalogueError: the catalogue is missing or damaged.
    """
    rows = store.read(Path(path))
    try:
        folder = _found(rows.about["pictures"], Path(path))
    except (KeyError, TypeError) as error:
        raise CatalogueError(f"the catalogue {str(path)!r} is damaged: no {error}; index again") from error
    return [folder / name for name in rows.ids]
