"""Batch normalisation by groups of images, and in a form that an attack can look at without moving it.

A group is the images that are normalised together: part of what a training means. Where it lies is not: in one
forward pass among others (`groups`), or spread over processes (`across`). Running statistics move once per pass
of the whole batch, by the mean over its groups, wherever they were computed (`Statistics`).

Train mode has two forms: normalise by the groups and move the running statistics, or `frozen`, the first only
(the published attack: train mode with `track_running_stats` off). Eval mode uses the running ones. Letters: B
images, C channels, then any number of positions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5


class BatchNorm(nn.Module):
    """Per-channel batch norm over (B, C, ...) with an affine part; `momentum` is the newest batch's weight.

    Unlike nn.BatchNorm2d it counts no batches: the momentum is set from outside, so one counter less moves.
    Under autocast activations are bfloat16; statistics are float32 always."""

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
        self.groups = 1  # equal parts of what comes in, each normalised by itself
        self.across: dist.ProcessGroup | None = None  # processes that hold one group together
        self.seen: list[Tensor] | None = None  # (2, C) per pass, where the running ones move later

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, EPS
            )
        if self.across is not None:
            out, mean, var = _Across.apply(x, self.weight, self.bias, self.across)
            if not self.frozen:
                count = x.numel() // x.shape[1] * dist.get_world_size(self.across)
                self._move(mean, var * (count / (count - 1)))
            return out
        if self.frozen:
            parts = [self._normalised(part, None, None, 0.0) for part in self._parts(x)]
        elif self.groups == 1 and self.seen is None:
            parts = [self._normalised(x, self.running_mean, self.running_var, self.momentum)]
        else:
            # Momentum 1 leaves each group's own mean and unbiased variance in these.
            moments = torch.zeros(self.groups, 2, x.shape[1], device=x.device)
            parts = [
                self._normalised(part, own[0], own[1], 1.0)
                for part, own in zip(self._parts(x), moments, strict=True)
            ]
            self._move(*moments.mean(0))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _parts(self, x: Tensor) -> Sequence[Tensor]:
        return (x,) if self.groups == 1 else x.chunk(self.groups)

    def _normalised(self, x: Tensor, mean: Tensor | None, var: Tensor | None, momentum: float) -> Tensor:
        return F.batch_norm(x, mean, var, self.weight, self.bias, True, momentum, EPS)

    @torch.no_grad()
    def _move(self, mean: Tensor, var: Tensor) -> None:
        if self.seen is not None:
            self.seen.append(torch.stack([mean, var]))
            return
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var, self.momentum)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Eval mode as `x * scale + shift`, each (C,), detached."""
        scale = self.weight.detach() * torch.rsqrt(self.running_var + EPS)
        return scale, self.bias.detach() - self.running_mean * scale

    # For attacks that write their backward pass out: frozen train mode and its gradient in the input.

    def normalize(self, x: Tensor) -> tuple[Tensor, Kept]:
        """Train mode, running statistics untouched; what `input_gradient` needs, beside it. No graph."""
        if self.across is not None:
            mean, var = _moments_across(x, self.across)
            scale = torch.rsqrt(var + EPS)
            return _scaled(x, mean, scale, self.weight, self.bias), Kept(x, ((mean, scale),))
        out, moments = [], []
        for part in self._parts(x):
            normed, mean, scale = torch.native_batch_norm(
                part, self.weight, self.bias, None, None, True, 0.0, EPS
            )
            out.append(normed)
            moments.append((mean, scale))
        return out[0] if len(out) == 1 else torch.cat(out), Kept(x, tuple(moments))

    def input_gradient(self, gradient: Tensor, kept: Kept) -> Tensor:
        """d loss / d x from d loss / d normalised."""
        if self.across is not None:
            ((mean, scale),) = kept.moments
            return _gradient_across(gradient, kept.x, mean, scale, self.weight, self.across)[0]
        parts = [
            torch.ops.aten.native_batch_norm_backward(
                g, x, self.weight, None, None, mean, scale, True, EPS, [True, False, False]
            )[0]
            for g, x, (mean, scale) in zip(
                self._parts(gradient), self._parts(kept.x), kept.moments, strict=True
            )
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


@dataclass(frozen=True, slots=True)
class Kept:
    """Of one pass: its input, and (mean, 1 / deviation) of each group, (C,) float32."""

    x: Tensor
    moments: tuple[tuple[Tensor, Tensor], ...]


class _Across(torch.autograd.Function):
    """A group spread over processes in equal shares: the same mean and variance on every one, gradients
    included; one exchange each way. (torch's own SyncBatchNorm refuses CPUs.)"""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, group: dist.ProcessGroup
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, var = _moments_across(x, group)
        scale = torch.rsqrt(var + EPS)
        ctx.save_for_backward(x, mean, scale, weight)
        ctx.group = group
        ctx.mark_non_differentiable(mean, var)
        return _scaled(x, mean, scale, weight, bias), mean, var

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, mean, scale, weight = ctx.saved_tensors
        return *_gradient_across(gradient, x, mean, scale, weight, ctx.group), None


def _moments_across(x: Tensor, group: dist.ProcessGroup) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (C,) of a group, float32. Moments of the shares are joined, not sums of
    squares: no cancellation where the mean is large."""
    var, mean = torch.var_mean(x.float(), [0, *range(2, x.dim())], correction=0)
    mine = torch.stack([mean, var])
    shares = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(shares, mine, group=group)
    means, vars = torch.stack(shares).unbind(1)
    mean = means.mean(0)
    return mean, (vars + (means - mean).square()).mean(0)


def _scaled(x: Tensor, mean: Tensor, scale: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    factor = weight * scale
    return torch.addcmul(_wide(bias - mean * factor, x), x, _wide(factor, x)).to(x.dtype)


def _gradient_across(
    gradient: Tensor, x: Tensor, mean: Tensor, scale: Tensor, weight: Tensor, group: dist.ProcessGroup
) -> tuple[Tensor, Tensor, Tensor]:
    """Of input, weight and bias. Those of weight and bias are this share's: whoever averages gradients over
    processes adds the others'."""
    dims = [0, *range(2, x.dim())]
    gradient = gradient.float()
    standard = (x.float() - _wide(mean, x)) * _wide(scale, x)
    mine = torch.stack([gradient.sum(dims), (gradient * standard).sum(dims)])
    whole = mine.clone()
    dist.all_reduce(whole, group=group)
    whole /= x.numel() // x.shape[1] * dist.get_world_size(group)
    inner = gradient - _wide(whole[0], x) - standard * _wide(whole[1], x)
    return (_wide(weight * scale, x) * inner).to(x.dtype), mine[1], mine[0]


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (like.dim() - 2))


