"""The Slurm executor on a real Slurm of two virtual nodes on this host."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isoloss.compiler.plan import Job
from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.base import Event, Outcome, Resources
from isoloss.runtime.executors.local.executor import LocalExecutor
from isoloss.runtime.executors.slurm import client as slurm_client
from isoloss.runtime.executors.slurm.executor import SlurmExecutor
from isoloss.runtime.executors.slurm.task import read_tasks
from isoloss.runtime.jobs import JOBS
from isoloss.runtime.store import journal
from isoloss.runtime.store import progress_file as notes
from isoloss.runtime.store.store import Store
from tests.faults.disturbed import check_same_result
from tests.runtime.fakes import FUNCTIONS, follow_job, generate_job, train_job
from tests.runtime.training_specs import train_spec
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
def _client(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    monkeypatch.setenv("PATH", cluster.environment["PATH"])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield
    # A result is in the store a moment before its task is gone.
    soon(lambda: not queued(cluster))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def executor(**more: Any) -> SlurmExecutor:
    settings: dict[str, Any] = {"poll_seconds": 0.3, "late_seconds": 3, "grace_seconds": 15}
    return SlurmExecutor(Resources("cpu", 4), **{"functions": FUNCTIONS, **settings, **more})


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
    both, doomed = follow_job(first, second), follow_job(bad, first)
    # Index by index: one array for these three, of which one fails with its need.
    ones = [follow_job(need) for need in (first, second, bad)]
    outcome, events = run([both, *ones, doomed, first, second, bad], store)
    assert outcome.done == {first.id, second.id, both.id, ones[0].id, ones[1].id}
    assert store.open_result(both.id).observations[0].value == 3.0
    assert outcome.failed[bad.id].code == "R301"
    assert outcome.failed[bad.id].help == ("lower `lr`",)
    assert outcome.skipped == dict.fromkeys((doomed.id, ones[2].id), "needs generate 3, which failed")
    assert states(store, doomed) == ["skipped"]
    assert states(store, both) == ["started", "finished"]
    assert {e.job.id for e in events if e.what == "finished" and e.job} == outcome.done
    soon(lambda: not queued(cluster))


def test_a_long_job_is_a_chain_of_walltimes(store: Store) -> None:
    # Slurm counts walltimes in minutes and looks at them every 30 s: with a lead of the whole minute it asks for
    # a checkpoint within the first half of one. The job takes 31 s, so that it is asked at least once.
    job, hopeless = generate_job(1, behaviour="steps:3100"), generate_job(2, behaviour="sleep:50")
    user, doomed = follow_job(job), follow_job(hopeless)
    outcome, _ = run([job, user, hopeless, doomed], store, walltime_seconds=60, lead=60)
    assert outcome.done == {job.id, user.id}
    assert store.open_result(job.id).run.attempts >= 2
    assert states(store, job)[:3] == ["started", "stopped", "started"]
    assert steps_logged(store, job) == list(range(3100)), "a step was done twice or never"
    # Stopped without anything saved, it would only begin again, for ever.
    assert outcome.failed[hopeless.id].code == "R223"
    assert "nothing to go on from" in outcome.failed[hopeless.id].message
    assert doomed.id in outcome.skipped


#: Trainings of two processes, one on each node, started by srun.
TWO_NODES: dict[str, Any] = {"processes": 2, "options": [("ntasks-per-node", "1")]}


def test_two_nodes_work_as_one_and_stop_together(store: Store, cluster: Cluster) -> None:
    # Of one spec each: equal ids would be one job.
    job, bad = train_job(train_spec(300, 32)), train_job(replace(train_spec(300, 32), seed=13))
    asking = threading.Thread(target=ask_for_a_checkpoint, args=(cluster, store, job, "steps"))
    asking.start()
    outcome, _ = run([job, bad], store, functions={"train": "tests.runtime.pair:run"}, **TWO_NODES)
    asking.join()
    assert outcome.done == {job.id}
    result = store.open_result(job.id)
    assert (result.run.world_size, result.run.attempts) == (2, 2)
    assert states(store, job) == ["started", "stopped", "started", "finished"]
    steps = (result.folder / "steps.txt").read_text().split()
    assert steps == [f"{step}:n0" for step in range(300)], "a step was done twice or never"
    # Why a rank failed is told, not that the other found it gone.
    assert outcome.failed[bad.id].code == "R322"


@pytest.mark.skipif(not slurm.tracks_by_cgroup(), reason="srun hears the signal where Slurm has no cgroups")
def test_deepspeed_on_two_nodes_saves_when_it_is_preempted(
    store: Store, cluster: Cluster, tmp_path: Path
) -> None:
    """And ends with the bits of an undisturbed training, which two processes of one machine did."""
    # Seconds of steps on a quick machine: it has to be at work when the other job is submitted.
    job = train_job(train_spec(200, 32))
    saved: list[int] = []

    def preempt() -> None:
        soon(lambda: fraction(store, job) > 0.1, 90)
        urgent = cluster.run(
            "sbatch", "--parsable", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null",
            "--wrap=sleep 1",
        )  # fmt: skip
        soon(lambda: urgent.strip() in running(cluster), 30)
        # Long before the first checkpoint that time asks for.
        (path,) = (store.path / "work" / job.id).glob("*.ckpt")
        saved.append(int(path.stem.partition("-")[2]))

    thread = threading.Thread(target=preempt)
    thread.start()
    outcome, _ = run([job], store, functions=JOBS, **TWO_NODES)
    thread.join()
    assert outcome.done == {job.id}
    assert 20 <= saved[0] < 200
    found = store.open_result(job.id)
    assert (found.run.world_size, found.run.attempts) == (2, 2)
    assert states(store, job) == ["started", "stopped", "started", "finished"]
    quiet = Store(tmp_path / "quiet")
    local = LocalExecutor(Resources("cpu", 2), processes=2)
    assert local.run([job], quiet, "study", lambda event: None).done == {job.id}
    local.close()
    check_same_result(found, quiet.open_result(job.id))


def fraction(store: Store, job: Job) -> float:
    note = notes.read(store.path / "work" / job.id)
    return 0.0 if note is None else note.fraction


def running(cluster: Cluster) -> list[str]:
    return cluster.run("squeue", "--noheader", "--states=RUNNING", "--format=%i").split()


def ask_for_a_checkpoint(cluster: Cluster, store: Store, job: Job, sign: str) -> None:
    """What Slurm does before the end of a walltime, once the job is under way."""
    soon(lambda: (store.path / "work" / job.id / sign).exists(), 90)
    submission, group, index = place_of(store, job)
    rows = cluster.run("squeue", "--noheader", "--array", "--format=%i %j", "--states=RUNNING").splitlines()
    found = [row.split() for row in rows]
    (task,) = [
        id for id, name in found if name == f"isoloss-{submission}.{group}" and id.endswith(f"_{index}")
    ]
    cluster.run("scancel", "--signal=USR1", task)


def place_of(store: Store, job: Job) -> tuple[str, str, str]:
    """Submission, group and index of a job."""
    for folder in (store.path / "slurm").iterdir():
        if folder.is_dir():
            for group, tasks in read_tasks(folder)["groups"].items():
                for index, data in tasks.items():
                    if data["id"] == job.id:
                        return folder.name, group, index
    raise AssertionError(job.name)


def test_a_preempted_job_goes_on_from_its_checkpoint(store: Store, cluster: Cluster) -> None:
    job = generate_job(1, behaviour="steps:400")
    work = store.path / "work" / job.id / "step"

    def preempt() -> None:
        soon(lambda: work.exists() and int(work.read_text()) > 20)
        cluster.run(
            "sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"
        )

    thread = threading.Thread(target=preempt)
    thread.start()
    outcome, _ = run([job], store)
    thread.join()
    assert outcome.done == {job.id}
    assert store.open_result(job.id).run.attempts == 2
    assert states(store, job) == ["started", "stopped", "started", "finished"]
    assert steps_logged(store, job) == list(range(400))


def test_a_node_that_fails_gives_its_job_to_another(store: Store, cluster: Cluster) -> None:
    job, beside = generate_job(1, behaviour="steps:400"), generate_job(2, behaviour="steps:400")
    failed: list[str] = []

    def fail() -> None:
        saved = [store.path / "work" / j.id / "step" for j in (job, beside)]
        soon(lambda: all(path.exists() and int(path.read_text()) > 20 for path in saved))
        started = {e["job"]: e["pid"] for e in events_of(store) if e.get("state") == "started"}
        # Both may be on one node: the node of the first one is taken away, with all that is there.
        nodes = dict(
            line.split() for line in cluster.run("squeue", "-h", "--array", "--format=%i %N").splitlines()
        )
        places = {place_of(store, j)[2]: j.id for j in (job, beside)}
        (node,) = {name for task, name in nodes.items() if task.endswith("_0")}
        gone = [started[places[task.rpartition("_")[2]]] for task, name in nodes.items() if name == node]
        failed.append(node)
        cluster.fail_node(node, *gone)

    thread = threading.Thread(target=fail)
    thread.start()
    try:
        outcome, _ = run([job, beside], store)
    finally:
        thread.join()
        cluster.mend_node(failed[0])
    assert outcome.done == {job.id, beside.id}, (outcome.failed, outcome.skipped)
    assert max(store.open_result(j.id).run.attempts for j in (job, beside)) == 2
    for j in (job, beside):
        assert sorted(set(steps_logged(store, j))) == list(range(400))


def events_of(store: Store) -> list[dict[str, Any]]:
    return journal.read(store.path / "journal.jsonl")[0]


def test_ctrl_c_leaves_nothing_queued_and_keeps_checkpoints(store: Store, cluster: Cluster) -> None:
    jobs = [generate_job(n, behaviour="steps:6000") for n in range(6)]
    user = follow_job(*jobs)

    def interrupt() -> None:
        soon(lambda: len(list((store.path / "work").glob("*/step"))) == 4)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    outcome, events = run([*jobs, user], store)
    assert outcome.interrupted
    assert not queued(cluster)
    begun = {job.id for job in jobs if states(store, job)}
    assert outcome.stopped == begun
    assert all(states(store, job) == ["started", "stopped"] for job in jobs if job.id in begun)
    assert [e.what for e in events].count("stopping") == 1
    assert all(int((store.path / "work" / id / "step").read_text()) > 0 for id in begun)


def test_a_second_run_attaches_to_what_is_queued(store: Store, cluster: Cluster) -> None:
    job = generate_job(1, behaviour="steps:300")
    user = follow_job(job)
    before = executor().prepare([job], store, "study")
    id = slurm_client.submit(before.folder / f"{before.groups[0].name}.sh")
    outcome, events = run([job, user], store)
    assert outcome.done == {job.id, user.id}
    assert [e.text for e in events if e.what == "elsewhere"] == [f"Slurm task {id}_0, submitted before"]
    assert states(store, job) == ["started", "finished"]


def test_what_slurm_refuses_and_what_it_loses_have_codes(store: Store, cluster: Cluster) -> None:
    with pytest.raises(JobError, match="invalid partition") as refused:
        run([generate_job(1), follow_job(generate_job(1))], store, options=[("partition", "nowhere")])
    assert refused.value.code == "R221"
    assert not queued(cluster)
    job, killed = generate_job(2, behaviour="steps:6000"), generate_job(3, behaviour="die")

    def cancel() -> None:
        soon(lambda: (store.path / "work" / job.id / "step").exists())
        task = next(line.split()[0] for line in queued(cluster) if "RUNNING" in line)
        cluster.run("scancel", task)

    thread = threading.Thread(target=cancel)
    thread.start()
    outcome, _ = run([job, killed, follow_job(killed)], store)
    thread.join()
    assert outcome.failed[job.id].code == "R225"
    # scancel cleaned up: a checkpoint to go on from, and nothing else of it.
    assert int((store.path / "work" / job.id / "step").read_text()) > 0
    assert states(store, job) == ["started", "stopped"]
    assert not (store.path / "leases" / job.id).exists()
    assert not list((store.path / "tmp").glob(f"{job.id}*"))
    assert outcome.failed[killed.id].code == "R222"
    assert states(store, killed) == ["started", "crashed"]
