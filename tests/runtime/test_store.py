"""The store: whole or absent, verified on read, honest about what it can't do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import orjson
import pytest

from isoloss.compiler.plan import Job, Observation
from isoloss.runtime import disk
from isoloss.runtime.errors import JobError
from isoloss.runtime.store import journal
from isoloss.runtime.store.journal import Journal, MetricBuffer
from isoloss.runtime.store.leases import this_process
from isoloss.runtime.store.result import Run
from isoloss.runtime.store.store import Store
from tests.runtime.fakes import generate_job

RUN = Run(seconds=1.5, started=1.0, ended=2.5, device="cpu", threads=1, host="here")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def put(store: Store, job: Job, text: bytes = b"pixels") -> Observation:
    draft = store.begin(job.id)
    (draft / "images.npy").write_bytes(text)
    (draft / "deep").mkdir()
    (draft / "deep" / "labels.npy").write_bytes(b"labels")
    seen = Observation(job.id, job.kind, "images", 10.0)
    store.commit(job, draft, (seen,), RUN)
    return seen


def code_of(action: object) -> str:
    with pytest.raises(JobError) as raised:
        action()  # type: ignore[operator]
    return raised.value.code


def test_a_result_comes_back_as_it_was(store: Store) -> None:
    job = generate_job(1)
    (store.work_folder(job.id) / "checkpoint").write_text("x")
    seen = put(store, job)
    result = Store(store.path, create=False).open_result(job.id)
    assert result.observations == (seen,)
    assert set(result.artefacts) == {"images.npy", "deep/labels.npy"}
    assert result.run == RUN
    assert store.observations() == (seen,)
    assert store.artefact(job.id, "deep/labels.npy").read_bytes() == b"labels"
    assert not (store.path / "work" / job.id).exists(), "checkpoints stay after the result is in"
    assert not list((store.path / "tmp").iterdir())


def test_no_result_is_a_key_error(store: Store) -> None:
    with pytest.raises(KeyError):
        store.open_result(generate_job(1).id)
    put(store, generate_job(1))
    with pytest.raises(KeyError):
        store.artefact(generate_job(1).id, "weights.pt")


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "json", "result"])
def test_a_damaged_result_is_set_aside_and_counts_as_not_done(store: Store, damage: str) -> None:
    job, sound = generate_job(1), generate_job(2)
    put(store, job)
    put(store, sound)
    artefact, result = store.path / job.id / "images.npy", store.path / job.id / "result.json"
    if damage == "flip":
        artefact.write_bytes(b"pixelt")
    elif damage == "cut":
        artefact.write_bytes(b"pix")
    elif damage == "remove":
        artefact.unlink()
    elif damage == "json":
        result.write_bytes(result.read_bytes()[:-30])
    else:
        result.write_bytes(result.read_bytes().replace(b'"value": 10.0', b'"value": 11.0'))
    assert code_of(lambda: store.open_result(job.id)) == "R107"
    assert not store.has(job.id)
    assert list(store.jobs()) == [sound.id]
    events, _ = journal.read(store.path / "journal.jsonl")
    assert [e["job"] for e in events if e["event"] == "damaged"] == [job.id]
    assert len(list((store.path / "damaged").iterdir())) == 1
    put(store, job)  # and it can be made again
    assert store.open_result(job.id)


def test_reading_all_results_leaves_damaged_ones_out(store: Store) -> None:
    jobs = [generate_job(n) for n in range(3)]
    for job in jobs:
        put(store, job)
    (store.path / jobs[1].id / "result.json").write_bytes(b"{}")
    assert {o.job for o in store.observations()} == {jobs[0].id, jobs[2].id}


def test_the_first_of_two_results_stands(store: Store) -> None:
    job = generate_job(1)
    put(store, job, b"first")
    put(store, job, b"second")
    assert store.artefact(job.id, "images.npy").read_bytes() == b"first"
    assert not list((store.path / "tmp").iterdir())


# Folders that are no stores.


def test_the_lease_of_a_dead_worker_is_swept_where_its_result_is_in(store: Store) -> None:
    done, begun = generate_job(1), generate_job(2)
    put(store, done)
    dead = replace(this_process(), start="1")
    for job in (done, begun):
        (store.path / "leases" / job.id).write_bytes(orjson.dumps(asdict(dead)))
    store.sweep()
    assert [path.name for path in (store.path / "leases").glob("[!.]*")] == [begun.id]


def test_what_a_killed_worker_left_beside_its_result_is_swept(store: Store) -> None:
    done, begun = generate_job(1), generate_job(2)
    put(store, done)
    for job in (done, begun):
        (store.work_folder(job.id) / "checkpoint").write_text("x")
        store.begin(job.id)
    lease = store.leases.acquire(done.id)
    store.sweep()
    assert (store.path / "work" / done.id).exists(), "somebody is at it"
    lease.release()  # type: ignore[union-attr]
    store.sweep()
    assert not (store.path / "work" / done.id).exists()
    assert (store.path / "work" / begun.id / "checkpoint").exists()
    assert not list((store.path / "tmp").iterdir())


def test_drafts_of_killed_writers_are_swept_and_of_living_ones_stay(store: Store) -> None:
    old = [
        store.path / ".origin.123.0123abcd", store.path / "leases" / f".{'0' * 20}.12.0123abcd",
        store.path / "leases" / ".now-77", store.path / "plans" / ".x.json.5.0123abcd",
    ]  # fmt: skip
    kept = [
        store.path / "plans" / ".y.json.6.0123abcd",
        store.path / "leases" / ".lock",
        store.path / ".mine",
    ]
    for path in (*old, *kept):
        path.write_text("x")
    for path in (*old, kept[1], kept[2]):
        os.utime(path, (1.0, 1.0))
    store.sweep()
    assert not [path for path in old if path.exists()]
    assert all(path.exists() for path in kept)


def test_nothing_there(tmp_path: Path) -> None:
    assert code_of(lambda: Store(tmp_path / "none", create=False)) == "R101"
    assert not (tmp_path / "none").exists()


def test_a_store_that_another_process_is_making_is_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = Path.iterdir

    def made_meanwhile(path: Path) -> object:
        monkeypatch.undo()
        Store(path)
        return listing(path)

    (tmp_path / "new").mkdir()
    monkeypatch.setattr(Path, "iterdir", made_meanwhile)
    assert Store(tmp_path / "new").id == Store(tmp_path / "new").id


def test_a_users_folder_is_never_taken_for_a_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert code_of(lambda: Store(tmp_path)) == "R102"
    assert code_of(lambda: Store(tmp_path, create=False)) == "R102"
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_and_a_broken_mark(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert code_of(lambda: Store(tmp_path / "file")) == "R102"
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "isoloss.json").write_text("not json")
    assert code_of(lambda: Store(tmp_path / "broken")) == "R102"


def test_a_later_format_is_refused(store: Store) -> None:
    (store.path / "isoloss.json").write_bytes(orjson.dumps({"format": "isoloss.store/9", "id": "x"}))
    assert code_of(lambda: Store(store.path)) == "R108"


def test_measured_and_simulated_do_not_mix(store: Store) -> None:
    store.claim("measured")
    Store(store.path).claim("measured")
    assert code_of(lambda: Store(store.path).claim("simulated")) == "R106"


# Disks that fail. The tests run as root, whom modes don't stop: the system calls are made to fail instead.


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "R103"), (errno.EROFS, "R104"), (errno.EIO, "R105")]
)
def test_any_failing_write_is_a_message_and_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    """Fail the 1st, 2nd, ... write or fsync of a commit: each time the job is absent, then whole."""
    job = generate_job(1)
    (store.work_folder(job.id) / "checkpoint").write_text("kept")
    failures, codes = 0, set()
    for nth in range(100):
        calls = 0

        def failing(real: object, nth: int = nth) -> object:
            def call(*arguments: object) -> object:
                nonlocal calls
                calls += 1
                if calls == nth + 1:
                    raise OSError(number, os.strerror(number))
                return real(*arguments)  # type: ignore[operator]

            return call

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", failing(os.write))
            patch.setattr(os, "fsync", failing(os.fsync))
            try:
                put(store, job)
            except JobError as error:
                failures += 1
                codes.add(error.code)
                # The last fsync comes after the rename: then the result is there, and whole.
                if not store.has(job.id):
                    assert (store.path / "work" / job.id / "checkpoint").read_text() == "kept"
                    continue
        break
    assert failures >= 4
    assert codes == {code}
    assert store.open_result(job.id).observations


def test_a_small_disk(tmp_path: Path) -> None:
    """A real full disk: a tmpfs of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        store = Store(place / "store")
        sound, big = generate_job(1), generate_job(2)
        put(store, sound)
        draft = store.begin(big.id)
        with pytest.raises(OSError, match="No space left"):
            (draft / "images.npy").write_bytes(bytes(1 << 20))
        seen = Observation(big.id, "generate", "images", 1.0)
        assert code_of(lambda: store.commit(big, draft, (seen,), RUN)) == "R103"
        assert not store.has(big.id)
        assert Store(store.path).open_result(sound.id)
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        assert Store(store.path, create=False).open_result(sound.id)
        assert code_of(lambda: store.begin(big.id)) == "R104"
    finally:
        subprocess.run(["umount", str(place)], check=True)


