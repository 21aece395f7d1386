"""Learning rate and momentum by step. Pure functions of the step: nothing to checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from isoloss.compiler.plan import Component, exact
from isoloss.runtime.errors import JobError

# torch's OneCycleLR defaults, which the published code ("cosinew") leaves as they are.
DIV_FACTOR, FINAL_DIV_FACTOR = 25.0, 1e4
BASE_MOMENTUM, MAX_MOMENTUM = 0.85, 0.95


@dataclass(frozen=True, slots=True)
class Setting:
    """What an optimiser step uses; momentum None: the optimiser's own."""

    lr: float
    momentum: float | None = None


def one_cycle(position: int, total: int, warmup: float, high: float, start: float, end: float) -> float:
    """Cosine from `start` to `high` over warmup * total - 1 positions, then cosine to `end` at total - 1.

    As torch's OneCycleLR: peak at p = warmup * total - 1; where p <= 0 the first position is past the
    peak."""
    peak = warmup * total - 1.0
    if position <= peak:
        return _cosine(start, high, position / peak if peak > 0 else 1.0)
    return _cosine(high, end, (position - peak) / (total - 1.0 - peak))


def _cosine(begin: float, end: float, share: float) -> float:
    return end + (begin - end) / 2.0 * (1.0 + math.cos(math.pi * share))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step stands: 0-based `step` of `train_steps`."""

    step: int
    train_steps: int
    steps_per_epoch: int

    @property
    def share(self) -> float:
        return self.step / self.train_steps


def setting_at(schedule: Component, lr: float, step: int, train_steps: int, steps_per_epoch: int) -> Setting:
    """The setting of 0-based `step` of `train_steps`. Raises JobError R315 for an unregistered schedule."""
    rule = SCHEDULES.get(schedule["kind"])
    if rule is None:
        raise JobError("R315", f"no schedule `{schedule['kind']}`", f"known: {', '.join(sorted(SCHEDULES))}")
    return rule(schedule, lr, Place(step, train_steps, steps_per_epoch))


def _cosine_cycle(schedule: Component, lr: float, place: Place) -> Setting:
    """`per = epoch` changes at epoch ends only, as published: 100 epochs of max .3 begin .012, .228."""
    position, total = place.step, place.train_steps
    if schedule.get("per", "step") == "epoch":
        position, total = (
            place.step // place.steps_per_epoch,
            math.ceil(place.train_steps / place.steps_per_epoch),
        )
    warmup = exact(schedule["warmup"])
    initial = lr / DIV_FACTOR
    rate = one_cycle(position, total, warmup, lr, initial, initial / FINAL_DIV_FACTOR)
    if not schedule.get("cycle_momentum", False):
        return Setting(rate)
    return Setting(rate, one_cycle(position, total, warmup, BASE_MOMENTUM, MAX_MOMENTUM, MAX_MOMENTUM))


def _milestones(schedule: Component, lr: float, place: Place) -> Setting:
    """lr * factor^(milestones reached): step s has reached m where s >= m * train_steps."""
    reached = sum(place.step >= exact(m) * place.train_steps for m in schedule["milestones"])
    return Setting(lr * exact(schedule["factor"]) ** reached)


def _linear(schedule: Component, lr: float, place: Place) -> Setting:
    warmup, end = exact(schedule["warmup"]), exact(schedule["end"])
    if (rising := _rising(warmup, place)) is not None:
        return Setting(lr * rising)
    left = min(1.0, (1 - place.share) / (1 - warmup)) if warmup < 1 else 1.0
    return Setting(lr * (end + (1 - end) * left))


def _cooldown(schedule: Component, lr: float, place: Place) -> Setting:
    if (rising := _rising(exact(schedule["warmup"]), place)) is not None:
        return Setting(lr * rising)
    fraction = exact(schedule["fraction"])
    return Setting(lr * min(1.0, (1 - place.share) / fraction) if fraction else lr)


def _rising(warmup: float, place: Place) -> float | None:
    """Share of lr in the warm-up: (s + 1) / (warmup * train_steps) up to 1; None after it."""
    rising = (place.step + 1) / (warmup * place.train_steps) if warmup else 1.0
    return rising if rising < 1 else None


SCHEDULES: Mapping[str, Callable[[Component, float, Place], Setting]] = {
    "cosine": _cosine_cycle,
    "constant": lambda schedule, lr, place: Setting(lr),
    "step": _milestones,
    "linear": _linear,
    "cooldown": _cooldown,
}
