"""What a job is given: its plan entry, its folders, its device, and how to tell what happens.

Made by worker.py for each job; a job function takes one and returns its observations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from isoloss.compiler.plan import Job, Observation


@dataclass(frozen=True, slots=True)
class Placement:
    """Device layout of one training, for one of its processes: micro-batch size and ZeRO stage.

    A layout is never part of what a job means: the same batch and batch-norm group are the same maths on every layout,
    so a job has one id wherever it runs, and a checkpoint goes on under another placement. An executor states what it
    wants; training/layout.py makes a layout of it or says why there is none. `micro_batch` images pass at a time; None:
    as many as memory is estimated to hold. `zero_stage`: what DeepSpeed partitions, 0 to 2; None: nothing, unless
    memory asks for it. `Task.world_size` processes share a batch."""

    micro_batch: int | None = None
    zero_stage: int | None = None


#: All left open.
AS_IT_FITS = Placement()


class MetricLog(Protocol):
    """Append one point of a curve to the journal: microseconds, never a network call.

    Points are buffered; `flush` writes them. Flush before a checkpoint is made: what a killed job had logged
    before its checkpoint is never logged again."""

    def __call__(self, metric: str, value: float, step: int) -> None: ...

    def flush(self) -> None: ...


@dataclass(frozen=True, slots=True)
class JobContext:
    """`output` becomes store/<job id>/ when the job returns; `work` survives a kill (checkpoints);
    `inputs` maps each needed job's id to its folder in the store, read-only and verified."""

    job: Job
    output: Path
    work: Path
    inputs: Mapping[str, Path]
    device: str  # torch device: "cpu", "cuda:0"
    threads: int
    data_root: Path | None
    log: MetricLog
    progress: Callable[[float], None]  # fraction of the job done, in [0, 1]
    rank: int = 0
    world_size: int = 1
    # Where features of real images are kept by content, for every job of the store; None: nowhere.
    cache: Path | None = None
    placement: Placement = AS_IT_FITS
    # Asked to stop (Ctrl-C, walltime)? Then save a checkpoint and raise errors.Stopped. `progress` raises it
    # too: a job without state to save needs nothing else.
    stopping: Callable[[], bool] = lambda: False


JobFunction = Callable[[JobContext], tuple[Observation, ...]]
