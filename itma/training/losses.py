"""Losses over a batch: modules known by name, over pure functions of embeddings.

Shapes: N rows, D features, A aspects. Rows of the same label have targets that count as the same image; such a target
is never a negative of the other row.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from itma.config import NoOptions, check_ranges
from itma.data.batching import Batch
from itma.registry import Registry


@dataclass(frozen=True)
class LossBatch:
    """What a loss is given: the embeddings of one batch, and what is known of the images behind them."""

    queries: torch.Tensor
    """(N, D) of length 1."""
    targets: torch.Tensor
    """(N, D) of length 1: row i is the target of query i."""
    labels: torch.Tensor
    """(N,) int64: targets of one label count as the same image."""
    scale: torch.Tensor
    """A scalar, learned: how long embeddings are in the loss."""
    references: torch.Tensor | None = None
    """(N, D) of length 1: the references, embedded as images of a gallery; None where the loss does not read them."""
    reference_labels: torch.Tensor | None = None
    """(N,) int64: the references' labels; that of the target where a row has no reference."""
    aspects: torch.Tensor | None = None
    """(N, A) int64: what is true of the targets, −1 where it is not known; None where the loss does not read it."""
    reference_aspects: torch.Tensor | None = None
    """(N, A) int64: what is true of the references; -2 where a row has none."""
    extras: tuple[torch.Tensor, ...] = ()
    """What `Loss.extras` made of the batch."""

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        """scale² · cosine of each query with each of some (M, D) embeddings: (N, M)."""
        return self.scale**2 * self.queries @ images.T


class Loss(nn.Module):
    """One number of a batch, smaller where queries are nearer to their targets than to other images.

    A loss is made from its options. It has no weights: what is learned belongs to the model. What it remembers from one
    batch to the next it holds in buffers, which a checkpoint keeps.

    Args:
        options: an `Options` of this loss; None: its defaults.
    """

    Options: ClassVar[type] = NoOptions
    """The frozen dataclass of this loss's own options."""
    reads_references: bool = False
    """Whether it looks at `LossBatch.references`, which cost a pass through the composer."""
    reads_aspects: bool = False
    """Whether it looks at `LossBatch.aspects`, which only some data have."""

    def __init__(self, options: Any = None) -> None:
        super().__init__()
        self.options = self.Options() if options is None else options

    def extras(self, batch: Batch, device: torch.device) -> tuple[torch.Tensor, ...]:
        """What it makes of the images and sentences themselves, before they are embedded; without gradient.

        Returns:
            Tensors of one row for each row of the batch, which come back in `LossBatch.extras`; none, where it looks at
            embeddings alone.
        """
        return ()

    def forward(self, batch: LossBatch) -> torch.Tensor:
        """The loss of a batch, a scalar."""
        raise NotImplementedError


REGISTRY: Registry[type[Loss]] = Registry(
    "loss",
    Loss,
    {
        "classification": __name__,
        "distillation": f"{__package__}.distillation",
        "graded": __name__,
        "hard-negatives": f"{__package__}.hard_negatives",
        "memory-bank": f"{__package__}.memory_bank",
        "soft-triplet": __name__,
    },
)
"""Loss by name."""
register = REGISTRY.register
loss_named = REGISTRY.find


@dataclass(frozen=True)
class ClassificationOptions:
    """Options of the batch-based classification."""

    drop_worst: float = 0.0
    """Share of a batch's rows, those of the largest loss, that it leaves out (an option of MAAF's code)."""
    reference_negatives: bool = False
    """Whether the references of a batch are compared with too: an answer that ignores the feedback then costs."""
    both_ways: bool = False
    """Whether each target is compared with every query as well, and both losses are averaged: CLIP's loss (Radford et
    al. 2021, arXiv:2103.00020, figure 3) and Pic2Word's."""

    def __post_init__(self) -> None:
        check_ranges(self, "train.loss_options", below_one="drop_worst")


@dataclass(frozen=True)
class GradedOptions(ClassificationOptions):
    """Options of the graded loss."""

    weight: float = 0.5
    """What the order of the images that are not the answer counts beside the classification."""
    changed: float = 3.0
    """How many aspects that the feedback leaves alone one counts for that it changes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, "train.loss_options", not_negative="weight changed")


@register("classification")
class Classification(Loss):
    """Cross-entropy of each query against every target in the batch (Vo et al. 2019, eq. 6, with K = N)."""

    Options = ClassificationOptions

    @property
    def reads_references(self) -> bool:  # type: ignore[override]  # decided by an option
        """See `Loss`."""
        return bool(self.options.reference_negatives)

    def forward(self, batch: LossBatch) -> torch.Tensor:
        """See `Loss`."""
        images = batch.targets if batch.references is None else torch.cat([batch.targets, batch.references])
        scores, drop_worst = batch.scores(images), self.options.drop_worst
        others = None if batch.references is None else batch.reference_labels
        loss = batch_classification(scores, batch.labels, others=others, drop_worst=drop_worst)
        if not self.options.both_ways:
            return loss
        back = batch_classification(scores[:, : len(batch.labels)].T, batch.labels, drop_worst=drop_worst)
        return (loss + back) / 2


@register("graded")
class Graded(Classification):
    """Classification, and an order among the images that are not the answer.

    What has more in common with the answer comes first, so that a near one is found where the very thing is not there.
    For data that say what is true of an image.
    """

    Options = GradedOptions
    reads_aspects = True

    def forward(self, batch: LossBatch) -> torch.Tensor:
        """See `Loss`."""
        assert batch.aspects is not None and batch.reference_aspects is not None
        rest = grade_rest(
            batch.scores(batch.targets),
            torch.cat([batch.labels, batch.labels]),
            wanted=batch.aspects,
            references=batch.reference_aspects,
            others=batch.aspects,
            changed=self.options.changed,
        )
        return super().forward(batch) + self.options.weight * rest


@register("soft-triplet")
class SoftTriplet(Loss):
    """TIRG's soft triplet loss, over all negatives of the batch (Vo et al. 2019, eq. 6, with K = 2)."""

    def forward(self, batch: LossBatch) -> torch.Tensor:
        """See `Loss`."""
        return soft_triplet(batch.scale * batch.queries, batch.scale * batch.targets, batch.labels)


