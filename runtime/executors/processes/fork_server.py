"""The fork server: a process that has torch loaded and forks a worker per job in milliseconds.

In: requests (pickled, over a private pipe): tasks to start, signals to pass on. Out: lines of JSON on another:
how far a worker is, where its peers meet it, its report, how it ended. `ForkServer` is the executor's end of one on
this machine, `hosts.Agent` of one on another; `main` is what runs.

A fresh interpreter with torch and deepspeed costs seconds of CPU per job; a fork costs milliseconds. The
fork server itself never computes, never touches CUDA and has one thread, so what it forks is clean."""

from __future__ import annotations

import gc
import math
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.devices import cpu_cores, gpus
from isoloss.runtime.executors.processes import rendezvous
from isoloss.runtime.executors.processes.parent_death import die_with_parent
from isoloss.runtime.store.store import Store
from isoloss.runtime.training.out_of_memory import kernel_kills
from isoloss.runtime.worker.rank_worker import run_peer
from isoloss.runtime.worker.worker import Report, StopFlag, Task, run_task, versions

#: POSIX: writes of at most this many bytes to a pipe don't mix.
_PIPE_BYTES = 4096
_LENGTH = struct.Struct("!Q")
#: Both ends of a connection to another host say this often that they live ...
ALIVE_SECONDS = 5.0
#: ... and give the other up after so long a silence: as long as a lease lasts without heartbeats.
SILENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Start:
    """Fork a worker for `task`; `environment` is set in it; its output goes to `log`. Of several ranks the
    first opens a rendezvous at `address`, the others are started with its `port`."""

    task: Task
    environment: Mapping[str, str]
    log: str
    address: str = rendezvous.LOOPBACK
    port: int = 0


@dataclass(frozen=True, slots=True)
class Signal:
    """To all ranks of a job here."""

    job: str
    number: int


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first request to a fork server on another host: is this store there, and what is the host like?"""

    store: str
    id: str


@dataclass(frozen=True, slots=True)
class Ping:
    """The executor lives."""


Request = Start | Signal | Greeting | Ping


class ForkServer:
    """The executor's end. `messages` yields what workers say: {"job", "rank"} with "fraction", "rendezvous" (rank
    0's port), "report", or "exit" and "signal" and "memory" (the kernel killed for memory meanwhile).

    `far`: on another host, whose silence for `patience_seconds` means that it is gone."""

    far = False
    patience_seconds = math.inf

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: str) -> None:
        """Raises JobError R209 where the command can't be started."""
        self._buffer = b""
        try:
            with open(log, "ab") as output:
                self._process = subprocess.Popen(
                    command,
                    env={**os.environ, **environment},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    # Ctrl-C is for the front door: it decides what the workers are told.
                    start_new_session=True,
                )
        except OSError as error:
            raise JobError("R209", f"no worker process can be started: {error.strerror}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin.fileno()
        self._reports = self._process.stdout.fileno()
        self.heard = time.monotonic()

    def fileno(self) -> int:
        """For select: readable when there are messages, or when the fork server is gone."""
        return self._reports

    def send(self, request: Request) -> bool:
        """False if the fork server is gone."""
        data = pickle.dumps(request)
        view = memoryview(_LENGTH.pack(len(data)) + data)
        try:
            while view:
                view = view[os.write(self._requests, view) :]
        except OSError:
            return False
        return True

    def messages(self) -> list[dict[str, Any]] | None:
        """What has arrived; blocks until something has. None: the fork server is gone."""
        data = os.read(self._reports, 1 << 16)
        if not data:
            return None
        self.heard = time.monotonic()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [message for line in lines if (message := _message(line)) is not None]

    def close(self) -> None:
        """End the fork server and whatever still runs in it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def command(parent: int, preload: Sequence[str]) -> list[str]:
    """What starts a fork server: on this machine by process `parent`, or with 0 by a remote shell."""
    return [sys.executable, "-m", __name__, str(parent), *preload]


def _message(line: bytes) -> dict[str, Any] | None:
    """None for what is not ours: a login shell's greeting."""
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) else None


def main(arguments: list[str]) -> None:
    """Serve until the executor closes its end or dies."""
    parent = int(arguments[0])
    # What anything else prints must not mix with our messages.
    reports = os.dup(1)
    os.dup2(2, 1)
    requests = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if parent:
        die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = _Server(requests, reports, far=parent == 0)
    # A wrong host is told before the seconds that loading takes.
    if parent == 0 and not server.greet():
        return
    for name in arguments[1:]:
        # What can't be loaded here fails in the job that needs it, where it can be told.
        with suppress(Exception):
            import_module(name)
    versions()
    # Nothing loaded so far is garbage; not looking at it keeps its pages shared.
    gc.freeze()
    server.serve()


@dataclass(frozen=True, slots=True)
class _Worker:
    job: str
    rank: int
    kills_before: int


