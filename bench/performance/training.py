"""Training: whole steps with reading from disk, the head alone, and the soft triplet loss.

The other side is a float32 loop as the published code of TIRG and of MAAF has it: Pillow decodes and resizes each image
of each row, a `DataLoader` makes batches (in this process: on one core a worker would take its time from the same one),
references and targets go through the image encoder apart, and the loss is cross-entropy over the batch. The networks
are the same modules with the same weights.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from PIL import Image
from tokenizers import models, normalizers, pre_tokenizers, processors
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from bench.performance.limits import products_a_second
from bench.performance.rows import Side, seconds_of
from itma.allocation import reuse_memory
from itma.data.image_cache import open_cache
from itma.data.synthetic import shapes
from itma.data.triplets import Triplets
from itma.device import knows_bf16
from itma.models.image_encoders.base import ImageEncoderConfig
from itma.models.retriever import Retriever
from itma.models.towers import read_towers
from itma.training.config import TrainConfig
from itma.training.loop import train
from itma.training.losses import Classification, LossBatch, soft_triplet
from itma.training.presets import preset_named
from itma.training.speed import count_products

BATCH = {"full": 32, "quick": 32, "tiny": 8}
_LARGE_BATCH = {**BATCH, "quick": 8}
"""At 224×224."""
STEPS = {"full": 1, "quick": 2, "tiny": 2}
"""That are measured, after one that is not."""
_WORLDS = {"full": (8, 9), "quick": (11, 9), "tiny": (4, 5)}
"""Scenes and changes of each; images are 180×120, as CSS's."""


def prepare(folder: Path, size: str) -> None:
    scenes, changes = _WORLDS[size]
    config = shapes.ShapesConfig(height=120, width=180, train_scenes=scenes, test_scenes=1, changes=changes)
    shapes.World(config).write(folder / "world")


def data(folder: Path) -> Triplets:
    return shapes.read(folder / "world")["train"]


def model_of(composer: str, pixels: tuple[int, int], size: str, triplets: Triplets) -> Retriever:
    config = preset_named({"itma": "itma-css", "tirg": "tirg-css"}[composer]).model
    if size == "tiny":
        pixels, config = (16, 24), replace(config, dim=16, image_encoder=ImageEncoderConfig(levels=(2,)))
    height, width = pixels
    config = replace(config, preprocess=replace(config.preprocess, height=height, width=width))
    return Retriever.build(config, triplets.feedback, seed=0)


def batch_of(pixels: tuple[int, int], size: str) -> int:
    return (_LARGE_BATCH if pixels[0] == 224 else BATCH)[size]


class Stopwatch(Classification):
    """The classification loss, which notes when it is asked: from one time to the next is one step of the loop."""

    def __init__(self, operations: Callable[[], float]) -> None:
        super().__init__()
        self.operations, self.done = operations, [0.0]
        self.at: list[float] = []

    def forward(self, batch: LossBatch) -> torch.Tensor:
        self.at.append(time.process_time())
        self.done.append(self.operations())
        return super().forward(batch)


def itma_steps(composer: str, pixels: tuple[int, int], *, frozen: bool = False) -> Side:
    """`itma.training.loop.train` by the published recipe, in bf16 where the processor has it."""

    def side(folder: Path, size: str) -> dict[str, Any]:
        reuse_memory()
        batch = batch_of(pixels, size)
        triplets = data(folder)
        model = model_of(composer, pixels, size, triplets)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        triplets = replace(triplets, images=open_cache(triplets.images, model.preprocess))
        steps = 1 + (5 if frozen else STEPS[size])
        config = replace(
            preset_named("itma-css").train,
            steps=steps,
            batch=batch,
            precision="bf16",
            frozen_levels=max(model.config.image_encoder.levels) if frozen else 0,
            views=1 if frozen else 0,
        )
        with count_products(model) as operations:
            loss = Stopwatch(operations)
            train(model, triplets, config, folder / "run", loss=loss)
        took = min(after - before for before, after in pairwise(loss.at))
        low = knows_bf16(torch.device("cpu"))
        peak = products_a_second(torch.bfloat16 if low else torch.float32)
        return {
            "seconds": took,
            "count": batch,
            "ideal": (loss.done[-1] - loss.done[-2]) / peak,
            "limit": f"matrix product, {'bf16' if low else 'float32'}, {peak / 1e9:.0f} GFLOP/s",
            "precision": "bf16" if low else "float32 (no bf16 in this processor)",
        }

    return side