def batch_classification(
    logits: torch.Tensor, labels: torch.Tensor, *, others: torch.Tensor | None = None, drop_worst: float = 0.0
) -> torch.Tensor:
    """Cross-entropy of each query against every target in the batch (Vo et al. 2019, eq. 6, with K = N).

    Args:
        logits: (N, N + M); entry (i, j) is query i against target j, or against one of M more images.
        labels: (N,) int64.
        others: (M,) int64, labels of the further images; one that is some row's target, or repeated, counts once.
        drop_worst: share of the rows, those of the largest loss, that do not count; a part of a row counts as one.

    Returns:
        The mean over the rows, a scalar.

    >>> batch_classification(torch.tensor([[9.0, 9.0], [9.0, 9.0]]), torch.tensor([7, 7])).item()
    0.0
    """
    N = len(logits)
    same = labels[:, None] == (labels if others is None else torch.cat([labels, others]))[None, :]
    same.fill_diagonal_(False)
    if others is not None:
        again = torch.isin(others, labels) | (others[:, None] == others[None, :]).tril(-1).any(1)
        same[:, N:] |= again
    right = torch.arange(N, device=logits.device)
    losses = F.cross_entropy(logits.masked_fill(same, float("-inf")), right, reduction="none")
    if drop_worst:
        losses = losses.topk(max(1, int(N * (1 - drop_worst))), largest=False).values
    return losses.mean()


def grade_rest(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    wanted: torch.Tensor,
    references: torch.Tensor,
    others: torch.Tensor,
    changed: float = 3.0,
) -> torch.Tensor:
    """How well the images that are not the answer are ordered: those that have more of what it has come first.

    Each query's scores of these images are compared by cross-entropy with a distribution in which an aspect that a
    image has not in common with the target divides its share by e (`ListNet`, Cao et al. 2007); by e to the power of
    `changed` where the feedback changed that aspect, and for the first aspect, which says what kind of thing it is. An
    aspect that is not known of one of them, −1, does not count.

    Args:
        logits: (N, M); entry (i, j) is query i against image j.
        labels: (N + M,) int64: those of the N targets, then those of the M images.
        wanted: (N, A) int64, the targets' aspects.
        references: (N, A) int64, the references' aspects; what differs from them is what the feedback changed.
        others: (M, A) int64, the images' aspects.
        changed: how many aspects that the feedback leaves alone one counts for that it changes.

    Returns:
        The mean over the rows of the Kullback-Leibler divergence, a scalar; 0 where no row has an image to order.

    >>> aspects = torch.tensor([[1, 2], [1, 3], [4, 5]])
    >>> logits, labels = torch.tensor([[9.0, 3.0, -1.0]]), torch.tensor([7, 7, 8, 9])
    >>> round(grade_rest(logits, labels, wanted=aspects[:1], references=aspects[:1], others=aspects).item(), 3)
    0.017
    """
    N = len(logits)
    weights_NA = torch.where(wanted != references, changed, 1.0)
    weights_NA[:, 0] = changed
    known_NMA = (wanted >= 0)[:, None, :] & (others >= 0)[None, :, :]
    apart_NMA = (wanted[:, None, :] != others[None, :, :]) & known_NMA
    distances_NM = (apart_NMA * weights_NA[:, None, :]).sum(2).to(logits.dtype)
    same_NM = labels[:N, None] == labels[None, N:]
    ordered_N = ~same_NM.all(1)
    if not ordered_N.any():
        return logits.sum() * 0
    lowest = torch.finfo(logits.dtype).min / 2
    shares = (-distances_NM).masked_fill(same_NM, lowest)[ordered_N].log_softmax(1)
    scores = logits.masked_fill(same_NM, lowest)[ordered_N].log_softmax(1)
    return F.kl_div(scores, shares, reduction="batchmean", log_target=True)


def soft_triplet(queries: torch.Tensor, targets: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """TIRG's soft triplet loss: mean of log(1 + exp(d(a, p) − d(a, n))) with squared distances.

    Each query and each target is an anchor a; its partner is the positive p; all queries and targets of other labels
    are negatives n. The published code draws three negatives for each anchor; this is the mean over all of them,
    which is what that sample estimates (Vo et al. 2019, eq. 6, with K = 2).

    Args:
        queries: (N, D), scaled.
        targets: (N, D), scaled.
        labels: (N,) int64.

    Returns:
        A scalar; 0 where no row has a negative.
    """
    N = len(queries)
    rows = torch.cat([queries, targets])
    squared = rows.square().sum(1)
    distances = (squared[:, None] + squared[None, :] - 2 * rows @ rows.T).clamp(min=0)
    partner = torch.arange(2 * N, device=rows.device).roll(N)
    both = torch.cat([labels, labels])
    negative = both[:, None] != both[None, :]
    losses = F.softplus(distances.gather(1, partner[:, None]) - distances)
    return (losses * negative).sum() / negative.sum().clamp(min=1)
