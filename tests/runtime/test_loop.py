"""The compile-run loop, with a small compiler of our own: two jobs, then one that the first two ask for."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.plan import (
    FORMAT,
    Answer,
    Basis,
    DeviceProfile,
    Job,
    Observation,
    Origin,
    Plan,
    Range,
)
from isoloss.dsl.study.study import Budget, Call, Devices, Study
from isoloss.errors import FINE, INTERRUPTED, JOB_FAILED
from isoloss.loop import Ended, run_study
from isoloss.plans.store_state import store_state
from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.base import Resources
from isoloss.runtime.executors.local.executor import LocalExecutor
from isoloss.runtime.executors.simulate.executor import SimulateExecutor
from isoloss.runtime.store import journal
from isoloss.runtime.store.store import Store
from isoloss.screens import summary
from isoloss.screens.progress import Progress
from isoloss.screens.status_screen import status_lines
from tests.runtime.fakes import FUNCTIONS, follow_job, generate_job

STUDY = Study(
    "small",
    Call("digits"),
    (),
    (),
    (),
    (),
    Budget(None, Devices(2, "cpu"), None, None, None, "USD", None, "all"),
    (),
    (),
    (),
)


FORECAST = Range(2.0, 3.0, 4.0)
BASIS = Basis("0", {}, {}, BUILT_IN["cpu"])


class FakeCompiler:
    """Pure, like the real one. The third job appears once the first two are measured."""

    def __init__(self, first: Job, second: Job, behaviour: str = "", forecast: Range = FORECAST) -> None:
        self.first, self.second, self.behaviour, self.forecast = first, second, behaviour, forecast
        self.calls = 0

    def __call__(
        self, study: Study, observations: Sequence[Observation], profile: DeviceProfile
    ) -> tuple[Plan, list[Any]]:
        self.calls += 1
        measured = {o.job: o.value for o in observations}
        jobs = [self.first, self.second]
        answers = []
        if all(job.id in measured for job in jobs):
            third = follow_job(self.first, self.second, behaviour=self.behaviour)
            jobs.append(third)
            value = measured.get(third.id)
            found = {} if value is None else {"loss": Range(value, value, value)}
            answers.append(
                Answer(
                    "check",
                    "allocate",
                    "answered",
                    ("law",),
                    {"loss": self.forecast},
                    (),
                    Origin(),
                    third.id,
                    found,
                )
            )
        states = [replace(j, state="done" if j.id in measured else "ready") for j in jobs]
        done = sum(j.id in measured for j in jobs)
        return Plan(FORMAT, {}, "d" * 64, done, {}, tuple(answers), tuple(states), (), {}, {}, (), BASIS), []


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def executions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "executions"
    folder.mkdir()
    monkeypatch.setenv("FAKE_EXECUTIONS", str(folder))
    return folder  # type: ignore[return-value]


def local(study: Study) -> LocalExecutor:
    return LocalExecutor(Resources("cpu", 2), FUNCTIONS, preload=("tests.runtime.fakes",), grace_seconds=5)


def run(store: Store, compiler: FakeCompiler) -> Ended:
    with open("/dev/null", "w") as nowhere:
        return run_study(STUDY, store, local, compiler=compiler, progress=Progress(out=nowhere))


def test_runs_to_the_fixed_point_and_then_not_again(store: Store, executions: Path) -> None:
    compiler = FakeCompiler(generate_job(1), generate_job(2))
    ended = run(store, compiler)
    assert ended.exit_code == FINE
    assert ended.ran == 3
    assert [s.inside for s in ended.scores] == [True]
    assert len(list(executions.iterdir())) == 3
    size = (store.path / "journal.jsonl").stat().st_size
    again = run(store, compiler)
    assert again.ran == 0
    assert again.exit_code == FINE
    assert len(list(executions.iterdir())) == 3
    assert (store.path / "journal.jsonl").stat().st_size == size
    text = summary.text(again, None, "")
    assert "nothing to run: all 3 jobs have a result" in text
    assert "inside the interval" in text


def test_the_forecast_is_written_before_its_job_starts(store: Store) -> None:
    ended = run(store, FakeCompiler(generate_job(1), generate_job(2)))
    lines, _ = journal.read(store.path / "forecasts.jsonl")
    events, _ = journal.read(store.path / "journal.jsonl")
    third = ended.plan.jobs[2].id
    started = next(e["time"] for e in events if e.get("job") == third and e.get("state") == "started")
    assert [e["event"] for e in lines] == ["forecast", "score"]
    assert lines[0]["time"] <= started <= lines[1]["time"]
    assert lines[0]["job"] == third


def test_a_forecast_that_failed_is_told(store: Store) -> None:
    ended = run(store, FakeCompiler(generate_job(1), generate_job(2), forecast=Range(9.0, 9.5, 10.0)))
    assert [s.inside for s in ended.scores] == [False]
    assert "OUTSIDE the interval" in summary.text(ended, None, "")
    data = orjson.loads(orjson.dumps(summary.as_data(ended, None, "")))
    assert data["checks"][0]["inside"] is False


def test_a_failure_ends_the_study_with_3_and_the_rest_done(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    compiler = FakeCompiler(generate_job(1, behaviour="error"), generate_job(2))
    ended = run_study(STUDY, store, local, compiler=compiler)
    assert ended.exit_code == JOB_FAILED
    assert ended.store.has(generate_job(2).id)
    said = capsys.readouterr().err
    assert "error[R301]: `generate 1`: the loss is not a number at step 7" in said
    assert "--> a.study:3:1" in said
    assert "help: lower `lr`" in said
    found = store_state(store)
    assert found["counts"] == {"done": 1, "running": 0, "failed": 1, "stopped": 0, "waiting": 0}
    assert found["studies"][0]["state"] == "failed"


def test_a_damaged_input_is_made_again(store: Store, executions: Path) -> None:
    first, second = generate_job(1), generate_job(2)
    compiler = FakeCompiler(first, second, behaviour="error")
    run(store, compiler)
    (store.path / first.id / "images.npy").write_bytes(b"9" * 100)
    ended = run(store, FakeCompiler(first, second))
    assert ended.exit_code == FINE
    assert store.open_result(ended.plan.jobs[2].id).observations[0].value == 3.0
    assert len(list(executions.glob(f"{first.id}*"))) == 2
    assert len(list(executions.glob(f"{second.id}*"))) == 1


def test_simulated_results_are_flagged_and_kept_apart(store: Store) -> None:
    def draw(job: Job, known: Any) -> tuple[Observation, ...]:
        return (Observation(job.id, job.kind, "fid @ pixels", 3.0),)

    compiler = FakeCompiler(generate_job(1), generate_job(2))
    ended = run_study(STUDY, store, lambda study: SimulateExecutor(draw), compiler=compiler)
    assert ended.exit_code == FINE
    assert all(o.flags == ("simulated",) for o in store.observations())
    with pytest.raises(JobError) as raised:
        run(store, compiler)
    assert raised.value.code == "R106"


def test_an_interrupt_stops_the_loop(store: Store) -> None:
    import os
    import signal

    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    ended = run(store, FakeCompiler(generate_job(1, behaviour="steps:1000"), generate_job(2)))
    assert ended.exit_code == INTERRUPTED
    assert "the same command goes on from here" in summary.text(ended, None, "")
    assert store_state(store)["counts"]["stopped"] == 1


def test_status_shows_how_far_running_jobs_are(store: Store) -> None:
    """Whoever runs them: this process only reads the store."""
    compiler = FakeCompiler(generate_job(1, behaviour="sleep:6"), generate_job(2))
    thread = threading.Thread(target=run, args=(store, compiler))
    thread.start()
    job = compiler.first.id
    deadline = time.monotonic() + 20
    while store_state(store)["jobs"].get(job, {}).get("fraction", 0) < 0.25:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    found = store_state(store)["jobs"][job]
    assert found["state"] == "running"
    assert 1 < found["seconds"] < 10
    assert 0 < found["seconds_left"] < 20
    lines = list(status_lines(store_state(store)))
    assert any(
        re.search(r"running  generate 1  \d\d%  [\d.]+ s so far  about [\d.]+ s left  planned 1 s", x)
        for x in lines
    )
    thread.join()
    lines = list(status_lines(store_state(store)))
    assert any(re.match(r" +generate +2 .* [+-]\d+% +\d of 2 \(\d+%\)", line) for line in lines)
