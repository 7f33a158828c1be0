"""Ready-made embeddings from a file → an evaluation: anybody's model, measured without it.

The file is an `.npz` with these arrays:

queries     (queries, dim) floats: one for each row of the split, or for each row that the protocol asks, in their order
images      (images, dim) floats: one for each image of the split, or for each that the protocol ranks, in their order
names       (images,) texts, where wanted: which image each of `images` is, with or without ending; then their order is
            free, others may be among them, and only those that are ranked are needed
references  (queries,) texts, where wanted: the reference's name of each query, to be compared with the split
feedback    (queries,) texts, where wanted: the sentence of each query, to be compared likewise
"""

import logging
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itma.data.datasets.reading import without_ending
from itma.data.triplets import Protocol, Split, Task, Triplets
from itma.errors import DataError
from itma.evaluation.evaluate import Evaluation, score
from itma.io import refuse_stream

log = logging.getLogger(__name__)

ENDING = ".npz"
_TEXTS = ("names", "references", "feedback")
_LENGTH = 1e-2
"""How far from 1 an embedding may be in length before the log says that scores are no cosines."""


@dataclass(frozen=True, eq=False)
class Embeddings:
    """What such a file holds."""

    path: Path
    queries: np.ndarray
    """(queries, dim) float32."""
    images: np.ndarray
    """(images, dim) float32."""
    texts: Mapping[str, Sequence[str]]
    """Those of names, references and feedback that it has."""


def read_embeddings(path: str | Path) -> Embeddings:
    """Read a file of embeddings; nothing in it is run.

    Raises:
        DataError: it does not exist, is damaged, or lacks an array; or an array is of another kind or size.
    """
    path = Path(path)
    try:
        refuse_stream(path)
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("queries", "images", *_TEXTS) if name in file.files}
            names = ", ".join(file.files)
    except FileNotFoundError as error:
        raise DataError(f"the file of embeddings {str(path)!r} does not exist") from error
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        way_out = "save plain arrays: np.savez(path, queries=…, images=…, names=np.array(names, dtype=str))"
        raise DataError(f"{str(path)!r} cannot be read as {ENDING} ({error}); {way_out}") from error
    if lacking := [name for name in ("queries", "images") if name not in arrays]:
        raise DataError(f"{str(path)!r} lacks the array {lacking[0]!r}; it holds {names or 'nothing'}")
    queries, images = arrays["queries"], arrays["images"]
    for name, array in arrays.items():
        kind, shape = array.dtype.kind, array.shape
        if name in _TEXTS:
            count = len(images if name == "names" else queries)
            fits, expected = kind == "U" and shape == (count,), f"({count:,},) texts"
        else:
            fits, expected = kind == "f" and array.ndim == 2 and shape[1] > 0, f"({name}, dim) floats"
        if not fits:
            raise DataError(f"{str(path)!r}: {name!r} is of shape {shape} and type {array.dtype}; expected {expected}")
    if queries.shape[1] != images.shape[1]:
        raise DataError(
            f"{str(path)!r}: queries have {queries.shape[1]} numbers each, images {images.shape[1]}; expected as many"
        )
    texts = {name: arrays[name].tolist() for name in _TEXTS if name in arrays}
    return Embeddings(path, queries.astype(np.float32), images.astype(np.float32), texts)


def score_embeddings(embeddings: Embeddings, split: Split, protocols: Sequence[Protocol]) -> list[Evaluation]:
    """Measure embeddings from a file by protocols of a split, whose images need not be there.

    Raises:
        DataError: the embeddings are not those of the split: another number, another order, images that are missing, or
            an embedding that is asked for and is no number; the message names file and row.
    """
    triplets = split.triplets
    tasks = [task for protocol in protocols for task in protocol.tasks]
    names = " and ".join(protocol.name for protocol in protocols)
    queries, gallery = place_embeddings(embeddings, triplets, tasks, names)
    name = f"embeddings ({embeddings.path})"
    return [score(triplets, protocol, queries, gallery, model_name=name) for protocol in protocols]


