"""The training loop: one step after another from a state, to a state that can be saved.

In: a TrainSpec, a Feed, a device. Out: weights, their average, a curve. Everything a step does depends on
(spec, step, weights) alone, so a run that is stopped and resumed ends with the bits of one that was not."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import orjson
import torch
import torch.distributed as dist
from torch import Tensor

from isoloss.compiler.plan import TrainSpec, exact
from isoloss.runtime import attacks, losses, models
from isoloss.runtime.errors import JobError
from isoloss.runtime.models.batchnorm import frozen
from isoloss.runtime.noise import key, noise_at
from isoloss.runtime.training import augment, average, perturb
from isoloss.runtime.training.engine import Engine, make_optimizer
from isoloss.runtime.training.feed import Feed
from isoloss.runtime.training.inner import InnerAttack, Replay
from isoloss.runtime.training.ledger import Ledger
from isoloss.runtime.training.schedule import setting_at


@dataclass
class Curve:
    """What was measured so far: rows of [step, value] for the loss, dictionaries for evaluations."""

    losses: list[list[float]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)


def stream(spec: TrainSpec) -> int:
    """What a run's random numbers are keyed by: seed, network, data and length.

    Cells of a grid draw independently, as a bootstrap over runs takes them to (one draw of weights for all would
    pass for an effect of N); recipes and precisions compared at one cell share their draws."""
    cell = orjson.dumps([spec.seed, spec.model, spec.data, spec.train_steps], option=orjson.OPT_SORT_KEYS)
    return key(cell.decode())


class Trainer:
    """`step()` does one optimiser step and returns the batch's loss; `state()` / `restore()` are its memory.

    `rank` of `world_size` processes works on its equal slice of every batch."""

    def __init__(
        self, spec: TrainSpec, feed: Feed, device: str = "cpu", rank: int = 0, world_size: int = 1
    ) -> None:
        recipe = spec.recipe
        if feed.batch % world_size:
            raise JobError(
                "R319", f"a batch of {feed.batch} can't be shared equally by {world_size} processes",
                "choose a batch that is a multiple of the number of processes",
            )  # fmt: skip
        self.spec, self.feed, self.device = spec, feed, device
        self._stream = stream(spec)
        self.position = 0  # steps done
        self.curve = Curve()
        self._share = feed.batch // world_size
        self._offset = rank * self._share
        self.loss = losses.build(recipe["loss"])
        if isinstance(self.loss, losses.Half) and world_size > 1 and self._share % 2:
            raise JobError(
                "R319", f"`half` attacks every second image: {self._share} per process can't be halved alike",
                f"choose a batch that is a multiple of {2 * world_size}",
            )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(stream(spec), "init"))
            network = models.build(spec.model, spec.dataset, recipe["normalize"])
        self.network = network.to(device)
        self.optimizer = make_optimizer(recipe["optimizer"], self.network, recipe["lr"])
        self.engine = Engine(
            self.network, self.optimizer, feed.batch, recipe["clip"], device, rank, world_size
        )
        # After DeepSpeed's own broadcast of the weights, which reads only the default memory layout.
        self.network.to(memory_format=torch.channels_last)
        self.average = average.build(recipe["average"], self.network, spec.train_steps)
        self._world_size = world_size
        if world_size > 1:
            # Statistics span the global batch on every topology.
            for norm in self.network.batch_norms():
                norm.group = dist.group.WORLD
        self.perturb = perturb.build(recipe.get("perturb", {"kind": "none"}), self.network, spec.train_steps)
        self.inner = InnerAttack(attacks.build(recipe["attack"]), self.network, recipe["batchnorm"]["attack"])
        self.ledgers = [Ledger(len(source.images)) for source in feed.sources]
        self._augment = augment.build(recipe["augment"])
        self._momentum = exact(recipe["batchnorm"]["momentum"])
        self._autocast = spec.numerics["dtype"] == "bf16"
        self.network.train()

    @property
    def done(self) -> bool:
        return self.position >= self.spec.train_steps

    def step(self) -> float:
        """One step. Returns the mean loss of the global batch. Raises JobError R320 when it is not finite."""
        index = self.position
        self._prepare(index)
        x_BCHW, y_B = self._batch(index)
        with torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=self._autocast):
            loss = self._loss(index, x_BCHW, y_B)
        value = self._over_processes(loss.detach())
        if not math.isfinite(value):
            raise JobError(
                "R320", f"the training loss became {value} at step {index + 1} of {self.spec.train_steps}",
                "lower `lr`, lengthen the warm-up or set `clip`; the last good checkpoint is kept",
            )  # fmt: skip
        self.engine.backward(loss)
        self.engine.step()
        if self.perturb is not None:
            self.perturb.remove()
        self.position = index + 1
        if self.average is not None:
            self.average.update(self.position)
        return value

    def _loss(self, index: int, x_BCHW: Tensor, y_B: Tensor) -> Tensor:
        """The batch's loss with its graph; where weights are perturbed, at the perturbed ones."""
        if self.perturb is None or not self.perturb.active(index):
            return self.loss.training(self.network, x_BCHW, y_B, self.inner)
        once = Replay(self.inner)
        with frozen(self.network.batch_norms()):
            ascent = self.loss.training(self.network, x_BCHW, y_B, once)
        self.perturb.add(ascent)
        return self.loss.training(self.network, x_BCHW, y_B, once)

    def _over_processes(self, value: Tensor) -> float:
        if self._world_size > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self._world_size
        return float(value)

    def agreed(self, wish: bool) -> bool:
        """Does any process wish it? Asked by all at the same step, so that all save or stop together."""
        if self._world_size == 1:
            return wish
        return self._over_processes(torch.tensor(float(wish), device=self.device)) > 0

    def same_everywhere(self, number: int) -> bool:
        """Do all processes have this number? Asked by all at the same step."""
        if self._world_size == 1:
            return True
        total = torch.tensor(float(number), dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total) == number * self._world_size

    def _prepare(self, index: int) -> None:
        """Learning rate, momentum and batch norm's momentum of a step: 1.0 on the very first, as published,
        so that running statistics start from data and not from 0 and 1."""
        recipe = self.spec.recipe
        setting = setting_at(
            recipe["schedule"], recipe["lr"], index, self.spec.train_steps, self.spec.steps_per_epoch
        )
        for group in self.optimizer.param_groups:
            group["lr"] = setting.lr
            if setting.momentum is not None and "betas" in group:
                group["betas"] = (setting.momentum, group["betas"][1])  # as torch's OneCycleLR cycles Adam
            elif setting.momentum is not None:
                group["momentum"] = setting.momentum
        if index <= 1:
            self.network.set_momentum(1.0 if index == 0 else self._momentum)

    def _batch(self, index: int) -> tuple[Tensor, Tensor]:
        indices = self.feed.indices(index)
        for ledger, drawn in zip(self.ledgers, indices, strict=True):
            ledger.add(drawn)
        x_BCHW, y_B = self.feed.load(indices, self._offset, self._offset + self._share)
        self.inner.noise = self._noise("attack", index)
        return self._augment(x_BCHW, self._noise("augment", index)), y_B

    def _noise(self, purpose: str, index: int) -> Any:
        first = index * self.feed.batch
        return noise_at(
            self._stream, purpose, first, device=self.device, offset=self._offset, total=self.feed.batch
        )

    def evaluated(self, weights: str) -> models.Network:
        """The network an evaluation looks at, in eval mode: the average where there is one and it is
        wanted."""
        if weights == "average" and self.average is not None:
            return self.average.network
        return self.network.eval()

    def state(self) -> dict[str, Any]:
        return {
            "position": self.position,
            "live": self.network.state_dict(),
            "average": None if self.average is None else self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "ledgers": [ledger.state() for ledger in self.ledgers],
            "losses": self.curve.losses,
            "evaluations": self.curve.evaluations,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.position = state["position"]
        self.network.load_state_dict(state["live"])
        if self.average is not None:
            self.average.network.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"].cpu())
        for ledger, saved in zip(self.ledgers, state["ledgers"], strict=True):
            ledger.restore(saved)
        self.curve = Curve(state["losses"], state["evaluations"])
        self.network.set_momentum(self._momentum if self.position else 1.0)
