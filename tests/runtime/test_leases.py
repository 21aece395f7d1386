"""Leases: one holder at a time, freed by death or silence."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import orjson
import pytest

from isoloss.runtime.store import leases
from isoloss.runtime.store.leases import Holder, Lease, Leases, process_start, this_process

JOB = "0" * 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_one_holder_at_a_time(folder: Path) -> None:
    first = Leases(folder).acquire(JOB)
    assert isinstance(first, Lease)
    second = Leases(folder).acquire(JOB)
    assert isinstance(second, Holder)
    assert second.pid == os.getpid()
    first.release()
    assert isinstance(Leases(folder).acquire(JOB), Lease)


def test_death_on_this_host_frees_at_once(folder: Path) -> None:
    code = (
        f"import time; from pathlib import Path; from isoloss.runtime.store.leases import Leases\n"
        f"Leases(Path({str(folder)!r})).acquire({JOB!r}); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert isinstance(Leases(folder).acquire(JOB), Holder)
    process.send_signal(signal.SIGKILL)
    # Not waited for: a zombie holds nothing.
    deadline = time.monotonic() + 5
    while isinstance(Leases(folder).acquire(JOB), Holder):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.wait()


def test_a_reused_process_id_is_another_process(folder: Path) -> None:
    other = replace(this_process(), start="1")
    (folder / JOB).write_bytes(orjson.dumps(asdict(other)))
    assert Leases(folder).holder(JOB) is None
    assert isinstance(Leases(folder).acquire(JOB), Lease)


def test_another_host_holds_until_it_is_silent(folder: Path) -> None:
    other = replace(this_process(), host="elsewhere|boot|pid", name="elsewhere")
    path = folder / JOB
    path.write_bytes(orjson.dumps(asdict(other)))
    held = Leases(folder, expiry_seconds=30).acquire(JOB)
    assert isinstance(held, Holder)
    assert held.name == "elsewhere"
    long_ago = time.time() - 31
    os.utime(path, (long_ago, long_ago))
    assert isinstance(Leases(folder, expiry_seconds=30).acquire(JOB), Lease)


def test_a_lease_ahead_of_the_clock_expires_too(folder: Path) -> None:
    """The clock was set back, or a stranger wrote the time."""
    path = folder / JOB
    path.write_bytes(
        orjson.dumps(asdict(replace(this_process(), host="elsewhere|boot|pid", name="elsewhere")))
    )
    ahead = time.time() + 1e6
    os.utime(path, (ahead, ahead))
    assert isinstance(Leases(folder, expiry_seconds=0.2).acquire(JOB), Holder)
    time.sleep(0.3)
    assert isinstance(Leases(folder, expiry_seconds=0.2).acquire(JOB), Lease)


def test_a_sleeper_learns_that_its_lease_is_gone(folder: Path) -> None:
    mine = Leases(folder).acquire(JOB)
    assert isinstance(mine, Lease)
    assert mine.beat()
    (folder / JOB).unlink()
    theirs = Leases(folder).acquire(JOB)
    assert isinstance(theirs, Lease)
    assert not mine.beat()
    mine.release()  # must not take theirs away
    assert theirs.held()


def test_rubbish_is_no_lease(folder: Path) -> None:
    (folder / JOB).write_bytes(b"\x00\x01")
    assert isinstance(Leases(folder).acquire(JOB), Lease)


def test_a_heartbeat_renews(folder: Path) -> None:
    mine = Leases(folder).acquire(JOB)
    assert isinstance(mine, Lease)
    os.utime(folder / JOB, (1.0, 1.0))
    mine.beat()
    assert (folder / JOB).stat().st_mtime > 1e9


def test_process_start() -> None:
    assert process_start(os.getpid()) == process_start(os.getpid()) is not None
    assert process_start(2**22 + 1) is None


def _race(folder: str, barrier: object, wins: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    for n in range(20):
        got = Leases(Path(folder)).acquire(f"{n:020d}")
        if isinstance(got, Lease):
            wins.put(n)  # type: ignore[attr-defined]
    barrier.wait()  # type: ignore[attr-defined]  # nobody dies, and frees, before all have tried


def test_of_many_at_once_one_wins(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, wins = context.Barrier(4), context.Queue()
    # Half of the leases are those of a dead process: the race is also about who may clear them away.
    dead = replace(this_process(), pid=2**22 + 1)
    for n in range(10):
        (folder / f"{n:020d}").write_bytes(orjson.dumps(asdict(dead)))
    racers = [context.Process(target=_race, args=(str(folder), barrier, wins)) for _ in range(4)]
    for racer in racers:
        racer.start()
    won = sorted(wins.get(timeout=20) for _ in range(20))
    for racer in racers:
        racer.join()
    assert won == list(range(20))
    assert wins.empty()
    assert leases.HEARTBEAT_SECONDS * 4 <= leases.EXPIRY_SECONDS
