"""MLflow's database is whole or absent: kills, full disks, crowds at its first start; damage; recovery."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from isoloss.runtime.store.store import Store
from isoloss.runtime.tracking import database
from isoloss.runtime.tracking.database import Unusable, make_ready
from isoloss.runtime.tracking.mirror import Mirror
from isoloss.runtime.tracking.tracker import Tracker, behind
from tests.runtime.fakes import generate_job
from tests.runtime.test_tracking import begin, finish, job_note, note, runs


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BEING_MADE_SECONDS", 0.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A fresh database: MLflow takes seconds to make one."""
    file = tmp_path_factory.mktemp("made") / "mlflow.db"
    assert make_ready(f"sqlite:///{file}", ours=True)
    return file.read_bytes()


def told(store: Store, number: int) -> None:
    job = generate_job(number)
    begin(store, job)
    job_note(store, job, "started")
    finish(store, job)


def has_all(store: Store, uri: str) -> bool:
    return not behind(store, uri) and len(runs(store, uri)) == 2


def half_made(made: bytes, file: Path) -> None:
    """As a kill between a migration's statements leaves it: a table of a later revision than the one noted."""
    file.write_bytes(made)
    with closing(sqlite3.connect(file)) as opened:
        opened.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        opened.execute("DROP TABLE webhooks")
        opened.commit()


def test_a_half_made_database_is_set_aside_and_everything_told_anew(made: bytes, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    uri, file = f"sqlite:///{store.path}/mlflow.db", store.path / "mlflow.db"
    file.write_bytes(made)
    told(store, 1)
    Mirror(store, uri).catch_up()
    assert has_all(store, uri)
    half_made(made, file)
    assert make_ready(uri, ours=True)
    assert not make_ready(uri, ours=True)
    assert len(list(store.path.glob("mlflow.db.damaged-*"))) == 1
    assert not list(store.path.glob(".mlflow.db.draft-*"))


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_one_is_recovered_by_the_next_run(damage: str, made: bytes, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    uri, file = f"sqlite:///{store.path}/mlflow.db", store.path / "mlflow.db"
    file.write_bytes(made)
    told(store, 2)
    assert Tracker(store, uri).finish() == ""
    data = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(
            {
                "flipped": data[: len(data) // 3] + b"\xff" * 9000 + data[len(data) // 3 + 9000 :],
                "cut": data[: len(data) // 2],
            }[damage]
        )
    os.utime(file.parent)
    if file.exists():
        os.utime(file, (time.time() - 60, time.time() - 60))
    job_note(store, generate_job(3), "started")
    assert Tracker(store, uri).finish() == ""
    # Another process: MLflow keeps connections to the file that was there.
    check = (
        "import sys; from mlflow.tracking import MlflowClient; c = MlflowClient(tracking_uri=sys.argv[1]);"
        "print(len(c.search_runs([e.experiment_id for e in c.search_experiments()])))"
    )
    said = subprocess.run(
        [sys.executable, "-c", check, uri], capture_output=True, text=True, check=True, timeout=120
    )
    assert said.stdout.strip().splitlines()[-1] == "3", "the study and both jobs"


def test_a_kill_in_the_first_start_leaves_nothing_half(tmp_path: Path) -> None:
    """Killed at three instants while the draft is there; then started again, which tells everything."""
    store = Store(tmp_path / "store")
    uri = f"sqlite:///{store.path}/mlflow.db"
    told(store, 4)
    for pause in (0.0, 0.3, 0.9):
        tracker = Tracker(store, uri)
        process = tracker._process
        assert process is not None
        deadline = time.monotonic() + 120
        while not list(store.path.glob(".mlflow.db.draft-*")) and not (store.path / "mlflow.db").exists():
            assert process.poll() is None, (store.path / "logs" / "tracking.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        tracker.abandon()
        file = store.path / "mlflow.db"
        assert not file.exists() or database._whole(file)
    assert Tracker(store, uri).finish(120) == ""
    assert has_all(store, uri)
    assert not list(store.path.glob("*damaged-*"))
    assert not list(store.path.glob(".mlflow.db.draft-*"))


def test_three_stores_start_together_on_one_fresh_database(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/shared.db"
    stores = [Store(tmp_path / f"store{n}") for n in range(3)]
    for number, store in enumerate(stores):
        told(store, 10 + number)
    trackers = [Tracker(store, uri) for store in stores]
    assert [tracker.finish(180) for tracker in trackers] == ["", "", ""]
    assert all(has_all(store, uri) for store in stores)
    assert not list(tmp_path.glob("*damaged*"))


def test_a_full_disk_sets_nothing_aside(made: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mlflow.db"
    half_made(made, file)
    before = file.read_bytes()

    def full(self: object, draft: Path) -> None:
        raise Unusable("database or disk is full")

    monkeypatch.setattr(database._Making, "_build", full)
    with pytest.raises(Unusable, match="disk is full"):
        make_ready(f"sqlite:///{file}", ours=True)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "lock" not in path.name] == ["mlflow.db"]


def test_a_file_of_the_users_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("remember the milk")
    with pytest.raises(Unusable, match="no SQLite database"):
        make_ready(f"sqlite:///{file}", ours=False)
    assert file.read_text() == "remember the milk"


@pytest.mark.parametrize("how", ["moved", "copied", "planted"])
def test_artefacts_lie_below_the_store_wherever_it_is(how: str, made: bytes, tmp_path: Path) -> None:
    """Nothing is written where the store was, nor where a stranger's rows point."""
    first, elsewhere = Store(tmp_path / "first"), tmp_path / "elsewhere"
    (first.path / "mlflow.db").write_bytes(made)
    told(first, 20)
    # In a process of its own: MLflow remembers where a run's artefacts are.
    assert Tracker(first, f"sqlite:///{first.path}/mlflow.db").finish() == ""
    if how == "moved":
        first.path.rename(elsewhere)
    elif how == "copied":
        shutil.copytree(first.path, elsewhere)
    else:
        shutil.copytree(first.path, elsewhere)
        with closing(sqlite3.connect(elsewhere / "mlflow.db")) as opened:
            opened.execute("UPDATE runs SET artifact_uri = ?", (f"{first.path.as_uri()}/../planted",))
            opened.execute("UPDATE experiments SET artifact_location = ?", (str(tmp_path / "planted"),))
            opened.commit()
    before = [(str(path), path.stat().st_mtime_ns) for path in sorted(first.path.rglob("*"))]
    second = Store(elsewhere)
    uri = f"sqlite:///{second.path}/mlflow.db"
    (second.path / "report.html").write_text("a page")
    (tmp_path / "secret").write_text("secret")
    for path in ("report.html", str(tmp_path / "secret"), "../secret"):
        note(second, "file", path=path)
    told(second, 21)
    follower = Mirror(second, uri)
    follower.catch_up()
    assert len([line for line in follower.refused if "R110" in line or "outside" in line]) == 2
    assert [(str(path), path.stat().st_mtime_ns) for path in sorted(first.path.rglob("*"))] == before
    assert not (tmp_path / "planted").exists()
    for run in runs(second, uri).values():
        assert run.info.artifact_uri.startswith(f"{second.path.as_uri()}/mlruns/")
        assert Path(run.info.artifact_uri.removeprefix("file://")).is_dir()
    assert len(list(second.path.glob("mlruns/*/artifacts/report.html"))) == 1
    assert not list(second.path.rglob("secret"))
