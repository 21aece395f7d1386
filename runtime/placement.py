"""How a training lies on its devices: how much passes at a time, what is partitioned.

Never part of what a job means: the same batch and batch-norm group are the same maths on every layout, so a job
has one id wherever it runs, and a checkpoint goes on under another placement. An executor states what it wants
and `JobContext` carries it; training/layout.py makes a layout of it or says why there is none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placement:
    """Of one process; how many share a batch is `Task.world_size`. `micro_batch` images pass at a time; None: as
    many as memory is estimated to hold. `zero_stage`: what DeepSpeed partitions, in 0 … 2; None: nothing, unless
    memory asks for it."""

    micro_batch: int | None = None
    zero_stage: int | None = None


#: All left open.
AS_IT_FITS = Placement()
