"""A plan as one screen: what runs, what it costs, what it will answer, what is assumed. Plan -> text.

Everything shown is in the plan itself, so a PLAN.json shows the same as the study it was made from. What has no room
on a line stands in full in the long form (plan_long.py)."""

from __future__ import annotations

from collections import Counter

from isoloss.compiler.plan import Plan
from isoloss.screens.paint import PLAIN, Paint
from isoloss.screens.plan_answers import answers
from isoloss.screens.plan_assumptions import assumptions
from isoloss.screens.plan_bill import bill
from isoloss.screens.plan_runs import runs


def screen(plan: Plan, *, long: bool = False, paint: Paint = PLAIN) -> str:
    """The whole text, without a final newline."""
    parts = [_head(plan, paint), runs(plan), bill(plan), answers(plan, paint), assumptions(plan)]
    if long:
        from isoloss.screens.plan_long import sections

        parts += sections(plan)
    else:
        parts.append([paint.dim("networks, laws, defaults and every job: --long")])
    heads = [[paint.bold(lines[0]), *lines[1:]] if i else lines for i, lines in enumerate(parts) if lines]
    return "\n\n".join("\n".join(lines) for lines in heads)


def _head(plan: Plan, paint: Paint) -> list[str]:
    devices, dataset = plan.budget["devices"], (plan.study.get("dataset") or {}).get("call", "")
    states: Counter[str] = Counter(job.state for job in plan.jobs)
    said = [
        f"{states[state]:,} {word}"
        for state, word in (("done", "done"), ("ready", "to run"), ("provisional", "wait for results"))
        if states[state]
    ]
    name = paint.bold(str(plan.study.get("name", "")))
    where = f"{dataset}, {devices['count']} of {devices['kind']}"
    return [f"{name}: {where}; {len(plan.jobs):,} jobs: {', '.join(said) or 'nothing to do'}"]
