"""RTIC: what the feedback changes is encoded as an error, step by step, and a gate mixes it with the reference.

Shin, Cho, Ko and Gu, "RTIC: Residual Learning for Text and Image Composition using Graph Convolutional Network", 2021
(arXiv:2104.03015); layers as in its code. The graph branch is not here: it takes part in training only, over a graph of
all training queries, which a composer does not see.
"""

from dataclasses import dataclass

import torch
from torch import nn

from itma.errors import ConfigError
from itma.models.composers.base import Place, register
from itma.models.composers.simple import PooledComposer


@dataclass(frozen=True)
class RticOptions:
    """RTIC's own options.

    >>> RticOptions().blocks
    4
    """

    blocks: int = 4
    """Blocks that encode the error, one after the other (published: 4)."""

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise ConfigError(f"model.options.blocks={self.blocks} must be at least 1")


@register("rtic")
class Rtic(PooledComposer):
    """g · x + (1 - g) · error(f) with f = fusion([x, t]) and g = gate(f); error adds blocks of three linear maps."""

    Options = RticOptions

    def __init__(self, options: RticOptions, place: Place) -> None:
        super().__init__(options, place)
        dim, half = place.dim, max(1, place.dim // 2)
        self.fusion = nn.Sequential(nn.BatchNorm1d(2 * dim), nn.LeakyReLU(), nn.Linear(2 * dim, dim))
        self.gate = nn.Sequential(*_layer(dim, dim), nn.Linear(dim, dim), nn.Sigmoid())
        self.errors = nn.ModuleList(
            nn.Sequential(*_layer(dim, half), *_layer(half, half), nn.Linear(half, dim)) for _ in range(options.blocks)
        )

    def compose(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """See `PooledComposer`."""
        error_BD = self.fusion(torch.cat([image_BD, sentence_BD], 1))
        gate_BD = self.gate(error_BD)
        for block in self.errors:
            error_BD = error_BD + block(error_BD)
        composed: torch.Tensor = gate_BD * image_BD + (1 - gate_BD) * error_BD
        return composed


def _layer(features: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Linear(features, width), nn.BatchNorm1d(width), nn.LeakyReLU()
