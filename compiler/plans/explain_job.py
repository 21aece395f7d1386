"""Why a job exists, what its bill is made of, which field would make it run again. Plan + name ->
Explanation.

Everything comes from the plan: its specs hold all that a job means. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from isoloss.compiler.cost.flops import ASSUMED_SURVIVORS, INSIDE, Part, parts
from isoloss.compiler.cost.price import amounts, moves_bytes, speed_key
from isoloss.compiler.cost.scaling import alone_seconds, fewest
from isoloss.compiler.cost.speed import width_factor
from isoloss.compiler.plan import KINDS, Cost, Dropped, Job, Plan


@dataclass(frozen=True, slots=True)
class Explanation:
    """`bill` adds up to the job's flops + evaluation_flops; `identity` maps every field that makes it this
    job to
    its value; `needs` and `users` are (id, name); `waits`
    says what its seconds in the middle are spent on, and adds up to them; `speed` where they come from."""

    id: str
    name: str
    kind: str
    state: str
    reason: str
    place: str
    cost: Cost
    bill: tuple[Part, ...]
    waits: tuple[tuple[str, float], ...]
    speed: str
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
        waits=tuple(_waits(plan, job, bill)),
        speed=_speed(plan, job),
        identity=dict(identity(kind, job.spec)),
        needs=tuple((id, names.get(id, "")) for id in needs),
        users=tuple((j.id, j.name) for j in plan.jobs if job.id in j.needs),
    )


def _waits(plan: Plan, job: Job | Dropped, bill: Sequence[Part]) -> Iterator[tuple[str, float]]:
    """(what, seconds): start-up, launches, arithmetic, memory, evaluation. By the profile that the plan began with,
    scaled to the job's own seconds, which finished jobs may have moved."""
    seconds, profile = job.cost.seconds, plan.basis.profile
    if seconds is None or moves_bytes(job.spec):
        return
    sums = dict.fromkeys(("start-up", "launches", "arithmetic", "memory", "evaluation"), 0.0)
    sums["start-up"] = profile.startup_seconds.mid
    for part in bill:
        for key, work in amounts(job.spec, (part,), profile):
            speed = profile.speeds[key]
            launches = work.launches * speed.launch_seconds.mid
            slower = width_factor(speed, work)
            arithmetic = slower * work.flops / speed.flops_per_second.mid
            memory = slower * work.values / speed.values_per_second.mid
            if profile.queues and launches > arithmetic + memory:
                arithmetic = memory = 0.0
            elif profile.queues:
                launches = 0.0
            for name, took in (("launches", launches), ("arithmetic", arithmetic), ("memory", memory)):
                sums["evaluation" if part.name == INSIDE else name] += took
    scale = alone_seconds(seconds.mid, fewest(job.cost)) / sum(sums.values())
    yield from ((name, scale * took) for name, took in sums.items() if took)


def _speed(plan: Plan, job: Job | Dropped) -> str:
    """Where the speed comes from that the job goes by."""
    if job.cost.seconds is None or moves_bytes(job.spec):
        return ""
    key = speed_key(job.spec, plan.basis.profile)
    return f"{plan.basis.profile.device}, {key}: {plan.basis.profile.speeds[key].provenance}"


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
