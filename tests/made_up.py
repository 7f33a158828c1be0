"""A handful of made-up triplets and a model so small that a training step takes milliseconds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from itma.data.images import MemoryImages, Preprocess
from itma.data.triplets import Triplets
from itma.models.composers.itma import ItmaOptions
from itma.models.image_encoders.base import ImageEncoderConfig
from itma.models.retriever import Retriever, RetrieverConfig
from itma.models.text_encoders.base import TextEncoderConfig
from itma.training.config import TrainConfig

CONFIG = RetrieverConfig(
    dim=16,
    image_encoder=ImageEncoderConfig(levels=(2,)),
    text_encoder=TextEncoderConfig(width=16),
    preprocess=Preprocess(height=16, width=24),
    options=ItmaOptions(blocks=1, heads=2, width=16),
)
TRAIN = TrainConfig(steps=6, batch=8, per_reference=2, warmup=2, evaluate_every=2, log_every=1, precision="float32")


def triplets(rows: int = 32) -> Triplets:
    """Every row has its own reference and target; half the sentences differ."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2 * rows, 3, 16, 24), dtype=torch.uint8, generator=random)
    return Triplets(
        "made-up/train",
        MemoryImages([f"{index}.png" for index in range(2 * rows)], pixels),
        np.arange(2 * rows),
        np.arange(rows),
        rows + np.arange(rows),
        [f"make {colour} cube" for colour in ("red", "blue") * (rows // 2)],
    )


def model(seed: int = 0, *, earlier: bool = False) -> Retriever:
    """A new model that knows the words of `triplets`."""
    config = replace(CONFIG, text_encoder=replace(CONFIG.text_encoder, earlier=earlier))
    return Retriever.build(config, triplets().feedback, seed=seed)


def photos(folder: Path, names: Sequence[str]) -> None:
    """Images of noise, all different, and `broken.png`, which is none."""
    random = np.random.Generator(np.random.PCG64(0))
    for name in names:
        Image.fromarray(random.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"no image")
