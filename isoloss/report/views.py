"""Fitted laws as the figures need them: plan.laws -> curves, frontiers, a focus, a FLOP rule.

Every number comes from LawFit's own predictions; nothing is fitted here but the accuracy line, whose points
are the page's own runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from isoloss.compiler.laws.accuracy import AccuracyFit, fit_accuracy
from isoloss.compiler.laws.arrays import Floats, FlopsPerImage
from isoloss.compiler.laws.fitting.fit_json import fit_from_json
from isoloss.compiler.laws.fitting.fitted import Band, LawFit, Tradeoff
from isoloss.compiler.laws.fitting.tradeoff import tradeoff
from isoloss.compiler.laws.portfolio import Portfolio
from isoloss.compiler.plan import TrainSpec
from isoloss.compiler.questions.buildable_networks import buildable, per_image_rule
from isoloss.report.gather import Material
from isoloss.report.svg import category

#: Resamples behind a drawn band: its ends are then good to a few per cent of its width, for a third of the
#: time. Numbers in text and tables use every resample.
DRAWN_RESAMPLES = 200


@dataclass(frozen=True, eq=False)
class View:
    """One entry of plan.laws. `generator`: the one it is fitted to (`per = generator`); None: all."""

    name: str
    fit: LawFit
    colour: str
    generator: str | None
    flops_rule: FlopsPerImage | None

    @cached_property
    def thinned(self) -> LawFit:
        """The same law with as many resamples as figures need."""
        return replace(self.fit, samples=self.fit.samples[:DRAWN_RESAMPLES])

    @cached_property
    def _bare(self) -> LawFit:
        """The same law without resamples: middles only, a hundred times quicker."""
        return replace(self.fit, samples=self.fit.samples[:0])

    def knows(self, space: str | None) -> bool:
        """Whether a quality in this feature space is one that the law was fitted to. `space` None: real data,
        which is 0 in every space, or not said."""
        return None in (space, self.fit.features) or space == self.fit.features

    def band(self, params: ArrayLike, images: ArrayLike, fid: float) -> Band:
        """Predicted loss [n] with its 95 % interval (nan ends: not estimated)."""
        return self.thinned.predict_many(params, images, fid)

    def middle(self, params: ArrayLike, images: ArrayLike, fid: ArrayLike) -> Floats:
        """Predicted loss [n] without interval; nan where the law can't say."""
        return self._bare.predict_many(params, images, fid).mid

    def frontier(self, computes: Floats, fid: float, *, bands: bool = True) -> Frontier:
        """N*, D*, L* at each compute (FLOP); without `bands` middles only."""
        return _frontier(self.thinned if bands else self._bare, computes, fid, self.flops_rule)

    def tradeoff(self, size: float, flops: float, fid: float) -> Tradeoff | None:
        """What a network of `size` x N* pays (Eq. 6), with every resample."""
        return tradeoff(self.fit, size, flops, fid, self.flops_rule)

    def drawn_tradeoff(self, size: float, flops: float, fid: float) -> Tradeoff | None:
        """The same for a figure."""
        return tradeoff(self.thinned, size, flops, fid, self.flops_rule)


@dataclass(frozen=True, eq=False)
class Frontier:
    """The compute-optimal line: arrays over `flops`, nan where a law has no optimum or no interval."""

    flops: Floats
    params: Band
    images: Band
    loss: Band


def _frontier(law: LawFit | Portfolio, computes: Floats, fid: float, rule: FlopsPerImage | None) -> Frontier:
    optima = [law.optimum(float(c), fid, rule) for c in computes]
    columns = []
    for quantity in ("params", "images", "loss"):
        ranges = [getattr(o, quantity) for o in optima]
        ends = [[np.nan if r is None else getattr(r, end) for r in ranges] for end in ("low", "mid", "high")]
        columns.append(Band(*(np.array(e, dtype=float) for e in ends)))
    return Frontier(np.asarray(computes, dtype=float), *columns)


def together(chosen: Sequence[View], computes: Floats, fid: float) -> Frontier | None:
    """The frontier of a question's laws as one portfolio, as the plan's answers take it; None for one law."""
    if len(chosen) < 2:
        return None
    return _frontier(Portfolio([v.thinned for v in chosen]), computes, fid, chosen[0].flops_rule)


@dataclass(frozen=True, slots=True)
class Focus:
    """What N*(C) figures are drawn for: the quality and compute of the study's first question."""

    generator: str | None
    fid: float
    flops: float | None
    question: str
    laws: tuple[str, ...] = ()


