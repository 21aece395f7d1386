"""Quality against sampler steps, and what quality does to the loss of networks trained on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoloss.compiler.cost.flops import network_evaluations
from isoloss.compiler.plan import GenerateSpec, Observation, frechet_metric, frechet_space, kernel_metric
from isoloss.dsl.vocabulary.quantity_text import count_text
from isoloss.report.gather import Material, distance_name
from isoloss.report.html import figure, figures, section, text
from isoloss.report.sections.scaling import CURVE_POINTS, colour_and_shape, loss_range, tip
from isoloss.report.study_text import plain
from isoloss.report.svg import SHAPES, Axis, Figure, category
from isoloss.report.trained_networks import Point, TrainedNetwork
from isoloss.report.views import Views

MOST_LINES = 10


def quality(material: Material, laws: Views) -> str:
    drawn = [*_against_steps(material), *_against_loss(material, laws)]
    if not drawn:
        return section(
            "quality",
            "Quality against steps",
            "<p>Not drawn: no two generators with known steps have a known quality yet.</p>",
        )
    return section("quality", "Quality against steps", figures(drawn))


# Steps.


@dataclass(frozen=True, slots=True)
class Source:
    """A generator: its `family` (sampler without steps, denoiser), network evaluations per image, and what was
    measured of it; `stated` is its FID where nothing was."""

    name: str
    family: str
    evaluations: int
    measured: dict[str, Observation]
    stated: float | None
    space: str


def _sources(material: Material) -> list[Source]:
    specs: dict[str, GenerateSpec] = {}
    for job in material.jobs.values():
        if isinstance(job.spec, GenerateSpec) and job.facts.generator:
            specs.setdefault(job.facts.generator, job.spec)
    families = _families(specs)
    found = []
    for name, spec in specs.items():
        evaluations = network_evaluations(spec.sampler)
        measured = dict(material.measures.get(name, {}))
        stated = material.quality.get(name) if not measured else None
        if evaluations is not None and (measured or stated is not None):
            space = next((s for m in measured if (s := frechet_space(m)) is not None), None)
            named = space or material.declared_space(name) or "inception"
            found.append(Source(name, families[name], evaluations, measured, stated, named))
    return found


def _families(specs: dict[str, GenerateSpec]) -> dict[str, str]:
    """A name for each generator's family: sampler and denoiser, with the settings that tell families apart."""
    settings = {
        name: {
            **{f"sampler.{k}": plain(v) for k, v in spec.sampler.items() if k != "steps"},
            **{f"denoiser.{k}": plain(v) for k, v in spec.denoiser.items()},
        }
        for name, spec in specs.items()
    }
    keys = sorted({key for each in settings.values() for key in each})
    varied = [k for k in keys if not k.endswith(".kind") and _differs(k, list(settings.values()))]
    names = {}
    for name, spec in specs.items():
        said = [f"{k.partition('.')[2]} = {settings[name][k]}" for k in varied if k in settings[name]]
        kinds = [str(spec.sampler["kind"])]
        kinds += [str(spec.denoiser["kind"])] if spec.denoiser["kind"] != "none" else []
        names[name] = ", ".join([*kinds, *said])
    return names


def _differs(key: str, settings: Sequence[dict[str, str]]) -> bool:
    """Whether two generators of the same kinds differ in a setting."""
    seen: dict[tuple[Any, Any], str] = {}
    for each in settings:
        kinds = each.get("sampler.kind"), each.get("denoiser.kind")
        if key in each and seen.setdefault(kinds, each[key]) != each[key]:
            return True
    return False


def _against_steps(material: Material) -> Iterator[str]:
    """Fréchet distance, then kernel distance, against network evaluations: a figure per space, a curve per
    family."""
    sources = _sources(material)
    for space in dict.fromkeys(s.space for s in sources):
        family = [s for s in sources if s.space == space]
        if len({s.evaluations for s in family}) < 2:
            continue
        for metric in (frechet_metric(space), kernel_metric(space)):
            drawn = _steps_figure(family, metric)
            if drawn:
                yield drawn


