"""The paper's 232 cells as a world to plan in: what they cost, what they would measure, what three choices buy.

In: a universe's number and a seed. Out: drawn results of every candidate, the true answers, and rows of candidates
bought by `choose = design`, at random, or cheapest-first. Candidates are more than the grid: its networks and
generators at SMALLER numbers of images too, and everything with REPLICATES seeds. Nothing of the truth reaches the
planner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from universes import UNIVERSES, Truth

from isoloss.compiler.cells.expand import Cell, expand
from isoloss.compiler.design.choice import Candidate
from isoloss.compiler.design.planner import next_slice, situation
from isoloss.compiler.laws.arrays import Floats, Ints
from isoloss.compiler.laws.remembered import Remembered
from isoloss.compiler.observed.runs import Knowledge, Run, RunTest
from isoloss.compiler.plan import Observation
from isoloss.dsl.load import load_study
from isoloss.dsl.study.study import Axis, RunSet, Study

ROOT = Path(__file__).resolve().parents[1]
FORECAST, ALLOCATE, FID = 1e25, 1e21, 1.65
METRIC = "trades(5) @ pgd"
#: What the study calls the evaluation that its fits are about, and its images.
EVALUATION, TESTED = "robust", 10_000
#: Residuals of log loss of the published fits, lack of fit included (laws/rolling.py): the standard deviation of
#: noise and misfit together, drawn per seed.
RESIDUAL = (0.0035, 0.0055)
#: Share of that variance which is misfit: a smooth error of the law, that replicates can't average away.
MISFIT = (0.25, 0.75)
#: How the answers' fits take residuals, in every choice alike.
ERRORS = "correlated"
#: Length scales of the misfit in ln N, ln D, ln(1 + FID).
LENGTHS = (1.2, 1.2, 0.8)
#: Seeds of each cell that a design may choose from, and images below the grid's 5M to 100M.
REPLICATES, SMALLER = 2, (1_250_000, 2_500_000)
#: Where the true N* is sought.
SIZES = (1e5, 1e14)


@cache
def paper() -> tuple[Study, tuple[Cell, ...], tuple[Candidate, ...]]:
    """All candidates; both laws fitted to all of them; costs: training FLOPs."""
    study, problems = load_study(ROOT / "examples" / "robustness_limits.study")
    assert study is not None, problems
    grid = study.grids[0].name
    fits = tuple(
        replace(f, to=RunSet(grid), base=None, quality=None, errors=ERRORS)
        for f in study.fits
        if f.law != "approach1"
    )
    study = replace(
        study,
        fits=fits,
        forecasts=tuple(replace(f, compute_flops=FORECAST, fid=0.0, within=None) for f in study.forecasts),
        allocations=tuple(
            replace(a, compute_flops=ALLOCATE, laws=tuple(f.name for f in fits)) for a in study.allocations
        ),
    )
    images = tuple((n,) for n in SMALLER)
    axes = tuple(
        replace(a, values=images + a.values) if a.names == ("images",) else a for a in study.grids[0].axes
    )
    study = replace(study, grids=(replace(study.grids[0], axes=axes),))
    return with_seeds(study, REPLICATES)


@cache
def places() -> tuple[int, ...]:
    """Rows of the distinct cells: every one once, those of the grid and the smaller ones."""
    return tuple(i for i, cell in enumerate(paper()[1]) if cell.seed == 0)


@cache
def grid() -> tuple[int, ...]:
    """Rows of the paper's 232 cells: every one once."""
    return tuple(i for i in places() if paper()[1][i].images not in SMALLER)


def with_seeds(study: Study, seeds: int) -> tuple[Study, tuple[Cell, ...], tuple[Candidate, ...]]:
    """The study's grid, each cell so many times."""
    grid = study.grids[0]
    axis = Axis(("seed",), tuple((s,) for s in range(seeds)))
    axes = tuple(a for a in grid.axes if a.names != ("seed",))
    study = replace(study, grids=(replace(grid, axes=(*axes, axis)),))
    cells = tuple(expand(study)[0])
    return study, cells, tuple(Candidate(i, cell.flops) for i, cell in enumerate(cells))


def columns(cells: Sequence[Cell]) -> tuple[Floats, Floats, Floats]:
    """N, D, FID."""
    N = np.array([float(c.params) for c in cells])
    return N, np.array([float(c.drawn) for c in cells]), np.array([float(c.fid or 0.0) for c in cells])


@dataclass(frozen=True)
class World:
    """One draw: what every candidate would measure, and the truth there [n]; the true ln L* at FORECAST FLOP and
    FID 0, and ln N* at ALLOCATE FLOP and FID (nan: it has none); standard deviations of noise and misfit."""

    log_loss: Floats
    exact: Floats
    best: float
    size: float
    noise: float
    misfit: float


