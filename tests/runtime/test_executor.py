"""The local executor: order, failures, crashes, interrupts."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from isoloss.compiler.plan import ImportSpec, Job, job_id
from isoloss.runtime.context import Placement
from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.base import Event, Outcome, Resources, in_order, urgency
from isoloss.runtime.executors.devices import slots
from isoloss.runtime.executors.local.executor import LocalExecutor
from isoloss.runtime.executors.tries import TRIES
from isoloss.runtime.store import journal
from isoloss.runtime.store.store import Store
from tests.runtime.fakes import FUNCTIONS, follow_job, generate_job, train_job
from tests.runtime.training_specs import train_spec


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(
        Resources("cpu", 2), FUNCTIONS, preload=("tests.runtime.fakes",), grace_seconds=5
    )
    yield executor
    executor.close()


def run(executor: LocalExecutor, jobs: list[Job], store: Store) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    return executor.run(jobs, store, "study", events.append), events


def states(store: Store, job: Job) -> list[str]:
    events, _ = journal.read(store.path / "journal.jsonl")
    return [e["state"] for e in events if e["event"] == "job" and e["job"] == job.id]


def test_runs_needs_before_users(executor: LocalExecutor, store: Store) -> None:
    first, second = generate_job(1), generate_job(2)
    last = follow_job(first, second)
    outcome, events = run(executor, [last, first, second], store)
    assert outcome.done == {first.id, second.id, last.id}
    assert [e.job for e in events if e.what == "started"][-1] == last
    assert store.open_result(last.id).observations[0].value == 3.0
    assert states(store, last) == ["started", "finished"]


def test_result_says_where_and_how_long(executor: LocalExecutor, store: Store) -> None:
    job = generate_job(1)
    run(executor, [job], store)
    result = store.open_result(job.id)
    assert result.run.device == "cpu"
    assert result.run.world_size == 1
    assert result.run.threads == 1
    assert result.run.versions["torch"]
    assert result.observations[0].device == "cpu"
    assert result.observations[0].seconds == result.run.seconds > 0


def test_a_placement_reaches_the_job(store: Store) -> None:
    job, placement = generate_job(1, behaviour="placed"), Placement(16, 2)
    executor = LocalExecutor(
        Resources("cpu", 1, placement=placement), FUNCTIONS, preload=("tests.runtime.fakes",)
    )
    run(executor, [job], store)
    executor.close()
    assert orjson.loads(store.artefact(job.id, "placement.json").read_bytes()) == asdict(placement)


def test_failure_takes_its_dependants_and_nothing_else(executor: LocalExecutor, store: Store) -> None:
    bad, good = generate_job(1, behaviour="error"), generate_job(2)
    doomed, fine = follow_job(bad, good), follow_job(good)
    outcome, _ = run(executor, [bad, good, doomed, fine], store)
    assert outcome.done == {good.id, fine.id}
    assert outcome.failed[bad.id].code == "R301"
    assert outcome.failed[bad.id].help == ("lower `lr`",)
    assert outcome.skipped == {doomed.id: "needs generate 1, which failed"}
    assert states(store, bad) == ["started", "failed"]


@pytest.mark.parametrize(
    ("behaviour", "code"), [("die", "R201"), ("full", "R103"), ("memory", "R203"), ("bug", "R299")]
)
def test_every_way_to_fail_has_its_code(
    executor: LocalExecutor, store: Store, behaviour: str, code: str
) -> None:
    job = generate_job(1, behaviour=behaviour)
    outcome, _ = run(executor, [job], store)
    failure = outcome.failed[job.id]
    assert failure.code == code
    assert "Traceback" not in failure.message
    assert not store.has(job.id)
    assert not list((store.path / "tmp").iterdir()) or behaviour == "die"
    if code == "R299":
        assert "fake bug" in Path(failure.details or "").read_text()


def test_a_job_that_dies_while_it_publishes_is_given_up(store: Store) -> None:
    """It makes its images anew each time: its files are newer, nothing got further."""
    job = generate_job(1)
    dying = {"generate": "tests.runtime.dying:publishing"}
    executor = LocalExecutor(Resources("cpu", 1), dying, preload=(), grace_seconds=5)
    seen: list[Event] = []

    def watch(event: Event) -> None:
        seen.append(event)
        if len([e for e in seen if e.what == "again"]) > 6:
            os.kill(os.getpid(), signal.SIGINT)  # it would never end

    outcome = executor.run([job], store, "study", watch)
    executor.close()
    assert outcome.failed[job.id].code == "R201"
    assert states(store, job) == ["started", "crashed"] * TRIES


def test_a_job_that_dies_at_every_start_is_given_up(tmp_path: Path, store: Store) -> None:
    """What it writes before it has done anything (its layout, its buckets) is nothing to go on from."""
    digits = np.zeros((20, 8, 8), np.uint8)
    np.savez(tmp_path / "made.npz", image=digits, label=np.arange(20) % 10)
    training, spec = train_job(train_spec(8)), ImportSpec({"kind": "digits"}, "*.npz", (), 20, 0)
    importing = replace(training, id=job_id(spec), kind="import", name="an import", spec=spec)
    dying = {"train": "tests.runtime.dying:training", "import": "tests.runtime.dying:importing"}
    executor = LocalExecutor(
        Resources("cpu", 2, data_root=tmp_path), dying, preload=("tests.runtime.dying",), grace_seconds=5
    )
    events: list[Event] = []

    def watch(event: Event) -> None:
        events.append(event)
        if len([e for e in events if e.what == "again"]) > 6:
            os.kill(os.getpid(), signal.SIGINT)  # it would never end

    outcome = executor.run([training, importing], store, "study", watch)
    executor.close()
    assert {job: failure.code for job, failure in outcome.failed.items()} == {
        training.id: "R201",
        importing.id: "R201",
    }
    for job in (training, importing):
        assert states(store, job) == ["started", "crashed"] * TRIES
        assert list((store.path / "work" / job.id).iterdir()), "it wrote something each time"


def test_a_worker_that_dies_after_its_last_word_has_finished(store: Store) -> None:
    """Nothing is said twice, and no lease stays."""
    job = generate_job(1)
    executor = LocalExecutor(
        Resources("cpu", 1), {"generate": "tests.runtime.dying:keeping"}, preload=(), grace_seconds=5
    )
    outcome, _ = run(executor, [job], store)
    executor.close()
    assert outcome.done == {job.id}
    assert states(store, job) == ["started", "finished"]
    assert not list((store.path / "leases").glob("[!.]*"))


def test_a_failed_job_runs_when_asked_again(executor: LocalExecutor, store: Store) -> None:
    # The fake dies unless its artefact of a former attempt is there: here, simply run a sound job afterwards.
    run(executor, [generate_job(1, behaviour="die")], store)
    job = generate_job(2)
    assert run(executor, [job], store)[0].done == {job.id}


def test_a_job_with_a_result_is_not_run(executor: LocalExecutor, store: Store) -> None:
    job = generate_job(1)
    run(executor, [job], store)
    outcome, events = run(executor, [job], store)
    assert outcome.done == {job.id}
    assert not [e for e in events if e.what == "started"]


def test_a_missing_input_is_told(executor: LocalExecutor, store: Store) -> None:
    job = follow_job(generate_job(1))
    outcome, _ = run(executor, [job], store)
    assert "has no result and isn't planned" in outcome.skipped[job.id]


def test_interrupt_stops_at_a_checkpoint_and_goes_on_from_it(executor: LocalExecutor, store: Store) -> None:
    job, later = generate_job(1, behaviour="steps:200"), generate_job(2)
    threading.Timer(0.8, os.kill, (os.getpid(), signal.SIGINT)).start()
    outcome, _ = run(executor, [job], store)
    assert outcome.interrupted
    assert outcome.stopped == {job.id}
    assert states(store, job) == ["started", "stopped"]
    reached = int((store.path / "work" / job.id / "step").read_text())
    assert 0 < reached < 200
    again, _ = run(executor, [job, later], store)
    assert again.done == {job.id, later.id}
    points = [
        p[1]
        for e in journal.read(store.path / "journal.jsonl")[0]
        if e["event"] == "metrics" and e["job"] == job.id
        for p in e["points"]
        if p[0] == "step"
    ]
    assert points == list(range(200)), "a step was logged twice or never"
    assert store.open_result(job.id).run.attempts == 2
    assert not (store.path / "work" / job.id).exists()


def test_a_worker_that_will_not_stop_is_killed(executor: LocalExecutor, store: Store) -> None:
    executor.grace_seconds = 0.5
    job = generate_job(1, behaviour="stubborn:60")
    threading.Timer(0.8, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    outcome, _ = run(executor, [job], store)
    assert time.monotonic() - began < 10
    assert outcome.interrupted
    assert outcome.stopped == {job.id}


def test_two_slots_work_at_the_same_time(executor: LocalExecutor, store: Store) -> None:
    run(executor, [generate_job(0)], store)  # the fork server is up
    jobs = [generate_job(n, behaviour="sleep:1") for n in (1, 2)]
    began = time.monotonic()
    outcome, _ = run(executor, jobs, store)
    assert outcome.done == {j.id for j in jobs}
    if len(executor.slots) == 2:
        assert time.monotonic() - began < 1.9


def test_longest_chain_first() -> None:
    short, long = generate_job(1, seconds=5), generate_job(2, seconds=4)
    user = follow_job(long)
    ranks = urgency([short, long, user])
    assert ranks[long.id] == 5
    assert ranks[short.id] == 5
    assert ranks[user.id] == 1
    assert [j.id for j in in_order([user, short, long])].index(long.id) < 2


def test_slots_are_bounded_by_the_machine_and_gpus_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= len(slots(Resources("cpu", 64))) <= 64
    assert len(slots(Resources("cpu", 1))) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(JobError, match="h100") as raised:
        slots(Resources("h100", 32))
    assert raised.value.code == "R204"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    found = slots(Resources("h100", 32))
    assert [dict(s.environment)["CUDA_VISIBLE_DEVICES"] for s in found] == ["3", "5"]
