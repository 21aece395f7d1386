"""The diagnostics of a budget that can't hold. What is kept for the questions' own runs is in reserve.py.

Pure. Codes B101 buys nothing, B102 `all` costs more, B103 the questions alone cost more, B104 storage,
B105 design note, B106 memory, B107 walltime chains, B108 the follow-up does not fit,
B112 pinned runs cost more, B114 several devices per job, B115 number formats, B116 torch's builds;
B113, an allocation without a run, is allocations.py's."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from isoloss.compiler.cost.device_table import DEVICES, wheels_advice
from isoloss.compiler.cost.devices import LACKING
from isoloss.compiler.design import Choice
from isoloss.compiler.facts.datasets import SHAPES
from isoloss.compiler.plan import Cost, DeviceProfile, Job
from isoloss.compiler.plans.totals import chains
from isoloss.dsl.diagnostics.diagnostic import Diagnostic, Span
from isoloss.dsl.study.study import Study
from isoloss.dsl.vocabulary.quantity_text import bytes_text, flop_text


def known_datasets() -> Collection[str]:
    return SHAPES.keys()


def check_formats(study: Study, used: Collection[str]) -> Iterator[Diagnostic]:
    """Recipes of the names `used` whose number format the budget's devices don't have."""
    kind = study.budget.devices.kind
    lacking = LACKING.get(kind, frozenset())
    for device in study.devices:
        if device.name == kind:
            lacking = frozenset(number for number in ("tf32", "bf16") if getattr(device, number) is None)
    for recipe in study.recipes:
        if recipe.name in used and recipe.precision in lacking:
            headline = f"`{recipe.name}` trains in {recipe.precision}, which `{kind}` doesn't have"
            helps = ("write `precision = fp32`, which is another experiment, or name devices that have it",)
            yield Diagnostic("B115", headline, recipe.origin.span, help=helps)


def check(
    study: Study, choice: Choice, reserved: float, candidates: int, pinned: float = 0.0
) -> list[Diagnostic]:
    """Whether the compute budget can hold at all, after the choice. `pinned`: FLOPs of pinned runs."""
    budget = study.budget
    limit, span = budget.compute_flops, budget.origin.span
    if limit is None:
        return []
    if reserved > limit:
        helps = ("raise `compute` of the budget, or lower what the allocation is asked for",)
        headline = f"`allocate` alone needs {flop_text(reserved)}, the budget is {flop_text(limit)}"
        return [Diagnostic("B103", headline, span, help=helps)]
    if budget.choose == "all" and choice.flops + reserved > limit:
        needed = choice.flops + reserved
        helps = (f"raise it to {flop_text(needed, up=True)}, take cells away, or write `choose = cheapest`",)
        kept = f", {flop_text(reserved)} of them kept for `allocate`" if reserved else ""
        headline = f"`choose = all` needs {flop_text(needed)}{kept}; the budget is {flop_text(limit)}"
        return [Diagnostic("B102", headline, span, help=helps)]
    if pinned + reserved > limit:
        needed = pinned + reserved
        kept = f", {flop_text(reserved)} of them kept for `allocate`" if reserved else ""
        helps = (f"raise `compute` to {flop_text(needed, up=True)}, or pin fewer runs",)
        headline = f"the runs of `pin` need {flop_text(needed)}{kept}; the budget is {flop_text(limit)}"
        return [Diagnostic("B112", headline, span, help=helps)]
    if candidates and not choice.chosen:
        cheapest = next(iter(choice.reasons.values()))
        headline = f"the budget of {flop_text(limit)} buys none of {candidates} cells"
        return [Diagnostic("B101", headline, span, help=(cheapest, "raise `compute`, or add smaller cells"))]
    return []


def after(study: Study, jobs: Sequence[Job], total: Cost, profile: DeviceProfile) -> Iterator[Diagnostic]:
    """What the finished plan says about storage, memory and walltime."""
    budget = study.budget
    span = budget.origin.span
    if budget.storage_bytes is not None and (total.storage_bytes or 0) > budget.storage_bytes:
        headline = (
            f"the plan stores {bytes_text(total.storage_bytes or 0)}, "
            f"the budget is {bytes_text(budget.storage_bytes)}"
        )
        yield Diagnostic(
            "B104", headline, span, help=("raise `storage`, or draw fewer images",), severity="warning"
        )
    yield from _memory(jobs, profile, span)
    device = DEVICES.get(budget.devices.kind)
    advice = None if device is None else wheels_advice(device.capability)
    if device is not None and advice is not None:
        number = ".".join(map(str, device.capability))
        headline = (
            f"`{budget.devices.kind}` has compute capability {number}: the default torch doesn't run there"
        )
        yield Diagnostic("B116", headline, span, help=(advice,), severity="warning")
    links = chains(jobs, budget.walltime_seconds)
    if links["jobs"]:
        headline = f"{links['jobs']} jobs outlast the walltime: chains of up to {links['longest']} links"
        helps = ("checkpoints carry them over; on more devices they end sooner",)
        yield Diagnostic("B107", headline, span, help=helps, severity="note")


def _memory(jobs: Sequence[Job], profile: DeviceProfile, span: Span | None) -> Iterator[Diagnostic]:
    """Jobs that one device can't hold: a note where several do, a warning where none of the budget's do."""
    placed = [(job, job.cost.placement) for job in jobs if job.cost.placement is not None]
    several = [place for _, place in placed if place.fits]
    room = f"one `{profile.device}` has {bytes_text(profile.memory_bytes or 0.0)}"
    if several:
        most = max(place.devices for place in several)
        headline = f"{len(several)} jobs take up to {most} devices each: {room}"
        if most == 1:
            headline = f"{len(several)} jobs take their batches in several passes: {room}"
        helps = ["devices share a batch and its batch-norm statistics, so that results don't depend on it"]
        if any(place.zero_stage for place in several):
            helps.append("some need ZeRO-2 too, which partitions gradients and optimizer and changes nothing")
        yield Diagnostic("B114", headline, span, help=tuple(helps), severity="note")
    refused = [(job, place) for job, place in placed if not place.fits]
    if refused:
        job, place = max(refused, key=lambda pair: pair[0].cost.memory_bytes or 0.0)
        needed = bytes_text(job.cost.memory_bytes or 0.0)
        where = f" ({bytes_text(place.memory_bytes)} on each of {place.devices})" if place.devices > 1 else ""
        headline = f"{len(refused)} jobs need up to {needed}{where}, {room}"
        yield Diagnostic("B106", headline, span, help=place.advice, severity="warning")
