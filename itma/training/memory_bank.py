"""InfoNCE whose negatives are the targets of this batch and of the batches before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from itma.config import check_ranges
from itma.training.losses import Loss, LossBatch, batch_classification, register


@dataclass(frozen=True)
class MemoryBankOptions:
    """Options of the memory bank.

    >>> MemoryBankOptions().size
    1024
    """

    size: int = 1024
    """Targets of earlier batches that are remembered; the oldest are forgotten first."""

    def __post_init__(self) -> None:
        check_ranges(self, "train.loss_options", at_least_one="size")


@register("memory-bank")
class MemoryBank(Loss):
    """Cross-entropy of each query against the batch's targets and those of earlier batches (InfoNCE over a bank).

    Wang, Zhang, Huang and Scott, "Cross-Batch Memory for Embedding Learning", CVPR 2020 (arXiv:1912.06798), with the
    loss of van den Oord et al. 2018 (arXiv:1807.03748), eq. 4. What is remembered is as the model saw it then, and gets
    no gradient. The bank is empty at first; a checkpoint keeps it, so that a run that goes on is as one unbroken.
    """

    Options = MemoryBankOptions
    embeddings: torch.Tensor
    """(M, D), the newest first."""
    labels: torch.Tensor
    """(M,) int64."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.register_buffer("embeddings", torch.zeros(0, 0))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.int64))

    def forward(self, batch: LossBatch) -> torch.Tensor:
        """See `Loss`."""
        bank = self.embeddings.to(batch.targets).reshape(-1, batch.targets.shape[1])
        labels = self.labels.to(batch.labels)
        loss = batch_classification(batch.scores(torch.cat([batch.targets, bank])), batch.labels, others=labels)
        self.embeddings = torch.cat([batch.targets.detach(), bank])[: self.options.size]
        self.labels = torch.cat([batch.labels, labels])[: self.options.size]
        return loss

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name in ("embeddings", "labels"):  # whose lengths differ from those of a new bank
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name]))
        super()._load_from_state_dict(state_dict, prefix, *rest)
