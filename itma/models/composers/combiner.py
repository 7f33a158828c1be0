"""CLIP4Cir's Combiner: a network that joins CLIP's image and text embeddings.

Baldrati, Bertini, Uricchio and Del Bimbo, "Effective conditioned and composed image retrieval combining CLIP-based
features", CVPR 2022, and "Conditioned and composed image retrieval combining and partially fine-tuning CLIP-based
features", CVPR workshops 2022, section 3.2.
"""

from dataclasses import dataclass

import torch
from torch import nn

from itma.config import check_ranges
from itma.models.composers.base import FeatureShapes, register
from itma.models.composers.simple import PooledComposer


@dataclass(frozen=True)
class CombinerOptions:
    """The Combiner's own options; the defaults are the published ones.

    >>> CombinerOptions().projection, CombinerOptions().hidden
    (4, 8)
    """

    projection: int = 4
    """Features that each embedding is projected to, as a multiple of `model.dim` (published: 2,560 of 640)."""
    hidden: int = 8
    """Features of the two hidden layers, as a multiple of `model.dim` (published: 5,120 of 640)."""
    dropout: float = 0.5
    """Share dropped after every hidden layer while training."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.options", at_least_one="projection hidden", below_one="dropout")


@register("combiner")
class Combiner(PooledComposer):
    """residual(x, t) + gate · t + (1 - gate) · x, of image embedding x and text embedding t; gate is one number."""

    Options = CombinerOptions

    def __init__(self, options: CombinerOptions, shapes: FeatureShapes) -> None:
        super().__init__(options, shapes)
        projected, hidden = options.projection * shapes.dim, options.hidden * shapes.dim
        self.image_projection = _layer(shapes.dim, projected, options.dropout)
        self.text_projection = _layer(shapes.dim, projected, options.dropout)
        self.residual = nn.Sequential(_layer(2 * projected, hidden, options.dropout), nn.Linear(hidden, shapes.dim))
        self.gate = nn.Sequential(_layer(2 * projected, hidden, options.dropout), nn.Linear(hidden, 1), nn.Sigmoid())

    def compose(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """See `PooledComposer`."""
        both = torch.cat([self.text_projection(sentence_BD), self.image_projection(image_BD)], 1)
        gate_B1 = self.gate(both)
        return self.residual(both) + gate_B1 * sentence_BD + (1 - gate_B1) * image_BD


def _layer(features: int, width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Dropout(dropout))
