"""What takes many minutes on a real Slurm, from the command line: `make test-long` (ISOLOSS_LONG=1).

A training of two nodes that is preempted and outlives its walltimes ends with the bits of one that two processes did
without a break; the quickstart gives the answers that it gives without Slurm."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from isoloss import loop
from isoloss.compiler.compile import compile_study
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.plan import Job
from isoloss.runtime.store import progress_file as notes
from isoloss.runtime.store.store import Store
from tests.faults.disturbed import check_same_result, job_events, observed
from tests.slurm import cluster as slurm
from tests.slurm.cluster import Cluster

ROOT = Path(__file__).parents[2]
LONG = Path(__file__).with_name("long.study")
QUICKSTART = ROOT / "examples" / "quickstart.study"
long = pytest.mark.skipif("ISOLOSS_LONG" not in os.environ, reason="takes many minutes: make test-long")
here = pytest.mark.skipif(slurm.missing() is not None, reason=f"no Slurm: {slurm.missing()}")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    started = slurm.start(tmp_path / "slurm")
    yield started
    started.stop()


def isoloss(store: Path, study: Path, *options: str, cluster: Cluster | None = None) -> dict[str, Any]:
    """What `isoloss run --json` says."""
    environment = {**os.environ, **(cluster.environment if cluster else {})}
    # Tasks are started in a folder of the store: relative entries would lead elsewhere.
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "isoloss", "run", str(study), "--store", str(store), "--no-tracking"]
    done = subprocess.run(
        [*command, "--json", *options], cwd=ROOT, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    answers: dict[str, Any] = orjson.loads(done.stdout)
    return answers


def trainings(study: Path) -> list[Job]:
    plan, _ = compile_study(loop.load(str(study), None, ())[0], (), BUILT_IN["cpu"])
    assert plan is not None
    return [job for job in plan.jobs if job.kind == "train"]


def test_the_long_cell_is_the_quickstarts_largest() -> None:
    """Lengthened, and nothing else."""
    largest = max(trainings(QUICKSTART), key=lambda job: job.cost.flops)
    (job,) = trainings(LONG)
    assert (job.spec.model, job.spec.recipe) == (largest.spec.model, largest.spec.recipe)
    assert job.spec.train_steps > largest.spec.train_steps


@long
@here
@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_a_preempted_chain_of_two_nodes_ends_with_the_bits_of_a_quiet_run(
    cluster: Cluster, tmp_path: Path
) -> None:
    (job,) = trainings(LONG)
    path = tmp_path / "store"
    thread = threading.Thread(target=preempt, args=(cluster, path, job.id))
    thread.start()
    isoloss(
        path, LONG, "--executor", "slurm", "--processes", "2", "--slurm", "ntasks-per-node=1", cluster=cluster
    )
    thread.join()
    isoloss(tmp_path / "quiet", LONG, "--processes", "2")
    store, quiet = Store(path, create=False), Store(tmp_path / "quiet", create=False)
    assert list(store.jobs()) == list(quiet.jobs())
    for id in store.jobs():
        check_same_result(store.open_result(id), quiet.open_result(id))
    found, undisturbed = store.open_result(job.id), quiet.open_result(job.id)
    states = [e["state"] for e in job_events(store) if e["job"] == job.id]
    # The preemption, and two walltimes or more.
    assert Counter(states)["stopped"] >= 3, states
    assert states[-1] == "finished"
    assert (found.run.world_size, undisturbed.run.world_size) == (2, 2)
    assert undisturbed.run.attempts == 1
    print(
        f"\n{found.run.attempts} attempts, {found.run.seconds:.0f} s; quiet {undisturbed.run.seconds:.0f} s"
    )


def preempt(cluster: Cluster, store: Path, job: str) -> None:
    """Once, after the first walltime, while the second attempt gets on: one that is preempted as it starts has nothing
    to save and says nothing."""
    reached: list[float] = []

    def second_attempt() -> bool:
        note = notes.read(store / "work" / job)
        if note is None or note.attempts < 2:
            return False
        reached.append(note.fraction)
        return reached[-1] > reached[0]

    soon(second_attempt, 1800)
    cluster.run(
        "sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"
    )


def soon(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


@long
@here
@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_the_quickstart_answers_on_slurm_as_it_does_without(cluster: Cluster, tmp_path: Path) -> None:
    on_slurm = isoloss(tmp_path / "store", QUICKSTART, "--executor", "slurm", cluster=cluster)
    local = isoloss(tmp_path / "local", QUICKSTART)
    assert on_slurm["answers"] == local["answers"]
    stores = [Store(tmp_path / name, create=False) for name in ("store", "local")]
    ours, theirs = ({result.job: observed(result) for result in store.results()} for store in stores)
    assert ours == theirs
