"""Why a job exists, what its bill is made of, which field would make it run again. Plan + name ->
Explanation.

Everything comes from the plan: its specs hold all that a job means. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from isoloss.compiler.cost.flops import ASSUMED_SURVIVORS, Part, parts
from isoloss.compiler.plan import KINDS, Cost, Dropped, Job, Plan


@dataclass(frozen=True, slots=True)
class Explanation:
    """`bill` adds up to the job's flops + evaluation_flops; `identity` maps every field that makes it this
    job to
    its value; `needs` and `users` are (id, name)."""

    id: str
    name: str
    kind: str
    state: str
    reason: str
    place: str
    cost: Cost
    bill: tuple[Part, ...]
    identity: Mapping[str, str]
    needs: tuple[tuple[str, str], ...]
    users: tuple[tuple[str, str], ...]


def find(plan: Plan, text: str) -> Sequence[Job | Dropped]:
    """Jobs and dropped cells called `text`: by full name, else by the start of an id, at least four
    digits."""
    everything: list[Job | Dropped] = [*plan.jobs, *plan.dropped]
    named = [job for job in everything if job.name == text]
    if named or len(text) < 4:
        return named
    return [job for job in everything if job.id.startswith(text.lower())]


def explain(plan: Plan, job: Job | Dropped) -> Explanation:
    """Raises AssertionError where the parts of the bill don't add up to its total: a bug of ours."""
    kind = job.kind if isinstance(job, Job) else "train"
    bill = parts(job.spec, ASSUMED_SURVIVORS if job.cost.survivors is None else job.cost.survivors)
    total = (job.cost.flops or 0.0) + job.cost.evaluation_flops
    if not job.cost.unknown:
        assert abs(sum(p.flops or 0.0 for p in bill) - total) <= 1e-9 * max(total, 1.0), "a bill must add up"
    names = {j.id: j.name for j in plan.jobs}
    needs = job.needs if isinstance(job, Job) else ()
    return Explanation(
        id=job.id,
        name=job.name,
        kind=kind,
        state=job.state if isinstance(job, Job) else "left out",
        reason=job.reason,
        place=f"{job.origin.file}:{job.origin.line}:{job.origin.column}" if job.origin.file else "",
        cost=job.cost,
        bill=bill,
        identity=dict(identity(kind, job.spec)),
        needs=tuple((id, names.get(id, "")) for id in needs),
        users=tuple((j.id, j.name) for j in plan.jobs if job.id in j.needs),
    )


#: Fields that hold other jobs' ids: they change because their inputs do.
INPUTS = (
    "network", "data.shards", "data.generated.shards", "samples", "generated",
    "denoiser.job", "sampler.discriminator.job",
)  # fmt: skip


def identity(kind: str, spec: Any) -> Iterator[tuple[str, str]]:
    """Every field that makes a job this job, with its value as text; nested ones as `recipe.attack.steps`."""
    yield "kind", f"{kind}, version {KINDS[kind].version}"
    for field in fields(spec):
        yield from _flat(field.name, getattr(spec, field.name))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Nested components as dotted fields: `recipe.attack.steps`, each kind before its arguments."""
    if isinstance(value, Mapping):
        if "kind" in value:
            yield name, str(value["kind"])
        for key, entry in value.items():
            if key != "kind":
                yield from _flat(f"{name}.{key}", entry)
    elif isinstance(value, list | tuple) and value and name in INPUTS:
        yield name, f"{len(value)} jobs: {', '.join(str(v)[:8] for v in value)}"
    elif isinstance(value, list | tuple):
        yield name, ", ".join(map(str, value)) or "none"
    else:
        yield name, "none" if value is None else str(value)
