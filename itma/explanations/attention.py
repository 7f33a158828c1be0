"""Where a Transformer composer looks: its weights as they are, and joined over its blocks.

Shapes: N tokens, of which the first are the cells of all levels, row by row, and the rest the words; H heads.
A weight in row i and column j says how much token i takes from token j.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from itma.errors import ConfigError, ExplanationError
from itma.explanations.case import Case, Word
from itma.models.composers.itma import Itma
from itma.models.transformer import Attention, AttentionKind


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """The attention of one query."""

    kind: AttentionKind
    """`softmax`: a token's weights are shares and sum to 1. `identity`: they are raw scores of either sign, no shares
    of anything, and are never joined over blocks."""
    weights: np.ndarray
    """(blocks, H, N, N) float32."""
    pool: np.ndarray
    """(N,) float32: the share of each outgoing token in what is pooled: the query's embedding, or what is joined to the
    reference's (see `ItmaOptions.query`)."""
    grids: tuple[tuple[int, int], ...]
    """(rows, columns) of each level's cells; the first tokens are theirs, level after level."""
    words: tuple[Word, ...] = ()

    @property
    def cells(self) -> int:
        """Tokens that are cells."""
        return sum(rows * columns for rows, columns in self.grids)

    @property
    def rollout(self) -> np.ndarray | None:
        """(N, N): what each outgoing token holds of each incoming one; nothing for identity attention.

        The weights' mean over the heads is W; a block passes on ½ W + ½ I, because it adds what it reads to what it
        has; the blocks' matrices are multiplied (Abnar & Zuidema 2020, arXiv:2005.00928, section 4). The feed-forward
        networks are passed over, so this is a model of the flow and not the flow.
        """
        return rollout(self.weights) if self.kind == "softmax" else None

    def of_word(
        self, word: int | None = None, *, level: int = 0, block: int | None = None, head: int | None = None
    ) -> np.ndarray:
        """What a word takes from each cell: (rows, columns).

        Args:
            word: which of `words`; None: the mean over all of them.
            level: which of `grids`.
            block: of the Transformer; None: the rollout, or, for identity attention, the mean of the blocks' scores.
            head: of the block; None: the mean over the heads.

        Raises:
            ExplanationError: there are no words, or the model does not read this one.
            ConfigError: there is no such level, block or head.
        """
        chosen = range(len(self.words)) if word is None else [word]
        tokens = [self.cells + token for one in chosen for token in self.words[one].tokens]
        if not tokens:
            reason = (
                "there is no word" if word is None else f"the model does not read the word {self.words[word].text!r}"
            )
            raise ExplanationError(f"attention of a word: {reason}")
        return self._on(level, self._matrix(block, head)[tokens].mean(0))

    def of_embedding(self, *, level: int = 0) -> np.ndarray | None:
        """What the query's embedding holds of each cell, by rollout and pooling; nothing for identity attention."""
        joined = self.rollout
        return None if joined is None else self._on(level, self.pool @ joined)

    def _matrix(self, block: int | None, head: int | None) -> np.ndarray:
        blocks, heads = self.weights.shape[:2]
        for name, value, most in (("block", block, blocks), ("head", head, heads)):
            if value is not None and not 0 <= value < most:
                raise ConfigError(f"{name}={value}: this model has the {name}s 0 to {most - 1}")
        if block is None and head is not None:
            raise ConfigError(f"head={head} is that of a block; say of which")
        if block is None:
            joined = self.rollout
            return np.asarray(self.weights.mean((0, 1)) if joined is None else joined)
        return np.asarray(self.weights[block].mean(0) if head is None else self.weights[block, head])

    def _on(self, level: int, tokens: np.ndarray) -> np.ndarray:
        """(N,) → the cells of one level as (rows, columns)."""
        if not 0 <= level < len(self.grids):
            raise ConfigError(f"level={level}: this query has the levels 0 to {len(self.grids) - 1}")
        first = sum(rows * columns for rows, columns in self.grids[:level])
        rows, columns = self.grids[level]
        return tokens[first : first + rows * columns].reshape(rows, columns)


def rollout(weights: np.ndarray) -> np.ndarray:
    """Softmax weights (blocks, H, N, N) → (N, N); rows sum to 1. See `AttentionMaps.rollout`.

    >>> rollout(np.eye(2)[None, None])
    array([[1., 0.],
           [0., 1.]])
    """
    size = weights.shape[-1]
    joined = np.eye(size)
    for block in weights.astype(np.float64).mean(1):
        passed = (block + np.eye(size)) / 2
        joined = passed / passed.sum(1, keepdims=True) @ joined
    return joined


def has_attention(model: nn.Module) -> bool:
    """Whether a retriever's composer has attention that can be shown."""
    return isinstance(getattr(model, "composer", None), Itma)


