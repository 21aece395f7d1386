"""A plan as one screen: what runs, what it costs, what it will answer, what is assumed. Plan -> text.

Everything shown is in the plan itself, so a PLAN.json shows the same as the study it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isoloss.commands.plan_networks import networks
from isoloss.commands.quantities import columns, flop, hours_range, interval, kwh, money, number, size, time
from isoloss.compiler import cost
from isoloss.compiler import passes as cost_rule
from isoloss.compiler.architectures import count
from isoloss.compiler.components import component_text
from isoloss.compiler.datasets import shape
from isoloss.compiler.plan import KINDS, Answer, EvaluateSpec, Job, Plan, TrainSpec


def screen(plan: Plan, *, long: bool = False) -> str:
    """The whole text, without a final newline."""
    sections = [_head(plan), _bill(plan), _models(plan), networks(plan, long), _budget(plan), _answers(plan)]
    sections += [_assumed(plan), _recipes(plan, long)]
    if long:
        sections += [_jobs(plan), _dropped(plan)]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _head(plan: Plan) -> list[str]:
    done = sum(1 for job in plan.jobs if job.state == "done")
    waiting = sum(1 for job in plan.jobs if job.state == "provisional")
    said = [f"{len(plan.jobs):,} jobs", f"{done:,} done", f"{len(plan.jobs) - done - waiting:,} ready"]
    if waiting:
        said.append(f"{waiting:,} wait for results")
    if plan.dropped:
        said.append(f"{len(plan.dropped):,} cells left out")
    return [f"study {plan.study.get('name', '')}: {', '.join(said)}"]


# What it costs.


def _bill(plan: Plan) -> list[str]:
    currency = str(plan.budget.get("currency") or "USD")
    rows = [("", "jobs", "done", "compute", "device-hours", "energy", "money", "storage")]
    energy = plan.budget.get("energy_kwh") or {}
    # JSON sorts keys; the screen follows the work.
    for kind in (*KINDS, "all"):
        if kind not in plan.totals:
            continue
        total = plan.totals[kind]
        mine = [job for job in plan.jobs if kind in ("all", job.kind)]
        everything = (total.flops or 0.0) + (total.evaluation_flops if kind == "all" else 0.0)
        known = flop(everything) if everything or not total.unknown else "not estimated"
        rows.append(
            (
                KINDS[kind].words if kind in KINDS else "together",
                f"{len(mine):,}",
                f"{sum(1 for job in mine if job.state == 'done'):,}",
                known,
                hours_range(total.seconds),
                kwh(energy.get(kind)),
                money(total.usd, currency),
                size(total.storage_bytes),
            )
        )
        if kind == "train" and total.evaluation_flops:
            rows.append(("  and evaluate on the way", "", "", flop(total.evaluation_flops), "", "", "", ""))
    return ["what runs, what it costs", *columns(rows)]


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


def _budget(plan: Plan) -> list[str]:
    b = plan.budget
    lines = []
    if b.get("compute_flops") is not None:
        said = f"  compute   {flop(b['used_flops'])} of {flop(b['compute_flops'])}"
        if b.get("spent_flops"):
            said += f", {flop(b['spent_flops'])} of it spent"
        if b.get("reserved_flops"):
            said += f"; {flop(b['reserved_flops'])} kept for what `allocate` trains"
        lines.append(said)
    devices = b["devices"]
    bound = max(b["work_bound_seconds"], b["path_bound_seconds"])
    made = b.get("schedule")
    if made and made["makespan_seconds"]:
        lines.extend(_schedule(made, devices))
    elif bound:
        why = "all work over all devices" if b["work_bound_seconds"] >= bound else "the longest chain of jobs"
        where = f"{devices['count']} of {devices['kind']}"
        lines.append(f"  time      at least {time(bound)} on {where} ({why}, one device per job)")
    chains = b.get("chains") or {}
    if chains.get("jobs"):
        lines.append(
            f"  walltime  {chains['jobs']} jobs are longer than {time(b['walltime_seconds'])} on one device: "
            f"chains of up to {chains['longest']} links"
        )
    if b.get("storage_bytes") is not None:
        lines.append(f"  storage   {size(b['used_storage_bytes'])} of {size(b['storage_bytes'])}")
    return ["budget", *lines] if lines else []


def _schedule(made: Mapping[str, Any], devices: Mapping[str, Any]) -> Iterator[str]:
    work, path = made["work_bound_seconds"], made["path_bound_seconds"]
    said = f"  time      {time(made['makespan_seconds'])} on {devices['count']} of {devices['kind']}"
    why = "all work over all devices" if work >= path else "the longest chain of jobs"
    yield f"{said}; no schedule is shorter than {time(max(work, path))} ({why})"
    if made["widest"] > 1:
        loss = f"{made['loss_per_e_fold']:.0%}"
        yield f"            jobs on up to {made['widest']} devices, {loss} lost per e-fold (assumed)"


# What it answers.


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
    return ["what it will answer", *lines] if lines else []


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


# What is taken on trust.


def _assumed(plan: Plan) -> list[str]:
    lines = []
    profile = plan.budget.get("profile") or {}
    if profile:
        lines.append(f"  speed     {profile['device']}, {profile['provenance']}")
    if any(isinstance(j.spec, EvaluateSpec) and j.spec.attack["kind"] == "autoattack" for j in plan.jobs):
        share, each = cost.ASSUMED_SURVIVORS, cost.AUTOATTACK_PASSES
        lines.append(f"  autoattack {share:.0%} of images survive, at {each:,} passes each")
    if any(isinstance(j.spec, TrainSpec) for j in plan.jobs):
        train = next(j.spec for j in plan.jobs if isinstance(j.spec, TrainSpec))
        epoch = shape(train.dataset).epoch_images
        lines.append(
            f"  images    whole batches of epochs of {epoch:,}: D drawn is a little over D asked for"
        )
        lines.append("  memory    the whole batch on one device; three saved tensors per convolution")
    missing: dict[str, list[str]] = {}
    for job in plan.jobs:
        for why in job.cost.unknown:
            missing.setdefault(why, []).append(job.kind)
    result = ["assumed", *lines] if lines else []
    if missing:
        result += ["", "not estimated"] if result else ["not estimated"]
        for why, kinds in missing.items():
            result.append(f"  {why} ({len(kinds)} jobs: {', '.join(dict.fromkeys(kinds))})")
    return result


def _recipes(plan: Plan, long: bool) -> list[str]:
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
        lines.extend(_recipe(recipe, batches, rates, spec, long))
    return (
        ["recipe, every default explicit" if long else "recipe (--long: every default)", *lines]
        if lines
        else []
    )


def _recipe(
    recipe: Mapping[str, Any], batches: set[int], rates: set[float], spec: TrainSpec, long: bool
) -> Iterator[str]:
    shown = {k: v for k, v in sorted(recipe.items()) if k not in ("batch", "lr", "clip")}
    if not long:
        yield f"  {_called(recipe['loss'])}, {_called(recipe['attack'])}"
        yield f"  batch {_listed(batches)}, lr {_listed(rates)}, {_called(recipe['average'])} weights"
        return
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


# The long form.


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
