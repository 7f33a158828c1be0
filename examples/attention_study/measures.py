"""One model on the shapes world: where its attention goes, and what its answer depends on.

A share is that of three parts of the reference: the thing concerned, the other things, the floor. Shapes: B queries,
N tokens, P cells, T words; W windows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from examples.attention_study.scenes import Scene
from itma.errors import ExplanationError
from itma.explanations.attention import (
    attentions,
    has_attention,
    measure_moved,
    pooling,
    record_blocks,
    rollout,
    shares_of_cells,
)
from itma.explanations.case import AT_ONCE, words_of
from itma.explanations.occlusion import Cells, cover, window_masks
from itma.models.composers.itma import Itma
from itma.models.retriever import Retriever
from itma.progress import bar

ATTENTION = ("naming words", "all words", "words, moved", "embedding", "embedding, moved", "rollout")
"""What is looked at, by name.

`naming words`: what the words that name the thing take from each cell, the mean over blocks and heads; `all words`: all
words likewise; `embedding`: what all outgoing tokens take, each by its share in the pooled embedding. Weights count as
they are with softmax, by their size with identity attention, where they are no shares. `moved` counts the length of
what is handed over in their place. `rollout` joins the blocks with their residual connections; softmax alone has it.
"""
PARTS = ("concerned", "others", "floor")


@dataclass(frozen=True, eq=False)
class Measures:
    """One model on some queries."""

    groups: np.ndarray
    """(queries,) text: `add`, `remove`, `change`."""
    references: np.ndarray
    """(queries,) int64."""
    concerned: np.ndarray
    """(queries,) int64: the thing of the reference; −1 where one is to be added."""
    area: np.ndarray
    """(queries, 3): the shares of `PARTS` in the image, which is what evenly spread attention would give them."""
    shares: dict[str, np.ndarray]
    """Name of `ATTENTION` → (queries, 3)."""
    named: dict[str, np.ndarray]
    """Name of `ATTENTION` → (queries, 2): the share of the thing concerned, and that of the same thing of the same
    reference under sentences that concern others; no number where there are none."""
    occlusion: np.ndarray
    """(queries, 3): shares of the windows' effects on the score, by their size."""
    occlusion_area: np.ndarray
    """(queries, 3): the same for windows of equal effects."""
    hit: np.ndarray
    """(queries,) bool: whether the most effective window shows more of the thing concerned than of any other thing."""
    chance: np.ndarray
    """(queries,): the share of the windows that do."""
    needed: np.ndarray
    """(queries, 2): how far the query's embedding moves (1 − cosine) where the thing concerned is taken out of the
    image, and the mean over the other things; no number where there is none."""
    needed_alone: np.ndarray
    """(queries, 2): the same for the reference without any feedback."""
    recall: float
    """Recall@1 of the model on the whole split, by label, without the reference."""


def measured(
    model: Retriever,
    queries: Sequence[Scene],
    pixels: Callable[[Sequence[int]], torch.Tensor],
    without: Callable[[int], torch.Tensor],
    targets: torch.Tensor,
    recall: float,
    *,
    progress: bool = False,
) -> Measures:
    """Measure a model.

    Args:
        model: with attention.
        queries: taken apart.
        pixels: (images, 3, height, width) uint8 of some images.
        without: (things, 3, height, width) uint8, an image without each of its things.
        targets: (queries, dim) embeddings of the targets.
        recall: recall@1.
        progress: show a progress bar.

    Raises:
        ExplanationError: the model has no attention.
    """
    if not has_attention(model):
        raise ExplanationError(f"the model {model.name!r} has no attention that could be studied; train one with: itma")
    order = sorted(range(len(queries)), key=lambda index: queries[index].reference)
    rows: dict[str, list[np.ndarray]] = {}
    attention: dict[str, list[np.ndarray]] = {}
    with bar(f"studying {model.name}", show=progress, total=len(order), unit="queries") as meter:
        for run in _by_reference(queries, order):
            some = [queries[index] for index in run]
            image = pixels([some[0].reference])[0]
            shares = _attention(model, some, image)
            for name, cells in shares.items():
                attention.setdefault(name, []).extend(cells)
            effects = _effects(model, some, image, targets[run])
            effects |= _needs(model, some, image, without(some[0].reference))
            for name, values in effects.items():
                rows.setdefault(name, []).extend(values)
            meter.update(len(run))
    back = np.argsort(order)
    joined = {name: np.array(values)[back] for name, values in rows.items()}
    looks = {name: [values[index] for index in back] for name, values in attention.items()}
    grids = _grids(model, pixels([queries[0].reference]))
    parts = [_on_cells(one.parts, grids) for one in queries]
    return Measures(
        groups=np.array([one.group for one in queries]),
        references=np.array([one.reference for one in queries]),
        concerned=np.array([-1 if one.concerned is None else one.concerned for one in queries]),
        area=np.stack([part.mean(1) for part in parts]),
        shares={
            name: np.stack([_shares(one, part) for one, part in zip(values, parts, strict=True)])
            for name, values in looks.items()
        },
        named={name: _named(queries, values, grids) for name, values in looks.items()},
        recall=recall,
        **joined,
    )


