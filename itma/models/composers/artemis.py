"""ARTEMIS, in the form that a catalogue can serve: one embedding for each image.

Delmas, Rezende, Csurka and Larlus, "ARTEMIS: Attention-based Retrieval with Text-Explicit Matching and Implicit
Similarity", ICLR 2022. Of reference x, sentence t and target y, each of length 1, its score is

    EM + IS = cos(T(t), a(t) · y) + cos(b(t) · x, b(t) · y),

with attention a and b over features (softmax) and products taken feature by feature. That is not one dot product of a
query and an item: the lengths ‖a(t) · y‖ and ‖b(t) · y‖, which it divides by, depend on both. Here each is replaced by
what it is where y has all its features equally strong, ‖a(t)‖ / √D, which depends on the query only; what remains is
linear in y:

    y · (a(t) / ‖a(t)‖ · T(t) + b(t) / ‖b(t)‖ · unit(b(t) · x)) · √D.

So the query is the bracket, the item is y, and training sees the same form as the search. On images whose features are
all equally strong the two scores are the same; on others the order can differ from that of the published score.

Shapes: B queries, D = `dim` features.
"""

import torch
from torch import nn
from torch.nn import functional as F

from itma.models.composers.base import FeatureShapes, register
from itma.models.composers.simple import PooledComposer


@register("artemis")
class Artemis(PooledComposer):
    """a/‖a‖ · T(t) + b/‖b‖ · unit(b · x) with attention a, b of the sentence t: ARTEMIS as one embedding."""

    def __init__(self, options: object, shapes: FeatureShapes) -> None:
        super().__init__(options, shapes)
        self.transform = nn.Linear(shapes.dim, shapes.dim)
        self.explicit, self.implicit = (_attention(shapes.dim) for _ in range(2))

    def compose(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """See `PooledComposer`."""
        sentence_BD = F.normalize(sentence_BD, dim=1)
        explicit_BD, implicit_BD = (
            F.normalize(attention(sentence_BD), dim=1) for attention in (self.explicit, self.implicit)
        )
        wanted_BD = F.normalize(self.transform(sentence_BD), dim=1)
        return explicit_BD * wanted_BD + implicit_BD * F.normalize(implicit_BD * image_BD, dim=1)


def _attention(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.Softmax(1))