# The journal.


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append({"event": "one"})
    with path.open("ab") as file:
        file.write(b'{"event": "to')  # killed here
    assert [e["event"] for e in journal.read(path)[0]] == ["one"]
    Journal(path).append({"event": "three"})
    events, end = journal.read(path)
    assert [e["event"] for e in events] == ["one", "three"]
    assert end == path.stat().st_size
    assert journal.read(path, end) == ([], end)


def test_the_journal_is_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    writer = Journal(path)
    for n in range(100):
        writer.append({"event": "n", "n": n})
    seen, offset = [], 0
    while True:
        events, end = journal.read(path, offset, limit_bytes=300)
        if end == offset:
            break
        assert len(events) < 12
        seen += [e["n"] for e in events]
        offset = end
    assert seen == list(range(100))


def test_curves_are_buffered_cheap_and_complete(tmp_path: Path) -> None:
    import time

    path = tmp_path / "journal.jsonl"
    log = MetricBuffer(Journal(path), "j")
    count = 20_000
    began = time.process_time()
    for step in range(count):
        log("loss", 0.5, step)
    spent = time.process_time() - began
    log.flush()
    points = [p for e in journal.read(path)[0] for p in e["points"]]
    assert [p[1] for p in points] == list(range(count))
    assert journal.read(path, metrics=False)[0] == []
    # The contract is 10 microseconds; about 1 is usual. Slack for a busy machine.
    assert spent / count < 2e-5


def test_a_full_disk_keeps_the_points_for_the_next_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = MetricBuffer(Journal(tmp_path / "journal.jsonl"), "j")
    log("loss", 1.0, 0)
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "full")

        patch.setattr("isoloss.runtime.store.journal.write_all", full)
        assert code_of(log.flush) == "R103"
    log.flush()
    assert len(journal.read(tmp_path / "journal.jsonl")[0]) == 1


def test_the_store_loads_nothing_heavy() -> None:
    code = (
        "import sys, isoloss.runtime.store.store, isoloss.runtime.executors.local.executor\n"
        "print([m for m in ('torch', 'mlflow', 'deepspeed', 'pydantic', 'numpy') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_replace_leaves_no_drafts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    disk.replace(path, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        disk.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
