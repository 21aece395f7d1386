"""Jobs on a Slurm cluster: arrays with dependencies, watched until every result is in the store.

In: ready jobs, needs anywhere among them, in the queue or in the store. Out: results in the store, an Outcome.

Slurm holds the whole DAG, so jobs go on when this process is gone; the same command attaches to them again
and submits nothing twice. Ctrl-C: waiting tasks are cancelled, running ones are asked to stop at their next
checkpoint, and cancelled after `grace_seconds` or a second Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from isoloss.compiler.plan import Job
from isoloss.runtime.disk import storage
from isoloss.runtime.errors import AGAIN, JobError
from isoloss.runtime.executors.base import Call, Event, Outcome, Resources, Watcher, devices_of
from isoloss.runtime.executors.interrupts import interruptible
from isoloss.runtime.executors.processes.rank_group import SURPRISES, failure_of
from isoloss.runtime.executors.slurm import client as slurm_client
from isoloss.runtime.executors.slurm.client import ENDED, Row
from isoloss.runtime.executors.slurm.job_arrays import arrange
from isoloss.runtime.executors.slurm.scripts import PREFIX, Settings, Submission, lead_seconds, write
from isoloss.runtime.executors.slurm.task import read_tasks
from isoloss.runtime.jobs import JOBS
from isoloss.runtime.store import progress_file as notes
from isoloss.runtime.store.store import Store
from isoloss.runtime.worker.worker import Failure

POLL_SECONDS = 5.0
GRACE_SECONDS = 60.0
#: A result may be seen this much later than the end of its task: file systems cache names; assumed.
_LATE_SECONDS = 15.0
#: A controller that restarts is away for minutes; jobs don't mind.
_SILENT_SECONDS = 600.0


class SlurmExecutor:
    """`options` are sbatch's long options as (name, value); `processes` per training (None: as many as its
    plan says); `functions` maps kinds to job functions (tests bring their own). Raises JobError R220 without Slurm."""

    origin = "measured"

    def __init__(
        self,
        resources: Resources,
        *,
        options: Sequence[tuple[str, str]] = (),
        processes: int | None = None,
        walltime_seconds: float | None = None,
        lead: int | None = None,
        functions: Mapping[str, str] = JOBS,
        poll_seconds: float = POLL_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        late_seconds: float = _LATE_SECONDS,
    ) -> None:
        lead = lead_seconds(walltime_seconds) if lead is None else lead
        self.settings = Settings(resources, functions, tuple(options), walltime_seconds, lead)
        self.width, self.processes = max(processes or 1, resources.count), processes
        self.poll_seconds = poll_seconds
        self.grace_seconds = grace_seconds
        self.late_seconds = late_seconds

    def prepare(self, jobs: Sequence[Job], store: Store, study: str) -> Submission:
        """Write the scripts and submit nothing: `--dry-run`. Raises JobError R103, R104, R105, R226."""
        return write(store, study, arrange(jobs, {}, self.devices), self.settings)

    def devices(self, job: Job) -> int:
        """Devices of a job, one task of `srun` each."""
        return devices_of(job, self.processes)

    def run(self, jobs: Sequence[Job], store: Store, study: str, watch: Watcher) -> Outcome:
        """See Executor.run. Raises JobError R220 without Slurm, R221 where it refuses a submission."""
        slurm_client.check_installed()
        state = _Run(self, jobs, store, study, watch)
        with interruptible(state):
            state.loop()
        return state.outcome

    def close(self) -> None:
        """Nothing to end: the jobs are Slurm's."""


@dataclass
class _Watched:
    """A job whose task Slurm has. `over_since`: Slurm says that it ended, or knows it no more."""

    job: Job
    task: str
    group: str
    folder: Path
    state: str = "PENDING"
    reason: str = ""
    started: bool = False
    over_since: float | None = None


