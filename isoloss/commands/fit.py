"""`isoloss fit`: a table of runs and a law -> parameters with intervals, lint, and the fit as JSON."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.compiler.laws.fitting.fit_json import fit_to_json
from isoloss.errors import WRONG_USAGE, UserError, fault
from isoloss.inputs.run_tables import add_table_arguments

if TYPE_CHECKING:
    from isoloss.compiler.laws.fitting.fitted import LawFit
    from isoloss.compiler.laws.fitting.options import FitOptions
    from isoloss.compiler.laws.forms.law import Law
    from isoloss.compiler.tables import RunTable
    from isoloss.dsl.diagnostics.diagnostic import Diagnostic

EXAMPLE = """
examples:
  isoloss fit runs.csv -o laws.json
  isoloss fit isoloss-store --evaluate robust -o laws.json
  isoloss fit runs.csv --law chinchilla
  isoloss fit runs.csv --law approach3 --where 'not (params < 100M and images > 10M and fid < 10)' -o fit.json
  isoloss fit runs.csv --law approach2 --base 'fid == 1.65' --quality 'fid > 2'
  isoloss fit theirs.csv --law chinchilla --columns 'params=N*1e6,images=D,loss=L'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument(
        "table",
        metavar="RUNS",
        help="CSV or Parquet, one row per observation; or a store: its networks, one row each",
    )
    parser.add_argument(
        "--evaluate",
        metavar="NAME",
        help="of a store: by which evaluation; default: the only one that attacks",
    )
    parser.add_argument("--recipe", metavar="NAME", help="of a store: the networks of one recipe")
    parser.add_argument(
        "--law",
        default="any",
        help="powersum, chinchilla, approach1, approach2, approach3, powerlaw; default: any, every law of single runs "
        "that the table can hold, weighed by how well it forecasts the table's own dearer runs",
    )
    add_table_arguments(parser)
    parser.add_argument("--where", metavar="EXPR", help="keep the runs for which this holds, as in a study")
    parser.add_argument(
        "--base",
        metavar="EXPR",
        help="approach2 in two stages: N, D and the floor from these runs of one FID",
    )
    parser.add_argument(
        "--quality", metavar="EXPR", help="… and then the FID terms from these; default: the others"
    )
    parser.add_argument(
        "--points",
        choices=("best", "final", "curve"),
        help="one point per run (lowest loss, or last), or all; default: the law's published protocol",
    )
    parser.add_argument(
        "--floor", type=float, help="least fraction of training, in [0, 1]; default: the law's"
    )
    parser.add_argument(
        "--errors",
        choices=("independent", "correlated"),
        default="independent",
        help="correlated: what neighbouring runs share, the law's misfit, counts once; default: independent",
    )
    parser.add_argument(
        "--delta", type=float, help="Huber threshold on log residuals of independent errors (1e-3)"
    )
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap refits over runs (1000)")
    parser.add_argument("--test-images", type=int, help="images behind each loss and accuracy")
    parser.add_argument("--x", default="images", choices=("images", "params", "flops"), help="of a powerlaw")
    parser.add_argument("--json", action="store_true", help="print the fit as JSON")
    parser.add_argument("-o", "--output", metavar="FIT.json", help="write the fit as JSON")


def run(arguments: argparse.Namespace) -> int:
    laws = _laws(arguments)
    table, warnings = _table(arguments)
    if sys.stderr.isatty():
        shown = f"{arguments.law} on {len(table)} rows, {arguments.resamples} resamples"
        print(f"fitting {shown} ...", file=sys.stderr)
    if laws:
        fit, data, lint = _fit(arguments, laws[0], table)
        fits = [fit]
    else:
        fits, data, lint = _fit_any(arguments, table)
    warnings = [*warnings, *lint]
    data["warnings"] = [{"code": d.code, "message": d.headline, "help": list(d.help)} for d in warnings]
    if arguments.output:
        _write(arguments.output, data)
    if arguments.json:
        sys.stdout.write(_json(data))
        return 0
    from isoloss.dsl.diagnostics.diagnostic import render
    from isoloss.screens.fit_screen import fit_screen, portfolio_screen

    print(fit_screen(fits[0], table, data) if laws else portfolio_screen(fits, table, data))
    if warnings:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print("\n" + render(warnings, colour=colour))
    if arguments.output:
        print(
            f"\nwritten: {arguments.output}; next: isoloss optimum {shlex.quote(arguments.output)} --compute 1e21"
        )
    return 0


