"""How cost grows: with the gallery, the size of images, the batch, the words and the clients; one small plot each."""

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from bench.performance.rows import seconds_of
from bench.performance.searching import WORDS, model_of
from itma.retrieval.exact import nearest

CURVES = {
    "gallery": ("items", "one search among all of them"),
    "pixels": ("side of an image", "one image embedded, of a batch of 8"),
    "batch": ("images at once", "one image of 96×64 embedded"),
    "words": ("words of a sentence", "one sentence and reference, of a batch of 8"),
    "clients": ("queries at once", "one query's embedding, its reference known"),
}
"""Curve → what grows, and of what the milliseconds are."""
_POINTS = {
    "full": {
        "gallery": (10_000, 30_000, 100_000, 300_000, 1_000_000),
        "pixels": (64, 96, 128, 192, 224, 320),
        "batch": (1, 2, 4, 8, 16, 32, 64),
        "words": (1, 4, 8, 16, 32, 64),
        "clients": (1, 2, 4, 8, 16, 32, 64),
    },
    "tiny": dict.fromkeys(CURVES, (8, 16)),
}


def measure_curves(size: str = "full") -> dict[str, list[tuple[int, float]]]:
    """Curve → (what grows, milliseconds of the processor)."""
    model = model_of(size).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    side = model.preprocess.height
    maps = model.feature_maps(torch.zeros(1, 3, side, side, dtype=torch.uint8))

    def images(count: int, height: int, width: int) -> Callable[[], object]:
        pixels = torch.zeros(count, 3, height, width, dtype=torch.uint8)
        return lambda: model.embed_images(pixels)

    def queries(count: int, words: int) -> Callable[[], object]:
        batch = [level.expand(count, -1, -1, -1) for level in maps]
        texts = [" ".join(WORDS[number % len(WORDS)] for number in range(words))] * count
        return lambda: model.embed_queries_from(batch, texts)

    def gallery(count: int) -> Callable[[], object]:
        rows = np.random.default_rng(0).random((count, 512), dtype=np.float32)
        names = [str(number) for number in range(count)]
        return lambda: list(nearest(rows[:1], rows, names, 24))

    calls: Mapping[str, Callable[[int], tuple[Callable[[], object], int]]] = {
        "gallery": lambda count: (gallery(count), 1),
        "pixels": lambda pixels: (images(8, pixels, pixels), 8),
        "batch": lambda count: (images(count, 64, 96), count),
        "words": lambda words: (queries(8, words), 8),
        "clients": lambda count: (queries(count, 4), count),
    }
    curves: dict[str, list[tuple[int, float]]] = {}
    for name, points in _POINTS["tiny" if size == "tiny" else "full"].items():
        curves[name] = []
        for point in points:
            call, things = calls[name](point)
            curves[name].append((point, 1000 * seconds_of(call) / things))
        print(name, curves[name], time.strftime("%H:%M:%S"), flush=True)
    return curves


def plot(points: list[list[float]], x_name: str, y_name: str) -> str:
    """A line over two logarithmic axes, as SVG."""
    width, height, left, top, bottom = 460, 240, 56, 30, 44
    (x_low, x_high), (y_low, y_high) = (
        (min(values), max(values)) for values in zip(*[[math.log10(v) for v in point] for point in points], strict=True)
    )
    y_low, y_high = math.floor(y_low), max(math.ceil(y_high), math.floor(y_low) + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x_low) / (x_high - x_low or 1)
        up = (math.log10(y) - y_low) / (y_high - y_low)
        return left + across * (width - left - 24), height - bottom - up * (height - top - bottom)

    size = f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="#777"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>']
    for power in range(y_low, y_high + 1):
        y = at(10**x_low, 10.0**power)[1]
        parts.append(f'<path d="M{left} {y:.1f}H{width - 24}" stroke="#ccc"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for x, _ in points:
        parts.append(f'<text x="{at(x, 1)[0]:.1f}" y="{height - bottom + 18}" text-anchor="middle">{x:,.0f}</text>')
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
    parts.append(f'<polyline points="{places}" fill="none" stroke="#3f6fb5" stroke-width="2"/>')
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#3f6fb5"/>' for x, y in (at(*p) for p in points)]
    parts.append(f'<text x="{left}" y="14">milliseconds: {y_name}</text>')
    parts.append(f'<text x="{width - 24}" y="{height - 6}" text-anchor="end">{x_name}</text></svg>')
    return "\n".join(parts) + "\n"


def draw(measured: Path, folder: Path) -> list[str]:
    """One SVG for each curve of a file; their names."""
    curves = json.loads(measured.read_text(encoding="utf-8"))
    for name, points in curves.items():
        (folder / f"{name}.svg").write_text(plot(points, *CURVES[name]), encoding="utf-8")
    return list(curves)
