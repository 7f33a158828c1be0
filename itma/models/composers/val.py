"""VAL: at every level of the image encoder, attention keeps some of the reference and changes the rest.

Chen, Gong and Bazzani, "Image Search with Text Feedback by Visiolinguistic Attention Learning", CVPR 2020, section 3:
the composite transformer, at several levels. Its auxiliary loss on texts about images is not here, and this differs:

- each level's mean goes through a linear map to `dim` features, so that words alone can be compared with images;
- the paper adds up a loss for each level; here a score is the mean of the levels' cosines, by one embedding in which
  the levels stand side by side;
- the convolutions are plain, as the paper writes them; those of the published code have batch norm and ReLU.

Shapes: B queries, C channels, H rows, W columns, N = H · W cells, h heads, d = C / h, D = `dim` features, L levels.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from itma.config import check_ranges
from itma.errors import ConfigError
from itma.models.composers.base import Composer, FeatureShapes, Maps, register
from itma.models.text_encoders.base import Words


@dataclass(frozen=True)
class ValOptions:
    """VAL's own options.

    >>> ValOptions().heads
    2
    """

    heads: int = 2
    """Attention heads of each composite transformer, which share the channels (published: 2)."""
    attention_weight: float = 0.0
    """Starting weight of what the self-attention adds, which is learned (published: 0)."""
    dropout: float = 0.1
    """Share of the attention dropped while training (published: 0.1)."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.options", at_least_one="heads", below_one="dropout")


@register("val")
class Val(Composer):
    """At each level, the mean over cells of weight₀ · gates · map + weight₁ · self-attention([map, t])."""

    Options = ValOptions

    def __init__(self, options: ValOptions, shapes: FeatureShapes) -> None:
        super().__init__()
        for channels in shapes.channels:
            if channels % options.heads:
                raise ConfigError(
                    f"a level's feature map has {channels} channels, which {options.heads} heads cannot share evenly; "
                    "give model.options.heads that divide them"
                )
        self.outputs = nn.ModuleList(nn.Linear(channels, shapes.dim) for channels in shapes.channels)
        self.composites = nn.ModuleList(
            CompositeTransformer(channels, shapes.dim, grid, options)
            for channels, grid in zip(shapes.channels, shapes.grids, strict=True)
        )
        self.features = shapes.dim * len(shapes.channels)

    def embed_images(self, maps: Maps) -> torch.Tensor:
        """See `Composer`: (images, L · D)."""
        levels = [
            F.normalize(output(map_BCHW.mean((2, 3))), dim=1)
            for output, map_BCHW in zip(self.outputs, maps, strict=True)
        ]
        return torch.cat(levels, 1)

    def embed_queries(self, maps: Maps | None, words: Words | None) -> torch.Tensor:
        """See `Composer`. Words alone are compared with every level."""
        if maps is None:
            assert words is not None
            return words.sentence_BD.repeat(1, len(self.outputs))
        if words is None:
            return self.embed_images(maps)
        return self.embed_images(
            [composite(level, words.sentence_BD) for composite, level in zip(self.composites, maps, strict=True)]
        )


class CompositeTransformer(nn.Module):
    """Of one level's map and the sentence: gates by channel and by cell, and self-attention over cells."""

    def __init__(self, channels: int, dim: int, grid: tuple[int, int], options: ValOptions) -> None:
        super().__init__()
        self.heads = options.heads
        self.fuse = nn.Conv2d(channels + dim, channels, 1)
        self.channel_gate = nn.Conv2d(channels, channels, 1)
        self.cell_gate = nn.Conv2d(1, 1, grid)
        rows, columns = (size - 1 for size in grid)
        self.padding = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        # each head reads its own share of the channels
        self.query, self.key, self.value = (
            nn.Conv2d(channels, channels, 1, groups=options.heads, bias=False) for _ in range(3)
        )
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Conv2d(channels, channels, 1)
        self.weights = nn.Parameter(torch.tensor([1.0, options.attention_weight]))

    def forward(self, map_BCHW: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) and (B, D) → (B, C, H, W)."""
        B, C, H, W = map_BCHW.shape
        sentence_BDHW = sentence_BD[:, :, None, None].expand(B, sentence_BD.shape[1], H, W)
        fused_BCHW = self.fuse(torch.cat([map_BCHW, sentence_BDHW], 1))
        channels_BC11 = self.channel_gate(fused_BCHW.mean((2, 3), keepdim=True)).sigmoid()
        cells_B1HW = self.cell_gate(F.pad(fused_BCHW.mean(1, keepdim=True), self.padding)).sigmoid()
        q_BhdN, k_BhdN, v_BhdN = (
            convolution(fused_BCHW).reshape(B, self.heads, C // self.heads, H * W)
            for convolution in (self.query, self.key, self.value)
        )
        weights_BhNN = (q_BhdN.transpose(2, 3) @ k_BhdN / (C // self.heads) ** 0.5).softmax(3)
        mixed_BhdN = v_BhdN @ self.dropout(weights_BhNN).transpose(2, 3)
        changed_BCHW = self.output(mixed_BhdN.reshape(B, C, H, W))
        gated_BCHW = channels_BC11 * cells_B1HW * map_BCHW
        return self.weights[0] * gated_BCHW + self.weights[1] * changed_BCHW
