"""Jobs on this machine: worker processes forked by one nursery, a job on each device slot or on several.

In: what the budget allows of this machine. Out: an Executor (crew.py has the loop)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from isoloss.compiler.plan import Job
from isoloss.runtime.executors.base import Outcome, Resources, Watcher
from isoloss.runtime.executors.devices import Slot, slots
from isoloss.runtime.executors.interrupts import interruptible
from isoloss.runtime.executors.processes.fork_server import Nursery, command
from isoloss.runtime.executors.processes.rank_group import Host
from isoloss.runtime.executors.processes.rendezvous import LOOPBACK
from isoloss.runtime.executors.processes.scheduler import Crew, Orders
from isoloss.runtime.jobs import JOBS
from isoloss.runtime.store.store import Store

GRACE_SECONDS = 20.0
#: Loaded once in the nursery; the job modules pull in what else they need.
PRELOAD = ("isoloss.runtime.worker.preload",)


class LocalExecutor:
    """`processes` share each training; `functions` maps kinds to job functions (tests bring their own)."""

    origin = "measured"

    def __init__(
        self,
        resources: Resources,
        functions: Mapping[str, str] = JOBS,
        preload: Sequence[str] = PRELOAD,
        grace_seconds: float = GRACE_SECONDS,
        processes: int = 1,
    ) -> None:
        self.slots = slots(resources)
        self.width, self.processes = len(self.slots), processes
        self.orders = Orders(
            dict(functions), processes, resources.data_root, grace_seconds, resources.placement
        )
        self._preload = tuple(preload)
        self._nursery: Nursery | None = None

    def run(self, jobs: Sequence[Job], store: Store, study: str, watch: Watcher) -> Outcome:
        """See Executor.run. Raises JobError R209, R213."""
        if self._nursery is None:
            log = str(store.path / "logs" / "nursery.log")
            self._nursery = Nursery(
                command(os.getpid(), self._preload), nursery_environment(self.slots[0]), log
            )
        here = Host("this machine", LOOPBACK, self._nursery, tuple(self.slots))
        crew = Crew([here], self.orders, jobs, store, study, watch)
        with interruptible(crew):
            crew.loop()
        return crew.outcome

    def close(self) -> None:
        """See Executor.close."""
        if self._nursery is not None:
            self._nursery.close()
            self._nursery = None


def nursery_environment(slot: Slot) -> dict[str, str]:
    """What must hold before a nursery loads torch, for workers in slots like this one."""
    environment = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", **dict(slot.environment)}
    if slot.device == "cpu":
        environment["DS_ACCELERATOR"] = "cpu"
    else:
        # A slot's worker chooses its device itself.
        environment.pop("CUDA_VISIBLE_DEVICES")
    return environment
