"""The whole path on generated pictures: world → four models → numbers → catalogue → answers → one page to look at."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from itma import stages
from itma.data.images import Preprocess, open_picture, to_pixels
from itma.data.sources import DataConfig, load
from itma.data.triplets import Triplets
from itma.demo.page import Asked, DemoStory, Example, ModelResult, Shown, write_page
from itma.errors import DataError
from itma.files import new_folder
from itma.learn.run import read_metrics
from itma.learn.train import device_named
from itma.measure.evaluate import Evaluation, evaluate
from itma.model.retriever import Retriever, weights_sum
from itma.progress import bar
from itma.records import Report
from itma.search.catalogue import Catalogue

MODELS = {"itma": "ITMA", "tirg": "TIRG", "picture-only": "picture only", "words-only": "words only"}
"""Composer → its name on the page; ITMA first."""
SHOWN = 5
"""Hits shown for each query."""


@dataclass(frozen=True)
class DemoResult:
    """What `demo` leaves behind."""

    folder: Path
    reports: dict[str, Report]
    """Model → what was measured on scenes never seen."""
    seconds: float

    def __str__(self) -> str:
        ours = self.folder / "runs" / "itma"
        sample = min((self.folder / "gallery").glob("*.png"))
        lines = [
            f"\nDone in {self.seconds / 60:.1f} minutes. recall@1 on scenes of combinations never seen in training:"
        ]
        for name, report in self.reports.items():
            inside = report.interval[1]
            lines.append(
                f"  {MODELS[name]:<13s} {report.recall[1]:6.1%}   (95 % interval {inside.low:.1%} to {inside.high:.1%})"
            )
        lines += [
            "",
            f"Open {self.folder / 'report.html'} in a browser: table, curves, queries, failures.",
            "",
            "What to type next:",
            f"  itma search {self.folder / 'catalogue'} --image {sample} --text 'remove red object'",
            f"  itma evaluate {ours}",
            f"  itma index {ours} FOLDER_OF_PICTURES my-catalogue",
            "  itma train shapes --preset hour          # a far better model, in an hour",
        ]
        return "\n".join(lines)


def demo(
    out: str | Path | None = None,
    *,
    size: str = "demo",
    steps: int | None = None,
    seed: int = 0,
    preset: str = "demo",
    device: str = "auto",
    progress: bool = False,
) -> DemoResult:
    """Go the whole way from nothing to a searched catalogue and a page that tells of it.

    Args:
        out: a folder that does not exist yet; gets `runs/`, `gallery/`, `catalogue/` and `report.html`. Absent: the
            first of `demo`, `demo-2`, … that is free.
        size: size of the shapes world.
        steps: training steps of each model; absent: the preset's.
        seed: decides everything random.
        preset: the recipe that all four models are trained by.
        device: `auto`, `cpu`, `cuda`, …
        progress: show progress bars.

    Raises:
        DataError: `out` exists.
        StorageError: the disk is full or `out` cannot be written to.
    """
    begun = time.perf_counter()
    out = _free_folder() if out is None else Path(out)
    if out.exists():
        raise DataError(f"{str(out)!r} exists already; remove it or choose another folder with --out")
    place = device_named(device)
    data = DataConfig("shapes", size=size, seed=seed)
    train_split, test_split = (
        load(data, split, progress=progress, device=place).triplets for split in ("train", "test")
    )
    changes = {"data.size": size, "data.seed": str(seed), "train.seed": str(seed)}
    if steps is not None:
        changes["train.steps"] = str(steps)
    results, evaluations = [], {}
    for name, title in MODELS.items():
        folder = out / "runs" / name
        stages.train(
            "shapes",
            model=name,
            preset=preset,
            changes=changes,
            out=folder,
            device=device,
            triplets=(train_split, test_split),
            progress=progress,
        )
        model = Retriever.load(folder).to(place)
        evaluation = evaluate(model, test_split, progress=progress, model_name=title, weights=weights_sum(folder))[0]
        evaluation.write(folder / "evaluation-shapes-test")
        evaluations[name] = evaluation
        parameters = sum(parameter.numel() for parameter in model.parameters())
        curve = read_metrics(folder)
        results.append(ModelResult(name, title, evaluation.report, curve, parameters, curve[-1]["seconds"]))
    ours = Retriever.load(out / "runs" / "itma").to(place)
    write_gallery(test_split, ours.preprocess, out / "gallery", progress=progress)
    catalogue = Catalogue.build(
        out / "runs" / "itma", out / "gallery", out / "catalogue", device=place, progress=progress
    )
    right, wrong = _chosen_rows(test_split, evaluations["itma"], seed)
    seconds = time.perf_counter() - begun
    story = DemoStory(
        models=results,
        successes=_examples(ours.preprocess, evaluations["itma"], right),
        failures=_examples(ours.preprocess, evaluations["itma"], wrong),
        asked=_questions(catalogue, test_split, out / "gallery", right),
        world=_about(train_split, test_split),
        commands=_commands(out),
        made_with=f"itma {stages.installed_version()}, torch {torch.__version__}, {platform.system()} "
        f"{platform.machine()} ({place.type}, {os.cpu_count()} cores), seed {seed}, {seconds:.0f} seconds in all",
    )
    write_page(story, out / "report.html")
    return DemoResult(out, {name: evaluation.report for name, evaluation in evaluations.items()}, seconds)


def _free_folder() -> Path:
    folder, number = Path("demo"), 2
    while folder.exists():
        folder, number = Path(f"demo-{number}"), number + 1
    return folder


def write_gallery(triplets: Triplets, size: Preprocess, folder: Path, *, progress: bool) -> None:
    """Write a split's pictures as PNG files, for the catalogue and for a person to point at."""
    with new_folder(folder) as draft, bar("writing the gallery", show=progress, total=len(triplets.labels)) as meter:
        for first in range(0, len(triplets.labels), 100):
            rows = range(first, min(first + 100, len(triplets.labels)))
            for row, pixels in zip(rows, triplets.pictures.load(list(rows), size), strict=True):
                name = triplets.pictures.names[row]
                path = draft / (name if name.endswith(".png") else f"{name}.png")
                Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
                meter.update()


