"""Leases: two processes on one store never run one job twice.

In: a job id. Out: `leases/<job id>`, held by one living worker; or the news of who holds it.

A worker that dies frees its lease: at once where its death can be seen (same host), after EXPIRY_SECONDS
without a heartbeat from another host. A worker that was only asleep finds its lease gone and stops itself."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from isoloss.runtime.disk import storage, write_all

HEARTBEAT_SECONDS = 5.0
#: Twelve missed heartbeats: longer than the pauses of a loaded network file system, assumed.
EXPIRY_SECONDS = 60.0


@cache
def host_identity() -> str:
    """Names the set of processes whose ids we can see: host, boot and pid namespace (containers share
    hosts)."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "|".join(parts)


def process_start(pid: int) -> str | None:
    """When process `pid` started, in ticks since boot: a reused pid has another. None: dead or a zombie.
    Without /proc, "?" for a living process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return "?"
    return None if fields[0] in "ZX" else fields[19]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease. `token` is unique to one acquisition."""

    token: str
    host: str
    pid: int
    start: str
    name: str  # host name, for people


def this_process() -> Holder:
    pid = os.getpid()
    return Holder(secrets.token_hex(8), host_identity(), pid, process_start(pid) or "?", socket.gethostname())


class Lease:
    """A lease that this process holds. `beat` regularly; `release` at the end."""

    def __init__(self, path: Path, holder: Holder) -> None:
        self.path = path
        self.holder = holder

    def held(self) -> bool:
        """Is it still ours? False once another host took it for expired."""
        found = _read(self.path)
        return found is not None and found.token == self.holder.token

    def beat(self) -> bool:
        """Say that we live. False if the lease is no longer ours: the job must stop."""
        if not self.held():
            return False
        with suppress(OSError):
            os.utime(self.path)
        return True

    def release(self) -> None:
        with suppress(OSError):
            if self.held():
                self.path.unlink()


class Leases:
    """The leases of one store: `folder` is its `leases/`."""

    def __init__(self, folder: Path, expiry_seconds: float = EXPIRY_SECONDS) -> None:
        self.folder = folder
        self.expiry_seconds = expiry_seconds

    def acquire(self, job: str) -> Lease | Holder:
        """The lease of `job`, or who holds it. Raises JobError R103, R104, R105."""
        path = self.folder / job
        with storage("taking a lease"), self._exclusive():
            holder = self._alive(path)
            if holder is not None:
                return holder
            # Dead or absent: under the lock nobody else removes or creates it.
            path.unlink(missing_ok=True)
            mine = this_process()
            _create(path, orjson.dumps(asdict(mine)))
            return Lease(path, mine)

    def holder(self, job: str) -> Holder | None:
        """Who runs `job` now; None: nobody alive."""
        return self._alive(self.folder / job)

    def forget(self, job: str) -> None:
        """Remove what a worker that died left of its lease; a living one's stays. Raises JobError R103, R104, R105."""
        path = self.folder / job
        with storage("removing a dead lease"), self._exclusive():
            if self._alive(path) is None:
                path.unlink(missing_ok=True)

    def _alive(self, path: Path) -> Holder | None:
        found = _read(path)
        if found is None:
            return None
        if found.host == host_identity():
            return found if process_start(found.pid) == found.start else None
        try:
            silent_seconds = self._now() - path.stat().st_mtime
        except OSError:
            return None
        if silent_seconds < -HEARTBEAT_SECONDS:
            # Ahead of the server's clock: that was set back, or a stranger wrote it. From now on its silence counts.
            with suppress(OSError):
                os.utime(path)
        return found if silent_seconds < self.expiry_seconds else None

    def _now(self) -> float:
        """The file server's clock, since heartbeats carry its time: clocks of hosts differ."""
        probe = self.folder / f".now-{os.getpid()}"
        try:
            probe.touch()
            seen = probe.stat().st_mtime
            probe.unlink(missing_ok=True)
        except OSError:
            return time.time()
        return seen

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One process at a time judges and replaces leases; a dead one frees the lock."""
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # Some network file systems have no locks; there O_EXCL alone must do.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _create(path: Path, data: bytes) -> None:
    # Written before it gets its name, so that no reader finds it empty; the link fails where a name exists.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
        os.link(draft, path)
    finally:
        os.close(descriptor)
        draft.unlink(missing_ok=True)


def _read(path: Path) -> Holder | None:
    try:
        data: Any = orjson.loads(path.read_bytes())
        return Holder(**data)
    except (OSError, orjson.JSONDecodeError, TypeError):
        # Unreadable: written by something else or torn by a crash of the machine. Nobody lives behind it.
        return None