def _by_reference(queries: Sequence[Scene], order: Sequence[int]) -> Iterator[list[int]]:
    run: list[int] = []
    for index in order:
        if run and queries[run[0]].reference != queries[index].reference:
            yield run
            run = []
        run.append(index)
    if run:
        yield run


def _grids(model: Retriever, pixels: torch.Tensor) -> list[tuple[int, int]]:
    return [(level.shape[2], level.shape[3]) for level in model.feature_maps(pixels)]


def _on_cells(parts: torch.Tensor, grids: Sequence[tuple[int, int]]) -> np.ndarray:
    """(parts, height, width) → (parts, P): the share of each part in each cell, level after level."""
    cells: np.ndarray = torch.cat([F.adaptive_avg_pool2d(parts[None], grid)[0].flatten(1) for grid in grids], 1).numpy()
    return cells


def _shares(cells: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """(P,) of any sum and (parts, P) → (parts,) summing to 1."""
    shares: np.ndarray = parts @ cells / max(cells.sum(), 1e-30)
    return shares


def _named(queries: Sequence[Scene], cells: Sequence[np.ndarray], grids: Sequence[tuple[int, int]]) -> np.ndarray:
    shares = np.full((len(queries), 2), np.nan)
    by_reference: dict[int, list[int]] = {}
    for index, one in enumerate(queries):
        by_reference.setdefault(one.reference, []).append(index)
    for index, one in enumerate(queries):
        if one.concerned is None:
            continue
        thing = _on_cells(one.mask[None].float(), grids)
        shares[index, 0] = _shares(cells[index], thing)[0]
        others = [other for other in by_reference[one.reference] if queries[other].concerned != one.concerned]
        if others:
            shares[index, 1] = np.mean([_shares(cells[other], thing)[0] for other in others])
    return shares


def _attention(model: Retriever, queries: Sequence[Scene], image: torch.Tensor) -> dict[str, list[np.ndarray]]:
    """Name of `ATTENTION` → for each query of one reference (P,) not below 0."""
    composer = model.composer
    assert isinstance(composer, Itma)
    maps = model.feature_maps(image[None])
    grids = tuple((int(level.shape[2]), int(level.shape[3])) for level in maps)
    P = sum(rows * columns for rows, columns in grids)
    with record_blocks(composer) as recorded:
        model.embed_queries_from(
            [level.expand(len(queries), -1, -1, -1) for level in maps], [q.feedback for q in queries]
        )
    blocks = attentions(composer)
    weights, values = recorded.weights[: len(blocks)], recorded.values[: len(blocks)]
    softmax = composer.options.attention == "softmax"
    looked = torch.stack(weights).float().cpu()
    mean_BNN = (looked if softmax else looked.abs()).mean((0, 2)).numpy()
    weighted = torch.stack(
        [
            measure_moved(one, value, block.output.weight.detach()).cpu()
            for one, value, block in zip(weights, values, blocks, strict=True)
        ]
    )
    handed_BNN = weighted.mean(0).numpy()
    shares: dict[str, list[np.ndarray]] = {name: [] for name in ATTENTION if softmax or name != "rollout"}
    for index, one in enumerate(queries):
        words = words_of(model.tokenizer, one.feedback)
        T = len(model.tokenizer.pieces(one.feedback))
        N = P + T
        of_all = [P + token for word in words for token in word.tokens]
        of_naming = [P + token for word in one.naming for token in words[word].tokens]
        cells = shares_of_cells(
            grids, composer.options.pool == "cells", recorded.cells[0][index] if recorded.cells else None
        )
        pool = pooling(cells, T, words_count=composer.options.pool_words)
        mean, handed = mean_BNN[index, :N, :N], handed_BNN[index, :N, :N]
        shares["naming words"].append(mean[of_naming, :P].mean(0))
        shares["all words"].append(mean[of_all, :P].mean(0))
        shares["words, moved"].append(handed[of_all, :P].mean(0))
        shares["embedding"].append((pool @ mean)[:P])
        shares["embedding, moved"].append((pool @ handed)[:P])
        if softmax:
            shares["rollout"].append((pool @ rollout(looked[:, index, :, :N, :N].numpy()))[:P])
    return shares


def _answers(model: Retriever, maps: Sequence[torch.Tensor], feedback: Sequence[str] | None) -> torch.Tensor:
    """(rows, dim) on the CPU."""
    count = len(maps[0])
    parts = []
    for first in range(0, count, 8 * AT_ONCE):
        some = slice(first, first + 8 * AT_ONCE)
        sentences = None if feedback is None else feedback[some]
        parts.append(model.embed_queries_from([level[some] for level in maps], sentences).cpu())
    return torch.cat(parts)


def _maps(model: Retriever, images: torch.Tensor) -> list[torch.Tensor]:
    parts = [model.feature_maps(images[first : first + AT_ONCE]) for first in range(0, len(images), AT_ONCE)]
    return [torch.cat(level) for level in zip(*parts, strict=True)]


def _crossed(model: Retriever, maps: Sequence[torch.Tensor], feedback: Sequence[str]) -> torch.Tensor:
    """(sentences, images, dim): every sentence with every image; the image encoder has seen each image once."""
    images = len(maps[0])
    repeated = [level.repeat(len(feedback), 1, 1, 1) for level in maps]
    sentences = [sentence for sentence in feedback for _ in range(images)]
    crossed: torch.Tensor = _answers(model, repeated, sentences).unflatten(0, (len(feedback), images))
    return crossed


def _effects(
    model: Retriever, queries: Sequence[Scene], image: torch.Tensor, targets: torch.Tensor
) -> dict[str, list[np.ndarray]]:
    """What covering each window of one reference does to the scores of its queries."""
    height, width = image.shape[1:]
    windows = Cells(height, width).windows()
    masks = window_masks(windows, height, width)
    maps = _maps(model, torch.cat([image[None], cover(image, masks)]))
    scores = (_crossed(model, maps, [one.feedback for one in queries]) @ targets[:, :, None])[:, :, 0]
    effects = (scores[:, :1] - scores[:, 1:]).numpy()
    measures: dict[str, list[np.ndarray]] = {"occlusion": [], "occlusion_area": [], "hit": [], "chance": []}
    flat = masks.flatten(1).float()
    for index, one in enumerate(queries):
        parts = (flat @ one.parts.flatten(1).T / flat.sum(1, keepdim=True)).T.numpy()
        size = np.abs(effects[index])
        measures["occlusion"].append(_shares(size, parts))
        measures["occlusion_area"].append(parts.mean(1))
        shows = _showing(one, flat)
        measures["hit"].append(shows[size.argmax()])
        measures["chance"].append(shows.mean())
    return measures


def _showing(query: Scene, windows: torch.Tensor) -> np.ndarray:
    """(W,) bool: whether a window shows more of the thing concerned, or of its place, than of any other thing."""
    covered = (windows @ query.things.flatten(1).float().T).numpy()
    if query.concerned is None:
        covered = np.concatenate([covered, (windows @ query.mask.flatten().float()[:, None]).numpy()], 1)
    thing = covered.shape[1] - 1 if query.concerned is None else query.concerned
    shows: np.ndarray = (covered.argmax(1) == thing) & (covered.max(1) > 0)
    return shows


def _needs(
    model: Retriever, queries: Sequence[Scene], image: torch.Tensor, without: torch.Tensor
) -> dict[str, list[np.ndarray]]:
    """How far a query's embedding moves without the thing concerned, and without each other thing."""
    maps = _maps(model, torch.cat([image[None], without]))
    crossed = _crossed(model, maps, [one.feedback for one in queries])
    alone = _answers(model, maps, None)
    moves = (1 - crossed[:, 1:] @ crossed[:, :1].transpose(1, 2))[:, :, 0].numpy()
    moves_alone = (1 - alone[1:] @ alone[0]).numpy()
    needs: dict[str, list[np.ndarray]] = {"needed": [], "needed_alone": []}
    for index, one in enumerate(queries):
        for name, moved_by in (("needed", moves[index]), ("needed_alone", moves_alone)):
            others = [value for thing, value in enumerate(moved_by.tolist()) if thing != one.concerned]
            needs[name].append(
                np.array(
                    [
                        np.nan if one.concerned is None else moved_by[one.concerned],
                        np.mean(others) if others else np.nan,
                    ]
                )
            )
    return needs
