"""Perturbing the weights while a step's gradient is taken: adversarial weight perturbation.

After the images are attacked: one ascent of the loss in the weights, then the step's own forward and backward
pass at the perturbed weights, then the perturbation is taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from isoloss.compiler.plan import Component, exact
from isoloss.runtime.errors import JobError
from isoloss.runtime.models.network import Network

#: Keeps a vanished gradient from dividing by zero (published code).
TINY = 1e-20


class Awp:
    """v = gamma |w| / |g| g for every tensor of rank above 1, g the gradient of the whole batch's loss (Wu et
    al., arXiv:2004.05884, and its code, where one SGD step of a copy gives g up to its length).

    Active from step warmup * train_steps on. Nothing to checkpoint: between steps v is gone."""

    def __init__(self, network: Network, gamma: float, warmup: float, train_steps: int) -> None:
        if gamma <= 0:
            raise ValueError(f"gamma must be above 0, got {gamma}")
        self.gamma = gamma
        self._begin = warmup * train_steps
        self._weights: list[Tensor] = [p for p in network.parameters() if p.dim() > 1]
        self._gradients: list[Tensor] = []
        self._moved: list[Tensor] = []

    def active(self, step: int) -> bool:
        """At 0-based `step`?"""
        return step >= self._begin

    def climb(self, loss: Tensor) -> None:
        """Take the gradient of a part of the batch's loss: the mean over its images, parts being equal."""
        # autograd.grad leaves nothing in `.grad`: the engine sees the step's own gradient only.
        gradients = torch.autograd.grad(loss, self._weights)
        if self._gradients:
            torch._foreach_add_(self._gradients, gradients)
        else:
            self._gradients = list(gradients)

    @torch.no_grad()
    def add(self) -> list[Tensor]:
        """w -> w + v, by the gradients of all parts on all processes. Returns the weights moved."""
        gradients, self._gradients = self._gradients, []
        if dist.is_initialized() and dist.get_world_size() > 1:
            for gradient in gradients:
                dist.all_reduce(gradient)  # the sum: its length drops out
        self._moved = [
            gradient * (self.gamma * weight.norm() / (gradient.norm() + TINY))
            for weight, gradient in zip(self._weights, gradients, strict=True)
        ]
        torch._foreach_add_(self._weights, self._moved)
        return self._weights

    @torch.no_grad()
    def remove(self) -> list[Tensor]:
        """After the optimiser's step: w -> w - v. Returns the weights moved."""
        if not self._moved:
            return []
        torch._foreach_sub_(self._weights, self._moved)
        self._moved = []
        return self._weights


PERTURBS: Mapping[str, Callable[[Component, Network, int], Awp | None]] = {
    "none": lambda perturb, network, train_steps: None,
    "awp": lambda perturb, network, train_steps: Awp(
        network, exact(perturb["gamma"]), exact(perturb["warmup"]), train_steps
    ),
}


def build(perturb: Component, network: Network, train_steps: int) -> Awp | None:
    """None for `none`. Raises JobError R323 for a perturbation that isn't registered."""
    make = PERTURBS.get(perturb["kind"])
    if make is None:
        known = ", ".join(sorted(PERTURBS))
        raise JobError("R323", f"no perturbation of weights `{perturb['kind']}`", f"known: {known}")
    return make(perturb, network, train_steps)
