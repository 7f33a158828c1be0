"""Losses over a batch: pure functions of embeddings.

Shapes: N rows, D features. Rows of the same label have targets that count as the same picture; such a target is never
a negative of the other row.
"""

import torch
from torch.nn import functional as F


def batch_classification(
    logits: torch.Tensor, labels: torch.Tensor, *, others: torch.Tensor | None = None, drop_worst: float = 0.0
) -> torch.Tensor:
    """Cross-entropy of each query against every target in the batch (Vo et al. 2019, eq. 6, with K = N).

    Args:
        logits: (N, N + M); entry (i, j) is query i against target j, or against one of M more pictures.
        labels: (N,) int64.
        others: (M,) int64, labels of the further pictures; one that is some row's target, or repeated, counts once.
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


def graded_rest(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    wanted: torch.Tensor,
    references: torch.Tensor,
    others: torch.Tensor,
    asked: float = 3.0,
) -> torch.Tensor:
    """How well the pictures that are not the answer are ordered: those that have more of what it has come first.

    Each query's scores of these pictures are compared by cross-entropy with a distribution in which an aspect that a
    picture has not in common with the target divides its share by e (`ListNet`, Cao et al. 2007); by e to the power of
    `asked` where the feedback changed that aspect, and for the first aspect, which says what kind of thing it is. An
    aspect that is not known of one of them, −1, does not count.

    Args:
        logits: (N, M); entry (i, j) is query i against picture j.
        labels: (N + M,) int64: those of the N targets, then those of the M pictures.
        wanted: (N, A) int64, the targets' aspects.
        references: (N, A) int64, the references' aspects; what differs from them is what the feedback changed.
        others: (M, A) int64, the pictures' aspects.
        asked: how many aspects that nobody spoke of one counts for that has to be right.

    Returns:
        The mean over the rows of the Kullback-Leibler divergence, a scalar; 0 where no row has a picture to order.

    >>> aspects = torch.tensor([[1, 2], [1, 3], [4, 5]])
    >>> logits, labels = torch.tensor([[9.0, 3.0, -1.0]]), torch.tensor([7, 7, 8, 9])
    >>> round(graded_rest(logits, labels, wanted=aspects[:1], references=aspects[:1], others=aspects).item(), 3)
    0.017
    """
    N = len(logits)
    weights_NA = torch.where(wanted != references, asked, 1.0)
    weights_NA[:, 0] = asked
    known_NMA = (wanted >= 0)[:, None, :] & (others >= 0)[None, :, :]
    apart_NMA = (wanted[:, None, :] != others[None, :, :]) & known_NMA
    distances_NM = (apart_NMA * weights_NA[:, None, :]).sum(2).to(logits.dtype)
    same_NM = labels[:N, None] == labels[None, N:]
    asked_N = ~same_NM.all(1)
    if not asked_N.any():
        return logits.sum() * 0
    lowest = torch.finfo(logits.dtype).min / 2
    shares = (-distances_NM).masked_fill(same_NM, lowest)[asked_N].log_softmax(1)
    scores = logits.masked_fill(same_NM, lowest)[asked_N].log_softmax(1)
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
