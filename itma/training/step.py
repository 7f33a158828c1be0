"""What one step does with a batch: embeddings, the loss of all processes' rows, gradients; at once or in chunks."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from itma.data.batching import Batch
from itma.device import takes_bf16
from itma.errors import ConfigError, TrainingError
from itma.models.retriever import Retriever
from itma.training.config import TrainConfig
from itma.training.distributed import Processes, SharedBatchNorm, gather
from itma.training.losses import Loss, LossBatch
from itma.training.speed import send

NO_REFERENCE = -2
"""Stands for what is true of the reference of a row that has none: it agrees with nothing."""


@dataclass(frozen=True)
class Learner:
    """What learns from batches, and by which rules."""

    model: Retriever
    loss: Loss
    config: TrainConfig
    world: Processes
    network: Any
    """`model`, or `model` inside `DistributedDataParallel`."""


def add_gradients(
    learner: Learner, batch: Batch, labels: torch.Tensor, *, share: float = 1.0, last: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add to the parameters' gradients those of a batch's loss, `config.chunk` rows at a time where it says so.

    Args:
        learner: whose parameters they are.
        batch, labels: see `batch_loss`.
        share: what the loss counts.
        last: whether several processes exchange gradients now, of this batch and of those before it.

    Returns:
        The loss, and the share of rows whose target scores best, which the device may still be working on.
    """
    if learner.config.chunk and learner.config.chunk < len(batch.targets):
        return _add_in_chunks(learner, batch, labels, share, last)
    with _silent(learner, not last):
        amount, right = batch_loss(learner, batch, labels)
        (share * amount).backward()
    return amount.detach(), right