@dataclass(frozen=True)
class Views:
    """All laws of a plan that can be read, and what hinders the others. `spaces`: generator -> the feature space
    that its quality is a distance in."""

    items: tuple[View, ...]
    unreadable: tuple[tuple[str, str], ...]
    spaces: Mapping[str | None, str | None]

    def of(self, generator: str | None) -> list[View]:
        """Laws of single runs that speak about a generator: its own and those of all of its feature space."""
        return [v for v in self._about(generator) if v.fit.law.pointwise]

    def frontiers(self, generator: str | None) -> list[View]:
        """Laws that know an optimum for a generator, approach1's included."""
        return [v for v in self._about(generator) if v.fit.law.two_dimensional]

    def _about(self, generator: str | None) -> Iterator[View]:
        for view in self.items:
            if (
                view.fit.usable
                and view.generator in (None, generator)
                and view.knows(self.spaces.get(generator))
            ):
                yield view


def views(material: Material) -> Views:
    """Read plan.laws. A law of an installed package that is missing here is named, not drawn."""
    if material.plan is None:
        return Views((), (), {})
    rule = flop_rule(material)
    items: list[View] = []
    unreadable: list[tuple[str, str]] = []
    fits = _order(material)
    for name, data in sorted(
        material.plan.laws.items(), key=lambda i: (fits.index(i[0].partition("/")[0]), i[0])
    ):
        base, _, generator = name.partition("/")
        try:
            fit = fit_from_json(data)
        except ValueError as error:
            unreadable.append((name, str(error)))
            continue
        items.append(View(name, fit, category(fits.index(base)), generator or None, rule))
    return Views(tuple(items), tuple(unreadable), {g: material.space(g) for g in material.generators})


def _order(material: Material) -> list[str]:
    """Names of fits: those of the first question lead, then as declared, then any others."""
    assert material.plan is not None
    about = focus(material)
    declared = [str(f.get("name", "")) for f in material.declarations("fits")]
    known = {name.partition("/")[0] for name in material.plan.laws}
    wanted = [*(about.laws if about else ()), *declared, *sorted(known)]
    return [name for name in dict.fromkeys(wanted) if name in known]


def flop_rule(material: Material) -> FlopsPerImage | None:
    """N -> training FLOP per image over the study's families, as the compiler takes it; None (the published
    7822 N) where a family's members can't be counted here."""
    specs = [j.spec for j in material.jobs.values() if isinstance(j.spec, TrainSpec)]
    if not specs:
        return None
    models = list({str(s.model): s.model for s in specs}.values())
    try:
        recipe = specs[0].recipe
        return per_image_rule(
            buildable(models, specs[0].dataset, recipe["loss"], recipe["attack"], recipe["perturb"])
        )
    except (KeyError, ValueError):
        return None  # a third party's family or loss: no count is known here


def focus(material: Material) -> Focus | None:
    """The first allocation's generator and compute; else the first forecast's; else the best generator."""
    if material.plan is None:
        return None
    for kind in ("allocations", "forecasts"):
        for item in material.declarations(kind):
            generator, fid = _asked_generator(material, item), item.get("fid")
            if generator is not None:
                fid = material.quality.get(generator)
            if fid is not None:
                laws = tuple(str(name) for name in item.get("laws") or ())
                return Focus(
                    generator, float(fid), item.get("compute_flops"), str(item.get("name", "")), laws
                )
    if not material.quality:
        return None
    best = min(material.quality, key=lambda g: material.quality[g])
    return Focus(best, material.quality[best], None, "")


def _asked_generator(material: Material, item: Mapping[str, Any]) -> str | None:
    """The generator a question is about: of an allocation's several the one its run draws from, once it is
    known, and until then the first."""
    offered = item.get("generators") or (item.get("generator"),)
    run = (j for j in material.plan.jobs if j.facts.allocation == item.get("name")) if material.plan else ()
    known = (job.facts.generator for job in run)
    return next((g for g in known if g in offered), offered[0])


def compute_range(material: Material, asked: float | None) -> Floats:
    """Log-spaced computes (FLOP) from the cheapest run to 10 times the dearest or the asked one."""
    spent = [r.facts.flops_per_image * r.images for r in material.runs if r.facts.flops_per_image]
    low, high = min(spent, default=asked or 1.0), max([*spent, asked or 0.0], default=1.0)
    return np.geomspace(low, 10 * high, 17)


def accuracy_line(material: Material) -> AccuracyFit | None:
    """Robust accuracy on loss over the final points of grid runs (what an allocation trains tests the line,
    it doesn't enter it); None for fewer than three distinct losses."""
    loss, accuracy = material.loss_metric, material.accuracy_metric
    if loss is None or accuracy is None:
        return None
    grid = [r for r in material.runs if r.facts.allocation is None]
    pairs = [(a, b) for r in grid if (a := r.final(loss)) and (b := r.final(accuracy))]
    if not pairs:
        return None
    counts = {b.count for _, b in pairs}
    return fit_accuracy(
        [a.value for a, _ in pairs],
        [b.value for _, b in pairs],
        count=counts.pop() if len(counts) == 1 else None,
    )
