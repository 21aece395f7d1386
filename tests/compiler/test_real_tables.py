"""Intervals judged on tables that others published, where they are at hand: the project keeps no copy of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from isoloss.compiler.laws.arrays import Inputs
from isoloss.compiler.laws.fitting.fit import fit_law
from isoloss.compiler.laws.fitting.options import FitOptions
from isoloss.compiler.laws.points import Points
from isoloss.compiler.laws.portfolio import Portfolio, candidates, distinct, width_shares

TABLES = Path(__file__).resolve().parents[3] / "shared" / "tables"
CUTS, FEWEST = (4, 16, 64), 12


def read(path: Path) -> Points:
    c = np.genfromtxt(path, delimiter=",", names=True)
    return Points.build(c["params"], c["images"], c["loss"], flops=c["flops"])


@pytest.mark.skipif(not any(TABLES.glob("*.csv")), reason=f"no tables in {TABLES}")
def test_intervals_hold_on_dearer_runs_that_nobody_here_made() -> None:
    """The protocol of the tables' page, by family: coverage, width, interval score (log loss, %), untouched."""
    families: dict[str, list[np.ndarray]] = {}
    for path in sorted(TABLES.glob("*.csv")):
        every = read(path)
        for cut in CUTS:
            keep = every.flops <= every.flops.max() / cut * (1 + 1e-9)
            if keep.sum() < FEWEST or keep.all():
                continue
            kept, held = every.select(keep), every.select(~keep)
            fits = [fit_law(name, kept, FitOptions(resamples=300)) for name in candidates(kept)]
            made = Portfolio(distinct(fits, kept))
            band = made.predict_many(held.params, held.images, np.zeros(len(held)), new_run=True)
            low, high, y = np.log(band.low), np.log(band.high), np.log(held.loss)
            outside = np.maximum(np.maximum(low - y, y - high), 0.0)
            rows = np.array([outside == 0, high - low, high - low + 40 * outside], dtype=float)
            families.setdefault(path.stem.split("_")[0], []).append(rows)
    found = [np.concatenate(parts, axis=1) for parts in families.values()]
    assert np.mean([rows[0].mean() for rows in found]) >= 0.93
    assert min(rows[0].mean() for rows in found if rows.shape[1] >= 20) >= 0.80
    assert np.median([np.median(rows[1]) for rows in found]) <= 0.08
    assert 100 * np.mean([rows[2].mean() for rows in found]) <= 10


def runs(gamma: float, seed: int = 0, noise: float = 0.003) -> Points:
    """IsoFLOP runs of a power sum."""
    rng = np.random.default_rng(seed)
    C = np.repeat([1e15, 3e15, 1e16, 3e16, 1e17], 7)
    N = np.sqrt(C) * np.tile(np.geomspace(0.02, 2, 7), 5)
    D = C / N
    inner = (3e3 * N**-0.4) ** (1 / gamma) + (5e3 * D**-0.4) ** (1 / gamma)
    return Points.build(N, D, (1.5 + inner**gamma) * np.exp(noise * rng.standard_normal(len(N))), flops=6 * C)


@pytest.mark.parametrize("gamma", [0.3, 1.0])
def test_a_power_sum_is_found_and_forecasts_what_chinchilla_misses(gamma: float) -> None:
    points = runs(gamma)
    fits = {name: fit_law(name, points, FitOptions(resamples=100)) for name in candidates(points)}
    assert fits["powersum"].parameters["gamma"] == pytest.approx(gamma, rel=0.35)
    truth, shape = runs(gamma, noise=0.0), points.flops < points.flops.max() / 2
    kept = {name: fit_law(name, points.select(shape), FitOptions(resamples=0)) for name in fits}
    held = truth.select(~shape)
    x = Inputs.of(held.params, held.images, np.zeros(len(held)))
    errors = {
        name: float(np.sqrt(np.mean((fit.log_mid(x) - np.log(held.loss)) ** 2))) for name, fit in kept.items()
    }
    if gamma < 1:
        assert errors["powersum"] < 0.5 * errors["chinchilla"]
        assert Portfolio(list(fits.values())).given[0] > 0.7
    else:
        assert errors["powersum"] < errors["chinchilla"] + 0.003


def test_laws_that_say_the_same_count_once() -> None:
    """Without FIDs approach 2 is Chinchilla's form."""
    points = runs(1.0)
    twins = [fit_law(name, points, FitOptions(resamples=0)) for name in ("chinchilla", "approach2")]
    assert [fit.law.name for fit in distinct(twins, points)] == ["chinchilla"]
    assert candidates(points) == ("powersum", "chinchilla")


def test_a_width_says_what_it_is_made_of() -> None:
    points = runs(0.5)
    fit = fit_law("powersum", points, FitOptions(resamples=100, test_images=1000))
    near, far = (width_shares(fit, Inputs.of(n, n, 0.0), new_run=True) for n in (1e8, 1e12))
    for shares in (near, far):
        assert sum(shares.values()) == pytest.approx(1.0)
        assert set(shares) == {"resampling", "drift", "test set", "scatter"}
    assert far["drift"] > near["drift"]
    both = Portfolio([fit, fit_law("chinchilla", points, FitOptions(resamples=100))])
    assert width_shares(both, Inputs.of(1e12, 1e12, 0.0))["form"] > 0
