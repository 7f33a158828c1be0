"""Images per second, decoded from their files and read from a cache, in one run.

    python bench/images.py [--folder DIR] [--images 500] [--sizes 64x96,224x224] [--batch 64] [--turns 3]

Without `--folder` it takes photographs that it makes up: JPEGs of 640×480 pixels. Every way loads all images in
random batches, as training does, on all processors; the ways take turns, and a row holds the medians. The files are
read once before, so that they come from the system's memory and not from the disk: what remains is decoding.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from itma.data.image_cache import CachedImages
from itma.data.images import FileImages, Images, Preprocess, find_images


def make_photographs(folder: Path, count: int, size: tuple[int, int] = (640, 480)) -> None:
    """Smooth colours under the noise of a sensor, which take about as long to decode as a photograph does."""
    for index in range(count):
        random = np.random.default_rng(index)
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
        noisy = (smooth + random.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{index:05d}.jpg", quality=90)


def seconds(work: Callable[..., object], *arguments: object) -> float:
    begin = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begin


def load_all(images: Images, preprocess: Preprocess, batches: list[np.ndarray]) -> None:
    for batch in batches:
        images.load(batch, preprocess)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="photographs of your own")
    parser.add_argument("--images", type=int, default=500, help="how many, at most")
    parser.add_argument("--sizes", default="64x96,224x224", help="HEIGHTxWIDTH in pixels, with commas between")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if not args.folder:
            make_photographs(folder, args.images)
        paths = find_images(folder)[: args.images]
        files = FileImages([path.name for path in paths], paths)
        megabytes = sum(len(path.read_bytes()) for path in paths) / 1e6  # and now they are in memory
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        print(
            f"{len(paths):,} images, {megabytes:,.1f} MB; batches of {args.batch}; {cores} processors, "
            f"{torch.get_num_threads()} threads in torch {torch.__version__}\n"
        )
        print("| height × width | files | cached, first pass | cached, second pass | gain | opening | cache |")
        print("|---|---|---|---|---|---|---|")
        for size in args.sizes.split(","):
            height, width = (int(side) for side in size.split("x"))
            print(measured(files, Preprocess(height=height, width=width), args.batch, args.turns), flush=True)


def measured(files: FileImages, preprocess: Preprocess, batch: int, turns: int) -> str:
    durations: dict[str, list[float]] = {"files": [], "first": [], "second": [], "opening": []}
    count, random = len(files.names), np.random.default_rng(0)
    files.load([0], preprocess)
    for _ in range(turns):
        order = random.permutation(count)
        batches = [order[begin : begin + batch] for begin in range(0, count, batch)]
        with tempfile.TemporaryDirectory() as folder:
            durations["files"].append(seconds(load_all, files, preprocess, batches))
            images = CachedImages(files, preprocess, folder)
            durations["first"].append(seconds(load_all, images, preprocess, batches))
            durations["second"].append(seconds(load_all, images, preprocess, batches))
            durations["opening"].append(seconds(CachedImages, files, preprocess, folder))
            megabytes = images.path.stat().st_size / 1e6
            del images  # Windows removes no file that is mapped
    median = {name: statistics.median(values) for name, values in durations.items()}
    cells = (
        f"{preprocess.height} × {preprocess.width}",
        *(f"{count / median[way]:,.0f}/s" for way in ("files", "first", "second")),
        f"{median['files'] / median['second']:,.0f} ×",
        f"{1000 * median['opening']:.0f} ms",
        f"{megabytes:,.1f} MB",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
