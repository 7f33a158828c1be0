"""How long a training takes to reach a recall, on the shapes world of CSS's size: 38,000 images of 180×120.

python bench/time_to_recall.py --folder FOLDER --steps 500 --every 100

Recall@1 is that of the whole test (18,000 queries, 19,000 images), which the log of a run has at every `--every` steps.
Seconds are those of the clock, with one thread, of the training alone: what is measured in between is left out. The
world is rendered into FOLDER before; runs stay there, and one that is there already is read, not made again.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

RUNS = {
    "ITMA, bf16": ("itma", "bf16"),
    "ITMA, float32": ("itma", "float32"),
    "TIRG, bf16": ("tirg", "bf16"),
}
GOALS = (0.4, 0.5, 0.6, 0.7, 0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--preset", default="hour")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--every", type=int, default=100, metavar="STEPS")
    parser.add_argument("--size", default="css", help="of the shapes world")
    parser.add_argument("--runs", nargs="*", default=list(RUNS), choices=RUNS)
    args = parser.parse_args()
    world = args.folder / "world"
    if not world.exists():
        itma(args.folder, "generate", "shapes", world, "--size", args.size)
    options = ["--root", world, "--preset", args.preset, "--steps", args.steps]
    options += ["--set", f"train.evaluate_every={args.every}"]
    print("| run | " + " | ".join(f"{goal:.0%}" for goal in GOALS) + " | recall@1 at the end |")
    print("|---" * (len(GOALS) + 2) + "|")
    for name in args.runs:
        model, precision = RUNS[name]
        run = args.folder / f"{model} {precision}"
        if not run.exists():
            own = ["--model", model, "--out", run, "--set", f"train.precision={precision}"]
            itma(args.folder, "train", "shapes", *options, *own)
        reached = read(run)
        cells = [next((f"{seconds:.0f} s" for seconds, recall in reached if recall >= goal), "–") for goal in GOALS]
        seconds, recall = reached[-1]
        print(f"| {name} | {' | '.join(cells)} | {recall:.1%} after {seconds:.0f} s |", flush=True)


def itma(folder: Path, *words: object) -> None:
    """A command in a process of its own."""
    own = {**os.environ, "OMP_NUM_THREADS": "1", "ITMA_CACHE": str(folder / "cache")}
    subprocess.run([sys.executable, "-m", "itma", *map(str, words)], env=own, check=True, stdout=subprocess.DEVNULL)


def read(run: Path) -> list[tuple[float, float]]:
    """(seconds of training, recall@1 of the test) at each look of a run."""
    trained, before, now = 0.0, 0.0, 0.0
    looks = []
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        numbers = json.loads(line)
        if "loss" in numbers:
            now = numbers["seconds"]
        else:
            trained, before = trained + now - before, numbers["seconds"]
            looks.append((trained, numbers["test/recall@1"]))
    return looks


if __name__ == "__main__":
    main()