class Published(Dataset[tuple[torch.Tensor, torch.Tensor, str]]):
    """Rows whose two images are decoded, resized, cropped and normalised when they are asked for."""

    def __init__(self, triplets: Triplets, model: Retriever) -> None:
        self.triplets, self.preprocess = triplets, model.preprocess
        self.order = np.random.default_rng(0).permutation(len(triplets.feedback))

    def __len__(self) -> int:
        return len(self.order)

    def image(self, index: int) -> torch.Tensor:
        height, width = self.preprocess.height, self.preprocess.width
        with Image.open(self.triplets.images.paths[index]) as file:  # type: ignore[attr-defined]
            image = file.convert("RGB")
        scale = max(height / image.height, width / image.width)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        values = np.asarray(image.crop((left, top, left + width, top + height)), dtype=np.float32) / 255
        return torch.from_numpy((values - self.preprocess.mean) / self.preprocess.std).permute(2, 0, 1).float()

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor, str]:
        row = self.order[number]
        triplets = self.triplets
        return self.image(triplets.references[row]), self.image(triplets.targets[row]), triplets.feedback[row]


def published_steps(composer: str, pixels: tuple[int, int], *, frozen: bool = False) -> Side:
    def side(folder: Path, size: str) -> dict[str, Any]:
        batch = batch_of(pixels, size)
        triplets = data(folder)
        model = model_of(composer, pixels, size, triplets)
        model.freeze(("image_encoder",) if frozen else ())
        return plain_steps(model, triplets, size, batch)

    return side


def plain_steps(model: Retriever, triplets: Triplets, size: str, batch: int) -> dict[str, Any]:
    """Steps of the plain loop; the first is not counted."""
    model.train()
    assert model.text_encoder is not None
    model.text_encoder.memory = None
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
    loader = DataLoader(Published(triplets, model), batch_size=batch, drop_last=True)
    durations, begun = [], time.process_time()
    for _ in range(2 if size == "tiny" else 1):
        for references, targets, feedback in loader:
            words = model.text_encoder(model.tokenizer(feedback))  # type: ignore[misc]
            queries = F.normalize(model.composer.embed_queries(model.image_encoder(references), words))
            images = F.normalize(model.composer.embed_images(model.image_encoder(targets)))
            loss = F.cross_entropy(model.logits(queries, images), torch.arange(len(images)))
            optimizer.zero_grad()
            loss.backward()
            loss.item()
            optimizer.step()
            durations.append(time.process_time() - begun)
            begun = time.process_time()
            if len(durations) > STEPS[size]:
                break
    return {"seconds": min(durations[1:]), "count": batch}


def prepare_clip(folder: Path, size: str) -> None:
    """The same world, and a CLIP ViT-B/32 with weights as they are drawn, in a folder as the hub has it."""
    from transformers import CLIPConfig, CLIPModel

    prepare(folder, size)
    words = sorted({word for sentence in data(folder).feedback for word in sentence.lower().split()})
    begin, end = len(words), len(words) + 1
    core = tokenizers.Tokenizer(
        models.WordLevel({w: i for i, w in enumerate([*words, "<s>", "</s>"])}, unk_token="</s>")
    )
    core.normalizer, core.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens(["<s>", "</s>"])
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", begin), ("</s>", end)]
    )
    tiny = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    smaller = tiny if size == "tiny" else {}
    text = {"vocab_size": len(words) + 2, "bos_token_id": begin, "eos_token_id": end, **smaller}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=smaller)).save_pretrained(folder / "clip")
    core.save(str(folder / "clip" / "tokenizer.json"))


def clip_of(folder: Path) -> tuple[Retriever, TrainConfig]:
    """The preset `clip` over that folder."""
    preset, towers = preset_named("clip"), read_towers(folder / "clip")
    return Retriever.over(towers, replace(preset.model, **towers.shape)), preset.train


