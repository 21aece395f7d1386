"""Several processes for one training on one machine: they start, stop, fail and die together."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from isoloss.compiler.plan import Cost, Job, Placement
from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.base import Event, Outcome, Resources
from isoloss.runtime.executors.devices import Slot
from isoloss.runtime.executors.local.executor import LocalExecutor
from isoloss.runtime.executors.processes.rank_group import End, Host, RankGroup, Seat
from isoloss.runtime.executors.processes.rendezvous import interface_to
from isoloss.runtime.store import journal
from isoloss.runtime.store.store import Store
from tests.runtime.fakes import generate_job, train_job
from tests.runtime.training_specs import train_spec

FUNCTIONS = {"train": "tests.runtime.pair:run", "generate": "tests.runtime.fakes:generate"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(
        Resources("cpu", 2), FUNCTIONS, preload=("tests.runtime.pair",), grace_seconds=5, processes=2
    )
    if len(executor.slots) < 2:
        pytest.skip("two ranks need two cores")
    yield executor
    executor.close()


def run(executor: LocalExecutor, jobs: list[Job], store: Store) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    return executor.run(jobs, store, "study", events.append), events


def states(store: Store, job: Job) -> list[str]:
    events, _ = journal.read(store.path / "journal.jsonl")
    return [e["state"] for e in events if e["event"] == "job" and e["job"] == job.id]


def steps(store: Store, job: Job) -> list[int]:
    text = (store.open_result(job.id).folder / "steps.txt").read_text()
    return [int(entry.partition(":")[0]) for entry in text.split()]


def when_under_way(store: Store, job: Job, act: Any) -> threading.Thread:
    """Call `act` once the job has saved a few steps."""

    def wait() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            saved = store.path / "work" / job.id / "steps"
            if saved.exists() and len(saved.read_text().split()) > 10:
                act()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def ranks_at_work() -> list[psutil.Process]:
    servers = [child for child in psutil.Process().children() if "fork_server" in " ".join(child.cmdline())]
    return sorted(
        (rank for server in servers for rank in server.children()), key=lambda process: process.create_time()
    )


def test_two_ranks_share_a_training_and_the_rest_runs_beside(executor: LocalExecutor, store: Store) -> None:
    first, second = train_job(train_spec(20, 32)), train_job(replace(train_spec(20, 32), seed=4))
    small = [generate_job(n) for n in range(3)]
    outcome, _ = run(executor, [first, *small, second], store)
    assert outcome.done == {first.id, second.id, *(job.id for job in small)}
    assert steps(store, first) == list(range(20))
    assert store.open_result(first.id).run.world_size == 2
    assert store.open_result(small[0].id).run.world_size == 1
    assert not list((store.path / "tmp").iterdir()), "a rank left its draft behind"


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_dies_takes_the_other_with_it_and_the_job_goes_on(
    executor: LocalExecutor, store: Store, rank: int
) -> None:
    job = train_job(train_spec(120, 32))
    killer = when_under_way(store, job, lambda: ranks_at_work()[rank].kill())
    outcome, events = run(executor, [job], store)
    killer.join()
    assert outcome.done == {job.id}
    assert steps(store, job) == list(range(120)), "a step was done twice or never"
    assert store.open_result(job.id).run.attempts == 2
    assert [e.text for e in events if e.what == "again"] == [
        f"the worker of rank {rank} was killed (SIGKILL)"
    ]
    assert states(store, job)[-3:] == ["crashed", "started", "finished"]
    assert not ranks_at_work()


def test_a_rank_that_fails_says_why_for_all(executor: LocalExecutor, store: Store) -> None:
    job = train_job(replace(train_spec(120, 32), seed=13))
    outcome, _ = run(executor, [job], store)
    assert outcome.failed[job.id].code == "R322", "not that the other found it gone"
    assert not store.has(job.id)
    assert not ranks_at_work()


def test_ctrl_c_stops_all_ranks_at_one_step(executor: LocalExecutor, store: Store) -> None:
    job = train_job(train_spec(400, 32))
    asking = when_under_way(store, job, lambda: os.kill(os.getpid(), signal.SIGINT))
    outcome, _ = run(executor, [job], store)
    asking.join()
    assert outcome.interrupted
    assert outcome.stopped == {job.id}
    assert states(store, job) == ["started", "stopped"]
    reached = len((store.path / "work" / job.id / "steps").read_text().split())
    assert 10 < reached < 400
    assert run(executor, [job], store)[0].done == {job.id}
    assert steps(store, job) == list(range(400))


def test_a_training_has_the_devices_of_its_plan(store: Store) -> None:
    """A plan's two, without an option; and where there are fewer, nothing is started."""
    placement = Placement(2, 16, 0, 1.0, True)
    job = replace(train_job(train_spec(1, 32)), cost=Cost(placement=placement))
    two = LocalExecutor(Resources("cpu", 2), FUNCTIONS, preload=("tests.runtime.pair",))
    try:
        assert two.run([job], store, "study", lambda event: None).done == {job.id}
    finally:
        two.close()
    result = store.read(job.id)
    assert result.run.world_size == 2
    assert result.run.device_seconds == 2 * result.run.seconds
    assert {seen.devices for seen in result.observations} == {2}
    other = replace(train_job(train_spec(2, 32)), cost=Cost(placement=placement))
    one = LocalExecutor(Resources("cpu", 1), FUNCTIONS, preload=())
    with pytest.raises(JobError, match="on 2 devices and there are 1") as caught:
        one.run([generate_job(1), other], store, "study", lambda event: None)
    one.close()
    assert caught.value.code == "R213"
    assert not store.has(generate_job(1).id)


