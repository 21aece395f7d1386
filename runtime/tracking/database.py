"""MLflow's database, whole or absent: made under another name and renamed once it is whole.

In: a tracking URI. Out: where it names an SQLite file, that file, of the schema that this MLflow wants. One that a
killed migration left half made, or that is damaged, is set aside beside it; the mirror then tells everything anew.

MLflow migrates in place, one statement at a time: a kill, a full disk or a second process in the first start leave a
database that no later start can use. Loads mlflow; runs only in the tracking process."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from isoloss.runtime import disk
from isoloss.runtime.errors import first_line

#: A database that is not whole and was written this lately may be another program's that is making it.
_BEING_MADE_SECONDS = 10.0
_LOOK_SECONDS = 0.2
#: Files in which SQLite keeps what is on its way into a database. One that outlives its database would be played into
#: the next of that name.
_COMPANIONS = ("-journal", "-wal", "-shm")


class Unusable(Exception):  # noqa: N818 - a state of the world
    """The database can't be made, or is not ours to mend. The message says why."""


class _HalfMade(Unusable):
    """MLflow can't go on from what is in the file."""


def database_file(uri: str) -> Path | None:
    """The file of an SQLite URI, as MLflow reads it. None: no file."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    name = make_url(uri).database
    return Path(name).resolve() if name and name != ":memory:" else None


def make_ready(uri: str, ours: bool, live: Callable[[], None] = lambda: None) -> bool:
    """See that the database of `uri` is whole. `ours`: it is the store's own, with nobody else's rows. `live` is called
    while this waits. Returns whether it was made anew. Raises Unusable, OSError."""
    file = database_file(uri)
    if file is None or _whole(file):
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    with _alone(file, live):
        while not _whole(file) and (settles := _settles(file)) > 0:
            time.sleep(min(settles, _LOOK_SECONDS))
            live()
        if _whole(file):
            return False  # another process made it meanwhile
        return _Making(uri, file, ours).run()


@dataclass
class _Making:
    uri: str
    file: Path
    ours: bool

    def run(self) -> bool:
        """True: made anew; False: brought to the schema of this MLflow, rows and all."""
        try:
            self._sweep()
            if self.file.exists() and self._migrated():
                return False
            draft = self._draft()
            self._build(draft)
            if self.file.exists():
                aside = self._set_aside()
                print(
                    f"{self.file} was not whole: set aside as {aside.name}, everything is told anew",
                    file=sys.stderr,
                )
            self._publish(draft)
            return True
        finally:
            self._sweep()

    def _migrated(self) -> bool:
        """Bring a copy to this MLflow's schema and put it in the place of the file. False: the file is half made or
        damaged."""
        draft = self._draft()
        try:
            with closing(_opened(self.file)) as old, closing(sqlite3.connect(draft)) as new:
                old.backup(new)
                revision, runs = _revision(new), _count(new, "runs")
        except sqlite3.DatabaseError as error:
            _raise_unless_damaged(error, self.file)
            if not self.ours and not _is_sqlite(self.file):
                raise Unusable(f"{self.file} is no SQLite database") from error
            return False
        if revision is not None and revision not in _revisions():
            raise Unusable(
                f"{self.file} was made by another version of MLflow (its schema {revision} is not known)"
            )
        if runs and not self.ours:
            return self._left_to_mlflow(draft)
        try:
            self._build(draft)
        except _HalfMade:
            return False
        self._publish(draft)
        return True

    def _left_to_mlflow(self, draft: Path) -> bool:
        """Others' runs are not migrated unasked, nor set aside unless they can't be."""
        try:
            self._build(draft)
        except _HalfMade:
            return False
        raise Unusable(
            f"{self.file} has the schema of an older MLflow: `mlflow db upgrade URI` brings it up to date"
        )

    def _build(self, draft: Path) -> None:
        """Let MLflow make, or migrate, `draft`. Raises Unusable."""
        from mlflow.tracking import MlflowClient
        from sqlalchemy.engine import make_url

        uri = make_url(self.uri).set(database=str(draft)).render_as_string(hide_password=False)
        try:
            MlflowClient(tracking_uri=uri).get_experiment("0")
        except Exception as error:
            _raise_unless_damaged(_of_sqlite(error), self.file)
            raise _HalfMade(f"{self.file} can't be made: {first_line(error)}") from error
        if not _whole(draft):
            raise _HalfMade(f"{self.file} can't be made: MLflow left it half made")

    def _publish(self, draft: Path) -> None:
        if self.file.exists():
            shutil.copymode(self.file, draft)
        # SQLite synced the draft's bytes at each commit; the name is what is left.
        draft.rename(self.file)
        disk.sync(self.file.parent)

    def _set_aside(self) -> Path:
        aside = self.file.with_name(f"{self.file.name}.damaged-{secrets.token_hex(4)}")
        for companion in _COMPANIONS:
            with suppress(FileNotFoundError):
                Path(f"{self.file}{companion}").rename(f"{aside}{companion}")
        self.file.rename(aside)
        return aside

    def _draft(self) -> Path:
        return self.file.with_name(f".{self.file.name}.draft-{secrets.token_hex(4)}")

    def _sweep(self) -> None:
        """Remove drafts: under the lock they are a killed process's, or ours that failed."""
        for draft in self.file.parent.glob(f".{self.file.name}.draft-*"):
            draft.unlink(missing_ok=True)


