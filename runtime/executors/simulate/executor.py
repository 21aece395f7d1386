"""Results drawn from a stated law in place of training: a whole study in seconds, before a GPU is rented.

In: jobs, and a function that draws a job's observations. Out: results flagged "simulated", in a store of
such.

The function comes from the front door, which knows the laws; this room does not."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from isoloss.compiler.plan import Job, Observation
from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.base import Event, Outcome, Watcher, in_order
from isoloss.runtime.store.leases import Holder
from isoloss.runtime.store.result import Result, Run
from isoloss.runtime.store.store import Store
from isoloss.runtime.worker.worker import Failure, check_observations, planned_seconds, versions

#: job, and the results of the jobs it needs by id -> what it would observe.
Draw = Callable[[Job, Mapping[str, Result]], tuple[Observation, ...]]
FLAG = "simulated"


class SimulateExecutor:
    """Draws in this process, one job after the other. Deterministic if `draw` is."""

    origin = "simulated"
    width: int = 1
    processes: int | None = 1

    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    def run(self, jobs: Sequence[Job], store: Store, study: str, watch: Watcher) -> Outcome:
        """See Executor.run. Ctrl-C between two jobs stops it."""
        outcome = Outcome()
        lost: set[str] = set()
        for job in in_order(jobs):
            if any(need in lost for need in job.needs):
                outcome.skipped[job.id] = "an input failed"
                lost.add(job.id)
                continue
            try:
                watch(Event("started", job, text="simulated"))
                self._one(job, store, study)
                outcome.done.add(job.id)
                watch(Event("finished", job, fraction=1.0, text="simulated"))
            except JobError as error:
                failure = Failure(error.code, error.message, tuple(error.help))
                outcome.failed[job.id] = failure
                lost.add(job.id)
                watch(Event("failed", job, failure=failure))
            except KeyboardInterrupt:
                outcome.interrupted = True
                break
        return outcome

    def _one(self, job: Job, store: Store, study: str) -> None:
        lease = store.leases.acquire(job.id)
        if isinstance(lease, Holder):
            raise JobError(
                "R206", f"process {lease.pid} on {lease.name} is at this job", "wait for it to end"
            )
        try:
            if store.has(job.id):
                return
            known = {need: store.read(need) for need in job.needs}
            observations = tuple(
                replace(o, flags=(*o.flags, FLAG), device=FLAG) for o in self._draw(job, known)
            )
            check_observations(job, observations)
            now = time.time()
            run = Run(
                seconds=0.0,
                started=now,
                ended=now,
                device=FLAG,
                threads=1,
                host=socket.gethostname(),
                simulated=True,
                planned_seconds=planned_seconds(job),
                versions=versions(),
            )
            draft = store.begin(job.id)
            try:
                store.commit(job, draft, observations, run)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            facts = {"job": job.id, "name": job.name, "study": study, "simulated": True}
            store.journal.append({"event": "job", "state": "started", **facts})
            store.journal.append({"event": "job", "state": "finished", **facts, "seconds": 0.0})
        finally:
            lease.release()

    def close(self) -> None:
        """Nothing to end."""
