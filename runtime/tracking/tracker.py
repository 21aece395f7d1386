"""The front door's handle on the tracking process: start it, end it, learn whether it kept up.

In: a store. Out: "" or why MLflow is behind the journal. Never raises, never waits while jobs run."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress

import orjson

from isoloss.runtime.store.store import Store
from isoloss.runtime.tracking.names import state_file, tracking_uri
from isoloss.runtime.tracking.process import ALIVE

#: How long a run that is over waits for a silent mirror: MLflow's import takes seconds, on a busy machine many. One
#: that has much to tell gives signs of life, and is waited for.
SILENT_SECONDS = 60.0


def behind(store: Store, uri: str | None = None) -> bool:
    """Does the journal have more than MLflow was told? Without loading MLflow."""
    journal = store.path / "journal.jsonl"
    try:
        state = orjson.loads(state_file(store.path, uri or tracking_uri(store.path)).read_bytes())
        return journal.stat().st_size > int(state["cursor"])
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return journal.exists()


class Tracker:
    """`uri` None: MLFLOW_TRACKING_URI, or SQLite in the store."""

    def __init__(self, store: Store, uri: str | None = None) -> None:
        self.uri = uri or tracking_uri(store.path)
        command = [sys.executable, "-m", "isoloss.runtime.tracking.process"]
        command += [str(store.path), str(os.getpid())]
        self._process: subprocess.Popen[bytes] | None = None
        with suppress(OSError), open(store.path / "logs" / "tracking.log", "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Everybody on a machine can read command lines, and the URI may hold a password.
                env={**os.environ, "MLFLOW_TRACKING_URI": self.uri},
                # Ctrl-C is for the front door.
                start_new_session=True,
            )

    def finish(self, silent_seconds: float = SILENT_SECONDS) -> str:
        """Let it catch up and end. Returns "" when MLflow has everything, else why not; the journal has it,
        and the next run on this store tells MLflow."""
        if self._process is None:
            return "the tracking process could not be started"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.write(b"finish\n")
            self._process.stdin.flush()
        said, output = b"", self._process.stdout.fileno()
        while select.select([output], [], [], silent_seconds)[0]:
            piece = os.read(output, 4096)
            if not piece:
                self._process.communicate()
                reason = said.decode(errors="replace").replace(ALIVE, "").strip()
                status = self._process.returncode
                return reason or (f"the tracking process ended with status {status}" if status else "")
            said += piece
        self.abandon()
        return f"it was silent for {silent_seconds:.0f} s"

    def abandon(self) -> None:
        """End it now; what it has not told stays in the journal."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
