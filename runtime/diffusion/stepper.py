"""What the trainings of denoisers and discriminators share: a network on an engine, its place in the batch, its
state.

In: a network, an optimiser, a spec's sizes. A subclass writes `loss`, and what else it keeps."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from isoloss.runtime.context import AS_IT_FITS
from isoloss.runtime.errors import JobError
from isoloss.runtime.noise import Noise, key, noise_at
from isoloss.runtime.training.engine import Engine
from isoloss.runtime.training.layout import lay_out
from isoloss.runtime.training.processes import mean


class Stepper:
    """`step()` does one optimiser step and returns the batch's loss; `state()` / `restore()` are its memory.

    `rank` of `world_size` processes works on its equal slice of every batch."""

    def __init__(
        self,
        make: Callable[[], nn.Module],
        stream: int,
        train_steps: int,
        batch: int,
        device: str,
        rank: int,
        world_size: int,
    ) -> None:
        # These networks normalise each image by itself: groups of one lie on any number of processes.
        layout = lay_out(batch, 1, rank, world_size, AS_IT_FITS)
        self.stream, self.train_steps, self.batch, self.device = stream, train_steps, batch, device
        self.position = 0  # steps done
        self.losses: list[list[float]] = []  # [step, value]
        self.held_out: list[list[float]] = []  # the same
        self._rank, self._world_size, self._share = rank, world_size, layout.share
        self._offset = rank * self._share
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(stream, "init"))
            self.network = make().to(device)
        self.network.train()
        self.optimizer = self.make_optimizer()
        self.engine = Engine(self.network, self.optimizer, layout, None, device)

    @abstractmethod
    def make_optimizer(self) -> torch.optim.Optimizer: ...

    @abstractmethod
    def loss(self, index: int) -> Tensor:
        """The mean loss of this process's share of the batch of 0-based step `index`, with its graph. What is
        reported is this over `numbers`."""

    @abstractmethod
    def test(self) -> float:
        """The held-out loss, the same on every process."""

    @abstractmethod
    def learning_rate(self, index: int) -> float: ...

    @property
    def numbers(self) -> int:
        """How many numbers of an image the loss adds up."""
        return 1

    def after(self, index: int) -> None:
        """What follows the optimiser's step `index`."""

    @property
    def done(self) -> bool:
        return self.position >= self.train_steps

    def step(self) -> float:
        """One step. Returns the mean loss of the global batch. Raises JobError R320 when it is not finite."""
        index = self.position
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(index)
        # Dropout's masks belong to the step: nothing of the random state needs saving.
        torch.manual_seed(key(self.stream, "dropout", index, self._rank))
        loss = self.loss(index)
        value = mean(loss.detach(), self._world_size) / self.numbers
        if not math.isfinite(value):
            raise JobError(
                "R320", f"the training loss became {value} at step {index + 1} of {self.train_steps}",
                "lower `lr` or lengthen `warmup`",
            )  # fmt: skip
        self.engine.backward(loss)
        self._repair_gradients()
        self.engine.step()
        self.position = index + 1
        self.after(index)
        return value

    def _repair_gradients(self) -> None:
        """As published (EDM's code): not-a-number becomes 0, infinities +-1e5. A single bad image is then no end."""
        for parameter in self.network.parameters():
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0.0, posinf=1e5, neginf=-1e5, out=parameter.grad)

    def noise(self, purpose: str, index: int) -> Noise:
        """Random numbers of a step's batch: those of this process's rows."""
        first = index * self.batch
        return noise_at(
            self.stream, purpose, first, device=self.device, offset=self._offset, total=self.batch
        )

    def state(self) -> dict[str, Any]:
        return {
            "position": self.position,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "losses": self.losses,
            "held_out": self.held_out,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.position = state["position"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.losses, self.held_out = state["losses"], state["held_out"]
