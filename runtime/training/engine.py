"""A DeepSpeed engine around a network: the one place that knows DeepSpeed.

It works with no launcher, compiler, ninja or free port: one process makes its own in-memory rendezvous, and
the optional shared-memory kernel (which would be compiled at start) is declined; gloo gives the same
numbers.

From ZeRO stage 1 on the optimiser works on flat partitions of its own, and weights are what it leaves in them:
whoever changes a weight tells it (`wrote`), and its state is asked for by parameter, whole, at any stage
(`state`), so that a checkpoint knows nothing of the layout it was made on."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from isoloss.runtime.training.layout import Layout

#: Parameter name -> its optimiser state: momentum_buffer, or step, exp_avg and exp_avg_sq.
OptimizerState = Mapping[str, Mapping[str, Tensor]]


#: Numbers that ZeRO exchanges at once, at most (DeepSpeed's default). It allocates as many for every backward
#: pass, so small networks get less.
BUCKET = 500_000_000


class Engine:
    """`backward(loss)` for each pass of a batch, `step(last)` after each. Forward passes go through the
    network itself: an attack's autograd.grad fails through `engine(x)`, and works, bit for bit as in plain
    torch, beside it."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        layout: Layout,
        clip: float | None,
        device: str,
    ) -> None:
        deepspeed = _deepspeed(device, layout.rank, layout.world_size)
        size = min(BUCKET, sum(parameter.numel() for parameter in network.parameters()))
        config: dict[str, Any] = {
            "train_batch_size": layout.batch,
            "train_micro_batch_size_per_gpu": layout.micro_batch,
            "gradient_accumulation_steps": layout.passes,
            "zero_optimization": {
                "stage": layout.zero_stage,
                "reduce_bucket_size": size,
                "allgather_bucket_size": size,
            },
            # Ours are torch's own; "untested" is every optimiser but Adam's relatives.
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 10**12,
            "gradient_clipping": clip or 0.0,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._engine, *_ = deepspeed.initialize(
                model=network, optimizer=optimizer, config=config, dist_init_required=False
            )
        self.module: nn.Module = self._engine.module
        self._optimizer = optimizer
        self._partitioned = layout.zero_stage > 0
        self._names = dict(network.named_parameters())
        if layout.world_size == 1 and not self._partitioned:
            self._engine.enable_backward_allreduce = False  # it would copy every gradient twice

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of `loss` / passes: losses are means over equal parts of the batch."""
        self._engine.backward(loss)

    def step(self) -> None:
        """After each backward; the optimiser moves after the batch's last."""
        self._engine.step()

    def wrote(self, weights: Iterable[Tensor]) -> None:
        """These weights were changed in place: the optimiser's own copies follow."""
        if self._partitioned:
            from deepspeed.utils import safe_set_full_fp32_param

            for weight in weights:
                safe_set_full_fp32_param(weight, weight.data)

    def state(self) -> OptimizerState:
        """Whole, on every process; with several, all have to ask at once."""
        if self._partitioned:
            self._link()
        return {name: dict(self._of(parameter)) for name, parameter in self._names.items()}

    def restore(self, state: OptimizerState) -> None:
        """After the weights were restored."""
        self.wrote(self._names.values())
        if not self._partitioned:
            for name, values in state.items():
                parameter = self._names[name]
                self._optimizer.state[parameter] = {k: _like(parameter, v) for k, v in values.items()}
            return
        from deepspeed.utils import safe_set_full_optimizer_state

        self._make_room(state)
        self._link()
        for name, values in state.items():
            for key, value in values.items():
                if value.dim():
                    parameter = self._names[name]
                    safe_set_full_optimizer_state(parameter, value.to(parameter.device), key)

    def _of(self, parameter: Tensor) -> Iterator[tuple[str, Tensor]]:
        if not self._partitioned:
            yield from self._optimizer.state.get(parameter, {}).items()
            return
        from deepspeed.utils import safe_get_full_optimizer_state

        groups = self._engine.optimizer.bit16_groups
        number = next(i for i, group in enumerate(groups) if any(p is parameter for p in group))
        for key, value in self._optimizer.state.get(self._flat(number), {}).items():
            yield key, safe_get_full_optimizer_state(parameter, key) if value.dim() else value

    def _flat(self, number: int) -> Tensor:
        """This process's partition of a group of parameters."""
        flat: Tensor = self._engine.optimizer.single_partition_of_fp32_groups[number]
        return flat

    def _link(self) -> None:
        """Tell parameters where in the partitions their state is. DeepSpeed does so after its first group's
        first step, when the other groups have none yet."""
        from deepspeed.utils import lazy_init_hp_params_optimizer_state as link

        for number, group in enumerate(self._engine.optimizer.bit16_groups):
            if self._flat(number) in self._optimizer.state:
                link(group, self._flat(number), self._optimizer.state)

    def _make_room(self, state: OptimizerState) -> None:
        """The partitions' state, which an optimiser makes in its first step, and its scalars."""
        names = {id(parameter): name for name, parameter in self._names.items()}
        for number, group in enumerate(self._engine.optimizer.bit16_groups):
            flat, sample = self._flat(number), state[names[id(group[0])]]
            if sample:
                self._optimizer.state[flat] = {
                    key: torch.zeros_like(flat) if value.dim() else value.clone()
                    for key, value in sample.items()
                }


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """A state tensor where its parameter is and as it lies in memory. Scalars stay where they are."""
    return torch.empty_like(parameter).copy_(value) if value.dim() else value


def connect(device: str, rank: int, world_size: int) -> None:
    """Make the processes of a job one group. A second call does nothing."""
    # DeepSpeed insists on a launcher's variables even where nothing reads them.
    for name, value in (("RANK", rank), ("LOCAL_RANK", 0), ("WORLD_SIZE", world_size)):
        os.environ.setdefault(name, str(value))
    if dist.is_initialized():
        return
    backend = "nccl" if device.startswith("cuda") else "gloo"
    if world_size == 1:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    else:
        dist.init_process_group(backend, rank=rank, world_size=world_size)


def _deepspeed(device: str, rank: int, world_size: int) -> Any:
    """Import DeepSpeed quietly on a ready process group. Imports take seconds: only here."""
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if device.startswith("cuda") else "cpu")
    connect(device, rank, world_size)
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
