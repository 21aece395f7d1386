"""Can this law be fitted to these rows? RunTable + law -> diagnostics, before any solver runs.

What a solver would answer with a number that means nothing is refused here, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.plan import frechet_metric
from isoloss.compiler.tables.problems import problem
from isoloss.compiler.tables.table import RunTable
from isoloss.dsl.diagnostics.diagnostic import Diagnostic

#: Two points make any curve. What more a law needs, the fit itself says (`TOO_FEW_POINTS`).
FEWEST_RUNS = 3

#: Ratios flops / (params x images) that differ by less are one constant (the paper's holds to 1 %).
SAME_RULE = 0.05


def check_suits(table: RunTable, law: Law, floor: float) -> list[Diagnostic]:
    """Errors that make the fit meaningless: the law needs what the rows at or after `floor` of training don't
    have or don't vary."""
    rows = table.take(table.fraction >= floor)
    if len(rows) == 0:
        last = float(table.fraction.max())
        headline = f"no row is at or after {floor:.0%} of training; the last is at {last:.0%}"
        return [problem("L208", table.source, headline, "lower it: `--floor 0`")]
    found = list(_check_variation(rows, law))
    if law.uses_fid and np.isnan(table.fid).all():
        help = ("add a column `fid` (0 for real data)", "or fit a law without it: `--law chinchilla`")
        found.append(problem("L205", table.source, f"law `{law.name}` needs `fid`, which no row has", *help))
    if law.uses_fid:
        found += one_space(table, f"law `{law.name}`")
    if not law.pointwise and np.isnan(table.flops).any():
        found.append(
            problem(
                "L206",
                table.source,
                f"law `{law.name}` reads training curves over `flops`, which the table doesn't give",
                "add the column, or state the rule: `--columns 'flops=7822*params*images'`",
            )
        )
    return found


def one_space(table: RunTable, reader: str, option: str = "--where") -> list[Diagnostic]:
    """An error where `reader` would use FIDs that are distances in different feature spaces."""
    spaces = table.spaces
    if len(spaces) < 2:
        return []
    listed = ", ".join(f"`{frechet_metric(space)}`" for space in spaces)
    headline = f"{reader} would mix FIDs of different feature spaces: {listed}"
    helps = (
        f"keep the runs of one space: `{option} 'generator in [...]'`, or a table each",
        "a FID means nothing in another space than its own",
    )
    return [problem("L217", table.source, headline, *helps)]


def _check_variation(table: RunTable, law: Law) -> Iterator[Diagnostic]:
    runs = len(np.unique(table.run))
    if runs < FEWEST_RUNS:
        free = len(law.parameters)
        headline = f"{runs} run{'s' * (runs != 1)} can't hold law `{law.name}` with its {free} parameters"
        help = f"give at least {free + 1} runs that differ in params and images"
        yield problem("L202", table.source, headline, help)
        return
    if float(np.ptp(table.loss)) <= 1e-12 * float(table.loss.max()):
        help = "is this the right column? state it: `--columns loss=COLUMN`"
        headline = f"`loss` is {table.loss[0]:g} on every row: there is nothing to fit"
        yield problem("L204", table.source, headline, help)
    if not law.two_dimensional:
        return
    for name, column, other in (("params", table.params, "images"), ("images", table.images, "params")):
        if float(np.ptp(column)) <= 1e-9 * float(column.max()):
            yield problem(
                "L203",
                table.source,
                f"`{name}` is {column[0]:g} on every row: its effect can't be told from a constant",
                f"add runs with other {name}, or fit `--law powerlaw --x {other}`",
            )


@dataclass(frozen=True, slots=True)
class FlopsRule:
    """training FLOP = constant x params x images, as the table has it; `given` False: not in the table, and
    the paper's 7822 is assumed. `spread` is the largest relative distance from the constant."""

    constant: float
    spread: float
    given: bool


def flops_rule(table: RunTable) -> FlopsRule:
    """The constant behind the table's own FLOPs, for asking the law at a budget in the same currency."""
    with np.errstate(invalid="ignore"):
        ratio = table.flops / (table.params * table.images)
    known = ratio[np.isfinite(ratio)]
    if len(known) == 0:
        return FlopsRule(7822.0, 0.0, given=False)
    constant = float(np.median(known))
    return FlopsRule(constant, float(np.abs(known / constant - 1.0).max()), given=True)


def rule_warnings(table: RunTable) -> list[Diagnostic]:
    """Whether N* and D* at a budget rest on a constant that the table has, or on the paper's."""
    rule = flops_rule(table)
    if not rule.given:
        return [
            problem(
                "L209",
                table.source,
                "the table gives no `flops`: budgets are turned into params x images by the paper's 7822",
                "true for ten-step TRADES of wide ResNets at 32x32; else: `--columns"
                " 'flops=6*params*images'`",
                severity="warning",
            )
        ]
    if rule.spread > SAME_RULE:
        headline = (
            f"`flops` is {rule.constant:.4g} x params x images on the middle row, "
            f"up to {100 * rule.spread:.0f}% off on others: N* at a budget is that much less certain"
        )
        return [problem("L209", table.source, headline, severity="warning")]
    return []


def mixed_quality(table: RunTable, law: Law) -> list[Diagnostic]:
    """Runs on data of several qualities under a law that knows none: its parameters are of no data set."""
    known = np.unique(table.fid[np.isfinite(table.fid)])
    if law.uses_fid or len(known) < 2:
        return []
    listed = ", ".join(f"{fid:g}" for fid in known[:8]) + (", ..." if len(known) > 8 else "")
    headline = f"law `{law.name}` knows no `fid`, and the rows have {len(known)}: {listed}"
    help = f"fit one quality, `--where 'fid == {known[0]:g}'`, or a law with quality terms: `--law approach2`"
    return [problem("L216", table.source, headline, help, severity="warning")]


def error_as_loss(table: RunTable) -> tuple[RunTable | None, list[Diagnostic]]:
    """For a table without `loss`: 1 - accuracy in its place, with a warning; None where an accuracy is 1,
    as the error then has no logarithm."""
    perfect = np.flatnonzero(table.accuracy >= 1.0)
    if len(perfect):
        line = int(table.line[perfect[0]])
        headline = f"`accuracy` is 1 on {table.word} {line}, and the table has no `loss`"
        return None, [
            problem("L115", table.source, headline, "a law of the error needs errors above 0", line=line)
        ]
    headline = "the table has no `loss`: the robust error, 1 - accuracy, is fitted in its place"
    help = "that errors follow the same forms is assumed; predictions named `loss` are errors"
    replaced = table.with_error_as_loss()
    return replaced, [problem("L207", table.source, headline, help, severity="warning")]
