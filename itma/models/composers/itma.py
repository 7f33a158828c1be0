"""ITMA: image cells of several levels and the words go through one Transformer (Huynh & Ly, NICS 2021).

Shapes: B queries, P image tokens (all levels' cells), T words, N = P + T tokens, H heads, D = `dim` features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from itma.config import check_ranges
from itma.errors import ConfigError
from itma.models.composers.base import Composer, FeatureShapes, Maps, register
from itma.models.embedder import unit
from itma.models.text_encoders.base import Words
from itma.models.transformer import AttentionKind, Block, LayerNorm, sequence_sinusoids


@dataclass(frozen=True)
class ItmaOptions:
    """ITMA's own options.

    >>> ItmaOptions(blocks=1, attention="identity").heads
    8
    """

    blocks: int = 1
    """Transformer encoder layers."""
    heads: int = 8
    """Attention heads of each layer, at least 1."""
    width: int = 256
    """Hidden features of each layer's feed-forward network."""
    attention: AttentionKind = "softmax"
    """`identity` leaves the scaled scores as they are, masked entries 0 (the published CSS recipe)."""
    positions: Literal["none", "sinusoidal", "learned", "sequence"] = "learned"
    """What is added to tell a token's place. `sinusoidal` and `learned` tell each image token its row and column,
    `learned` by one table for each level; `sequence` numbers all tokens through, words too (MAAF's code)."""
    pool: Literal["levels", "cells", "weighted"] = "levels"
    """Images are the mean over their levels' means, over the cells of all levels alike, or over all cells by weights
    that a learned direction gives them (softmax)."""
    pool_words: bool = True
    """Whether the words' mean is half of the query's embedding; otherwise only the cells count."""
    query: Literal["transformed", "added", "gated"] = "transformed"
    """A query is what comes out of the Transformer with the words (published); or that is added to the reference as the
    gallery sees it; or a gate of the former decides for each feature how much of the latter is kept."""
    gallery_through_transformer: bool = True
    """Whether gallery images go through the Transformer too (without words)."""
    look: float = 0.0
    """Share of an image's embedding, from 0 to 1, that is how strongly the last level's channels answer anywhere in it,
    as the image encoder has it from its pretraining; the rest is what the Transformer makes. An image alone is compared
    by both; a query with words by the rest only. Of images unlike those of the training it finds more of the kind."""
    dropout: float = 0.0
    """Share dropped after attention and inside the feed-forward network; the published recipes use 0.1."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.options", at_least_one="blocks heads width", below_one="dropout look")


@register("itma")
class Itma(Composer):
    """Image-Text Modify Attention; see the seven points of the paper's model in `docs/model.md`."""

    Options = ItmaOptions

    def __init__(self, options: ItmaOptions, shapes: FeatureShapes) -> None:
        super().__init__()
        self.options = options
        self.projections, self.positions = projections_and_positions(options.positions, options.heads, shapes)
        self.blocks = nn.ModuleList(
            Block(shapes.dim, options.heads, options.width, kind=options.attention, dropout=options.dropout)
            for _ in range(options.blocks)
        )
        self.norm = LayerNorm(shapes.dim)
        self.dropout = nn.Dropout(options.dropout)
        if options.pool == "weighted":
            self.weigh = nn.Linear(shapes.dim, 1, bias=False)
            nn.init.zeros_(self.weigh.weight)
        if options.query == "gated":
            self.gate = nn.Linear(shapes.dim, shapes.dim)
        if options.look:
            self.features = shapes.dim + shapes.channels[-1]
            self.standardise = nn.BatchNorm1d(shapes.channels[-1], eps=1e-3, affine=False)

    def embed_images(self, maps: Maps) -> torch.Tensor:
        """See `Composer`."""
        return self._with_look(self._image(maps), maps, None)

    def _image(self, maps: Maps) -> torch.Tensor:
        return self._embed(maps, None, transform=self.options.gallery_through_transformer)

    def embed_queries(self, maps: Maps | None, words: Words | None) -> torch.Tensor:
        """See `Composer`. Without words this is what the same image is in the gallery."""
        if words is None and maps is not None:
            return self.embed_images(maps)
        return self._with_look(self._query(maps, words), maps, words)

    def _with_look(self, rows_BD: torch.Tensor, maps: Maps | None, words: Words | None) -> torch.Tensor:
        """Embeddings with the look of their images beside them, see `ItmaOptions.look`; beside words it is nothing."""
        if not self.options.look:
            return rows_BD
        if maps is None:
            return F.pad(rows_BD, (0, self.standardise.num_features))
        look_BC = unit(self.standardise(maps[-1].amax((2, 3))))
        share_B1 = torch.full_like(rows_BD[:, :1], self.options.look, dtype=torch.float32)
        if words is not None:
            share_B1 = torch.where(words.mask_BT.any(1, keepdim=True), 0.0, share_B1)
        return torch.cat([(1 - share_B1).sqrt() * unit(rows_BD), share_B1.sqrt() * look_BC], 1)

    def _query(self, maps: Maps | None, words: Words | None) -> torch.Tensor:
        changed_BD = self._embed(maps, words)
        if maps is None or self.options.query == "transformed":
            return changed_BD
        reference_BD = self._image(maps)
        if self.options.query == "added":
            return reference_BD + changed_BD
        keep_BD: torch.Tensor = self.gate(changed_BD).sigmoid()
        return keep_BD * reference_BD + (1 - keep_BD) * changed_BD

    def _embed(self, maps: Maps | None, words: Words | None, *, transform: bool = True) -> torch.Tensor:
        cells = [] if maps is None else cells_of(maps, self.projections, self.positions)
        tokens_BND = torch.cat([*cells, *([] if words is None else [words.features_BTD])], 1)
        mask_BN = None
        if words is not None:
            B, P = tokens_BND.shape[0], sum(level.shape[1] for level in cells)
            images_BP = torch.ones(B, P, dtype=torch.bool, device=tokens_BND.device)
            mask_BN = torch.cat([images_BP, words.mask_BT], 1)
            mask_BN = mask_BN | ~mask_BN.any(1, keepdim=True)  # attention over nothing would be no number
        if transform:
            if self.options.positions == "sequence":
                positions_ND = sequence_sinusoids(tokens_BND.shape[1], tokens_BND.shape[2], tokens_BND.device)
                tokens_BND = self.dropout(tokens_BND + positions_ND.to(tokens_BND.dtype))
            for block in self.blocks:
                tokens_BND = block(tokens_BND, mask_BN)
            tokens_BND = self.norm(tokens_BND)
        return self._pool(tokens_BND, [level.shape[1] for level in cells], words)

    def _pool(self, tokens_BND: torch.Tensor, sizes: Sequence[int], words: Words | None) -> torch.Tensor:
        """The mean of the cells, see `ItmaOptions.pool`; with words, the mean of that and the words' mean."""
        if self.options.pool == "cells" and sizes:
            sizes = [sum(sizes)]
        parts = tokens_BND.split([*sizes, tokens_BND.shape[1] - sum(sizes)], 1)
        images_BD: torch.Tensor | None = None
        if sizes and self.options.pool == "weighted":
            cells_BPD = torch.cat(parts[:-1], 1)
            images_BD = (self.weigh(cells_BPD).softmax(1) * cells_BPD).sum(1)
        elif sizes:
            images_BD = torch.stack([part.mean(1) for part in parts[:-1]]).mean(0)
        if words is None or (images_BD is not None and not self.options.pool_words):
            assert images_BD is not None
            return images_BD
        count_B1 = words.mask_BT.sum(1, keepdim=True)
        words_BD: torch.Tensor = (parts[-1] * words.mask_BT[:, :, None]).sum(1) / count_B1.clamp(min=1)
        if images_BD is None:
            return words_BD
        return torch.where(count_B1 > 0, (images_BD + words_BD) / 2, images_BD)