class Statistics:
    """Running statistics of a step whose batch passes in several parts: collected in each, then moved once per
    pass of the whole batch, in the order of the passes, by the mean over all its groups.

    Nothing reads them within a step: attacks in eval mode see those of the step before, as they would if the
    batch passed at once."""

    def __init__(self, norms: Iterable[BatchNorm], world_size: int) -> None:
        self._norms = list(norms)
        self._world_size = world_size

    def begin(self) -> None:
        for norm in self._norms:
            norm.seen = []

    @torch.no_grad()
    def settle(self, parts: int) -> None:
        """After `parts` equal parts of the batch have passed on every process."""
        found = [
            torch.stack(norm.seen).unflatten(0, (parts, -1)).mean(0) for norm in self._norms if norm.seen
        ]
        if found and self._world_size > 1:
            # One exchange for all of them.
            flat = torch.cat([each.flatten() for each in found])
            dist.all_reduce(flat)
            pieces = (flat / self._world_size).split([each.numel() for each in found])
            found = [piece.view_as(each) for piece, each in zip(pieces, found, strict=True)]
        for norm, passes in zip([norm for norm in self._norms if norm.seen], found, strict=True):
            norm.seen = None
            for mean, var in passes:
                norm._move(mean, var)
        for norm in self._norms:
            norm.seen = None


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
