"""`--where`: a condition of the language over the runs of a table -> the rows it keeps.

The same expressions as a study's `(runs where …)`, read by the language's own parser and checks. `images` and
`flops` are a run's planned totals, as in a study, so that a filter keeps or drops whole runs."""

from __future__ import annotations

import math

import numpy as np

from isoloss.compiler.tables.problems import problem
from isoloss.compiler.tables.suits import one_space
from isoloss.compiler.tables.table import RunTable
from isoloss.dsl.diagnostics.diagnostic import Diagnostic, Span
from isoloss.dsl.study.expression import Gap, Unknown, evaluate
from isoloss.dsl.study.study import Conditional, Expr, Operation, Quantity, Value

#: How the condition is called in messages that point at it.
PLACE = "--where"


def rows_where(table: RunTable, text: str, option: str = PLACE) -> tuple[RunTable | None, list[Diagnostic]]:
    """The rows of runs for which the condition is true, or None and what is wrong: with the condition, or
    because it can't be decided for some run, or because it keeps nothing. `option` is how
    messages call the condition."""
    condition, diagnostics = read_condition(text, _names(table, "generator"), option)
    if condition is None:
        return None, diagnostics
    if "fid" in _quantities(condition) and (mixed := one_space(table, f"`{option} {text}`", option)):
        return None, mixed
    decided: dict[tuple[object, ...], object] = {}
    keep = np.zeros(len(table), dtype=bool)
    for row in range(len(table)):
        cell = _cell(table, row)
        key = tuple(cell.values())
        if key not in decided:
            decided[key] = evaluate(condition, cell)
        answer = decided[key]
        if isinstance(answer, Unknown | Gap) or not isinstance(answer, bool):
            line = int(table.line[row])
            names = sorted(_quantities(condition))
            missing = ", ".join(f"`{name}`" for name in names if cell.get(name) is None)
            headline = f"`{option} {text}` can't be decided for the run on {table.word} {line}"
            help = f"not known there: {missing}" if missing else "the condition must be true or false"
            return None, [problem("L208", table.source, headline, help, line=line)]
        keep[row] = answer
    if not keep.any():
        return None, [problem("L208", table.source, f"`{option} {text}` keeps no run of {table.num_runs}")]
    return table.take(keep), []


def read_condition(
    text: str, generators: tuple[str, ...], option: str = PLACE, recipes: tuple[str, ...] = ()
) -> tuple[Expr | None, list[Diagnostic]]:
    """The condition as the language checks it; `generators` and `recipes` are names it may compare with."""
    from isoloss.dsl.check.rules import check_condition
    from isoloss.dsl.check.scope import Bad, Scope
    from isoloss.dsl.diagnostics.collector import Report
    from isoloss.dsl.syntax.parse import parse_value

    report = Report()
    node = parse_value(text, option, report)
    if node is None:
        return None, report.diagnostics()
    place = Span(option, 1, 1, 1, 2)
    named = {"generator": dict.fromkeys(generators, place), "recipe": dict.fromkeys(recipes, place)}
    scope = Scope(report, declared=named)
    condition = check_condition(node, scope)
    if isinstance(condition, Bad) or report.failed:
        return None, report.diagnostics()
    return condition, []


def _quantities(expr: Expr) -> set[str]:
    """Names of the quantities an expression reads."""
    match expr:
        case Quantity(name=name):
            return {name}
        case Operation(operands=operands):
            return set().union(*(_quantities(o) for o in operands))
        case Conditional():
            branches = (expr.test, expr.then, *((expr.otherwise,) if expr.otherwise else ()))
            return set().union(*(_quantities(b) for b in branches))
        case _:
            return set()


def _names(table: RunTable, kind: str) -> tuple[str, ...]:
    return table.texts[kind].names if kind in table.texts else ()


def _cell(table: RunTable, row: int) -> dict[str, Value]:
    """What is known of the run that a row belongs to; None where it isn't."""
    fid, flops = float(table.fid[row]), float(table.flops[row] / table.fraction[row])
    generator = None
    if "generator" in table.texts:
        labels = table.texts["generator"]
        generator = labels.names[int(labels.codes[row])]
    return {
        "params": float(table.params[row]),
        "images": float(table.planned[row]),
        "fid": None if math.isnan(fid) else fid,
        "flops": None if math.isnan(flops) else flops,
        "generator": generator,
    }
