"""Words → word features.

Shapes: B sentences, T tokens, D = `dim` features, C features of the network before the last linear map.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import nn

from itma.config import APPLIES, check_ranges
from itma.data.tokenizer import MAX_WORDS, Tokenizer, Tokens
from itma.errors import ConfigError
from itma.models import pretrained
from itma.models.transformer import Block, LayerNorm, sequence_sinusoids
from itma.registry import Registry


@dataclass(frozen=True)
class TextEncoderConfig:
    """Which text encoder.

    >>> TextEncoderConfig(kind="lstm", layers=2).layers
    2
    >>> TextEncoderConfig(kind="pretrained", name="bert-base-uncased").max_words
    64
    """

    kind: str = "lstm"
    """A name in the registry of text encoders: `lstm` over the words (as published), a small `transformer`, the words'
    `embeddings` as they are, a `pretrained` network that others trained, or one of your own."""
    width: int = 128
    """Features of a word's embedding and of the hidden state; a pretrained network has its own."""
    layers: int = 1
    """Layers of the LSTM or the Transformer, at least 1."""
    dropout: float = 0.1
    """Share of features dropped before the last linear map, and within a Transformer, while training."""
    heads: int = field(default=4, metadata={APPLIES: lambda text_encoder: text_encoder.kind == "transformer"})
    """Attention heads of the Transformer."""
    name: str | None = field(default=None, metadata={APPLIES: lambda text_encoder: text_encoder.brings_words})
    """Of a pretrained network: a local folder as `transformers` writes it, or a name on its hub, of BERT or another
    text encoder, or of CLIP or SigLIP, whose text tower is taken; or `all-minilm-l6-v2`, the sentence encoder that the
    extra `minilm` installs. It brings its tokenizer."""
    special_tokens: bool = field(default=True, metadata={APPLIES: lambda text_encoder: text_encoder.brings_words})
    """Whether a pretrained network's own marks, such as [CLS] and [SEP], stand around the sentence."""
    unknown: Literal["nearest", "skip", "keep"] = field(
        default="nearest", metadata={APPLIES: lambda text_encoder: not text_encoder.brings_words}
    )
    """Words that training never saw are read as the nearest word that it saw, if one is near ("crimson" as "red"; in
    English), or left out, or all read as one unknown word (as published)."""
    earlier: bool = False
    """Whether the training spoke in conversations: what was said earlier then stands before what is said now."""
    max_words: int = MAX_WORDS
    """Longer sentences are cut after so many tokens."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.text_encoder", at_least_one="width layers heads max_words", below_one="dropout")
        REGISTRY.find(self.kind).check(self)

    @property
    def brings_words(self) -> bool:
        """Whether the network is one that others trained, which brings its own tokenizer."""
        return REGISTRY.find(self.kind).brings_words

    def tokenizer(self, sentences: Iterable[str]) -> Tokenizer:
        """A new tokenizer: that of the pretrained network, or one that knows the words of `sentences`.

        Raises:
            ConfigError, DataError: the pretrained network brings none, or there is no word in any sentence.
        """
        if self.name is not None:
            return Tokenizer(pretrained.open_tokenizer(self.name), **self.reading())
        return Tokenizer.fit(sentences, **self.reading())

    def reading(self) -> dict[str, Any]:
        """How a tokenizer is to read, as arguments of `Tokenizer`."""
        own = not REGISTRY.find(self.kind).brings_words
        return {
            "max_words": self.max_words,
            "keep_unknown": self.unknown == "keep" or not own,
            "special_tokens": self.special_tokens and not own,
            "nearest": self.unknown == "nearest" and own,
        }


class Words(NamedTuple):
    """What the text encoder makes of a batch of sentences."""

    features_BTD: torch.Tensor
    mask_BT: torch.Tensor
    """True where there is a word."""
    sentence_BD: torch.Tensor
    """One feature row for the whole sentence: the last word's (LSTM, CLIP, SigLIP) or the mean; 0 without words."""


