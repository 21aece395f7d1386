"""A store -> rows: what each declared evaluation measured of each trained network.

In: the plans that a store keeps and its results. Out: rows in the order of the plan, of the latest plan of each study.
What a row means is its job's spec; the evaluation's declared name is only how a person finds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from isoloss.compiler.plan import (
    EvaluateSpec,
    Job,
    Observation,
    Plan,
    TrainSpec,
    component_text,
    evaluation_identity,
    is_clean,
)
from isoloss.measured.stored_plans import latest_plans
from isoloss.runtime.store.result import Result
from isoloss.runtime.store.store import Store

#: Columns that say what a network is, in the order of a table; `settings` follow under their own names.
DESCRIBING = ("model", "params", "recipe", "generator", "images")


@dataclass(frozen=True, slots=True)
class Row:
    """One metric that one evaluation measured of one network. An accuracy is a fraction; `interval` is for new test
    images (95 %), None where it isn't known; `identity` says what was done, whatever it is called."""

    network: str  # the run's name in its plan
    model: str
    params: int | None
    recipe: str | None
    generator: str | None
    images: int | None  # D, images drawn
    seed: int
    settings: Mapping[str, Any]  # what else its grid varies
    source: str | None  # the network that adversarial images were crafted on; None: itself
    evaluation: str
    metric: str  # accuracy | loss
    value: float
    interval: tuple[float, float] | None
    tested: int | None  # test images
    alarms: tuple[str, ...]
    job: str  # the evaluate job
    study: str
    identity: str | None = field(repr=False)
    observation: Observation = field(compare=False, repr=False)
    attack: Mapping[str, Any] = field(
        compare=False, repr=False
    )  # what was done: {"kind": "none"} for clean images

    def as_data(self) -> dict[str, Any]:
        """The contract of `results --json`."""
        names = ("network", "model", "params", "recipe", "generator", "images", "seed")
        rest = ("source", "evaluation", "metric", "value", "interval", "tested", "alarms", "job", "study")
        data = {name: getattr(self, name) for name in names} | {"settings": dict(self.settings)}
        data |= {name: getattr(self, name) for name in rest}
        return data | {"interval": self.interval and list(self.interval), "alarms": list(self.alarms)}

    def column(self, name: str) -> Any:
        """A describing column, `seed`, or a setting by its path (None: it has none)."""
        if name in (*DESCRIBING, "seed", "network", "study"):
            return getattr(self, name)
        return self.settings.get(name)


def rows_of_store(store: Store, study: str | None = None) -> list[Row]:
    """Rows of every study of a store, or of one. Raises KeyError with the known names for a study it doesn't have, and
    the store's JobError where it can't be read."""
    plans = latest_plans(store.path / "plans")
    names = [str(plan.study.get("name")) for plan in plans]
    if study is not None and study not in names:
        raise KeyError(", ".join(f"`{name}`" for name in names) or "none")
    results = {result.job: result for result in store.results()}
    chosen = [plan for plan, name in zip(plans, names, strict=True) if study in (None, name)]
    return [row for plan in chosen for row in rows_of_plan(plan, results)]


def rows_of_plan(plan: Plan, results: Mapping[str, Result]) -> list[Row]:
    """Rows of one plan's own jobs that have a result."""
    jobs = {job.id: job for job in plan.jobs}
    tests = [job for job in jobs.values() if isinstance(job.spec, EvaluateSpec)]
    declared = {_clean_identity(job) for job in tests if not _attacks(job)}
    on_the_way = {_clean_identity(job) for job in tests if _attacks(job)} - declared
    rows: list[Row] = []
    seen_clean: set[tuple[str, str | None]] = set()
    for job in plan.jobs:
        result = results.get(job.id)
        if result is None or not isinstance(job.spec, EvaluateSpec) or job.spec.network not in jobs:
            continue
        for observation in result.observations:
            identity = evaluation_identity("evaluate", result.spec, observation.metric)
            if identity is None:
                continue
            name = job.facts.evaluation or job.name
            if is_clean(observation.metric) and _attacks(job):
                # Every attack's job counts it: once is enough, and a declared clean evaluation says it itself.
                if identity in declared or (job.spec.network, identity) in seen_clean:
                    continue
                seen_clean.add((job.spec.network, identity))
                name = "clean" if len(on_the_way) == 1 else f"clean of {name}"
            rows.append(_row(plan, jobs[job.spec.network], job, result, observation, name, identity))
    return rows


def _attacks(job: Job) -> bool:
    return isinstance(job.spec, EvaluateSpec) and job.spec.attack["kind"] != "none"


def _clean_identity(job: Job) -> str | None:
    return evaluation_identity("evaluate", orjson.loads(orjson.dumps(job.spec)), "accuracy @ clean")


def _row(
    plan: Plan, train: Job, test: Job, result: Result, o: Observation, evaluation: str, identity: str
) -> Row:
    assert isinstance(train.spec, TrainSpec)
    facts = train.facts
    known = o.low is not None and o.high is not None
    return Row(
        network=train.name,
        model=component_text(train.spec.model),
        params=facts.params,
        recipe=facts.recipe,
        generator=facts.generator,
        images=facts.images,
        seed=train.spec.seed,
        settings=facts.settings,
        source=None,
        evaluation=evaluation,
        metric=o.metric.partition(" ")[0],
        value=o.value,
        interval=(float(o.low), float(o.high)) if known else None,  # type: ignore[arg-type]
        tested=o.count,
        alarms=o.flags,
        job=test.id,
        study=str(plan.study.get("name")),
        identity=identity,
        observation=o,
        attack={"kind": "none"} if is_clean(o.metric) else dict(result.spec.get("attack") or {}),
    )


def swept(rows: Sequence[Row]) -> list[str]:
    """The describing columns and settings in which these networks differ, `params` only beside the same `model`."""
    names = [*DESCRIBING, *dict.fromkeys(name for row in rows for name in row.settings)]
    varied = [name for name in names if len({_key(row.column(name)) for row in rows}) > 1]
    if all("compute" in row.settings for row in rows):
        # At equal compute the images follow from the network and the recipe.
        varied = [name for name in varied if name != "images"]
    return [name for name in varied if name != "params" or "model" not in varied]


def _key(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else str(value)


def evaluations_of(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """(evaluation, metric) in the order they are met, accuracies first."""
    pairs = dict.fromkeys((row.evaluation, row.metric) for row in rows)
    yield from sorted(pairs, key=lambda pair: pair[1] != "accuracy")


def hardest_evaluation(rows: Sequence[Row]) -> str:
    """The evaluation that networks do worst under: what robustness is about. By mean over the networks."""

    def mean(evaluation: str) -> float:
        values = [row.value for row in rows if row.evaluation == evaluation]
        return sum(values) / len(values) * (1 if rows[0].metric == "accuracy" else -1)

    return min(dict.fromkeys(row.evaluation for row in rows), key=mean)
