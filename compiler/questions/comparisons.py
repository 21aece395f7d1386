"""Answer the study's comparisons from what its runs measured. In: the chosen runs, what is known. Out: Answers.

Pure."""

from __future__ import annotations

from collections.abc import Sequence

from isoloss.compiler import plan
from isoloss.compiler.observed.compared_runs import Compared, compared_runs
from isoloss.compiler.observed.runs import Knowledge, Run
from isoloss.compiler.plan import Answer, Pair
from isoloss.dsl.study.study import Compare, Study

#: Jobs that a pending answer names.
_NAMED = 3


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
    status = "pending" if pending else "answered" if pairs else "not determined"
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
