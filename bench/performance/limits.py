"""What the machine can do at most, measured by the plainest program for it, in the process that wants to know."""

import time
from pathlib import Path

import torch
from PIL import Image

from bench.performance.rows import seconds_of


def products_a_second(dtype: torch.dtype = torch.float32, *, side: int = 1024, device: str = "cpu") -> float:
    """Floating-point operations a second of a square matrix product."""
    matrix = torch.randn(side, side, device=device).to(dtype)

    def call() -> None:
        torch.mm(matrix, matrix)
        if device != "cpu":
            torch.cuda.synchronize()

    return 2 * side**3 / seconds_of(call)


def bytes_a_second(megabytes: int = 200) -> float:
    """Bytes that one thread reads from memory, by a sum over more than any cache holds."""
    numbers = torch.ones(megabytes * 250_000)
    return 4 * len(numbers) / seconds_of(numbers.sum)


def decode_seconds(paths: list[Path]) -> float:
    """Seconds in which Pillow alone decodes some JPEGs, at the scale that a network of 224 pixels wants."""
    begun = time.process_time()
    for path in paths:
        with Image.open(path) as image:
            image.draft("RGB", (448, 448))
            image.load()
    return time.process_time() - begun
