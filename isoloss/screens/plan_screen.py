"""A plan as one screen: what runs, what it costs, what it will answer, what is assumed. Plan -> text.

Everything shown is in the plan itself, so a PLAN.json shows the same as the study it was made from. No line is
longer than WIDTH; what would be is said in fewer words and stands in full in the long form (plan_long.py)."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from isoloss.compiler.cost import flops as cost
from isoloss.compiler.cost.price import number_format
from isoloss.compiler.facts.components import component_text
from isoloss.compiler.plan import KINDS, Answer, Cost, EvaluateSpec, Job, Plan, Range, TrainSpec
from isoloss.dsl.vocabulary.quantity_text import (
    accuracy_text,
    bytes_text,
    count_text,
    decimal_text,
    device_time_text,
    energy_text,
    estimate_text,
    flop_text,
    money_range_text,
    share_text,
    time_text,
    times_text,
)
from isoloss.screens.columns import columns
from isoloss.screens.paint import PLAIN, Paint

WIDTH = 100
#: Half-widths of log loss and of ln N* beyond which nothing is known worth a number.
UNKNOWN = 1.0


def screen(plan: Plan, *, long: bool = False, paint: Paint = PLAIN) -> str:
    """The whole text, without a final newline."""
    parts = [_head(plan, paint), _runs(plan), _bill(plan), _answers(plan, paint), _assumed(plan)]
    if long:
        from isoloss.screens.plan_long import sections

        parts += sections(plan)
    else:
        parts.append([paint.dim("networks, laws, defaults and every job: --long")])
    heads = [[paint.bold(lines[0]), *lines[1:]] if i else lines for i, lines in enumerate(parts) if lines]
    return "\n\n".join("\n".join(lines) for lines in heads)


def _head(plan: Plan, paint: Paint) -> list[str]:
    devices, dataset = plan.budget["devices"], (plan.study.get("dataset") or {}).get("call", "")
    states: Counter[str] = Counter(job.state for job in plan.jobs)
    said = [
        f"{states[state]:,} {word}"
        for state, word in (("done", "done"), ("ready", "to run"), ("provisional", "wait for results"))
        if states[state]
    ]
    name = paint.bold(str(plan.study.get("name", "")))
    where = f"{dataset}, {devices['count']} of {devices['kind']}"
    return [f"{name}: {where}; {len(plan.jobs):,} jobs: {', '.join(said) or 'nothing to do'}"]


# What runs.


def _runs(plan: Plan) -> list[str]:
    trained = [job for job in plan.jobs if isinstance(job.spec, TrainSpec)]
    lines = [f"  {line}" for line in _trainings(trained)]
    others = Counter(job.kind for job in plan.jobs if job.kind != "train")
    words = [f"{count:,} {KINDS[kind].words}" for kind, count in others.items()]
    if words:
        lines.append(f"  and their jobs: {', '.join(words)}")
    if plan.dropped:
        lines.append(f"  {len(plan.dropped):,} cells are left out, the likes of {plan.dropped[0].name}")
    return ["what runs", *lines]


def _trainings(trained: Sequence[Job]) -> Iterator[str]:
    if not trained:
        yield "no training"
        return
    grids = [job for job in trained if job.facts.allocation is None]
    asked = [job for job in trained if job.facts.allocation is not None]
    if grids:
        sizes = {job.facts.params or 0: component_text(_model(job)) for job in grids}
        networks = _span([sizes[n] for n in sorted(sizes)], "network")
        images = sorted({job.facts.images or 0 for job in grids})
        drawn = " to ".join(dict.fromkeys(count_text(count) for count in (images[0], images[-1])))
        sources = sorted({job.facts.generator or "" for job in grids})
        seeds = len({_seed(job) for job in grids})
        more = f", {seeds} seeds" if seeds > 1 else ""
        yield f"{len(grids):,} trainings: {networks}, {drawn} images of {_few(sources, 'generator')}{more}"
    for job in asked:
        spent, drawn = flop_text(job.cost.flops), count_text(job.facts.images or 0)
        waits = "" if job.state != "provisional" else ", as far as known"
        what = f"{component_text(_model(job))}, {drawn} images of {job.facts.generator}"
        yield f"`{job.facts.allocation}`: {what}, {spent}{waits}"


def _model(job: Job) -> Mapping[str, Any]:
    assert isinstance(job.spec, TrainSpec)
    return job.spec.model


def _seed(job: Job) -> int:
    assert isinstance(job.spec, TrainSpec)
    return job.spec.seed


def _span(names: Sequence[str], what: str) -> str:
    """`8 networks, wrn(28, 4) to wrn(82, 16)`, or the names of a few."""
    if len(names) <= 2:
        return " and ".join(names)
    return f"{len(names)} {what}s, {names[0]} to {names[-1]}"


def _few(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what}s" if len(names) > 3 else " and ".join(names)


# What it costs.


def _bill(plan: Plan) -> list[str]:
    currency = str(plan.budget.get("currency") or "USD")
    priced = any(total.usd is not None for total in plan.totals.values())
    rows = [("", "jobs", "compute", "device-time", currency if priced else "")]
    # JSON sorts keys; the screen follows the work.
    for kind in (*KINDS, "all"):
        if kind in plan.totals:
            rows.extend(_rows(plan, kind, plan.totals[kind]))
    kept = float(plan.budget["waiting_flops"])
    if kept:
        rows.insert(-1, ("kept for `allocate`", "", flop_text(kept), "", ""))
    return ["what it costs", *columns(rows), *(line for said in _sums(plan) for line in _wrapped(said))]


def _rows(plan: Plan, kind: str, total: Cost) -> Iterator[tuple[str, str, str, str, str]]:
    jobs = len(plan.jobs) if kind == "all" else sum(1 for job in plan.jobs if job.kind == kind)
    everything = (total.flops or 0.0) + (total.evaluation_flops if kind == "all" else 0.0)
    if kind == "all":
        everything += plan.budget["waiting_flops"]
    known = flop_text(everything) if everything or not total.unknown else "not estimated"
    word = KINDS[kind].words if kind in KINDS else "together"
    spent = "" if total.seconds is None else device_time_text(total.seconds)
    cash = "" if total.usd is None else money_range_text(total.usd)
    yield word, f"{jobs:,}", known, spent, cash
    if kind == "train" and total.evaluation_flops:
        yield "  on the way", "", flop_text(total.evaluation_flops), "", ""


def _sums(plan: Plan) -> Iterator[str]:
    """Time on the clock, disks, energy, and where jobs lie."""
    b = plan.budget
    devices = b["devices"]
    if b.get("compute_flops") is not None:
        spent = f", {flop_text(b['spent_flops'])} of it spent" if b.get("spent_flops") else ""
        yield f"the budget is {flop_text(b['compute_flops'])}{spent}"
    on = f"{devices['count']} of {devices['kind']}"
    bound, made = max(b["work_bound_seconds"], b["path_bound_seconds"]), b.get("schedule")
    if made and made["makespan_seconds"]:
        least = max(made["work_bound_seconds"], made["path_bound_seconds"])
        why = (
            "all work over all devices"
            if made["work_bound_seconds"] >= least
            else "the longest chain of jobs"
        )
        yield f"{time_text(made['makespan_seconds'])} on {on}; no schedule is shorter than {time_text(least)}, {why}"
    elif bound:
        yield f"at least {time_text(bound)} on {on}"
    chains = b.get("chains") or {}
    if chains.get("jobs"):
        limit = time_text(b["walltime_seconds"])
        yield f"{chains['jobs']:,} jobs outlast the walltime of {limit}: chains of up to {chains['longest']} links"
    placed = [job.cost.placement for job in plan.jobs if job.cost.placement is not None]
    fitting = [place.devices for place in placed if place.fits and place.devices > 1]
    if fitting:
        room = f"one {devices['kind']} can't hold their batches"
        yield f"{len(fitting):,} jobs take up to {max(fitting)} devices each: {room}"
    if any(not place.fits for place in placed):
        yield f"{sum(not place.fits for place in placed):,} jobs fit on no number of these devices"
    said = [
        f"{bytes_text(b.get('used_storage_bytes'))} stored",
        f"{bytes_text(b.get('transfer_bytes'))} moved",
    ]
    energy = (b.get("energy_kwh") or {}).get("all")
    if energy is not None:
        said.append(energy_text(Range(**energy)))
    yield ", ".join(said)


# What it answers.


def _answers(plan: Plan, paint: Paint) -> list[str]:
    lines: list[str] = []
    fits = [a for a in plan.answers if a.kind == "fit"]
    laws: dict[str, list[Answer]] = {}
    for fit in fits:
        laws.setdefault(fit.name.split("/", 1)[0], []).append(fit)
    known = (plan.budget.get("design") or {}).get("answers") or []
    for answer in plan.answers:
        if answer.kind != "fit":
            lines.extend(_question(plan, answer, [r for r in known if r["question"] == answer.name], paint))
    if laws:
        said = ", ".join(
            f"{name} ({members[0].laws[0]}, {_state(members)})" for name, members in laws.items()
        )
        lines.extend(_wrapped(f"laws: {said}"))
    return ["what it will answer", *lines] if lines else []


def _state(members: Sequence[Answer]) -> str:
    counts = Counter(answer.status for answer in members)
    if len(members) == 1:
        return members[0].notes[0] if members[0].status == "pending" else members[0].status
    done = f"{counts['answered']} of " if counts["answered"] and counts["answered"] < len(members) else ""
    return f"{done}{len(members)} of them, one per generator"


def _question(plan: Plan, answer: Answer, rows: Sequence[Mapping[str, Any]], paint: Paint) -> Iterator[str]:
    """A question, then what is known of it in at most a few lines."""
    asked = next((q for q in _declared(plan, answer) if q.get("name") == answer.name), {})
    law = f"; by {' and '.join(answer.laws)}"
    first, *rest = _wrapped(f"{answer.name}: {_asks(answer, asked)}{law}")
    yield first.replace(answer.name, paint.bold(answer.name), 1)
    yield from rest
    values = {name: value for name, value in answer.values.items() if value is not None}
    if values:
        shown = [f"{_LABELS[name]} {estimate_text(values[name], name)}" for name in _LABELS if name in values]
        yield from _wrapped(f"{'so far: ' if answer.status == 'pending' else ''}{', '.join(shown)}", 4)
    found = {name: value for name, value in answer.measured.items() if value is not None}
    if found:
        yield from _wrapped(
            "measured: " + ", ".join(f"{n} {estimate_text(v, n)}" for n, v in found.items()), 4
        )
    if answer.status == "pending":
        yield from (line for said in _expected(rows) for line in _wrapped(said, 4))
        if not rows:
            yield from _wrapped("pending: " + "; ".join(answer.notes[:2]), 4)
    elif answer.status == "unanswerable":
        yield from _wrapped(paint.warn(f"can't be answered: {answer.notes[-1] if answer.notes else ''}"), 4)
    within = asked.get("within")
    if within is not None:
        yield from (paint.warn(line) for line in _wrapped(_out_of_reach(plan, answer, within), 4))


_LABELS = {"loss": "loss", "accuracy": "accuracy", "params": "N*", "images": "D*", "flops": "compute"}


def _declared(plan: Plan, answer: Answer) -> Sequence[Mapping[str, Any]]:
    return plan.study.get("forecasts" if answer.kind == "forecast" else "allocations") or ()


def _asks(answer: Answer, asked: Mapping[str, Any]) -> str:
    if answer.kind == "forecast":
        fid = asked.get("fid") or 0
        quality = asked.get("generator") or (f"data of FID {fid:g}" if fid else "real data")
        within = "" if asked.get("within") is None else f", wanted within {share_text(asked['within'])}"
        return f"loss at {flop_text(asked.get('compute_flops'))} on {quality}{within}"
    on = " or ".join(asked.get("generators") or ("?",))
    more = f" or a smaller one for up to {asked['overhead']:.0%} more" if asked.get("overhead") else ""
    if asked.get("accuracy") is not None:
        return f"the cheapest run of accuracy {accuracy_text(asked['accuracy'])} on {on}{more}"
    if asked.get("time_seconds") is not None:
        return f"the best run within {time_text(asked['time_seconds'])} on {on}"
    return f"the best run of {flop_text(asked.get('compute_flops'))} on {on}{more}"


def _expected(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How well each quantity is known now, and how well this plan is expected to leave it: the worst law's."""
    said = []
    for what, label in (("loss", "loss"), ("size", "N*"), ("fit", "exponent or parameters")):
        mine = [row for row in rows if row["what"] == what]
        if not mine:
            continue
        now, after, rest = (max(r[k] for r in mine) for k in ("now", "after_slice", "whole_budget"))
        more = f", {_width(what, rest)} with the whole budget" if rest < 0.95 * after else ""
        said.append(f"{label} {_width(what, now)} now, expected {_width(what, after)} after this plan{more}")
    if said:
        yield "; ".join(said)


