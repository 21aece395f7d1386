"""Which replicates a comparison needs next, by what is known of its pairs: for `choose = design`.

In: candidate runs, what is known. Out: train jobs, each with the comparison that wants it. Pure. Seeds are bought in
the order of the grid: the first few of every group, then further ones for groups of open pairs alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isoloss.compiler.observed.compared_runs import Compared, compared_runs
from isoloss.compiler.observed.runs import Knowledge, Run
from isoloss.dsl.study.study import Compare, Study

#: Seeds of every group before any pair is looked at: two would tell hardly anything of the spread between them.
FIRST_SEEDS = 3


def wanted_replicates(study: Study, runs: Sequence[Run], knowledge: Knowledge) -> dict[str, str]:
    """Train job -> name of the first comparison that wants it."""
    grids = {grid.name: grid for grid in study.grids}
    wanted: dict[str, str] = {}
    for question in study.comparisons:
        mine = [run for run in runs if run.cell.grid == question.over.grid]
        compared = compared_runs(question, grids[question.over.grid], mine, knowledge)
        for train in _wanted(question, compared, knowledge):
            wanted.setdefault(train, question.name)
    return wanted


def _wanted(question: Compare, compared: Compared, knowledge: Knowledge) -> list[str]:
    seeds = list(dict.fromkeys(run.cell.seed for group in compared.runs.values() for run in group.values()))
    needed = _seeds_needed(question, compared, seeds)
    return [
        run.train
        for name, group in compared.runs.items()
        for run in group.values()
        # What has been trained stays in the plan.
        if run.cell.seed in seeds[: needed[name]] or run.train in knowledge.finished
    ]


def _seeds_needed(question: Compare, compared: Compared, seeds: Sequence[int]) -> Mapping[str, int]:
    """Of each group, how many of the seeds in order."""
    needed = dict.fromkeys(compared.runs, min(FIRST_SEEDS, len(seeds)))
    first = set(seeds[:FIRST_SEEDS])
    started = all(
        key in compared.scored.get(name, {})
        for name, group in compared.runs.items()
        for key, run in group.items()
        if run.cell.seed in first
    )
    for pair in compared.pairs(question.within) if started else ():
        if pair.verdict == "open" and pair.more_seeds is not None:
            # A spread from few seeds is a guess: never more than twice as many at once.
            count = pair.seeds + min(pair.more_seeds, pair.seeds)
            needed.update({name: max(needed[name], count) for name in (pair.a, pair.b)})
    return needed
