"""What it costs to train in several processes: a plain run beside `torchrun` with one and with two.

python bench/processes.py

Seconds are those of the processor, of all processes together, for one step: the difference of a long and a short run,
so that the start of Python counts for nothing. Beside them the start, and how far the weights of the short run are from
those of the plain one (without dropout, which each process draws for itself).
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from itma.models.retriever import Retriever

RUNS = {"one process": (), "torchrun, one": (1,), "torchrun, two": (2,)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs=2, default=(2, 42), metavar=("SHORT", "LONG"))
    parser.add_argument("--preset", default="demo")
    args = parser.parse_args()
    short, long = args.steps
    print("| run | a step, s | start and end, s | largest difference of a weight |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        plain = None
        train(Path(temporary) / "first", (), 1, args.preset)  # draws the world, fills the cache
        for name, count in RUNS.items():
            took = [train(Path(temporary) / f"{name} {steps}", count, steps, args.preset) for steps in (short, long)]
            step = (took[1] - took[0]) / (long - short)
            model = Retriever.load(Path(temporary) / f"{name} {short}").state_dict()
            plain = plain or model
            apart = max(float((model[key].float() - plain[key].float()).abs().max()) for key in plain)
            print(f"| {name} | {step:.3f} | {took[0] - short * step:.1f} | {apart:.1e} |", flush=True)


def train(folder: Path, count: tuple[int, ...], steps: int, preset: str) -> float:
    """Seconds of the processor of one training of the generated shapes."""
    command = [sys.executable, "-m"]
    if count:
        command += ["torch.distributed.run", "--standalone", f"--nproc-per-node={count[0]}", "-m"]
    command += ["itma", "--quiet", "train", "shapes", "--preset", preset, "--steps", str(steps), "--out", str(folder)]
    command += ["--device", "cpu", "--set", f"train.evaluate_every={steps}", "--set", "model.text_encoder.dropout=0"]
    own = {**os.environ, "OMP_NUM_THREADS": "1", "ITMA_CACHE": str(folder.parent / "cache")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=own, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
