"""Relationship: each pair of the reference's cells is read together with the sentence.

Santoro et al., "A simple neural network module for relational reasoning", NIPS 2017 (arXiv:1706.01427), eq. 1, as Vo et
al. 2019, section 4.1, use it as a baseline: all pairs of cells of the last feature map, each joined with the sentence,
go through one network, are averaged, and go through another. The cells' coordinates, which Santoro et al. add, are not
part of that description.

Shapes: B queries, N cells, C channels, D = `dim` features, E features of a pair.
"""

from dataclasses import dataclass

import torch
from torch import nn

from itma.config import check_ranges
from itma.models.composers.base import FeatureShapes, Maps, register
from itma.models.composers.simple import PooledComposer
from itma.models.text_encoders.base import Words


@dataclass(frozen=True)
class RelationshipOptions:
    """The relation network's own options; the defaults are those of Santoro et al.

    >>> RelationshipOptions().width
    256
    """

    width: int = 256
    """Features of a pair in every layer."""
    pair_layers: int = 4
    """Linear maps that a pair goes through, each with a ReLU."""
    layers: int = 3
    """Linear maps that the pairs' mean goes through, with ReLUs between them."""
    dropout: float = 0.5
    """Share dropped before the last linear map while training."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.options", at_least_one="width pair_layers layers", below_one="dropout")


@register("relationship")
class Relationship(PooledComposer):
    """g(mean over all pairs of cells (a, b) of f([a, b, t])); f and g are networks, t is the sentence."""

    Options = RelationshipOptions

    def __init__(self, options: RelationshipOptions, shapes: FeatureShapes) -> None:
        super().__init__(options, shapes)
        channels, width = shapes.channels[-1], options.width
        # f's first linear map in three parts, so that it is computed once for a cell instead of once for a pair
        self.one, self.other = nn.Linear(channels, width), nn.Linear(channels, width, bias=False)
        self.text = nn.Linear(shapes.dim, width, bias=False)
        self.pair = nn.Sequential(nn.ReLU(), *_layers(width, options.pair_layers - 1))
        self.whole = nn.Sequential(
            *_layers(width, options.layers - 1), nn.Dropout(options.dropout), nn.Linear(width, shapes.dim)
        )

    def join(self, maps: Maps, words: Words) -> torch.Tensor:
        """See `PooledComposer`."""
        cells_BNC = maps[-1].flatten(2).transpose(1, 2)
        pairs_BNNE = self.one(cells_BNC)[:, :, None] + self.other(cells_BNC)[:, None, :]
        pairs_BNNE = self.pair(pairs_BNNE + self.text(words.sentence_BD)[:, None, None])
        return self.whole(pairs_BNNE.mean((1, 2)))


def _layers(width: int, count: int) -> list[nn.Module]:
    return [part for _ in range(count) for part in (nn.Linear(width, width), nn.ReLU())]
