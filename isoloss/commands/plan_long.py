"""The long form of a plan's screen: networks, laws and their notes, placements, defaults, every job. Plan -> text.

Everything shown is in the plan itself, so a PLAN.json shows the same as the study it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isoloss.commands.plan_networks import networks
from isoloss.commands.quantities import columns, flop, interval, number, size, time
from isoloss.compiler import cost
from isoloss.compiler import passes as cost_rule
from isoloss.compiler.architectures import count
from isoloss.compiler.components import component_text
from isoloss.compiler.plan import Answer, Job, Placement, Plan, TrainSpec


def sections(plan: Plan) -> list[list[str]]:
    """Lines of each section, without the short form's."""
    made = networks(plan, True)
    return [
        _models(plan),
        made,
        _answers(plan),
        _placements(plan),
        _recipes(plan),
        _jobs(plan),
        _dropped(plan),
    ]


def _models(plan: Plan) -> list[str]:
    """Per network: our count beside 7822 N D, which is refused outside its domain."""
    groups: dict[str, list[Job]] = {}
    for job in plan.jobs:
        if isinstance(job.spec, TrainSpec):
            groups.setdefault(component_text(job.spec.model), []).append(job)
    if not groups:
        return []
    rows = [("network", "N", "runs", "forward", "training", "FLOP / N D", "against 7822 N D")]
    for name, jobs in groups.items():
        spec = jobs[0].spec
        assert isinstance(spec, TrainSpec)
        network = count(spec.model, spec.dataset)
        loss, attack = spec.recipe["loss"], spec.recipe["attack"]
        perturb = spec.recipe.get("perturb", cost_rule.NO_PERTURB)
        each = cost_rule.flops_per_image(spec.model, spec.dataset, loss, attack, perturb) / network.params
        ratio = "outside its domain"
        stated = cost.paper_constant_applies(spec.model, spec.dataset, loss, attack)
        if stated and perturb["kind"] == "none":
            ratio = f"{each / cost.PAPER_CONSTANT - 1:+.2%}"
        total = sum(job.cost.flops or 0.0 for job in jobs)
        rows.append(
            (
                name,
                f"{network.params:,}",
                str(len(jobs)),
                flop(network.forward_flops),
                flop(total),
                f"{each:,.0f}",
                ratio,
            )
        )
    return ["networks", *columns(rows)]


# What it answers, with every note.


def _answers(plan: Plan) -> list[str]:
    lines = []
    fits = [a for a in plan.answers if a.kind == "fit"]
    groups: dict[str, list[Answer]] = {}
    for answer in fits:
        groups.setdefault(answer.name.split("/", 1)[0], []).append(answer)
    for name, members in groups.items():
        lines.append(f"  fit {name}  {members[0].laws[0]}, {_states(members)}: {_shortest(members)}")
    for answer in plan.answers:
        if answer.kind == "fit":
            continue
        law = " and ".join(answer.laws)
        lines.append(f"  {answer.kind} {answer.name}  by {law}, {answer.status}")
        known = {name: value for name, value in answer.values.items() if value is not None}
        if known:
            lines.append("    " + ", ".join(f"{n} {interval(v)}" for n, v in known.items()))
        found = {name: value for name, value in answer.measured.items() if value is not None}
        if found:
            lines.append("    measured: " + ", ".join(f"{n} {interval(v)}" for n, v in found.items()))
        lines.extend(f"    {note}" for note in answer.notes)
    return ["laws and answers", *lines] if lines else []


def _states(members: list[Answer]) -> str:
    counts = {
        status: sum(1 for a in members if a.status == status)
        for status in ("answered", "pending", "unanswerable")
    }
    if len(members) == 1:
        return members[0].status
    return ", ".join(f"{n} {status}" for status, n in counts.items() if n)


def _shortest(members: list[Answer]) -> str:
    if len(members) == 1:
        values = [f"{n} {number(v.mid)}" for n, v in members[0].values.items() if v is not None]
        return "; ".join([members[0].notes[0], *([", ".join(values)] if values else [])])
    return f"one per generator ({', '.join(a.name.split('/', 1)[1] for a in members)})"


# Where jobs lie.