def _fit_any(
    arguments: argparse.Namespace, table: RunTable
) -> tuple[list[LawFit], dict[str, Any], list[Diagnostic]]:
    """Every law that the table can hold, each once, with its weight."""
    from isoloss.compiler.laws.forms.registry import LAWS
    from isoloss.compiler.laws.portfolio import Portfolio, candidates, distinct
    from isoloss.inputs.run_tables import filter_table

    points = (filter_table(table, arguments.where) if arguments.where else table).to_points()
    made: list[tuple[LawFit, dict[str, Any], list[Diagnostic]]] = []
    refused: list[UserError] = []
    for name in candidates(points):
        try:
            made.append(_fit(arguments, LAWS[name], table))
        except UserError as error:
            refused.append(error)
    kept = distinct([fit for fit, _, _ in made], points)
    if not kept:
        raise refused[0]
    shares = Portfolio(kept).given if len(kept) > 1 else [1.0]
    weights = {id(fit): float(share) for fit, share in zip(kept, shares, strict=True)}
    members = [{**data, "weight": weights[id(fit)]} for fit, data, _ in made if id(fit) in weights]
    lint = list(dict.fromkeys(d for fit, _, found in made if id(fit) in weights for d in found))
    shared = {key: members[0][key] for key in ("accuracy", "flops_rule", "source", "protocol")}
    return kept, {"law": "any", "members": members, **shared}, lint


def _laws(arguments: argparse.Namespace) -> list[Law]:
    """The law that is named; empty for `any`. Also checks the numbers that argparse can't."""
    from isoloss.compiler.laws.forms.registry import LAWS

    if arguments.law != "any" and arguments.law not in LAWS:
        listed = ", ".join(f"`{name}`" for name in ("any", *LAWS))
        raise fault("L201", f"unknown law `{arguments.law}`", f"of: {listed}", exit_code=WRONG_USAGE)
    for name, ok, rule in (
        ("floor", arguments.floor is None or 0 <= arguments.floor <= 1, "in [0, 1]"),
        ("delta", arguments.delta is None or 0 < arguments.delta <= 10, "above 0, at most 10"),
        ("resamples", 0 <= arguments.resamples <= 100_000, "from 0 to 100,000"),
        ("test-images", arguments.test_images is None or arguments.test_images > 0, "above 0"),
    ):
        if not ok:
            shown = getattr(arguments, name.replace("-", "_"))
            raise fault("L211", f"`--{name} {shown}` must be {rule}", exit_code=WRONG_USAGE)
    staged = [name for name in ("base", "quality") if getattr(arguments, name) is not None]
    if staged and arguments.law != "approach2":
        headline = f"`--{staged[0]}` makes stages of approach2; law `{arguments.law}` has none"
        help = "keep some of the runs for any law: `--where EXPR`"
        raise fault("L211", headline, help, exit_code=WRONG_USAGE)
    if staged == ["quality"]:
        headline = "`--quality` needs `--base`: the second stage follows a first"
        raise fault("L211", headline, "say which runs: `--base 'fid == 1.65'`", exit_code=WRONG_USAGE)
    if arguments.errors == "correlated":
        _check_correlated(arguments)
    return [] if arguments.law == "any" else [LAWS[arguments.law]]


def _check_correlated(arguments: argparse.Namespace) -> None:
    if arguments.law == "approach1":
        headline = "`--errors correlated` weighs single runs, and approach1 is fitted to their envelope"
        raise fault("L211", headline, "leave it out, or fit another law", exit_code=WRONG_USAGE)
    other = next((name for name in ("base", "delta") if getattr(arguments, name) is not None), None)
    if other is not None:
        why = "fits all parameters together" if other == "base" else "finds outliers by itself"
        headline = f"`--errors correlated` {why}: it has no `--{other}`"
        raise fault("L211", headline, "leave one of them out", exit_code=WRONG_USAGE)


def _table(arguments: argparse.Namespace) -> tuple[RunTable, list[Diagnostic]]:
    from isoloss.inputs.run_tables import load_table
    from isoloss.inputs.store_table import is_store, table_of_store

    if is_store(arguments.table):
        table = table_of_store(arguments.table, arguments.evaluate, arguments.recipe)
        warnings: list[Diagnostic] = []
    else:
        table, warnings = load_table(arguments.table, arguments.columns, arguments.delimiter)
    if table.has_loss:
        return table, warnings
    from isoloss.compiler.tables.suits import error_as_loss

    replaced, notes = error_as_loss(table)
    if replaced is None:
        raise UserError(notes)
    return replaced, [*warnings, *notes]