class TextEncoder(nn.Module):
    """A text network and a linear map to `dim` features, which is left out where the network has as many already.

    Make one with `TextEncoder.build`. One of your own sets `embedding` and `output` and has `read`, or `encode` where
    it does not begin with vectors.

    Args:
        config: the settings of text encoders, of which it uses those that it has a use for.
        dim: features of a word in the answer.
        vocabulary: number of token ids.
    """

    def __init__(self, config: TextEncoderConfig, dim: int, vocabulary: int) -> None:
        super().__init__()

    output: nn.Module
    """What maps the network's features to those of the answer."""
    brings_words: ClassVar[bool] = False
    """Whether it is a network that others trained, which brings its own tokenizer."""
    reads_last: bool = False
    """Whether the last word's feature stands for the sentence, because it has seen all others."""
    longest: int | None = None
    """Tokens that it reads at most; None: any number."""
    memory: "WordsMemory | None" = None
    """What a training keeps of a network that it does not change, see `Retriever.train`."""

    @classmethod
    def build(
        cls, config: TextEncoderConfig, vocabulary: int, dim: int, description: Mapping[str, Any] | None = None
    ) -> "TextEncoder":
        """A new network, with the weights that `config` names where it is pretrained.

        Args:
            config: which network.
            vocabulary: number of token ids.
            dim: features of a word in the answer.
            description: of a saved pretrained network, which comes from it, to be filled by `load_state_dict`.

        Raises:
            ConfigError, DataError: a pretrained network that is not there, or that lacks weights.
        """
        return REGISTRY.find(config.kind).open(config, dim, vocabulary, description)

    @classmethod
    def open(
        cls, config: TextEncoderConfig, dim: int, vocabulary: int, description: Mapping[str, Any] | None = None
    ) -> "TextEncoder":
        """A new network, or the one that a `description` describes, to be filled by `load_state_dict`."""
        return cls(config, dim, vocabulary)

    @classmethod
    def check(cls, config: TextEncoderConfig) -> None:
        """Refuse settings that this network cannot have.

        Raises:
            ConfigError: they contradict one another.
        """
        if cls.brings_words != (config.name is not None):
            raise ConfigError(
                f"model.text_encoder.kind={config.kind!r}, model.text_encoder.name={config.name!r}: a pretrained "
                "network needs a folder or a name on the hub, and only it has one"
            )

    @property
    def description(self) -> dict[str, Any] | None:
        """The configuration of a pretrained network; nothing for the others, which `config` describes."""
        return None

    @property
    def table(self) -> nn.Module:
        """What turns token ids into the vectors that the network begins with."""
        table = self.embedding
        assert isinstance(table, nn.Module)
        return table

    @property
    def width(self) -> int:
        """Features of the vectors that `table` gives."""
        return int(self.table.embedding_dim)  # type: ignore[arg-type]

    def encode(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """Token ids and mask → the network's features, (B, T, C); those of padding may be anything finite."""
        return self.read(self.table(ids_BT), mask_BT)

    def read(self, vectors_BTC: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """As `encode`, from the vectors that `table` gives, or others in their place.

        Raises:
            ConfigError: the network is one of the person's own, and reads token ids only.
        """
        raise ConfigError(f"the text encoder {type(self).__name__} reads token ids only; give it the method read")

    def forward(self, tokens: Tokens) -> Words:
        """Token ids and mask, each (B, T) → `Words`."""
        features_BTC = self.encode(*tokens) if self.memory is None else self.memory.encode(self, tokens)
        return self._words(features_BTC, tokens.mask)

    @property
    def is_fixed(self) -> bool:
        """Whether nothing but `output` learns, so that a sentence's features are the same in every step."""
        learning = [name for name, weights in self.named_parameters() if weights.requires_grad]
        varying = [name for name, module in self.named_modules() if name and module.training]
        return all(name.split(".")[0] == "output" for name in (*learning, *varying))

    def read_vectors(self, vectors_BTC: torch.Tensor, mask_BT: torch.Tensor) -> Words:
        """As `forward`, from vectors in place of token ids, see `read`."""
        return self._words(self.read(vectors_BTC, mask_BT), mask_BT)

    def _words(self, features_BTC: torch.Tensor, mask_BT: torch.Tensor) -> Words:
        words_BTD = self.output(features_BTC) * mask_BT[:, :, None]
        count_B = mask_BT.sum(1)
        if self.reads_last:
            last_B = (count_B - 1).clamp(min=0)
            sentence_BD = words_BTD[torch.arange(mask_BT.shape[0], device=mask_BT.device), last_B]
        else:
            sentence_BD = words_BTD.sum(1) / count_B.clamp(min=1)[:, None]
        return Words(words_BTD, mask_BT, sentence_BD)


class WordsMemory:
    """What a network that stays as it is makes of each sentence, computed once.

    Each sentence is read alone, so that what is kept does not depend on the batches in which it came.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[int, ...], torch.Tensor] = {}
        self._bytes = 0

    def encode(self, text_encoder: TextEncoder, tokens: Tokens) -> torch.Tensor:
        """As `TextEncoder.encode`, (B, T, C)."""
        counts = tokens.mask.sum(1).clamp(min=1).tolist()
        rows = [self._row(text_encoder, tokens, row, count) for row, count in enumerate(counts)]
        # SigLIP's sentences are longer than their tokens, and all alike
        longest = max(tokens.ids.shape[1], *(len(row) for row in rows))
        features_BTC = rows[0].new_zeros(len(rows), longest, rows[0].shape[1])
        for features, row in zip(features_BTC, rows, strict=True):
            features[: len(row)] = row
        return features_BTC

    def _row(self, text_encoder: TextEncoder, tokens: Tokens, row: int, count: int) -> torch.Tensor:
        """One sentence's features, (its tokens, C)."""
        ids, mask = tokens.ids[row : row + 1, :count], tokens.mask[row : row + 1, :count]
        key = (*ids[0].tolist(), int(mask.sum()))
        if key in self._rows:
            return self._rows[key]
        with torch.no_grad():
            features_TC = text_encoder.encode(ids, mask)[0]
        if self._bytes < _MOST:
            self._rows[key] = features_TC
            self._bytes += features_TC.nbytes
        return features_TC


_MOST = 2**30
"""Bytes that a `WordsMemory` keeps; sentences beyond it are read in every step."""


REGISTRY: Registry[type[TextEncoder]] = Registry(
    "text encoder", TextEncoder, dict.fromkeys(("lstm", "embeddings", "transformer", "pretrained"), __name__)
)
"""Text encoder by name."""
register = REGISTRY.register


@register("lstm")
class _Lstm(TextEncoder):
    """The published text encoder: embeddings, an LSTM, dropout, a linear map (Vo et al. 2019)."""

    reads_last = True

    def __init__(self, config: TextEncoderConfig, dim: int, vocabulary: int) -> None:
        super().__init__(config, dim, vocabulary)
        self.embedding = nn.Embedding(vocabulary, config.width)
        self.network = nn.LSTM(config.width, config.width, config.layers, batch_first=True)
        self.output = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(config.width, dim))

    def read(self, vectors_BTC: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """See `TextEncoder`. Padding stands last, so no word sees it."""
        return self.network(vectors_BTC)[0]


@register("embeddings")
class _Embeddings(TextEncoder):
    """The words' embeddings, as MAAF's code has them."""

    def __init__(self, config: TextEncoderConfig, dim: int, vocabulary: int) -> None:
        super().__init__(config, dim, vocabulary)
        self.embedding = nn.Embedding(vocabulary, config.width)
        self.output = _to_dim(config, config.width, dim)

    def read(self, vectors_BTC: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """See `TextEncoder`."""
        return vectors_BTC


@register("transformer")
class _Transformer(TextEncoder):
    """Embeddings with fixed positions, pre-norm encoder layers as wide as they are, a layer norm: as in MAAF's code."""

    @classmethod
    def check(cls, config: TextEncoderConfig) -> None:
        """See `TextEncoder`."""
        super().check(config)
        if config.width % config.heads:
            raise ConfigError(
                f"model.text_encoder.width={config.width} must be a multiple of model.text_encoder.heads={config.heads}"
            )

    def __init__(self, config: TextEncoderConfig, dim: int, vocabulary: int) -> None:
        super().__init__(config, dim, vocabulary)
        self.embedding = nn.Embedding(vocabulary, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.network = nn.ModuleList(
            Block(config.width, config.heads, config.width, dropout=config.dropout) for _ in range(config.layers)
        )
        self.norm = LayerNorm(config.width)
        self.output = _to_dim(config, config.width, dim)

    def read(self, vectors_BTC: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """See `TextEncoder`."""
        positions_TC = sequence_sinusoids(vectors_BTC.shape[1], vectors_BTC.shape[2], vectors_BTC.device)
        words_BTC = self.dropout(vectors_BTC + positions_TC.to(vectors_BTC.dtype))
        attention_mask_BT = _somewhere(mask_BT)
        for block in self.network:
            words_BTC = block(words_BTC, attention_mask_BT)
        return self.norm(words_BTC)


@register("pretrained")
class _Pretrained(TextEncoder):
    """A text encoder of `transformers`; of CLIP, each token's feature goes through the text projection.

    CLIP's sentence is then its own text embedding: the projection of the end mark, which is the last token.
    """

    brings_words = True

    def __init__(self, config: TextEncoderConfig, dim: int, tower: Any) -> None:
        super().__init__(config, dim, 0)
        self.reads_last = hasattr(tower, "text_projection")
        self.longest = getattr(tower.config, "max_position_embeddings", None)
        if self.longest is not None and config.max_words > self.longest:
            raise ConfigError(
                f"model.text_encoder.max_words={config.max_words}: {config.name!r} reads at most {self.longest} tokens"
            )
        self.network = tower
        width = tower.config.projection_dim if self.reads_last else tower.config.hidden_size
        self.output = _to_dim(config, width, dim)

    @classmethod
    def open(
        cls, config: TextEncoderConfig, dim: int, vocabulary: int, description: Mapping[str, Any] | None = None
    ) -> TextEncoder:
        """See `TextEncoder`."""
        if description is not None:
            tower = pretrained.text_tower(description)
        else:
            assert config.name is not None
            tower = pretrained.load_text_tower(config.name)
        return (_Siglip if tower.config.model_type == "siglip_text_model" else cls)(config, dim, tower)

    @property
    def description(self) -> dict[str, Any]:
        """See `TextEncoder`."""
        return pretrained.describe(self.network)

    @property
    def table(self) -> nn.Module:
        """See `TextEncoder`."""
        return self.network.get_input_embeddings()

    def read(self, vectors_BTC: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """See `TextEncoder`. CLIP's tower takes no vectors as a whole, its layers do."""
        attention_mask_BT = _somewhere(mask_BT)
        if not self.reads_last:
            return self.network(inputs_embeds=vectors_BTC, attention_mask=attention_mask_BT.long()).last_hidden_state
        tower = self.network.text_model
        earlier_TT = torch.ones(mask_BT.shape[1], mask_BT.shape[1], dtype=torch.bool, device=mask_BT.device).tril()
        words_BTC = tower.encoder(
            inputs_embeds=tower.embeddings(inputs_embeds=vectors_BTC),
            attention_mask=earlier_TT & attention_mask_BT[:, None, None, :],
        ).last_hidden_state
        return self.network.text_projection(tower.final_layer_norm(words_BTC))


class _Siglip(_Pretrained):
    """SigLIP's text tower: it reads every sentence filled up to its full length, and its last place is the sentence.

    That is how it was trained: padding is read as any other token. Each token's feature goes through the last linear
    map, as the last place's does.
    """

    def __init__(self, config: TextEncoderConfig, dim: int, tower: Any) -> None:
        super().__init__(config, dim, tower)
        self.output = _to_dim(config, tower.config.projection_size, dim)

    def read(self, vectors_BTC: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """See `TextEncoder`. The answer has as many tokens as the tower reads, of which T are the sentence's."""
        settings = self.network.config
        padding_C = self.network.get_input_embeddings().weight[settings.pad_token_id]
        vectors_BTC = torch.where(mask_BT[:, :, None], vectors_BTC, padding_C)
        length = settings.max_position_embeddings
        padding_BLC = padding_C.expand(mask_BT.shape[0], length, -1)
        vectors_BLC = torch.cat([vectors_BTC, padding_BLC], 1)[:, :length]
        words_BLC = self.network.encoder(
            inputs_embeds=self.network.embeddings(inputs_embeds=vectors_BLC)
        ).last_hidden_state
        return self.network.head(self.network.final_layer_norm(words_BLC))

    def _words(self, features_BTC: torch.Tensor, mask_BT: torch.Tensor) -> Words:
        words_BLD = self.output(features_BTC)
        positions_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)  # a slice cannot be exported for every T
        words_BTD = words_BLD.index_select(1, positions_T) * mask_BT[:, :, None]
        return Words(words_BTD, mask_BT, words_BLD[:, -1] * mask_BT.any(1, keepdim=True))


def _to_dim(config: TextEncoderConfig, width: int, dim: int) -> nn.Module:
    if width == dim:
        return nn.Identity()
    return nn.Sequential(nn.Dropout(config.dropout), nn.Linear(width, dim))


def _somewhere(mask_BT: torch.Tensor) -> torch.Tensor:
    """The mask, with all of a row that has no word: attention over nothing would be no number."""
    return mask_BT | ~mask_BT.any(1, keepdim=True)
