"""The Slurm executor on a real Slurm of two virtual nodes on this host."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isoloss.compiler.plan import Job
from isoloss.runtime import journal
from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.base import Event, Outcome, Resources
from isoloss.runtime.executors.slurm import SlurmExecutor
from isoloss.runtime.store import Store
from tests.runtime.fakes import FUNCTIONS, follow_job, generate_job
from tests.slurm import cluster as slurm
from tests.slurm.cluster import Cluster

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(slurm.missing() is not None, reason=f"no Slurm: {slurm.missing()}"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    started = slurm.start(tmp_path_factory.mktemp("slurm"))
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def _client(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    monkeypatch.setenv("PATH", cluster.environment["PATH"])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def executor(**more: Any) -> SlurmExecutor:
    settings: dict[str, Any] = {"poll_seconds": 0.3, "late_seconds": 3, "grace_seconds": 15, **more}
    return SlurmExecutor(Resources("cpu", 4), functions=FUNCTIONS, **settings)


def run(jobs: list[Job], store: Store, **more: Any) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    return executor(**more).run(jobs, store, "study", events.append), events


def queued(cluster: Cluster) -> list[str]:
    return cluster.run("squeue", "--noheader", "--format=%i %T").split("\n")[:-1]


def soon(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def states(store: Store, job: Job) -> list[str]:
    events, _ = journal.read(store.path / "journal.jsonl")
    return [e["state"] for e in events if e["event"] == "job" and e["job"] == job.id]


def steps_logged(store: Store, job: Job) -> list[int]:
    events, _ = journal.read(store.path / "journal.jsonl")
    mine = [e for e in events if e["event"] == "metrics" and e["job"] == job.id]
    return [p[1] for e in mine for p in e["points"] if p[0] == "step"]


def test_a_dag_runs_and_a_failure_takes_its_dependants_only(store: Store, cluster: Cluster) -> None:
    first, second, bad = generate_job(1), generate_job(2), generate_job(3, behaviour="error")
    both, one, doomed = follow_job(first, second), follow_job(second), follow_job(bad, first)
    outcome, events = run([both, one, doomed, first, second, bad], store)
    assert outcome.done == {first.id, second.id, both.id, one.id}
    assert store.open_result(both.id).observations[0].value == 3.0
    assert outcome.failed[bad.id].code == "R301"
    assert outcome.failed[bad.id].help == ("lower `lr`",)
    assert outcome.skipped == {doomed.id: "needs generate 3, which failed"}
    assert states(store, doomed) == ["skipped"]
    assert states(store, both) == ["started", "finished"]
    assert {e.job.id for e in events if e.what == "finished" and e.job} == outcome.done
    soon(lambda: not queued(cluster))
