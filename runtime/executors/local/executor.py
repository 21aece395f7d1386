"""Jobs on this machine: worker processes forked by one fork server, a job on each device slot or on several.

In: what the budget allows of this machine. Out: an Executor (scheduler.py has the loop)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from isoloss.compiler.plan import Job
from isoloss.runtime.executors.base import Outcome, Resources, Watcher
from isoloss.runtime.executors.devices import Slot, slots
from isoloss.runtime.executors.interrupts import interruptible
from isoloss.runtime.executors.processes.fork_server import ForkServer, command
from isoloss.runtime.executors.processes.rank_group import Host
from isoloss.runtime.executors.processes.rendezvous import LOOPBACK
from isoloss.runtime.executors.processes.scheduler import Orders, Scheduler
from isoloss.runtime.jobs import JOBS
from isoloss.runtime.store.store import Store

GRACE_SECONDS = 20.0
#: Loaded once in the fork server; the job modules pull in what else they need.
PRELOAD = ("isoloss.runtime.worker.preload",)


class LocalExecutor:
    """`processes` share each training, as many as its plan says where None; `functions` maps kinds to job functions
    (tests bring their own)."""

    origin = "measured"

    def __init__(
        self,
        resources: Resources,
        functions: Mapping[str, str] = JOBS,
        preload: Sequence[str] = PRELOAD,
        grace_seconds: float = GRACE_SECONDS,
        processes: int | None = None,
    ) -> None:
        self.slots = slots(resources)
        self.width, self.processes = len(self.slots), processes
        self.orders = Orders(
            dict(functions), processes, resources.data_root, grace_seconds, resources.placement
        )
        self._preload = tuple(preload)
        self._fork_server: ForkServer | None = None

    def run(self, jobs: Sequence[Job], store: Store, study: str, watch: Watcher) -> Outcome:
        """See Executor.run. Raises JobError R209, R213."""
        if self._fork_server is None:
            log = str(store.path / "logs" / "fork_server.log")
            self._fork_server = ForkServer(
                command(os.getpid(), self._preload), fork_server_environment(self.slots[0]), log
            )
        here = Host("this machine", LOOPBACK, self._fork_server, tuple(self.slots))
        scheduler = Scheduler([here], self.orders, jobs, store, study, watch)
        with interruptible(scheduler):
            scheduler.loop()
        return scheduler.outcome

    def close(self) -> None:
        """See Executor.close."""
        if self._fork_server is not None:
            self._fork_server.close()
            self._fork_server = None


def fork_server_environment(slot: Slot) -> dict[str, str]:
    """What must hold before a fork server loads torch, for workers in slots like this one."""
    environment = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", **dict(slot.environment)}
    if slot.device == "cpu":
        environment["DS_ACCELERATOR"] = "cpu"
    else:
        # A slot's worker chooses its device itself.
        environment.pop("CUDA_VISIBLE_DEVICES")
    return environment
