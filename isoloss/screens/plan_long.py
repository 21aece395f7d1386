"""The long form of a plan's screen: networks, laws and their notes, placements, defaults, every job. Plan -> text.

Everything shown is in the plan itself, so a PLAN.json shows the same as the study it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from isoloss.compiler.cost import flops as cost
from isoloss.compiler.cost import passes as cost_rule
from isoloss.compiler.cost.architectures import count
from isoloss.compiler.cost.price import number_format
from isoloss.compiler.plan import Answer, Job, Placement, Plan, TrainSpec, component_text
from isoloss.dsl.vocabulary.quantity_text import bytes_text, estimate_text, flop_text, time_text, writer
from isoloss.report.study_text import plain
from isoloss.screens.layout import columns
from isoloss.screens.plan_networks import networks


def sections(plan: Plan) -> list[list[str]]:
    """Lines of each section, without the short form's."""
    network_lines = networks(plan, True)
    return [
        _models(plan),
        network_lines,
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
        constant = cost_rule.flops_per_image(spec.model, spec.dataset, loss, attack, perturb) / network.params
        ratio = "outside its domain"
        stated = cost.paper_constant_applies(spec.model, spec.dataset, loss, attack)
        if stated and perturb["kind"] == "none":
            ratio = f"{constant / cost.PAPER_CONSTANT - 1:+.2%}"
        total = sum(job.cost.flops or 0.0 for job in jobs)
        rows.append(
            (
                name,
                f"{network.params:,}",
                str(len(jobs)),
                flop_text(network.forward_flops),
                flop_text(total),
                f"{constant:,.0f}",
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
        values = {name: value for name, value in answer.values.items() if value is not None}
        if values:
            lines.append("    " + ", ".join(f"{n} {estimate_text(v, n)}" for n, v in values.items()))
        measured = {name: value for name, value in answer.measured.items() if value is not None}
        if measured:
            lines.append(
                "    measured: " + ", ".join(f"{n} {estimate_text(v, n)}" for n, v in measured.items())
            )
        lines.extend(f"    {note}" for note in answer.notes)
    return ["laws and answers", *lines] if lines else []


def _states(members: list[Answer]) -> str:
    counts = {
        status: sum(1 for a in members if a.status == status)
        for status in ("answered", "wide", "pending", "not determined")
    }
    if len(members) == 1:
        return members[0].status
    return ", ".join(f"{n} {status}" for status, n in counts.items() if n)


def _shortest(members: list[Answer]) -> str:
    if len(members) == 1:
        values = [f"{n} {writer(n)(v.mid)}" for n, v in members[0].values.items() if v is not None]
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
        per_device = (
            f"{place.devices}",
            f"{place.micro_batch}",
            bytes_text(place.memory_bytes),
            f"{place.zero_stage}",
        )
        rows.append((name, f"{batch}", f"{jobs}", *per_device, "" if place.fits else "too much"))
    return ["placement of jobs that one device can't hold", *columns(rows)] if groups else []


# How it is trained.


def _recipes(plan: Plan) -> list[str]:
    """Each recipe once, in the language's words; its batches and rates are those of all its trainings."""
    groups: dict[str, list[tuple[str, TrainSpec]]] = {}
    for job in plan.jobs:
        if isinstance(job.spec, TrainSpec):
            same = {k: v for k, v in job.spec.recipe.items() if k not in ("batch", "lr")}
            key = str((same, _precision(job.spec), _group(job.spec)))
            groups.setdefault(key, []).append((job.name, job.spec))
    lines: list[str] = []
    for trained in groups.values():
        if len(groups) > 1:
            more = f" and {len(trained) - 1:,} more" if len(trained) > 1 else ""
            lines.append(f"  of {trained[0][0]}{more}")
        lines.extend(_recipe([spec for _, spec in trained]))
    return ["recipe, every default explicit", *lines] if lines else []


def _recipe(specs: Sequence[TrainSpec]) -> Iterator[str]:
    spec = specs[0]
    # A plan read from JSON has its keys sorted: both show the same.
    for name in sorted(spec.recipe.keys() - {"batch", "lr", "clip"}):
        yield f"  {name:<10}{plain(dict(sorted(spec.recipe[name].items())))}"
    yield f"  {'batch':<10}{_listed({trained.recipe['batch'] for trained in specs})}"
    yield f"  {'lr':<10}{_listed({trained.recipe['lr'] for trained in specs})}"
    yield f"  {'clip':<10}{plain(spec.recipe['clip'])}"
    yield f"  {'precision':<10}{_precision(spec)}"
    yield f"  {'bn group':<10}{_group(spec)}"
    if spec.evaluation is not None:
        attack = plain(dict(sorted(spec.evaluation["attack"].items())))
        yield f"  {'evaluate':<10}{attack} every {spec.evaluation['every']:.3g} of training"


def _precision(spec: TrainSpec) -> str:
    return number_format(spec.numerics) + (", deterministic" if spec.numerics["deterministic"] else "")


def _group(spec: TrainSpec) -> str:
    group = spec.numerics["batchnorm_group"]
    return "the whole batch" if group == spec.recipe["batch"] else f"{group} images"


def _listed(values: set[Any]) -> str:
    ordered = sorted(values)
    shown = ordered if len(ordered) <= 4 else [ordered[0], "…", ordered[-1]]
    return ", ".join(f"{v:g}" if isinstance(v, int | float) else v for v in shown)


# Every job.


def _jobs(plan: Plan) -> list[str]:
    rows = [("job", "id", "state", "compute", "seconds", "why")]
    for job in plan.jobs:
        seconds = time_text(job.cost.seconds.mid) if job.cost.seconds else "–"
        rows.append((job.name, job.id[:8], job.state, flop_text(job.cost.flops), seconds, job.reason))
    return ["jobs", *columns(rows, left=3)]


def _dropped(plan: Plan) -> list[str]:
    if not plan.dropped:
        return []
    rows = [(d.name, flop_text(d.cost.flops), d.reason) for d in plan.dropped]
    return ["left out", *columns(rows, left=1)]
