"""`isoloss explain JOB PLAN`: why a job exists, what its cost is made of, what would make it run again."""

from __future__ import annotations

import argparse
import sys

EXAMPLE = """examples:
  isoloss plan examples/quickstart.study -o PLAN.json
  isoloss explain 'runs/cnn(2)/fine/4k' PLAN.json
  isoloss explain 3fa9 PLAN.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("job", metavar="JOB", help="a job's name, or the start of its id")
    parser.add_argument("plan", metavar="PLAN", help="a PLAN.json or a .study file")
    parser.add_argument("--profile", metavar="P", help="a profile of the study")
    parser.add_argument(
        "--set", action="append", default=[], metavar="K=V", help="change a setting of the study"
    )
    parser.add_argument("--store", metavar="DIR", default="isoloss-store", help="use what it has measured")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.compiler.plans.explain_job import explain, find
    from isoloss.errors import fault
    from isoloss.plans.planning import is_plan, plan_of
    from isoloss.screens.diagnostics import print_diagnostics
    from isoloss.screens.job_screen import job_lines

    plan, notes = plan_of(
        arguments.plan, profile=arguments.profile, overrides=arguments.set, store=arguments.store
    )
    if is_plan(arguments.plan):
        print_diagnostics(notes)
    matches = find(plan, arguments.job)
    if not matches:
        names = [job.name for job in plan.jobs]
        helps = _close(arguments.job, names)
        asked = next((a for a in plan.answers if a.name == arguments.job and a.kind == "allocate"), None)
        if asked is not None:
            helps = [f"`{asked.name}` is asked for, and its run is {asked.status}: {'; '.join(asked.notes)}"]
        raise fault("P106", f"no job `{arguments.job}` in this plan", *helps)
    if len(matches) > 1:
        listed = ", ".join(f"{job.id[:8]} ({job.name})" for job in matches[:6])
        raise fault("P106", f"`{arguments.job}` names {len(matches)} jobs", f"say more of the id: {listed}")
    explanation = explain(plan, matches[0])
    if arguments.json:
        import orjson

        sys.stdout.write(orjson.dumps(explanation, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        print("\n".join(job_lines(explanation, plan.budget)))
    return 0


def _close(text: str, names: list[str]) -> list[str]:
    from difflib import get_close_matches

    near = get_close_matches(text, names, n=3, cutoff=0.5)
    help = [f"did you mean {', '.join(f'`{n}`' for n in near)}?"] if near else []
    return [*help, "`isoloss plan --long` lists names and ids"]