def projections_and_positions(positions: str, heads: int, shapes: FeatureShapes) -> tuple[nn.ModuleList, nn.ModuleList]:
    """What makes tokens of each level's cells: 1×1 convolution, batch norm and ReLU; and what tells their places.

    Raises:
        ConfigError: the tokens cannot be divided among so many heads of attention.
    """
    if shapes.dim % heads:
        raise ConfigError(f"model.dim={shapes.dim} must be a multiple of model.options.heads={heads}")
    projections = nn.ModuleList(
        nn.Sequential(nn.Conv2d(channels, shapes.dim, 1, bias=False), nn.BatchNorm2d(shapes.dim, eps=1e-3), nn.ReLU())
        for channels in shapes.channels
    )
    return projections, nn.ModuleList(Positions(positions, shapes.dim, grid) for grid in shapes.grids)


def cells_of(maps: Maps, projections: nn.ModuleList, positions: nn.ModuleList) -> list[torch.Tensor]:
    """Each level's cells as tokens: (B, rows · columns, D)."""
    return [
        position(projection(map_BCHW)).flatten(2).transpose(1, 2)
        for map_BCHW, projection, position in zip(maps, projections, positions, strict=True)
    ]


class Positions(nn.Module):
    """Adds to each cell of one level's map what tells its place.

    A learned table has the size of the map at the model's own image size, and is interpolated for other sizes.
    """

    def __init__(self, kind: str, dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.kind = kind
        if kind == "learned":
            self.table = nn.Parameter(_sinusoids(dim, *grid))
        elif kind == "sinusoidal" and dim % 4:
            raise ConfigError(f"sinusoidal positions need model.dim to be a multiple of 4; it is {dim}")

    def forward(self, map_BDHW: torch.Tensor) -> torch.Tensor:
        """(B, D, rows, columns) → the same shape."""
        if self.kind in ("none", "sequence"):
            return map_BDHW
        D, H, W = map_BDHW.shape[1:]
        if self.kind == "sinusoidal":
            return map_BDHW + _sinusoids(D, H, W).to(map_BDHW)
        table = self.table[None]
        if table.shape[-2:] != (H, W):
            table = F.interpolate(table, (H, W), mode="bilinear", align_corners=False)
        return map_BDHW + table.to(map_BDHW.dtype)


def _sinusoids(dim: int, rows: int, columns: int) -> torch.Tensor:
    """Sines and cosines of row and column at halving wavelengths: (dim, rows, columns).

    The longest wavelength is four times the grid, so that images of any number of cells share one coordinate system.
    """
    quarter = -(-dim // 4)
    frequencies = torch.pi / 2 * 2.0 ** torch.linspace(0, 4, quarter)
    y = (torch.arange(rows) + 0.5) / rows * frequencies[:, None]
    x = (torch.arange(columns) + 0.5) / columns * frequencies[:, None]
    table = torch.cat(
        [
            torch.sin(y)[:, :, None].expand(-1, rows, columns),
            torch.cos(y)[:, :, None].expand(-1, rows, columns),
            torch.sin(x)[:, None, :].expand(-1, rows, columns),
            torch.cos(x)[:, None, :].expand(-1, rows, columns),
        ]
    )
    return table[:dim].contiguous()
