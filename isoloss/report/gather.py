"""A store -> `Material`: all the report shows, read once.

In: a store folder. Out: the latest plan, observations by run, the forecast ledger, how jobs went. Missing
parts stay empty, for a report on a study that has just begun; a folder that is no store raises the store's
JobError."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from isoloss.compiler.plan import Job, Observation, Plan, Range, frechet_metric, frechet_space
from isoloss.measured.stored_plans import StoredPlans, read_plans
from isoloss.report.trained_networks import TrainedNetwork, networks_of
from isoloss.runtime.store import journal
from isoloss.runtime.store.result import Result
from isoloss.runtime.store.store import Store


@dataclass(frozen=True)
class Material:
    """`origin` is "measured", "simulated" or "" (unknown)."""

    path: Path
    plans: StoredPlans
    results: Mapping[str, Result]
    forecasts: tuple[Mapping[str, Any], ...]
    failures: Mapping[str, str]  # job id -> message of its last failure, for jobs without a result
    origin: str
    others: int = 0  # results in the store that are not of this plan

    @property
    def plan(self) -> Plan | None:
        return self.plans.latest

    def declarations(self, part: str) -> list[Mapping[str, Any]]:
        """What the plan's study declares under `part`: "fits", "recipes"; [] where its JSON has no such list."""
        found = self.plan.study.get(part) if self.plan else None
        return (
            [item for item in found if isinstance(item, Mapping)] if isinstance(found, list | tuple) else []
        )

    @cached_property
    def observations(self) -> tuple[Observation, ...]:
        return tuple(o for r in self.results.values() for o in r.observations)

    @cached_property
    def jobs(self) -> Mapping[str, Job]:
        return {job.id: job for job in self.plan.jobs} if self.plan else {}

    @cached_property
    def runs(self) -> tuple[TrainedNetwork, ...]:
        """Runs of the plan with at least one measured point, by N, then D, then name."""
        return networks_of(self.jobs, self.observations, self.plan is None)

    @cached_property
    def loss_metric(self) -> str | None:
        """The loss most points are of: what the figures and laws are about."""
        return _commonest(o.metric for o in self.observations if o.metric.startswith("loss "))

    @cached_property
    def accuracy_metric(self) -> str | None:
        """The robust accuracy of the same attack as `loss_metric`; else the commonest that is not clean."""
        robust = [
            o.metric
            for o in self.observations
            if o.metric.startswith("accuracy ") and "@ clean" not in o.metric
        ]
        attack = self.loss_metric.partition("@")[2].strip() if self.loss_metric else ""
        same = [m for m in robust if attack and m.partition("@")[2].strip() == attack]
        return _commonest(iter(same or robust))

    @cached_property
    def generators(self) -> tuple[str, ...]:
        """Names of generators that runs used, by space, worst measured or stated quality first; then by name."""
        names = {run.facts.generator for run in self.runs if run.facts.generator}
        return tuple(sorted(names, key=lambda n: self.rank(n, worst_first=True)))

    @cached_property
    def quality(self) -> Mapping[str, float]:
        """generator -> its FID: stated in the study, or measured by a job."""
        fids = {
            j.facts.generator: j.facts.fid
            for j in self.jobs.values()
            if j.facts.generator and j.facts.fid is not None
        }
        for generator, measured in self.measures.items():
            for o in measured.values():
                if frechet_space(o.metric) is not None:
                    fids[generator] = o.value
        return {k: v for k, v in fids.items() if k is not None and v is not None}

    @cached_property
    def measures(self) -> Mapping[str, Mapping[str, Observation]]:
        """generator -> what its fid job measured, by typed name."""
        found: dict[str, dict[str, Observation]] = {}
        for o in self.observations:
            job = self.jobs.get(o.job)
            if o.kind == "fid" and job is not None and job.facts.generator:
                found.setdefault(job.facts.generator, {})[o.metric] = o
        return found

    def rank(self, generator: str, worst_first: bool = False) -> tuple[str, float, str]:
        """What generators are sorted by: the space of their quality first, for numbers of two spaces have no
        order; unknown quality last."""
        value = self.quality.get(generator)
        order = float("inf") if value is None else -value if worst_first else value
        return self.quality_name(generator), order, generator

    def quality_name(self, generator: str | None) -> str:
        """What a generator's quality is called: FID for the papers', else with the space it is measured in."""
        return quality_name(self.declared_space(generator))

    def space(self, generator: str) -> str | None:
        """The feature space of a generator's quality; None: real data, which is 0 in every space, or not said."""
        return None if self.quality.get(generator) == 0 else self.declared_space(generator)

    def declared_space(self, generator: str | None) -> str | None:
        """The `features` of a generator; None where no job says them."""
        mine = (j.facts.features for j in self.jobs.values() if j.facts.generator == generator)
        return next((space for space in mine if space), None)

    def seconds(self, job: str) -> float | None:
        """Device-seconds a finished job took; None for unfinished jobs, and for simulated ones."""
        result = self.results.get(job)
        return None if result is None or result.run.simulated else result.run.device_seconds

    def planned(self, job: Job) -> Range | None:
        """Device-seconds as they were planned before the job ran; None: not estimated."""
        return self.plans.first_seconds.get(job.id, job.cost.seconds)

    def state(self, job: Job) -> str:
        """done, failed, ready or provisional: what the store has, then what the plan says."""
        if job.id in self.results:
            return "done"
        if job.id in self.failures:
            return "failed"
        return job.state if job.state != "done" else "ready"


def quality_name(space: str | None) -> str:
    """`FID` for Inception's (and where nothing is said), `FID @ pixels`, `FD @ resnet18`."""
    return distance_name(frechet_metric(space or "inception"))


def distance_name(metric: str) -> str:
    """A typed name of a distance for people: `fid @ inception` is FID, `kd @ resnet18` KD @ resnet18."""
    word, _, space = metric.partition(" @ ")
    return word.upper() if space == "inception" else f"{word.upper()} @ {space}"


def gather(path: Path) -> Material:
    """Read a store. Raises JobError (R101, R102, R105, R108) where `path` is none or can't be read."""
    store = Store(path, create=False)
    plans = read_plans(store.path / "plans")
    every = {result.job: result for result in store.results()}
    # A store may serve several studies: the report is about the one planned last.
    planned = {job.id for job in plans.latest.jobs} if plans.latest else set(every)
    results = {job: result for job, result in every.items() if job in planned}
    return Material(
        path=store.path,
        plans=plans,
        results=results,
        forecasts=tuple(journal.read(store.path / "forecasts.jsonl")[0]),
        failures=_failures(store.path / "journal.jsonl", results),
        origin=_origin(store.path / "origin"),
        others=len(every) - len(results),
    )


def _failures(path: Path, results: Mapping[str, Result]) -> dict[str, str]:
    """Jobs whose last news is bad: failed by itself, or its worker was killed."""
    failed: dict[str, str] = {}
    for event in journal.read(path)[0]:
        job = event.get("job")
        if event.get("event") != "job" or not isinstance(job, str) or job in results:
            continue
        failed.pop(job, None)
        if event.get("state") in ("failed", "crashed"):
            code = f"{event['code']}: " if event.get("code") else ""
            failed[job] = f"{code}{event.get('message') or 'no message'}"
    return failed


def _origin(path: Path) -> str:
    try:
        return str(orjson.loads(path.read_bytes()).get("origin", ""))
    except (OSError, orjson.JSONDecodeError, AttributeError):
        return ""


def _commonest(metrics: Any) -> str | None:
    counts = Counter(metrics)
    return min(counts, key=lambda m: (-counts[m], m)) if counts else None
