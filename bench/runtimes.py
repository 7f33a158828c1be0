"""What computes a model's answers, side by side: torch in float32 and in bf16, ONNX in float32 and in int8.

    python bench/runtimes.py [--run RUN | --set NAME=VALUE …] [--batches 1,32] [--turns 15] [--pause 0.2]

Prints milliseconds a query (image and sentence, from pixels to embedding) and images a second (as for a catalogue),
with the gain over torch in float32, and recall@1 on the run's own test split. Without `--run` a model is trained first:
ResNet-18 at 224×224, stages 3 and 4, with ITMA's head, on the shapes world of size demo stretched to that size; `--set`
changes single settings, and the folder of the run is named, so that it can be given next time. The int8 graphs are
calibrated on images of the same world.

The ways take turns, with a pause before each so that the threads of the one before have come to rest; a number is the
median over all calls. Tokenising is counted, decoding and resizing of images are not. Measure on an idle machine:
other work slows torch's threads, which wait for one another, more than it slows onnxruntime's. The load at the
beginning is printed with the table.
"""

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import onnxruntime
import torch

from itma import api
from itma.evaluation.evaluate import evaluate
from itma.export.runtimes import open_model
from itma.interop import exchange
from itma.models.embedder import Embedder
from itma.models.retriever import Retriever

TRAINING = {
    "data.size": "demo",
    "model.preprocess.fit": "stretch",
    "train.steps": "400",
    "train.batch": "96",
    "train.per_reference": "3",
    "train.learning_rate": "2e-3",
    "train.image_encoder_rate": "1",
    "train.crop": "0",
    "train.flip": "false",
    "train.evaluate_every": "400",
}
"""What differs from the preset `photos`, for a training from scratch of about 25 minutes on two cores."""


def seconds(ways: dict[str, Callable[[], object]], turns: int, pause: float) -> dict[str, float]:
    """The median seconds of each way's calls, which take turns."""
    durations: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, call in ways.items():
            time.sleep(pause)
            call()  # wakes the threads, and is not counted
            for _ in range(3):
                begun = time.perf_counter()
                call()
                durations[name].append(time.perf_counter() - begun)
    return {name: statistics.median(values) for name, values in durations.items()}


def trained(changes: dict[str, str], folder: Path) -> Path:
    begun = time.perf_counter()
    run = api.train(
        "shapes", model="itma", preset="photos", changes=TRAINING | changes, out=folder / "run", progress=True
    )
    print(f"trained in {(time.perf_counter() - begun) / 60:.0f} minutes: --run {run}")
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run that was trained on the shapes world")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="changes")
    parser.add_argument("--batches", default="1,32", help="numbers of images or queries, with commas between")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds")
    parser.add_argument("--threads", type=int, help="of torch and of onnxruntime; absent: as torch chooses")
    args = parser.parse_args()
    load = (
        f"; {os.cpu_count()} processors, load of others {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    )
    if args.threads:
        torch.set_num_threads(args.threads)
    folder = Path(tempfile.mkdtemp(prefix="runtimes-"))
    run = args.run or trained(dict(change.split("=", 1) for change in args.changes), folder)
    settings = api.read_run(run)
    images = api.generate(settings.data.name, folder / "world", size=settings.data.size, seed=settings.data.seed)
    print(exchange.quantise(run, images / "images", recall=False, progress=True), end="\n\n")

    first = Retriever.load(run)
    models: dict[str, Embedder] = {
        "torch float32": first,
        "torch bf16": open_model(run, runtime="torch-bf16"),
        "ONNX float32": open_model(run, runtime="onnx"),
        "ONNX int8": open_model(run, runtime="onnx-int8"),
    }
    split, _, _ = api.load_measured_split(run, first.preprocess, changes={"root": str(images)})
    recall = {
        name: evaluate(model, split.triplets, protocols=[split.protocol()], intervals=False)[0].report
        for name, model in models.items()
    }
    batches = [int(batch) for batch in args.batches.split(",")]
    columns: list[dict[str, float]] = []
    for batch in batches:
        test = split.triplets
        pixels = test.images.load([index % len(test.labels) for index in range(batch)], first.preprocess)
        feedback = [test.feedback[row % len(test)] for row in range(batch)]
        query, image = (
            functools.partial(ask, pixels, feedback),
            functools.partial(show, pixels),
        )
        for call in (query, image):
            ways = {name: functools.partial(call, model) for name, model in models.items()}
            columns.append(seconds(ways, args.turns, args.pause))
    size = f"{first.preprocess.height}×{first.preprocess.width}"
    parameters = sum(parameter.numel() for parameter in first.parameters())
    print(
        f"{first.name} on {settings.model.image_encoder.name} at {size}, {parameters:,} parameters; "
        f"{torch.get_num_threads()} threads{load}; torch {torch.__version__}, onnxruntime {onnxruntime.__version__}; "
        f"recall of {recall['torch float32'].queries:,} queries against {recall['torch float32'].gallery:,} images\n"
    )
    heads = [f"{what}, batch {batch}" for batch in batches for what in ("ms a query", "images a second")]
    print(f"| | {' | '.join(heads)} | recall@1 |\n|---|{'---|' * (len(heads) + 1)}")
    for name in models:
        cells = []
        for number, (column, batch) in enumerate(zip(columns, [b for b in batches for _ in range(2)], strict=True)):
            value = 1e3 * column[name] / batch if number % 2 == 0 else batch / column[name]
            cells.append(f"{value:,.1f} ({column['torch float32'] / column[name]:.2f} ×)")
        print(f"| {name} | {' | '.join(cells)} | {recall[name].recall[1]:.1%} |")


def ask(pixels: torch.Tensor, feedback: Sequence[str], model: Embedder) -> None:
    model.embed_queries(pixels, feedback)


def show(pixels: torch.Tensor, model: Embedder) -> None:
    model.embed_images(pixels)


if __name__ == "__main__":
    main()
