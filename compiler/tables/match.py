"""A table of runs made elsewhere -> observations of the study's own runs that it describes.

In: a RunTable, a Plan of the study with nothing known. Out: observations, and what of the table was of no
use. A
row belongs to the run with its N (within 1 %), its planned D (within 3 %: nominal or drawn) and its FID, in the
same feature space where the table says one. The
table's measure is taken for the run's own: it names no type. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.compiler.plan import Job, Observation, Plan
from isoloss.compiler.tables.table import RunTable

#: Published sizes are rounded to three digits, published data sizes are nominal (drawn is up to 2.4 % more).
PARAMS_WITHIN, IMAGES_WITHIN, FID_WITHIN = 0.01, 0.03, 0.005


@dataclass(frozen=True, slots=True)
class Matched:
    """`runs` of the table found a run of the plan, `unmatched` (their names) did not."""

    observations: tuple[Observation, ...]
    runs: int
    unmatched: tuple[str, ...]


def match(table: RunTable, plan: Plan) -> Matched:
    """Of two table runs that describe one run of the plan, the first counts."""
    tests = {job.needs[0]: job for job in plan.jobs if job.kind == "evaluate"}
    free = [job for job in plan.jobs if job.kind == "train" and job.facts.grid and job.id in tests]
    found: list[Observation] = []
    unmatched: list[str] = []
    runs = 0
    for run in dict.fromkeys(int(r) for r in table.run):
        rows = np.flatnonzero(table.run == run)
        job = _job_of(table, int(rows[0]), free)
        if job is None:
            unmatched.append(table.run_names[run])
            continue
        free.remove(job)
        runs += 1
        found.extend(_observations(table, rows, job, tests[job.id]))
    return Matched(tuple(found), runs, tuple(unmatched))


def _job_of(table: RunTable, row: int, jobs: Sequence[Job]) -> Job | None:
    params, planned, fid = table.params[row], table.planned[row], table.fid[row]
    for job in jobs:
        facts = job.facts
        if facts.params is None or facts.images is None:
            continue
        if abs(params / facts.params - 1) > PARAMS_WITHIN or abs(planned / facts.images - 1) > IMAGES_WITHIN:
            continue
        if facts.fid is not None and not abs(fid - facts.fid) <= FID_WITHIN * (1 + facts.fid):
            continue
        if facts.fid and not _same_space(table, row, facts.features):
            continue
        return job
    return None


def _same_space(table: RunTable, row: int, features: str | None) -> bool:
    """False only where both are known, and differ."""
    labels = table.texts.get("features")
    theirs = labels.names[int(labels.codes[row])] if labels is not None else ""
    return not theirs or features is None or theirs == features


def _observations(table: RunTable, rows: np.ndarray, train: Job, test: Job) -> list[Observation]:
    """The last row is the evaluation after training, the others are on the way."""
    assert train.facts.metric is not None
    assert train.facts.images is not None
    attack = train.facts.metric.split(" @ ", 1)[1]
    last = rows[np.argmax(table.fraction[rows])]
    found = []
    for row in rows:
        fraction = 1.0 if row == last else float(table.fraction[row])
        job = test if row == last else train
        images = max(1, round(fraction * train.facts.images))
        for metric, value in (
            (f"loss {train.facts.metric}", table.loss[row]),
            (f"accuracy @ {attack}", table.accuracy[row]),
        ):
            if np.isfinite(value):
                found.append(
                    Observation(
                        job.id,
                        job.kind,
                        metric,
                        float(value),
                        run=train.id,
                        params=train.facts.params,
                        images=images,
                        fid=train.facts.fid,
                        fraction=fraction,
                        flags=("from a table",),
                    )
                )
    # A run's training counts as finished once the table has its end.
    found.append(Observation(train.id, "train", "images", float(train.facts.images), run=train.id))
    return found