def _placements(plan: Plan) -> list[str]:
    """Jobs that one device can't hold, by network and batch."""
    groups: dict[tuple[str, int, Placement], int] = {}
    for job in plan.jobs:
        if job.cost.placement is not None and isinstance(job.spec, TrainSpec):
            key = component_text(job.spec.model), int(job.spec.recipe["batch"]), job.cost.placement
            groups[key] = groups.get(key, 0) + 1
    rows = [("network", "batch", "jobs", "devices", "at a time", "on each", "ZeRO", "")]
    for (name, batch, place), jobs in groups.items():
        each = (f"{place.devices}", f"{place.micro_batch}", size(place.memory_bytes), f"{place.zero_stage}")
        rows.append((name, f"{batch}", f"{jobs}", *each, "" if place.fits else "too much"))
    return ["placement of jobs that one device can't hold", *columns(rows)] if groups else []


# How it is trained.


def _recipes(plan: Plan) -> list[str]:
    seen: dict[str, tuple[Mapping[str, Any], set[int], set[float], TrainSpec]] = {}
    for job in plan.jobs:
        if not isinstance(job.spec, TrainSpec):
            continue
        recipe = job.spec.recipe
        kept = {k: v for k, v in recipe.items() if k not in ("batch", "lr")}
        key = str((kept, _numerics(job.spec), _group(job.spec)))
        entry = seen.setdefault(key, (recipe, set(), set(), job.spec))
        entry[1].add(recipe["batch"])
        entry[2].add(recipe["lr"])
    lines: list[str] = []
    for recipe, batches, rates, spec in seen.values():
        lines.extend(_recipe(recipe, batches, rates, spec))
    return ["recipe, every default explicit", *lines] if lines else []


def _recipe(
    recipe: Mapping[str, Any], batches: set[int], rates: set[float], spec: TrainSpec
) -> Iterator[str]:
    shown = {k: v for k, v in sorted(recipe.items()) if k not in ("batch", "lr", "clip")}
    for name, value in shown.items():
        yield f"  {name:<10}{_called(value)}"
    yield f"  {'batch':<10}{_listed(batches)}"
    yield f"  {'lr':<10}{_listed(rates)}"
    yield f"  {'clip':<10}{'none' if recipe['clip'] is None else recipe['clip']}"
    yield f"  {'numerics':<10}{_numerics(spec)}"
    yield f"  {'bn group':<10}{_group(spec)}"
    if spec.evaluation is not None:
        every = spec.evaluation["every"]
        yield f"  {'evaluate':<10}{_called(spec.evaluation['attack'])} every {every:.3g} of training"


def _numerics(spec: TrainSpec) -> str:
    shown = sorted(spec.numerics.items())
    return ", ".join(f"{k} = {v}" for k, v in shown if k not in ("kind", "batchnorm_group"))


def _group(spec: TrainSpec) -> str:
    group = spec.numerics["batchnorm_group"]
    return "the whole batch" if group == spec.recipe["batch"] else f"{group} images"


def _called(item: Mapping[str, Any]) -> str:
    # A plan read from JSON has its keys sorted: both show the same.
    arguments = ", ".join(f"{k} = {v}" for k, v in sorted(item.items()) if k != "kind")
    return f"{item['kind']}({arguments})" if arguments else str(item["kind"])


def _listed(values: set[Any]) -> str:
    ordered = sorted(values)
    shown = ordered if len(ordered) <= 4 else [ordered[0], "…", ordered[-1]]
    return ", ".join(f"{v:g}" if isinstance(v, int | float) else v for v in shown)


# Every job.


def _jobs(plan: Plan) -> list[str]:
    rows = [("job", "id", "state", "compute", "seconds", "why")]
    for job in plan.jobs:
        seconds = time(job.cost.seconds.mid) if job.cost.seconds else "–"
        rows.append((job.name, job.id[:8], job.state, flop(job.cost.flops), seconds, job.reason))
    return ["jobs", *columns(rows, left=3)]


def _dropped(plan: Plan) -> list[str]:
    if not plan.dropped:
        return []
    rows = [(d.name, flop(d.cost.flops), d.reason) for d in plan.dropped]
    return ["left out", *columns(rows, left=1)]