def _chosen_rows(triplets: Triplets, evaluation: Evaluation, seed: int) -> tuple[list[int], list[int]]:
    """Rows to show: right ones and wrong ones, drawn at random and spread over the kinds of change."""
    random = np.random.Generator(np.random.PCG64(seed))
    order = random.permutation(len(triplets))
    chosen: tuple[list[int], list[int]] = ([], [])
    for rows, fits, wanted in zip(chosen, (evaluation.ranks == 1, evaluation.ranks > 1), (8, 6), strict=True):
        fitting = [int(row) for row in order if fits[row]]
        kinds = [triplets.kinds[row] if triplets.kinds else "" for row in fitting]
        turns = {
            kind: [row for row, other in zip(fitting, kinds, strict=True) if other == kind]
            for kind in dict.fromkeys(kinds)
        }
        while len(rows) < min(wanted, len(fitting)):
            for waiting in turns.values():
                if waiting and len(rows) < wanted:
                    rows.append(waiting.pop(0))
    return chosen


def _examples(size: Preprocess, evaluation: Evaluation, rows: Sequence[int]) -> list[Example]:
    triplets, examples = evaluation.triplets, []
    for row, (best, scores) in zip(rows, evaluation.top(rows, k=SHOWN), strict=True):
        wanted = [int(triplets.references[row]), int(triplets.targets[row]), *map(int, best)]
        reference, target, *hits = triplets.pictures.load(wanted, size)
        label = triplets.labels[triplets.targets[row]]
        shown = [
            Shown(pixels, float(score), bool(triplets.labels[index] == label))
            for pixels, score, index in zip(hits, scores, best, strict=True)
        ]
        kind = triplets.kinds[row] if triplets.kinds else ""
        examples.append(Example(reference, triplets.feedback[row], kind, shown, int(evaluation.ranks[row]), target))
    return examples


def _questions(catalogue: Catalogue, triplets: Triplets, gallery: Path, rows: Sequence[int]) -> list[Asked]:
    """Three questions: picture and sentence, picture alone, sentence alone."""
    row = rows[0] if rows else 0
    name = triplets.pictures.names[triplets.references[row]]
    path = gallery / (name if name.endswith(".png") else f"{name}.png")
    sentence = triplets.feedback[row]
    reference = to_pixels(open_picture(path))
    label = triplets.labels[triplets.targets[row]]
    right = {
        f"{Path(triplets.pictures.names[index]).stem}.png"
        for index in np.flatnonzero(triplets.labels == label).tolist()
    }

    def ask(title: str, image: Path | None, text: str | None) -> Asked:
        hits = catalogue.search(image=image, text=text, k=SHOWN)
        answers = [
            Shown(
                to_pixels(open_picture(hit.path)), hit.score, image is not None and text is not None and hit.id in right
            )
            for hit in hits
        ]
        return Asked(title, None if image is None else reference, text, answers)

    return [
        ask("A picture and a sentence", path, sentence),
        ask("The picture alone: what is like it?", path, None),
        ask("The sentence alone: what does it speak of?", None, sentence),
    ]


def _about(train_split: Triplets, test_split: Triplets) -> str:
    return (
        "Generated scenes of cubes, spheres and cylinders in eight colours and two sizes on a grid of nine places. "
        f"Training: {len(train_split.labels):,} pictures, {len(train_split):,} queries. Test: "
        f"{len(test_split.labels):,} pictures, {len(test_split):,} queries; no combination of shape and colour in the "
        "test was ever seen in training, and every query has near misses in the gallery: the same scene with other "
        "changes."
    )


def _commands(out: Path) -> list[tuple[str, str]]:
    ours = out / "runs" / "itma"
    return [
        (f"itma search {out / 'catalogue'} --image a.png --text 'make red cube blue'", "Ask the catalogue yourself."),
        (f"itma index {ours} FOLDER my-catalogue", "Index pictures of your own; this model knows shapes only."),
        ("itma train shapes --preset hour", "Train a far better model, in about an hour of CPU."),
        (f"tensorboard --logdir {out / 'runs'}", "Look at the training runs."),
    ]
