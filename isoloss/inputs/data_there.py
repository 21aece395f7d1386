"""Before the first job: whether the dataset's files are there, and which jobs can run without them.

Jobs that would run and the data root -> diagnostics to show, or JobError R401."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from isoloss.compiler.plan import GenerateSpec, ImportSpec, Job, TrainSpec
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.runtime.data.registry import check_there
from isoloss.runtime.errors import JobError


def check_data(jobs: Sequence[Job], data_root: Path | None) -> list[Diagnostic]:
    """`jobs`: of one study, needs first. What is missing, and which can run all the same, where some can. Raises
    JobError R401 where every one of them needs what is missing."""
    try:
        check_there(jobs[0].spec.dataset, data_root)
    except JobError as error:
        waiting = set(_waiting(jobs))
        if len(waiting) == len(jobs):
            raise
        others = len(jobs) - len(waiting)
        counted = f"{len(waiting)} of {len(jobs)} jobs need its files, the other {others} run all the same"
        missing = Diagnostic(error.code, f"{error.message}: {counted}", help=tuple(error.help))
        return [missing] if waiting else []
    return []


def _waiting(jobs: Sequence[Job]) -> Iterator[str]:
    """Ids of those that read the dataset's files, or need one that does."""
    found: set[str] = set()
    for job in jobs:
        if _reads_files(job) or not found.isdisjoint(job.needs):
            found.add(job.id)
            yield job.id


def _reads_files(job: Job) -> bool:
    if isinstance(job.spec, TrainSpec):
        return job.spec.data["kind"] != "generated" or job.spec.evaluation is not None
    if isinstance(job.spec, GenerateSpec):
        return str(job.spec.denoiser["kind"]) == "mixture"
    return not isinstance(job.spec, ImportSpec)
