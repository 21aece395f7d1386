"""What an executor is: ready jobs in, an outcome out, events on the way.

Implemented by local.py (processes on this machine), hosts.py (on several), slurm.py (a cluster's queue) and
simulate.py (draws from a law)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from isoloss.compiler.plan import KINDS, Job
from isoloss.runtime.context import AS_IT_FITS, Placement
from isoloss.runtime.errors import JobError
from isoloss.runtime.store.store import Store
from isoloss.runtime.worker.worker import Failure

#: "again": its worker was killed, it goes on from its last checkpoint; "lost": a host went away (no job).
What = Literal[
    "started",
    "progress",
    "finished",
    "failed",
    "skipped",
    "stopped",
    "elsewhere",
    "again",
    "lost",
    "stopping",
    "tick",
]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job, for whoever watches. `text` says why it was skipped or who runs
    it."""

    what: What
    job: Job | None
    fraction: float = 0.0
    seconds: float = 0.0
    text: str = ""
    failure: Failure | None = None


Watcher = Callable[[Event], None]


@dataclass
class Outcome:
    """What became of the jobs given. `done` are in the store, whoever ran them; `elsewhere` those of them that another
    process ran."""

    done: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)
    failed: dict[str, Failure] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)  # id -> why
    stopped: set[str] = field(default_factory=set)
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Resources:
    """What the study's budget allows: a device kind ("cpu", "h100", ...) and how many of it; what the user says
    of how trainings lie on them."""

    kind: str = "cpu"
    count: int = 1
    data_root: Path | None = None
    placement: Placement = AS_IT_FITS


class Executor(Protocol):
    """Runs jobs, needs before users. Never raises for what goes wrong in a job."""

    #: "measured" or "simulated": what its results are, and which store they may enter.
    origin: str
    #: Device slots that work at once, and how many of them a job takes that several processes can share (None: as many
    #: as the plan places it on).
    width: int
    processes: int | None

    def run(self, jobs: Sequence[Job], store: Store, study: str, watch: Watcher) -> Outcome:
        """Run `jobs` (ready, not in the store) under the study with digest `study`. Raises JobError where
        nothing can be run at all (R104, R204, R209)."""
        ...

    def close(self) -> None:
        """End helper processes. Safe to call twice."""
        ...


class Call:
    """What becomes of the jobs of one call of `run`: for the outcome, the journal and whoever watches. A subclass has
    the fields, and knows what else waits for a job."""

    store: Store
    study: str
    watch: Watcher
    outcome: Outcome

    def _finish(self, job: Job, seconds: float) -> None:
        """0 seconds: it has a result of somebody else's."""
        self.outcome.done.add(job.id)
        if not seconds:
            self.outcome.elsewhere.add(job.id)
        text = "" if seconds else "by another process"
        self.watch(Event("finished", job, fraction=1.0, seconds=seconds, text=text))

    def _fail(self, job: Job, failure: Failure) -> None:
        self.outcome.failed[job.id] = failure
        self.watch(Event("failed", job, failure=failure))
        self._skip_users(job, f"needs {job.name}, which failed")

    def _skip(self, job: Job, why: str) -> None:
        self.outcome.skipped[job.id] = why
        self._note(job, "skipped", why=why)
        self.watch(Event("skipped", job, text=why))

    def _skip_users(self, job: Job, why: str) -> None:
        """Skip what waits for `job`."""
        raise NotImplementedError

    def _note(self, job: Job, state: str, **facts: object) -> None:
        """In the journal. A full disk loses it, nothing else."""
        event = {"event": "job", "state": state, "job": job.id, "name": job.name, "study": self.study}
        with suppress(JobError):
            self.store.journal.append({**event, **facts})


def devices_of(job: Job, processes: int | None) -> int:
    """Devices that a job gets, one process each: those that its plan places it on. `processes`, where stated, replaces
    the plan's number for every job that several processes can share."""
    if not KINDS[job.kind].shared:
        return 1
    if processes is not None:
        return processes
    return 1 if job.cost.placement is None else job.cost.placement.devices


def urgency(jobs: Sequence[Job]) -> Mapping[str, float]:
    """Seconds from a job's start to the end of the longest chain that begins with it, by id: jobs with more
    come first (longest path first keeps slots busy to the end). Unestimated jobs count by FLOPs at 1
    GFLOP/s."""
    users: dict[str, list[str]] = {}
    for job in jobs:
        for need in job.needs:
            users.setdefault(need, []).append(job.id)
    ranks: dict[str, float] = {}
    for job in reversed(in_order(jobs)):
        ranks[job.id] = _seconds(job) + max((ranks[u] for u in users.get(job.id, ())), default=0.0)
    return ranks


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """Needs before users, else as given. Needs outside `jobs` don't matter. Raises ValueError on a cycle."""
    from graphlib import CycleError, TopologicalSorter

    by_id = {job.id: job for job in jobs}
    sorter = TopologicalSorter({job.id: [n for n in job.needs if n in by_id] for job in jobs})
    try:
        return [by_id[id] for id in sorter.static_order()]
    except CycleError as error:
        raise ValueError("the plan's jobs need each other in a circle") from error


def _seconds(job: Job) -> float:
    if job.cost.seconds is not None:
        return job.cost.seconds.mid
    return (job.cost.flops or 0.0) / 1e9
