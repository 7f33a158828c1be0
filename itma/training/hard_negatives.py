"""The hinge on the hardest negatives of a batch, as visual-semantic embeddings learn by it."""

from dataclasses import dataclass

import torch

from itma.errors import ConfigError
from itma.training.losses import Loss, LossBatch, register


@dataclass(frozen=True)
class HardNegativesOptions:
    """Options of the hinge.

    >>> HardNegativesOptions().margin
    0.2
    """

    margin: float = 0.2
    """By how much cosine a target is to be nearer than the hardest negative (published: 0.2)."""
    semi_hard: bool = False
    """Whether only those negatives count that are farther than the target; of them the nearest."""

    def __post_init__(self) -> None:
        if not 0 < self.margin <= 2:
            raise ConfigError(f"train.loss_options.margin={self.margin} must be a cosine above 0 and up to 2")


@register("hard-negatives")
class HardNegatives(Loss):
    """Of each query against the nearest wrong target, and of each target against the nearest wrong query.

    Faghri, Fleet, Kiros and Fidler, "VSE++: Improving Visual-Semantic Embeddings with Hard Negatives", BMVC 2018
    (arXiv:1707.05612), eq. 6; with `semi_hard`, the negatives of Schroff et al. 2015 (arXiv:1503.03832), section 3.2.
    """

    Options = HardNegativesOptions

    def forward(self, batch: LossBatch) -> torch.Tensor:
        """See `Loss`."""
        return hardest_hinge(
            batch.queries @ batch.targets.T, batch.labels, margin=self.options.margin, semi_hard=self.options.semi_hard
        )


def hardest_hinge(
    scores: torch.Tensor, labels: torch.Tensor, *, margin: float = 0.2, semi_hard: bool = False
) -> torch.Tensor:
    """Mean over rows of max(0, margin + hardest - positive), by rows and by columns, added up.

    Args:
        scores: (N, N); entry (i, j) is query i against target j, larger is nearer.
        labels: (N,) int64; targets of one label are never negatives of one another.
        margin: in the unit of the scores.
        semi_hard: leave out negatives that score at least as high as the positive.

    Returns:
        A scalar; a row without negatives counts as 0.

    >>> round(hardest_hinge(torch.tensor([[0.9, 0.8], [0.1, 0.9]]), torch.tensor([0, 1])).item(), 2)
    0.1
    """
    same = labels[:, None] == labels[None, :]
    total = scores.new_zeros(())
    for direction in (scores, scores.T):
        positive = direction.diagonal()[:, None]
        out = same | (direction >= positive) if semi_hard else same
        hardest = direction.masked_fill(out, float("-inf")).amax(1, keepdim=True)
        total = total + (margin + hardest - positive).relu().mean()
    return total
