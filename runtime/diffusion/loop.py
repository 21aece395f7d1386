"""Run a trainer in a job: resume, step, test on held-out images, log, save, stop.

In: a Stepper and a JobContext. Out: the finished Stepper, its curve as `curve.json` and observations."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import orjson
import torch

from isoloss.compiler.plan import Observation
from isoloss.runtime.context import JobContext
from isoloss.runtime.diffusion.stepper import Stepper
from isoloss.runtime.errors import JobError, Stopped
from isoloss.runtime.training import checkpoint
from isoloss.runtime.training.processes import agreed, check_same

#: Wall seconds between checkpoints: what a kill can cost.
CHECKPOINT_SECONDS = 30.0
#: Points of the training-loss curve among the observations; the whole curve is in curve.json.
CURVE_POINTS = 40
#: How often the held-out loss is taken, evenly spaced, the end included.
HELD_OUT_TIMES = 10


@dataclass(frozen=True, slots=True)
class Names:
    """What a training's losses are called."""

    training: str
    held_out: str


def drive(stepper: Stepper, context: JobContext, names: Names) -> tuple[Observation, ...]:
    """Train to the end. Writes curve.json (rank 0). Raises JobError (divergence, memory) or Stopped."""
    state = checkpoint.load_newest(context.work, context.device)
    before = 0.0
    if state is not None:
        stepper.restore(state)
        before = state["seconds"]
    check_same(context, stepper.position)
    try:
        seconds = _loop(stepper, context, names, before)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise JobError(
            "R322", f"out of memory at a batch of {stepper.batch}",
            f"a batch of {max(1, stepper.batch // 2)} needs about half; or use more devices",
        ) from error  # fmt: skip
    if context.rank == 0:
        curve = {"losses": stepper.losses, "held_out": stepper.held_out, "seconds": seconds}
        context.output.mkdir(parents=True, exist_ok=True)
        (context.output / "curve.json").write_bytes(orjson.dumps(curve))
    return tuple(_observations(stepper, context, names, seconds))


def _loop(stepper: Stepper, context: JobContext, names: Names, before: float) -> float:
    """Wall seconds of the training, over all its attempts."""
    began = saved = time.monotonic()

    def seconds() -> float:
        return before + time.monotonic() - began

    def save() -> None:
        context.log.flush()
        if context.rank == 0:
            checkpoint.save(context.work, stepper.position, stepper.state() | {"seconds": seconds()})

    tests = {round(stepper.train_steps * (k + 1) / HELD_OUT_TIMES) for k in range(HELD_OUT_TIMES)}
    while not stepper.done:
        try:
            value = stepper.step()
        except JobError as error:
            raise checkpoint.with_what_is_kept(error, context.work) from error
        step = stepper.position
        stepper.losses.append([step, value])
        context.log(names.training, value, step)
        if step in tests:
            tested = stepper.test()
            stepper.held_out.append([step, tested])
            context.log(names.held_out, tested, step)
        due = context.rank == 0 and time.monotonic() - saved > CHECKPOINT_SECONDS
        stopping, due = agreed(context, context.stopping(), due)
        if stopping or due:
            save()
            saved = time.monotonic()
        if stopping:
            raise Stopped
        try:
            context.progress(step / stepper.train_steps)
        except Stopped:
            # Asked between the two questions: save here too.
            save()
            raise
    return seconds()


def _observations(stepper: Stepper, context: JobContext, names: Names, seconds: float) -> list[Observation]:
    count = min(CURVE_POINTS, len(stepper.losses))
    thinned = [stepper.losses[round((k + 1) * len(stepper.losses) / count) - 1] for k in range(count)]
    found = [
        _observe(stepper, context, name, int(step), value)
        for name, points in ((names.training, thinned), (names.held_out, stepper.held_out))
        for step, value in points
    ]
    rate = stepper.train_steps * stepper.batch / max(seconds, 1e-9)
    return [
        *found,
        _observe(stepper, context, "images per second", stepper.train_steps, rate, seconds=seconds),
    ]


def _observe(
    stepper: Stepper, context: JobContext, metric: str, step: int, value: float, **more: Any
) -> Observation:
    facts, images = context.job.facts, step * stepper.batch
    return Observation(
        job=context.job.id,
        kind=context.job.kind,
        metric=metric,
        value=value,
        run=context.job.id,
        params=facts.params,
        images=images,
        flops=None if facts.flops_per_image is None else images * facts.flops_per_image,
        fraction=step / stepper.train_steps,
        device=context.device,
        **more,
    )
