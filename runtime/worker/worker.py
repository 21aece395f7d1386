"""Run one job: lease, inputs, the job function, the result. What happens inside a worker process.

In: a `Task`. Out: a `Report`, and in the store a result or the story of a failure. Nothing is raised:
whatever goes wrong becomes a Failure with a code, and a traceback goes to a file and never to the user."""

from __future__ import annotations

import math
import os
import shutil
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal

from isoloss.compiler.plan import Job, Observation
from isoloss.runtime.context import AS_IT_FITS, JobContext, Placement
from isoloss.runtime.disk import storage_fault
from isoloss.runtime.errors import AGAIN, LOST_PEER, JobError, Stopped
from isoloss.runtime.jobs import JOBS, job_function
from isoloss.runtime.store import progress_file as notes
from isoloss.runtime.store.journal import Journal, MetricBuffer
from isoloss.runtime.store.leases import HEARTBEAT_SECONDS, Holder, Lease
from isoloss.runtime.store.progress_file import Note
from isoloss.runtime.store.result import Run
from isoloss.runtime.store.store import Store
from isoloss.runtime.training.out_of_memory import ran_out

Outcome = Literal["done", "failed", "stopped", "taken"]
_PROGRESS_SECONDS = 0.25
_NOTE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed. `details` is the path of a traceback or log; `retry`: another attempt is worth it: an
    input was damaged and set aside, or a placement was found that fits."""

    code: str
    message: str
    help: tuple[str, ...] = ()
    details: str | None = None
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    outcome: Outcome
    seconds: float = 0.0
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One job for one worker. `study` is the digest it runs under, for the journal; `device` a torch
    device. With a `world_size` above 1 this is one of so many workers; rank 0 alone writes (others: peers.py)."""

    job: Job
    store: Path
    study: str
    device: str
    threads: int
    data_root: Path | None = None
    functions: Mapping[str, str] = field(default_factory=lambda: JOBS)
    world_size: int = 1
    rank: int = 0
    placement: Placement = AS_IT_FITS


class StopFlag:
    """Set by SIGTERM; read by jobs at their checkpoints."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, *_: object) -> None:
        self.asked = True


def run_task(
    task: Task,
    stop: StopFlag,
    tell: Callable[[float], None] = lambda fraction: None,
    begin: Callable[[], None] = lambda: None,
) -> Report:
    """Run one job to its end. `tell` gets the fraction done a few times a second; `begin` is called once the job
    is ours to run and before it runs: the moment to call the other ranks."""
    began = time.monotonic()
    try:
        store = Store(task.store)
        lease = store.leases.acquire(task.job.id)
        if isinstance(lease, Holder):
            return Report("taken")
    except JobError as error:
        return Report("failed", 0.0, _failure(error))
    try:
        if store.has(task.job.id):
            return Report("done")
        return _Attempt(task, store, lease, stop, tell, begin, began).run()
    finally:
        lease.release()
        store.journal.close()


@dataclass
class _Attempt:
    task: Task
    store: Store
    lease: Lease
    stop: StopFlag
    tell: Callable[[float], None]
    begin: Callable[[], None]
    began: float

    def run(self) -> Report:
        job = self.task.job
        try:
            work = self.store.work_folder(job.id)
            before = notes.read(work) or notes.Note()
            attempts = before.attempts + 1
            started = time.time()
            self._note("started", attempt=attempts, pid=os.getpid(), host=socket.gethostname())
            self.store.drop_drafts(job.id)
            self.begin()
            pulse = _Pulse(self.lease, work, replace(before, attempts=attempts), self.began, self.stop)
            pulse.start()
            try:
                observations, draft = self._perform(work, pulse)
            finally:
                pulse.end()
            seconds = before.seconds + time.monotonic() - self.began
            run = Run(
                seconds=seconds,
                started=started,
                ended=time.time(),
                device=device_name(self.task.device),
                threads=self.task.threads,
                host=socket.gethostname(),
                world_size=self.task.world_size,
                attempts=attempts,
                planned_seconds=planned_seconds(job),
                versions=versions(),
            )
            if not self.lease.held():
                raise JobError("R206", "another process took this job while this one was asleep")
            self.store.commit(job, draft, _completed(observations, run), run)
            self._note("finished", seconds=seconds)
            return Report("done", seconds)
        except Stopped:
            return self._ended("stopped", None)
        except Exception as error:
            return self._ended("failed", explain(error, self.task))

    def _perform(self, work: Path, pulse: _Pulse) -> tuple[tuple[Observation, ...], Path]:
        job, task = self.task.job, self.task
        function = job_function(job.kind, task.functions)
        inputs = {need: self._input(need) for need in job.needs}
        _set_threads(task.threads)
        draft = self.store.begin(job.id)
        # A journal end of its own: the buffer lives in the job's thread, notes come from ours.
        log = MetricBuffer(Journal(self.store.journal.path), job.id)
        context = JobContext(
            job=job,
            output=draft,
            work=work,
            inputs=inputs,
            device=task.device,
            threads=task.threads,
            data_root=task.data_root,
            cache=self.store.path / "cache",
            log=log,
            # Ranks agree on a step to stop at (`stopping`): one that left alone would leave the others waiting.
            progress=_Progress(self.tell, self.stop if task.world_size == 1 else StopFlag(), pulse),
            world_size=task.world_size,
            placement=task.placement,
            stopping=lambda: self.stop.asked,
        )
        try:
            observations = function(context)
            check_observations(job, observations)
            log.flush()
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            with suppress(JobError):
                log.flush()
            raise
        finally:
            log.journal.close()
        return observations, draft

    def _input(self, need: str) -> Path:
        try:
            return self.store.open_result(need).folder
        except KeyError:
            raise JobError(
                "R207", f"an input has no result: {need}", "run the study again: it will be made"
            ) from None

    def _ended(self, outcome: Literal["failed", "stopped"], failure: Failure | None) -> Report:
        seconds = time.monotonic() - self.began
        facts = {} if failure is None else {"code": failure.code, "message": failure.message}
        # The disk may be full: the report still reaches the executor through its pipe.
        with suppress(JobError):
            self._note(outcome, seconds=seconds, **facts)
        return Report(outcome, seconds, failure)

    def _note(self, state: str, **facts: object) -> None:
        job = self.task.job
        self.store.journal.append(
            {
                "event": "job",
                "state": state,
                "job": job.id,
                "name": job.name,
                "study": self.task.study,
                **facts,
            }
        )


def explain(error: Exception, task: Task) -> Failure:
    """What went wrong in a job, for people; the traceback of a surprise goes to a file."""
    if isinstance(error, JobError):
        return _failure(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _failure(storage_fault(error, f"running {task.job.name}"), _keep_traceback(task))
    if ran_out(error):
        help = "a smaller batch or network needs less; `isoloss explain` shows the planned memory"
        return Failure("R203", "out of memory", (help,), _keep_traceback(task))
    who = f" in rank {task.rank}" if task.rank else ""
    if task.world_size > 1 and _lost_a_peer(error):
        message = f"another process of this job went away{who}"
        return Failure(LOST_PEER, message, (AGAIN,), _keep_traceback(task))
    what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    help = "please report it with the file named here"
    return Failure("R299", f"internal error{who}: {what}", (help,), _keep_traceback(task))


#: How gloo says that a peer is gone; it has no exception of its own. NCCL has: torch's DistError.
_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket Timeout")


def _lost_a_peer(error: Exception) -> bool:
    if any(kind.__name__ == "DistError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _GONE)


def _keep_traceback(task: Task) -> str | None:
    rank = f".rank{task.rank}" if task.rank else ""
    path = task.store / "logs" / f"{task.job.id}{rank}.traceback.txt"
    try:
        path.write_text(traceback.format_exc())
    except OSError:
        return None
    return str(path)


class _Progress:
    """The job's `progress`: passes on a few calls a second; raises Stopped once the job was asked to stop."""

    def __init__(self, tell: Callable[[float], None], stop: StopFlag, pulse: _Pulse) -> None:
        self._tell, self._stop, self._pulse, self._last = tell, stop, pulse, 0.0

    def __call__(self, fraction: float) -> None:
        if self._stop.asked:
            raise Stopped
        now = time.monotonic()
        if now - self._last >= _PROGRESS_SECONDS:
            self._last = now
            self._pulse.fraction = min(1.0, max(0.0, fraction))
            self._tell(self._pulse.fraction)