def bring_home(file: Path, artefacts: Path) -> None:
    """In a store's own database artefacts lie below the store, wherever it was copied or moved to and whoever wrote the
    rows: MLflow keeps absolute places. Raises Unusable for runs whose ids would lead elsewhere."""
    home = artefacts.as_uri()
    with closing(_opened(file)) as database, database:
        (strange,) = database.execute(
            "SELECT count(*) FROM runs WHERE length(run_uuid) != 32 OR run_uuid GLOB '*[^0-9a-f]*'"
        ).fetchone()
        if strange:
            raise Unusable(f"{file} has runs that MLflow did not make: remove the file, and it is told anew")
        # Of the default experiment MLflow keeps them in a folder of its own.
        place = "?1 || CASE experiment_id WHEN 0 THEN '/0' ELSE '' END"
        database.execute(
            f"UPDATE experiments SET artifact_location = {place} WHERE artifact_location IS NOT {place}",
            (home,),
        )
        place += " || '/' || run_uuid || '/artifacts'"
        database.execute(f"UPDATE runs SET artifact_uri = {place} WHERE artifact_uri IS NOT {place}", (home,))


def _settles(file: Path) -> float:
    """Seconds until a database that isn't whole counts as left so."""
    try:
        state = file.stat()
    except FileNotFoundError:
        return 0.0
    # A time ahead of the clock says nothing.
    age = time.time() - state.st_mtime
    return _BEING_MADE_SECONDS - age if state.st_size and 0 <= age < _BEING_MADE_SECONDS else 0.0


def _whole(file: Path) -> bool:
    """Is it a sound database of this MLflow's schema? The last migration writes the last revision after all else."""
    if not file.exists():
        return False
    try:
        with closing(_opened(file)) as database:
            sound = database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            return sound and _revision(database) == _head()
    except sqlite3.DatabaseError as error:
        _raise_unless_damaged(error, file)
        return False


def _of_sqlite(error: BaseException) -> BaseException:
    """What SQLite said below SQLAlchemy's and MLflow's errors."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, sqlite3.Error):
        found = getattr(found, "orig", None) or found.__cause__ or found.__context__
    return found or error


def _raise_unless_damaged(error: BaseException, file: Path) -> None:
    """Full, locked, not allowed: the world's fault and not the file's."""
    damage = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
    if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in damage:
        raise Unusable(f"{file}: {error}") from error


def _opened(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=20)
    # A stranger's file brings no code of its own: triggers and views stay within the schema.
    database.execute("PRAGMA trusted_schema = OFF")
    return database


def _revision(database: sqlite3.Connection) -> str | None:
    with suppress(sqlite3.OperationalError):
        row = database.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])
    return None


def _count(database: sqlite3.Connection, table: str) -> int:
    with suppress(sqlite3.OperationalError):
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    return 0


def _is_sqlite(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(16) in (b"SQLite format 3\0", b"")


def _scripts() -> Any:
    import mlflow
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))


@cache
def _head() -> str:
    return str(_scripts().get_current_head())


def _revisions() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}


@contextmanager
def _alone(file: Path, live: Callable[[], None]) -> Iterator[None]:
    """One process at a time makes a database, whichever store it works for; a dead one frees the lock."""
    descriptor = os.open(file.with_name(f".{file.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_LOOK_SECONDS)
                live()
            except OSError:
                break  # no locks on this file system
        yield
    finally:
        os.close(descriptor)
