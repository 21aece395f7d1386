"""What the processes of one training agree on: every answer is the same on each of them.

All ask at the same step, of a value that lies on the training's device. Where there is one process it asks nobody."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from isoloss.runtime.context import JobContext
from isoloss.runtime.errors import LOST_PEER, JobError


def mean(value: Tensor, world_size: int) -> float:
    """Of a number that each process has its own of."""
    if world_size > 1:
        value = value.clone()
        dist.all_reduce(value)
        value /= world_size
    return float(value)


def agreed(context: JobContext, *wishes: bool) -> list[bool]:
    """Of each wish: does any process have it? So that all save or stop together."""
    return [bool(wish) for wish in _largest(context, *wishes)]


def check_same(context: JobContext, position: int) -> None:
    """Raises JobError R212 unless all processes go on from the same step: a shared file system may show a new
    checkpoint to one host before the other."""
    largest, smallest = _largest(context, position, -position)
    if largest != -smallest:
        raise JobError(LOST_PEER, "the processes of this job found different checkpoints to go on from")


def _largest(context: JobContext, *numbers: int) -> list[int]:
    if context.world_size == 1:
        return list(numbers)
    found = torch.tensor(numbers, dtype=torch.int64, device=context.device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return [int(number) for number in found]
