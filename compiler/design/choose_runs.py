"""Candidate runs, their costs and a budget -> the Choice of a study, the same for every grid that lists a training.

Between the driver and the choices themselves (choice.py, planner.py). Pure; numpy loads only where there is something
to design for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from isoloss.compiler.cells.expand import Cell
from isoloss.compiler.cost.price import Pricer
from isoloss.compiler.design.choice import Candidate, Choice, ComputeBudget, choose, total_flops
from isoloss.compiler.jobs.factory import JobFactory, RunJobs, Setup
from isoloss.compiler.jobs.run_costs import RunCosts
from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.laws.remembered import Remembered
from isoloss.compiler.observed.runs import Knowledge, run_of
from isoloss.compiler.observed.study_fits import select
from isoloss.compiler.plan import Answer, Dropped
from isoloss.compiler.plans.totals import bill_flops
from isoloss.dsl.study.study import Study

#: (id, FLOPs) of the jobs that a run needs beside its own.
SharedFlops = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class RunPrices:
    """What candidates are priced with: the jobs, the Pricer, and the Costs of runs that it gave."""

    factory: JobFactory
    pricer: Pricer
    costs: RunCosts


def choose_runs(
    study: Study,
    cells: Sequence[Cell],
    runs: Sequence[RunJobs],
    prices: RunPrices,
    knowledge: Knowledge,
    reserved_flops: float,
    starts: Remembered[Floats],
) -> tuple[Choice, float]:
    """(the choice, FLOPs of the runs that the budget pins). One cell and run per row, in the same order;
    `reserved_flops` are set aside for the runs that answer the questions;
    `starts`: of a design's priors, from earlier compiles."""
    candidates = _priced(runs, prices, _pinned(study, runs))
    # A training that several grids list is one: chosen and paid once.
    first: dict[str, int] = {}
    for index, run in enumerate(runs):
        first.setdefault(run.train.id, index)
    once = candidates if len(first) == len(candidates) else [candidates[index] for index in first.values()]
    pinned_flops = total_flops([c for c in once if c.pinned])
    budget = study.budget
    limits = ComputeBudget(budget.compute_flops, reserved_flops, budget.choose)
    if budget.choose == "design" and study.fits:
        from isoloss.compiler.design.planner import design

        measured = list(map(run_of, runs))
        named = {fit.evaluate for fit in study.fits}
        tested = min((t.tested for r in measured for t in r.tests if t.evaluation in named), default=None)
        # All of them: each grid's fits count it as theirs.
        designed = design(study, cells, candidates, measured, knowledge, limits, tested, starts)
        if designed is not None:
            return _for_all(designed, runs), pinned_flops
    return _for_all(choose(once, limits), runs), pinned_flops


def _priced(runs: Sequence[RunJobs], prices: RunPrices, pinned: set[str]) -> list[Candidate]:
    """Runs of one setup cost the same, and runs with the same needs share one tuple of what those cost."""
    bills: dict[Setup, tuple[float, SharedFlops]] = {}
    shared: dict[tuple[str, ...], SharedFlops] = {}
    candidates = []
    for index, run in enumerate(runs):
        bill = bills.get(run.setup)
        if bill is None or prices.costs.differ_by_network(run):
            needs = run.shared
            if needs not in shared:
                shared[needs] = _shared_flops(needs, prices)
            bill = bills[run.setup] = sum(map(bill_flops, prices.costs.of(run))), shared[needs]
        candidates.append(Candidate(index, *bill, run.train.id in pinned))
    return candidates


def _shared_flops(needs: tuple[str, ...], prices: RunPrices) -> SharedFlops:
    sources = [prices.factory.sources[id] for id in prices.factory.closure(needs)]
    return tuple((s.id, bill_flops(prices.pricer.cost(s.spec))) for s in sources)


def _pinned(study: Study, runs: Sequence[RunJobs]) -> set[str]:
    """Train jobs of the runs that the budget pins."""
    pin = study.budget.pin
    if pin is None:
        return set()
    of_grid = [run_of(run) for run in runs if run.cell.grid == pin.grid]
    return {run.train for run in select(pin, {pin.grid: of_grid})[0]}


def _for_all(choice: Choice, runs: Sequence[RunJobs]) -> Choice:
    """The same choice for every candidate of a training: chosen where one of them is."""
    if len(choice.chosen) + len(choice.dropped) == len(runs) == len({run.train.id for run in runs}):
        return choice
    chosen = {runs[i].train.id: i for i in choice.chosen}
    decided = {runs[i].train.id: i for i in choice.dropped} | chosen
    decided_at = [decided[run.train.id] for run in runs]
    is_chosen = [run.train.id in chosen for run in runs]
    return replace(
        choice,
        chosen=tuple(i for i, yes in enumerate(is_chosen) if yes),
        dropped=tuple(i for i, yes in enumerate(is_chosen) if not yes),
        reasons={i: choice.reasons[k] for i, k in enumerate(decided_at)},
        gains={
            i: choice.gains[k] for i, k in enumerate(decided_at) if not is_chosen[i] and k in choice.gains
        },
    )


def dropped_runs(choice: Choice, runs: Sequence[RunJobs], prices: RunPrices) -> tuple[Dropped, ...]:
    """The candidates that the choice leaves out, with the cost of their training and why."""
    return tuple(
        Dropped(
            (run := runs[i]).train.id,
            run.name,
            run.train.spec,
            prices.factory.origin(run.cell.origin),
            prices.costs.of(run)[0],
            choice.reasons[i],
            choice.gains.get(i),
            run.setup.facts[0],
        )
        for i in choice.dropped
    )


def with_design_notes(answers: Iterable[Answer], choice: Choice) -> tuple[Answer, ...]:
    """Answers, each with what the design says about its question."""
    return tuple(
        replace(answer, notes=(*answer.notes, *notes))
        if (notes := choice.answers.get(answer.name))
        else answer
        for answer in answers
    )