def _add_in_chunks(
    learner: Learner, batch: Batch, labels: torch.Tensor, share: float, last: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `add_gradients`, with the activations of one chunk at a time in memory.

    Gao, Zhang, Han and Callan, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021
    (arXiv:2101.06983), section 3.2: embed all chunks without gradient; the loss's gradient by the embeddings; embed
    each chunk again, with the random numbers of the first time, and pass its part of that gradient on.
    """
    model, loss, size = learner.model, learner.loss, learner.config.chunk
    rows = range(0, len(batch.targets), size)
    chunks = [batch.part(first, first + size) for first in rows]
    states, parts = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_random_state(model.device))
            parts.append(_embed(learner, chunk, model))
    queries = torch.cat([part[0] for part in parts]).requires_grad_()
    # of each chunk come its targets and, where the loss wants them, its references
    kinds = 1 + loss.reads_references
    images = torch.cat([part[1].unflatten(0, (kinds, -1)) for part in parts], 1).requires_grad_()
    extras = [loss.extras(chunk, model.device) for chunk in chunks]
    joined = tuple(torch.cat(each) for each in zip(*extras, strict=True))
    amount, right = _loss_of(learner, queries, images.flatten(0, 1), joined, labels)
    with _silent(learner, True):
        (share * amount).backward()
    assert queries.grad is not None and images.grad is not None
    for first, chunk, state in zip(rows, chunks, states, strict=True):
        _restore_random_state(model.device, state)
        end = first + size
        with _silent(learner, not (last and end >= len(batch.targets))):
            again = _embed(learner, chunk, learner.network)
            product = (again[0] * queries.grad[first:end]).sum()
            product = product + (again[1] * images.grad[:, first:end].flatten(0, 1)).sum()
            # several processes wait for the gradient of every parameter
            (product + 0 * model.scale).backward()
    return amount.detach(), right


def check_chunks(model: Retriever, config: TrainConfig) -> None:
    """Refuse chunks where their gradients would not be those of the whole batch.

    Raises:
        ConfigError: a batch norm takes its statistics from the rows that are there, or the composer's own loss does.
    """
    if not config.chunk:
        return
    if model.composer.has_own_loss:
        raise ConfigError(
            f"train.chunk={config.chunk}: the composer {model.name!r} has a loss of its own over the whole batch, "
            "which chunks would part; switch it off, or leave train.chunk out"
        )
    training = model.training
    model.train()
    learning = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm | SharedBatchNorm) and module.training
    ]
    model.train(training)
    if learning:
        raise ConfigError(
            f"train.chunk={config.chunk}: the gradients are those of the whole batch only where batch norms keep their "
            f"statistics, and {len(learning)} take them from the rows that are there, e.g. {learning[0]}. For the "
            "image encoder's, set train.fixed_norms=true or freeze it (train.frozen); for a composer's, choose one "
            "without (combiner, val, sum, pic2word …); or take train.accumulate, whose parts are sets of negatives of "
            "their own"
        )


def batch_loss(learner: Learner, batch: Batch, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of the whole batch, from this process's share of it, and the share of rows whose target scores best.

    Args:
        learner: what embeds the batch, and how it is judged.
        batch: this process's share.
        labels: (2, rows of all processes, 1 + aspects) int64, the labels of each row's target and of its reference,
            and what is true of them where the loss looks at that.
    """
    queries, images, own = _embed(learner, batch, learner.network)
    extras = learner.loss.extras(batch, learner.model.device)
    amount, right = _loss_of(learner, queries, images, extras, labels)
    return amount + own, right


def _embed(
    learner: Learner, batch: Batch, forward: Callable[..., Any]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, images and the composer's own loss, see `Retriever.forward`."""
    model, device = learner.model, learner.model.device
    low = takes_bf16(learner.config.precision, device)
    if batch.begun:
        pixels: torch.Tensor | tuple[torch.Tensor, ...] = tuple(
            send(level, device).to(memory_format=torch.channels_last) for level in batch.begun
        )
    else:
        pixels = model.preprocess.normalise(send(batch.pixels, device))
    tokens, turns = model.read(batch.feedback)
    with torch.autocast(device.type, torch.bfloat16, enabled=low):
        return forward(
            pixels,
            batch.references,
            batch.targets,
            tokens.to(device),
            turns,
            references_too=learner.loss.reads_references,
            own_loss=True,
        )


def _loss_of(
    learner: Learner,
    queries: torch.Tensor,
    images: torch.Tensor,
    extras: tuple[torch.Tensor, ...],
    labels: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of all processes' rows, of which this one's are given, and the share whose target scores best."""
    model, loss, rows = learner.model, learner.loss, len(queries)
    if learner.world.count > 1:
        queries, extras = gather(queries), tuple(gather(each) for each in extras)
        images = torch.cat([gather(part) for part in images.split(rows)])
    labels = send(labels, model.device)
    (labels, reference_labels), (aspects, reference_aspects) = labels[..., 0], labels[..., 1:]
    N = len(labels)
    loss_batch = LossBatch(
        queries,
        images[:N],
        labels,
        model.scale,
        references=images[N:] if loss.reads_references else None,
        # the gallery holds the target once more where a row has no reference: it must not count as a wrong answer
        reference_labels=torch.where(reference_labels == NO_REFERENCE, labels, reference_labels),
        aspects=aspects if loss.reads_aspects else None,
        reference_aspects=reference_aspects if loss.reads_aspects else None,
        extras=extras,
    )
    right = loss_batch.scores(loss_batch.targets).argmax(1)
    # a loss may leave the scale out, but several processes wait for the gradient of every parameter
    value = loss(loss_batch)
    if not isinstance(value, torch.Tensor) or value.ndim:
        what = f"a tensor of the shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"{value!r:.60}"
        raise TrainingError(
            f"the loss {type(loss).__name__} gave {what}; one number is expected, a tensor without axes"
        )
    amount = value + 0 * model.scale
    return amount, (labels[right] == labels).float().mean()


def _silent(learner: Learner, silent: bool) -> AbstractContextManager[Any]:
    """Without an exchange of gradients, where there are several processes."""
    return learner.network.no_sync() if silent and learner.world.count > 1 else nullcontext()


def _random_state(device: torch.device) -> tuple[torch.Tensor, ...]:
    states = (torch.get_rng_state(),)
    return (*states, torch.cuda.get_rng_state(device)) if device.type == "cuda" else states


def _restore_random_state(device: torch.device, states: tuple[torch.Tensor, ...]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