@dataclass
class _Run(Call):
    """One call of SlurmExecutor.run."""

    executor: SlurmExecutor
    jobs: Sequence[Job]
    store: Store
    study: str
    watch: Watcher
    outcome: Outcome = field(default_factory=Outcome)
    interrupts: int = 0

    def __post_init__(self) -> None:
        self._watched: dict[str, _Watched] = {}
        self._told_to_stop: float | None = None
        self._answered = time.monotonic()

    def loop(self) -> None:
        """Attach, submit, watch, until no job is left."""
        with _one_at_a_time(self.store):
            self._attach()
            self._submit()
        while self._watched:
            self._look()
            if self.interrupts:
                self._stop()
            self.watch(Event("tick", None))
            self._pause()
        self.outcome.interrupted = self.interrupts > 0

    # Submitting.

    def _attach(self) -> None:
        """Find tasks of earlier calls on this store that Slurm still has."""
        by_id = {job.id: job for job in self.jobs}
        for task, group, folder, job in _tasks_of(self.store, slurm_client.queue()):
            if job in by_id and not self.store.has(job):
                self._watched[job] = _Watched(by_id[job], task, group, folder)
                self.watch(Event("elsewhere", by_id[job], text=f"Slurm task {task}, submitted before"))

    def _submit(self) -> None:
        done = [job for job in self.jobs if self.store.has(job.id)]
        for job in done:
            self._finish(job, 0.0)
        new = [j for j in self.jobs if j.id not in self._watched and j.id not in self.outcome.done]
        new = self._with_inputs(new)
        if not new:
            return
        attached = {id: watched.task for id, watched in self._watched.items()}
        submission = write(
            self.store, self.study, arrange(new, attached, self.executor.devices), self.executor.settings
        )
        try:
            for group in submission.groups:
                script = submission.folder / f"{group.name}.sh"
                id = slurm_client.submit(script, submission.dependency(group))
                submission.ids[group.name] = id
                for index, job in group.tasks.items():
                    watched = _Watched(job, f"{id}_{index}", group.name, submission.folder)
                    self._watched[job.id] = watched
        except JobError:
            # All or nothing: half a DAG in the queue would only wait for needs that never come.
            slurm_client.cancel(submission.ids.values())
            raise

    def _with_inputs(self, jobs: Sequence[Job]) -> list[Job]:
        """Jobs whose needs are in the store, in the queue or among them; the others are skipped."""
        known = {job.id for job in jobs} | set(self._watched)
        kept = []
        for job in jobs:
            missing = [need for need in job.needs if need not in known and not self.store.has(need)]
            if missing:
                self._skip(job, f"its input {missing[0]} has no result and isn't planned")
                known.discard(job.id)
            else:
                kept.append(job)
        return kept

    # Watching.

    def _look(self) -> None:
        try:
            rows = {row.task: row for row in slurm_client.queue()}
        except JobError:
            # Jobs go on without their controller; so do we, for a while.
            if time.monotonic() - self._answered > _SILENT_SECONDS:
                raise
            return
        self._answered = time.monotonic()
        for watched in list(self._watched.values()):
            if watched.job.id in self._watched:
                self._update(watched, rows.get(watched.task))

    def _update(self, watched: _Watched, row: Row | None) -> None:
        job = watched.job
        if self.store.has(job.id):
            del self._watched[job.id]
            self._finish(job, self.store.read(job.id).run.seconds)
            return
        if row is not None:
            watched.state, watched.reason = row.state, row.reason
        if row is None or row.state in ENDED:
            self._over(watched)
            return
        watched.over_since = (
            None  # its node failed, or it was preempted: Slurm has put it back into the queue
        )
        if row.state == "RUNNING":
            self._running(watched)

    def _running(self, watched: _Watched) -> None:
        if not watched.started:
            watched.started = True
            self.watch(Event("started", watched.job, text=f"Slurm task {watched.task}"))
        note = notes.read(self.store.path / "work" / watched.job.id)
        if note is not None:
            self.watch(Event("progress", watched.job, fraction=note.fraction))

    def _over(self, watched: _Watched) -> None:
        now = time.monotonic()
        if watched.over_since is None:
            watched.over_since = now
        report = _report(watched)
        never_ran = watched.state == "CANCELLED" and not watched.started
        said_why = report is not None and report["outcome"] == "failed"
        if not never_ran and not said_why and now - watched.over_since < self.executor.late_seconds:
            return
        job = watched.job
        del self._watched[job.id]
        if self.interrupts:
            if watched.started:
                self.outcome.stopped.add(job.id)
                self.watch(Event("stopped", job))
            return
        if report is not None and said_why:
            self._fail(job, failure_of(report["failure"]))
        else:
            failure_of_slurm = _lost(watched)
            facts = {"code": failure_of_slurm.code, "message": failure_of_slurm.message}
            # Cancelled by somebody: it saved, said so itself, and may go on.
            if report is None or report["outcome"] != "stopped":
                self._note(job, "stopped" if failure_of_slurm.code == "R225" else "crashed", **facts)
            self._fail(job, failure_of_slurm)

    # What became of a job.

    def _skip_users(self, job: Job, why: str) -> None:
        for user in [w for w in self._watched.values() if job.id in w.job.needs]:
            if self._watched.pop(user.job.id, None):
                slurm_client.cancel([user.task])  # Slurm does so itself; an attached one may not depend on it
                self._skip(user.job, why)
                self._skip_users(user.job, why)

    # Stopping.

    def _stop(self) -> None:
        now = time.monotonic()
        tasks = [watched.task for watched in self._watched.values()]
        if self._told_to_stop is None:
            self._told_to_stop = now
            self.watch(Event("stopping", None, seconds=self.executor.grace_seconds))
            slurm_client.cancel(tasks, "--state=PENDING")
            # Of a task of several processes the steps are told, not srun: it would kill them.
            alone = [w.task for w in self._watched.values() if self.executor.devices(w.job) == 1]
            slurm_client.cancel(alone, "--full", "--signal=TERM")
            slurm_client.cancel([t for t in tasks if t not in alone], "--signal=TERM")
        elif self.interrupts > 1:
            slurm_client.cancel(tasks, "--full", "--signal=KILL")
            slurm_client.cancel(tasks)
        elif now - self._told_to_stop > self.executor.grace_seconds:
            slurm_client.cancel(tasks)
        else:
            # Back in the queue: its walltime ended, or it was preempted, in this moment.
            slurm_client.cancel(tasks, "--state=PENDING")

    def _pause(self) -> None:
        interrupts = self.interrupts
        seconds = self.executor.poll_seconds
        until = time.monotonic() + (min(1.0, seconds) if interrupts else seconds)
        while self._watched and time.monotonic() < until and self.interrupts == interrupts:
            time.sleep(0.1)


