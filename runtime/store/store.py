"""The store: results of jobs, whole or absent, with checksums verified on read.

In: a finished job's folder and observations. Out: the same, later, or the news that they are damaged.

    <job id>/       result.json (observations, checksums, where and how long) and the artefacts it lists
    work/<job id>/  checkpoints of a job in progress
    tmp/            results being written; renamed to <job id>/ once they are on the disk
    damaged/        results whose checksums failed, set aside
    cache/          features of real images by content, made once; may be removed
    isoloss.json    says that this is a store, which, and whether its results are measured or simulated

Loads neither torch nor mlflow; pydantic only when results are read."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from isoloss.compiler.plan import Job, Observation
from isoloss.runtime import disk
from isoloss.runtime.errors import JobError
from isoloss.runtime.store.journal import Journal
from isoloss.runtime.store.leases import Leases
from isoloss.runtime.store.result import Damaged, Result, Run, read_result, write_result
from isoloss.runtime.store.trust import JOB_ID, below, check_tree

FORMAT = "isoloss.store/1"
MARKER = "isoloss.json"
ORIGINS = ("measured", "simulated")
_FOLDERS = ("work", "leases", "tmp", "damaged", "plans", "logs")
_COUNTED = re.compile(r"\d{6}")
#: What `disk.replace`, `_create_once` and leases write in before it gets its name.
_DRAFT = re.compile(r"\..+\.\d+\.[0-9a-f]{8}|\.now-\d+")
#: Writing a file takes seconds.
_OLD_SECONDS = 3600.0
_GIST_BYTES = 1 << 16
#: Equal where a job would go on from the same state.
Saved = str


class Store:
    """A folder of results. Several processes may use one store at the same time.

    `create` False: the folder must be a store already. Raises JobError: R101 nothing there, R102 not a store,
    R103 disk full, R104 not writable, R105 unreadable, R108 of a later format, R110 with links in it."""

    def __init__(self, path: str | Path, *, create: bool = True) -> None:
        self.path = Path(path).absolute()
        with disk.storage(f"opening the store {self.path}"):
            self._marker = self._open(create)

    def _open(self, create: bool) -> dict[str, Any]:
        marker = self.path / MARKER
        if not marker.exists() and not marker.is_symlink():
            self._refuse_unless_ours_to_make(create)
            self.path.mkdir(parents=True, exist_ok=True)
            _create_once(marker, {"format": FORMAT, "id": secrets.token_hex(8)})
        if marker.is_file() and not marker.is_symlink():
            check_tree(self.path)
            data = _json(marker)
        else:
            data = None
        if not isinstance(data, dict) or not isinstance(data.get("id"), str):
            raise JobError(
                "R102", f"`{marker}` is not the mark of a store", "choose another folder: `--store DIR`"
            )
        if data.get("format") != FORMAT:
            raise JobError(
                "R108",
                f"the store has format `{data.get('format')}`, this version reads `{FORMAT}`",
                "update isoloss",
            )
        if create:
            for name in _FOLDERS:
                (self.path / name).mkdir(exist_ok=True)
        return data

    def _refuse_unless_ours_to_make(self, create: bool) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise JobError(
                "R102", f"`{self.path}` is a file, not a store", "a store is a folder: `--store DIR`"
            )
        if not create:
            exists = self.path.is_dir()
            message = f"`{self.path}` is not a store" if exists else f"no store at `{self.path}`"
            raise JobError("R102" if exists else "R101", message, "`isoloss run FILE --store DIR` makes one")
        # A crash between mkdir and the mark leaves only hidden drafts: still ours to make. The mark is looked for
        # again after the listing: another process may be making this store, and makes its mark first.
        foreign = self.path.is_dir() and any(not entry.name.startswith(".") for entry in self.path.iterdir())
        if foreign and not (self.path / MARKER).exists():
            raise JobError(
                "R102",
                f"`{self.path}` has files in it and is not a store",
                "name an empty or a new folder: `--store DIR`",
            )

    def below(self, name: str) -> Path:
        """The path of what a file of the store calls `name`. Raises JobError R110 where it lies outside the store."""
        return below(self.path, name)

    @property
    def id(self) -> str:
        return str(self._marker["id"])

    @cached_property
    def journal(self) -> Journal:
        """This process's end of the journal."""
        return Journal(self.path / "journal.jsonl")

    @cached_property
    def leases(self) -> Leases:
        return Leases(self.path / "leases")

    # Measured or simulated.

    def claim(self, origin: str) -> None:
        """Say that this store's results are "measured" or "simulated". Raises JobError R106 if it has the
        other."""
        with disk.storage("opening the store"):
            place = self.path / "origin"
            _create_once(place, {"origin": origin})
            data = _json(place)
        found = data.get("origin") if isinstance(data, dict) else None
        if found not in ORIGINS:
            raise JobError(
                "R111",
                f"`{place}` says neither that its results are measured nor that they are simulated",
                'write it anew: `{"origin": "measured"}` or `{"origin": "simulated"}`, as they are',
            )
        if found != origin:
            raise JobError(
                "R106",
                f"the store has {found} results; {origin} ones would mix with them",
                "name another `--store DIR`",
            )

    # Reading.

    def has(self, job: str) -> bool:
        """Is there a result of this job? A look at one name; `open_result` verifies it."""
        return JOB_ID.fullmatch(job) is not None and (self.path / job / "result.json").exists()

    def jobs(self) -> Iterator[str]:
        """Ids of jobs with a result, sorted."""
        with disk.storage("listing the store"):
            names = sorted(entry.name for entry in os.scandir(self.path) if JOB_ID.fullmatch(entry.name))
        return (name for name in names if self.has(name))

    def open_result(self, job: str) -> Result:
        """The result of a job, all checksums verified. Raises KeyError if there is none; JobError R107 if it
        is damaged: it is then set aside and the job is to be run again."""
        return self._verified(job, artefacts=True)

    def read(self, job: str) -> Result:
        """As open_result, but of the artefacts only presence and size are verified: quick."""
        return self._verified(job, artefacts=False)

    def _verified(self, job: str, artefacts: bool) -> Result:
        if not self.has(job):
            raise KeyError(job)
        try:
            with disk.storage(f"reading the result of {job}"):
                return read_result(self.path / job, job, artefacts)
        except Damaged as damage:
            self.set_aside(job, str(damage))
            raise JobError("R107", f"the result of {job} is damaged ({damage}); it was set aside") from None

    def results(self) -> Iterator[Result]:
        """All results, by job id; damaged ones are set aside and left out."""
        for job in self.jobs():
            try:
                yield self.read(job)
            except KeyError:
                continue
            except JobError as error:
                if error.code != "R107":
                    raise

    def observations(self) -> tuple[Observation, ...]:
        """Everything measured, by job id."""
        return tuple(o for result in self.results() for o in result.observations)

    def artefact(self, job: str, name: str) -> Path:
        """The path of one artefact, its checksum verified. Raises KeyError for a job without result or with
        no such artefact; JobError R107 if it is damaged."""
        result = self.read(job)
        if name not in result.artefacts:
            raise KeyError(name)
        size, digest = result.artefacts[name]
        path = result.folder / name
        with disk.storage(f"reading {path}"):
            whole = path.stat().st_size == size and disk.sha256(path) == digest
        if not whole:
            self.set_aside(job, f"checksum of {name}")
            raise JobError("R107", f"`{name}` of {job} is damaged; the result was set aside")
        return path

    # Writing.

    def work_folder(self, job: str) -> Path:
        """Where a job in progress keeps checkpoints; survives a kill; gone once its result is in."""
        folder = self.path / "work" / job
        with disk.storage("making a work folder"):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def saved(self, job: str) -> Saved:
        """What a job in progress could go on from: its checkpoints and marks. What is hidden, files and folders, is
        notes and drafts."""
        found, folder = hashlib.sha256(), self.path / "work" / job
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if any(part.startswith(".") for part in name.parts):
                continue
            with suppress(OSError):
                state = path.lstat()
                if stat.S_ISREG(state.st_mode):
                    found.update(f"{name}\0{state.st_size}\0".encode(errors="surrogateescape"))
                    found.update(_gist(path, state.st_size))
        return found.hexdigest()

    def begin(self, job: str) -> Path:
        """A new empty folder for a job to write its artefacts in; `commit` publishes it."""
        folder = self.path / "tmp" / f"{job}.{os.getpid()}.{secrets.token_hex(4)}"
        with disk.storage("making an output folder"):
            folder.mkdir(parents=True)
        return folder

    def commit(self, job: Job, draft: Path, observations: Sequence[Observation], run: Run) -> None:
        """Publish `draft` as the result of `job`: written, fsynced, renamed, so whole or absent.

        If another process was first its result stands. Raises JobError R103, R104, R105; then nothing is
        published and the work folder stays."""
        with disk.storage(f"storing the result of {job.name}"):
            write_result(draft, job, observations, run)
            disk.sync_tree(draft)
            final = self.path / job.id
            try:
                draft.rename(final)
            except OSError:
                if not self.has(job.id):
                    raise
                shutil.rmtree(draft, ignore_errors=True)
            disk.sync(self.path)
        shutil.rmtree(self.path / "work" / job.id, ignore_errors=True)

    def set_aside(self, job: str, why: str) -> None:
        """Move a damaged result to `damaged/`, with a line in the journal: the job counts as not done."""
        target = self.path / "damaged" / f"{job}.{secrets.token_hex(4)}"
        with disk.storage(f"setting the damaged result of {job} aside"):
            target.parent.mkdir(exist_ok=True)
            try:
                (self.path / job).rename(target)
            except FileNotFoundError:
                return  # another process was first
        self.journal.append(
            {"event": "damaged", "job": job, "why": why, "moved_to": f"damaged/{target.name}"}
        )

    def sweep(self) -> None:
        """Remove drafts of jobs that nobody runs any more, and checkpoints and leases of those that have a result: a
        worker may be killed at any instant, also between any two of these. Drafts of killed writers too."""
        for place in ("", "leases", "plans", "tracking"):
            for draft in (self.path / place).glob(".*"):
                if _DRAFT.fullmatch(draft.name) and _is_old(draft):
                    draft.unlink(missing_ok=True)
        for job in {draft.name.partition(".")[0] for draft in (self.path / "tmp").glob("*")}:
            if self.leases.holder(job) is None:
                self.drop_drafts(job)
        for folder in (self.path / "work").glob("*"):
            if self.has(folder.name) and self.leases.holder(folder.name) is None:
                shutil.rmtree(folder, ignore_errors=True)
        for lease in (self.path / "leases").glob("[!.]*"):
            if self.has(lease.name):
                self.leases.forget(lease.name)

    def drop_drafts(self, job: str) -> None:
        """Remove what killed attempts at a job left half-written. For whoever holds its lease."""
        for draft in (self.path / "tmp").glob(f"{job}.*"):
            shutil.rmtree(draft, ignore_errors=True)

    def save_plan(self, name: str, text: bytes) -> Path:
        """Keep a plan under `plans/`, once. `name` ends in `.json`."""
        path = self.path / "plans" / name
        if not path.exists():
            with disk.storage("keeping the plan"):
                disk.replace(path, text)
        return path


def _json(path: Path) -> Any:
    """What a file holds; None for what is no JSON. Raises OSError."""
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        return None


def _is_old(draft: Path) -> bool:
    """Nobody writes it any more. A time ahead of the clock is nobody's either."""
    try:
        return draft.is_file() and abs(time.time() - draft.lstat().st_mtime) > _OLD_SECONDS
    except FileNotFoundError:
        return False


def _gist(path: Path, size: int) -> bytes:
    """What tells a file's contents from what it held before: its ends, where checkpoints have a checksum and archives
    one of each member. A name that counts steps says it alone."""
    if _COUNTED.search(path.name):
        return b""
    with path.open("rb") as file:
        first = file.read(_GIST_BYTES)
        file.seek(max(len(first), size - _GIST_BYTES))
        return first + file.read(_GIST_BYTES)


def _create_once(path: Path, data: Mapping[str, Any]) -> None:
    """Create a small file if there is none: whole, or absent, also with several processes at it."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        disk.replace(draft, orjson.dumps(data))
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        disk.sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)
