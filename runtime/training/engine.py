"""A DeepSpeed engine around a network: the one place that knows DeepSpeed.

It works with no launcher, compiler, ninja or free port: one process makes its own in-memory rendezvous, and
the optional shared-memory kernel (which would be compiled at start) is declined; gloo gives the same
numbers."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from isoloss.compiler.plan import Component, exact
from isoloss.runtime.errors import JobError
from isoloss.runtime.models.network import Network


def make_optimizer(optimizer: Component, network: Network, lr: float) -> torch.optim.Optimizer:
    """SGD whose weight decay spares batch norm's weights and biases; the head's bias *is* decayed, as
    published.

    Raises JobError R318 for an optimiser that isn't registered."""
    if optimizer["kind"] != "sgd":
        raise JobError("R318", f"no optimizer `{optimizer['kind']}`", "known: sgd")
    norms = {id(p) for norm in network.batch_norms() for p in norm.parameters()}
    decayed = [p for p in network.parameters() if id(p) not in norms]
    spared = [p for p in network.parameters() if id(p) in norms]
    momentum = exact(optimizer["momentum"])
    return torch.optim.SGD(
        [{"params": decayed}, {"params": spared, "weight_decay": 0.0}],
        lr=lr,
        momentum=momentum,
        nesterov=bool(optimizer["nesterov"]) and momentum > 0,
        weight_decay=exact(optimizer["weight_decay"]),
        fused=True,
    )


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
