"""How long the annotations of each data set take to load, and how much memory.

    python bench/annotations.py --fashioniq DIR --css DIR --mitstates DIR --fashion200k DIR [--large]

Every split is loaded in a process of its own. With `--large`, a made-up Fashion200k of its real size (172,000 training
images) is loaded too, since its label files are rarely at hand.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np

from itma.data import datasets

SPLITS = {
    "fashioniq": ("train", "val", "test"),
    "css": ("train", "test"),
    "mitstates": ("train", "test"),
    "fashion200k": ("train", "test"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SPLITS:
        parser.add_argument(f"--{name}", type=Path, metavar="DIR")
    parser.add_argument("--large", action="store_true", help="a made-up Fashion200k of full size as well")
    parser.add_argument("--one", nargs=3, metavar=("NAME", "ROOT", "SPLIT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(*args.one)
        return
    print("| data set | split | images | rows | seconds | MB kept | MB at the peak |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        roots = [(name, getattr(args, name)) for name in SPLITS if getattr(args, name)]
        if args.large:
            large(Path(folder))
            roots.append(("fashion200k", Path(folder)))
        for name, root in roots:
            for split in SPLITS[name][: 1 if root == Path(folder) else None]:
                words = [sys.executable, __file__, "--one", name, str(root), split]
                numbers = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
                size = " (made up, full size)" if root == Path(folder) else ""
                print(f"| {name}{size} | {split} | {' | '.join(numbers)} |")


def measure(name: str, root: str, split: str) -> None:
    datasets.load(name, root, split)  # imports, file cache
    started = time.perf_counter()
    triplets = datasets.load(name, root, split).triplets
    seconds = time.perf_counter() - started
    tracemalloc.start()  # slows loading down, so memory is told by a load of its own
    loaded = datasets.load(name, root, split)
    now, peak = (size / 2**20 for size in tracemalloc.get_traced_memory())
    assert len(loaded.triplets) == len(triplets)
    print(f"{len(triplets.labels):,} {len(triplets):,} {seconds:.2f} {now:.0f} {peak:.0f}")


def large(root: Path) -> None:
    """172,000 images with captions of four to seven of 2,000 words, common words first."""
    random = np.random.Generator(np.random.PCG64(0))
    words = np.array([f"word{number}" for number in range(2_000)])
    chance = 1 / np.arange(5, 2_005)
    captions = words[random.choice(2_000, size=(172_000, 7), p=chance / chance.sum())]
    lengths = random.integers(4, 8, size=172_000)
    lines = [
        f"women/dresses/{number // 5}/{number}.jpeg\t0.5\t{' '.join(captions[number, : lengths[number]])}"
        for number in range(172_000)
    ]
    (root / "labels").mkdir()
    (root / "labels" / "dress_train_detect_all.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
