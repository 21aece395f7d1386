"""Jobs on several hosts without a batch system: a fork server on each, started over ssh, one store that all see.

In: a host file (DeepSpeed's form: `name slots=N` a line), the budget's devices. Out: an Executor (scheduler.py has the
loop). Nothing is installed, nothing listens: requests and messages go over each connection's own pipes, which end
with this process, and so do the workers.

ISOLOSS_SSH is the command that reaches a host, called as `COMMAND HOST SHELL-LINE` (default: ssh). This machine is
reached without."""

from __future__ import annotations

import os
import re
import select
import shlex
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoloss.compiler.plan import Job
from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.base import Event, Outcome, Resources, Watcher
from isoloss.runtime.executors.devices import Slot, slot_on
from isoloss.runtime.executors.interrupts import interruptible
from isoloss.runtime.executors.local.executor import GRACE_SECONDS, PRELOAD, fork_server_environment
from isoloss.runtime.executors.processes.fork_server import SILENT_SECONDS, ForkServer, Greeting, command
from isoloss.runtime.executors.processes.rank_group import Host
from isoloss.runtime.executors.processes.scheduler import Orders, Scheduler
from isoloss.runtime.jobs import JOBS
from isoloss.runtime.store.store import Store
from isoloss.runtime.worker.worker import versions

SSH = "ssh -o BatchMode=yes -o ConnectTimeout=10"
#: Logging in and starting Python; a host that takes longer is left out.
_GREETING_SECONDS = 60.0
#: Loading torch from a slow shared disk; until it is over a fork server says nothing.
_LOADING_SECONDS = 600.0
#: `name slots=N`, as DeepSpeed and Open MPI write it: with a user or not, with Open MPI's `max_slots`, or a bare name,
#: which is one slot each time it stands there.
_LINE = re.compile(
    r"(?P<name>(?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9][\w.:-]*)"
    r"(?:\s+slots\s*=\s*(?P<slots>[0-9]{1,6}))?(?:\s+max[_-]slots\s*=\s*(?P<most>[0-9]{1,6}))?",
    re.ASCII,
)
#: Of our environment, what a worker elsewhere needs too. It stands on command lines, which every user may read.
_PASSED_ON = ("PYTHONPATH", "NCCL_", "GLOO_", "TORCH_")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a host file."""

    name: str
    slots: int


def read_hosts(path: Path) -> tuple[Entry, ...]:
    """The hosts of a file. Raises JobError R214 with the line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not a text file"
        raise JobError(
            "R214", f"the host file `{path}` can't be read: {why}", "name one: `--hosts FILE`"
        ) from error
    found: dict[str, Entry] = {}
    bare: set[str] = set()
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        slots = 1 if match is None or match["slots"] is None else int(match["slots"])
        most = slots if match is None or match["most"] is None else int(match["most"])
        if match is None or not 1 <= slots <= most:
            raise JobError("R214", f"`{path}`, line {number}: `{text}` names no host", "write `name slots=4`")
        name, before = match["name"], found.get(match["name"])
        if before is not None and match["slots"] is None and name in bare:
            slots += before.slots
        elif before is not None:
            raise JobError("R214", f"`{path}`, line {number}: host `{name}` stands there twice")
        bare.update({name} if match["slots"] is None else ())
        found[name] = Entry(name, slots)
    if not found:
        raise JobError("R214", f"`{path}` names no host", "write a line for each: `name slots=4`")
    return tuple(found.values())


class Agent(ForkServer):
    """A fork server on another host."""

    far = True

    def __init__(self, name: str, preload: Sequence[str], environment: Mapping[str, str], log: str) -> None:
        passed = {k: v for k, v in os.environ.items() if k.startswith(_PASSED_ON)} | dict(environment)
        assignments = [f"{name}={value}" for name, value in passed.items()]
        line = shlex.join(["exec", "env", *assignments, *command(0, preload)])
        there = [*shlex.split(os.environ.get("ISOLOSS_SSH") or SSH), name]
        super().__init__([*(["sh", "-c"] if _is_here(name) else there), line], {}, log)
        self.patience_seconds = _LOADING_SECONDS

    def messages(self) -> list[dict[str, Any]] | None:
        """As Fork server.messages; from its first sign of life on silence means death."""
        found = super().messages()
        if any("alive" in message for message in found or ()):
            self.patience_seconds = SILENT_SECONDS
        return found


