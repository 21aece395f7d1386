"""Answer the study's comparisons from what its runs measured. In: the chosen runs, what is known. Out: Answers.

Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from isoloss.compiler import plan
from isoloss.compiler.observed.comparison import Difference, Scored, differences
from isoloss.compiler.observed.runs import Knowledge, Run
from isoloss.compiler.observed.study_fits import select
from isoloss.compiler.plan import Answer, Pair, is_clean
from isoloss.compiler.rounding import rounded
from isoloss.dsl.study.study import Compare, Grid, Study

#: Jobs that a pending answer names.
_NAMED = 3


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


def comparisons(study: Study, runs: Sequence[Run], knowledge: Knowledge) -> list[Answer]:
    """The answers of all comparisons, in the order of the study."""
    grids = {grid.name: grid for grid in study.grids}
    found = []
    for question in study.comparisons:
        mine = [run for run in runs if run.cell.grid == question.over.grid]
        found.append(_answer(question, compared_runs(question, grids[question.over.grid], mine, knowledge)))
    return found


def _answer(question: Compare, compared: Compared) -> Answer:
    pairs = compared.pairs(question.within)
    pending = bool(compared.waits) or compared.waiting
    status = "pending" if pending else "answered" if pairs else "unanswerable"
    return Answer(
        name=question.name,
        kind="compare",
        status=status,  # type: ignore[arg-type]
        laws=(),
        values={},
        notes=tuple(_notes(compared, pairs, pending)),
        origin=plan.Origin(question.origin.file, question.origin.line, question.origin.column),
        evaluation=question.evaluate,
        metric=question.metric,
        adjusted="holm",
        pairs=tuple(pairs),
    )


def _notes(compared: Compared, pairs: Sequence[Pair], pending: bool) -> list[str]:
    notes = []
    total = sum(map(len, compared.runs.values()))
    if compared.waits:
        named = ", ".join(compared.waits[:_NAMED]) + (", …" if len(compared.waits) > _NAMED else "")
        notes.append(f"{total - len(compared.waits)} of {total} runs are tested; waits for {named}")
    elif pending:
        notes.append("which runs it is over waits for a fid")
    if len(compared.runs) < 2:
        notes.append("its runs are of one group: there is nothing to compare")
    elif not pairs and not pending:
        notes.append("no two groups have runs that are equal in everything else")
    if pairs and not pending and all(pair.interval is None for pair in pairs):
        notes.append(
            "one seed each: how networks differ from seed to seed isn't known; `seed in 0..2` in the grid would tell"
        )
    return notes
