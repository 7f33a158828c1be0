"""Checkpoints in the published format, with weights and images that are made from names alone.

`published_checkpoints.json` lists options and tensors of each case, `published_checkpoints.npz` what the published
computation gives for them: `<case>.query` and `<case>.gallery` (images, dim) before scaling to length 1.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
CASES: dict[str, dict[str, Any]] = json.loads((HERE / "published_checkpoints.json").read_text(encoding="utf-8"))
VOCABULARY = "<UNK> make it red blue with long sleeves and more formal inadditiontothat cube remove".split()
SENTENCES = ["Make it red, with long-sleeves!", "café blue inadditiontothat quux formal"]


@cache
def value(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The tensor called `name`: numbers seeded by the name, of a size that keeps features in range."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    if name == "a":
        return torch.tensor([1.0, 10.0, 1.0, 1.0])
    if name.endswith("norm_s"):
        return torch.full(shape, 4.0)
    if name.endswith(".pe"):
        position, feature = np.mgrid[: shape[1], : shape[2]]
        angle = position / 10_000 ** (feature // 2 * 2 / shape[2])
        return torch.from_numpy(np.where(feature % 2, np.cos(angle), np.sin(angle)).astype(np.float32))[None]
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
    numbers = random.standard_normal(shape)
    if name.endswith("running_var"):
        numbers = 0.7 + 0.3 * np.abs(numbers)
    elif len(shape) > 1:
        numbers *= (2 / np.prod(shape[1:])) ** 0.5
    elif name.endswith(("weight", "a_2")):
        numbers = 1 + 0.1 * numbers
    else:
        numbers *= 0.1
    return torch.from_numpy(numbers.astype(np.float32))


def images(count: int) -> torch.Tensor:
    """Normalised images of 224×224 pixels: coarse patches of colour."""
    random = np.random.default_rng(0)
    return torch.from_numpy(np.kron(random.standard_normal((count, 3, 8, 8)), np.ones((28, 28))).astype(np.float32))


def resnet(arch: str, prefix: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of torchvision's ResNet without its classifier."""
    bottleneck = arch == "resnet50"
    depths = (3, 4, 6, 3) if bottleneck else (2, 2, 2, 2)

    def norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{prefix}{name}.{part}", (width,)
        yield f"{prefix}{name}.num_batches_tracked", ()

    yield f"{prefix}conv1.weight", (64, 3, 7, 7)
    yield from norm("bn1", 64)
    before = 64
    for stage, depth in enumerate(depths, start=1):
        width = 32 * 2**stage
        after = 4 * width if bottleneck else width
        kernels = ((1, width), (3, width), (1, after)) if bottleneck else ((3, width), (3, width))
        for block in range(depth):
            own, incoming = f"layer{stage}.{block}", before
            for number, (size, outgoing) in enumerate(kernels, start=1):
                yield f"{prefix}{own}.conv{number}.weight", (outgoing, incoming, size, size)
                yield from norm(f"{own}.bn{number}", outgoing)
                incoming = outgoing
            if before != after:
                yield f"{prefix}{own}.downsample.0.weight", (after, before, 1, 1)
                yield from norm(f"{own}.downsample.1", after)
            before = after


def tensors(case: str) -> dict[str, torch.Tensor]:
    """The state dict of a case's published model."""
    options = CASES[case]["opt"]
    state = {name: value(name, shape) for name, shape in resnet(options["image_model_arch"], "img_model.model.")}
    for name, shape, same_as in CASES[case]["tensors"]:
        state[name] = value(same_as, tuple(shape))
    return state


def outputs(case: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What the published computation gives for a case: queries and gallery images."""
    with np.load(HERE / "published_checkpoints.npz") as arrays:
        return torch.from_numpy(arrays[f"{case}.query"]), torch.from_numpy(arrays[f"{case}.gallery"])


def checkpoint(case: str, **changes: Any) -> dict[str, Any]:
    """A case's checkpoint, with some options changed."""
    return {
        "it": 7,
        "opt": argparse.Namespace(**{**CASES[case]["opt"], **changes}),
        "model_state_dict": tensors(case),
    }


def write(path: Path, case: str, **changes: Any) -> Path:
    """Save a case's checkpoint as the published code does."""
    torch.save(checkpoint(case, **changes), path)
    return path
