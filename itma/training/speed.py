"""How fast a training is, measured against what the device could do, and how it is kept fast there."""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from itma.data.images import MemoryImages, Preprocess
from itma.data.triplets import Triplets
from itma.progress import bar

log = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")

_AT_ONCE = 256
"""Images that are decoded together."""


@contextmanager
def count_products(model: nn.Module) -> Iterator[Callable[[], float]]:
    """Count the floating-point operations of a training step: those of convolutions and linear maps.

    Products with activations alone (attention's two) and LSTMs are left out; they are a few percent. A product is
    counted once forwards, and once more backwards for each of its factors that wants a gradient.

    Args:
        model: what the step runs.

    Yields:
        What says how many operations there were so far.
    """
    total = 0.0

    def count(module: Any, inputs: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
        nonlocal total
        passes = 1
        if torch.is_grad_enabled():
            passes += module.weight.requires_grad + inputs[0].requires_grad
        total += 2.0 * result.numel() * module.weight[0].numel() * passes

    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    try:
        yield lambda: total
    finally:
        for handle in handles:
            handle.remove()


def load_ahead(load: Callable[[int], Loaded], numbers: Sequence[int]) -> Generator[tuple[int, Loaded], None, None]:
    """Each number with what `load` makes of it; the next is loaded in a thread while the present one is worked on."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = [pool.submit(load, number) for number in numbers[:1]]
        for position, number in enumerate(numbers, start=1):
            loaded = ahead.pop().result()
            ahead += [pool.submit(load, following) for following in numbers[position : position + 1]]
            yield number, loaded


@cache
def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a plain matrix product on a device, the fastest of a few."""
    side = 768 if device.type == "cpu" else 8192
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        torch.mm(matrix, matrix)[0, 0].item()  # waits for the device
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on its way to a device; neither this thread nor the device's work waits for it."""
    if device.type != "cuda" or tensor.device == device:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_device(
    triplets: Triplets,
    preprocess: Preprocess,
    device: torch.device,
    *,
    free_bytes: int | None = None,
    progress: bool = False,
) -> Triplets:
    """The same triplets with their images on the device as uint8, where they take less than half of its free memory.

    Args:
        triplets: whose images are needed again and again.
        preprocess: the size at which they are kept.
        device: where to.
        free_bytes: memory that is free there; None: the device is asked.
        progress: show a progress bar.

    Returns:
        `triplets` themselves where there is no room.

    Raises:
        ImageError: an image that cannot be read, by name.
    """
    names = triplets.images.names
    shape = (len(names), 3, preprocess.height, preprocess.width)
    free = torch.cuda.mem_get_info(device)[0] if free_bytes is None else free_bytes
    if int(np.prod(shape)) > free // 2:
        log.info(
            "%d images do not fit into half of the free memory of %s; they are sent in each step", *shape[:1], device
        )
        return triplets
    indices = np.arange(len(names)) if triplets.present is None else np.flatnonzero(triplets.present)
    pixels = torch.zeros(shape, dtype=torch.uint8, device=device)
    with bar(f"bringing images to {device}", show=progress, total=len(indices), unit="image") as meter:
        for first in range(0, len(indices), _AT_ONCE):
            some = indices[first : first + _AT_ONCE]
            pixels[torch.from_numpy(some)] = triplets.images.load(some, preprocess).to(device)
            meter.update(len(some))
    return replace(triplets, images=MemoryImages(names, pixels))
