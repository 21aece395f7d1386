"""MLflow as the journal's mirror: true statuses, whole curves, replays without doubles."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from isoloss.compiler.plan import Job, Observation
from isoloss.runtime.store.journal import MetricBuffer
from isoloss.runtime.store.result import Run
from isoloss.runtime.store.store import Store
from isoloss.runtime.tracking.names import flatten, metric_name, tracking_uri
from isoloss.runtime.tracking.secrets import shown
from isoloss.runtime.tracking.tracker import Tracker
from tests.runtime.fakes import generate_job

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
METRIC = "loss trades(5) @ pgd(40, cw, linf, 8/255)"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all: MLflow takes seconds to make one. Stores keep their runs apart."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def begin(store: Store, *jobs: Job) -> None:
    data = [{"id": j.id, "kind": j.kind, "reason": j.reason, "spec": j.spec, "facts": j.facts} for j in jobs]
    store.save_plan("p.json", orjson.dumps({"jobs": data}))
    note(store, "plan", file="plans/p.json", revision=0)
    note(store, "study", state="running", revision=0)


def note(store: Store, event: str, **facts: Any) -> None:
    study = {"study": f"digest of {store.id}", "name": f"study {store.id}"}
    store.journal.append({"event": event, **study, **facts})


def job_note(store: Store, job: Job, state: str, **facts: Any) -> None:
    note(store, "job", state=state, job=job.id, **{"name": job.name, **facts})


def curve(store: Store, job: Job, steps: range) -> None:
    log = MetricBuffer(store.journal, job.id)
    for step in steps:
        log(METRIC, 1 / (step + 1), step)
    log.flush()


def finish(store: Store, job: Job) -> None:
    draft = store.begin(job.id)
    (draft / "curve.json").write_bytes(b"[]")
    (draft / "weights.pt").write_bytes(bytes(11 << 20))
    run = Run(2.0, 0.0, 2.0, "cpu", 1, "here", planned_seconds=(1.0, 2.5, 4.0))
    curve_again = Observation(job.id, "generate", METRIC, 0.5, images=64)
    store.commit(job, draft, (Observation(job.id, "generate", "images", 10.0, images=10), curve_again), run)
    job_note(store, job, "finished")


def mirror(store: Store, uri: str) -> Any:
    from isoloss.runtime.tracking.mirror import Mirror

    return Mirror(store, uri)


def runs(store: Store, uri: str) -> dict[str, Any]:
    """Runs of this store by job id; the study's under ""."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(f"study {store.id}")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    by_job = {run.data.tags.get("isoloss.job", ""): run for run in found}
    assert len(by_job) == len(found), "a job has two runs"
    return by_job


def history(uri: str, run: Any, metric: str) -> list[tuple[int, float]]:
    from mlflow.tracking import MlflowClient

    points = MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, metric_name(metric))
    return sorted((p.step, p.value) for p in points)


def test_a_study_with_its_jobs(store: Store, uri: str) -> None:
    from mlflow.tracking import MlflowClient

    job = generate_job(1)
    begin(store, job)
    job_note(store, job, "started")
    curve(store, job, range(2500))
    follower = mirror(store, uri)
    follower.catch_up()
    assert runs(store, uri)[job.id].info.status == "RUNNING"
    finish(store, job)
    note(store, "study", state="finished", revision=1, values={"limit forecast loss": 0.5})
    follower.catch_up()
    assert not follower.pending()
    assert follower.refused == []
    found = runs(store, uri)
    study, run = found[""], found[job.id]
    assert study.info.status == run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
    assert run.info.run_name == "generate 1"
    assert run.data.params["sampler.kind"] == "edm"
    assert run.data.tags["mlflow.note.content"].startswith("test\n")
    assert study.data.metrics["jobs done"] == 1
    assert study.data.tags["mlflow.note.content"].startswith(
        "finished: 1 jobs done, 0 failed, of a plan of 1."
    )
    assert run.data.metrics["wall seconds"] == 2.0
    assert run.data.metrics["planned seconds"] == 2.5
    assert study.data.metrics["limit forecast loss"] == 0.5
    assert history(uri, run, METRIC) == [(n, 1 / (n + 1)) for n in range(2500)]
    artefacts = {a.path for a in MlflowClient(tracking_uri=uri).list_artifacts(run.info.run_id)}
    assert artefacts == {"curve.json", "result.json"}, "weights stay in the store"


