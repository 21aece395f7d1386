"""A real study, killed at random instants: what tests/faults/test_studies.py and benchmarks/faults.py share.

In: a store's path, a way to kill, luck. Out: how many kills it took, and assertions that nothing shows."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psutil

from isoloss.plans.store_state import store_state
from isoloss.runtime.store import journal
from isoloss.runtime.store.leases import process_start
from isoloss.runtime.store.result import Result
from isoloss.runtime.store.store import Store

ROOT = Path(__file__).parents[2]
STUDY = Path(__file__).with_name("tiny.study")
#: Two processes per training; fewer steps and sums, since a step is dozens of them over loopback.
PAIR = (
    "--processes", "2",
    "--set", "grid.runs.model=[cnn(1)]",
    "--set", "grid.runs.images=[1k, 2k]",
    "--set", "recipe.robustly.batchnorm=batchnorm(attack = eval)",
)  # fmt: skip
#: The mark by which processes of a run are found, parents dead or alive.
_MARK = "ISOLOSS_TEST_RUN"
#: A round with more kills than this would only be one that never ends.
KILLS_PER_ROUND = 12


@dataclass
class Run:
    """One `isoloss run` of the study, as a process."""

    store: Path
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    tracking: bool = False
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        self.mark = uuid.uuid4().hex
        command = [sys.executable, "-m", "tests.faults.cli", "run", str(STUDY), "--store", str(self.store)]
        self.output = self.store.parent / f"{self.store.name}.{self.mark[:6]}.txt"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *([] if self.tracking else ["--no-tracking"]), *self.options],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1", **self.environment, _MARK: self.mark},
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                preexec_fn=None if self.memory_bytes is None else self._limit,
            )

    def _limit(self) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (self.memory_bytes, self.memory_bytes))

    def wait(self, seconds: float = 240) -> int:
        return self.process.wait(seconds)

    @property
    def over(self) -> bool:
        return self.process.poll() is not None

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def workers(self) -> list[psutil.Process]:
        """Processes at work on jobs: the fork server's children."""
        with suppress(psutil.NoSuchProcess):
            if (fork_server := self._fork_server()) is not None:
                return list(fork_server.children())
        return []

    def _fork_server(self) -> psutil.Process | None:
        for child in psutil.Process(self.process.pid).children():
            if "isoloss.runtime.executors.processes.fork_server" in " ".join(child.cmdline()):
                return child
        return None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No job goes on meanwhile; the front door and its mirror do."""
        fork_server = self._fork_server()
        assert fork_server is not None, self.said
        stopped = [fork_server, *fork_server.children(recursive=True)]
        for process in stopped:
            process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                process.resume()

    def alive(self) -> list[int]:
        """Every process of this run, also those whose parents are dead."""
        found = []
        for pid in psutil.pids():
            with suppress(OSError):
                if f"{_MARK}={self.mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes():
                    found.append(pid)
        return found

    def kill_all(self) -> None:
        """SIGKILL for the front door; everything else has to notice by itself, within seconds."""
        # A process that ends loses its environment, by which `alive` knows it, before it is gone.
        began = {pid: process_start(pid) for pid in self.alive()}
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + 5
        while left := {*self.alive(), *(pid for pid, at in began.items() if at and process_start(pid) == at)}:
            assert time.monotonic() < deadline, f"outlived its run: {left}"
            time.sleep(0.02)


Kill = Callable[[Run, random.Random], bool]


def kill_a_worker(run: Run, luck: random.Random) -> bool:
    """Any process that works on a job. False: there was none."""
    workers = run.workers()
    if workers:
        with suppress(psutil.NoSuchProcess):
            luck.choice(workers).kill()
            return True
    return False


def kill_a_rank(run: Run, luck: random.Random) -> bool:
    """One process of a job that several share."""
    by_log: dict[str, list[psutil.Process]] = {}
    for worker in run.workers():
        with suppress(OSError):
            # A worker's output goes to its job's log: <job>.log, <job>.rank1.log.
            job = Path(f"/proc/{worker.pid}/fd/1").readlink().name.partition(".")[0]
            by_log.setdefault(job, []).append(worker)
    ranks = [worker for rank_group in by_log.values() if len(rank_group) > 1 for worker in rank_group]
    if ranks:
        with suppress(psutil.NoSuchProcess):
            luck.choice(ranks).kill()
            return True
    return False


def kill_the_tree(run: Run, luck: random.Random) -> bool:
    if not run.workers() and luck.random() < 0.9:
        return False  # mostly while it works; now and then while it starts
    run.kill_all()
    return True


def disturb(
    folder: Path,
    undisturbed: Path,
    kill: Kill,
    kills: int,
    luck: random.Random,
    options: tuple[str, ...] = (),
    pause: float = 0.8,
) -> Iterator[Path]:
    """Run the study again and again, in a new store each time, until so many kills have hit. Each run is brought to
    its end and compared; yields its store."""
    count = rounds = 0
    while count < kills:
        path = folder / f"round{rounds}"
        count += one_round(path, kill, min(KILLS_PER_ROUND, kills - count), luck, options, pause)
        check_equal(path, undisturbed)
        rounds += 1
        assert rounds < 10 + kills, "kills don't hit"
        yield path


def one_round(
    path: Path, kill: Kill, kills: int, luck: random.Random, options: tuple[str, ...] = (), pause: float = 0.8
) -> int:
    """One study to its end, started again where it ends or is ended; looked at after each kill. Returns how many
    kills hit, at most `kills`."""
    count = 0
    while True:
        run = Run(path, options)
        while not run.over:
            time.sleep(luck.uniform(0, 2 * pause))
            if count < kills and not run.over and kill(run, luck):
                count += 1
                check_whole(path)
        if run.process.returncode == 0:
            return count
        # 3: a job was killed three times without a checkpoint between; -9: the tree was.
        assert run.process.returncode in (3, -signal.SIGKILL), run.said
        assert "Traceback" not in run.said
        if run.process.returncode != 3:
            check_nobody_runs(path)


def check_whole(path: Path) -> None:
    """At any instant: every result is whole, and no job is worked on by two."""
    if not (path / "isoloss.json").exists():
        return
    store = Store(path, create=False)
    for job in store.jobs():
        store.open_result(job)
    began: dict[str, list[int]] = {}
    for event in job_events(store):
        if event["state"] == "started":
            began.setdefault(event["job"], []).append(event["pid"])
    for job, pids in began.items():
        assert sum(process_start(pid) is not None for pid in set(pids)) <= 1, f"{job} is run twice"


def check_nobody_runs(path: Path) -> None:
    """After the death of a whole run: nothing is said to be running."""
    if (path / "isoloss.json").exists():
        assert store_state(Store(path, create=False))["counts"]["running"] == 0


def check_equal(path: Path, undisturbed: Path) -> None:
    """At the end: the bits of an undisturbed run, and nothing left over."""
    store, other = Store(path, create=False), Store(undisturbed, create=False)
    assert list(store.jobs()) == list(other.jobs())
    for job in store.jobs():
        check_same_result(store.open_result(job), other.open_result(job))
    events = job_events(store)
    assert Counter(e["job"] for e in events if e["state"] == "finished") == Counter(list(store.jobs()))
    last = {e["job"]: e["state"] for e in events}
    assert set(last.values()) == {"finished"}
    found = store_state(store)
    assert found["counts"]["done"] == len(list(store.jobs())) == len(found["jobs"])
    assert {study["state"] for study in found["studies"]} == {"finished"}
    for folder in ("work", "damaged", "tmp"):
        assert not list((path / folder).iterdir()), folder
    assert not [p for p in (path / "leases").iterdir() if not p.name.startswith(".")]
    for job in store.jobs():
        assert curve(store, job) == curve(other, job), "a point was lost, or is another"


def check_same_result(found: Result, expected: Result) -> None:
    """Observations and artefacts, wall seconds aside; and of trainings the ledger."""
    assert observed(found) == observed(expected)
    assert set(found.artefacts) == set(expected.artefacts)
    for name, (_, digest) in found.artefacts.items():
        if name == "curve.json":
            ours, theirs = (training_curve(result) for result in (found, expected))
            assert ours == theirs
            for ledger in ours["ledgers"]:
                assert (ledger["twice"], ledger["missed"]) == (0, 0)
                assert ledger["drawn"] == found.spec["train_steps"] * found.spec["recipe"]["batch"]
        else:
            assert digest == expected.artefacts[name][1], f"{name} of {found.name}"


def observed(result: Result) -> list[dict[str, Any]]:
    """What the job measured, without how long it took. Nor what the plan of that moment knew of the generator
    (`fid`): a plan made after a kill knows more than the first."""
    rows = [asdict(o) for o in result.observations if o.metric != "images per second"]
    return [{k: v for k, v in row.items() if k not in ("seconds", "fid")} for row in rows]


def training_curve(result: Result) -> dict[str, Any]:
    data: dict[str, Any] = orjson.loads((result.folder / "curve.json").read_bytes())
    for row in data["evaluations"]:
        del row["seconds"]
    return {k: v for k, v in data.items() if k not in ("seconds", "images_per_second", "waited_seconds")}


def job_events(store: Store) -> list[dict[str, Any]]:
    return [e for e in journal.read(store.path / "journal.jsonl")[0] if e.get("event") == "job"]


def curve(store: Store, job: str) -> set[tuple[str, int, float]]:
    """The points in the journal: what MLflow is told. Steps after a checkpoint come twice, with equal values."""
    return set(_points(store, job))


def _points(store: Store, job: str) -> Iterator[tuple[str, int, float]]:
    for event in journal.read(store.path / "journal.jsonl")[0]:
        if event.get("event") == "metrics" and event["job"] == job:
            yield from ((metric, step, value) for metric, step, value, _ in event["points"])