def test_more_processes_than_slots(store: Store) -> None:
    executor = LocalExecutor(Resources("cpu", 1), FUNCTIONS, preload=(), processes=3)
    with pytest.raises(JobError, match="3 processes and there are 1 device slots") as caught:
        run(executor, [train_job(train_spec(3, 32))], store)
    executor.close()
    assert caught.value.code == "R213"


def rank_group(ends: dict[int, End], reports: dict[int, tuple[str, str]]) -> RankGroup:
    """A rank group of three that is over; reports as (outcome, code)."""
    host = Host("here", "127.0.0.1", None, ())  # type: ignore[arg-type]
    made = RankGroup(train_job(train_spec(1, 32)), (Seat(host, Slot(0, "cpu", 1, ())),) * 3)
    made.ends = ends
    for rank, (outcome, code) in reports.items():
        failure = {"code": code, "message": "", "help": (), "details": None, "retry": False}
        made.reports[rank] = {"outcome": outcome, "seconds": 1.0, "failure": failure if code else None}
    return made


FINE, DEAD = End(), End(signal=signal.SIGKILL)


@pytest.mark.parametrize(
    ("ends", "reports", "outcome", "said"),
    [
        ({0: FINE, 1: FINE}, {0: ("done", ""), 1: ("done", "")}, "done", None),
        # The result is in: what a rank does afterwards changes nothing.
        ({0: FINE, 1: DEAD}, {0: ("done", "")}, "done", None),
        ({0: FINE}, {0: ("taken", "")}, "taken", None),
        ({0: FINE, 1: FINE}, {0: ("stopped", ""), 1: ("stopped", "")}, "stopped", None),
        # Who died is the cause, not who noticed.
        ({0: FINE, 1: DEAD}, {0: ("failed", "R212")}, "crashed", 1),
        ({0: FINE, 2: DEAD}, {0: ("failed", "R299"), 1: ("failed", "R212")}, "crashed", 2),
        # A reason is the cause, not the surprise of the others.
        ({0: FINE, 1: FINE}, {0: ("failed", "R299"), 1: ("failed", "R322")}, "failed", "R322"),
        ({1: FINE, 0: DEAD}, {1: ("failed", "R320")}, "failed", "R320"),
        ({0: FINE, 1: FINE}, {0: ("failed", "R212"), 1: ("failed", "R299")}, "failed", "R299"),
        # Nobody died, and yet the connection broke.
        ({0: FINE, 1: FINE}, {0: ("failed", "R212"), 1: ("failed", "R212")}, "crashed", "R212"),
        ({1: End(lost=True), 0: FINE}, {0: ("failed", "R212")}, "lost", 1),
        # Killed by us after the grace time.
        ({}, {}, "crashed", 0),
    ],
)
def test_what_became_of_a_job(
    ends: dict[int, End], reports: dict[int, tuple[str, str]], outcome: str, said: object
) -> None:
    verdict = rank_group(ends, reports).verdict()
    assert verdict.outcome == outcome
    assert said in (None, verdict.failure.code if verdict.failure else verdict.rank)


def test_the_interface_that_leads_to_an_address() -> None:
    assert interface_to("127.0.0.1") == "lo"
    assert interface_to("no.such.host.invalid") is None
