"""The training loop: one step after another from a state, to a state that can be saved.

In: a TrainSpec, a Feed, a device, a layout. Out: weights, their average, a curve. Everything a step does depends
on (spec, step, weights) alone, so a run that is stopped and resumed ends with the bits of one that was not; on
another layout the same images, noise and formulas give the same up to the order of sums."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import torch
import torch.distributed as dist
from torch import Tensor

from isoloss.compiler.plan import TrainSpec, exact
from isoloss.runtime import attacks, models
from isoloss.runtime.context import AS_IT_FITS
from isoloss.runtime.errors import JobError
from isoloss.runtime.models.batchnorm import Statistics, frozen
from isoloss.runtime.noise import Noise, key, noise_at
from isoloss.runtime.training import augment, average, losses, perturb, precision, processes
from isoloss.runtime.training.engine import Engine
from isoloss.runtime.training.feed import Feed
from isoloss.runtime.training.inner_attack import InnerAttack, Replay
from isoloss.runtime.training.layout import Layout, lay_out
from isoloss.runtime.training.ledger import Ledger
from isoloss.runtime.training.optimizers import make_optimizer
from isoloss.runtime.training.schedule import setting_at


@dataclass
class Curve:
    """What was measured so far: [step, value] of the loss, dictionaries for evaluations."""

    losses: list[list[float]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)


def stream_key(spec: TrainSpec) -> int:
    """What a run's random numbers are keyed by: seed, network, data and length.

    Cells of a grid draw independently, as a bootstrap over runs takes them to (one draw of weights for all would
    pass for an effect of N); recipes and precisions compared at one cell share their draws."""
    cell = orjson.dumps([spec.seed, spec.model, spec.data, spec.train_steps], option=orjson.OPT_SORT_KEYS)
    return key(cell.decode())


@dataclass(frozen=True, slots=True)
class Part:
    """What passes at a time: images, labels, and the attack with its noise."""

    x: Tensor  # (B, C, H, W)
    y: Tensor  # (B,)
    adversary: losses.Adversary


@dataclass(frozen=True, slots=True)
class Best:
    """The weights that scored highest on the validation split so far; the latest of equals, as published. In main
    memory, whatever the device."""

    step: int
    score: float
    weights: dict[str, Tensor]


def diverged(what: str, value: float, step: int, steps: int) -> JobError:
    """R320: `what` isn't a finite number any more."""
    return JobError(
        "R320",
        f"{what} became {value} at step {step} of {steps}",
        "lower `lr`, lengthen the warm-up or set `clip`",
    )


