"""Normalisation of pixels as a part of the network: (x - mean) / std per channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isoloss.compiler.plan import Component, exact
from isoloss.runtime.errors import JobError

# Of the CIFAR-10 training pixels; std is taken over pixels, not over image means (as in Wang et al.'s code).
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2471, 0.2435, 0.2616)


class Normalize(nn.Module):
    """x float (B, C, H, W) -> (x - mean) / std; None passes x through. Not part of the state dict: it is in
    the spec."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        super().__init__()
        self.active = mean is not None and std is not None
        if mean is not None and std is not None:
            self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
            self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return (x_BCHW - self.mean) / self.std if self.active else x_BCHW


def normalization(normalize: Component | None, channels: int) -> Normalize:
    """From `none`, `cifar10` or `mean_std(mean, std)`; one number stands for all channels.

    Raises JobError R311 for another kind or a number of values that does not fit the channels."""
    kind = "none" if normalize is None else normalize["kind"]
    if normalize is None or kind == "none":
        return Normalize(None, None)
    if kind == "cifar10":
        mean, std = list(CIFAR10_MEAN), list(CIFAR10_STD)
    elif kind == "mean_std":
        mean, std = _values(normalize["mean"]), _values(normalize["std"])
    else:
        raise JobError("R311", f"no normalisation `{kind}`", "known: none, cifar10, mean_std")
    if {len(mean), len(std)} - {1, channels}:
        raise JobError("R311", f"normalisation `{kind}` has {len(mean)} channels, the images {channels}")
    return Normalize(mean, std)


def _values(value: Any) -> list[float]:
    items = value if isinstance(value, list | tuple) else [value]
    return [exact(item) for item in items]
