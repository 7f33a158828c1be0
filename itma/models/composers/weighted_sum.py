"""The sum of two unit embeddings: composed retrieval without training, the usual baseline over CLIP and its like."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from itma.errors import ConfigError
from itma.models.composers.base import FeatureShapes, register
from itma.models.composers.simple import PooledComposer


@dataclass(frozen=True)
class SumOptions:
    """How much each of the two counts; only their ratio matters.

    >>> SumOptions(text_weight=0.5).image_weight
    1.0
    """

    image_weight: float = 1.0
    """Weight of the reference's embedding."""
    text_weight: float = 1.0
    """Weight of the sentence's embedding."""

    def __post_init__(self) -> None:
        both = (self.image_weight, self.text_weight)
        if not all(0 <= weight < float("inf") for weight in both) or not sum(both):
            raise ConfigError(
                f"model.options.image_weight={self.image_weight} and model.options.text_weight={self.text_weight} "
                "must be finite numbers from 0 on, and not both 0"
            )


@register("sum")
class Sum(PooledComposer):
    """image_weight · image embedding + text_weight · text embedding, each of length 1 before it is weighted."""

    Options = SumOptions

    def __init__(self, options: SumOptions, shapes: FeatureShapes) -> None:
        super().__init__(options, shapes)
        self.options = options

    def compose(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """See `PooledComposer`. A sentence without words is 0 and adds nothing."""
        unit_image_BD, unit_text_BD = F.normalize(image_BD, dim=1), F.normalize(sentence_BD, dim=1)
        return self.options.image_weight * unit_image_BD + self.options.text_weight * unit_text_BD