def test_a_study_is_one_experiment_also_once_somebody_deleted_it(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    store, uri = Store(tmp_path / "store"), f"sqlite:///{tmp_path / 'mlflow.db'}"
    jobs = [generate_job(n) for n in range(2)]
    begin(store, *jobs)
    job_note(store, jobs[0], "started")
    mirror(store, uri).catch_up()
    client = MlflowClient(tracking_uri=uri)
    names = [e.name for e in client.search_experiments() if e.experiment_id != "0"]
    assert names == [f"study {store.id}"]
    found = client.get_experiment_by_name(names[0])
    assert found is not None
    client.delete_experiment(found.experiment_id)
    finish(store, jobs[0])
    job_note(store, jobs[1], "started")
    note(store, "study", state="running", revision=1)
    follower = mirror(store, uri)
    follower.catch_up()
    assert follower.refused == []
    anew = [e for e in client.search_experiments() if e.experiment_id != "0"]
    assert [e.name for e in anew] == [f"study {store.id} ({store.id})"]
    told = client.search_runs([anew[0].experiment_id])
    assert {run.data.tags.get("isoloss.job", "") for run in told} == {"", jobs[0].id, jobs[1].id}
    assert {run.data.tags.get("mlflow.parentRunId") for run in told} == {
        None, next(run.info.run_id for run in told if not run.data.tags.get("isoloss.job")),
    }  # fmt: skip


def test_telling_it_again_changes_nothing(store: Store, uri: str) -> None:
    job = generate_job(2)
    begin(store, job)
    job_note(store, job, "started")
    curve(store, job, range(50))
    finish(store, job)
    mirror(store, uri).catch_up()
    for state in (store.path / "tracking").iterdir():
        state.unlink()  # crashed before it could write down how far it was
    assert mirror(store, uri).catch_up() > 0
    assert len(runs(store, uri)) == 2
    assert len(history(uri, runs(store, uri)[job.id], METRIC)) == 50
    assert mirror(store, uri).catch_up() == 0


def test_statuses_are_true_and_a_resumed_job_keeps_its_run(store: Store, uri: str) -> None:
    jobs = {state: generate_job(n) for n, state in enumerate(("failed", "crashed", "stopped", "lost"))}
    begin(store, *jobs.values())
    for state, job in jobs.items():
        job_note(store, job, "started")
        job_note(store, job, state, message="because")
    follower = mirror(store, uri)
    follower.catch_up()
    found = runs(store, uri)
    statuses = {state: found[job.id].info.status for state, job in jobs.items()}
    assert statuses == {"failed": "FAILED", "crashed": "FAILED", "stopped": "KILLED", "lost": "KILLED"}
    assert all(found[job.id].data.tags["isoloss.message"] == "because" for job in jobs.values())
    resumed = jobs["crashed"]
    before = found[resumed.id].info.run_id
    job_note(store, resumed, "started")
    curve(store, resumed, range(3))
    curve(store, resumed, range(1, 6))  # from its last checkpoint on, two steps a second time
    finish(store, resumed)
    follower.catch_up()
    after = runs(store, uri)[resumed.id]
    assert "isoloss.message" not in after.data.tags, "why an earlier attempt failed is no news of this one"
    assert after.info.run_id == before
    assert after.info.status == "FINISHED"
    assert [step for step, _ in history(uri, after, METRIC)] == list(range(6))


def test_an_outage_in_the_middle_loses_nothing(
    store: Store, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    from isoloss.runtime.tracking.mirror import TrackingDown

    job = generate_job(3)
    begin(store, job)
    job_note(store, job, "started")
    follower = mirror(store, uri)
    real, luck = MlflowClient.log_batch, random.Random(1)

    def flaky(self: Any, *arguments: Any, **more: Any) -> None:
        if luck.random() < 0.5:
            raise ConnectionError("server went away")
        real(self, *arguments, **more)

    monkeypatch.setattr(MlflowClient, "log_batch", flaky)
    curve(store, job, range(1500))
    finish(store, job)
    outages = 0
    while follower.pending():
        try:
            follower.catch_up()
        except TrackingDown:
            outages += 1
            assert outages < 100
    assert outages >= 2
    assert len(history(uri, runs(store, uri)[job.id], METRIC)) == 1500
    assert runs(store, uri)[job.id].info.status == "FINISHED"


def test_what_mlflow_never_takes_does_not_block_the_rest(store: Store, uri: str) -> None:
    job = generate_job(4)
    begin(store, job)
    job_note(store, job, "started")
    store.journal.append({"event": "metrics", "job": job.id, "points": [["x" * 300, 0, 1.0, 1]]})
    store.journal.append({"event": "metrics"})  # by a stranger
    store.journal.append({"event": "metrics", "job": "0" * 20, "points": [["x", 0, 1.0, 1]]})
    store.journal.append({"event": "metrics", "job": job.id, "points": [["nan", 0, None, 1]]})
    finish(store, job)
    follower = mirror(store, uri)
    follower.catch_up()
    assert runs(store, uri)[job.id].info.status == "FINISHED"
    assert any("metrics" in line for line in follower.refused)


def test_a_dead_server_delays_nothing_and_is_told_later(store: Store, uri: str) -> None:
    job = generate_job(5)
    tracker = Tracker(store, "http://user:secret@127.0.0.1:9")
    began = time.monotonic()
    begin(store, job)
    job_note(store, job, "started")
    curve(store, job, range(100))
    finish(store, job)
    assert time.monotonic() - began < 2.0
    behind = tracker.finish()
    assert behind == "[Errno 111] Connection refused"
    assert not any("secret" in path.read_text() for path in (store.path / "tracking").iterdir())
    assert Tracker(store, uri).finish() == ""
    assert runs(store, uri)[job.id].info.status == "FINISHED"
    assert len(history(uri, runs(store, uri)[job.id], METRIC)) == 100


def test_names() -> None:
    assert metric_name(METRIC) == "loss trades 5 at pgd 40 cw linf 8-255"
    assert metric_name("fid @ pixels") == "fid at pixels"
    nested = {"a": {"kind": "x", "b": [1, 2]}, "c": None, "shards": [f"{n:020}" for n in range(200)]}
    assert dict(flatten(nested)) == {
        "a.kind": "x", "a.b": "1, 2", "c": "None", "shards": f"200: {0:020} … {199:020}",
    }  # fmt: skip
    assert shown("postgresql://me:pw@host/db") == "postgresql://me:***@host/db"
    assert shown("sqlite:////tmp/x.db") == "sqlite:////tmp/x.db"


def test_where_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h:5000")
    assert tracking_uri(tmp_path) == "http://h:5000"
