"""Learning rate and momentum by step. Pure functions of the step: nothing to checkpoint."""

from __future__ import annotations

import math
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


def setting_at(schedule: Component, lr: float, step: int, train_steps: int, steps_per_epoch: int) -> Setting:
    """The setting of 0-based `step` of `train_steps`. Raises JobError R315 for an unregistered schedule.

    `cosine(per = epoch)` changes at epoch ends only, as published: 100 epochs of max .3 begin .012, .228."""
    kind = schedule["kind"]
    if kind == "constant":
        return Setting(lr)
    if kind != "cosine":
        raise JobError("R315", f"no schedule `{kind}`", "known: constant, cosine")
    position, total = step, train_steps
    if schedule.get("per", "step") == "epoch":
        position, total = step // steps_per_epoch, math.ceil(train_steps / steps_per_epoch)
    warmup = exact(schedule["warmup"])
    initial = lr / DIV_FACTOR
    rate = one_cycle(position, total, warmup, lr, initial, initial / FINAL_DIV_FACTOR)
    if not schedule.get("cycle_momentum", False):
        return Setting(rate)
    return Setting(rate, one_cycle(position, total, warmup, BASE_MOMENTUM, MAX_MOMENTUM, MAX_MOMENTUM))
