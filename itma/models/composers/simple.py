"""The plain baselines: image only, words only, addition, concatenation (Vo et al. 2019, section 4.1)."""

import torch
from torch import nn

from itma.models.composers.base import Composer, FeatureShapes, Maps, PooledImage, register
from itma.models.text_encoders.base import Words


class PooledComposer(Composer):
    """A composer whose images are one pooled feature row each, in the gallery and as references."""

    def __init__(self, options: object, shapes: FeatureShapes) -> None:
        super().__init__()
        self.image = PooledImage(shapes)

    def embed_images(self, maps: Maps) -> torch.Tensor:
        """See `Composer`."""
        return self.image(maps)

    def join(self, maps: Maps, words: Words) -> torch.Tensor:
        """See `Composer`."""
        return self.compose(self.embed_images(maps), words.sentence_BD)

    def compose(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """One image row and one sentence row each → (queries, dim)."""
        raise NotImplementedError


@register("image-only")
class ImageOnly(PooledComposer):
    """The query is the reference: what does feedback add at all?"""

    reads_words = False

    def compose(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """See `PooledComposer`."""
        return image_BD


@register("words-only")
class WordsOnly(PooledComposer):
    """The query is the feedback: what does the reference add at all?"""

    reads_images = False

    def compose(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """See `PooledComposer`."""
        return sentence_BD


@register("add")
class Addition(PooledComposer):
    """The sum of the two."""

    def compose(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """See `PooledComposer`."""
        return image_BD + sentence_BD


@register("concat")
class Concatenation(PooledComposer):
    """Both side by side, then a network of two layers with batch norms, as in TIRG's code."""

    def __init__(self, options: object, shapes: FeatureShapes) -> None:
        super().__init__(options, shapes)
        both = 2 * shapes.dim
        self.network = nn.Sequential(
            nn.BatchNorm1d(both),
            nn.ReLU(),
            nn.Linear(both, both),
            nn.BatchNorm1d(both),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(both, shapes.dim),
        )

    def compose(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """See `PooledComposer`."""
        return self.network(torch.cat([image_BD, sentence_BD], 1))
