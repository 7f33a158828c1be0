"""CoSMo: the feedback changes first the content of the reference's feature map, then its style.

Lee, Kim and Han, "CoSMo: Content-Style Modulation for Image Retrieval with Text Feedback", CVPR 2021, section 3; layers
as in its code. Content is the map whose channels have mean 0 and deviation 1 in each image, changed by two attention
blocks; style is those means and deviations, changed by gates.

Shapes: B queries, C channels, H rows, W columns, N = H · W cells, h heads, d = C / h, D = `dim` features.
"""

from dataclasses import dataclass

import torch
from torch import nn

from itma.config import check_ranges
from itma.errors import ConfigError
from itma.models.composers.base import FeatureShapes, Maps, register
from itma.models.composers.simple import PooledComposer
from itma.models.text_encoders.base import Words


@dataclass(frozen=True)
class CosmoOptions:
    """CoSMo's own options.

    >>> CosmoOptions().heads
    8
    """

    heads: int = 8
    """Attention heads of the content modulator (published: 8)."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.options", at_least_one="heads")


@register("cosmo")
class Cosmo(PooledComposer):
    """style(content(the last map), t): attention over cells and the sentence, then new means and deviations."""

    Options = CosmoOptions

    def __init__(self, options: CosmoOptions, shapes: FeatureShapes) -> None:
        super().__init__(options, shapes)
        channels = shapes.channels[-1]
        if channels % options.heads:
            raise ConfigError(
                f"the last feature map has {channels} channels, which {options.heads} heads cannot share evenly; give "
                "model.options.heads that divide them"
            )
        self.content = nn.ModuleList(ContentAttention(channels, shapes.dim, options.heads) for _ in range(2))
        self.weights = nn.Parameter(torch.ones(2))
        self.style = StyleModulator(channels, shapes.dim)

    def join(self, maps: Maps, words: Words) -> torch.Tensor:
        """See `PooledComposer`."""
        sentence_BD, map_BCHW = words.sentence_BD, maps[-1]
        variance_BC11, mean_BC11 = torch.var_mean(map_BCHW, (2, 3), correction=0, keepdim=True)
        content_BCHW = (map_BCHW - mean_BC11) / (variance_BC11 + 1e-5).sqrt()
        for weight, attention in zip(self.weights, self.content, strict=True):
            content_BCHW = content_BCHW + weight * attention(content_BCHW, sentence_BD)
        # as in the published code, the image encoder does not learn by way of the style that is kept
        style = self.style(mean_BC11.detach(), variance_BC11.detach().sqrt(), sentence_BD)
        return self.embed_images([style[0] + style[1] * content_BCHW])


class ContentAttention(nn.Module):
    """The disentangled multi-modal non-local block: cells look at one another, and the sentence looks at all cells."""

    def __init__(self, channels: int, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Conv2d(channels, channels, 1, bias=False) for _ in range(3))
        self.merge = nn.Conv2d(channels + dim, channels, 1, bias=False)
        self.text = nn.Linear(dim, channels)
        self.output = nn.Conv2d(channels, channels, 1)

    def forward(self, map_BCHW: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) and (B, D) → what is added to the map, of its shape."""
        B, C, H, W = map_BCHW.shape
        sentence_BDHW = sentence_BD[:, :, None, None].expand(B, sentence_BD.shape[1], H, W)
        values_BhdN = self._parts(self.value(self.merge(torch.cat([map_BCHW, sentence_BDHW], 1))))
        d = C // self.heads
        among_BhNN = self._parts(self.query(map_BCHW)).transpose(2, 3) @ self._parts(self.key(map_BCHW))
        text_Bh1d = self.text(sentence_BD).view(B, self.heads, 1, d)
        text_Bh1N = text_Bh1d @ self._parts(map_BCHW)
        weights_BhNN = (among_BhNN / d**0.5).softmax(3) + (text_Bh1N / d**0.5).softmax(3)
        return self.output((values_BhdN @ weights_BhNN.transpose(2, 3)).reshape(B, C, H, W))

    def _parts(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        B, C, H, W = map_BCHW.shape
        return map_BCHW.reshape(B, self.heads, C // self.heads, H * W)


class StyleModulator(nn.Module):
    """New means and deviations: gates let the reference's through, and the sentence adds its own."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.gate, self.text = nn.Linear(dim, 2 * channels), nn.Linear(dim, 2 * channels)
        for linear in (self.gate, self.text):
            nn.init.normal_(linear.weight, std=(2 / dim) ** 0.5)
            nn.init.zeros_(linear.bias)
        self.text.bias.data[channels:] = 1  # the deviations

    def forward(
        self, mean_BC11: torch.Tensor, deviation_BC11: torch.Tensor, sentence_BD: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Means and deviations, each (B, C, 1, 1) → the new ones."""
        mean_gate, deviation_gate = self.gate(sentence_BD).sigmoid()[:, :, None, None].chunk(2, 1)
        mean, deviation = self.text(sentence_BD)[:, :, None, None].chunk(2, 1)
        return mean_gate * mean_BC11 + mean, deviation_gate * deviation_BC11 + deviation
