"""Devices by name."""

import os

import torch

from itma.errors import ConfigError


def device_named(name: str) -> torch.device:
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        ConfigError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cuda" and "LOCAL_RANK" in os.environ:
            name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"the device {name!r} is not available here ({error}); try auto or cpu") from error
    return device


def knows_bf16(device: torch.device) -> bool:
    """Whether a device computes in bf16; a CPU that does not would be many times slower, and fails at an LSTM."""
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def takes_bf16(precision: str, device: torch.device) -> bool:
    """Whether a device computes in bf16 where this precision is wanted; one that does not know it takes float32."""
    return precision == "bf16" and knows_bf16(device)
