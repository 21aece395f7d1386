"""The averaged weights that evaluations use: an exponential moving average, as the published code keeps it.

Parameters are averaged; batch norm's running statistics are the live network's own tensors, never averaged
and never estimated again."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from isoloss.compiler.plan import Component, exact
from isoloss.runtime.errors import JobError
from isoloss.runtime.models.network import Network


def decay_at(step: int, train_steps: int, decay: float, warmup: float) -> float:
    """Decay of 1-based `step`: 0 (a copy) before warmup * train_steps, then min(decay, (1 + d) / (10 + d))
    with d steps since. For decay .995 the ramp ends at d = 1790."""
    since = step - warmup * train_steps
    return 0.0 if since < 0 else min(decay, (1.0 + since) / (10.0 + since))


class Average:
    """`network` holds the averaged weights in eval mode and shares the live network's running statistics."""

    def __init__(self, decay: float, warmup: float, live: Network, train_steps: int) -> None:
        self.decay, self.warmup = decay, warmup
        self.train_steps = train_steps
        self.network = copy.deepcopy(live).requires_grad_(False).eval()
        for mine, theirs in zip(self.network.batch_norms(), live.batch_norms(), strict=True):
            mine.running_mean, mine.running_var = theirs.running_mean, theirs.running_var
        self._mine: list[Tensor] = list(self.network.parameters())
        self._live: list[Tensor] = list(live.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After the optimiser's 1-based `step`."""
        decay = decay_at(step, self.train_steps, self.decay, self.warmup)
        torch._foreach_lerp_(self._mine, self._live, 1.0 - decay)


def build(average: Component, live: Network, train_steps: int) -> Average | None:
    """None for `none`. Raises JobError R316 for an unregistered average."""
    if average["kind"] == "none":
        return None
    if average["kind"] != "ema":
        raise JobError("R316", f"no weight average `{average['kind']}`", "known: ema, none")
    return Average(exact(average["decay"]), exact(average["warmup"]), live, train_steps)
