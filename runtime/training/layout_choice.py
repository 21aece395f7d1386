"""The layout of a job: chosen when it starts, and again when it ran out of memory. All processes choose alike.

What was chosen once holds: a resumed run keeps the micro-batch of its checkpoint (whatever memory happens to be
free by then), because the same bits are promised within one layout only."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import orjson
import torch
import torch.distributed as dist

from isoloss.compiler.plan import TrainSpec
from isoloss.runtime import disk
from isoloss.runtime.context import JobContext, Placement
from isoloss.runtime.errors import JobError
from isoloss.runtime.training.layout import ADVICE, Layout, Memory, lay_out, micro_batches
from isoloss.runtime.training.memory_estimate import estimate

#: In a job's work folder: the placement that its next attempt takes over. Hidden: written at every start, it is
#: nothing to go on from.
FILE = ".layout.json"


def choose(context: JobContext) -> Layout:
    """Raises JobError R319, R324, R326 for a placement that would change the maths."""
    spec = context.job.spec
    assert isinstance(spec, TrainSpec)
    batch, group = int(spec.recipe["batch"]), int(spec.numerics["batchnorm_group"])
    placement = _settled(context, batch, group)
    memory = None if placement is not context.placement else estimate(context.job, context.device)
    layout = lay_out(batch, group, context.rank, context.world_size, placement, memory)
    layout = _agreed(layout, context)
    _keep(context, layout)
    return layout


def after_shortage(context: JobContext, layout: Layout, memory: Memory | None) -> Layout:
    """The same maths in smaller passes. Raises JobError R322 where there is none, or where the other processes
    of the job have to start anew with it."""
    memory = memory or estimate(context.job, context.device)
    fitting = None if memory is None else memory.fitting()
    smaller = layout.smaller(None if fitting is None else min(fitting, layout.micro_batch // 2))
    if smaller is None:
        raise _too_large(layout, memory)
    _keep(context, smaller, always=True)
    short = f"out of memory with {layout.micro_batch} images at a time"
    if context.world_size > 1:
        raise JobError(
            "R322", f"{short} on each of {layout.world_size} devices",
            f"the same command goes on with {smaller.micro_batch}, which changes nothing else", retry=True,
        )  # fmt: skip
    print(f"{short}: going on with {smaller.micro_batch}", flush=True)
    return smaller


def _settled(context: JobContext, batch: int, group: int) -> Placement:
    """What an earlier attempt of as many processes chose, where the executor leaves it open."""
    wanted = context.placement
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = orjson.loads((context.work / FILE).read_bytes())
        if kept["processes"] == context.world_size and kept["micro_batch"] in micro_batches(
            batch, group, context.world_size
        ):
            stage = kept["zero_stage"] if wanted.zero_stage is None else wanted.zero_stage
            size = kept["micro_batch"] if wanted.micro_batch is None else wanted.micro_batch
            return replace(wanted, micro_batch=int(size), zero_stage=int(stage))
    return wanted


def _agreed(layout: Layout, context: JobContext) -> Layout:
    """The smallest micro-batch and the highest stage that any process chose: memory differs between them."""
    if context.world_size == 1:
        return layout
    chosen = torch.tensor([layout.micro_batch, -layout.zero_stage], device=context.device)
    dist.all_reduce(chosen, dist.ReduceOp.MIN)
    return replace(layout, micro_batch=int(chosen[0]), zero_stage=-int(chosen[1]))


def _keep(context: JobContext, layout: Layout, always: bool = False) -> None:
    # After a shortage any process may be the one that knows.
    if context.rank == 0 or always:
        disk.replace(context.work / FILE, orjson.dumps(layout.told()))


def _too_large(layout: Layout, memory: Memory | None) -> JobError:
    fitting = 0 if memory is None else memory.fitting() * layout.world_size
    if memory is not None and 0 < fitting < layout.batch:
        size = f"a batch of {fitting} would fit ({_sum(memory)})"
    else:
        size = f"a batch of {max(1, layout.batch // 2)} needs about half of it"
    return JobError(
        "R322", f"out of memory at a batch of {layout.batch}, {layout.micro_batch} images at a time, the fewest that "
        f"batch-norm groups of {layout.group} allow", *ADVICE, f"{size}; it is another experiment too",
    )  # fmt: skip


def _sum(memory: Memory) -> str:
    state, image, there = (each / 2**20 for each in (memory.state, memory.per_image, memory.available))
    return f"{state:,.0f} MB and {image:,.2f} MB per image of {there:,.0f} MB"
