"""The workers of one job: where each rank sits, what each said, and what became of the job.

In: what fork servers say of one job's processes. Out: a Verdict once all of them are gone. Pure: no process is started
or ended here.

One rank that dies or fails takes the others with it, since they wait for it; which of several stories is the cause
is decided here."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from isoloss.compiler.plan import Job
from isoloss.runtime.errors import LOST_PEER
from isoloss.runtime.executors.devices import Slot
from isoloss.runtime.executors.processes.fork_server import ForkServer
from isoloss.runtime.worker.worker import Failure

#: What a rank may say for no other reason than that another one is gone.
SURPRISES = (LOST_PEER, "R299", "R105")
#: Once rank 0 has the result in the store, or a rank has failed, the others get so long to end by themselves.
LEAVE_SECONDS = 5.0


@dataclass(eq=False)
class Host:
    """A machine with device slots. `address` is where its workers are reached from other hosts."""

    name: str
    address: str
    fork_server: ForkServer
    slots: tuple[Slot, ...]
    free: list[Slot] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = list(reversed(self.slots))


@dataclass(frozen=True, slots=True)
class Seat:
    host: Host
    slot: Slot


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended. `lost`: with its host, so nobody saw it; `memory`: the kernel killed for memory then."""

    exit: int = 0
    signal: int = 0
    memory: bool = False
    lost: bool = False

    @property
    def words(self) -> str:
        return signal.Signals(self.signal).name if self.signal else f"exit status {self.exit}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a job. "crashed": a process was killed, or went without a word; "lost": its host did."""

    outcome: Literal["done", "failed", "stopped", "taken", "crashed", "lost"]
    seconds: float = 0.0
    failure: Failure | None = None
    rank: int = 0
    end: End = End()


@dataclass
class RankGroup:
    """Ranks above 0 start when rank 0 opens the rendezvous."""

    job: Job
    seats: tuple[Seat, ...]
    working: set[int] = field(default_factory=set)
    reports: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    #: In the order in which they ended by themselves: who was killed by us is left out.
    ends: dict[int, End] = field(default_factory=dict)
    #: When whoever is still working is killed; None: not decided.
    deadline: float | None = None
    condemned: bool = False

    @property
    def over(self) -> bool:
        return not self.working

    def ended(self, rank: int, end: End, now: float) -> None:
        """One process is gone. Decides how long the others may still work."""
        self.working.discard(rank)
        if self.condemned and rank not in self.reports:
            return
        self.ends[rank] = end
        said = self.reports.get(rank, {}).get("outcome")
        if said is None:
            wait = 0.0
        elif said == "failed" or rank == 0:
            wait = LEAVE_SECONDS
        else:
            return  # a peer that is done or stopped: rank 0 still writes
        self.deadline = min(now + wait, self.deadline or now + wait)

    def verdict(self) -> Verdict:
        """Of a rank group that is over. A result counts whatever came after it; a rank that died outweighs what the
        others said about its absence; a reason outweighs a death that followed it."""
        first = self.reports.get(0)
        if first is not None and first["outcome"] in ("done", "taken"):
            return Verdict(first["outcome"], first["seconds"])
        failures = [report["failure"] for report in self._in_order() if report["outcome"] == "failed"]
        causes = [f for f in failures if f["code"] not in SURPRISES]
        if causes:
            return Verdict("failed", failure=failure_of(causes[0]))
        for rank, end in self.ends.items():
            if rank not in self.reports:
                return Verdict("lost" if end.lost else "crashed", rank=rank, end=end)
        surprises = [f for f in failures if f["code"] != LOST_PEER]
        if surprises:
            return Verdict("failed", failure=failure_of(surprises[0]))
        if failures:
            # Nobody died that we know of: the connection did.
            return Verdict("crashed", failure=failure_of(failures[0]))
        if first is None:
            return Verdict("crashed", end=End(signal=signal.SIGKILL))  # by us
        return Verdict("stopped")

    def _in_order(self) -> list[Mapping[str, Any]]:
        """Reports in the order in which their ranks ended; those we killed afterwards come last."""
        order = [*self.ends, *(rank for rank in self.reports if rank not in self.ends)]
        return [self.reports[rank] for rank in order if rank in self.reports]


def failure_of(data: Mapping[str, Any]) -> Failure:
    """What a worker reported, from JSON."""
    return Failure(**{**data, "help": tuple(data["help"])})
