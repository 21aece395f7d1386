"""Cost planned against measured: plan costs and the store's clock -> a scatter, totals, a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isoloss.compiler.plan import KINDS, Cost, Job
from isoloss.dsl.vocabulary.quantity_text import bytes_text, time_text
from isoloss.report import number_html
from isoloss.report.gather import Material
from isoloss.report.html import details, figure, figures, note, section, table, text
from isoloss.report.svg import SHAPES, Axis, Figure, category

#: Where an axis of durations has its marks: what clocks and calendars count in.
_TIME_TICKS = (1.0, 10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 86400.0, 10 * 86400.0, 100 * 86400.0)


def cost(material: Material) -> str:
    plan = material.plan
    if plan is None:
        return section("cost", "Cost", "<p>Without a plan there is no planned cost to compare with.</p>")
    timed = [(j, s) for j in plan.jobs if (s := material.seconds(j.id)) is not None]
    compared = [(j, r, s) for j, s in timed if (r := material.planned(j)) is not None]
    inside = sum(r.low <= s <= r.high for _, r, s in compared)
    summary = (
        f"<p>{inside} of {len(compared)} finished jobs with an estimate took a time inside their 90 % "
        "interval.</p>"
        if compared
        else "<p>No finished job has a time estimate to compare with.</p>"
    )
    plot = _scatter(material) if compared else ""
    return section(
        "cost",
        "Cost planned and measured",
        summary,
        figures([plot]) if plot else "",
        _totals(material),
        details(f"Every job's cost ({len(plan.jobs)})", _table(material)),
    )


def _scatter(material: Material) -> str:
    plot = Figure(
        "Seconds planned against seconds measured, per job",
        Axis("planned time", "log", time_text, marks=_TIME_TICKS),
        Axis("measured time", "log", time_text, marks=_TIME_TICKS),
        description="Points on the diagonal took as long as planned.",
    )
    assert material.plan is not None
    ends: list[float] = []
    for i, kind in enumerate(KINDS):
        jobs = [
            (j, material.planned(j), s)
            for j in material.plan.jobs
            if j.kind == kind and (s := material.seconds(j.id))
        ]
        known = [(j, r, s) for j, r, s in jobs if r is not None and r.mid > 0]
        if not known:
            continue
        tips = [f"{j.name}: planned {time_text(r.mid)}, took {time_text(s)}" for j, r, s in known]
        plot.points(
            [r.mid for _, r, _ in known], [s for _, _, s in known], category(i), shape=SHAPES[i], tips=tips
        )
        plot.legend.append((category(i), SHAPES[i], kind))
        ends += [v for _, r, s in known for v in (r.mid, s)]
    if not ends:
        return ""
    low, high = min(ends), max(ends)
    plot.line([low, high], [low, high], "mute", style="dash")
    return figure(
        plot.render(),
        "Each finished job's time as the first plan that had it priced it, before it ran, and as "
        "measured; on the dashed line they "
        "are equal.",
    )


def _totals(material: Material) -> str:
    plan = material.plan
    assert plan is not None
    rows = []
    for kind in (*KINDS, "all"):
        total = plan.totals.get(kind)
        if total is None:
            continue
        jobs = [j for j in plan.jobs if kind in (j.kind, "all")]
        done = [
            (r, s) for j in jobs if (s := material.seconds(j.id)) is not None and (r := material.planned(j))
        ]
        took = [s for j in jobs if (s := material.seconds(j.id)) is not None]
        rows.append(
            [
                text(kind),
                f"{len(took)} of {len(jobs)}",
                _flops(total),
                number_html.data(sum(r.mid for r, _ in done), "seconds") if done else "–",
                number_html.data(sum(s for _, s in done), "seconds") if done else "–",
                number_html.interval(total.seconds, "seconds"),
                number_html.interval(total.usd, "usd"),
            ]
        )
    head = ["kind", "done", "FLOPs", "finished: planned", "finished: measured", "whole plan", "price of it"]
    said = note(
        "Planned: by the first plan that had the job. Whole plan: all jobs, priced by the latest plan, "
        "which has "
        f"learnt from finished ones. Budget: {_budget(plan.budget)}."
    )
    return "<h3>Totals</h3>" + table(head, rows, (1, 2, 3, 4)) + said


def _budget(budget: Mapping[str, Any]) -> str:
    """The plan's account of its budget, as far as it is plain numbers and words."""
    parts = []
    for name, value in budget.items():
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        quantity = next((q for q in ("flops", "seconds", "bytes") if name.endswith(q)), "plain")
        written = text(value) if isinstance(value, str) else number_html.data(value, quantity)
        label = name.replace("_", " ").removesuffix(f" {quantity}")
        parts.append(f"{text(label)} {written}")
    return ", ".join(parts) or "none stated"


def _table(material: Material) -> str:
    assert material.plan is not None
    rows = [_row(material, job) for job in material.plan.jobs]
    return table(
        ["job", "kind", "FLOPs", "planned time", "measured time", "ratio", "memory"], rows, (2, 4, 5, 6)
    )


def _row(material: Material, job: Job) -> list[str]:
    took = material.seconds(job.id)
    planned = material.planned(job)
    ratio = (
        f"{took / planned.mid:.2f}" if took is not None and planned is not None and planned.mid > 0 else "–"
    )
    memory = bytes_text(job.cost.memory_bytes) if job.cost.memory_bytes is not None else "–"
    return [
        f'<a href="#job-{text(job.id)}">{text(job.name)}</a>',
        text(job.kind),
        _flops(job.cost),
        number_html.interval(planned, "seconds"),
        number_html.data(took, "seconds") if took is not None else "–",
        ratio,
        memory,
    ]


def _flops(cost: Cost) -> str:
    return number_html.data(cost.flops, "flops") if cost.flops is not None else number_html.MISSING