def _tasks_of(store: Store, rows: Sequence[Row]) -> Iterator[tuple[str, str, Path, str]]:
    """(task id, group, folder, job id) of the tasks among `rows` that will still run and are this store's."""
    known: dict[str, dict[str, Any]] = {}
    for row in rows:
        submission, _, group = row.name.removeprefix(PREFIX).partition(".")
        if row.state in ENDED or not row.name.startswith(PREFIX) or not submission.isalnum():
            continue
        folder = store.path / "slurm" / submission
        if submission not in known:
            # Not ours: another store's.
            known[submission] = {}
            with suppress(OSError, ValueError):
                known[submission] = read_tasks(folder)["groups"]
        job = known[submission].get(group, {}).get(row.task.rpartition("_")[2])
        if job is not None:
            yield row.task, group, folder, job["id"]


def _report(watched: _Watched) -> dict[str, Any] | None:
    """What the task itself said last. Of several ranks that failed: what was no surprise, then who was first."""
    found: list[tuple[bool, int, dict[str, Any]]] = []
    for path in sorted((watched.folder / "reports").glob(f"{watched.job.id}*.json")):
        with suppress(OSError, ValueError):
            data = orjson.loads(path.read_bytes())
            surprise = data["failure"] is None or data["failure"]["code"] in SURPRISES
            found.append((surprise, path.stat().st_mtime_ns, data))
    return min(found, key=lambda entry: entry[:2])[2] if found else None


def _lost(watched: _Watched) -> Failure:
    """Why a task ended that gave neither a result nor a reason."""
    log = str(watched.folder / "logs" / f"{watched.group}.{watched.task.rpartition('_')[2]}.log")
    if watched.state == "OUT_OF_MEMORY":
        help = "ask for more: `--slurm mem=32G`, or choose a smaller batch"
        return Failure("R224", f"Slurm ended task {watched.task} for its memory", (help, AGAIN), log)
    if watched.state in ("TIMEOUT", "DEADLINE"):
        message = f"the walltime of Slurm task {watched.task} ended before it could save and requeue itself"
        return Failure("R223", message, ("give it longer: `--set budget.walltime='24 h'`", AGAIN), log)
    if watched.reason == "DependencyNeverSatisfied":
        message = (
            f"Slurm cancelled task {watched.task}: one that it waits for ended badly after its result was in"
        )
        return Failure("R222", message, (AGAIN,), log)
    if watched.state == "CANCELLED" or (_report(watched) or {}).get("outcome") == "stopped":
        return Failure("R225", f"Slurm task {watched.task} was cancelled", (AGAIN,), log)
    reason = f", {watched.reason}" if watched.reason not in ("", "None") else ""
    state = f"{watched.state}{reason}" if watched.started or watched.state in ENDED else "gone from the queue"
    # Not the job's fault: another node may have it.
    node_failed = watched.state in ("NODE_FAIL", "BOOT_FAIL") or watched.reason == "JobLaunchFailure"
    return Failure("R222", f"Slurm task {watched.task} was lost ({state})", (AGAIN,), log, retry=node_failed)


@contextmanager
def _one_at_a_time(store: Store) -> Iterator[None]:
    """Two front doors on one store: the second sees what the first has submitted. A dead one frees the lock."""
    with storage("preparing Slurm scripts"):
        (store.path / "slurm").mkdir(exist_ok=True)
        descriptor = os.open(store.path / "slurm" / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # Some network file systems have no locks; there the workers' leases alone must do.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
