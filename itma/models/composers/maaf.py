"""MAAF's other two forms: two streams that look at each other, and one stream with a token of its own for the answer.

Dodds, Culpepper, Herdade, Zhang and Boakye, "Modality-Agnostic Attention Fusion for Visual Search with Text Feedback",
2020 (arXiv:2007.00145); layers as in its code. The form that won there, one stream whose tokens are averaged, is
`itma`. Two-dimensional positions of the cells are an addition, as with `itma`.

Shapes: B queries, P cells of all levels, T words, D = `dim` features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from itma.config import check_ranges
from itma.errors import ConfigError
from itma.models.composers.base import Composer, FeatureShapes, Maps, register
from itma.models.composers.itma import cells_of, projections_and_positions
from itma.models.text_encoders.base import Words
from itma.models.transformer import Attention, AttentionKind, Block, LayerNorm, feed_forward


@dataclass(frozen=True)
class MaafOptions:
    """What both forms have in common.

    >>> MaafOptions(blocks=2).heads
    8
    """

    blocks: int = 1
    """Layers of the Transformer."""
    heads: int = 8
    """Attention heads of each layer, at least 1."""
    width: int = 256
    """Hidden features of each feed-forward network."""
    attention: AttentionKind = "softmax"
    """`identity` leaves the scaled scores as they are, masked entries 0."""
    positions: Literal["none", "sinusoidal", "learned"] = "learned"
    """What is added to tell each cell its row and column; `learned` by one table for each level."""
    dropout: float = 0.0
    """Share dropped after attention and inside the feed-forward networks (published: 0.1)."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.options", at_least_one="blocks heads width", below_one="dropout")


STEPS = ("xxx", "mmm", "xmm", "mxx", "xff", "mff", "xmm.mxx")
"""What a layer of two streams can do, in the published notation: x are the cells, m the words; three letters say whose
tokens ask, and whose are looked at; `ff` is a feed-forward network; with the dot, both look before either changes."""


@dataclass(frozen=True)
class TwoStreamOptions(MaafOptions):
    """Options of the two streams.

    >>> TwoStreamOptions().steps
    'xxx_xmm_xff'
    """

    steps: str = "xxx_xmm_xff"
    """What each layer does, one after the other: `xxx` and `mmm` are self-attention of the cells and of the words,
    `xmm` lets the cells look at the words, `mxx` the words at the cells, `xmm.mxx` both at once, `xff` and `mff` are
    feed-forward networks (the code's default; all of it: `xxx_mmm_xmm.mxx_xff_mff`)."""
    pool_words: bool = True
    """Whether the words' mean is half of the query's embedding; otherwise only the cells count."""

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = [step for step in self.steps.split("_") if step not in STEPS]
        if wrong or "xmm" not in self.steps:
            what = f"{wrong[0]!r} is no step" if wrong else "the cells never look at the words"
            raise ConfigError(
                f"model.options.steps={self.steps!r}: {what}; join {', '.join(STEPS)} with _, xmm among them"
            )


class Cells(nn.Module):
    """The cells of all levels as tokens, made as `itma` makes them."""

    def __init__(self, options: MaafOptions, shapes: FeatureShapes) -> None:
        super().__init__()
        self.projections, self.positions = projections_and_positions(options.positions, options.heads, shapes)

    def forward(self, maps: Maps) -> list[torch.Tensor]:
        """Feature maps → for each level (B, cells, D)."""
        return cells_of(maps, self.projections, self.positions)


