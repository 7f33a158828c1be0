"""Models for other runtimes: written as ONNX graphs, and made smaller and faster as int8, with what that costs.

As in `itma.api`, every command is one call of a function here.
"""

import json
import logging
import os
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from itma.api import load_measured_split, read_run
from itma.config import to_plain
from itma.data.datasets.reading import read_lines
from itma.data.images import Preprocess, find_images
from itma.data.sources import sentences
from itma.errors import ConfigError, DataError, ImageError, ItmaError, RunError
from itma.evaluation.agreement import mean_cosine, neighbour_overlap
from itma.evaluation.evaluate import evaluate as measure
from itma.export.int8 import quantise as write_int8
from itma.export.runtime import OnnxRetriever
from itma.export.runtimes import FOLDERS, export_run, open_exported
from itma.io import new_folder
from itma.models.checkpoint import checkpoint_folder
from itma.models.shipped import is_shipped
from itma.progress import bar
from itma.retrieval import manifest
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.stores.engines import store_at

log = logging.getLogger(__name__)

LOSS = "loss.json"
"""The file in the folder of int8 graphs that says what they cost."""
NEAREST = 10
"""Neighbours of each image that are compared."""
_COMPARED = 1_000
"""Images that float32 and int8 are compared on, at most."""
_BATCH = 32


@dataclass(frozen=True)
class RecallLost:
    """What quantising cost by one protocol."""

    protocol: str
    queries: int
    float32: Mapping[int, float]
    """k → recall at k."""
    int8: Mapping[int, float]

    def __str__(self) -> str:
        lines = [f"{self.queries:,} queries, {self.protocol}"]
        for k, exact in self.float32.items():
            rough = self.int8[k]
            lines.append(f"  recall@{k:<3d} {exact:7.1%} → {rough:7.1%} ({100 * (rough - exact):+.1f} points)")
        return "\n".join(lines)


@dataclass(frozen=True)
class Agreement:
    """How alike float32 and int8 embed the same images, and queries of an image and a sentence each."""

    images: int
    cosine: float
    """Mean cosine of an image's two embeddings."""
    overlap: float
    """Share of each image's nearest neighbours that int8 finds among its own."""
    query_cosine: float | None
    """Mean cosine of a query's two embeddings; None where the model does not read words."""
    query_overlap: float | None
    """Share of each query's nearest images that int8 finds among its own."""

    def __str__(self) -> str:
        rows = [(f"{self.images:,} images", self.cosine, self.overlap)]
        if self.query_cosine is not None and self.query_overlap is not None:
            rows.append(("with a sentence each", self.query_cosine, self.query_overlap))
        return "\n".join(f"{of}: cosine {cos:.4f}, {part:.1%} of the {NEAREST} nearest kept" for of, cos, part in rows)


@dataclass(frozen=True)
class Quantised:
    """What quantising a model gave, and what it cost."""

    folder: str
    model: str
    calibrated: int
    """Images whose activations decided the ranges."""
    sentences: str
    """Where the sentences that went with them came from; empty where the model does not read words."""
    megabytes: Mapping[str, float]
    """Size of all graphs, by precision."""
    agreement: Agreement
    """On the given images; those of the calibration are among them where there are few."""
    recall: tuple[RecallLost, ...]
    """By the protocol of the run's own data; empty where they could not be measured."""
    unmeasured: str
    """Why there is no recall; empty where there is one."""

    def __str__(self) -> str:
        words = f" and {self.sentences}" if self.sentences else ""
        lines = [
            f"{self.model}: int8 graphs in {self.folder}",
            f"calibrated on {self.calibrated:,} images{words}",
            f"size: {self.megabytes['float32']:,.1f} MB → {self.megabytes['int8']:,.1f} MB",
            "what was lost, float32 → int8:",
            *(f"  {line}" for part in (self.agreement, *self.recall) for line in str(part).splitlines()),
        ]
        if self.unmeasured:
            lines.append(f"  recall was not measured: {self.unmeasured}")
        return "\n".join(lines)