def attention_of(case: Case) -> AttentionMaps:
    """The attention of a query.

    Raises:
        ExplanationError: the model has none, or the query has no reference, or several turns that are read one by one.
    """
    composer = case.model.composer
    if not isinstance(composer, Itma):
        raise ExplanationError(
            f"the model {case.model.name!r} has no attention that could be shown; ask for words, regions or gradients, "
            "which work with every model"
        )
    if case.reference is None:
        raise ExplanationError("attention is shown on the cells of a reference, and this query has none")
    case.check_one_turn("attention is")
    maps = case.maps or []
    with record_blocks(composer) as record:
        case.model.embed_queries_from(maps, None if case.text is None else [case.text])
    blocks = record.weights[: len(composer.blocks)]  # with words; a composer may ask for the reference alone afterwards
    grids = tuple((int(level.shape[2]), int(level.shape[3])) for level in maps)
    pieces = [] if case.text is None or not case.model.reads_words else case.model.tokenizer.pieces(case.text)
    options = composer.options
    weights = torch.cat(blocks).float().cpu().numpy() if blocks else np.zeros((0, 1, 0, 0), dtype=np.float32)
    cells = shares_of_cells(grids, options.pool == "cells", record.cells[0][0] if record.cells else None)
    pool = pooling(cells, len(pieces), words_count=options.pool_words)
    return AttentionMaps(options.attention, weights, pool, grids, case.words())


@dataclass(frozen=True)
class Recorded:
    """What a composer computed on its way, in that order."""

    weights: list[torch.Tensor] = field(default_factory=list)
    """Of each block, (batch, H, N, N)."""
    values: list[torch.Tensor] = field(default_factory=list)
    """What each block's value map made of the tokens, (batch, N, D)."""
    cells: list[torch.Tensor] = field(default_factory=list)
    """Where cells are pooled by learned weights: these, (batch, cells)."""


@contextmanager
def record_blocks(composer: Itma) -> Iterator[Recorded]:
    """Gather what the blocks compute while the composer answers in this thread.

    The last columns and rows are those of padding where sentences differ in length.

    The weights are what goes into the dropout behind them, so that a hook there sees them and the model stays as it is.
    """
    record = Recorded()
    thread = threading.get_ident()

    def keep(tensors: list[torch.Tensor], tensor: torch.Tensor) -> None:
        if threading.get_ident() == thread:  # others may be searching with the same model
            tensors.append(tensor.detach())

    hooks = []
    for attention in attentions(composer):
        hooks.append(attention.dropout.register_forward_pre_hook(lambda module, args: keep(record.weights, args[0])))
        hooks.append(attention.value.register_forward_hook(lambda module, args, output: keep(record.values, output)))
    if composer.options.pool == "weighted":
        hooks.append(
            composer.weigh.register_forward_hook(
                lambda module, args, output: keep(record.cells, output[:, :, 0].softmax(1))
            )
        )
    try:
        yield record
    finally:
        for hook in hooks:
            hook.remove()


def measure_moved(weights: torch.Tensor, values: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """How much each token hands each other one: the length of the vector, whatever the weight's sign.

    A weight says little where the vector that it multiplies is short (Kobayashi et al. 2020, arXiv:2004.10102, eq. 5).

    Args:
        weights: (batch, H, N, N) of one block.
        values: (batch, N, D) what its value map made of the tokens.
        output: (D, D) the weight of its output map.

    Returns:
        (batch, N, N): in row i and column j, the length of what token i is given by token j.
    """
    heads = weights.shape[1]
    parts = values.unflatten(2, (heads, values.shape[2] // heads))
    mixed = torch.einsum("bhij,bjhd->bijhd", weights, parts).flatten(3)
    lengths: torch.Tensor = (mixed @ output.T).norm(dim=3)
    return lengths


def attentions(composer: Itma) -> list[Attention]:
    """The attention of each block."""
    return [module for module in composer.blocks.modules() if isinstance(module, Attention)]


def shares_of_cells(grids: tuple[tuple[int, int], ...], whole: bool, weighed: torch.Tensor | None = None) -> np.ndarray:
    """(cells,) float32: each cell's share in the image's part of the embedding; see `ItmaOptions.pool`.

    >>> shares_of_cells(((1, 2), (1, 1)), False).tolist()
    [0.25, 0.25, 0.5]

    Args:
        grids: of the levels.
        whole: whether the cells of all levels count alike, rather than the levels.
        weighed: (cells,) the weights that they are pooled by, where those are learned.
    """
    if weighed is not None:
        return np.asarray(weighed.float().cpu())
    sizes = [rows * columns for rows, columns in grids]
    each = [1 / sum(sizes) if whole else 1 / (size * len(sizes)) for size in sizes for _ in range(size)]
    return np.array(each, dtype=np.float32)


def pooling(cells: np.ndarray, words: int, *, words_count: bool = True) -> np.ndarray:
    """(N,) float32: each outgoing token's share in the embedding; see `ItmaOptions.pool_words`.

    >>> pooling(np.array([0.5, 0.5]), 2).tolist()
    [0.25, 0.25, 0.25, 0.25]

    Args:
        cells: see `shares_of_cells`.
        words: how many tokens of words there are.
        words_count: whether their mean is half of the embedding.
    """
    if words and words_count:
        return np.concatenate([cells / 2, np.full(words, 1 / (2 * words))]).astype(np.float32)
    return np.concatenate([cells, np.zeros(words)]).astype(np.float32)
