"""Learning from a teacher: which targets it holds near to a query is what the model is to hold near."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from itma.config import check_ranges
from itma.data.batching import Batch
from itma.errors import ConfigError
from itma.models.retriever import Retriever, load_retriever
from itma.training.losses import Loss, LossBatch, batch_classification, register


@dataclass(frozen=True)
class DistillationOptions:
    """Options of the distillation.

    >>> DistillationOptions("runs/large").temperature
    1.0
    """

    teacher: str = ""
    """The run folder of the model to learn from, or a name as `itma evaluate` takes it; it may have another image size,
    embeddings of another length, and other words."""
    temperature: float = 1.0
    """What the scores of both are divided by, above 0: the larger, the more the farther targets count."""
    weight: float = 0.5
    """Share of the loss that asks as the teacher does, from 0 to 1; the rest is the classification."""

    def __post_init__(self) -> None:
        check_ranges(self, "train.loss_options", above_zero="temperature", shares="weight")


@register("distillation")
class Distillation(Loss):
    """weight · T² · KL(teacher's shares ‖ the model's shares) + (1 - weight) · classification.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015 (arXiv:1503.02531), section 2, with
    the targets of the batch in the place of classes: a model's shares are softmax(scale² · cosine / T) of a query over
    them. The teacher sees the very images that the model sees, augmentation included, fitted to its own size. It stays
    as it is, and is no part of what is saved.
    """

    Options = DistillationOptions

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        if not self.options.teacher:
            raise ConfigError("the loss distillation needs a teacher: train.loss_options.teacher=RUN")
        teacher = load_retriever(self.options.teacher).requires_grad_(False)
        self._teacher: tuple[Retriever] = (teacher,)  # in a tuple: its weights are none of this loss

    def extras(self, batch: Batch, device: torch.device) -> tuple[torch.Tensor, ...]:
        """See `Loss`: the teacher's queries, scaled by its scale², and its targets.

        Raises:
            ConfigError: the batch holds no images, because frozen levels have made maps of them.
        """
        if batch.begun:
            raise ConfigError(
                "a teacher needs the images themselves, and train.views stores what frozen levels made of them; leave "
                "train.views out, or take another loss"
            )
        teacher = self._teacher[0].to(device)
        pixels = teacher.preprocess.fit_pixels(batch.pixels).to(device)
        maps = teacher.feature_maps(pixels)
        queries = torch.zeros(len(batch.targets), teacher.features, device=device)
        has_reference = batch.references >= 0
        for chosen, with_reference in ((has_reference, True), (~has_reference, False)):
            rows = chosen.nonzero()[:, 0]
            if len(rows):
                reference_maps = (
                    [level[batch.references[rows].to(device)] for level in maps] if with_reference else None
                )
                queries[rows.to(device)] = teacher.embed_queries_from(
                    reference_maps, [batch.feedback[row] for row in rows]
                )
        targets = teacher.embed_images_from(maps)[batch.targets.to(device)]
        return teacher.scale.detach() ** 2 * queries, targets

    def forward(self, batch: LossBatch) -> torch.Tensor:
        """See `Loss`."""
        queries, targets = batch.extras
        scores, weight = batch.scores(batch.targets), float(self.options.weight)
        taught = distillation(scores, queries @ targets.T, batch.labels, temperature=self.options.temperature)
        return weight * taught + (1 - weight) * batch_classification(scores, batch.labels)


def distillation(
    scores: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, *, temperature: float = 1.0
) -> torch.Tensor:
    """Temperature² times the mean over rows of the Kullback-Leibler divergence of a model's shares from a teacher's.

    Args:
        scores: (N, N); entry (i, j) is query i against target j.
        teacher: (N, N), the same of the teacher.
        labels: (N,) int64; a further target of a row's own label does not count in it.
        temperature: what scores are divided by.

    Returns:
        A scalar; 0 where both score alike.

    >>> distillation(
    ...     torch.tensor([[3.0, 1.0], [0.0, 1.0]]), torch.tensor([[4.0, 2.0], [1.0, 2.0]]), torch.arange(2)
    ... ).item()
    0.0
    """
    again = labels[:, None] == labels[None, :]
    again.fill_diagonal_(False)
    lowest = torch.finfo(scores.dtype).min / 2
    model, goal = ((rows / temperature).masked_fill(again, lowest).log_softmax(1) for rows in (scores, teacher))
    apart = F.kl_div(model, goal.to(model.dtype), reduction="batchmean", log_target=True)
    return apart * (temperature * temperature)
