"""`isoloss graph FILE-or-PLAN`: the DAG, or the schedule, as an SVG picture."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from isoloss.dsl.diagnostics.plain_text import plain_document
from isoloss.errors import WRONG_USAGE, fault

if TYPE_CHECKING:
    from isoloss.compiler.plan import Plan

EXAMPLE = """examples:
  isoloss graph examples/quickstart.study -o quickstart.svg
  isoloss graph PLAN.json > plan.svg
  isoloss graph examples/robustness_limits.study --gantt -o schedule.svg"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("file", metavar="FILE-or-PLAN", help="a .study file or a PLAN.json")
    parser.add_argument(
        "-o", "--output", metavar="OUT.svg", help="write here; without it, to standard output"
    )
    parser.add_argument(
        "--gantt", action="store_true", help="draw when each job could run on which device, not the DAG"
    )
    parser.add_argument("--profile", metavar="P", help="a profile of the study")
    parser.add_argument(
        "--set", action="append", default=[], metavar="K=V", help="change a setting of the study"
    )
    parser.add_argument("--store", metavar="DIR", default="isoloss-store", help="use what it has measured")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.drawings.dag_picture import boxes, draw
    from isoloss.plans.planning import is_plan, plan_of, write_text
    from isoloss.screens.diagnostics import print_diagnostics

    if arguments.output and not arguments.output.endswith(".svg"):
        raise fault(
            "P109", f"`-o {arguments.output}` is no SVG file, and pictures are written as SVG",
            "name it `OUT.svg`; a browser, Inkscape or `rsvg-convert` makes other formats of it",
            exit_code=WRONG_USAGE,
        )  # fmt: skip
    plan, notes = plan_of(
        arguments.file, profile=arguments.profile, overrides=arguments.set, store=arguments.store
    )
    if is_plan(arguments.file):
        print_diagnostics(notes)
    if arguments.gantt:
        return _gantt(plan, arguments.output)
    write_text(arguments.output or "-", plain_document(draw(plan)).encode())
    if arguments.output:
        shown = len(boxes(plan))
        grouped = "" if shown == len(plan.jobs) else f" in {shown} groups"
        print(f"picture written: {arguments.output} ({len(plan.jobs):,} jobs{grouped})")
    return 0


def _gantt(plan: Plan, output: str | None) -> int:
    from isoloss.compiler.cost.schedule import MOST_JOBS
    from isoloss.drawings.gantt import gantt
    from isoloss.plans.planning import write_text

    picture = gantt(plan)
    if picture is None:
        over = len(plan.jobs) > MOST_JOBS
        why = f"it has more than {MOST_JOBS:,} jobs" if over else "no job with estimated seconds is left"
        raise fault("P109", f"there is no schedule to draw: {why}", "`isoloss graph` without `--gantt`")
    write_text(output or "-", plain_document(picture).encode())
    if output:
        print(f"picture written: {output} ({len(plan.jobs):,} jobs)")
    return 0