class Trainer:
    """`step()` does one optimiser step and returns the batch's loss; `state()` / `restore()` are its memory.

    `layout` None: one process, the whole batch at once. `fuse`: compile the network (models/network.py)."""

    def __init__(
        self,
        spec: TrainSpec,
        feed: Feed,
        device: str = "cpu",
        layout: Layout | None = None,
        fuse: bool = False,
    ) -> None:
        recipe = spec.recipe
        if layout is None:
            layout = lay_out(feed.batch, int(spec.numerics["batchnorm_group"]), 0, 1, AS_IT_FITS)
        self.spec, self.feed, self.device, self.layout = spec, feed, device, layout
        self._stream = stream_key(spec)
        self.position = 0  # steps done
        self.curve = Curve()
        self.best: Best | None = None
        #: Where the run lay from which step on: the same bits are promised within one layout only.
        self.layouts: list[dict[str, Any]] = [{"from": 0, **layout.told()}]
        self.loss = losses.build(recipe["loss"])
        if isinstance(self.loss, losses.Half) and layout.micro_batch % 2 and layout.micro_batch < feed.batch:
            raise JobError(
                "R319", f"`half` attacks every second image: {layout.micro_batch} at a time can't be halved alike",
                f"choose a batch that is a multiple of {2 * layout.world_size * layout.passes}",
            )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(self._stream, "init"))
            network = models.build(spec.model, spec.dataset, recipe["normalize"])
        self.network = network.to(device)
        self.average = average.build(recipe["average"], self.network, spec.train_steps)
        self.optimizer = make_optimizer(recipe["optimizer"], self.network, recipe["lr"])
        self.engine = Engine(self.network, self.optimizer, layout, recipe["clip"], device)
        self._order_memory()
        if fuse:
            self.network.fuse()  # after the average was copied from it
        self._statistics = self._group_statistics()
        self.perturb = perturb.build(recipe.get("perturb", {"kind": "none"}), self.network, spec.train_steps)
        self.inner = InnerAttack(
            attacks.build(recipe["attack"]), self.network, recipe["batchnorm"]["attack"], self._capturable()
        )
        self.ledgers = [Ledger(source.sampler.images) for source in feed.sources]
        self._augment = augment.build(recipe["augment"])
        self._momentum = exact(recipe["batchnorm"]["momentum"])
        self._first_momentum = exact(recipe["batchnorm"]["first"])
        self.network.train()

    def _order_memory(self) -> None:
        """Channels last, after DeepSpeed's own broadcast of the weights, which reads only the default layout.
        Partitions are views of flat memory in the default one: their weights stay."""
        if self.layout.zero_stage == 0:
            self.network.to(memory_format=torch.channels_last)
            if self.average is not None:
                self.average.network.to(memory_format=torch.channels_last)

    def _group_statistics(self) -> Statistics | None:
        """Tell the norms which images are normalised together. None: running statistics may move in each
        pass, because it has the whole batch."""
        layout = self.layout
        together = len(layout.ranks_of_group)
        across = None
        for first in range(0, layout.world_size, together) if together > 1 else ():
            # Every process takes part in making every group.
            ranks = list(range(first, first + together))
            group = dist.group.WORLD if together == layout.world_size else dist.new_group(ranks)
            if layout.rank in ranks:
                across = group
        norms = self.network.batch_norms()
        for norm in norms:
            norm.groups, norm.across = layout.groups, across
        if layout.passes == 1 and together == layout.world_size:
            return None
        return Statistics(norms, layout.world_size)

    def _capturable(self) -> bool:
        """May the step's attack be a CUDA graph? Moving statistics have a momentum that changes; exchanges with
        other processes stay outside."""
        alone = all(norm.across is None for norm in self.network.batch_norms())
        return (
            self.device.startswith("cuda") and alone and self.spec.recipe["batchnorm"]["attack"] != "moving"
        )

    @property
    def done(self) -> bool:
        return self.position >= self.spec.train_steps

    def step(self) -> float:
        """One step. Returns the mean loss of the global batch. Raises JobError R320 when it is not finite."""
        index = self.position
        self._prepare(index)
        parts = self._parts(index)
        if self.perturb is not None and self.perturb.active(index):
            parts = self._perturb(parts)
        if self._statistics is not None:
            self._statistics.begin()
        total: Tensor | float = 0.0
        for number, part in enumerate(parts):
            loss = self._loss(part)
            total = total + loss.detach()
            self.engine.backward(loss)
            if number + 1 < len(parts):
                self.engine.step()
        if self._statistics is not None:
            self._statistics.settle(len(parts))
        value = processes.mean(torch.as_tensor(total), self.layout.world_size) / len(parts)
        if not math.isfinite(value):
            raise diverged("the training loss", value, index + 1, self.spec.train_steps)
        self.engine.step()
        if self.perturb is not None:
            self.engine.wrote(self.perturb.remove())
        self.position = index + 1
        if self.average is not None:
            self.average.update(self.position)
        return value

    def _loss(self, part: Part) -> Tensor:
        """The part's loss with its graph, the mean over its images."""
        with precision.autocast(self.spec.numerics, self.device):
            return self.loss.training(self.network, part.x, part.y, part.adversary)

    def _perturb(self, parts: Sequence[Part]) -> list[Part]:
        """Move the weights up the whole batch's loss; the images attacked on the way are trained on."""
        assert self.perturb is not None
        once = [Part(part.x, part.y, Replay(part.adversary)) for part in parts]
        with frozen(self.network.batch_norms()):
            for part in once:
                self.perturb.climb(self._loss(part))
        self.engine.wrote(self.perturb.add())
        return once

    def rehearse(self, images: int) -> None:
        """One pass of so many images, to see what it takes: nothing is kept and nothing moves."""
        x_BCHW, y_B = self.feed.load(0, self.feed.start, self.feed.start + images)
        noise = noise_at(self._stream, "rehearsal", device=self.device)
        for norm in self.network.batch_norms():
            norm.groups, norm.across, norm.seen = 1, None, None
        with frozen(self.network.batch_norms()):
            loss = self._loss(Part(x_BCHW, y_B, self.inner.at(noise)))
        torch.autograd.grad(loss, list(self.network.parameters()))

    def _prepare(self, index: int) -> None:
        """Learning rate, momentum and batch norm's momentum of a step: another on the very first, so that
        running statistics start from data and not from 0 and 1."""
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
        self.network.set_momentum(self._first_momentum if index == 0 else self._momentum)

    def _parts(self, index: int) -> list[Part]:
        """This process's images of a step, by passes."""
        for ledger, drawn in zip(self.ledgers, self.feed.indices(index), strict=True):
            ledger.add(drawn)
        parts = []
        for start, stop in self.layout.rows():
            x_BCHW, y_B = self.feed.load(index, start, stop)
            x_BCHW = self._augment(x_BCHW, self._noise("augment", index, start))
            parts.append(Part(x_BCHW, y_B, self.inner.at(self._noise("attack", index, start))))
        return parts

    def _noise(self, purpose: str, index: int, start: int = 0) -> Noise:
        """The noise of a step from row `start` of its batch on."""
        first, total = index * self.feed.batch, self.feed.batch
        return noise_at(self._stream, purpose, first, device=self.device, offset=start, total=total)

    def evaluated(self, weights: str) -> models.Network:
        """The network an evaluation looks at, in eval mode: the average where there is one and it is
        wanted."""
        if weights == "average" and self.average is not None:
            return self.average.network
        return self.network.eval()

    def offer(self, score: float, weights: str) -> None:
        """Keep a copy of these weights if none scored higher before."""
        if self.best is None or score >= self.best.score:
            state = self.evaluated(weights).state_dict()
            self.best = Best(self.position, score, _on_host(state))

    def state(self) -> dict[str, Any]:
        """All of it, the same on every layout. With several processes all have to ask at once."""
        best = self.best
        return {
            "position": self.position,
            "live": self.network.state_dict(),
            "average": None if self.average is None else self.average.network.state_dict(),
            "optimizer": self.engine.state(),
            "torch_rng": torch.get_rng_state(),
            "ledgers": [ledger.state() for ledger in self.ledgers],
            "losses": torch.tensor([value for _, value in self.curve.losses], dtype=torch.float64),
            "evaluations": self.curve.evaluations,
            "layouts": self.layouts,
            "best": None
            if best is None
            else {"step": best.step, "score": best.score, "weights": best.weights},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state. On the layout it was made on: with the same bits."""
        self.position = state["position"]
        self.network.load_state_dict(state["live"])
        if self.average is not None:
            self.average.network.load_state_dict(state["average"])
        self.engine.restore(state["optimizer"])
        torch.set_rng_state(state["torch_rng"].cpu())
        for ledger, saved in zip(self.ledgers, state["ledgers"], strict=True):
            ledger.restore(saved)
        losses_so_far = [[step, value] for step, value in enumerate(state["losses"].tolist(), 1)]
        self.curve = Curve(losses_so_far, state["evaluations"])
        self.layouts = state["layouts"]
        best = state["best"]
        self.best = None if best is None else Best(best["step"], best["score"], _on_host(best["weights"]))
        if {k: self.layouts[-1][k] for k in self.layout.told()} != self.layout.told():
            self.layouts.append({"from": self.position, **self.layout.told()})


def _on_host(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy that takes nothing of the device's memory."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}