def draw(universe: int, seed: int) -> World:
    """Constants of the universe, noise and misfit, all from the seed."""
    rng = np.random.default_rng([seed, universe])
    law: Truth = UNIVERSES[universe].draw(rng)
    N, D, F = columns(paper()[1])
    total, share = rng.uniform(*RESIDUAL), rng.uniform(*MISFIT)
    noise, misfit = total * np.sqrt(1 - share), total * np.sqrt(share)
    root = np.linalg.cholesky(correlation() + 1e-8 * np.eye(len(places())))
    # Seeds of a cell share its misfit.
    residuals = (misfit * root @ rng.standard_normal(len(places())))[of_cell()]
    residuals = residuals + noise * rng.standard_normal(len(N))
    best, size = frontier(law, FORECAST, 0.0)[1], frontier(law, ALLOCATE, FID)[0]
    exact = np.log(law(N, D, F))
    return World(exact + residuals, exact, best, size, float(noise), float(misfit))


@cache
def of_cell() -> Ints:
    """Which of the places each candidate is a seed of [n]."""
    _, cells, _ = paper()
    key = {(c.params, c.drawn, c.generator): k for k, c in enumerate(cells[i] for i in places())}
    return np.array([key[c.params, c.drawn, c.generator] for c in cells])


def correlation() -> Floats:
    """Of the places' misfit [p, p]."""
    N, D, F = (c[list(places())] for c in columns(paper()[1]))
    at = np.stack([np.log(N), np.log(D), np.log1p(F)], axis=1) / LENGTHS
    return np.asarray(np.exp(-0.5 * np.sum((at[:, None] - at[None, :]) ** 2, axis=2)))


def frontier(law: Truth, flops: float, fid: float) -> tuple[float, float]:
    """ln N*, ln L* of the truth at 7822 N FLOP per image; nan for an N* at the end of SIZES. A grid over all sizes,
    then twice a finer one around the best."""
    low, high = np.log(SIZES)
    for _ in range(3):
        lnN = np.linspace(low, high, 2001)
        N = np.exp(lnN)
        with np.errstate(invalid="ignore"):
            loss = law(N, flops / (7822 * N), np.full_like(N, fid))
        k = int(np.nanargmin(loss))
        low, high = lnN[max(k - 1, 0)], lnN[min(k + 1, len(N) - 1)]
    inside = np.log(SIZES[0]) < lnN[k] < np.log(SIZES[1])
    return float(lnN[k]) if inside else float("nan"), float(np.log(loss[k]))


# The choices.


def designed(world: World, share: float) -> list[int]:
    """What the compile-run loop buys for this share of the grid's FLOPs, slice by slice."""
    _, cells, _ = paper()
    owned = list(_pilot(share))
    while new := _bought(share, [_observe(world, cells[i], i) for i in owned]):
        owned += new
    return owned


@cache
def _pilot(share: float) -> tuple[int, ...]:
    """Before any result every world looks the same."""
    return tuple(_bought(share, ()))


def _bought(share: float, observations: Sequence[Observation]) -> list[int]:
    study, cells, candidates = paper()
    available = share * whole()
    made = situation(
        study, cells, candidates, _runs(), Knowledge(observations), available, None, Remembered()
    )
    assert made is not None
    return list(next_slice(made)[1].order)


def run_of(cell: Cell, i: int) -> Run:
    """A run whose one job is its training and its test, called `i`."""
    return Run(cell, str(i), (RunTest(EVALUATION, str(i), METRIC, False, TESTED),))


@cache
def _runs() -> tuple[Run, ...]:
    return tuple(run_of(cell, i) for i, cell in enumerate(paper()[1]))


def _observe(world: World, cell: Cell, i: int) -> Observation:
    value = float(np.exp(world.log_loss[i]))
    return Observation(str(i), "train", f"loss {METRIC}", value, run=str(i), images=cell.drawn)


@cache
def whole() -> float:
    """FLOPs of the whole grid."""
    return sum(paper()[2][i].flops for i in grid())


def prefix(order: Sequence[int], share: float) -> list[int]:
    """Cells in this order while they fit; one that doesn't is skipped."""
    _, _, candidates = paper()
    left = share * whole()
    taken = []
    for i in order:
        if candidates[i].flops <= left:
            left -= candidates[i].flops
            taken.append(int(i))
    return taken


def cheapest(rows: Iterable[int]) -> list[int]:
    """These rows, cheapest first."""
    _, _, candidates = paper()
    return sorted(rows, key=lambda i: (candidates[i].flops, i))


def shuffled(rows: Iterable[int], seed: int) -> list[int]:
    """These rows, in an order of this seed."""
    return [int(i) for i in np.random.default_rng([seed, 7]).permutation(list(rows))]
