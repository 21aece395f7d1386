"""Material -> one HTML page, and its way to the disk.

In: a store folder. Out: a file that needs nothing else: no network, no script, images and style inside."""

from __future__ import annotations

from pathlib import Path

from isoloss.dsl.diagnostics.plain_text import plain_document
from isoloss.report.gather import Material, gather
from isoloss.report.html import text
from isoloss.report.sections.answers import answers
from isoloss.report.sections.cost import cost
from isoloss.report.sections.curves import curves
from isoloss.report.sections.fits import fits
from isoloss.report.sections.forecasts import forecasts
from isoloss.report.sections.frontier import frontier
from isoloss.report.sections.generators import generators
from isoloss.report.sections.jobs import jobs, provenance, recipe
from isoloss.report.sections.measured import measured
from isoloss.report.sections.method import method
from isoloss.report.sections.quality import quality
from isoloss.report.sections.samples import samples
from isoloss.report.sections.scaling import scaling
from isoloss.report.style import CSS
from isoloss.report.views import views
from isoloss.runtime import disk

#: Nothing may load: not even what a hostile name might try to smuggle in.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

#: Sections by anchor: what the navigation calls them.
_TITLES = {
    "answers": "Answers",
    "results": "Results",
    "curves": "Curves",
    "scaling": "Scaling",
    "frontier": "Best use of compute",
    "laws": "Laws",
    "generators": "Generators",
    "quality": "Quality",
    "forecasts": "Forecasts",
    "cost": "Cost",
    "samples": "Samples",
    "jobs": "Jobs",
    "recipe": "Recipe",
    "provenance": "Provenance",
    "method": "Method",
}


def write_report(store: Path, out: Path | None = None) -> Path:
    """Write the report of a store to `out` (default: report.html in the store) and return its path.

    Raises runtime.errors.JobError (R101, R102, R105, R108) where `store` is none, and OSError where `out`
    can't be written."""
    material = gather(Path(store))
    target = Path(out) if out is not None else material.path / "report.html"
    content = plain_document(render(material)).encode()
    target.parent.mkdir(parents=True, exist_ok=True)
    disk.write_whole(target, content)
    return target


def render(material: Material) -> str:
    """The page. Same material, same bytes."""
    name = str(material.plan.study.get("name", "study")) if material.plan else material.path.name
    body = _sections(material)
    links = "".join(f'<a href="#{anchor}">{_TITLES[anchor]}</a>' for anchor in body)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{text(name)} · isoloss report</title><style>{CSS}</style></head><body>"
        f"<header><h1>{text(name)}</h1>{_subtitle(material)}{_banner(material)}</header>"
        f'<nav aria-label="Sections"><div>{links}</div></nav><main>{"".join(body.values())}</main>'
        "<footer>Written by isoloss from stored plans and observations. Every number stands in the markup "
        "in full "
        "precision (<code>&lt;data value&gt;</code>). Intervals are 95 %, of time and money 90 %.</footer>"
        "</body></html>\n"
    )


def _sections(material: Material) -> dict[str, str]:
    """Anchor -> section, in order: those that the study is about. Results come first where no law is fitted; what is
    about N, D and laws stands only where the study varies or asks it."""
    study = {} if material.plan is None else material.plan.study
    fitted = bool(study.get("fits")) or material.plan is None
    networks = material.runs
    scales = fitted or any(len({getattr(n, name) for n in networks}) > 1 for name in ("params", "images"))
    made = len({network.facts.generator for network in networks}) > 1 or bool(material.measures)
    laws = views(material)
    found: dict[str, str] = {}
    if fitted or study.get("comparisons"):
        found["answers"] = answers(material)
    found["results"] = measured(material)
    if drawn := curves(material):
        found["curves"] = drawn
    if scales:
        found["scaling"] = scaling(material, laws)
    if fitted:
        found |= {"frontier": frontier(material, laws), "laws": fits(material, laws)}
    if fitted or made:
        found |= {"generators": generators(material), "quality": quality(material, laws)}
    if fitted:
        found["forecasts"] = forecasts(material)
    return found | {
        "cost": cost(material),
        "samples": samples(material),
        "jobs": jobs(material),
        "recipe": recipe(material),
        "provenance": provenance(material),
        "method": method(material),
    }


def _subtitle(material: Material) -> str:
    if material.plan is None:
        return '<p class="sub">No plan is kept in this store.</p>'
    plan = material.plan
    profile = plan.study.get("profile")
    parts = [f"profile {text(profile)}"] if profile else []
    parts += [f'study <span class="id">{text(plan.digest[:12])}</span>', f"plan revision {plan.revision}"]
    return f'<p class="sub">{" · ".join(parts)}</p>'


def _banner(material: Material) -> str:
    if material.origin == "simulated" or any(r.run.simulated for r in material.results.values()):
        return (
            '<p class="banner"><strong>Simulated results.</strong> The observations in this store were '
            "drawn from a stated law by the simulate executor; no network was trained. Nothing here is "
            "evidence about real networks.</p>"
        )
    return ""
