"""What a job is given: its plan entry, its folders, its device, and how to tell what happens.

Made by worker.py for each job; a job function takes one and returns its observations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from isoloss.compiler.plan import Job, Observation


class MetricLog(Protocol):
    """Append one point of a curve to the journal: microseconds, never a network call."""

    def __call__(self, metric: str, value: float, step: int) -> None: ...


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


JobFunction = Callable[[JobContext], tuple[Observation, ...]]
