"""A runtime that trains nothing: observations of a plan's ready jobs, drawn from a stated law.

Loss = A N^-alpha + B (1+FID)^zeta D^-beta + E (1+FID)^epsilon with log-normal noise keyed by the job's id, so
that a job measures the same whenever it runs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from isoloss.compiler.compile import CompileCache, compile_study
from isoloss.compiler.cost.devices import BUILT_IN
from isoloss.compiler.plan import Job, Observation, Plan, TrainSpec
from isoloss.dsl.study.study import Study

FIDS = {3: 1.76, 4: 0.57, 7: 0.1, 20: 0.067}


def loss(params: float, images: float, fid: float) -> float:
    quality = 1 + fid
    return 30 * params**-0.6 + 60 * quality**-0.1 * images**-0.5 + 0.45 * quality**0.15


def observe(plan: Plan, noise: float = 0.005, only: Sequence[str] | None = None) -> list[Observation]:
    """Observations of every ready job (or of those in `only`)."""
    jobs = {job.id: job for job in plan.jobs}
    found: list[Observation] = []
    for job in plan.jobs:
        if job.state == "ready" and (only is None or job.id in only):
            found.extend(_observe(job, jobs, noise))
    return found


def _observe(job: Job, jobs: dict[str, Job], noise: float) -> list[Observation]:
    rng = np.random.default_rng(int(hashlib.sha256(job.id.encode()).hexdigest()[:8], 16))
    if job.kind == "generate":
        return [Observation(job.id, "generate", "images", job.spec.stop - job.spec.start, seconds=1.0)]
    if job.kind in ("denoiser", "discriminator"):
        return [Observation(job.id, job.kind, "images drawn", 1.0, seconds=1.0)]
    if job.kind == "fid":
        steps = int(jobs[job.needs[0]].spec.sampler["steps"])
        return [Observation(job.id, "fid", "fid @ pixels", FIDS[steps], seconds=2.0)]
    train = job if job.kind == "train" else jobs[job.needs[0]]
    spec = train.spec
    assert isinstance(spec, TrainSpec)
    shard = jobs[spec.data["shards"][0]].spec
    fid = FIDS[int(shard.sampler["steps"])]
    fractions = [1.0] if job.kind == "evaluate" else [0.25, 0.5, 0.75]
    attack = train.facts.metric.split(" @ ", 1)[1]
    result: list[Observation] = []
    for fraction in fractions:
        images = round(fraction * train.facts.images)
        value = loss(train.facts.params, images, fid) * math.exp(noise * rng.standard_normal())
        common = {
            "run": train.id,
            "params": train.facts.params,
            "images": images,
            "flops": train.facts.flops_per_image * images,
            "fraction": fraction,
            "seconds": 3.0 * fraction,
        }
        result.append(Observation(job.id, job.kind, f"loss {train.facts.metric}", value, **common))
        accuracy = min(0.99, max(0.01, 1.25 - 0.6 * value))
        result.append(Observation(job.id, job.kind, f"accuracy @ {attack}", accuracy, count=900, **common))
    return result


def run_to_fixed_point(study: Study, noise: float = 0.005) -> tuple[list[Plan], list[Observation]]:
    """Compile, run, compile again, until nothing is ready. Raises AssertionError after ten rounds."""
    observations: list[Observation] = []
    plans: list[Plan] = []
    cache = CompileCache()
    for _ in range(10):
        plan, problems = compile_study(study, observations, BUILT_IN["cpu"], cache)
        assert plan is not None, problems
        plans.append(plan)
        if not any(job.state == "ready" for job in plan.jobs):
            return plans, observations
        observations.extend(observe(plan, noise))
    raise AssertionError("no fixed point after ten rounds")
