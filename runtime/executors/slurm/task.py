"""One array task: the worker that Slurm starts (`python -m isoloss.runtime.executors.slurm.task FOLDER GROUP INDEX`).

In: tasks.json and an index. Out: a result in the store, a report in `reports/`, an exit status.

SIGUSR1 (the end of its time is near): checkpoint, then back into the queue, so that a long job is a chain of
attempts. SIGTERM (preemption, scancel): checkpoint and end; after a preemption Slurm requeues by itself."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from isoloss.compiler.plan import Job
from isoloss.runtime import disk
from isoloss.runtime.context import Placement
from isoloss.runtime.errors import AGAIN
from isoloss.runtime.executors.processes import rendezvous
from isoloss.runtime.executors.slurm import client as slurm_client
from isoloss.runtime.executors.tries import TRIES, Tries
from isoloss.runtime.store.store import Saved, Store
from isoloss.runtime.worker.worker import Failure, Report, StopFlag, Task, run_task

DONE, FAILED, STOPPED = 0, 1, 75  # sysexits.h: EX_TEMPFAIL
#: Between two looks whether somebody else's lease on the job is free.
_TAKEN_SECONDS = 2.0
#: How long a peer waits for rank 0, which may itself wait for a lease of a dead host to expire.
_RENDEZVOUS_SECONDS = 300.0
_REQUEUE_SECONDS = 120.0


@dataclass
class Asked:
    """What Slurm asked of this task. `stop` is what the job looks at."""

    stop: StopFlag
    time_is_up: bool = False
    to_end: bool = False

    def listen(self) -> None:
        """From here on signals count; those that the guard held back come now."""
        signal.signal(signal.SIGUSR1, self._time)
        signal.signal(signal.SIGTERM, self._end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1, signal.SIGTERM})

    def over(self) -> None:
        """What comes now changes nothing any more. The interpreter's end, seconds with torch in it, gives signals their
        default action back, unless they are ignored: a training that is done would be killed for its walltime, and
        what waits for it cancelled."""
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    def _time(self, *_: object) -> None:
        self.time_is_up = True
        self.stop.ask()

    def _end(self, *_: object) -> None:
        self.to_end = True
        self.stop.ask()


def read_tasks(folder: Path) -> dict[str, Any]:
    """tasks.json of a submission. Raises OSError, ValueError."""
    data = orjson.loads((folder / "tasks.json").read_bytes())
    if not isinstance(data, dict) or "groups" not in data:
        raise ValueError(f"{folder}/tasks.json is not a list of tasks")
    return data


def main(arguments: Sequence[str]) -> int:
    """FOLDER GROUP INDEX. The exit status tells Slurm whether dependants may start."""
    asked = Asked(StopFlag())
    asked.listen()
    folder = Path(arguments[0])
    task = _task(read_tasks(folder), arguments[1], arguments[2])
    _log_to(task.store / "logs" / f"{task.job.id}.log")
    # What is found there is an earlier attempt's, before it went back into the queue.
    with suppress(OSError):
        _report_file(task, folder).unlink(missing_ok=True)
    status = (_peer if task.rank else _lead)(task, folder, asked)
    asked.over()
    return status


def _task(data: dict[str, Any], group: str, index: str) -> Task:
    from pydantic import TypeAdapter

    job = TypeAdapter(Job).validate_json(orjson.dumps(data["groups"][group][index]))
    root = data["data_root"]
    processes = data["processes"][group]
    return Task(
        job=job,
        store=Path(data["store"]),
        study=data["study"],
        device=data["device"],
        threads=data["threads"],
        data_root=None if root is None else Path(root),
        functions=data["functions"],
        world_size=processes,
        rank=int(os.environ["SLURM_PROCID"]) if processes > 1 else 0,
        placement=Placement(**data["placement"]),
    )


def _log_to(path: Path) -> None:
    """The job's own log, as with the local executor; what Slurm says stays in the task's log."""
    with suppress(OSError):
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)


# Rank 0, or the only one.


def _lead(task: Task, folder: Path, asked: Asked) -> int:
    before = Store(task.store).saved(task.job.id)
    if not _may_begin(task, folder, before):
        message = f"Slurm began it again, and {TRIES} attempts in a row died without getting further"
        log = str(task.store / "logs" / f"{task.job.id}.log")
        _call_off(task, folder)
        return _end(task, folder, Report("failed", 0.0, Failure("R201", message, (AGAIN,), log)))
    report = _run(task, folder, asked)
    _keep_tries(task, folder, None)
    if report.outcome == "stopped" and asked.time_is_up and not asked.to_end:
        return _next_link(task, folder, before, report, asked)
    return _end(task, folder, report)


def _may_begin(task: Task, folder: Path, saved: Saved) -> bool:
    """Slurm requeues what died with its node, without end. A record that is there is that of an attempt that died."""
    try:
        data = orjson.loads(_tries_file(task, folder).read_bytes())
        tries, died = Tries(set(map(str, data["seen"])), int(data["deaths"])), True
    except (OSError, ValueError, KeyError, TypeError):
        tries, died = Tries(), False
    may_go_on = tries.dies(saved) if died else True
    tries.begins(saved)
    _keep_tries(task, folder, tries if may_go_on else None)
    return may_go_on


def _keep_tries(task: Task, folder: Path, tries: Tries | None) -> None:
    with suppress(OSError):
        if tries is None:
            _tries_file(task, folder).unlink(missing_ok=True)
        else:
            data = {"seen": sorted(tries.seen), "deaths": tries.deaths}
            disk.replace(_tries_file(task, folder), orjson.dumps(data))


def _tries_file(task: Task, folder: Path) -> Path:
    return folder / "reports" / f".{task.job.id}.tries"


def _run(task: Task, folder: Path, asked: Asked) -> Report:
    store = Store(task.store)
    while True:
        # Before a requeue the same job ran on another node: its lease may have to expire first.
        while store.leases.holder(task.job.id) is not None and not store.has(task.job.id):
            if asked.stop.asked:
                return Report("stopped")
            time.sleep(_TAKEN_SECONDS)
        report = run_task(task, asked.stop, begin=lambda: _announce(task, folder))
        if report.outcome != "taken":
            _call_off(task, folder)
            return report
        if task.world_size > 1:
            # The peers wait for us at a port that is gone: all start anew.
            asked.time_is_up = True
            return Report("stopped")


def _next_link(task: Task, folder: Path, before: object, report: Report, asked: Asked) -> int:
    """The walltime is over: go back into the queue, unless the next attempt would only repeat this one."""
    if Store(task.store).saved(task.job.id) == before and report.seconds > 0:
        message = "its walltime ended and it had saved nothing to go on from"
        help = "give it longer: `--set budget.walltime='24 h'`, or a partition with a longer limit"
        return _end(task, folder, Report("failed", report.seconds, Failure("R223", message, (help,))))
    _write_report(task, folder, report)
    words = slurm_client.requeue(os.environ["SLURM_JOB_ID"])
    if words:
        message = f"its walltime ended and Slurm would not requeue it: {words}"
        return _end(task, folder, Report("failed", report.seconds, Failure("R223", message, (AGAIN,))))
    return _wait_for_the_end(asked)


def _wait_for_the_end(asked: Asked) -> int:
    """Slurm ends a requeued attempt; an exit before that would look like a failure."""
    deadline = time.monotonic() + _REQUEUE_SECONDS
    while not asked.to_end and time.monotonic() < deadline:
        time.sleep(0.1)
    return STOPPED


def _end(task: Task, folder: Path, report: Report) -> int:
    _write_report(task, folder, report)
    return {"done": DONE, "failed": FAILED}.get(report.outcome, STOPPED)


def _report_file(task: Task, folder: Path) -> Path:
    return folder / "reports" / f"{task.job.id}{f'.rank{task.rank}' if task.rank else ''}.json"


def _write_report(task: Task, folder: Path, report: Report) -> None:
    # The disk may be full: then the executor knows only that the task ended.
    with suppress(OSError):
        disk.replace(_report_file(task, folder), orjson.dumps(asdict(report)))


# Several processes.


def _rendezvous(folder: Path) -> Path:
    """Names one attempt of one task: an earlier attempt's file is another."""
    attempt = os.environ.get("SLURM_RESTART_COUNT", "0")
    return folder / "rendezvous" / f"{os.environ['SLURM_JOB_ID']}-{attempt}"


