"""What a budget allows: reserve for the questions' own runs, and the diagnostics of a budget that can't hold.

Pure. Codes B101 buys nothing, B102 `all` costs more, B103 the questions alone cost more, B104 storage,
B105 design note, B106 memory, B107 walltime chains, B108 the follow-up does not fit,
B112 pinned runs cost more."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from isoloss.compiler import cost
from isoloss.compiler import passes as cost_rule
from isoloss.compiler.cells import Cell, span_of
from isoloss.compiler.components import component
from isoloss.compiler.datasets import SHAPES, shape
from isoloss.compiler.design import Choice
from isoloss.compiler.jobs import Workshop
from isoloss.compiler.plan import Cost, DeviceProfile, Job
from isoloss.compiler.totals import bill_flops
from isoloss.compiler.words import bytes_text, flop_text
from isoloss.dsl.diagnostics import Diagnostic
from isoloss.dsl.study import Allocate, Study


def known_datasets() -> Collection[str]:
    return SHAPES.keys()


def reserve(study: Study, shop: Workshop, cells: Sequence[Cell]) -> float:
    """FLOPs set aside for what `allocate` will train, before any cell is bought.

    Its compute with the allowed overhead; the images it could at most need (those of the smallest network of
    the grids); its evaluations on the largest network of the grids. The same before and after runs finish."""
    total = 0.0
    shards: dict[str, float] = {}
    for each in study.allocations:
        training = each.compute_flops * (1 + each.overhead)
        total += training + sum(_evaluations(study, each, cell) for cell in _largest(cells))
        shards.update(_images(each, training, shop, cells))
    return total + sum(shards.values())


def _largest(cells: Sequence[Cell]) -> list[Cell]:
    return [max(cells, key=lambda c: c.params)] if cells else []


def _evaluations(study: Study, each: Allocate, cell: Cell) -> float:
    """Evaluations during and after the training of one such network."""
    pixels = shape(component(study.dataset))
    recipe = next(r for r in study.recipes if r.name == each.recipe)
    forward = cell.flops_per_image / cost_rule.passes(
        component(recipe.loss), component(recipe.attack), component(recipe.perturb)
    )
    total = 0.0
    for test in each.evaluate:
        total += (
            (test.images or pixels.split_images(test.split))
            * cost.evaluation_passes(component(test.attack))
            * forward
        )
    if recipe.evaluate is not None:
        test = next(e for e in study.evaluations if e.name == recipe.evaluate.evaluation)
        times = cost.evaluations_inside(recipe.evaluate.every)
        images = test.images or pixels.split_images(test.split)
        total += times * images * cost.evaluation_passes(component(test.attack)) * forward
    return total


def _images(
    each: Allocate, training: float, shop: Workshop, cells: Sequence[Cell]
) -> Iterator[tuple[str, float]]:
    """(shard id, FLOPs) of the images that the smallest network could draw for this compute."""
    if not cells:
        return
    images = int(training / min(c.flops_per_image for c in cells))
    _, ids = shop.data(each.generator, max(1, images))
    for id in shop.closure(ids):
        yield id, bill_flops(shop.pricer.cost(shop.sources[id].spec))


def check(
    study: Study, choice: Choice, reserved: float, candidates: int, pinned: float = 0.0
) -> list[Diagnostic]:
    """Whether the compute budget can hold at all, after the choice. `pinned`: FLOPs of pinned runs."""
    budget = study.budget
    limit, span = budget.compute_flops, span_of(budget.origin)
    if limit is None:
        return []
    if reserved > limit:
        helps = ("raise `compute` of the budget, or lower `compute` of the allocation",)
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
    span = span_of(budget.origin)
    if budget.storage_bytes is not None and (total.storage_bytes or 0) > budget.storage_bytes:
        headline = (
            f"the plan stores {bytes_text(total.storage_bytes or 0)}, "
            f"the budget is {bytes_text(budget.storage_bytes)}"
        )
        yield Diagnostic(
            "B104", headline, span, help=("raise `storage`, or draw fewer images",), severity="warning"
        )
    memory = profile.memory_bytes
    if memory is not None and (total.memory_bytes or 0) > memory:
        over = sum(1 for j in jobs if (j.cost.memory_bytes or 0) > memory)
        headline = (
            f"{over} jobs need up to {bytes_text(total.memory_bytes or 0)}, "
            f"one `{profile.device}` has {bytes_text(memory)}"
        )
        helps = (
            "several devices per job, bf16 or checkpointing; splitting a batch keeps its batch-norm group",
        )
        yield Diagnostic("B106", headline, span, help=helps, severity="warning")
    limit = budget.walltime_seconds
    times = [j.cost.seconds.mid for j in jobs if j.cost.seconds is not None]
    long = [t for t in times if limit and t > limit]
    if long and limit:
        longest = max(long)
        links = -(-longest // limit)
        headline = f"{len(long)} jobs outlast the walltime on one device: chains of up to {links:g} links"
        yield Diagnostic("B107", headline, span, help=("checkpoints carry them over",), severity="note")
