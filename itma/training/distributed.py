"""Several processes that learn as one: embeddings and batch-norm statistics over all of them, with gradient."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class Processes:
    """This process among its fellows."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """Join the other processes that `torchrun` started, if any, and leave them at the end."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield Processes()
        return
    started_here = not dist.is_initialized()
    if started_here:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        if started_here:
            dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: torch.Tensor) -> torch.Tensor:
        context.rows = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        first = dist.get_rank() * context.rows
        return total[first : first + context.rows]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return _Sum.forward(context, gradients[0])


def gather(rows: torch.Tensor) -> torch.Tensor:
    """Every process's rows (rows, …) joined in the order of ranks; gradients flow back to where they came from.

    Each process then computes the loss of the whole batch. Its gradients count that loss once for every process, which
    the averaging of `DistributedDataParallel` undoes.
    """
    return _Gather.apply(rows)  # type: ignore[no-untyped-call]


class SharedBatchNorm(nn.Module):
    """A batch norm whose statistics are those of all processes' rows together, on any device.

    Torch's own `SyncBatchNorm` needs GPUs. Processes may hold different numbers of images.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor

    def __init__(self, own: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps, self.momentum = own.weight, own.bias, own.eps, own.momentum or 0.1
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(own, name))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(rows, channels) or (images, channels, height, width) → the same shape."""
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        mean, variance = self.running_mean, self.running_var
        if self.training:
            wide = x.float()
            count = torch.full((1,), float(wide.numel() // wide.shape[1]), device=x.device)
            sums = _Sum.apply(torch.cat([wide.sum(axes), count]))  # type: ignore[no-untyped-call]
            total = sums[-1]
            mean = sums[:-1] / total
            # the second pass costs one more exchange and keeps precision where the mean is far from 0
            squares = (wide - mean.view(shape)).square().sum(axes)
            variance = _Sum.apply(squares) / total  # type: ignore[no-untyped-call]
            with torch.no_grad():
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * total / (total - 1).clamp(min=1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return x * scale.view(shape) + (self.bias - mean * scale).view(shape)


def share_batch_norms(module: nn.Module) -> None:
    """Replace every batch norm inside `module` by one with shared statistics; names in the state stay the same."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, SharedBatchNorm(child).train(child.training))
        else:
            share_batch_norms(child)
