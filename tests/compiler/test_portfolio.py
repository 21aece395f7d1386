"""Portfolios: disagreement widens an answer, bad forecasters count less, who can't answer is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from law_worlds import points_of

from isoloss.compiler.laws.fitting.fit import fit_law
from isoloss.compiler.laws.fitting.fitted import LawFit
from isoloss.compiler.laws.fitting.interval_terms import Misfit
from isoloss.compiler.laws.fitting.options import FitOptions
from isoloss.compiler.laws.points import Points
from isoloss.compiler.laws.portfolio import Portfolio
from isoloss.compiler.laws.published import published

OPTIONS = FitOptions(resamples=100, max_starts=8)


@pytest.fixture(scope="module")
def fits() -> list[LawFit]:
    points = points_of("approach3", 0.004)
    return [fit_law(law, points, OPTIONS) for law in ("approach2", "approach3")]


def test_answer_holds_the_disagreement(fits: list[LawFit]) -> None:
    # Given equal weights: a law that is hardly believed need not lie inside.
    both = Portfolio(fits, [1.0, 1.0]).predict(3e9, 1e9, 14.26)
    assert both is not None
    singles = [f.predict(3e9, 1e9, 14.26) for f in fits]
    mids = [r.mid for r in singles if r is not None]
    assert min(mids) <= both.mid <= max(mids)
    assert both.low <= min(mids)
    assert both.high >= max(mids)


def test_a_law_that_forecast_badly_counts_less() -> None:
    points = points_of("approach3", 0.002)
    good = fit_law("approach3", points, OPTIONS)
    bad = fit_law("powerlaw", points, OPTIONS)
    weights = Portfolio([good, bad]).given
    assert weights[0] > 5 * weights[1]


def test_a_law_that_lies_farther_from_its_runs_counts_less(fits: list[LawFit]) -> None:
    near, far = (replace(fits[0], residual_sigma=s, held_out=None) for s in (0.004, 0.008))
    weights = Portfolio([near, far]).given
    assert weights[0] > 20 * weights[1]
    # A handful of runs is no witness, nor is a scale that nobody knows.
    few = [replace(f, points=len(f.theta) + 4) for f in (near, far)]
    assert Portfolio(few).given[0] < 0.7
    unknown = replace(far, residual_sigma=float("nan"))
    np.testing.assert_allclose(Portfolio([near, unknown]).given, 0.5)


def test_laws_without_resamples_answer_without_intervals(fits: list[LawFit]) -> None:
    points = points_of("approach3", 0.004)
    bare = [fit_law(law, points, replace(OPTIONS, resamples=0)) for law in ("approach2", "approach3")]
    found = Portfolio(bare).optimum(1e20, 1.65)
    assert found.params is not None
    assert found.params.mid == pytest.approx(Portfolio(fits).optimum(1e20, 1.65).params.mid)  # type: ignore[union-attr]
    assert np.isnan(found.params.low)


def test_who_cannot_answer_is_left_out(fits: list[LawFit]) -> None:
    one_fid = fit_law("approach2", points_of("approach2", 0.004, fids=np.array([1.65])), OPTIONS)
    mixed = Portfolio([fits[1], one_fid]).predict(1e9, 1e9, 6.79)
    alone = fits[1].predict(1e9, 1e9, 6.79)
    assert mixed is not None
    assert alone is not None
    assert mixed.mid == pytest.approx(alone.mid)


def test_published_laws_disagree_without_intervals() -> None:
    """Table 2: .53 against .56 at FID 0 and 1e25; between them, and no interval invented."""
    laws = Portfolio([published("bartoldson2024.approach2"), published("bartoldson2024.approach3")])
    found = laws.optimum(1e25, 0.0).loss
    assert found is not None
    assert 0.5345 <= found.mid <= 0.5643
    assert np.isnan(found.low)


def test_more_data_cannot_fake_certainty() -> None:
    """With ten copies of every run the resamples leave little width; beyond the data the interval stays."""
    points = points_of("approach3", 0.004, fids=np.array([1.65, 6.79]))
    rows = np.repeat(np.arange(len(points)), 10)
    rng = np.random.default_rng(0)
    loss = points.loss[rows] * np.exp(0.004 * rng.standard_normal(len(rows)))
    many = Points.build(points.params[rows], points.images[rows], loss, fid=points.fid[rows])
    fit = fit_law("approach2", many, FitOptions(resamples=30, max_starts=6))
    near, far = fit.predict(1e8, 5e7, 1.65), fit.predict(3e10, 1e10, 1.65)
    assert near is not None
    assert far is not None
    assert far.high / far.low - 1 > 0.03
    assert far.high / far.low > near.high / near.low


def test_shared_test_set_error_is_in_every_interval() -> None:
    points = points_of("approach2", 0.001)
    without = fit_law("approach2", points, OPTIONS).predict(1e8, 5e7, 1.65)
    within = fit_law("approach2", points, FitOptions(resamples=100, max_starts=8, test_images=900)).predict(
        1e8, 5e7, 1.65
    )
    assert without is not None
    assert within is not None
    assert within.high / within.low > 1 + 2 / 30
    assert within.high - within.low > without.high - without.low


def test_weights_are_checked(fits: list[LawFit]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Portfolio(fits, [1.0])
    with pytest.raises(ValueError, match="at least one"):
        Portfolio([])


def test_interval_of_the_best_size_holds_the_misfit(fits: list[LawFit]) -> None:
    """The isoFLOP line is flat: a drift of the loss that the data allow moves N* far, D* the other way."""
    for fit in fits:
        bare = replace(fit, misfit=Misfit()).optimum(1e23, 1.65)
        full = fit.optimum(1e23, 1.65)
        assert bare.params is not None
        assert full.params is not None
        assert bare.images is not None
        assert full.images is not None
        assert full.params.mid == bare.params.mid
        assert full.params.high / full.params.low > bare.params.high / bare.params.low
        assert full.images.high / full.images.low > bare.images.high / bare.images.low
