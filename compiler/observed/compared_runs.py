"""Which runs of a study a comparison is over: matched pairs, and what the finished ones measured.

In: the runs of a grid, what is known. Out: pairs of groups with simultaneous intervals. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from isoloss.compiler.observed.comparison import Difference, Scored, differences
from isoloss.compiler.observed.runs import Knowledge, Run
from isoloss.compiler.observed.study_fits import select
from isoloss.compiler.plan import Pair, is_clean
from isoloss.compiler.rounding import rounded
from isoloss.dsl.study.study import Compare, Grid


@dataclass(frozen=True, slots=True)
class Compared:
    """The runs of a comparison: by group and by what they are matched over (other axes, seed), and what the finished
    ones measured."""

    runs: Mapping[str, Mapping[Hashable, Run]]
    scored: Mapping[str, Mapping[Hashable, Scored]]
    waits: tuple[str, ...]  # names of runs without a result yet
    waiting: bool  # whether a run's membership waits for a fid

    def pairs(self, within: float | None) -> list[Pair]:
        """Every pair of groups with matched runs; what more of them would tell is counted in seeds, each of which has a
        run for every other setting."""
        return [self._pair(each) for each in differences(self.scored, within)]

    def _pair(self, found: Difference) -> Pair:
        matched = self.scored[found.a].keys() & self.scored[found.b].keys()
        seeds = len({self.runs[found.a][key].cell.seed for key in matched})
        interval = (
            None if found.low is None or found.high is None else (rounded(found.low), rounded(found.high))
        )
        more = None if found.more_seeds is None else ceil(found.more_seeds * seeds / len(matched))
        return Pair(found.a, found.b, rounded(found.value), interval, seeds, more, found.verdict)


def compared_runs(question: Compare, grid: Grid, runs: Sequence[Run], knowledge: Knowledge) -> Compared:
    """`runs`: of the question's grid, in the order of its cells."""
    members, waiting = select(question.over, {grid.name: runs})
    axes = [name for axis in grid.axes for name in axis.names if name != question.by]
    by_group: dict[str, dict[Hashable, Run]] = {}
    scored: dict[str, dict[Hashable, Scored]] = {}
    waits: list[str] = []
    for run in members:
        group = run.cell.axis_text(question.by)
        key = tuple(map(run.cell.axis_text, axes))
        by_group.setdefault(group, {})[key] = run
        score = _score(question, run, knowledge)
        if score is None:
            waits.append(run.name)
        else:
            scored.setdefault(group, {})[key] = score
    return Compared(by_group, scored, tuple(waits), waiting)


def _score(question: Compare, run: Run, knowledge: Knowledge) -> Scored | None:
    test = run.test(question.evaluate)
    if test is None:
        return None
    for o in knowledge.of_job(test.job):
        if o.metric.startswith(f"{question.metric} ") and (test.clean or not is_clean(o.metric)):
            return Scored.of(o)
    return None
