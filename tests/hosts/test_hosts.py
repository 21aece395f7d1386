"""Several hosts without a batch system: two namespaces of this machine with a cable between them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isoloss.compiler.plan import Job
from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.base import Event, Outcome, Resources
from isoloss.runtime.executors.devices import slot_on
from isoloss.runtime.executors.hosts import executor as hosts_module
from isoloss.runtime.executors.hosts.executor import Entry, HostsExecutor, read_hosts
from isoloss.runtime.store import journal
from isoloss.runtime.store.store import Store
from isoloss.runtime.worker.worker import versions
from tests.faults.disturbed import PAIR, Run, check_equal
from tests.hosts import network
from tests.hosts.network import ADDRESSES, Network
from tests.runtime.fakes import FUNCTIONS, follow_job, generate_job, train_job
from tests.runtime.training_specs import train_spec

ROOT = Path(__file__).parents[2]
HERE, THERE = ADDRESSES
needs_hosts = pytest.mark.skipif(network.missing() is not None, reason=f"no hosts: {network.missing()}")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network.two_hosts(tmp_path_factory.mktemp("network")) as made:
        yield made


@pytest.fixture
def _reachable(hosts: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOLOSS_SSH", str(hosts.ssh))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def executor(*slots: int, **more: Any) -> HostsExecutor:
    """So many slots on the first and on the second host."""
    entries = [Entry(address, count) for address, count in zip(ADDRESSES, slots, strict=True) if count]
    settings: dict[str, Any] = {
        "functions": FUNCTIONS,
        "preload": ("tests.runtime.fakes",),
        "grace_seconds": 5,
    }
    return HostsExecutor(entries, Resources("cpu", 8), **(settings | more))


def run(jobs: list[Job], store: Store, executor: HostsExecutor) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    try:
        return executor.run(jobs, store, "study", events.append), events
    finally:
        executor.close()


def where(store: Store, job: Job) -> str:
    return store.open_result(job.id).run.host


def soon(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@needs_hosts
@pytest.mark.usefixtures("_reachable")
def test_jobs_spread_over_hosts(store: Store) -> None:
    jobs = [generate_job(n, behaviour="sleep:0.5") for n in range(4)]
    last = follow_job(*jobs)
    outcome, events = run([last, *jobs], store, executor(1, 1))
    assert outcome.done == {last.id, *(job.id for job in jobs)}
    assert {where(store, job) for job in jobs} == {f"host-{HERE}", f"host-{THERE}"}
    assert {e.text for e in events if e.what == "started"} == {f"{HERE} cpu", f"{THERE} cpu"}
    assert store.open_result(last.id).observations[0].value == 6.0


@needs_hosts
@pytest.mark.usefixtures("_reachable")
def test_two_hosts_share_a_training(store: Store) -> None:
    job = train_job(train_spec(50, 32))
    pair = {
        "functions": {"train": "tests.runtime.pair:run"},
        "preload": ("tests.runtime.pair",),
        "processes": 2,
    }
    outcome, events = run([job], store, executor(1, 1, **pair))
    assert outcome.done == {job.id}
    assert [e.text for e in events if e.what == "started"] == [f"{HERE} cpu, {THERE} cpu"]
    assert store.open_result(job.id).run.world_size == 2


@needs_hosts
@pytest.mark.usefixtures("_reachable")
def test_a_host_that_dies_leaves_its_jobs_to_the_others(store: Store, hosts: Network) -> None:
    slow = [generate_job(n, behaviour="steps:150") for n in range(2)]
    quick = [generate_job(n) for n in range(2, 8)]

    def catastrophe() -> None:
        saved = [store.path / "work" / job.id / "step" for job in slow]
        soon(lambda: all(path.exists() and int(path.read_text()) > 20 for path in saved))
        hosts.cut_the_power(THERE)
        # A minute of silence, in an instant: the other host's heartbeats go on.
        lost = next(p for p in (store.path / "leases").glob("[0-9a-f]*") if f"host-{THERE}" in p.read_text())
        os.utime(lost, (time.time() - 61, time.time() - 61))

    thread = threading.Thread(target=catastrophe)
    thread.start()
    outcome, events = run([*slow, *quick], store, executor(1, 1))
    thread.join()
    assert outcome.done == {job.id for job in (*slow, *quick)}
    assert [THERE in e.text for e in events if e.what == "lost"] == [True]
    assert {where(store, job) for job in slow} == {f"host-{HERE}"}
    points = [
        p[1]
        for e in journal.read(store.path / "journal.jsonl")[0]
        if e["event"] == "metrics" and e["job"] in {job.id for job in slow}
        for p in e["points"]
        if p[0] == "step"
    ]
    assert sorted(set(points)) == list(range(150))
    assert sorted(store.open_result(job.id).run.attempts for job in slow) == [1, 2]


@needs_hosts
@pytest.mark.usefixtures("_reachable")
def test_the_last_host_dies(store: Store, hosts: Network) -> None:
    job = generate_job(1, behaviour="steps:3000")

    def catastrophe() -> None:
        soon((store.path / "work" / job.id / "step").exists)
        hosts.cut_the_power(HERE)

    threading.Thread(target=catastrophe).start()
    with pytest.raises(JobError, match="the last one, went away") as caught:
        run([job], store, executor(1, 0))
    assert caught.value.code == "R215"


@needs_hosts
@pytest.mark.usefixtures("_reachable")
def test_a_host_that_cannot_be_used_is_left_out(store: Store, tmp_path: Path) -> None:
    job = generate_job(1)
    entries = [Entry("192.0.2.77", 2), Entry(HERE, 1)]
    outcome, events = run(
        [job], store, HostsExecutor(entries, Resources("cpu", 8), FUNCTIONS, ("tests.runtime.fakes",))
    )
    assert outcome.done == {job.id}
    assert [
        "host 192.0.2.77 is left out: it can't be reached" in e.text for e in events if e.what == "lost"
    ] == [True]
    with pytest.raises(JobError, match="none of the hosts can be used") as caught:
        run([job], Store(tmp_path / "other"), HostsExecutor(entries[:1], Resources("cpu", 8), FUNCTIONS, ()))
    assert caught.value.code == "R215"
    assert "192.0.2.77" in caught.value.help[0]


def test_this_machine_needs_no_ssh(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOLOSS_SSH", "false")
    job = generate_job(1)
    entries = [Entry("localhost", 2)]
    outcome, _ = run(
        [job], store, HostsExecutor(entries, Resources("cpu", 8), FUNCTIONS, ("tests.runtime.fakes",))
    )
    assert outcome.done == {job.id}


def reach_by(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands for ssh: called as `ssh HOST SHELL-LINE`."""
    ssh = folder / "ssh"
    ssh.write_text(f"#!/bin/sh\n{script}\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("ISOLOSS_SSH", str(ssh))


def test_a_host_without_the_store_says_so(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another host's /tmp is not ours: here the remote shell moves the store away first."""
    reach_by(f'mv "{store.path}" "{store.path}.elsewhere"; exec sh -c "$2"', tmp_path, monkeypatch)
    (tmp_path / "log").mkdir()
    with pytest.raises(JobError) as caught:
        run([generate_job(1)], store, HostsExecutor([Entry("far", 1)], Resources("cpu", 1), FUNCTIONS, ()))
    assert "no store at" in caught.value.help[0]


def test_what_a_worker_needs_is_passed_on_and_no_password(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands on a command line is seen by every user of both hosts."""
    reach_by(f'printf %s "$2" >"{tmp_path}/line"; exec sh -c "$2"', tmp_path, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:secret@host/db")
    monkeypatch.setenv("NCCL_DEBUG", "WARN")
    job = generate_job(1)
    far = HostsExecutor([Entry("far", 1)], Resources("cpu", 1), FUNCTIONS, ("tests.runtime.fakes",))
    assert run([job], store, far)[0].done == {job.id}
    line = (tmp_path / "line").read_text()
    assert "NCCL_DEBUG=WARN" in line
    assert "secret" not in line


def test_a_host_with_other_versions_cannot_be_used() -> None:
    slot = slot_on("cpu", 0)

    def said(versions: dict[str, str]) -> str:
        return hosts_module._problem({"problem": "", "gpus": 0, "versions": versions}, 1, slot)

    ours = versions()
    assert said(ours) == ""
    assert f"numpy 0.1, here {ours['numpy']}" in said({**ours, "numpy": "0.1"})
    assert f"torch none, here {ours['torch']}" in said({k: v for k, v in ours.items() if k != "torch"})
    assert "extra 1.0, here none" in said({**ours, "extra": "1.0"})


@needs_hosts
@pytest.mark.slow
def test_a_real_training_over_two_hosts_has_the_bits_of_one_host(tmp_path: Path, hosts: Network) -> None:
    """DeepSpeed, gloo over the cable, all through the command line."""
    file = tmp_path / "hosts.txt"
    file.write_text(f"# two of them\n{HERE} slots=1\n{THERE} slots=1\n")
    environment = {"ISOLOSS_SSH": str(hosts.ssh), "PYTHONPATH": str(ROOT)}
    spread = Run(tmp_path / "spread", (*PAIR, "--hosts", str(file)), environment)
    soon(
        lambda: (tmp_path / "spread" / "work").exists() and any((tmp_path / "spread" / "work").iterdir()), 60
    )
    spread.kill_all()  # the front door is killed: nothing is left running on any host
    spread = Run(tmp_path / "spread", (*PAIR, "--hosts", str(file)), environment)
    assert spread.wait() == 0, spread.said
    together = Run(tmp_path / "together", PAIR)
    assert together.wait() == 0, together.said
    check_equal(spread.store, together.store)
    found = [r for r in Store(spread.store).results() if r.kind == "train"]
    assert {r.run.world_size for r in found} == {2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("node1: 4\n", "line 1: `node1: 4` names no host"),
        ("# none\n\n", "names no host"),
        ("a slots=1\nb slots=0\n", "line 2: `b slots=0`"),
        ("a slots=1\n-oProxyCommand=x slots=1\n", "line 2"),
        ("a slots=1\na slots=2\n", "`a` stands there twice"),
    ],
)
def test_host_files_with_mistakes(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(text)
    with pytest.raises(JobError) as caught:
        read_hosts(path)
    assert caught.value.code == "R214"
    assert said in caught.value.message


def test_host_files(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("worker-1 slots=4  # two sockets\n\n10.0.0.7   slots = 8\n")
    assert read_hosts(path) == (Entry("worker-1", 4), Entry("10.0.0.7", 8))
    with pytest.raises(JobError, match="can't be read"):
        read_hosts(tmp_path / "nowhere")


def test_host_files_as_deepspeed_and_open_mpi_write_them(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(
        "\ufeffme@worker-1 slots=4 max_slots=8\nworker-2\nworker-3 max-slots=2\nworker-2\n", encoding="utf-8"
    )
    assert read_hosts(path) == (Entry("me@worker-1", 4), Entry("worker-2", 2), Entry("worker-3", 1))


@pytest.mark.parametrize(
    "text",
    [
        "worker slots=٤",
        "worker slots=4 max_slots=2",
        "-oProxyCommand=x slots=1",
        "a@-b",
        "w slots=0",
        "w\nw slots=2",
    ],
)
def test_what_is_no_host_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(JobError) as caught:
        read_hosts(path)
    assert caught.value.code == "R214"
