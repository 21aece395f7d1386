"""Draw what a job would observe if a stated law were true: for `--executor simulate`.

In: a law, its loss-to-accuracy line, the noise of single runs. Out: observations of every job kind. The draw
depends on the job's id alone, so that a simulated study repeats."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from isoloss.compiler.plan import (
    DenoiserSpec,
    DiscriminatorSpec,
    EvaluateSpec,
    FidSpec,
    GenerateSpec,
    ImportSpec,
    Job,
    Observation,
    TrainSpec,
    frechet_metric,
)
from isoloss.errors import WRONG_USAGE, fault
from isoloss.runtime.errors import JobError

if TYPE_CHECKING:
    from isoloss.inputs.law_file import NamedLaw
    from isoloss.runtime.store.result import Result

#: FID of a generator that a study doesn't state, by sampling steps: ASSUMED, a power law through the paper's
#: EDM rows (5 steps 35.54, 10 steps 2.48; Bartoldson et al. 2024, Table 1), floored at its best, 1.65.
_FID_AT_5, _FID_EXPONENT, _FID_FLOOR = 35.54, 3.84, 1.65
#: Clean accuracy beside a robust one, assumed: half of the robust error is clean error.
_CLEAN_SHARE = 0.5


class Truth:
    """The law that a simulation draws losses from. `noise`: relative standard deviation of a run's loss, common to its
    curve."""

    def __init__(self, law: NamedLaw, noise: float) -> None:
        self.law, self.noise = law, noise

    def draw(self, job: Job, known: Mapping[str, Result]) -> tuple[Observation, ...]:
        """Observations of `job`; `known` are the results of its needs. Raises JobError R211 where the law is
        silent."""
        if isinstance(job.spec, GenerateSpec):
            count = job.spec.stop - job.spec.start
            return (Observation(job.id, "generate", "images", float(count), count=count, seed=job.spec.seed),)
        if isinstance(job.spec, DenoiserSpec | DiscriminatorSpec):
            # No law speaks of these losses: they are trained, that is all.
            drawn = job.spec.train_steps * int(job.spec.recipe["batch"])
            return (Observation(job.id, job.kind, "images drawn", float(drawn), images=drawn),)
        if isinstance(job.spec, ImportSpec):
            # As many as the study says there are: no file is looked at.
            count = job.spec.images or 0
            return (Observation(job.id, "import", "images", float(count), count=count, seed=job.spec.seed),)
        if isinstance(job.spec, FidSpec):
            features = job.spec.features["kind"]
            value = _fid_of(known)
            if value is None:
                raise JobError(
                    "R211", f"nothing tells the quality that {job.name} would find", "state its `fid`"
                )
            metric = frechet_metric(features)
            return (Observation(job.id, "fid", metric, value, count=job.spec.images, fid=value),)
        if isinstance(job.spec, TrainSpec):
            fid = _fid_of(known) if job.facts.fid is None else job.facts.fid
            return tuple(self._curve(job, job.spec, fid))
        trained = known[job.spec.network].observations
        return tuple(self._tested(job, job.spec, trained[0].fid))

    def _curve(self, job: Job, spec: TrainSpec, fid: float | None) -> Iterator[Observation]:
        every = float((spec.evaluation or {}).get("every") or 1.0)
        for k in range(1, math.floor(1 / every + 1e-9) + 1):
            fraction = min(1.0, k * every)
            yield from self._points(job, job.id, fraction, spec.seed, fid)

    def _tested(self, job: Job, spec: EvaluateSpec, fid: float | None) -> Iterator[Observation]:
        points = tuple(self._points(job, spec.network, 1.0, spec.seed, fid))
        yield from points
        for point in points:
            if point.metric.startswith("accuracy"):
                clean = 1 - _CLEAN_SHARE * (1 - point.value)
                metric = f"accuracy @ clean{'' if spec.split == 'test' else f' on {spec.split}'}"
                yield Observation(**{**_fields(point), "metric": metric, "value": clean})

    def _points(
        self, job: Job, run: str, fraction: float, seed: int, fid: float | None
    ) -> Iterator[Observation]:
        facts = job.facts
        if facts.params is None or facts.images is None or facts.metric is None:
            raise JobError("R211", f"the plan doesn't say what {job.name} measures", "declare an evaluation")
        # A fid that nobody knows makes a law that needs it silent.
        known_fid = math.nan if fid is None else fid
        law = self.law.fit.predict(facts.params, facts.images * fraction, known_fid)
        if law is None or not law.mid > 0:
            raise JobError(
                "R211", f"{self.law.name} says nothing about {job.name}", "choose another `--truth`"
            )
        images = round(facts.images * fraction)
        common: dict[str, Any] = {
            "job": job.id,
            "kind": job.kind,
            "run": run,
            "params": facts.params,
            "images": images,
            "fid": fid,
            "flops": None if facts.flops_per_image is None else facts.flops_per_image * images,
            "fraction": fraction,
            "seed": seed,
        }
        loss = law.mid * math.exp(self.noise * self._normal(run))
        yield Observation(metric=f"loss {facts.metric}", value=loss, **common)
        if self.law.accuracy is not None:
            attack = facts.metric.partition(" @ ")[2]
            yield Observation(metric=f"accuracy @ {attack}", value=self.law.accuracy.value(loss), **common)

    def _normal(self, key: str) -> float:
        import numpy as np

        return float(np.random.default_rng(int(key, 16)).standard_normal())


def _fid_of(shards: Mapping[str, Result]) -> float | None:
    """The FID a simulation gives a generator whose study states none, from its sampler's steps. None: it has
    none (published files, real data)."""
    found = (
        result.spec.get("sampler", {}).get("steps") for result in shards.values() if result.kind == "generate"
    )
    steps = next((n for n in found if n), None)
    return None if steps is None else max(_FID_FLOOR, _FID_AT_5 * (5 / steps) ** _FID_EXPONENT)


def noise_share(text: str) -> float:
    """`0.5%` or `0.005` as a share. Raises UserError R210."""
    try:
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise fault("R210", f"`--noise {text}` is not a share", "write `0.5%`", exit_code=WRONG_USAGE)
    return value


def _fields(point: Observation) -> dict[str, Any]:
    return {name: getattr(point, name) for name in Observation.__dataclass_fields__}
