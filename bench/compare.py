"""Every model by one recipe on one world: `python bench/compare.py [--models itma,tirg] [--seeds 3]`.

Prints a table of test recall@1 for each model: the mean over seeds, the lowest and the highest, and the share of the
training time that the first model takes. Runs go to a folder that is named at the start, and can be looked at with
TensorBoard.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from itma import api
from itma.data.sources import load
from itma.models.composers import REGISTRY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(REGISTRY), help="names, with commas between")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--seeds", type=int, default=1, help="how many; seed 0 first")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="changes")
    asked = parser.parse_args()
    changes = dict(change.split("=", 1) for change in asked.changes)
    settings = api.settings_for(preset=asked.preset, changes=changes)
    triplets = tuple(load(settings.data, split, progress=True).triplets for split in ("train", "test"))
    folder = Path(tempfile.mkdtemp(prefix="compare-"))
    print(f"runs: {folder}; {len(triplets[0]):,} training rows, {len(triplets[1]):,} test queries\n")
    print("| model | recall@1 | lowest to highest | recall@10 | training time |\n|---|---|---|---|---|")
    first = None
    for name in asked.models.split(","):
        ones, tens, seconds = [], [], []
        for seed in range(asked.seeds):
            begun = time.perf_counter()
            run = api.train(
                model=name,
                preset=asked.preset,
                changes=changes | {"train.seed": str(seed)},
                out=folder / f"{name}-{seed}",
                triplets=(triplets[0], triplets[1]),
                progress=True,
            )
            seconds.append(time.perf_counter() - begun)
            report = api.evaluate(run)
            ones.append(report.recall[1])
            tens.append(report.recall[10])
        first = first or statistics.median(seconds)
        cells = (
            name,
            f"{statistics.mean(ones):.1%}",
            f"{min(ones):.1%} to {max(ones):.1%}",
            f"{statistics.mean(tens):.1%}",
            f"{statistics.median(seconds) / first:.2f} ×",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
