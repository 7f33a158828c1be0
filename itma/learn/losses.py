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
