"""Ranks above 0 of a job of several processes: they compute, rank 0 (worker.py) writes.

In: a `Task` and a rank. Out: how it ended. A peer holds no lease, logs nothing and commits nothing; whether
the job goes on, stops or fails is agreed with rank 0 inside the job (`JobContext.stopping`)."""

from __future__ import annotations

import shutil
import time
import traceback
from contextlib import suppress
from pathlib import Path

from isoloss.runtime.context import JobContext
from isoloss.runtime.errors import JobError, Stopped
from isoloss.runtime.jobs import job_function
from isoloss.runtime.store import Store
from isoloss.runtime.worker import Failure, Report, StopFlag, Task


class _Silent:
    """A MetricLog that keeps nothing: rank 0 has the same values."""

    def __call__(self, metric: str, value: float, step: int) -> None: ...

    def flush(self) -> None: ...


def run_peer(task: Task, rank: int, stop: StopFlag) -> Report:
    """Take part in one job as `rank`, in [1, world_size). Never raises for what goes wrong in the job."""
    began = time.monotonic()
    try:
        store = Store(task.store)
        draft = store.begin(task.job.id)
        try:
            job_function(task.job.kind, task.functions)(_context(task, rank, stop, store, draft))
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except Stopped:
        return Report("stopped", time.monotonic() - began)
    except JobError as error:
        return Report(
            "failed", time.monotonic() - began, Failure(error.code, error.message, tuple(error.help))
        )
    except Exception as error:
        what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        details = None
        with suppress(OSError):
            path = task.store / "logs" / f"{task.job.id}.rank{rank}.traceback.txt"
            path.write_text(traceback.format_exc())
            details = str(path)
        help = ("please report it with the file named here",)
        return Report(
            "failed",
            time.monotonic() - began,
            Failure("R299", f"internal error in rank {rank}: {what}", help, details),
        )
    return Report("done", time.monotonic() - began)


def _context(task: Task, rank: int, stop: StopFlag, store: Store, draft: Path) -> JobContext:
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
        rank=rank,
        world_size=task.world_size,
        stopping=lambda: stop.asked,
    )
