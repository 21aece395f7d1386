"""Kill -9 at random instants, workers and whole runs: nothing is lost, nothing is half, nothing is done
twice.

ISOLOSS_KILLS sets how many kills each kind gets together (20; `make test-faults` takes 100)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from isoloss.runtime.store import journal
from isoloss.runtime.store.leases import process_start
from isoloss.runtime.store.store import Store
from tests.faults.driver import jobs

KILLS = int(os.environ.get("ISOLOSS_KILLS", "20"))
COUNT, STEPS = 3, 60
ROOT = Path(__file__).parents[2]


def start(store: Path, executions: Path) -> subprocess.Popen[bytes]:
    executions.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.driver", str(store), str(COUNT), str(STEPS)],
        cwd=ROOT,
        env={**os.environ, "FAKE_EXECUTIONS": str(executions)},
    )


def workers(store: Path) -> list[int]:
    """Process ids of all workers that ever were."""
    return [e["pid"] for e in journal.read(store / "journal.jsonl")[0] if e.get("state") == "started"]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if process_start(pid) is not None]


def check_whole(path: Path) -> None:
    """At any instant: every result that is there is whole, every artefact as it was written."""
    if (path / "isoloss.json").exists():
        store = Store(path, create=False)
        for job in store.jobs():
            store.open_result(job)


def check_complete(path: Path) -> None:
    """At the end: results, curves and checkpoints are those of an undisturbed run."""
    store = Store(path, create=False)
    events, _ = journal.read(path / "journal.jsonl")
    *trainings, last = jobs(COUNT, STEPS)
    for job in trainings:
        assert store.artefact(job.id, "images.npy").read_bytes() == str(job.spec.seed).encode() * 100
        points = [
            (step, value)
            for e in events
            if e["event"] == "metrics" and e["job"] == job.id
            for metric, step, value, _ in e["points"]
            if metric == "step"
        ]
        # A step between its line and its checkpoint is told a second time, with the same value: see the
        # mirror.
        assert sorted(set(points)) == [(n, float(n)) for n in range(STEPS)]
    assert store.open_result(last.id).observations[0].value == sum(range(COUNT))
    finished = Counter(e["job"] for e in events if e.get("state") == "finished")
    assert set(finished) == {job.id for job in (*trainings, last)}
    assert not list((path / "work").iterdir())
    assert not list((path / "damaged").iterdir())


def test_workers_killed_at_random_instants(tmp_path: Path) -> None:
    luck, path = random.Random(1), tmp_path / "store"
    kills = 0
    for _ in range(20 * KILLS):
        process = start(path, tmp_path / "executions")
        while process.poll() is None:
            time.sleep(luck.uniform(0.0, 0.5))
            running = alive(workers(path))
            if running and kills < KILLS:
                try:
                    os.kill(luck.choice(running), signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    pass
            check_whole(path)
        if process.returncode == 0:
            break
        assert process.returncode == 3
    assert process.returncode == 0
    check_complete(path)
    assert kills >= min(KILLS, 3)


def test_whole_runs_killed_at_random_instants_leave_no_orphans(tmp_path: Path) -> None:
    luck, path = random.Random(2), tmp_path / "store"
    for _ in range(max(4, KILLS // 3)):
        process = start(path, tmp_path / "executions")
        time.sleep(luck.uniform(0.2, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 3
        while alive(workers(path)):
            assert time.monotonic() < deadline, "a worker outlived its run"
            time.sleep(0.02)
        check_whole(path)
    assert start(path, tmp_path / "executions").wait() == 0
    check_complete(path)


def test_interrupted_runs_go_on(tmp_path: Path) -> None:
    luck, path = random.Random(3), tmp_path / "store"
    codes = set()
    for _ in range(3):
        process = start(path, tmp_path / "executions")
        time.sleep(luck.uniform(0.8, 1.2))
        process.send_signal(signal.SIGINT)
        codes.add(process.wait())
        check_whole(path)
    # -2 and 1: so early that Python itself was still starting.
    assert codes <= {0, 130, -signal.SIGINT, 1}
    assert start(path, tmp_path / "executions").wait() == 0
    check_complete(path)


@pytest.mark.parametrize("processes", [2, 3])
def test_several_runs_on_one_store_share_the_work(tmp_path: Path, processes: int) -> None:
    path = tmp_path / "store"
    together = [start(path, tmp_path / "executions") for _ in range(processes)]
    assert [p.wait() for p in together] == [0] * processes
    check_complete(path)
    ran = Counter(path.name.split(".")[0] for path in (tmp_path / "executions").iterdir())
    assert ran == Counter({job.id: 1 for job in jobs(COUNT, STEPS)}), "a job ran twice"


def test_one_of_two_runs_is_killed_and_the_other_takes_over(tmp_path: Path) -> None:
    path = tmp_path / "store"
    first, second = start(path, tmp_path / "executions"), start(path, tmp_path / "executions")
    while not workers(path):
        time.sleep(0.02)
    first.kill()
    first.wait()
    assert second.wait() == 0
    check_complete(path)
