"""MRN: the sentence and the image meet in products, around which the sentence passes by.

Kim, Lee, Kwak, Heo, Kim, Ha and Zhang, "Multimodal Residual Learning for Visual QA", NIPS 2016 (arXiv:1606.01455),
section 3 and figure 3 (b); a baseline of Vo et al. 2019, section 4.1. The classifier of answers is left out.
"""

from dataclasses import dataclass

import torch
from torch import nn

from itma.config import check_ranges
from itma.models.composers.base import FeatureShapes, register
from itma.models.composers.simple import PooledComposer


@dataclass(frozen=True)
class MrnOptions:
    """MRN's own options; the defaults are the published ones.

    >>> MrnOptions(blocks=1).dropout
    0.5
    """

    blocks: int = 3
    """Products of the two, one after the other."""
    dropout: float = 0.5
    """Share dropped before every linear map while training."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.options", at_least_one="blocks", below_one="dropout")


@register("mrn")
class Mrn(PooledComposer):
    """h₀ = t, hᵢ = linear(hᵢ₋₁) + tanh(linear(hᵢ₋₁)) · tanh(linear(tanh(linear(x)))); the last h is the query."""

    Options = MrnOptions

    def __init__(self, options: MrnOptions, shapes: FeatureShapes) -> None:
        super().__init__(options, shapes)
        self.blocks = nn.ModuleList(_Block(shapes.dim, options.dropout) for _ in range(options.blocks))

    def compose(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """See `PooledComposer`."""
        for block in self.blocks:
            sentence_BD = block(image_BD, sentence_BD)
        return sentence_BD


class _Block(nn.Module):
    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()

        def linear() -> nn.Sequential:
            return nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, dim))

        self.shortcut = linear()
        self.text = nn.Sequential(linear(), nn.Tanh())
        self.image = nn.Sequential(linear(), nn.Tanh(), linear(), nn.Tanh())

    def forward(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        return self.shortcut(text_BD) + self.text(text_BD) * self.image(image_BD)