def _steps_figure(sources: list[Source], metric: str) -> str:
    name = distance_name(metric)
    rows = [(s, o) for s in sources if (o := _value(s, metric)) is not None]
    if len({s.evaluations for s, _ in rows}) < 2:
        return ""
    log = all(o.value > 0 for _, o in rows)
    plot = Figure(
        f"{name} against network evaluations",
        Axis("network evaluations per image", "log"),
        Axis(f"{name} (lower is better)", "log" if log else "linear"),
        heading=f"{name} against sampling effort",
    )
    for i, family in enumerate(dict.fromkeys(s.family for s, _ in rows)):
        samplers = sorted(((s, o) for s, o in rows if s.family == family), key=lambda row: row[0].evaluations)
        xs, ys = [float(s.evaluations) for s, _ in samplers], [o.value for _, o in samplers]
        plot.line(xs, ys, category(i), style="thin")
        for hollow in (False, True):
            part = [(s, o) for s, o in samplers if (s.stated is not None) == hollow]
            plot.points(
                [float(s.evaluations) for s, _ in part],
                [o.value for _, o in part],
                category(i),
                shape=SHAPES[i % len(SHAPES)],
                hollow=hollow,
                tips=[f"{s.name}: {s.evaluations} evaluations, {o.value:.4g}" for s, o in part],
                lows=[o.low for _, o in part],
                highs=[o.high for _, o in part],
            )
        plot.legend.append((category(i), SHAPES[i % len(SHAPES)], family))
    stated = (
        " Hollow: stated in the study, not measured." if any(s.stated is not None for s, _ in rows) else ""
    )
    return figure(
        plot.render(),
        f"<code>{text(metric)}</code> of each generator against the evaluations of its network that an image costs "
        f"(2n − 1 of Heun’s method in n steps); a curve per sampler and denoiser. Bars are 95 % intervals.{stated}",
    )


def _value(source: Source, metric: str) -> Observation | None:
    if source.stated is not None and frechet_space(metric) is not None:
        return Observation("", "fid", metric, source.stated)
    return source.measured.get(metric)


# Loss.


def _against_loss(material: Material, laws: Views) -> Iterator[str]:
    """Final loss against quality, for networks of equal N and D, with what a law says: a figure per space."""
    metric = material.loss_metric
    if metric is None:
        return
    spaces: dict[str, list[tuple[TrainedNetwork, Point, float]]] = {}
    for run in material.runs:
        point, fid = run.final(metric), material.quality.get(run.facts.generator or "")
        if point is not None and fid is not None and run.facts.allocation is None:
            spaces.setdefault(material.quality_name(run.facts.generator), []).append((run, point, fid))
    for name, rows in spaces.items():
        lines = _lines(rows)
        if lines:
            yield _loss_figure(material, metric, name, lines, laws)


def _lines(
    rows: Sequence[tuple[TrainedNetwork, Point, float]],
) -> list[list[tuple[TrainedNetwork, Point, float]]]:
    """Runs of one N and D over two qualities or more, by quality; per N those of the most images."""
    groups: dict[tuple[int, int], list[tuple[TrainedNetwork, Point, float]]] = {}
    for row in rows:
        groups.setdefault((row[0].params, row[0].images), []).append(row)
    several = {key: g for key, g in groups.items() if len({fid for _, _, fid in g}) > 1}
    largest: dict[int, int] = {}
    for params, images in several:
        largest[params] = max(images, largest.get(params, 0))
    chosen = sorted((n, d) for n, d in several if largest[n] == d)[:MOST_LINES]
    return [sorted(several[key], key=lambda row: row[2]) for key in chosen]


def _loss_figure(
    material: Material,
    metric: str,
    name: str,
    lines: Sequence[Sequence[tuple[TrainedNetwork, Point, float]]],
    laws: Views,
) -> str:
    low, high = loss_range(material, metric)
    log = all(fid > 0 for line in lines for _, _, fid in line)
    plot = Figure(
        f"Loss against {name}",
        Axis(f"{name} of the training images", "log" if log else "linear"),
        Axis("adversarial loss", "log", low=low, high=high),
        heading=f"What {name} does to the loss",
    )
    # The last of a line is of the worst quality: no real data, which is of every space.
    speaking = laws.of(lines[0][-1][0].facts.generator)
    view = next((v for v in speaking if v.fit.law.uses_fid and v.generator is None), None)
    for line in lines:
        run, (colour, shape) = line[0][0], colour_and_shape(material, line[0][0].params)
        plot.points(
            [fid for _, _, fid in line],
            [p.value for _, p, _ in line],
            colour,
            shape=shape,
            tips=[f"{r.facts.generator}, {tip(r, p)}" for r, p, _ in line],
            lows=[p.low for _, p, _ in line],
            highs=[p.high for _, p, _ in line],
        )
        plot.legend.append((colour, shape, f"N {count_text(run.params)}, D {count_text(run.images)}"))
        if view is not None:
            spaced = np.geomspace if log else np.linspace
            grid = spaced(line[0][2], line[-1][2], CURVE_POINTS)
            middle = view.middle(run.params, run.images, grid)
            if np.isfinite(middle).all():
                plot.line(grid.tolist(), middle.tolist(), colour, style="dash")
    caption = (
        f"Final <code>{text(metric)}</code> of networks of one size on equally many images, against the quality of "
        "these; for each size at the most images that two qualities share."
    )
    return figure(plot.render(), caption + (f" Dashed: {text(view.name)}." if view is not None else ""))
