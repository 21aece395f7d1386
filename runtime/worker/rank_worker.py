"""Ranks above 0 of a job of several processes: they compute, rank 0 (worker.py) writes.

In: a `Task` with its rank. Out: how it ended. A peer holds no lease, logs nothing and commits nothing; whether
the job goes on, stops or fails is agreed with rank 0 inside the job (`JobContext.stopping`)."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from isoloss.runtime.context import JobContext
from isoloss.runtime.errors import JobError, Stopped
from isoloss.runtime.jobs import job_function
from isoloss.runtime.store.store import Store
from isoloss.runtime.worker.worker import Report, StopFlag, Task, explain


class _Silent:
    """A MetricLog that keeps nothing: rank 0 has the same values."""

    def __call__(self, metric: str, value: float, step: int) -> None: ...

    def flush(self) -> None: ...


def run_peer(task: Task, stop: StopFlag) -> Report:
    """Take part in one job as a rank in [1, world_size). Never raises for what goes wrong in the job."""
    began = time.monotonic()
    try:
        store = Store(task.store)
        draft = store.begin(task.job.id)
        try:
            job_function(task.job.kind, task.functions)(_context(task, stop, store, draft))
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except Stopped:
        return Report("stopped", time.monotonic() - began)
    except Exception as error:
        return Report("failed", time.monotonic() - began, explain(error, task))
    return Report("done", time.monotonic() - began)


def _context(task: Task, stop: StopFlag, store: Store, draft: Path) -> JobContext:
    try:
        inputs = {need: store.read(need).folder for need in task.job.needs}
    except KeyError as error:
        raise JobError("R207", f"an input has no result: {error.args[0]}", "run the study again") from None
    return JobContext(
        job=task.job,
        output=draft,
        work=store.work_folder(task.job.id),
        inputs=inputs,
        device=task.device,
        threads=task.threads,
        data_root=task.data_root,
        log=_Silent(),
        progress=lambda fraction: None,
        rank=task.rank,
        world_size=task.world_size,
        placement=task.placement,
        stopping=lambda: stop.asked,
    )
