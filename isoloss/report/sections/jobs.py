"""Every job with its state; the recipe with all its defaults; where all this comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields

from isoloss.compiler.plan import Job
from isoloss.dsl.study.study import Evaluation, Fit, Generator, Recipe
from isoloss.report import number_html
from isoloss.report.gather import Material
from isoloss.report.html import details, facts, note, section, state, table, text
from isoloss.report.study_text import plain

TONES = {"done": "good", "failed": "bad", "ready": "wait", "provisional": "wait"}
SHOWN_OPEN = 40


def jobs(material: Material) -> str:
    plan = material.plan
    if plan is None:
        return section("jobs", "Jobs", "<p>No plan is kept in this store.</p>")
    states = Counter(material.state(j) for j in plan.jobs)
    counts = ", ".join(f"{n} {s}" for s, n in sorted(states.items()))
    body = table(
        ["job", "kind", "state", "needs", "reason", "line", "id"],
        (_row(material, j) for j in plan.jobs),
    )
    if len(plan.jobs) > SHOWN_OPEN:
        body = details(f"All {len(plan.jobs)} jobs", body)
    said = note(
        "<em>ready</em>: may run as it is; <em>provisional</em>: waits for results that decide what it is. "
        "A job's id is a hash of what it means: equal work has equal ids and is done once."
    )
    return section(
        "jobs", "Jobs", f"<p>{len(plan.jobs)} jobs: {text(counts)}.</p>", body, said, _dropped(material)
    )


def _row(material: Material, job: Job) -> list[str]:
    word = material.state(job)
    why = material.failures.get(job.id, "") if word == "failed" else job.reason
    needs = ", ".join(
        f'<a href="#job-{text(n)}">{text(material.jobs[n].name if n in material.jobs else n)}</a>'
        for n in job.needs[:3]
    )
    if len(job.needs) > 3:
        needs += f" and {len(job.needs) - 3} more"
    return [
        f"#job-{job.id}",
        text(job.name),
        text(job.kind),
        state(word, TONES.get(word, "wait")),
        needs or "–",
        text(why),
        text(f"{job.origin.file}:{job.origin.line}") if job.origin.line else "–",
        f'<span class="id">{text(job.id)}</span>',
    ]


def _dropped(material: Material) -> str:
    assert material.plan is not None
    dropped = material.plan.dropped
    if not dropped:
        return ""
    rows = []
    for d in dropped:
        gain = number_html.data(d.gain, "plain") if d.gain is not None else number_html.MISSING
        flops = number_html.data(d.cost.flops, "flops") if d.cost.flops is not None else "–"
        rows.append([text(d.name), flops, gain, text(d.reason)])
    body = table(["candidate", "FLOPs", "gain", "why not"], rows, (1, 2))
    return details(f"Candidates that were not chosen ({len(dropped)})", body)


#: Part of the study's JSON -> its title and the order its author would write it in (JSON sorts its keys).
_PARTS: tuple[tuple[str, str, type], ...] = (
    ("recipes", "recipe", Recipe),
    ("generators", "generator", Generator),
    ("evaluations", "evaluation", Evaluation),
    ("fits", "fit", Fit),
)
#: What None stands for, where "none" would mislead.
_ABSENT = {
    ("generator", "fid"): "measured by a job",
    ("generator", "images"): "all there are",
    ("generator", "passes"): "any number",
    ("evaluation", "images"): "the whole split",
    ("recipe", "clip"): "no clipping",
}


def recipe(material: Material) -> str:
    """All recipes, generators, evaluations and the dataset, with every default made explicit."""
    plan = material.plan
    if plan is None:
        return ""
    cards = []
    for part, title, shape in _PARTS:
        order = {f.name: i for i, f in enumerate(fields(shape))}
        for item in material.declarations(part):
            keys = sorted(
                (k for k in item if k not in ("name", "origin")), key=lambda k: (order.get(k, 99), k)
            )
            rows = [(str(k), _value(title, str(k), item[k])) for k in keys]
            name = text(item.get("name", ""))
            cards.append(f'<div class="card"><h3>{title} {name}</h3>{facts(rows)}</div>')
    dataset = f"<p>Dataset <code>{text(plain(plan.study.get('dataset')))}</code>. "
    said = f"{dataset}Below is everything else that decides a result, defaults included.</p>"
    return section("recipe", "Recipe", said, f'<div class="cards">{"".join(cards)}</div>')


def _value(part: str, key: str, value: object) -> str:
    if value is None and (part, key) in _ABSENT:
        return text(_ABSENT[part, key])
    return f"<code>{text(plain(value))}</code>"


def provenance(material: Material) -> str:
    """Where and with what it was run; the plan's warnings."""
    plan, results = material.plan, list(material.results.values())
    rows: list[tuple[str, str]] = [("store", f"<code>{text(material.path)}</code>")]
    if material.origin:
        rows.append(("results", text(material.origin)))
    if material.others:
        rows.append(
            ("not shown", f"{material.others} results of other studies or earlier plans in this store")
        )
    if plan is not None:
        rows += [
            ("study", text(plan.study.get("name", ""))),
            ("profile", text(plan.study.get("profile") or "none")),
            ("study digest", f'<span class="id">{text(plan.digest)}</span>'),
            ("plan revision", text(plan.revision)),
        ]
    rows.append(("devices", _tally(r.run.device for r in results)))
    rows.append(("threads per job", _tally(r.run.threads for r in results)))
    rows.append(
        (
            "numerics",
            _tally(plain(j.spec.numerics) for j in material.jobs.values() if hasattr(j.spec, "numerics")),
        )
    )
    names = sorted({name for r in results for name in r.run.versions})
    rows += [(name, _tally(r.run.versions.get(name, "not recorded") for r in results)) for name in names]
    flags = Counter(flag for o in material.observations for flag in o.flags)
    rows.append(
        ("flags on observations", text(", ".join(f"{f} ({n})" for f, n in sorted(flags.items())) or "none"))
    )
    warnings = ""
    if plan is not None and plan.warnings:
        items = "".join(
            f"<li><code>{text(w.code)}</code> {text(w.message)}{'. ' + text(w.help) if w.help else ''}</li>"
            for w in plan.warnings
        )
        warnings = f"<h3>Warnings of the plan</h3><ul>{items}</ul>"
    return section("provenance", "Provenance", facts(rows), warnings)


def _tally(values: Iterable[object]) -> str:
    counts = Counter(str(v) for v in values)
    return text(
        ", ".join(v if len(counts) == 1 else f"{v} ({n} jobs)" for v, n in sorted(counts.items()))
        or "none yet"
    )
