"""What it is worth to keep freed memory: EfficientNet-Lite0's forward pass and a training step, in two processes.

python bench/allocation.py

Each side runs in a process of its own, since the allocator is one for the whole process; they take turns.
"""

import os
import subprocess
import sys

CODE = """
import sys, time, resource, torch
from itma.allocation import reuse_memory
from itma.models.image_encoders.hub import LiteEncoder
if sys.argv[1] == "kept":
    assert reuse_memory()
image_encoder = LiteEncoder({"name": "efficientnet-lite0"}, (5, 7)).eval().to(memory_format=torch.channels_last)
images = torch.randn(64, 3, 128, 96).contiguous(memory_format=torch.channels_last)
def forward():
    with torch.inference_mode():
        image_encoder(images)
def step():
    sum(level.mean() for level in image_encoder(images)).backward()
for work in (forward, step):
    work()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    for _ in range(4):
        work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(256 / (time.perf_counter() - start), after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime)
"""
TURNS = 3


def main() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    best: dict[tuple[str, str], tuple[float, ...]] = {}
    for _ in range(TURNS):
        for side in ("usual", "kept"):
            done = subprocess.run(
                [sys.executable, "-c", CODE, side], check=True, capture_output=True, text=True, env=environment
            )
            for work, line in zip(("forward", "step"), done.stdout.splitlines(), strict=True):
                best[side, work] = max(best.get((side, work), (0.0,)), tuple(map(float, line.split())))
    print("| images a second (seconds of user, of system) | usual | kept | ratio |\n|---|---|---|---|")
    for work in ("forward", "step"):
        cells = [
            f"{best[side, work][0]:.0f} ({best[side, work][1]:.1f}, {best[side, work][2]:.1f})"
            for side in ("usual", "kept")
        ]
        print(f"| {work} | {cells[0]} | {cells[1]} | {best['kept', work][0] / best['usual', work][0]:.1f} |")


if __name__ == "__main__":
    main()