def _fit(
    arguments: argparse.Namespace, law: Law, table: RunTable
) -> tuple[LawFit, dict[str, Any], list[Diagnostic]]:
    from isoloss.compiler.laws import lint
    from isoloss.compiler.laws.accuracy import fit_accuracy
    from isoloss.compiler.laws.fitting.fit import fit_law
    from isoloss.compiler.laws.fitting.options import FitOptions
    from isoloss.compiler.tables.suits import check_suits, flops_rule, mixed_quality, rule_warnings
    from isoloss.inputs.run_tables import filter_table

    chosen_rows = filter_table(table, arguments.where) if arguments.where else table
    rule = arguments.points or law.points_rule
    floor = law.floor if arguments.floor is None else arguments.floor
    errors = check_suits(chosen_rows, law, floor)
    if errors:
        raise UserError(errors)
    options = FitOptions(
        errors=arguments.errors,
        delta=FitOptions().delta if arguments.delta is None else arguments.delta,
        resamples=arguments.resamples,
        points=rule,
        floor=floor,
        x=arguments.x,
        test_images=arguments.test_images,
        joint=arguments.base is None,
        base_runs=_runs_where(chosen_rows, arguments.base, "--base"),
        quality_runs=_runs_where(chosen_rows, arguments.quality, "--quality"),
        features=next(iter(chosen_rows.spaces), None),
    )
    points = chosen_rows.to_points()
    fit = fit_law(law, points, options)
    if not fit.usable:
        raise UserError([_failed(fit, chosen_rows)])
    lint_found = [
        *lint.lint_fit(fit),
        *rule_warnings(chosen_rows),
        *mixed_quality(chosen_rows, law),
        *lint.lint_selection(points, rule, floor),
    ]
    if len(chosen_rows) < len(table):
        everything = fit_law(law, table.to_points(), _on_all_rows(options, table, arguments))
        lint_found += lint.lint_exclusions(fit, everything, len(table) - len(chosen_rows))
    chosen = points.best_per_run(floor) if rule == "best" else points.curves(floor)
    line = fit_accuracy(chosen.loss, chosen.accuracy, chosen.run, arguments.test_images)
    constant = flops_rule(chosen_rows)
    data = fit_to_json(fit)
    data["accuracy"] = None if line is None else line.to_json()
    data["flops_rule"] = {"constant": constant.constant, "spread": constant.spread, "given": constant.given}
    data["source"] = arguments.table
    data["protocol"] = {"points": rule, "floor": floor, "where": arguments.where, "rows": len(chosen_rows)}
    if arguments.base is not None:
        data["protocol"] |= {"base": arguments.base, "quality": arguments.quality}
    return fit, data, lint.lints(lint_found)


def _runs_where(table: RunTable, condition: str | None, option: str) -> frozenset[str] | None:
    """Names of the runs that a stage's condition keeps."""
    if condition is None:
        return None
    from isoloss.inputs.run_tables import filter_table

    chosen = filter_table(table, condition, option).to_points()
    return frozenset(chosen.run_names[run] for run in set(chosen.run.tolist()))


def _on_all_rows(options: FitOptions, table: RunTable, arguments: argparse.Namespace) -> FitOptions:
    """The same fit without `--where`, and without intervals."""
    from dataclasses import replace

    return replace(
        options,
        resamples=0,
        rolling=False,
        base_runs=_runs_where(table, arguments.base, "--base"),
        quality_runs=_runs_where(table, arguments.quality, "--quality"),
    )


def _failed(fit: LawFit, table: RunTable) -> Diagnostic:
    from isoloss.dsl.diagnostics.diagnostic import Diagnostic

    reasons = fit.warnings or (f"law `{fit.law.name}` can't be fitted: {fit.status.value}",)
    help = (*reasons[1:], f"`{table.source}` has {fit.points} points of {fit.runs} runs for it")
    return Diagnostic("L202", reasons[0], help=help)


def _json(data: dict[str, Any]) -> str:
    import orjson

    return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _write(output: str, data: dict[str, Any]) -> None:
    from isoloss.runtime.disk import write_whole

    try:
        write_whole(Path(output), _json(data).encode())
    except OSError as error:
        raise fault("L214", f"`{output}` can't be written: {error.strerror}") from None