@register("maaf-two-stream")
class TwoStream(Composer):
    """Cells and words are two sequences; what comes out of each is averaged, and the query is the mean of both."""

    Options = TwoStreamOptions

    def __init__(self, options: TwoStreamOptions, shapes: FeatureShapes) -> None:
        super().__init__()
        self.options = options
        self.cells = Cells(options, shapes)
        self.blocks = nn.ModuleList(TwoStreamBlock(options, shapes.dim) for _ in range(options.blocks))
        self.norm_image = LayerNorm(shapes.dim)
        if options.pool_words:
            self.norm_words = LayerNorm(shapes.dim)

    def embed_images(self, maps: Maps) -> torch.Tensor:
        """See `Composer`. In place of the words stands one token of zeros, as in the published code."""
        levels = self.cells(maps)
        nothing_B1D = torch.zeros_like(levels[0][:, :1])
        image_BPD, _ = self._through(torch.cat(levels, 1), nothing_B1D, nothing_B1D[:, :, 0].bool())
        return self._mean_of_levels(image_BPD, levels)

    def join(self, maps: Maps, words: Words) -> torch.Tensor:
        """See `Composer`. A sentence without words is what the image is in the gallery."""
        levels = self.cells(maps)
        image_BPD, words_BTD = self._through(torch.cat(levels, 1), words.features_BTD, words.mask_BT)
        image_BD = self._mean_of_levels(image_BPD, levels)
        if not self.options.pool_words:
            return image_BD
        count_B1 = words.mask_BT.sum(1, keepdim=True)
        words_BD = (self.norm_words(words_BTD) * words.mask_BT[:, :, None]).sum(1) / count_B1.clamp(min=1)
        return torch.where(count_B1 > 0, (image_BD + words_BD) / 2, image_BD)

    def _through(
        self, image_BPD: torch.Tensor, words_BTD: torch.Tensor, mask_BT: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.options.attention == "softmax":
            mask_BT = mask_BT | ~mask_BT.any(1, keepdim=True)  # attention over nothing would be no number
        for block in self.blocks:
            image_BPD, words_BTD = block(image_BPD, words_BTD, mask_BT)
        return image_BPD, words_BTD

    def _mean_of_levels(self, image_BPD: torch.Tensor, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        parts = self.norm_image(image_BPD).split([level.shape[1] for level in levels], 1)
        return torch.stack([part.mean(1) for part in parts]).mean(0)


class TwoStreamBlock(nn.Module):
    """One layer: for each step, what it does to the normed tokens is added to them."""

    def __init__(self, options: TwoStreamOptions, dim: int) -> None:
        super().__init__()
        self.steps = options.steps.split("_")
        self.norms = nn.ModuleList(LayerNorm(dim) for _ in self.steps)
        self.dropout = nn.Dropout(options.dropout)
        self.parts = nn.ModuleDict()  # a step that comes again uses the same weights, as published
        for name in dict.fromkeys(name for step in self.steps for name in step.split(".")):
            self.parts[name] = (
                feed_forward(dim, options.width, options.dropout)
                if name.endswith("ff")
                else Attention(dim, options.heads, kind=options.attention, dropout=options.dropout)
            )

    def forward(
        self, image_BPD: torch.Tensor, words_BTD: torch.Tensor, mask_BT: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, P, D), (B, T, D) and (B, T) → both of the same shape."""
        streams = {"x": image_BPD, "m": words_BTD}
        masks = {"x": None, "m": mask_BT}
        for step, norm in zip(self.steps, self.norms, strict=True):
            before = dict(streams)
            for name in step.split("."):
                whose, source = name[0], name[1]
                normed = norm(before[whose])
                if source == "f":
                    changed = self.parts[name](normed)
                else:
                    memory = normed if source == whose else before[source]
                    changed = self.parts[name](normed, masks[source], memory)
                streams[whose] = before[whose] + self.dropout(changed)
        return streams["x"], streams["m"]


@register("maaf-output-token")
class OutputToken(Composer):
    """One sequence of a learned token, the cells and the words; what the first becomes is the embedding.

    In the published code that token is neither trained nor saved; here it is both.
    """

    Options = MaafOptions

    def __init__(self, options: MaafOptions, shapes: FeatureShapes) -> None:
        super().__init__()
        self.cells = Cells(options, shapes)
        self.token = nn.Parameter(torch.randn(shapes.dim))
        self.blocks = nn.ModuleList(
            Block(shapes.dim, options.heads, options.width, kind=options.attention, dropout=options.dropout)
            for _ in range(options.blocks)
        )
        self.norm = LayerNorm(shapes.dim)

    def embed_images(self, maps: Maps) -> torch.Tensor:
        """See `Composer`."""
        return self.embed_queries(maps, None)

    def embed_queries(self, maps: Maps | None, words: Words | None) -> torch.Tensor:
        """See `Composer`. Without words, and with a sentence that has none, it is what the image is in the gallery."""
        cells = [] if maps is None else self.cells(maps)
        others = torch.cat([*cells, *([] if words is None else [words.features_BTD])], 1)
        B, N, D = others.shape
        tokens_BND = torch.cat([self.token.to(others.dtype).expand(B, 1, D), others], 1)
        mask_BN = None
        if words is not None:
            first = torch.ones(B, 1 + N - words.mask_BT.shape[1], dtype=torch.bool, device=others.device)
            mask_BN = torch.cat([first, words.mask_BT], 1)
        for block in self.blocks:
            tokens_BND = block(tokens_BND, mask_BN)
        return self.norm(tokens_BND)[:, 0]
