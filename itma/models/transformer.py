"""Pre-norm Transformer encoder layers and fixed positions, as in the published code of MAAF and ITMA.

Shapes: B sequences, N tokens, H heads, D = `dim` features, d = D / H.
"""

from math import log
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

AttentionKind = Literal["softmax", "identity"]


def sequence_sinusoids(tokens: int, dim: int, device: torch.device | None = None) -> torch.Tensor:
    """Sines and cosines of each token's place in its sequence (Vaswani et al. 2017, section 3.5): (tokens, dim).

    Feature 2i is sin(place / 10000^(2i / dim)) and feature 2i + 1 the cosine of the same angle.

    >>> sequence_sinusoids(2, 4)[0].tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    rates = torch.exp(torch.arange(0, dim, 2, device=device).float() * -(log(10_000.0) / dim))
    angles = torch.arange(tokens, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :dim]


class LayerNorm(nn.Module):
    """Layer norm that divides by (unbiased standard deviation + 1e-6), as the published code does.

    Written as torch's fused layer norm, whose variance is the biased one, with the weight scaled to make up for it;
    its epsilon of 1e-12 under the root stands for 1e-6 beside it.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., D) → the same shape."""
        D = len(self.weight)
        return F.layer_norm(x, (D,), self.weight * ((D - 1) / D) ** 0.5, self.bias, eps=1e-12)


class Attention(nn.Module):
    """Multi-head attention with softmax, or with the raw scaled scores (`identity`, masked entries 0)."""

    def __init__(self, dim: int, heads: int, *, kind: AttentionKind = "softmax", dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.kind = heads, kind
        self.query, self.key, self.value, self.output = (nn.Linear(dim, dim) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens_BND: torch.Tensor, mask_BN: torch.Tensor | None, memory_BMD: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, N, D) → (B, N, D); the tokens look at themselves, or at a memory of M tokens, which the mask is of."""
        B, N, D = tokens_BND.shape
        memory_BMD = tokens_BND if memory_BMD is None else memory_BMD
        q_BHNd, k_BHNd, v_BHNd = (
            linear(rows).view(B, rows.shape[1], self.heads, D // self.heads).transpose(1, 2)
            for linear, rows in ((self.query, tokens_BND), (self.key, memory_BMD), (self.value, memory_BMD))
        )
        # written out, because the fused attention's backward pass is several times slower on CPUs at these sizes
        scores_BHNN = q_BHNd @ k_BHNd.transpose(-2, -1) / (D // self.heads) ** 0.5
        softmax = self.kind == "softmax"
        if mask_BN is not None:
            unseen = ~mask_BN[:, None, None, :]
            scores_BHNN = scores_BHNN.masked_fill(unseen, float("-inf") if softmax else 0.0)
        weights_BHNN = scores_BHNN.softmax(-1) if softmax else scores_BHNN
        mixed_BHNd = self.dropout(weights_BHNN) @ v_BHNd
        return self.output(mixed_BHNd.transpose(1, 2).reshape(B, N, D))


def feed_forward(dim: int, width: int, dropout: float) -> nn.Sequential:
    """Two linear maps, by way of `width` features, with a ReLU between them."""
    return nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, dim))


class Block(nn.Module):
    """A pre-norm encoder layer: x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(
        self, dim: int, heads: int, width: int, *, kind: AttentionKind = "softmax", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.norm_attention, self.norm_forward = LayerNorm(dim), LayerNorm(dim)
        self.attention = Attention(dim, heads, kind=kind, dropout=dropout)
        self.forward_network = feed_forward(dim, width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens_BND: torch.Tensor, mask_BN: torch.Tensor | None) -> torch.Tensor:
        """(B, N, D) → the same shape; tokens whose mask is false are not looked at."""
        tokens_BND = tokens_BND + self.dropout(self.attention(self.norm_attention(tokens_BND), mask_BN))
        return tokens_BND + self.dropout(self.forward_network(self.norm_forward(tokens_BND)))
