"""Words → word features.

Shapes: B sentences, T words, D = `dim` features.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import nn

from itma.data.text import MAX_WORDS, Tokens
from itma.errors import ConfigError


@dataclass(frozen=True)
class LanguageConfig:
    """Which text network.

    >>> LanguageConfig(kind="lstm", layers=2).layers
    2
    """

    kind: Literal["lstm", "transformer"] = "lstm"
    """An LSTM over the words (as published), or a small Transformer."""
    width: int = 128
    """Features of a word's embedding and of the hidden state."""
    layers: int = 1
    dropout: float = 0.1
    """Share of features dropped before the last linear map while training."""
    heads: int = 4
    """Attention heads of the Transformer; an LSTM has none."""

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.heads) < 1 or not 0 <= self.dropout < 1:
            raise ConfigError(f"{self}: width, layers and heads must be ≥ 1 and dropout in [0, 1)")
        if self.kind == "transformer" and self.width % self.heads:
            raise ConfigError(f"language.width={self.width} must be a multiple of language.heads={self.heads}")


class Words(NamedTuple):
    """What the language network makes of a batch of sentences."""

    features_BTD: torch.Tensor
    mask_BT: torch.Tensor
    """True where there is a word."""
    sentence_BD: torch.Tensor
    """One feature row for the whole sentence: the last word's (LSTM) or the mean (Transformer); 0 without words."""


class Language(nn.Module):
    """Word embeddings, an LSTM or a Transformer over them, dropout and a linear map to `dim` features.

    The words of the published models are the LSTM's outputs (Vo et al. 2019; Huynh & Ly 2021).

    Args:
        config: which network.
        vocabulary: number of token ids.
        dim: features of a word in the answer.
    """

    def __init__(self, config: LanguageConfig, vocabulary: int, dim: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(vocabulary, config.width)
        if config.kind == "lstm":
            inner = config.dropout if config.layers > 1 else 0.0
            self.network: nn.Module = nn.LSTM(
                config.width, config.width, config.layers, batch_first=True, dropout=inner
            )
        else:
            layer = nn.TransformerEncoderLayer(
                config.width, config.heads, 2 * config.width, config.dropout, batch_first=True, norm_first=True
            )
            self.network = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
            self.positions = nn.Parameter(0.02 * torch.randn(MAX_WORDS, config.width))
        self.output = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(config.width, dim))

    def forward(self, tokens: Tokens) -> Words:
        """Token ids and mask, each (B, T) → `Words`."""
        ids_BT, mask_BT = tokens
        words_BTD = self.embedding(ids_BT)
        if self.config.kind == "lstm":
            words_BTD, _ = self.network(words_BTD)  # padding stands last, so no word sees it
        else:
            words_BTD = words_BTD + self.positions[: ids_BT.shape[1]]
            hidden_BT = ~(mask_BT | (mask_BT.sum(1, keepdim=True) == 0))  # attention over nothing would be NaN
            words_BTD = self.network(words_BTD, src_key_padding_mask=hidden_BT)
        words_BTD = self.output(words_BTD) * mask_BT[:, :, None]
        count_B = mask_BT.sum(1)
        if self.config.kind == "lstm":
            last_B = (count_B - 1).clamp(min=0)
            sentence_BD = words_BTD[torch.arange(len(ids_BT), device=ids_BT.device), last_B]
        else:
            sentence_BD = words_BTD.sum(1) / count_B.clamp(min=1)[:, None]
        return Words(words_BTD, mask_BT, sentence_BD)
