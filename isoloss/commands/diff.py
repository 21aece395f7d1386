"""`isoloss diff A B`: what changes between two plans or studies: jobs, FLOPs, money, answers."""

from __future__ import annotations

import argparse
import sys

EXAMPLE = """examples:
  isoloss diff before.study after.study
  isoloss diff PLAN.json examples/quickstart.study --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("a", metavar="A", help="a PLAN.json or a .study file")
    parser.add_argument("b", metavar="B", help="another")
    parser.add_argument("--profile", metavar="P", help="a profile of the studies")
    parser.add_argument("--store", metavar="DIR", default="isoloss-store", help="use what it has measured")
    parser.add_argument("--long", action="store_true", help="list every job")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.compiler.plans.diff import diff
    from isoloss.plans.planning import is_plan, plan_of
    from isoloss.screens.diagnostics import print_diagnostics
    from isoloss.screens.diff_screen import diff_lines

    # Beside a plan, the profile is the study's. A stale plan is what a diff is for: told, not refused.
    both = all(map(is_plan, (arguments.a, arguments.b)))
    plans = []
    for name in (arguments.a, arguments.b):
        profile = None if is_plan(name) and not both else arguments.profile
        plan, notes = plan_of(name, profile=profile, store=arguments.store, stale="warning")
        if is_plan(name):
            print_diagnostics(notes)
        plans.append(plan)
    before, after = plans
    changes = diff(before, after)
    if arguments.json:
        import orjson

        sys.stdout.write(orjson.dumps(changes, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        currency = str(after.budget.get("currency") or "USD")
        print("\n".join(diff_lines(changes, currency, None if arguments.long else 8)))
    return 0