def itma_clip(folder: Path, size: str) -> dict[str, Any]:
    """`itma.training.loop.train` by the preset `clip`, once what stays has been computed."""
    reuse_memory()
    triplets = data(folder)
    model, config = clip_of(folder)
    triplets = replace(triplets, images=open_cache(triplets.images, model.preprocess))
    levels, batch = max(model.config.image_encoder.levels), BATCH[size]
    # four times through all sentences; what is said for the first time costs more, as everywhere on the first round
    steps = 4 * len(triplets.feedback) // batch
    config = replace(config, steps=steps, batch=batch, frozen_levels=levels, precision="float32")
    with count_products(model) as operations:
        loss = Stopwatch(operations)
        train(model, triplets, config, folder / "run", loss=loss)
    last = loss.at[-len(loss.at) // 4 :]
    peak = products_a_second()
    return {
        "seconds": (last[-1] - last[0]) / (len(last) - 1),
        "count": batch,
        "ideal": (loss.done[-1] - loss.done[-2]) / peak,
        "limit": f"matrix product, float32, {peak / 1e9:.0f} GFLOP/s",
    }


def published_clip(folder: Path, size: str) -> dict[str, Any]:
    """A loop in which CLIP reads its images and sentences anew in every step."""
    triplets = data(folder)
    model, config = clip_of(folder)
    model.freeze(config.frozen)
    return plain_steps(model, triplets, size, BATCH[size])


ROWS = {"full": (32, 256), "quick": (32, 256), "tiny": (4, 4)}


def _embeddings(rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    queries, targets = (torch.randn(rows, 512, generator=random).requires_grad_() for _ in range(2))
    return queries, targets, torch.arange(rows)


def itma_loss(which: int) -> Side:
    def side(folder: Path, size: str) -> dict[str, Any]:
        queries, targets, labels = _embeddings(ROWS[size][which])
        took = seconds_of(lambda: soft_triplet(queries, targets, labels).backward(), turns=20)
        # the products: 2N × 2N × 512 forwards, twice that backwards
        ideal = 3 * 2 * (2 * len(queries)) ** 2 * 512 / (peak := products_a_second())
        limit = f"matrix product, {peak / 1e9:.0f} GFLOP/s"
        return {"seconds": took, "count": 1, "ideal": ideal, "limit": limit}

    return side


def published_loss(which: int) -> Side:
    def side(folder: Path, size: str) -> dict[str, Any]:
        queries, targets, labels = _embeddings(ROWS[size][which])
        return {"seconds": seconds_of(lambda: triplet_lists(queries, targets, labels), turns=1, warm=False), "count": 1}

    return side


def triplet_lists(queries: torch.Tensor, targets: torch.Tensor, labels: torch.Tensor) -> float:
    """TIRG's loss as its code goes about it: all triplets of an anchor are listed, three are drawn, one by one."""
    rows = torch.cat([queries, targets]).detach().numpy()
    both = [*labels.tolist(), *labels.tolist()]
    random = np.random.default_rng(0)
    chosen: list[list[int]] = []
    for anchor, own in enumerate(both):
        possible = []
        for positive, other in enumerate(both):
            if positive != anchor and other == own:
                for negative, third in enumerate(both):
                    if third != own:
                        possible.append([anchor, positive, negative])
        random.shuffle(possible)
        chosen += possible[:3]
    squares = (rows**2).sum(1)
    distances = squares[:, None] + squares[None] - 2 * rows @ rows.T
    loss, gradient = 0.0, np.zeros_like(rows)
    for anchor, positive, negative in chosen:
        gap = np.float64(distances[anchor, positive] - distances[anchor, negative])
        loss += np.logaddexp(0, gap)
        slope = 1 / (1 + np.exp(-gap)) / len(chosen)
        gradient[anchor] += 2 * slope * (rows[negative] - rows[positive])
        gradient[positive] += 2 * slope * (rows[positive] - rows[anchor])
        gradient[negative] += 2 * slope * (rows[anchor] - rows[negative])
    return float(loss / len(chosen))