def place_embeddings(
    embeddings: Embeddings, triplets: Triplets, tasks: Sequence[Task], what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings from a file at the places of the queries and images that they are of.

    Args:
        embeddings: those of the file.
        triplets: whose queries and images they are.
        tasks: which queries are asked of which images; the others may be missing.
        what: how messages call that.

    Returns:
        (rows, dim) of the queries and (images, dim) of the images, float32; no numbers where none is needed.

    Raises:
        DataError: see `score_embeddings`.
    """
    rows, ranked = (np.unique(np.concatenate([getattr(task, part) for task in tasks])) for part in ("rows", "gallery"))
    return _queries(embeddings, triplets, rows, what), _gallery(embeddings, triplets, ranked, what)


def _queries(embeddings: Embeddings, triplets: Triplets, rows: np.ndarray, protocols: str) -> np.ndarray:
    """(rows of the split, dim); those that are not asked may be no numbers."""
    count, path = len(embeddings.queries), str(embeddings.path)
    if count not in (len(triplets), len(rows)):
        raise DataError(
            f"{path!r} holds {count:,} queries; {triplets.name} has {len(triplets):,} rows, of which {protocols} asks "
            f"{len(rows):,}: give one embedding for each, in their order"
        )
    own = np.arange(count) if count == len(triplets) else rows
    names = triplets.images.names
    expected = {
        "references": [names[index] for index in triplets.references[own].tolist()],
        "feedback": [triplets.feedback[row] for row in own.tolist()],
    }
    for what, texts in expected.items():
        for number, (one, other) in enumerate(zip(embeddings.texts.get(what, texts), texts, strict=True)):
            if one != other and (what == "feedback" or without_ending(one) != without_ending(other)):
                raise DataError(
                    f"{path!r}, query {number + 1:,}: {what} says {one!r}, but row {int(own[number]) + 1:,} of "
                    f"{triplets.name} has {other!r}; bring the queries in the order of the split"
                )
    return _spread(embeddings, triplets, "queries", embeddings.queries, own, rows)


def _gallery(embeddings: Embeddings, triplets: Triplets, ranked: np.ndarray, protocols: str) -> np.ndarray:
    """(images of the split, dim); those that are not ranked may be no numbers."""
    path, names, total = str(embeddings.path), triplets.images.names, len(triplets.labels)
    labels = embeddings.texts.get("names")
    if labels is None:
        count = len(embeddings.images)
        if count not in (total, len(ranked)):
            raise DataError(
                f"{path!r} holds {count:,} images; {triplets.name} has {total:,}, of which {protocols} ranks "
                f"{len(ranked):,}: give one embedding for each, in their order, or say by 'names' which is which"
            )
        own = np.arange(count) if count == total else ranked
        return _spread(embeddings, triplets, "images", embeddings.images, own, ranked)
    number_of = {name: number for number, name in enumerate(labels)}
    if len(number_of) < len(labels):
        twice = next(name for number, name in enumerate(labels) if number_of[name] != number)
        raise DataError(
            f"{path!r}: 'names' has {twice!r} in rows {labels.index(twice) + 1:,} and {number_of[twice] + 1:,}; "
            "expected each image once"
        )
    repeated = Counter(map(without_ending, labels))
    bare = {short: number_of[name] for name in labels if repeated[short := without_ending(name)] == 1}
    numbers = [number_of.get(names[index], bare.get(without_ending(names[index]), -1)) for index in ranked.tolist()]
    missing = [names[index] for index, number in zip(ranked.tolist(), numbers, strict=True) if number < 0]
    if missing:
        some = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise DataError(
            f"{path!r}: {len(missing):,} of {len(ranked):,} images that {protocols} ranks are not among its "
            f"{len(labels):,} names: {some}"
        )
    return _spread(embeddings, triplets, "images", embeddings.images[numbers], ranked, ranked)


def _spread(
    embeddings: Embeddings, triplets: Triplets, what: str, some: np.ndarray, rows: np.ndarray, needed: np.ndarray
) -> np.ndarray:
    """Embeddings of some `rows` at their places among all `queries` or `images`; those that are needed are checked."""
    total = len(triplets) if what == "queries" else len(triplets.labels)
    spread = np.full((total, some.shape[1]), np.nan, dtype=np.float32)
    spread[rows] = some
    lengths = np.linalg.norm(spread[needed], axis=1)
    bad = np.flatnonzero(~np.isfinite(lengths))
    if len(bad):
        first = int(needed[bad[0]])
        which = f"row {first + 1:,} of the split" if what == "queries" else repr(triplets.images.names[first])
        raise DataError(
            f"{str(embeddings.path)!r}: {len(bad):,} of {len(needed):,} {what} that are needed hold no finite numbers "
            f"(first: {which})"
        )
    if len(lengths) and abs(lengths - 1).max() > _LENGTH:
        message = "%s: %s are not of length 1 (%.3g to %.3g); scores are products then, not cosines"
        log.warning(message, embeddings.path, what, lengths.min(), lengths.max())
    return spread
