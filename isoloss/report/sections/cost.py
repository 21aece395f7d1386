"""Cost planned against measured: plan costs and the store's clock -> a scatter, totals, a table."""

from __future__ import annotations

from isoloss.compiler.plan import Cost, Job
from isoloss.report import format as write
from isoloss.report.gather import Material
from isoloss.report.html import details, figure, figures, note, section, table, text
from isoloss.report.svg import SHAPES, Axis, Figure, category

KINDS = ("generate", "fid", "train", "evaluate")


def cost(material: Material) -> str:
    plan = material.plan
    if plan is None:
        return section("cost", "Cost", "<p>Without a plan there is no planned cost to compare with.</p>")
    timed = [(j, s) for j in plan.jobs if (s := material.seconds(j.id)) is not None]
    compared = [(j, j.cost.seconds, s) for j, s in timed if j.cost.seconds is not None]
    inside = sum(r.low <= s <= r.high for _, r, s in compared)
    summary = (
        f"<p>{inside} of {len(compared)} finished jobs with an estimate took a time inside their 95 % "
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
        Axis("planned time", "log", write.seconds, marks=write.TIME_TICKS),
        Axis("measured time", "log", write.seconds, marks=write.TIME_TICKS),
        description="Points on the diagonal took as long as planned.",
    )
    assert material.plan is not None
    ends: list[float] = []
    for i, kind in enumerate(KINDS):
        jobs = [
            (j, j.cost.seconds, s)
            for j in material.plan.jobs
            if j.kind == kind and (s := material.seconds(j.id))
        ]
        known = [(j, r, s) for j, r, s in jobs if r is not None and r.mid > 0]
        if not known:
            continue
        tips = [f"{j.name}: planned {write.seconds(r.mid)}, took {write.seconds(s)}" for j, r, s in known]
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
        "Each finished job's time as this plan prices it and as it was measured; on the dashed line they "
        "are equal.",
    )


def _totals(material: Material) -> str:
    plan = material.plan
    assert plan is not None
    rows = []
    for kind in (*KINDS, "all"):
        planned = plan.totals.get(kind)
        if planned is None:
            continue
        jobs = [j for j in plan.jobs if kind in (j.kind, "all")]
        took = [s for j in jobs if (s := material.seconds(j.id)) is not None]
        rows.append(
            [
                text(kind),
                f"{len(took)} of {len(jobs)}",
                _flops(planned),
                write.interval(planned.seconds, "seconds"),
                write.data(sum(took), "seconds") if took else '<span class="none">none yet</span>',
                write.interval(planned.usd, "usd"),
            ]
        )
    budget = ", ".join(
        f"{text(k)} = {text(v)}" for k, v in plan.budget.items() if isinstance(v, int | float | str)
    )
    said = note(
        "Planned totals cover all jobs of the plan, measured ones the finished jobs. Budget: "
        f"{budget or 'none stated'}."
    )
    return (
        "<h3>Totals</h3>"
        + table(["kind", "done", "FLOPs", "planned time", "measured time", "price"], rows, (1, 2))
        + said
    )


def _table(material: Material) -> str:
    assert material.plan is not None
    rows = [_row(material, job) for job in material.plan.jobs]
    return table(
        ["job", "kind", "FLOPs", "planned time", "measured time", "ratio", "memory"], rows, (2, 4, 5, 6)
    )


def _row(material: Material, job: Job) -> list[str]:
    took = material.seconds(job.id)
    planned = job.cost.seconds
    ratio = (
        f"{took / planned.mid:.2f}" if took is not None and planned is not None and planned.mid > 0 else "–"
    )
    memory = write.size(job.cost.memory_bytes) if job.cost.memory_bytes is not None else "–"
    return [
        f'<a href="#job-{text(job.id)}">{text(job.name)}</a>',
        text(job.kind),
        _flops(job.cost),
        write.interval(planned, "seconds"),
        write.data(took, "seconds") if took is not None else "–",
        ratio,
        memory,
    ]


def _flops(cost: Cost) -> str:
    return (
        write.data(cost.flops, "flops")
        if cost.flops is not None
        else f'<span class="none">{write.NOT_ESTIMATED}</span>'
    )
