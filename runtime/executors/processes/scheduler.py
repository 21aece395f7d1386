"""Ready jobs onto free device slots, a rank group of worker processes each, until none is left.

In: jobs, needs anywhere among them or in the store; hosts with slots (this machine, or those of a host file). Out:
results in the store, an Outcome.

A failed job takes its dependants with it and nothing else. A job whose worker was killed goes on from its last
checkpoint, here or on another host. Ctrl-C: nothing new starts, workers are asked to stop at their next checkpoint,
and killed after the grace time or a second Ctrl-C."""

from __future__ import annotations

import select
import signal
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from isoloss.compiler.plan import Job
from isoloss.runtime.context import AS_IT_FITS, Placement
from isoloss.runtime.errors import AGAIN, JobError
from isoloss.runtime.executors.base import Call, Event, Outcome, Watcher, devices_of, urgency
from isoloss.runtime.executors.processes.fork_server import ALIVE_SECONDS, Ping, Signal, Start
from isoloss.runtime.executors.processes.rank_group import End, Host, RankGroup, Seat, Verdict
from isoloss.runtime.executors.processes.rendezvous import LOOPBACK
from isoloss.runtime.executors.tries import Tries
from isoloss.runtime.store import progress_file as notes
from isoloss.runtime.store.recovery import last_events
from isoloss.runtime.store.store import Store
from isoloss.runtime.worker.worker import Failure, Task

_WAIT_SECONDS = 0.2
_LOOK_ELSEWHERE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Orders:
    """How jobs are run: `processes` for each job that several can share (None: as many as its plan says), `functions`
    by kind (tests bring their own)."""

    functions: Mapping[str, str]
    processes: int | None = None
    data_root: Path | None = None
    grace_seconds: float = 20.0
    placement: Placement = AS_IT_FITS


