"""How fast the generated worlds are drawn: `python bench/render.py [--device cuda]`.

Every row of the shapes world draws the same images, with culling and without, in turns, and takes the median of the
turns; the wardrobe world is drawn on one core. Run it on a machine that does nothing else.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from itma.data.synthetic import wardrobe
from itma.data.synthetic.shapes import SIZES, World

_SIZES = {"demo": 64, "css": 32}
"""World → images that are drawn in one turn."""
_WARDROBE = {"demo": 64, "full": 32}
"""Size of the wardrobe world → images that are drawn in one turn."""
_TURNS = 5


def seconds(work: Callable[[], object], device: torch.device) -> float:
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--threads", default=[1, 2], type=int, nargs="+")
    parser.add_argument("--batch", default=None, type=int, help="images at once; absent: all of a turn")
    options = parser.parse_args()
    device: torch.device = options.device
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name(device) if device.type == 'cuda' else device}")
    print("image    threads    culled    not culled    gain    things an image")
    for size, count in _SIZES.items():
        world = World(SIZES[size])
        split, images = world.split("train"), range(world.config.images("train"))
        indices = [images[index * len(images) // count] for index in range(count)]
        things = sum(len(split.scenes[index]) for index in indices) / count
        batch = options.batch or count

        def draw(*, cull: bool) -> None:
            for start in range(0, count, batch):  # noqa: B023 - called within this turn of the loop only
                world.render("train", indices[start : start + batch], device, cull=cull)  # noqa: B023

        for threads in options.threads if device.type == "cpu" else options.threads[:1]:
            torch.set_num_threads(threads)
            durations: dict[bool, list[float]] = {True: [], False: []}
            for turn in range(_TURNS + 1):
                for cull in (True, False):
                    elapsed = seconds(lambda cull=cull: draw(cull=cull), device)  # type: ignore[misc]
                    if turn:  # the first one warms up
                        durations[cull].append(elapsed)
            culled, unculled = (count / statistics.median(durations[cull]) for cull in (True, False))
            shape = f"{world.config.width}×{world.config.height}"
            print(
                f"{shape:<10s} {threads:7d} {culled:7.0f}/s {unculled:11.1f}/s {culled / unculled:6.1f}× {things:17.1f}"
            )
    torch.set_num_threads(1)
    print("\nwardrobe   images")
    for size, count in _WARDROBE.items():
        clothes = wardrobe.World(wardrobe.SIZES[size])
        clothes.render("train", range(4))  # the first ones warm up
        turns = [seconds(lambda c=clothes, n=count: c.render("train", range(n)), device) for _ in range(_TURNS)]  # type: ignore[misc]
        shape = f"{clothes.config.width}×{clothes.config.height}"
        print(f"{shape:<10s} {count / statistics.median(turns):7.0f}/s")


if __name__ == "__main__":
    main()
