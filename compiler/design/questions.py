"""What a study asks of which law: forecasts, allocations, or else its fits. Study -> Questions. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isoloss.compiler.design.candidates import Pool
from isoloss.compiler.design.posterior import Seen
from isoloss.compiler.design.target import Target
from isoloss.compiler.laws.arrays import Bools, Inputs
from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.laws.forms.registry import LAWS
from isoloss.compiler.laws.points import Points
from isoloss.compiler.observed.runs import Knowledge, Run, points
from isoloss.compiler.observed.study_fits import members
from isoloss.dsl.study.study import Fit, Study

#: A law of the envelope predicts no single run; its frontier is planned through the law whose frontier it is.
STAND_IN = "chinchilla"


@dataclass(frozen=True, slots=True, eq=False)
class AskedLaw:
    """A law of the study as it is asked: `declared` for the runs of `generator` (None: of all); `member` [n]
    of the pool; `fractions` of its training at which it looks at a run, the last 1."""

    key: str
    declared: Fit
    law: Law
    member: Bools
    targets: tuple[Target, ...]
    fractions: tuple[float, ...]


def asked_laws(study: Study, runs: Sequence[Run], pool: Pool) -> list[AskedLaw]:
    """Every law with what is asked of it; none without fits. Without forecasts and allocations, the fits
    themselves are the questions."""
    declared = {fit.name: fit for fit in study.fits}
    wanted: dict[str, tuple[Fit, str | None, list[Target]]] = {}

    def ask(name: str, generator: str | None, make: Target) -> None:
        fit = declared.get(name)
        if fit is None:
            return
        split = generator if fit.per == "generator" else None
        key = name if split is None else f"{name}/{split}"
        wanted.setdefault(key, (fit, split, []))[2].append(replace(make, fit=key))

    for forecast in study.forecasts:
        fid = forecast.fid if forecast.fid is not None else pool.fids.get(forecast.generator or "", 0.0)
        for name in forecast.laws:
            target = Target(forecast.name, "loss", name, forecast.compute_flops, fid, forecast.within)
            ask(name, forecast.generator or _first_generator(runs), target)
    for each in study.allocations:
        # Of several generators the best: its law is the one that the others are measured against.
        best = min(each.generators, key=lambda g: pool.fids.get(g, 0.0))
        fid = pool.fids.get(best, 0.0)
        # The compute of an `accuracy` or a `time` isn't known before its law is: the dearest run stands for it.
        flops = each.compute_flops or max((run.cell.flops for run in runs), default=0.0)
        for name in each.laws:
            # Its size alone: the loss of the run that it asks for is measured, not forecast.
            ask(name, best, Target(each.name, "size", name, flops, fid))
    if not wanted:
        for fit in study.fits:
            names = dict.fromkeys(run.cell.generator for run in runs)
            for generator in names if fit.per == "generator" else [None]:
                ask(fit.name, generator, Target(fit.name, "fit", fit.name))
    return [_asked(study, key, *entry, runs, pool) for key, entry in wanted.items()]


def _first_generator(runs: Sequence[Run]) -> str | None:
    return runs[0].cell.generator if runs else None


def _asked(
    study: Study,
    key: str,
    fit: Fit,
    generator: str | None,
    targets: list[Target],
    runs: Sequence[Run],
    pool: Pool,
) -> AskedLaw:
    law = LAWS[fit.law]
    law = law if law.pointwise else LAWS[STAND_IN]
    by_grid: dict[str, list[Run]] = {}
    for run in runs:
        # Qualities not measured yet are assumed, so that filters by fid don't leave everything out.
        cell = run.cell
        if cell.fid is None:
            cell = replace(cell, fid=pool.fids[cell.generator], provisional=False)
        by_grid.setdefault(cell.grid, []).append(replace(run, cell=cell))
    mine = {r.train for r in members(fit, by_grid)[0] if generator in (None, r.cell.generator)}
    member = np.array([run.train in mine for run in runs], dtype=bool)
    inside = _evaluated(study, [run.cell.recipe for run in runs if run.train in mine])
    return AskedLaw(key, fit, law, member, tuple(targets), _looks(fit, inside))


def _evaluated(study: Study, recipes: Sequence[str]) -> float:
    """The least fraction of training after which every one of these recipes is evaluated; 1: at its end only."""
    every = {recipe.name: recipe.evaluate.every if recipe.evaluate else 1.0 for recipe in study.recipes}
    return max((every[name] for name in dict.fromkeys(recipes)), default=1.0)


def _looks(fit: Fit, first: float) -> tuple[float, ...]:
    """Of a curve its two ends and its middle: what lies between them hardly adds, its noise being shared."""
    first = max(fit.floor, first)
    if not curved(fit) or first >= 1.0:
        return (1.0,)
    return (first, float(np.sqrt(first)), 1.0)


def curved(fit: Fit) -> bool:
    """Whether the fit takes whole curves, not one point of each run."""
    return fit.points == "curve" or LAWS[fit.law].points_rule == "curve"


def data_of(each: AskedLaw, runs: Sequence[Run], knowledge: Knowledge, pool: Pool) -> Seen:
    """The finished runs of a law as its fit takes them: of each its lowest or its last loss, or of its curve as
    many as it looks at."""
    row: Mapping[str, int] = {run.train: i for i, run in enumerate(runs) if each.member[i]}
    mine = [run for run in runs if run.train in row and knowledge.complete(run)]
    known = points(knowledge, mine, each.declared.metric)
    if known is None:
        return Seen(np.empty(0, dtype=np.int64), Inputs.of([], [], []), np.empty(0))
    floor = each.declared.floor
    if curved(each.declared):
        known = _thinned(known.curves(floor), each.fractions)
    else:
        known = known.final_per_run(floor) if each.declared.points == "final" else known.best_per_run(floor)
    rows = np.array([row[known.run_names[k]] for k in known.run], dtype=np.int64)
    order = np.lexsort((known.fraction, rows))
    known = known.select(order)
    # A quality that isn't measured yet is assumed, for seen and unseen runs alike.
    x = Inputs.of(known.params, known.images, pool.x.fid[rows[order]])
    return Seen(rows[order], x, np.log(known.loss))


def _thinned(known: Points, fractions: Sequence[float]) -> Points:
    """Of each run the points nearest to these fractions."""
    keep = []
    for each in fractions:
        order = np.lexsort((np.abs(known.fraction - each), known.run))
        keep.append(order[np.unique(known.run[order], return_index=True)[1]])
    return known.select(np.unique(np.concatenate(keep)))
