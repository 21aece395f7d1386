"""`isoloss plan`: compile a study and show what runs, what it costs, what it will answer."""

from __future__ import annotations

import argparse
import sys

from isoloss.inputs.gates import add_gates, check_gates

EXAMPLE = """example:
  isoloss plan examples/quickstart.study
  isoloss plan examples/robustness_limits.study --profile laptop -o PLAN.json
  isoloss plan examples/quickstart.study --set budget.compute='5 TFLOP'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("file", metavar="FILE", help="a .study file, or a PLAN.json to show")
    parser.add_argument("-o", "--output", metavar="PLAN.json", help="write the plan")
    parser.add_argument("--profile", metavar="P", help="a profile of the study")
    parser.add_argument(
        "--set", action="append", default=[], metavar="K=V", help="change a setting; may be repeated"
    )
    parser.add_argument("--runs", metavar="RUNS.csv", help="a table of runs made elsewhere")
    parser.add_argument("--columns", metavar="MAP", help="how that table names its columns: params=N,loss=L")
    parser.add_argument("--store", metavar="DIR", default="isoloss-store", help="use what it has measured")
    add_gates(parser)
    parser.add_argument("--long", action="store_true", help="every default, every cell")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.compiler.plans.plan_json import plan_to_json
    from isoloss.dsl.diagnostics.collector import with_source
    from isoloss.plans.planning import is_plan, plan_of, write_text
    from isoloss.screens.diagnostics import print_diagnostics, show_diagnostics
    from isoloss.screens.paint import Paint
    from isoloss.screens.plan_screen import screen

    plan, diagnostics = plan_of(
        arguments.file,
        profile=arguments.profile,
        overrides=arguments.set,
        store=arguments.store,
        runs=arguments.runs,
        columns=arguments.columns,
    )
    check_gates(plan, arguments)
    if is_plan(arguments.file):
        print_diagnostics(diagnostics)
        diagnostics = []
    if arguments.output:
        write_text(arguments.output, plan_to_json(plan))
    if arguments.json:
        sys.stdout.write(plan_to_json(plan).decode())
        return 0
    print(screen(plan, long=arguments.long, paint=Paint.for_output()))
    # Notes are in the screen's own words; the long form has them in full.
    shown = [d for d in diagnostics if arguments.long or d.severity != "note"]
    show_diagnostics(with_source(shown), arguments)
    if arguments.output:
        print(f"\nplan written: {arguments.output}")
    return 0
