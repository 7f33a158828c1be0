"""TIRG: a gate keeps the reference's features and a residual changes them (Vo et al., arXiv:1812.07119, eq. 1–4)."""

import torch
from torch import nn

from itma.models.composers.base import FeatureShapes, Maps, PooledImage, register
from itma.models.composers.simple import PooledComposer
from itma.models.text_encoders.base import Words

START = (1.0, 10.0)
"""Starting weights of the gated and the residual part, as in TIRG's code."""


@register("tirg")
class Tirg(PooledComposer):
    """weight₀ · sigmoid(gate(x, t)) · x + weight₁ · residual(x, t), on the pooled image feature x."""

    def __init__(self, options: object, shapes: FeatureShapes) -> None:
        super().__init__(options, shapes)
        both = 2 * shapes.dim
        self.weights = nn.Parameter(torch.tensor(START))
        self.gate = nn.Sequential(nn.BatchNorm1d(both), nn.ReLU(), nn.Linear(both, shapes.dim))
        self.residual = nn.Sequential(
            nn.BatchNorm1d(both), nn.ReLU(), nn.Linear(both, both), nn.ReLU(), nn.Linear(both, shapes.dim)
        )

    def compose(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """See `PooledComposer`."""
        both = torch.cat([image_BD, sentence_BD], 1)
        gated_BD = torch.sigmoid(self.gate(both)) * image_BD
        return self.weights[0] * gated_BD + self.weights[1] * self.residual(both)


@register("tirg-last-map")
class TirgLastMap(PooledComposer):
    """TIRG on the cells of the last feature map, with 3×3 convolutions; pooled afterwards.

    The paper changes the last convolution's features for CSS, where place matters (section 3.2). Gate and residual are
    built alike, as in TIRG's code.
    """

    def __init__(self, options: object, shapes: FeatureShapes) -> None:
        nn.Module.__init__(self)  # the image's layer draws its weights last, as it always did
        channels = shapes.channels[-1]
        both = channels + shapes.dim
        self.weights = nn.Parameter(torch.tensor(START))
        self.gate, self.residual = (
            nn.Sequential(
                nn.BatchNorm2d(both),
                nn.Conv2d(both, both, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(both, channels, 3, padding=1),
            )
            for _ in range(2)
        )
        self.image = PooledImage(shapes)

    def join(self, maps: Maps, words: Words) -> torch.Tensor:
        """See `Composer`."""
        map_BCHW = maps[-1]
        B, _, H, W = map_BCHW.shape
        both = torch.cat([map_BCHW, words.sentence_BD[:, :, None, None].expand(B, -1, H, W)], 1)
        gated_BCHW = torch.sigmoid(self.gate(both)) * map_BCHW
        return self.embed_images([self.weights[0] * gated_BCHW + self.weights[1] * self.residual(both)])