def quantise(
    run: str | Path,
    images: str | Path,
    out: str | Path | None = None,
    *,
    samples: int = 300,
    text: str | Path | None = None,
    which: str = "best",
    recall: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Quantised:
    """Write a trained model as int8 graphs, calibrated on the images it is to search, and measure what is lost.

    What was lost is written beside the graphs as `loss.json`.

    Args:
        run: a run folder, or a checkpoint folder.
        images: a folder of images, or a catalogue, whose images are taken.
        out: a new folder; None: `onnx-int8` in the checkpoint's folder, where `--runtime onnx-int8` finds it, in the
            place of older graphs.
        samples: images for the calibration, drawn at random; all where there are fewer.
        text: a file with one sentence on each line, like those that will be asked; None: the training sentences of
            the run's own data, or random words that the model knows where those are not to be had.
        which: `best` or `last` checkpoint of the run.
        recall: measure recall on the run's own data as well, where they are to be had.
        seed: decides the choice of images and sentences.
        progress: show progress bars.

    Returns:
        What was lost.

    Raises:
        MissingExtraError: the packages for ONNX are not installed.
        ConfigError: no sample was asked for.
        DataError: the images or the sentences cannot be read.
        RunError: the model cannot be opened or exported.
        StorageError: the graphs cannot be written.
    """
    if samples < 1:
        raise ConfigError(f"samples={samples} must be at least 1")
    if out is None and is_shipped(run):
        raise RunError(
            f"the model {str(run)!r} comes with itma, whose own folder is left alone; say where the graphs go: itma "
            f"quantise {run} {images} --out FOLDER, and give FOLDER as the run from then on"
        )
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        if is_shipped(run):
            exact = export_run(run, Path(scratch) / FOLDERS["float32"], which=which, progress=progress)
        else:
            exact = open_exported(run, "float32", which=which, progress=progress)
        is_catalogue = manifest.exists(store_at(Path(images)))
        paths = Catalogue.open(images, without_model=True).image_paths() if is_catalogue else find_images(images)
        draw.shuffle(paths)
        feedback, origin = _sentences(run, exact, text) if exact.reads_words else ([""], "")
        calibrating = torch.cat(list(_read(paths[:samples], exact.preprocess)))
        target = checkpoint_folder(run, which) / FOLDERS["int8"] if out is None else Path(out)
        with new_folder(target, replace=out is None) as draft:
            write_int8(exact, draft, calibrating, draw.choices(feedback, k=len(calibrating)), progress=progress)
            rough = OnnxRetriever(draft)
            compared = paths[-_COMPARED:]  # others than those of the calibration, where there are enough
            agreement = _agreement(exact, rough, compared, draw.choices(feedback, k=len(compared)), progress)
            lost, unmeasured = _recall(run, exact, rough, progress) if recall else ((), "it was not asked for")
            result = Quantised(
                folder=str(target),
                model=f"{exact.name} ({run})",
                calibrated=len(calibrating),
                sentences=origin,
                megabytes={model.description.precision: _megabytes(model) for model in (exact, rough)},
                agreement=agreement,
                recall=lost,
                unmeasured=unmeasured,
            )
            (draft / LOSS).write_text(json.dumps(to_plain(result), indent=2) + "\n", encoding="utf-8")
    return result


def _sentences(run: str | Path, model: OnnxRetriever, text: str | Path | None) -> tuple[Sequence[str], str]:
    """Sentences like those that will be asked, and in words where they come from."""
    if text is not None:
        lines = read_lines(Path(text), "give a file with one sentence on each line")
        feedback = [line for line in lines if model.tokenizer.words(line)]
        if not feedback:
            raise DataError(f"there is no sentence in {str(text)!r}; expected one on each line")
        return feedback, f"{len(feedback):,} sentences of {text}"
    try:
        data = read_run(run).data
        return sentences(data, "train"), f"the training sentences of {data.name}"
    except ItmaError as error:
        log.info("no training sentences: %s", error)
        draw = random.Random(0)
        known = [word for word in model.tokenizer.vocabulary if word.isascii() and word.isalnum()]
        return [" ".join(draw.choices(known, k=draw.randrange(1, 12))) for _ in range(1_000)], "random known words"


def _read(paths: Sequence[Path], preprocess: Preprocess) -> Iterator[torch.Tensor]:
    """Images in batches, without those that cannot be read, which are named in the log."""

    def read(path: Path) -> torch.Tensor | None:
        try:
            return preprocess.read(path)
        except ImageError as error:
            log.warning("left out: %s", error)
            return None

    count = 0
    upcoming: Iterator[torch.Tensor | None] = iter(())
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for first in range(0, len(paths) + _BATCH, _BATCH):
            # the next ones are decoded while these are worked on
            ready, upcoming = upcoming, pool.map(read, paths[first : first + _BATCH])
            batch = [pixels for pixels in ready if pixels is not None]
            count += len(batch)
            if batch:
                yield torch.stack(batch)
    if count < 2:
        raise DataError(f"{count} of {len(paths):,} images could be read; at least 2 are needed, better hundreds")


def _agreement(
    exact: OnnxRetriever, rough: OnnxRetriever, paths: Sequence[Path], feedback: Sequence[str], progress: bool
) -> Agreement:
    models = (exact, rough)
    images, queries = ({model: list[torch.Tensor]() for model in models} for _ in range(2))
    done = 0
    with bar("comparing", show=progress, total=len(paths), unit="image") as meter:
        for pixels in _read(paths, exact.preprocess):
            for model in models:
                images[model].append(model.embed_images(pixels))
                if exact.reads_words:
                    queries[model].append(model.embed_queries(pixels, feedback[done : done + len(pixels)]))
            done += len(pixels)
            meter.update(len(pixels))
    galleries = [torch.cat(images[model]) for model in models]

    def compare(embeddings: Mapping[OnnxRetriever, list[torch.Tensor]]) -> tuple[float, float]:
        one, other = (torch.cat(embeddings[model]) for model in models)
        overlap = neighbour_overlap((one, galleries[0]), (other, galleries[1]), NEAREST, without_self=True)
        return mean_cosine(one, other), overlap

    return Agreement(len(galleries[0]), *compare(images), *(compare(queries) if exact.reads_words else (None, None)))


def _recall(
    run: str | Path, exact: OnnxRetriever, rough: OnnxRetriever, progress: bool
) -> tuple[tuple[RecallLost, ...], str]:
    """Recall on what the run is measured on, or why there is none."""
    try:
        data, _, _ = load_measured_split(run, exact.preprocess, progress=progress)
        reports = [
            measure(model, data.triplets, protocols=[data.protocol()], intervals=False, progress=progress)[0].report
            for model in (exact, rough)
        ]
    except ItmaError as error:
        return (), str(error)
    return (RecallLost(reports[0].protocol, reports[0].queries, *(report.recall for report in reports)),), ""


def _megabytes(model: OnnxRetriever) -> float:
    return sum((model.folder / name).stat().st_size for name in model.description.graphs) / 1e6
