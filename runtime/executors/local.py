"""Jobs on this machine: a worker process per job, one at a time on each device slot.

In: ready jobs, needs anywhere among them or in the store. Out: results in the store, an Outcome.

A failed job takes its dependants with it and nothing else. Ctrl-C: nothing new starts, workers are asked to
stop at their next checkpoint, and killed after GRACE_SECONDS or a second Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from isoloss.compiler.plan import Job
from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.base import Event, Outcome, Resources, Watcher, urgency
from isoloss.runtime.executors.devices import Slot, kernel_kills, slots
from isoloss.runtime.executors.interrupts import interruptible
from isoloss.runtime.executors.nursery import Nursery, Signal, Start
from isoloss.runtime.jobs import JOBS
from isoloss.runtime.store import Store
from isoloss.runtime.worker import Failure, Task

GRACE_SECONDS = 20.0
_WAIT_SECONDS = 0.2
_LOOK_ELSEWHERE_SECONDS = 0.5
#: Loaded once in the nursery; the job modules pull in what else they need.
PRELOAD = ("isoloss.runtime.preload",)


class LocalExecutor:
    """`functions` maps kinds to job functions (tests bring their own)."""

    origin = "measured"

    def __init__(
        self,
        resources: Resources,
        functions: Mapping[str, str] = JOBS,
        preload: Sequence[str] = PRELOAD,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self.resources = resources
        self.slots = slots(resources)
        self.functions = dict(functions)
        self.grace_seconds = grace_seconds
        self._preload = tuple(preload)
        self._nursery: Nursery | None = None

    def warm(self, store: Store) -> Nursery:
        """Start loading torch now, beside whatever the caller does next. Raises JobError R209."""
        if self._nursery is None:
            environment = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", **dict(self.slots[0].environment)}
            if self.slots[0].device == "cpu":
                environment["DS_ACCELERATOR"] = "cpu"
            else:
                # A slot's worker chooses its device itself.
                environment.pop("CUDA_VISIBLE_DEVICES")
            self._nursery = Nursery(self._preload, environment, str(store.path / "logs" / "nursery.log"))
        return self._nursery

    def run(self, jobs: Sequence[Job], store: Store, study: str, watch: Watcher) -> Outcome:
        """See Executor.run."""
        state = _Run(self, self.warm(store), jobs, store, study, watch)
        with interruptible(state):
            state.loop()
        return state.outcome

    def close(self) -> None:
        if self._nursery is not None:
            self._nursery.close()
            self._nursery = None


@dataclass
class _Running:
    job: Job
    slot: Slot
    since: float
    kills_before: int
    reported: dict[str, Any] | None = None


@dataclass
class _Run:
    """One call of LocalExecutor.run."""

    executor: LocalExecutor
    nursery: Nursery
    jobs: Sequence[Job]
    store: Store
    study: str
    watch: Watcher
    outcome: Outcome = field(default_factory=Outcome)
    interrupts: int = 0

    def __post_init__(self) -> None:
        self._waiting = {job.id: job for job in self.jobs}
        self._rank = urgency(self.jobs)
        self._running: dict[str, _Running] = {}
        self._free = list(reversed(self.executor.slots))
        self._looked: dict[str, float] = {}  # held by another process: when we last looked
        self._told_to_stop: float | None = None

    def loop(self) -> None:
        """Launch, listen, until nothing runs and nothing can start."""
        while True:
            if self.interrupts:
                self._stop()
            else:
                self._launch()
            if not self._running and (self.interrupts or not self._waiting):
                break
            messages = self.nursery.messages(_WAIT_SECONDS)
            if messages is None:
                raise JobError(
                    "R209", "the process that starts workers was killed", "run the same command again"
                )
            for message in messages:
                self._hear(message)
            self.watch(Event("tick", None))
        self.outcome.interrupted = self.interrupts > 0

    # Starting.

    def _launch(self) -> None:
        for job in sorted(self._waiting.values(), key=lambda j: -self._rank[j.id]):
            if not self._free:
                return
            if job.id in self._waiting and self._may_start(job):
                self._start(job)

    def _may_start(self, job: Job) -> bool:
        if self.store.has(job.id):
            self._finish(job, 0.0)
            return False
        missing = [need for need in job.needs if not self.store.has(need)]
        if any(need in self._waiting or need in self._running for need in missing):
            return False
        if missing:
            self._skip(job, f"its input {missing[0]} has no result and isn't planned")
            return False
        return self._is_free(job)

    def _is_free(self, job: Job) -> bool:
        now = time.monotonic()
        seen_before = job.id in self._looked
        if seen_before and now - self._looked[job.id] < _LOOK_ELSEWHERE_SECONDS:
            return False
        holder = self.store.leases.holder(job.id)
        if holder is None:
            self._looked.pop(job.id, None)
            return True
        self._looked[job.id] = now
        if not seen_before:
            self.watch(Event("elsewhere", job, text=f"process {holder.pid} on {holder.name}"))
        return False

    def _start(self, job: Job) -> None:
        slot = self._free.pop()
        executor = self.executor
        task = Task(
            job=job,
            store=self.store.path,
            study=self.study,
            device=slot.device,
            threads=slot.threads,
            data_root=executor.resources.data_root,
            functions=executor.functions,
        )
        log = str(self.store.path / "logs" / f"{job.id}.log")
        del self._waiting[job.id]
        self._running[job.id] = _Running(job, slot, time.monotonic(), kernel_kills())
        self.nursery.send(Start(task, dict(slot.environment), log))
        self.watch(Event("started", job, text=slot.device))

    # Listening.

    def _hear(self, message: dict[str, Any]) -> None:
        running = self._running.get(message["job"])
        if running is None:
            return
        if "fraction" in message:
            self.watch(Event("progress", running.job, fraction=message["fraction"]))
        elif "report" in message:
            running.reported = message["report"]
        else:
            # The slot is free once the process is gone, not when it says that it is done.
            del self._running[message["job"]]
            self._free.append(running.slot)
            self._ended(running, message)

    def _ended(self, running: _Running, end: dict[str, Any]) -> None:
        job, report = running.job, running.reported
        if report is None:
            self._crashed(running, end)
        elif report["outcome"] == "done":
            self._finish(job, report["seconds"])
        elif report["outcome"] == "taken":
            self._waiting[job.id] = job
        elif report["outcome"] == "stopped":
            self.outcome.stopped.add(job.id)
            self.watch(Event("stopped", job))
        else:
            failure = report["failure"]
            self._fail(job, Failure(**{**failure, "help": tuple(failure["help"])}))

    def _crashed(self, running: _Running, end: dict[str, Any]) -> None:
        job = running.job
        if self.interrupts:
            # We killed it: its checkpoints are what they were, and so is its right to go on.
            self._note(job, "stopped")
            self.outcome.stopped.add(job.id)
            self.watch(Event("stopped", job))
            return
        log = str(self.store.path / "logs" / f"{job.id}.log")
        by = signal.Signals(end["signal"]).name if end["signal"] else f"exit status {end['exit']}"
        if kernel_kills() > running.kills_before and end["signal"] == signal.SIGKILL:
            help = (
                "the machine ran out of memory: fewer slots (`budget.devices`) or a smaller batch need less"
            )
            failure = Failure("R202", "the worker was killed by the kernel for its memory", (help,), log)
        else:
            help = "the same command goes on from its last checkpoint"
            failure = Failure("R201", f"the worker was killed ({by})", (help,), log)
        self._note(job, "crashed", code=failure.code, message=failure.message)
        self._fail(job, failure)

    def _note(self, job: Job, state: str, **facts: object) -> None:
        with suppress(JobError):
            self.store.journal.append(
                {
                    "event": "job",
                    "state": state,
                    "job": job.id,
                    "name": job.name,
                    "study": self.study,
                    **facts,
                }
            )

    def _finish(self, job: Job, seconds: float) -> None:
        self._waiting.pop(job.id, None)
        self.outcome.done.add(job.id)
        text = "" if seconds else "by another process"
        self.watch(Event("finished", job, fraction=1.0, seconds=seconds, text=text))

    def _fail(self, job: Job, failure: Failure) -> None:
        self.outcome.failed[job.id] = failure
        self.watch(Event("failed", job, failure=failure))
        self._skip_users(job, f"needs {job.name}, which failed")

    def _skip(self, job: Job, why: str) -> None:
        del self._waiting[job.id]
        self.outcome.skipped[job.id] = why
        self._note(job, "skipped", why=why)
        self.watch(Event("skipped", job, text=why))
        self._skip_users(job, why)

    def _skip_users(self, job: Job, why: str) -> None:
        for user in [j for j in self._waiting.values() if job.id in j.needs]:
            if user.id in self._waiting:
                self._skip(user, why)

    # Stopping.

    def _stop(self) -> None:
        now = time.monotonic()
        if self._told_to_stop is None:
            self._told_to_stop = now
            self.watch(Event("stopping", None, seconds=self.executor.grace_seconds))
            for id in self._running:
                self.nursery.send(Signal(id, signal.SIGTERM))
        elif self.interrupts > 1 or now - self._told_to_stop > self.executor.grace_seconds:
            for id in self._running:
                self.nursery.send(Signal(id, signal.SIGKILL))
