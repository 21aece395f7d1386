"""The nursery: a process that has torch loaded and forks a worker per job in milliseconds.

In: requests (pickled, over a private socket): tasks to start, signals to pass on. Out: lines of JSON on a
pipe: how far a worker is, its report, how it ended. Started by `Nursery`, runs `main`.

A fresh interpreter with torch and deepspeed costs seconds of CPU per job; a fork costs milliseconds. The
nursery itself never computes, never touches CUDA and has one thread, so what it forks is clean."""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import orjson

from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.lifeline import die_with_parent
from isoloss.runtime.worker import Report, StopFlag, Task, run_task, versions

#: POSIX: writes of at most this many bytes to a pipe don't mix.
_PIPE_BYTES = 4096
_LENGTH = struct.Struct("!Q")


@dataclass(frozen=True, slots=True)
class Start:
    """Fork a worker for `task`; `environment` is set in it; its output goes to `log`."""

    task: Task
    environment: Mapping[str, str]
    log: str


@dataclass(frozen=True, slots=True)
class Signal:
    job: str
    number: int


class Nursery:
    """The executor's end. `messages` yields what workers say: {"job", "fraction"}, {"job", "report"},
    {"job", "exit", "signal"}; None once the nursery itself is gone."""

    def __init__(self, preload: Sequence[str], environment: Mapping[str, str], log: str) -> None:
        ours, theirs = socket.socketpair()
        self._reports, reports = os.pipe()
        self._requests = ours
        self._buffer = b""
        command = [
            sys.executable,
            "-m",
            __name__,
            str(theirs.fileno()),
            str(reports),
            str(os.getpid()),
            *preload,
        ]
        try:
            with open(log, "ab") as output:
                self._process = subprocess.Popen(
                    command,
                    pass_fds=(theirs.fileno(), reports),
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    # Ctrl-C is for the front door: it decides what the workers are told.
                    start_new_session=True,
                )
        except OSError as error:
            raise JobError("R209", f"no worker process can be started: {error.strerror}") from error
        finally:
            theirs.close()
            os.close(reports)

    def send(self, request: Start | Signal) -> None:
        """Raises JobError R209 if the nursery is gone."""
        data = pickle.dumps(request)
        try:
            self._requests.sendall(_LENGTH.pack(len(data)) + data)
        except OSError as error:
            raise JobError("R209", "the process that starts workers is gone") from error

    def messages(self, timeout_seconds: float) -> list[dict[str, Any]] | None:
        """What has arrived, after at most so long. None: the nursery is gone."""
        readable, _, _ = select.select([self._reports], [], [], timeout_seconds)
        if not readable:
            return []
        data = os.read(self._reports, 1 << 16)
        if not data:
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [orjson.loads(line) for line in lines]

    def close(self) -> None:
        """End the nursery and whatever still runs in it."""
        with suppress(OSError):
            self._requests.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with suppress(OSError):
            os.close(self._reports)


def main(arguments: list[str]) -> None:
    """Serve until the executor closes its end or dies."""
    requests, reports, parent = (int(a) for a in arguments[:3])
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in arguments[3:]:
        # What can't be loaded here fails in the job that needs it, where it can be told.
        with suppress(Exception):
            import_module(name)
    versions()
    # Nothing loaded so far is garbage; not looking at it keeps its pages shared.
    gc.freeze()
    _Server(socket.socket(fileno=requests), reports).serve()


class _Server:
    def __init__(self, requests: socket.socket, reports: int) -> None:
        self._requests, self._reports = requests, reports
        self._workers: dict[int, str] = {}  # pid -> job
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        # A handler has to exist for the wake-up to be written.
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        requests = self._requests.fileno()
        while True:
            readable, _, _ = select.select([requests, self._woken], [], [])
            if self._woken in readable:
                os.read(self._woken, 1024)
                self._reap()
            if requests in readable:
                request = self._receive()
                if request is None:
                    break
                self._obey(request)
        for pid in self._workers:
            _signal(pid, signal.SIGKILL)

    def _receive(self) -> Start | Signal | None:
        header = self._exactly(_LENGTH.size)
        body = None if header is None else self._exactly(_LENGTH.unpack(header)[0])
        return None if body is None else pickle.loads(body)  # from our own parent, over a private socket

    def _exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            part = self._requests.recv(count - len(data))
            if not part:
                return None
            data += part
        return data

    def _obey(self, request: Start | Signal) -> None:
        if isinstance(request, Signal):
            for pid, job in self._workers.items():
                if job == request.job:
                    _signal(pid, request.number)
            return
        nursery = os.getpid()
        # A SIGTERM that arrives before the worker has its handler must wait for it, not kill.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if pid == 0:
            try:
                die_with_parent(nursery)
                self._become_worker(request)
            finally:
                os._exit(70)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self._workers[pid] = request.task.job.id

    def _become_worker(self, start: Start) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        stop = StopFlag()
        signal.signal(signal.SIGTERM, stop.ask)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self._requests.close()
        os.environ.update(start.environment)
        with suppress(OSError):
            output = os.open(start.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(output, 1)
            os.dup2(output, 2)
        job = start.task.job.id
        report = run_task(start.task, stop, lambda fraction: self._tell_progress(job, fraction))
        sys.stdout.flush()
        sys.stderr.flush()
        self._tell({"job": job, "report": _short(report)})
        os._exit(0)

    def _tell_progress(self, job: str, fraction: float) -> None:
        # A front door that doesn't read must not stop the training: this message may be lost.
        if select.select([], [self._reports], [], 0)[1]:
            self._tell({"job": job, "fraction": fraction})

    def _tell(self, message: Mapping[str, Any]) -> None:
        # The executor may be gone already; then nobody is to be told.
        with suppress(OSError):
            os.write(self._reports, orjson.dumps(message) + b"\n")

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            job = self._workers.pop(pid, None)
            if job is not None:
                killer = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
                code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
                self._tell({"job": job, "exit": code, "signal": killer})


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
    import_module("isoloss.runtime.executors.nursery").main(sys.argv[1:])