class _Pulse(threading.Thread):
    """Renews the lease and the job's note: how far it is, and what all its attempts have cost."""

    def __init__(self, lease: Lease, work: Path, before: Note, began: float, stop: StopFlag) -> None:
        super().__init__(daemon=True)
        self._lease, self._work, self._before = lease, work, before
        self._began, self._stop_flag = began, stop
        self.fraction = before.fraction
        self._over = threading.Event()

    def run(self) -> None:
        beaten = self._began
        while True:
            self._say()
            now = time.monotonic()
            if now - beaten >= HEARTBEAT_SECONDS:
                beaten = now
                if not self._lease.beat():
                    self._stop_flag.ask()
            if self._over.wait(_NOTE_SECONDS):
                return

    def end(self) -> None:
        self._over.set()
        self.join()
        self._say()

    def _say(self) -> None:
        seconds = self._before.seconds + time.monotonic() - self._began
        notes.write(self._work, replace(self._before, seconds=seconds, fraction=self.fraction))


def check_observations(job: Job, observations: object) -> None:
    """Raises JobError R205 unless they are what `job` may report: at least one, its own, finite."""
    if not isinstance(observations, tuple) or not observations:
        raise JobError("R205", f"`{job.kind}` gave no observations")
    for seen in observations:
        if not isinstance(seen, Observation) or seen.job != job.id or seen.kind != job.kind:
            raise JobError("R205", f"`{job.kind}` gave an observation that is not its own: {seen!r:.200}")
        if not math.isfinite(seen.value):
            raise JobError("R205", f"`{seen.metric}` of {job.name} is {seen.value}, not a number")


def _completed(observations: tuple[Observation, ...], run: Run) -> tuple[Observation, ...]:
    """Where a job said nothing about time and device, what the worker knows; how many devices it had."""
    return tuple(
        replace(
            o,
            seconds=run.seconds if o.seconds is None else o.seconds,
            device=o.device or run.device,
            devices=run.world_size,
        )
        for o in observations
    )


def _failure(error: JobError, details: str | None = None) -> Failure:
    # R107: an input was damaged. It is set aside, so a new plan makes it again.
    again = error.retry or error.code in ("R107", "R207")
    return Failure(error.code, error.message, tuple(error.help), details, retry=again)


def _set_threads(threads: int) -> None:
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


@cache
def versions() -> dict[str, str]:
    """Versions that a result depends on; read from package metadata, nothing is imported."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in ("isoloss", "torch", "deepspeed", "numpy", "scikit-learn"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def planned_seconds(job: Job) -> tuple[float, float, float] | None:
    """What the plan said: low, mid, high."""
    seconds = job.cost.seconds
    return None if seconds is None else (seconds.low, seconds.mid, seconds.high)


def device_name(device: str) -> str:
    """What people call the device: "cpu" or the accelerator's name ("NVIDIA H200")."""
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name(device))
    return device
