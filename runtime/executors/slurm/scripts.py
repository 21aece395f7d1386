"""Batch scripts that a person can read: arrays -> `store/slurm/<submission>/`.

    tasks.json      every task's job, all a compute node needs to know
    <group>.sh      one array each
    submit.sh       submits them by hand, with the same dependencies as isoloss does
    logs/, reports/ what tasks say
    rendezvous/     where ranks find each other

In: groups and settings. Out: files. Slurm is not called here, so `--dry-run` needs none."""

from __future__ import annotations

import math
import re
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from isoloss.compiler.plan import Job
from isoloss.runtime import disk
from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.base import Resources
from isoloss.runtime.executors.devices import GPU_WORKER_THREADS
from isoloss.runtime.executors.slurm.job_arrays import Group
from isoloss.runtime.store.store import Store

FORMAT = "isoloss.slurm/2"
PREFIX = "isoloss-"
_OPTION = re.compile(r"[a-z][a-z-]*")
_VALUE = re.compile(r"[\w.,:/=@+*&|()\[\]-]*")
#: What isoloss decides itself: changing it would break dependencies, resuming or finding jobs again.
_OURS = frozenset(
    ("array", "job-name", "output", "error", "open-mode", "requeue", "no-requeue", "signal", "dependency",
     "kill-on-invalid-dep", "chdir", "wrap", "parsable", "export", "export-file", "ntasks", "input", "test-only",
     "wait", "hold")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """How jobs are submitted. `options` are sbatch's long options as (name, value), value "" for a flag;
    `walltime_seconds` of one attempt, longer jobs become chains; `lead_seconds` how long before the end of its time a
    task is asked for a checkpoint (Slurm may ask a minute earlier)."""

    resources: Resources
    functions: Mapping[str, str]
    options: tuple[tuple[str, str], ...] = ()
    walltime_seconds: float | None = None
    lead_seconds: int = 120

    def limit(self, devices: int) -> int:
        """Tasks of an array that may run at once, each on so many devices: as many as the budget's devices hold."""
        return max(1, self.resources.count // devices)


def lead_seconds(walltime_seconds: float | None) -> int:
    """5 % of the walltime, 20 s to 5 min, assumed: a step of training and the write of a checkpoint fit in."""
    if walltime_seconds is None:
        return 120
    return int(min(300.0, max(20.0, walltime_seconds / 20)))


@dataclass
class Submission:
    """One folder of scripts. `name` is part of the Slurm job names, so that its tasks are found again."""

    name: str
    folder: Path
    groups: Sequence[Group]
    ids: dict[str, str] = field(default_factory=dict)  # group -> Slurm's id, once submitted

    def dependency(self, group: Group) -> str:
        """The argument of `--dependency`, with the ids submitted so far; "" for none."""
        return _dependency(group, self.ids)


def parse_option(text: str) -> tuple[str, str]:
    """`NAME=VALUE` or `NAME`, for sbatch's `--NAME=VALUE`. Raises JobError R226."""
    name, _, value = text.removeprefix("--").partition("=")
    if name == "time":
        raise JobError(
            "R226", "the walltime is the study's", "say it there, or with `--set budget.walltime='12 h'`"
        )
    if name in _OURS:
        raise JobError(
            "R226", f"`{name}` is set by isoloss itself", f"set by isoloss: {', '.join(sorted(_OURS))}"
        )
    if not _OPTION.fullmatch(name) or not _VALUE.fullmatch(value):
        raise JobError(
            "R226", f"`--slurm {text}` is not an option of sbatch", "for example `--slurm partition=gpu`"
        )
    return name, value


def write(store: Store, study: str, groups: Sequence[Group], settings: Settings) -> Submission:
    """Write a new submission folder. Raises JobError R103, R104, R105, and R226 for a store whose path Slurm
    can't read."""
    if not re.fullmatch(r"[^\n\r\"'%\\]+", str(store.path)):
        raise JobError(
            "R226",
            f"Slurm can't read the path `{store.path}`",
            "choose one without quotes, `%` and `\\`: `--store DIR`",
        )
    name = secrets.token_hex(4)
    folder = store.path / "slurm" / name
    with disk.storage("writing Slurm scripts"):
        for part in ("logs", "rendezvous", "reports"):
            (folder / part).mkdir(parents=True)
        disk.replace(folder / "tasks.json", _tasks(store, study, groups, settings))
        for group in groups:
            path = folder / f"{group.name}.sh"
            path.write_text(script(group, name, folder, study, settings))
            path.chmod(0o755)
        by_hand = folder / "submit.sh"
        by_hand.write_text(_submit_script(groups))
        by_hand.chmod(0o755)
    return Submission(name, folder, groups)


def script(group: Group, submission: str, folder: Path, study: str, settings: Settings) -> str:
    """One array's batch script."""
    processes = group.devices
    python = shlex.quote(sys.executable)
    guard, keeper = (
        shlex.quote(str(Path(__file__).with_name(f"{n}.py"))) for n in ("hold_signals", "signal_keeper")
    )
    each = f", {processes} devices each" if processes > 1 else ""
    lines = [
        "#!/bin/bash",
        f"# {len(group.tasks)} {group.kind} jobs of study {study[:20]}{each}; index, job, what it is:",
        *(f"#   {index:>3}  {job.id}  {_printable(job.name)}" for index, job in sorted(group.tasks.items())),
        *(f"#SBATCH {option}" for option in _directives(group, submission, folder, settings)),
        *(f"export {name}={value}" for name, value in _environment(settings.resources)),
        "",
        "# The guard holds signals back until the worker listens.",
    ]
    if processes > 1:
        lines.insert(-1, "# The keeper lets the ranks save when the job is preempted: srun would kill them.")
        # Since 22.05 srun does not look at what sbatch was told of CPUs.
        srun = (
            f"srun --kill-on-bad-exit=1 --ntasks={processes} --cpus-per-task={_threads(settings.resources)}"
        )
        lines.append(f"exec {python} -I -S {keeper} \\\n  {srun} \\")
    lines.append(
        f"{'  ' if processes > 1 else 'exec '}{python} -I -S {guard} \\\n"
        f"  {python} -m isoloss.runtime.executors.slurm.task \\\n"
        f'  {shlex.quote(str(folder))} {group.name} "$SLURM_ARRAY_TASK_ID"'
    )
    return "\n".join(lines) + "\n"


def _directives(group: Group, submission: str, folder: Path, settings: Settings) -> list[str]:
    log = folder / "logs" / f"{group.name}.%a.log"
    # B: the batch shell, which becomes the worker; steps of srun get the signal themselves.
    whom = "" if group.devices > 1 else "B:"
    ours: dict[str, str] = {
        "job-name": f"{PREFIX}{submission}.{group.name}",
        "array": f"{_indices(group.tasks)}%{settings.limit(group.devices)}",
        "output": f'"{log}"',
        "open-mode": "append",
        "chdir": f'"{folder}"',
        "requeue": "",
        "kill-on-invalid-dep": "yes",
        "signal": f"{whom}USR1@{settings.lead_seconds}",
        "ntasks": str(group.devices),
        "cpus-per-task": str(_threads(settings.resources)),
    }
    if settings.resources.kind != "cpu":
        ours["gpus-per-task"] = "1"
    if settings.walltime_seconds is not None:
        ours["time"] = _clock(settings.walltime_seconds)
    ours |= dict(settings.options)
    return [f"--{name}={value}" if value else f"--{name}" for name, value in ours.items()]


def _threads(resources: Resources) -> int:
    """Of one worker, as a slot of the local executor has them."""
    return 1 if resources.kind == "cpu" else GPU_WORKER_THREADS


def _environment(resources: Resources) -> list[tuple[str, str]]:
    """As a slot of the local executor has it: bits depend on the number of threads."""
    if resources.kind == "cpu":
        return [("OMP_NUM_THREADS", "1"), ("CUDA_VISIBLE_DEVICES", ""), ("DS_ACCELERATOR", "cpu")]
    return [("OMP_NUM_THREADS", str(GPU_WORKER_THREADS))]


def _submit_script(groups: Sequence[Group]) -> str:
    """Variables stand for the ids that Slurm will give."""
    lines = [
        "#!/bin/bash",
        "# Submits these arrays by hand. `isoloss run` with the same store finds them in the queue.",
        "set -euo pipefail",
        'cd "$(dirname "$0")"',
    ]
    variables = {group.name: f"${{{_variable(group.name)}}}" for group in groups}
    for group in groups:
        dependency = _dependency(group, variables)
        option = f'--dependency="{dependency}" ' if dependency else ""
        lines.append(f"{_variable(group.name)}=$(sbatch --parsable {option}{group.name}.sh | cut -d';' -f1)")
    return "\n".join(lines) + "\n"


def _variable(group: str) -> str:
    return "array_" + re.sub(r"\W", "_", group)


def _dependency(group: Group, ids: Mapping[str, str]) -> str:
    if group.like is not None:
        return f"aftercorr:{ids[group.like]}"
    needed = [f"{ids[place.group]}_{place.index}" for place in group.after] + list(group.after_slurm)
    return ":".join(["afterok", *needed]) if needed else ""


def _tasks(store: Store, study: str, groups: Sequence[Group], settings: Settings) -> bytes:
    root = settings.resources.data_root
    cpu = settings.resources.kind == "cpu"
    data: dict[str, Any] = {
        "format": FORMAT,
        "store": str(store.path),
        "study": study,
        "device": "cpu" if cpu else "cuda:0",
        "threads": _threads(settings.resources),
        "data_root": None if root is None else str(root),
        "functions": dict(settings.functions),
        "processes": {group.name: group.devices for group in groups},
        "placement": asdict(settings.resources.placement),
        "groups": {g.name: {str(i): job for i, job in sorted(g.tasks.items())} for g in groups},
    }
    return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _indices(tasks: Mapping[int, Job]) -> str:
    """Array indices as Slurm writes them: "0-3,7"."""
    runs: list[list[int]] = []
    for index in sorted(tasks):
        if runs and index == runs[-1][-1] + 1:
            runs[-1][1:] = [index]
        else:
            runs.append([index])
    return ",".join("-".join(map(str, run)) for run in runs)


def _clock(seconds: float) -> str:
    """Whole minutes, at least one, as "days-hours:minutes:00": Slurm counts in minutes."""
    minutes = max(1, math.ceil(seconds / 60))
    return f"{minutes // 1440}-{minutes // 60 % 24:02}:{minutes % 60:02}:00"


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:90]
