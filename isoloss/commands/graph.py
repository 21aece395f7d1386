"""`isoloss graph FILE-or-PLAN`: the DAG as an SVG picture."""

from __future__ import annotations

import argparse

EXAMPLE = """examples:
  isoloss graph examples/quickstart.study -o quickstart.svg
  isoloss graph PLAN.json > plan.svg"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("file", metavar="FILE-or-PLAN", help="a .study file or a PLAN.json")
    parser.add_argument(
        "-o", "--output", metavar="OUT.svg", help="write here; without it, to standard output"
    )
    parser.add_argument("--profile", metavar="P", help="a profile of the study")
    parser.add_argument(
        "--set", action="append", default=[], metavar="K=V", help="change a setting of the study"
    )
    parser.add_argument("--store", metavar="DIR", default="isoloss-store", help="use what it has measured")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.compiler.picture import boxes, draw
    from isoloss.planning import plan_of, write_text

    plan, _ = plan_of(
        arguments.file, profile=arguments.profile, overrides=arguments.set, store=arguments.store
    )
    write_text(arguments.output or "-", draw(plan).encode())
    if arguments.output:
        shown = len(boxes(plan))
        grouped = "" if shown == len(plan.jobs) else f" in {shown} groups"
        print(f"picture written: {arguments.output} ({len(plan.jobs):,} jobs{grouped})")
    return 0