class _Server:
    """`far`: the executor is on another host, so that each end has to say that it lives."""

    def __init__(self, requests: int, reports: int, far: bool) -> None:
        self._requests, self._reports, self._far = requests, reports, far
        self._workers: dict[int, _Worker] = {}  # by pid
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        # A handler has to exist for the wake-up to be written.
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def greet(self) -> bool:
        """Answer the greeting. False: the executor has gone already."""
        request = self._receive()
        if not isinstance(request, Greeting):
            return False
        self._tell(
            {"problem": _problem(request), "cores": cpu_cores(), "gpus": len(gpus()), "versions": versions()}
        )
        return True

    def serve(self) -> None:
        heard = told = time.monotonic()
        while True:
            pause = ALIVE_SECONDS if self._far else None
            readable, _, _ = select.select([self._requests, self._woken], [], [], pause)
            now = time.monotonic()
            if self._woken in readable:
                os.read(self._woken, 1024)
                self._reap()
            if self._requests in readable:
                request = self._receive()
                if request is None:
                    break
                heard = now
                self._obey(request)
            if self._far and now - heard > SILENT_SECONDS:
                break
            if self._far and now - told >= ALIVE_SECONDS:
                told = now
                self._tell({"alive": True})
        for pid in self._workers:
            _signal(pid, signal.SIGKILL)

    def _receive(self) -> Request | None:
        header = self._exactly(_LENGTH.size)
        body = None if header is None else self._exactly(_LENGTH.unpack(header)[0])
        return None if body is None else pickle.loads(body)  # from our own executor, over a private pipe

    def _exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            part = os.read(self._requests, count - len(data))
            if not part:
                return None
            data += part
        return data

    def _obey(self, request: Request) -> None:
        if isinstance(request, Signal):
            for pid, worker in self._workers.items():
                if worker.job == request.job:
                    _signal(pid, request.number)
        elif isinstance(request, Start):
            self._fork(request)

    def _fork(self, start: Start) -> None:
        fork_server = os.getpid()
        # A SIGTERM that arrives before the worker has its handler must wait for it, not kill.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if pid == 0:
            try:
                die_with_parent(fork_server)
                self._become_worker(start)
            finally:
                os._exit(70)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self._workers[pid] = _Worker(start.task.job.id, start.task.rank, kernel_kills())

    def _become_worker(self, start: Start) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        stop = StopFlag()
        signal.signal(signal.SIGTERM, stop.ask)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.close(self._requests)
        os.environ.update(start.environment)
        with suppress(OSError):
            output = os.open(start.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(output, 1)
            os.dup2(output, 2)
        report = self._work(start, stop)
        sys.stdout.flush()
        sys.stderr.flush()
        self._tell(_of(start.task) | {"report": _short(report)})
        os._exit(0)

    def _work(self, start: Start, stop: StopFlag) -> Report:
        task = start.task
        if task.rank:
            rendezvous.join(start.address, start.port, task.rank, task.world_size)
            return run_peer(task, stop)

        def begin() -> None:
            if task.world_size > 1:
                port = rendezvous.free_port()
                rendezvous.join(start.address, port, 0, task.world_size)
                self._tell(_of(task) | {"rendezvous": port})

        return run_task(task, stop, lambda fraction: self._tell_progress(task, fraction), begin)

    def _tell_progress(self, task: Task, fraction: float) -> None:
        # A front door that doesn't read must not stop the training: this message may be lost.
        if select.select([], [self._reports], [], 0)[1]:
            self._tell(_of(task) | {"fraction": fraction})

    def _tell(self, message: Mapping[str, Any]) -> None:
        # The executor may be gone already; then nobody is to be told.
        with suppress(OSError):
            os.write(self._reports, orjson.dumps(message) + b"\n")

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            worker = self._workers.pop(pid, None)
            if worker is not None:
                killer = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
                code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
                memory = killer == signal.SIGKILL and kernel_kills() > worker.kills_before
                end = {"exit": code, "signal": killer, "memory": memory}
                self._tell({"job": worker.job, "rank": worker.rank, **end})


def _of(task: Task) -> dict[str, Any]:
    return {"job": task.job.id, "rank": task.rank}


def _problem(greeting: Greeting) -> str:
    """Why this host can't work on the executor's store; "" if it can."""
    try:
        found = Store(Path(greeting.store), create=False)
    except JobError as error:
        return f"{error.message} there"
    return "" if found.id == greeting.id else f"`{greeting.store}` is another store there"


def _short(report: Report) -> dict[str, Any]:
    """The report as data, cut so that its line fits into one write."""
    data = asdict(report)
    while len(orjson.dumps(data)) > _PIPE_BYTES - 200:
        failure = data["failure"]
        longest = max(("message", "details"), key=lambda k: len(failure[k] or ""))
        failure["help"] = ()
        failure[longest] = failure[longest][: len(failure[longest]) // 2] + "…"
    return data


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    # Under its own name, so that Task and Start unpickle to the classes used here.
    import_module("isoloss.runtime.executors.processes.fork_server").main(sys.argv[1:])