@dataclass
class Scheduler(Call):
    """One call of an executor's `run`. `hosts` shrinks when one goes away."""

    hosts: list[Host]
    orders: Orders
    jobs: Sequence[Job]
    store: Store
    study: str
    watch: Watcher
    outcome: Outcome = field(default_factory=Outcome)
    interrupts: int = 0

    def __post_init__(self) -> None:
        self._waiting = {job.id: job for job in self.jobs}
        self._rank = urgency(self.jobs)
        self._rank_groups: dict[str, RankGroup] = {}
        self._tries: defaultdict[str, Tries] = defaultdict(Tries)
        self._looked: dict[str, float] = {}  # held by another process: when we last looked
        self._told_to_stop: float | None = None
        self._pinged = 0.0

    def loop(self) -> None:
        """Launch, listen, until nothing runs and nothing can start. Raises JobError R209, R213, R215."""
        for job in self._waiting.values():
            self._check_slots(job)
        while True:
            if self.interrupts:
                self._stop()
            else:
                self._launch()
            if not self._rank_groups and (self.interrupts or not self._waiting):
                break
            self._listen()
            self._end_the_condemned()
            self.watch(Event("tick", None))
        self.outcome.interrupted = self.interrupts > 0

    # Starting.

    def _launch(self) -> None:
        for job in sorted(self._waiting.values(), key=lambda j: -self._rank[j.id]):
            if not any(host.free for host in self.hosts):
                return
            if job.id in self._waiting and self._may_start(job):
                seats = self._seats(job)
                if seats is None:
                    return  # it is first in line: smaller ones that pass it would keep it waiting for ever
                self._start(job, seats)

    def _may_start(self, job: Job) -> bool:
        if self.store.has(job.id):
            del self._waiting[job.id]
            self._finish(job, 0.0)
            return False
        missing = [need for need in job.needs if not self.store.has(need)]
        if any(need in self._waiting or need in self._rank_groups for need in missing):
            return False
        if missing:
            del self._waiting[job.id]
            why = f"its input {missing[0]} has no result and isn't planned"
            self._skip(job, why)
            self._skip_users(job, why)
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
        note = notes.read(self.store.path / "work" / job.id)
        if note is not None:
            self.watch(Event("progress", job, fraction=note.fraction))
        return False

    def _seats(self, job: Job) -> tuple[Seat, ...] | None:
        """One per process: all on one host where one is large enough, else on several. None: not yet."""
        self._check_slots(job)  # a host may have gone away
        count = devices_of(job, self.orders.processes)
        if any(len(host.slots) >= count for host in self.hosts):
            host = max(self.hosts, key=lambda h: len(h.free))
            return (
                tuple(Seat(host, host.free.pop()) for _ in range(count)) if len(host.free) >= count else None
            )
        if sum(len(host.free) for host in self.hosts) < count:
            return None
        free = [host for host in self.hosts for _ in host.free]
        return tuple(Seat(host, host.free.pop()) for host in free[:count])

    def _check_slots(self, job: Job) -> None:
        """Raises JobError R213 where the job can't get its devices even when nothing else runs."""
        count, slots = devices_of(job, self.orders.processes), sum(len(host.slots) for host in self.hosts)
        if count <= slots or self.store.has(job.id):
            return
        if self.orders.processes is None:
            message = f"the plan lays {job.name} on {count} devices and there are {slots} device slots"
            help = f"run where there are as many, or say how many share a training: `--processes {slots}`"
        else:
            message = f"a training wants {count} processes and there are {slots} device slots"
            help = "lower `--processes`, or raise `budget.devices` where the machine has more"
        raise JobError("R213", message, help)

    def _start(self, job: Job, seats: tuple[Seat, ...]) -> None:
        rank_group = RankGroup(job, seats)
        self._tries[job.id].begins(self.store.saved(job.id))
        del self._waiting[job.id]
        self._rank_groups[job.id] = rank_group
        self._start_rank(rank_group, 0)
        places = [f"{seat.host.name} {seat.slot.device}" for seat in seats] if len(self.hosts) > 1 else []
        self.watch(Event("started", job, text=", ".join(places) or seats[0].slot.device))

    def _start_rank(self, rank_group: RankGroup, rank: int, port: int = 0) -> None:
        seat = rank_group.seats[rank]
        task = Task(
            job=rank_group.job,
            store=self.store.path,
            study=self.study,
            device=seat.slot.device,
            threads=seat.slot.threads,
            data_root=self.orders.data_root,
            functions=dict(self.orders.functions),
            world_size=len(rank_group.seats),
            rank=rank,
            placement=self.orders.placement,
        )
        alone = all(other.host is rank_group.seats[0].host for other in rank_group.seats)
        address = LOOPBACK if alone else rank_group.seats[0].host.address
        rank_group.working.add(rank)
        # A fork server that is gone is noticed when it is listened to.
        seat.host.fork_server.send(
            Start(task, dict(seat.slot.environment), self._log(rank_group, rank), address, port)
        )

    def _log(self, rank_group: RankGroup, rank: int) -> str:
        return str(self.store.path / "logs" / f"{rank_group.job.id}{f'.rank{rank}' if rank else ''}.log")

    # Listening.

    def _listen(self) -> None:
        now = time.monotonic()
        ping = now - self._pinged > ALIVE_SECONDS
        for host in list(self.hosts):
            if host.fork_server.far:
                if ping:
                    self._pinged = now
                    host.fork_server.send(Ping())
                if now - host.fork_server.heard > host.fork_server.patience_seconds:
                    self._lose(host, f"silent for {host.fork_server.patience_seconds:.0f} s")
        by_fork_server = {host.fork_server: host for host in self.hosts}
        for fork_server in select.select(list(by_fork_server), [], [], _WAIT_SECONDS)[0]:
            messages = fork_server.messages()
            if messages is None:
                self._lose(by_fork_server[fork_server], "its connection ended")
            for message in messages or ():
                if "job" in message:
                    self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        rank_group = self._rank_groups.get(message["job"])
        if rank_group is None:
            return
        rank = message["rank"]
        if "fraction" in message:
            self.watch(Event("progress", rank_group.job, fraction=message["fraction"]))
        elif "rendezvous" in message:
            for peer in range(1, len(rank_group.seats)):
                self._start_rank(rank_group, peer, message["rendezvous"])
        elif "report" in message:
            rank_group.reports[rank] = message["report"]
        else:
            end = End(message["exit"], message["signal"], message["memory"])
            self._gone(rank_group, rank, end)

    def _gone(self, rank_group: RankGroup, rank: int, end: End) -> None:
        # The slot is free once the process is gone, not when it says that it is done.
        rank_group.ended(rank, end, time.monotonic())
        if rank_group.over:
            del self._rank_groups[rank_group.job.id]
            for seat in rank_group.seats:
                if seat.host in self.hosts:
                    seat.host.free.append(seat.slot)
            self._ended(rank_group)

    def _end_the_condemned(self) -> None:
        now = time.monotonic()
        for rank_group in list(self._rank_groups.values()):
            if rank_group.deadline is not None and now >= rank_group.deadline and not rank_group.condemned:
                rank_group.condemned = True
                self._signal(rank_group, signal.SIGKILL)

    def _signal(self, rank_group: RankGroup, number: int) -> None:
        for host in {seat.host for rank, seat in enumerate(rank_group.seats) if rank in rank_group.working}:
            host.fork_server.send(Signal(rank_group.job.id, number))

    def _lose(self, host: Host, why: str) -> None:
        """A host went away. Its jobs go on elsewhere once their leases have expired; the others' go on now."""
        if not host.fork_server.far:
            raise JobError("R209", "the process that starts workers was killed", "run the same command again")
        self.hosts.remove(host)
        host.fork_server.close()
        if not self.hosts:
            raise JobError("R215", f"host `{host.name}`, the last one, went away: {why}", AGAIN)
        self.watch(Event("lost", None, text=f"host {host.name} went away ({why}); its jobs go on elsewhere"))
        for rank_group in list(self._rank_groups.values()):
            for rank, seat in enumerate(rank_group.seats):
                if seat.host is host and rank in rank_group.working:
                    self._gone(rank_group, rank, End(lost=True))

    # What became of a job.

    def _ended(self, rank_group: RankGroup) -> None:
        job, verdict = rank_group.job, rank_group.verdict()
        if verdict.outcome == "done":
            self._finish(job, verdict.seconds)
        elif verdict.outcome in ("crashed", "lost") and self.store.has(job.id):
            # Killed between its result and the line that says so, or between that and the end of its lease.
            seconds = self.store.read(job.id).run.seconds
            if last_events(self.store).get(job.id, {}).get("state") != "finished":
                self._note(job, "finished", seconds=seconds)
            with suppress(JobError):
                self.store.leases.forget(job.id)
            self._finish(job, seconds)
        elif verdict.outcome == "taken":
            self._waiting[job.id] = job
        elif verdict.outcome == "failed":
            assert verdict.failure is not None
            if 0 not in rank_group.reports:
                self._note(job, "failed", code=verdict.failure.code, message=verdict.failure.message)
            self._fail(job, verdict.failure)
        elif verdict.outcome == "stopped" or self.interrupts:
            # Perhaps we killed it: its checkpoints are what they were, and so is its right to go on.
            if 0 not in rank_group.reports:
                self._note(job, "stopped")
            self.outcome.stopped.add(job.id)
            self.watch(Event("stopped", job))
        else:
            self._crashed(rank_group, verdict)

    def _crashed(self, rank_group: RankGroup, verdict: Verdict) -> None:
        job = rank_group.job
        failure = self._why(rank_group, verdict)
        self._note(job, "crashed", code=failure.code, message=failure.message)
        if self._may_try_again(rank_group, verdict):
            self._waiting[job.id] = job
            self.watch(Event("again", job, text=failure.message))
        else:
            self._fail(job, failure)

    def _may_try_again(self, rank_group: RankGroup, verdict: Verdict) -> bool:
        if verdict.end.memory:
            return False
        if verdict.outcome == "lost":
            return True  # each time with a host less
        return self._tries[rank_group.job.id].dies(self.store.saved(rank_group.job.id))

    def _why(self, rank_group: RankGroup, verdict: Verdict) -> Failure:
        if verdict.failure is not None:
            return replace(verdict.failure, help=(AGAIN,))
        many = len(rank_group.seats) > 1
        log = self._log(rank_group, verdict.rank)
        who = f"the worker of rank {verdict.rank}" if many else "the worker"
        if verdict.outcome == "lost":
            host = rank_group.seats[verdict.rank].host.name
            return Failure("R215", f"{who} was on host `{host}`, which went away", (AGAIN,), log)
        if verdict.end.memory:
            help = "fewer slots (`budget.devices`) or a smaller batch need less"
            return Failure("R202", f"{who} was killed by the kernel for its memory", (help,), log)
        return Failure("R201", f"{who} was killed ({verdict.end.words})", (AGAIN,), log)

    def _skip_users(self, job: Job, why: str) -> None:
        for user in [j for j in self._waiting.values() if job.id in j.needs]:
            if self._waiting.pop(user.id, None):
                self._skip(user, why)
                self._skip_users(user, why)

    # Stopping.

    def _stop(self) -> None:
        now = time.monotonic()
        if self._told_to_stop is None:
            self._told_to_stop = now
            self.watch(Event("stopping", None, seconds=self.orders.grace_seconds))
            for rank_group in self._rank_groups.values():
                self._signal(rank_group, signal.SIGTERM)
        elif self.interrupts > 1 or now - self._told_to_stop > self.orders.grace_seconds:
            for rank_group in self._rank_groups.values():
                rank_group.condemned = True
                self._signal(rank_group, signal.SIGKILL)
