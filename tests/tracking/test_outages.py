"""MLflow on PostgreSQL and behind a server, which go away at the start, in the middle and at the end: no point is
lost, statuses are true. With ISOLOSS_LONG=1 the outage in the middle takes a minute."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isoloss.runtime.store import journal
from isoloss.runtime.store.store import Store
from isoloss.runtime.tracking.names import metric_name
from isoloss.runtime.tracking.tracker import Tracker, behind
from tests.faults.disturbed import Run, job_events
from tests.tracking.servers import MlflowServer, Postgres, Server, missing_postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
OUTAGE_SECONDS = 60.0 if "ISOLOSS_LONG" in os.environ else 3.0


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    # Not below pytest's own folder: the database runs as another user, who may not enter that.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        if request.param == "postgres":
            reason = missing_postgres()
            if reason is not None:
                pytest.skip(reason)
            made: Server = Postgres(Path(name))
        else:
            made = MlflowServer(Path(name))
        made.start()
        yield made
        made.stop()


@pytest.mark.parametrize("server", ["postgres", "mlflow server"], indirect=True)
def test_a_run_with_outages_loses_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    path, log = tmp_path / "store", tmp_path / "store" / "logs" / "tracking.log"
    # Dead at the start.
    server.stop()
    run = Run(path, (), {"MLFLOW_TRACKING_URI": server.uri}, tracking=True)
    soon(lambda: log.exists() and log.read_text().strip() != "")
    # A server may take longer to start than this study to run: it waits, so that the middle is a middle.
    with run.paused():
        server.start()
        soon(lambda: (path / "tracking").exists() and any((path / "tracking").iterdir()))
        # Dead in the middle, and at the end of the run: it doesn't wait for a server.
        server.stop()
    assert run.wait() == 0, run.said
    time.sleep(OUTAGE_SECONDS)
    store = Store(path, create=False)
    assert behind(store, server.uri)
    assert "R701" in run.said
    assert "nothing is lost" in run.said
    # The same command finds nothing to run, and tells what is missing.
    server.start()
    again = Run(path, (), {"MLFLOW_TRACKING_URI": server.uri}, tracking=True)
    assert again.wait() == 0, again.said
    assert "nothing to run" in again.said
    assert not behind(store, server.uri), again.said
    check_told(store, server.uri)


@pytest.mark.parametrize("server", ["postgres", "mlflow server"], indirect=True)
def test_a_curve_goes_on_through_an_outage(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tracker that lives through it, as in a run of days: it comes back by itself."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    store = Store(tmp_path / "store")
    study = {"study": "d" * 64, "name": "outage"}
    job = {"event": "job", **study, "job": "0" * 20, "name": "a job"}
    store.journal.append({"event": "study", **study, "state": "running", "revision": 0})
    store.journal.append({**job, "state": "started"})
    tracker = Tracker(store, server.uri)
    points(store, range(100))
    soon(lambda: not behind(store, server.uri))
    server.stop()
    points(store, range(100, 300))
    time.sleep(OUTAGE_SECONDS)
    points(store, range(300, 400))
    server.start()
    soon(lambda: not behind(store, server.uri), 120)
    points(store, range(400, 500))
    store.journal.append({**job, "state": "failed", "code": "R320", "message": "the loss became nan"})
    store.journal.append({"event": "study", **study, "state": "failed", "revision": 0})
    assert tracker.finish() == ""
    found = runs(store, server.uri)
    assert {run.info.status for run in found.values()} == {"FAILED"}
    assert told(server.uri, found["0" * 20]) == {("loss", step, 1 / (step + 1)) for step in range(500)}


def points(store: Store, steps: range) -> None:
    log = journal.MetricBuffer(store.journal, "0" * 20)
    for step in steps:
        log("loss", 1 / (step + 1), step)
    log.flush()


def check_told(store: Store, uri: str) -> None:
    """Every point that the journal has, every job in its true state."""
    last = {e["job"]: e["state"] for e in job_events(store)}
    found = runs(store, uri)
    assert set(found) == {*last, ""}
    assert set(last.values()) == {"finished"}
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    for job in last:
        expected = {
            (metric_name(metric), step, value)
            for e in journal.read(store.path / "journal.jsonl")[0]
            if e["event"] == "metrics" and e["job"] == job
            for metric, step, value, _ in e["points"]
        }
        assert expected <= told(uri, found[job])
        assert found[job].data.tags["mlflow.parentRunId"] == found[""].info.run_id


def runs(store: Store, uri: str) -> dict[str, Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    where = f"tags.`isoloss.store` = '{store.id}'"
    found = client.search_runs(experiments, where)
    by_job = {run.data.tags.get("isoloss.job", ""): run for run in found}
    assert len(by_job) == len(found), "a job has two runs"
    return by_job


def told(uri: str, run: Any) -> set[tuple[str, int, float]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    return {
        (name, point.step, point.value)
        for name in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, name)
    }


def soon(condition: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
