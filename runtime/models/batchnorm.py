"""Batch normalisation that an attack can look at without moving it.

Train mode has two forms: `update` normalises by the batch and moves the running statistics, `frozen` does the
first only (the published attack: train mode with `track_running_stats` off). Eval mode uses the running
ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5


class BatchNorm(nn.Module):
    """Per-channel batch norm over (B, C, H, W) with an affine part; `momentum` is the newest batch's weight.

    Unlike nn.BatchNorm2d it counts no batches: the momentum is set from outside, so one counter less
    moves."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.01) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.momentum = momentum
        self.frozen = False
        self.group: dist.ProcessGroup | None = None  # processes whose batches are normalised as one

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(
                x_BCHW, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, EPS
            )
        if self.group is not None:
            return self._across_processes(x_BCHW, self.group)
        if self.frozen:
            return F.batch_norm(x_BCHW, None, None, self.weight, self.bias, True, 0.0, EPS)
        return F.batch_norm(
            x_BCHW, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, EPS
        )

    def _across_processes(self, x_BCHW: Tensor, group: dist.ProcessGroup) -> Tensor:
        """One batch spread over a group: the same mean and variance on every rank, gradients included.
        torch's own SyncBatchNorm refuses CPUs."""
        dims = [0, *range(2, x_BCHW.dim())]
        count = x_BCHW.numel() // x_BCHW.shape[1] * dist.get_world_size(group)
        # Two passes, not sum of squares: no cancellation where the mean is large.
        mean = SumOverGroup.apply(x_BCHW.sum(dims), group) / count
        shape = [1, -1, *[1] * (x_BCHW.dim() - 2)]
        centred = x_BCHW - mean.view(shape)
        variance = SumOverGroup.apply(centred.square().sum(dims), group) / count
        if not self.frozen:
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + EPS)
        return centred * scale.view(shape) + self.bias.view(shape)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Eval mode as `x * scale + shift`, each (C,), detached."""
        scale = self.weight.detach() * torch.rsqrt(self.running_var + EPS)
        return scale, self.bias.detach() - self.running_mean * scale


class SumOverGroup(torch.autograd.Function):
    """Sum of a tensor over the processes of a group; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        total = value.contiguous().clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.contiguous().clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


@contextmanager
def frozen(norms: Iterable[BatchNorm]) -> Iterator[None]:
    """Within, train mode leaves running statistics alone."""
    norms = list(norms)
    before = [norm.frozen for norm in norms]  # an attack freezes inside what a perturbation has frozen
    for norm in norms:
        norm.frozen = True
    try:
        yield
    finally:
        for norm, was in zip(norms, before, strict=True):
            norm.frozen = was
