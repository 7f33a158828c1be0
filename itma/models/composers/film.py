"""FiLM: the sentence scales and shifts the channels of the reference's last feature map.

Perez, Strub, de Vries, Dumoulin and Courville, "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018
(arXiv:1709.07871), eq. 1-2 and its residual block; a baseline of Vo et al. 2019, section 4.1. The blocks have as many
channels as the map, and no map of coordinates is added, so that a composed map is pooled as a gallery image's is.

Shapes: B queries, C channels, H rows, W columns, D = `dim` features.
"""

from dataclasses import dataclass

import torch
from torch import nn

from itma.config import check_ranges
from itma.models.composers.base import FeatureShapes, Maps, register
from itma.models.composers.simple import PooledComposer
from itma.models.text_encoders.base import Words


@dataclass(frozen=True)
class FilmOptions:
    """FiLM's own options.

    >>> FilmOptions().blocks
    4
    """

    blocks: int = 4
    """Residual blocks that the sentence modulates, one after the other (published: 4)."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.options", at_least_one="blocks")


@register("film")
class Film(PooledComposer):
    """Residual blocks over the last map, whose channels are scaled and shifted as the sentence says."""

    Options = FilmOptions

    def __init__(self, options: FilmOptions, shapes: FeatureShapes) -> None:
        super().__init__(options, shapes)
        channels = shapes.channels[-1]
        self.blocks = nn.ModuleList(ModulatedBlock(channels) for _ in range(options.blocks))
        self.modulation = nn.Linear(shapes.dim, options.blocks * 2 * channels)

    def join(self, maps: Maps, words: Words) -> torch.Tensor:
        """See `PooledComposer`."""
        map_BCHW = maps[-1]
        modulations = self.modulation(words.sentence_BD)[:, :, None, None].chunk(2 * len(self.blocks), 1)
        for block, gain, shift in zip(self.blocks, modulations[::2], modulations[1::2], strict=True):
            map_BCHW = block(map_BCHW, gain, shift)
        return self.embed_images([map_BCHW])


class ModulatedBlock(nn.Module):
    """x = relu(conv 1×1), then x + relu((1 + gain) · norm(conv 3×3 of x) + shift)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels, affine=False)

    def forward(self, map_BCHW: torch.Tensor, gain_BC11: torch.Tensor, shift_BC11: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) → the same shape."""
        map_BCHW = self.first(map_BCHW).relu()
        changed_BCHW: torch.Tensor = (1 + gain_BC11) * self.norm(self.second(map_BCHW)) + shift_BC11
        return map_BCHW + changed_BCHW.relu()