def _width(what: str, half: float) -> str:
    """A half-width of a logarithm, or of an exponent, as a person reads it."""
    if half > UNKNOWN:
        return "not known"
    return f"±{half:.2g}" if what == "fit" else f"±{share_text(math.expm1(half) if what == 'size' else half)}"


def _out_of_reach(plan: Plan, answer: Answer, within: float) -> str:
    """What the plan's warnings say of a tolerance, in short."""
    for warning in plan.warnings:
        if warning.code in ("B110", "L504") and f"`{answer.name}`" in warning.message:
            return f"within {share_text(within)} is out of reach: {warning.code}, below"
    return ""


# What is taken on trust.

#: How many times as fast trainings in another number format have to be before the screen says so.
_WORTH_A_WORD = 1.5


def _assumed(plan: Plan) -> list[str]:
    said: list[tuple[str, str]] = []
    profile = plan.budget.get("profile") or {}
    if profile:
        measured = "assumed" not in str(profile["provenance"]).split(":", 1)[0]
        hint = "" if measured else "; `isoloss calibrate` measures this machine's"
        said.append(("speed", f"{profile['device']}, {profile['provenance']}{hint}"))
    faster = _faster(plan)
    if faster:
        said.append(("precision", faster))
    shares = sorted({j.cost.survivors for j in plan.jobs if j.cost.survivors is not None})
    if shares or any(
        isinstance(j.spec, EvaluateSpec) and j.spec.attack["kind"] == "autoattack" for j in plan.jobs
    ):
        listed = _range_text(shares or [cost.ASSUMED_SURVIVORS])
        known = "assumed" if shares in ([], [cost.ASSUMED_SURVIVORS]) else "robust accuracies observed so far"
        said.append(
            ("autoattack", f"{listed} of images survive ({known}), {cost.AUTOATTACK_PASSES:,} passes each")
        )
    if (plan.budget.get("schedule") or {}).get("widest", 1) > 1:
        said.append(
            ("scaling", f"{plan.budget['schedule']['loss_per_e_fold']:.0%} lost per e-fold of devices")
        )
    if any(job.cost.memory_bytes for job in plan.jobs):
        said.append(("memory", "three saved tensors per convolution; a tenth of a device is left free"))
    design = plan.budget.get("design") or {}
    starts = sorted({belief["from"] for belief in (design.get("laws") or {}).values()})
    if starts:
        said.append(("design", f"what runs will tell is foreseen from {' or '.join(starts)}"))
    fids = design.get("assumed_fids") or {}
    if fids:
        said.append(
            (
                "fid",
                "not measured yet: " + ", ".join(f"{g} {decimal_text(value)}" for g, value in fids.items()),
            )
        )
    missing = Counter(why for job in plan.jobs for why in job.cost.unknown)
    said += [("not estimated", f"{why} ({count:,} jobs)") for why, count in missing.items()]
    lines = [line for word, text in said for line in _wrapped(f"{word:<15}{text}", 2, 17)]
    return ["what is assumed", *lines] if lines else []


def _faster(plan: Plan) -> str:
    """What other number formats of the trainings would gain on the device; empty where it isn't worth a word."""
    used = {number_format(j.spec.numerics) for j in plan.jobs if isinstance(j.spec, TrainSpec)}
    if used != {"fp32"}:
        return ""
    rates = plan.basis.profile.flops_per_second
    fp32 = rates["train"].mid
    gains = {
        key.partition("@")[2]: rate.mid / fp32 for key, rate in rates.items() if key.startswith("train@")
    }
    ranked = sorted(gains.items(), key=itemgetter(1))
    told = [f"{n} about {times_text(g)} times as fast" for n, g in ranked if g > _WORTH_A_WORD]
    return f"trainings in fp32; {', '.join(told)}: `precision`, another experiment" if told else ""


def _range_text(shares: Sequence[float]) -> str:
    return f"{shares[0]:.0%}" if len(shares) == 1 else f"{shares[0]:.0%} to {shares[-1]:.0%}"


def _wrapped(text: str, indent: int = 2, hanging: int | None = None) -> list[str]:
    """Lines of at most WIDTH columns; later ones stand a little further in."""
    if not text:
        return []
    later = " " * (indent + 2 if hanging is None else hanging)
    return textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=later)
