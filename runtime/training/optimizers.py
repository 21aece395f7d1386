"""The optimiser that a recipe names, with what weight decay spares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from isoloss.compiler.plan import Component, exact
from isoloss.runtime.errors import JobError
from isoloss.runtime.models.network import Network


def make_optimizer(optimizer: Component, network: Network, lr: float) -> torch.optim.Optimizer:
    """The optimiser a Component names. Raises JobError R318 for one that isn't registered."""
    make = OPTIMIZERS.get(optimizer["kind"])
    if make is None:
        known = ", ".join(sorted(OPTIMIZERS))
        raise JobError("R318", f"no optimizer `{optimizer['kind']}`", f"known: {known}")
    return make(optimizer, _groups(network, str(optimizer.get("exclude", "batchnorm"))), lr)


Groups = list[dict[str, Any]]


def _groups(network: Network, exclude: str) -> Groups:
    """What weight decay takes, and what it spares: batch norm's weights and biases (published; the head's bias
    *is* decayed then), every other bias too (Madry et al.), or nothing."""
    spared = {id(p) for norm in network.batch_norms() for p in norm.parameters()}
    if exclude == "batchnorm_and_bias":
        spared |= {id(p) for p in network.parameters() if p.dim() <= 1}
    elif exclude == "nothing":
        spared = set()
    elif exclude != "batchnorm":
        raise ValueError(f"exclude must be batchnorm, batchnorm_and_bias or nothing, got {exclude!r}")
    groups: Groups = [{"params": [p for p in network.parameters() if id(p) not in spared]}]
    if spared:
        rest = [p for p in network.parameters() if id(p) in spared]
        groups.append({"params": rest, "weight_decay": 0.0})
    return groups


def _sgd(optimizer: Component, groups: Groups, lr: float) -> torch.optim.Optimizer:
    momentum = exact(optimizer["momentum"])
    return torch.optim.SGD(
        groups,
        lr=lr,
        momentum=momentum,
        nesterov=bool(optimizer["nesterov"]) and momentum > 0,
        weight_decay=exact(optimizer["weight_decay"]),
        fused=True,
    )


def _adam(optimizer: Component, groups: Groups, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        groups,
        lr=lr,
        betas=(exact(optimizer["beta1"]), exact(optimizer["beta2"])),
        eps=exact(optimizer["adam_eps"]),
        weight_decay=exact(optimizer["weight_decay"]),
        fused=True,
    )


OPTIMIZERS: Mapping[str, Callable[[Component, Groups, float], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "adam": _adam,
}
