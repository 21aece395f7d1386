"""The tracking process: follows the journal beside the training, at low priority.

In: a store's path, a tracking URI in MLFLOW_TRACKING_URI, a word on stdin when the run is over. Out: MLflow, up to
date; from that word on a sign of life on stdout with each event told; exit status 0, or BEHIND with the reason on
stdout when the tracking store can't be reached."""

from __future__ import annotations

import fcntl
import os
import select
import sys
import time
from contextlib import suppress
from pathlib import Path

from isoloss.runtime.executors.processes.parent_death import die_with_parent
from isoloss.runtime.store.store import Store
from isoloss.runtime.tracking.names import own_database
from isoloss.runtime.tracking.secrets import Censor, without_secrets

BEHIND = 75  # EX_TEMPFAIL
#: A sign of life; no reason has it in its text.
ALIVE = "\0"
_LOOK_SECONDS = 1.0
_RETRY_SECONDS = (2.0, 5.0, 15.0, 30.0)


def main(arguments: list[str]) -> int:
    """Serve until told to finish."""
    store, uri, parent = Store(Path(arguments[0])), os.environ["MLFLOW_TRACKING_URI"], int(arguments[1])
    sys.stderr = Censor(sys.stderr, uri)
    die_with_parent(parent)
    with suppress(OSError):
        os.nice(10)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # What this process says is what kept it from telling all: MLflow's links to runs are not.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # A dead server must be noticed within seconds, not after MLflow's default of minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    ours = own_database(store.path, uri)
    if ours:
        # MLflow makes a default experiment whose artefacts go below the folder it starts in.
        os.chdir(store.path)
    finish = _wait_for_turn(store)
    from isoloss.runtime.tracking.database import Unusable, make_ready
    from isoloss.runtime.tracking.mirror import Mirror, TrackingDown

    _live()
    reason, attempt, mirror = "", 0, None
    while True:
        try:
            if mirror is None:
                make_ready(uri, ours, _live)
                mirror = Mirror(store, uri)
            mirror.catch_up(_live)
            reason, attempt = "", 0
            for line in mirror.refused:
                print("refused:", line, file=sys.stderr)
            mirror.refused.clear()
        except (TrackingDown, Unusable) as error:
            reason = without_secrets(str(error), uri)
        except Exception as error:
            # MlflowClient() itself fails on an impossible URI.
            reason = without_secrets(f"{type(error).__name__}: {error}".splitlines()[0], uri)
        if reason:
            print(time.strftime("%H:%M:%S"), reason, file=sys.stderr, flush=True)
            attempt += 1
        if finish:
            break
        pause = _RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS)) - 1] if reason else _LOOK_SECONDS
        finish = _told(pause)
    print(reason)
    return BEHIND if reason else 0


def _wait_for_turn(store: Store) -> bool:
    """One mirror per store at a time: a second `isoloss run` waits for the first one's. True: meanwhile our
    run ended, and there was a turn for at most a last look."""
    lock = os.open(store.path / "tracking.lock", os.O_RDWR | os.O_CREAT, 0o644)  # held until we exit
    finish, patience = False, 10.0
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return finish
        except BlockingIOError:
            if finish and patience <= 0:
                # The other mirror reads the same journal: it tells what we would.
                print()
                sys.exit(0)
            if finish:
                time.sleep(0.5)
                patience -= 0.5
            else:
                finish = _told(_LOOK_SECONDS)
        except OSError:
            return finish  # no locks on this file system


def _live() -> None:
    """Say so to who waits for us. Before that nobody reads it, and a full pipe would hold us up."""
    if _told(0):
        print(ALIVE, end="", flush=True)


def _told(seconds: float) -> bool:
    """Were we told to finish, within so long? (Our end of a closed pipe says so too.)"""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
