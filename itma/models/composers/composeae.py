"""ComposeAE: the image is a complex vector, and the sentence turns it.

Anwaar, Labintcev and Kleinsteuber, "Compositional Learning of Image-Text Query for Image Retrieval", WACV 2021
(arXiv:2006.11149), section 3; layers as in its code. Only the composition is here: the decoders that reconstruct both
features, and the loss that asks for rotational symmetry, are not.

Shapes: B queries, D = `dim` features.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from itma.config import check_ranges
from itma.models.composers.base import FeatureShapes, register
from itma.models.composers.simple import PooledComposer

CHANNELS, CELLS = 64, 16
"""Of the convolution over five rows of features, and of the maxima that are taken from it, as in ComposeAE's code."""
START = (1.0, 10.0)
"""Starting weights of the part with the convolution and of the part without, as in ComposeAE's code."""


@dataclass(frozen=True)
class ComposeAeOptions:
    """ComposeAE's own options.

    >>> ComposeAeOptions().dropout
    0.5
    """

    dropout: float = 0.5
    """Share of the image's features dropped while training (published: 0.5)."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.options", below_one="dropout")


@register("composeae")
class ComposeAe(PooledComposer):
    """b · ρ(φ) + a · ρ′(φ, x, t) with φ = lengths(x) · exp(j · angles(t)); ρ is a network, ρ′ has a convolution."""

    Options = ComposeAeOptions

    def __init__(self, options: ComposeAeOptions, shapes: FeatureShapes) -> None:
        super().__init__(options, shapes)
        self.weights = nn.Parameter(torch.tensor(START))
        self.turn, self.turn_locally = (_Turn(shapes.dim, options.dropout) for _ in range(2))
        self.mapping = _mapping(2 * shapes.dim, shapes.dim)
        self.convolution = nn.Conv1d(5, CHANNELS, 3, padding=1)
        self.local_mapping = _mapping(CHANNELS * CELLS, shapes.dim)

    def compose(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """See `PooledComposer`."""
        _, _, real_BD, imaginary_BD = self.turn(image_BD, sentence_BD)
        whole_BD = self.mapping(torch.cat([real_BD, imaginary_BD], 1))
        lengths_BD, angles_BD, real_BD, imaginary_BD = self.turn_locally(image_BD, sentence_BD)
        rows_B5D = torch.stack([lengths_BD, angles_BD, image_BD, real_BD, imaginary_BD], 1)
        maxima = F.adaptive_max_pool1d(self.convolution(rows_B5D), CELLS).flatten(1)
        return self.weights[0] * self.local_mapping(maxima) + self.weights[1] * whole_BD


class _Turn(nn.Module):
    """Lengths of a complex vector from the image, the angles that it is turned by from the sentence."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.angles = nn.Sequential(nn.BatchNorm1d(dim), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.lengths = nn.Sequential(
            nn.BatchNorm1d(dim), nn.Linear(dim, dim), nn.Dropout(dropout), nn.ReLU(), nn.Linear(dim, dim)
        )

    def forward(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Lengths, angles, and the real and the imaginary part of the turned vector, each (B, D)."""
        lengths_BD, angles_BD = self.lengths(image_BD), self.angles(text_BD)
        return lengths_BD, angles_BD, lengths_BD * angles_BD.cos(), lengths_BD * angles_BD.sin()


def _mapping(features: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm1d(features), nn.ReLU(), nn.Linear(features, dim), nn.ReLU(), nn.Linear(dim, dim))
