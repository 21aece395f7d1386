"""A DeepSpeed engine around a network: the one place that knows DeepSpeed.

It works with no launcher, compiler, ninja or free port: one process makes its own in-memory rendezvous, and
the optional shared-memory kernel (which would be compiled at start) is declined; gloo gives the same
numbers."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

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


class Engine:
    """`backward(loss)` then `step()`. Forward passes go through the network itself: an attack's autograd.grad
    fails through `engine(x)`, and works, bit for bit as in plain torch, beside it."""

    def __init__(
        self,
        network: Network,
        optimizer: torch.optim.Optimizer,
        batch: int,
        clip: float | None,
        device: str,
        rank: int,
        world_size: int,
    ) -> None:
        deepspeed = _deepspeed(device, rank, world_size)
        config: dict[str, Any] = {
            "train_batch_size": batch,
            "gradient_accumulation_steps": 1,
            "zero_optimization": {"stage": 0},
            "steps_per_print": 10**12,
            "gradient_clipping": clip or 0.0,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._engine, *_ = deepspeed.initialize(
                model=network, optimizer=optimizer, config=config, dist_init_required=False
            )
        self.module: nn.Module = self._engine.module

    def backward(self, loss: Tensor) -> None:
        self._engine.backward(loss)

    def step(self) -> None:
        self._engine.step()


def _deepspeed(device: str, rank: int, world_size: int) -> Any:
    """Import DeepSpeed quietly on a ready process group. Imports take seconds: only here."""
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if device.startswith("cuda") else "cpu")
    # DeepSpeed insists on a launcher's variables even where nothing reads them.
    for name, value in (("RANK", rank), ("LOCAL_RANK", 0), ("WORLD_SIZE", world_size)):
        os.environ.setdefault(name, str(value))
    if not dist.is_initialized():
        backend = "nccl" if device.startswith("cuda") else "gloo"
        if world_size == 1:
            dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        else:
            dist.init_process_group(backend, rank=rank, world_size=world_size)
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import deepspeed
        import deepspeed.ops
    for name in list(logging.root.manager.loggerDict):
        if name.lower().startswith("deepspeed"):
            logging.getLogger(name).setLevel(logging.ERROR)
    if not device.startswith("cuda"):
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
