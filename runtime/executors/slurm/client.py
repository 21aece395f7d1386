"""Slurm's own commands, as argument lists: submit, look, cancel.

In: scripts and task ids. Out: ids and states; Slurm's words where it refuses. Needs no accounting (`sacct`)."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from isoloss.runtime.errors import JobError

PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol")
#: A busy controller answers late; assumed. After it the call counts as failed.
_TIMEOUT_SECONDS = 120.0
_IDS_PER_CALL = 200
_JOB_ID = re.compile(r"\d+")

#: States after which a task never runs again by itself.
ENDED = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
     "REVOKED", "TIMEOUT")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One task as Slurm sees it. `task` is "123_4"; `reason` why it waits."""

    task: str
    state: str
    reason: str
    name: str


def check_installed() -> None:
    """Raises JobError R220 where Slurm's commands are missing."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        raise JobError(
            "R220",
            f"no Slurm here: {', '.join(f'`{name}`' for name in absent)} not found",
            "run it where jobs are submitted (a login node)",
            "`--dry-run` writes the scripts without Slurm; `--executor local` runs the jobs on this machine",
        )


def submit(script: Path, dependency: str = "") -> str:
    """Submit one script; returns the job's id. Raises JobError R221 with Slurm's words."""
    more = [f"--dependency={dependency}"] if dependency else []
    words, answer = _call(["sbatch", "--parsable", *more, str(script)])
    number = _JOB_ID.match(answer.strip())  # "123" or "123;cluster"
    if words or number is None:
        raise JobError(
            "R221",
            f"Slurm refused `{script.name}`: {words or answer.strip() or 'no job id'}",
            "partition, account and limits are given with `--slurm NAME=VALUE`, for example "
            "`--slurm partition=gpu`",
            f"the script is {script}",
        )
    return number.group()


def queue() -> list[Row]:
    """All tasks of this user that Slurm still knows, those that ended a while ago included. Raises JobError
    R220 when Slurm doesn't answer."""
    words, answer = _call(["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T|%r|%j"])
    if words:
        raise JobError(
            "R220", f"Slurm does not answer: {words}", "the same command attaches to its jobs later"
        )
    rows = []
    for line in answer.splitlines():
        parts = line.strip().split("|", 3)
        if len(parts) == 4:
            rows.append(Row(*parts))
    return rows


def cancel(tasks: Iterable[str], *options: str) -> None:
    """scancel. Tasks that are gone already are no mistake."""
    ids = list(tasks)
    for start in range(0, len(ids), _IDS_PER_CALL):
        _call(["scancel", "--quiet", *options, *ids[start : start + _IDS_PER_CALL]])


def requeue(job: str) -> str:
    """Put a running job back into the queue. Returns Slurm's words if it won't, else ""."""
    return _call(["scontrol", "requeue", job])[0]


def _call(command: Sequence[str]) -> tuple[str, str]:
    """(what went wrong in Slurm's words or "", the answer)."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"`{command[0]}` gave no answer in {_TIMEOUT_SECONDS:.0f} s", ""
    except OSError as error:
        return f"`{command[0]}`: {error.strerror}", ""
    if done.returncode:
        said = " ".join(f"{done.stderr} {done.stdout}".split())
        return said.removeprefix(f"{command[0]}: error: ") or f"exit status {done.returncode}", ""
    return "", done.stdout
