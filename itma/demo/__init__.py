"""The whole path on generated images: world → models → numbers → catalogue → answers → one page to look at."""

import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, zip_longest
from pathlib import Path

import numpy as np
import torch

from itma import __version__, api
from itma.data.datasets import WORLDS, DataConfig
from itma.data.images import Preprocess
from itma.data.sources import load
from itma.data.triplets import Split
from itma.demo import galleries
from itma.demo.page import write_page
from itma.demo.story import DemoStory, Example, ImageHit, ModelResult
from itma.device import device_named
from itma.errors import ConfigError, DataError, UnknownNameError
from itma.evaluation.evaluate import Evaluation, evaluate
from itma.io import free_folder
from itma.models.checkpoint import weights_sum
from itma.models.provenance import read_provenance
from itma.models.retriever import Retriever
from itma.models.shipped import find_shipped_folder, is_shipped
from itma.program import program
from itma.records import Report
from itma.retrieval.catalogue import Catalogue
from itma.training.run import read_metrics

MODELS = {"itma": "ITMA", "tirg": "TIRG", "image-only": "image only", "words-only": "words only"}
"""Composer → its name on the page; ITMA first."""


@dataclass(frozen=True)
class DemoResult:
    """What `demo` leaves behind."""

    folder: Path
    reports: dict[str, Report]
    """Model → what was measured on the world's test, of combinations never seen in training."""
    run: str
    """The run folder, or the name of the model that comes with itma, which answers in the catalogue."""
    commands: Sequence[tuple[str, str]]
    """(what to type next, why)."""
    seconds: float

    def __str__(self) -> str:
        took = f"{self.seconds:.0f} seconds" if self.seconds < 100 else f"{self.seconds / 60:.1f} minutes"
        lines = [f"\nDone in {took}. recall@1 on combinations never seen in training:"]
        for name, report in self.reports.items():
            inside = report.interval[1]
            lines.append(
                f"  {MODELS[name]:<13s} {report.recall[1]:6.1%}   (95 % interval {inside.low:.1%} to {inside.high:.1%})"
            )
        page = self.folder / "report.html"
        lines += ["", f"Open {page} in a browser: numbers, queries, failures.", "", "What to type next:"]
        return "\n".join([*lines, *(f"  {command}\n      {why}" for command, why in self.commands)])


def demo(
    out: str | Path | None = None,
    *,
    world: str | None = None,
    train: bool = False,
    size: str = "demo",
    steps: int | None = None,
    seed: int = 0,
    preset: str | None = None,
    device: str = "auto",
    progress: bool = False,
) -> DemoResult:
    """Go from nothing to a searched catalogue and a page about it.

    Args:
        out: a folder that does not exist yet; gets `gallery/`, `catalogue/`, `report.html` and, where models are
            trained, `runs/`. None: the first of `demo`, `demo-2`, … that is free.
        world: `wardrobe` or `shapes`; None: wardrobe, or shapes where models are trained.
        train: train ITMA and three models to compare it with, instead of opening the model that comes with itma.
        size: size of the world.
        steps: training steps of each model; None: the preset's.
        seed: decides everything random.
        preset: the recipe that all four models are trained by; None: the one meant for the world.
        device: `auto`, `cpu`, `cuda`, …
        progress: show progress bars.

    Raises:
        DataError: `out` exists.
        ConfigError: `steps` or `preset` without `train`.
        UnknownNameError: there is no such world, or no model of it comes with itma.
        StorageError: the disk is full or `out` cannot be written to.
    """
    begun = time.perf_counter()
    if not train and (steps is not None or preset is not None):
        raise ConfigError("steps and preset are those of a training; give --train too, or leave them out")
    world = world or ("shapes" if train else "wardrobe")
    if world not in WORLDS:
        raise UnknownNameError("generated world", world, WORLDS)
    ready = None if train else find_shipped_folder(world)
    out = free_folder("demo") if out is None else Path(out)
    if out.exists():
        raise DataError(f"{str(out)!r} exists already; remove it or choose another folder with --out")
    torch_device = device_named(device)
    data = DataConfig(world, size=size, seed=seed)
    test = load(data, "test", progress=progress, device=torch_device)
    results, evaluations = [], {}
    for name, folder in {"itma": ready}.items() if ready else _train(out, data, test, steps, preset, device, progress):
        model = Retriever.load(folder).to(torch_device)
        title = MODELS[name]
        weights = weights_sum(folder)
        (evaluation,) = evaluate(
            model, test.triplets, protocols=[test.protocol()], progress=progress, model_name=title, weights=weights
        )
        if train:
            evaluation.write(folder / f"evaluation-{world}-test")
        evaluations[name] = evaluation
        parameters = sum(parameter.numel() for parameter in model.parameters())
        curve = [] if ready else read_metrics(folder)
        seconds = curve[-1]["seconds"] if curve else read_provenance(folder, weights).seconds or 0.0
        results.append(ModelResult(name, title, evaluation.report, curve, parameters, seconds))
    run: str | Path = world if ready else out / "runs" / "itma"
    retriever = Retriever.load(run).to(torch_device)
    right, wrong = _choose_rows(evaluations["itma"], seed)
    if world == "shapes":
        gallery = galleries.of_shapes(test.triplets, retriever.preprocess, out / "gallery", right, progress=progress)
    else:
        gallery = galleries.of_wardrobe(size, seed, out / "gallery", progress=progress)
    catalogue = Catalogue.build(run, gallery.source, out / "catalogue", device=torch_device, progress=progress)
    questions, commands = gallery.ask(catalogue), _commands(out, run, world, gallery.example, train)
    seconds = time.perf_counter() - begun
    machine = f"{platform.system()} {platform.machine()} ({torch_device.type}, {os.cpu_count()} cores)"
    versions = f"itma {__version__}, torch {torch.__version__}"
    story = DemoStory(
        models=results,
        successes=_examples(retriever.preprocess, evaluations["itma"], right),
        failures=_examples(retriever.preprocess, evaluations["itma"], wrong),
        questions=questions,
        world=_about(world, evaluations["itma"]),
        commands=commands,
        made_with=f"{versions}, {machine}, seed {seed}, {seconds:.0f} seconds in all",
    )
    write_page(story, out / "report.html")
    reports = {name: evaluation.report for name, evaluation in evaluations.items()}
    return DemoResult(out, reports, str(run), commands, seconds)