def _announce(task: Task, folder: Path) -> None:
    """Tell the peers where rank 0 listens: its own address as Slurm knows it, and a free port."""
    if task.world_size > 1:
        port = rendezvous.free_port()
        # srun was started on the first node of the allocation, which is rank 0's.
        address = os.environ.get("SLURM_LAUNCH_NODE_IPADDR") or socket.gethostname()
        rendezvous.join(address, port, 0, task.world_size)
        disk.replace(_rendezvous(folder), f"{address} {port}".encode())


def _call_off(task: Task, folder: Path) -> None:
    """Tell peers that still wait for a rendezvous that there is nothing to do."""
    if task.world_size > 1 and not _rendezvous(folder).exists():
        disk.replace(_rendezvous(folder), b"over")


def _peer(task: Task, folder: Path, asked: Asked) -> int:
    from isoloss.runtime.worker.rank_worker import run_peer

    deadline = time.monotonic() + _RENDEZVOUS_SECONDS
    while not _rendezvous(folder).exists():
        if asked.stop.asked:
            return _wait_for_the_end(asked)
        if time.monotonic() > deadline:
            return STOPPED
        time.sleep(0.1)
    said = _rendezvous(folder).read_text().split()
    if said == ["over"]:
        return DONE
    rendezvous.join(said[0], int(said[1]), task.rank, task.world_size)
    report = run_peer(task, asked.stop)
    if report.outcome == "failed":
        _write_report(task, folder, report)
        return FAILED
    if report.outcome == "stopped":
        # Rank 0 still saves, and ends or requeues the task: leaving first would end it.
        return _wait_for_the_end(asked)
    return DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
