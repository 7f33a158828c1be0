"""Parts for itma, each as small as it can be: `gate`, `margin`, `squares` and `patches`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import itma


@dataclass(frozen=True)
class GateOptions:
    """Options of the gate."""

    start: float = 0.0
    """How far the gate is open before training: 0 is half open."""


@itma.register_composer("gate")
class Gate(itma.Composer):
    """A learned gate between the reference and the feedback."""

    Options = GateOptions

    def __init__(self, options: GateOptions, shapes: itma.FeatureShapes) -> None:
        super().__init__()
        self.image = nn.Linear(shapes.channels[-1], shapes.dim)
        self.gate = nn.Parameter(torch.full((shapes.dim,), options.start))

    def embed_images(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Feature maps → (images, dim)."""
        embedded: torch.Tensor = self.image(maps[-1].mean((2, 3)))
        return embedded

    def embed_queries(self, maps: Sequence[torch.Tensor] | None, words: itma.Words | None) -> torch.Tensor:
        """Feature maps, words or both → (queries, dim)."""
        if maps is None or words is None:
            return words.sentence_BD if words is not None else self.embed_images(maps or [])
        open_D = self.gate.sigmoid()
        return open_D * self.embed_images(maps) + (1 - open_D) * words.sentence_BD


@dataclass(frozen=True)
class MarginOptions:
    """Options of the margin loss."""

    margin: float = 0.2
    """How much nearer the target has to be than any other image, as a cosine."""


@itma.register_loss("margin")
class Margin(itma.Loss):
    """What each other target of the batch lacks to a margin."""

    Options = MarginOptions

    def forward(self, batch: itma.LossBatch) -> torch.Tensor:
        """The mean over all pairs."""
        cosines = batch.queries @ batch.targets.T
        other = batch.labels[:, None] != batch.labels[None, :]
        return (F.relu(cosines - cosines.diag()[:, None] + self.options.margin) * other).sum() / other.sum().clamp(
            min=1
        )


COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 220), "yellow": (240, 210, 50)}


@itma.register_dataset("squares")
class Squares(itma.Dataset):
    """A square of one colour is to have another."""

    preset, generated = "tiny", True

    def load(self, split: str, *, progress: bool = False, device: torch.device | None = None) -> itma.Split:
        """All pairs of colours; `test` has a brighter ground."""
        ground = 160 if split == "train" else 200
        pixels = torch.full((len(COLOURS), 3, 32, 32), ground, dtype=torch.uint8)
        for one, colour in zip(pixels, COLOURS.values(), strict=True):
            one[:, 8:24, 8:24] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
        pairs = [(one, other) for one in range(len(COLOURS)) for other in range(len(COLOURS)) if one != other]
        triplets = itma.Triplets(
            f"squares/{split}",
            itma.MemoryImages([f"{name}.png" for name in COLOURS], pixels),
            labels=np.arange(len(COLOURS)),
            references=np.array([one for one, _ in pairs]),
            targets=np.array([other for _, other in pairs]),
            feedback=[f"make it {list(COLOURS)[other]}" for _, other in pairs],
        )
        return itma.Split(triplets, {"squares": itma.by_label(triplets, name="squares")})


@itma.register_image_encoder("patches")
class Patches(itma.ImageEncoder):
    """Patches of 8×8 pixels, each through one linear map; the one level."""

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__(levels)
        self.channels = (24,) * len(self.levels)
        self.patch = nn.Conv2d(3, 24, 8, stride=8)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(images, 3, height, width) → for each level (images, 24, rows, columns)."""
        return [self.patch(images).relu() for _ in self.levels]