def _train(
    out: Path, data: DataConfig, test: Split, steps: int | None, preset: str | None, device: str, progress: bool
) -> Iterator[tuple[str, Path]]:
    """Train one model after the other; (composer, run folder)."""
    learned = load(data, "train", progress=progress, device=device_named(device)).triplets
    changes = {"data.size": data.size, "data.seed": str(data.seed), "train.seed": str(data.seed)}
    if steps is not None:
        changes["train.steps"] = str(steps)
    train = partial(api.train, data.name, preset=preset, changes=changes, device=device, progress=progress)
    for name in MODELS:
        yield name, train(model=name, out=out / "runs" / name, triplets=(learned, test.triplets))


def _choose_rows(evaluation: Evaluation, seed: int) -> tuple[list[int], list[int]]:
    """Rows to show: right ones and wrong ones, drawn at random and spread over the kinds of change."""
    triplets = evaluation.triplets
    random = np.random.Generator(np.random.PCG64(seed))
    order = random.permutation(len(evaluation.ranks))

    def choose(fits: np.ndarray, count: int) -> list[int]:
        by_kind: dict[str, list[int]] = {}
        for row in order[fits[order]].tolist():
            by_kind.setdefault(triplets.kinds[row] if triplets.kinds else "", []).append(row)
        in_turn = chain.from_iterable(zip_longest(*by_kind.values()))
        return list(islice((row for row in in_turn if row is not None), count))

    return choose(evaluation.ranks == 1, 8), choose(evaluation.ranks > 1, 6)


def _examples(size: Preprocess, evaluation: Evaluation, rows: Sequence[int]) -> list[Example]:
    triplets, examples = evaluation.triplets, []
    for row, (best, scores) in zip(rows, evaluation.top(rows, k=galleries.HITS), strict=True):
        images = [int(triplets.references[row]), int(triplets.targets[row]), *map(int, best)]
        reference, target, *pictures = triplets.images.load(images, size)
        label = triplets.labels[triplets.targets[row]]
        hits = [
            ImageHit(pixels, float(score), bool(triplets.labels[index] == label))
            for pixels, score, index in zip(pictures, scores, best, strict=True)
        ]
        kind = triplets.kinds[row] if triplets.kinds else ""
        examples.append(Example(reference, triplets.feedback[row], kind, hits, int(evaluation.ranks[row]), target))
    return examples


def _about(world: str, evaluation: Evaluation) -> str:
    counts = (
        f"Test: {evaluation.report.gallery:,} images, {evaluation.report.queries:,} queries; every query has near "
        "misses in the gallery: the same with other changes."
    )
    if world == "shapes":
        return (
            "Generated scenes of cubes, spheres and cylinders in eight colours and two sizes on a grid of nine places; "
            f"no combination of shape and colour in the test was ever seen in training. {counts}"
        )
    return (
        "Generated clothes in eight categories, sixteen colours and six patterns, with sleeves, lengths, necklines and "
        "prints, and requests as people type them; no combination of category and colour in the test was ever seen in "
        f"training, nor any of its sentences. {counts}"
    )


def _commands(
    out: Path, run: str | Path, world: str, example: tuple[Path, str], trained: bool
) -> list[tuple[str, str]]:
    (image, sentence), itma = example, program()
    model = f"the model {str(run)!r}" if is_shipped(run) else "the demo's model"
    commands = [
        (f"{itma} search {out / 'catalogue'} --image {image} --text '{sentence}'", "Ask the catalogue yourself."),
        (f"{itma} serve {out / 'catalogue'}", "The same in a browser: a search page and an HTTP API (extra serve)."),
        (
            f"{itma} index photos FOLDER my-catalogue",
            f"Index photographs of your own, with the model for them; {model} knows the {world} world only.",
        ),
    ]
    if trained:
        preset = "hour" if world == "shapes" else "wardrobe-hour"
        commands += [
            (f"{itma} train {world} --preset {preset}", "Train a far better model, in about an hour of CPU."),
            (f"tensorboard --logdir {out / 'runs'}", "Look at the training runs."),
        ]
    else:
        commands.append((f"{itma} demo --train", "The whole path, with the training of four models, in some minutes."))
    return commands