class HostsExecutor:
    """`entries` in the order of the file, as many slots as the budget has devices; hosts that can't be used are
    told and left out."""

    origin = "measured"

    def __init__(
        self,
        entries: Sequence[Entry],
        resources: Resources,
        functions: Mapping[str, str] = JOBS,
        preload: Sequence[str] = PRELOAD,
        grace_seconds: float = GRACE_SECONDS,
        processes: int | None = None,
    ) -> None:
        self.orders = Orders(
            dict(functions), processes, resources.data_root, grace_seconds, resources.placement
        )
        self._slots = _shared_out(entries, resources)
        self.width, self.processes = sum(map(len, self._slots.values())), processes
        self._preload = tuple(preload)
        self._hosts: list[Host] | None = None

    def run(self, jobs: Sequence[Job], store: Store, study: str, watch: Watcher) -> Outcome:
        """See Executor.run. Raises JobError R213, and R215 when no host is left."""
        if self._hosts is None:
            self._hosts = self._open(store, watch)
        scheduler = Scheduler(self._hosts, self.orders, jobs, store, study, watch)
        with interruptible(scheduler):
            scheduler.loop()
        return scheduler.outcome

    def close(self) -> None:
        """See Executor.close."""
        for host in self._hosts or ():
            host.fork_server.close()
        self._hosts = None

    def _open(self, store: Store, watch: Watcher) -> list[Host]:
        """Start a fork server on every host, all at once, and keep those that answer."""
        agents = {}
        for name, its_slots in self._slots.items():
            log = str(store.path / "logs" / f"host-{name}.log")
            agents[name] = Agent(name, self._preload, fork_server_environment(its_slots[0]), log)
            agents[name].send(Greeting(str(store.path), store.id))
        hosts, reasons = [], []
        deadline = time.monotonic() + _GREETING_SECONDS
        for name, agent in agents.items():
            problem = _problem(_answer(agent, deadline), len(self._slots[name]), self._slots[name][0])
            if not problem:
                hosts.append(Host(name, _address(name), agent, self._slots[name]))
                continue
            agent.close()
            reasons.append(f"host `{name}`: {problem}; its log is {store.path}/logs/host-{name}.log")
            watch(Event("lost", None, text=f"host {name} is left out: {problem}"))
        if not hosts:
            raise JobError("R215", "none of the hosts can be used", *reasons)
        return hosts


def _shared_out(entries: Sequence[Entry], resources: Resources) -> dict[str, tuple[Slot, ...]]:
    """The budget's devices over the hosts, in the file's order."""
    left, found = resources.count, {}
    for entry in entries:
        count = min(entry.slots, left)
        left -= count
        if count:
            found[entry.name] = tuple(slot_on(resources.kind, number) for number in range(count))
    return found


def _answer(agent: Agent, deadline: float) -> dict[str, Any] | None:
    """The host's answer to the greeting; None: it gave none in time, or can't be reached."""
    while (pause := deadline - time.monotonic()) > 0:
        if not select.select([agent], [], [], pause)[0]:
            return None
        messages = agent.messages()
        if messages is None:
            return None
        for message in messages:
            if "problem" in message:
                return message
    return None


def _problem(answer: Mapping[str, Any] | None, count: int, slot: Slot) -> str:
    """Why a host can't be used, from its answer; "" if it can."""
    if answer is None:
        return "it can't be reached, or has no isoloss where this machine has it"
    if answer["problem"]:
        return str(answer["problem"])
    there, here = answer["versions"], versions()
    differing = [
        f"{name} {there.get(name, 'none')}, here {here.get(name, 'none')}"
        for name in here | there
        if there.get(name) != here.get(name)
    ]
    if differing:
        return f"it has other versions ({'; '.join(differing)}): results would differ in their bits"
    if slot.device != "cpu" and answer["gpus"] < count:
        return f"it has {answer['gpus']} CUDA devices, the host file says {count}"
    return ""


def _is_here(name: str) -> bool:
    return name == "localhost" or name.startswith("127.") or name == socket.gethostname()


def _address(name: str) -> str:
    """How the other hosts reach this one: by the name in the file, unless that means "here" everywhere."""
    return socket.gethostname() if _is_here(name) else name
