"""Tracking servers that can be taken away and given back: PostgreSQL, and `mlflow server`. For tests, on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Server(Protocol):
    uri: str

    def start(self) -> None: ...

    def stop(self) -> None:
        """At once, as a crash would."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing_postgres() -> str | None:
    """Why no PostgreSQL can be started here, or None."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed"
    if _binaries() is None:
        return "no PostgreSQL server (Debian package postgresql)"
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        return "PostgreSQL won't run as root, and runuser is missing"
    return None


def _binaries() -> Path | None:
    places = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.environ.get("PATH", "").split(":"))]
    return next(
        (place for place in places if (place / "pg_ctl").exists() and (place / "initdb").exists()), None
    )


@dataclass
class Postgres:
    """A cluster of its own in `folder`, which others must be able to enter: it runs as `postgres` where we are root."""

    folder: Path

    def __post_init__(self) -> None:
        self.port = free_port()
        self.uri = f"postgresql://mlflow@127.0.0.1:{self.port}/postgres"
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        # Nothing of it outlives the test: it need not survive a power cut.
        self._run("initdb", "-A", "trust", "-U", "mlflow", "-N", "-D", str(self.folder / "data"))

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self.folder}"
        place = ["-D", str(self.folder / "data"), "-l", str(self.folder / "log")]
        self._run("pg_ctl", *place, "-o", options, "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        binaries = _binaries()
        assert binaries is not None
        who = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        # The server inherits no pipe of ours.
        subprocess.run(
            [*who, str(binaries / program), *arguments], check=True, timeout=120, cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


@dataclass
class MlflowServer:
    """`database` None: one of its own in `folder`, where artefacts go too."""

    folder: Path
    database: str | None = None

    def __post_init__(self) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", self.database or f"sqlite:///{self.folder / 'server.db'}",
            "--artifacts-destination", str(self.folder / "artefacts"),
        ]  # fmt: skip
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            )  # fmt: skip
        deadline = time.monotonic() + 180
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline, "the MLflow server did not come up"
            time.sleep(0.2)

    def _answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
            return bool(answer.status == 200)
        return False

    def stop(self) -> None:
        # Its workers are processes of its group.
        with suppress(ProcessLookupError):  # stopped before
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
