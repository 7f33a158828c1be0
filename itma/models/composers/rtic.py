"""RTIC: what the feedback changes is encoded as an error, step by step, and a gate mixes it with the reference.

Shin, Cho, Ko and Gu, "RTIC: Residual Learning for Text and Image Composition using Graph Convolutional Network", 2021
(arXiv:2104.03015); layers as in its code.

The graph branch (`model.options.graph`) is for training only: a catalogue and its queries know nothing of it, and
answer by the composition alone, each query for itself. It holds a second composition whose rows pass through two graph
convolutions (Kipf & Welling, arXiv:1609.02907, eq. 2) over a graph of queries that are alike, and asks of each query
which of the graph's nodes are its neighbours; by that the first composition learns. Published, the graph is made once,
of all training queries as an earlier model has them; here it is made anew in each step, of the batch's queries as the
model has them, so that no earlier model is needed. Several processes have a graph each.

Shapes: B queries, D = `dim` features.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from itma.config import check_ranges
from itma.models.composers.base import FeatureShapes, Maps, register
from itma.models.composers.simple import PooledComposer
from itma.models.text_encoders.base import Words


@dataclass(frozen=True)
class RticOptions:
    """RTIC's own options.

    >>> RticOptions().blocks
    4
    """

    blocks: int = 4
    """Blocks that encode the error, one after the other (published: 4)."""
    graph: float = 0.0
    """Weight of the graph branch's loss while training (published: 1); 0 leaves the branch out."""
    neighbours: float = 0.1
    """Share of the pairs of queries that count as neighbours in the graph, at least (published: 0.1)."""
    sharing: float = 0.25
    """How much all neighbours of a node together count beside itself (published: 0.25)."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            "model.options",
            at_least_one="blocks",
            not_negative="graph sharing",
            shares="neighbours",
            above_zero="neighbours",
        )


class ErrorEncoding(nn.Module):
    """g · x + (1 - g) · error(f) with f = fusion([x, t]) and g = gate(f); error adds blocks of three linear maps."""

    def __init__(self, dim: int, blocks: int) -> None:
        super().__init__()
        half = max(1, dim // 2)
        self.fusion = nn.Sequential(nn.BatchNorm1d(2 * dim), nn.LeakyReLU(), nn.Linear(2 * dim, dim))
        self.gate = nn.Sequential(*_layer(dim, dim), nn.Linear(dim, dim), nn.Sigmoid())
        self.errors = nn.ModuleList(
            nn.Sequential(*_layer(dim, half), *_layer(half, half), nn.Linear(half, dim)) for _ in range(blocks)
        )

    def forward(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """(B, D) and (B, D) → (B, D)."""
        error_BD = self.fusion(torch.cat([image_BD, sentence_BD], 1))
        gate_BD = self.gate(error_BD)
        for block in self.errors:
            error_BD = error_BD + block(error_BD)
        return gate_BD * image_BD + (1 - gate_BD) * error_BD


@register("rtic")
class Rtic(PooledComposer):
    """g · x + (1 - g) · error(f), f = fusion([x, t]), g = gate(f); a graph branch beside it while training, if wanted.

    See `ErrorEncoding`.
    """

    Options = RticOptions

    def __init__(self, options: RticOptions, shapes: FeatureShapes) -> None:
        super().__init__(options, shapes)
        self.options = options
        self.composition = ErrorEncoding(shapes.dim, options.blocks)
        self.has_own_loss = options.graph > 0
        if self.has_own_loss:
            self.graph = GraphBranch(shapes.dim, options)

    def compose(self, image_BD: torch.Tensor, sentence_BD: torch.Tensor) -> torch.Tensor:
        """See `PooledComposer`."""
        return self.composition(image_BD, sentence_BD)

    def own_loss(self, maps: Maps, words: Words | None, queries: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See `Composer`: the graph branch's loss times its weight."""
        assert words is not None
        loss: torch.Tensor = self.graph(self.embed_images(maps).detach(), words.sentence_BD.detach(), queries, targets)
        return self.options.graph * loss


class GraphBranch(nn.Module):
    """Which of a graph's nodes are a query's neighbours: binary cross-entropy of sigmoid(query · node)."""

    def __init__(self, dim: int, options: RticOptions) -> None:
        super().__init__()
        self.options = options
        self.composition = ErrorEncoding(dim, options.blocks)
        self.first, self.second = GraphConvolution(dim), GraphConvolution(dim)

    def forward(
        self, image_BD: torch.Tensor, sentence_BD: torch.Tensor, queries_BD: torch.Tensor, targets_BD: torch.Tensor
    ) -> torch.Tensor:
        """References, sentences, composed queries and targets, each (B, D), of which queries learn → a scalar."""
        near_BB = neighbours(queries_BD.detach().float(), targets_BD.detach().float(), self.options.neighbours)
        adjacency_BB = share_neighbours(near_BB, self.options.sharing)
        nodes_BD = F.relu(self.first(self.composition(image_BD, sentence_BD), adjacency_BB))
        nodes_BD = self.second(nodes_BD, adjacency_BB)
        return F.binary_cross_entropy_with_logits((queries_BD @ nodes_BD.T).float(), near_BB)


class GraphConvolution(nn.Module):
    """adjacency · (rows · weight) + bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(dim, dim)), nn.Parameter(torch.zeros(dim))
        nn.init.xavier_normal_(self.weight, gain=0.02)  # as published

    def forward(self, rows_BD: torch.Tensor, adjacency_BB: torch.Tensor) -> torch.Tensor:
        """(B, D) and (B, B) → (B, D)."""
        return adjacency_BB.to(rows_BD.dtype) @ (rows_BD @ self.weight) + self.bias


def neighbours(queries_BD: torch.Tensor, targets_BD: torch.Tensor, share: float) -> torch.Tensor:
    """1 for pairs of queries that are alike in query and target, 0 for others: (B, B).

    How alike two are is their mean cosine, brought to 0 … 1. The bar is the highest hundredth that at least `share` of
    all pairs reach; each query is its own neighbour.
    """
    B = len(queries_BD)
    with torch.autocast(queries_BD.device.type, enabled=False):
        both = torch.cat([F.normalize(targets_BD, dim=1), F.normalize(queries_BD, dim=1)], 1) / 2**0.5
        alike_BB = ((both @ both.T + 1) / 2).clamp(0, 1)
    alike_BB.fill_diagonal_(1.0)
    least = alike_BB.flatten().kthvalue(B * B - max(1, round(share * B * B)) + 1).values
    return (alike_BB >= (100 * least).floor() / 100).to(queries_BD.dtype)


def share_neighbours(near_BB: torch.Tensor, sharing: float) -> torch.Tensor:
    """The normalised adjacency: a node counts 1, its neighbours `sharing` together; (A·D)ᵀ·D with D = degree^-½."""
    itself = torch.eye(len(near_BB), dtype=near_BB.dtype, device=near_BB.device)
    others = near_BB - itself
    weights_BB = sharing * others / (others.sum(1, keepdim=True) + 1e-8) + itself
    degrees = torch.diag(weights_BB.sum(1) ** -0.5)
    return (weights_BB @ degrees).T @ degrees


def _layer(features: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Linear(features, width), nn.BatchNorm1d(width), nn.LeakyReLU()
