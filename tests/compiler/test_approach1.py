"""The envelope: the released algorithm, step by step, on curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.laws.fitting.envelope import QUERIES, Curves
from isoloss.compiler.laws.fitting.fit import fit_law
from isoloss.compiler.laws.fitting.options import FitOptions, Status
from isoloss.compiler.laws.points import Points

K = 7822.0


def curves(params: Floats, images: float, evaluations: int = 40) -> Points:
    """Every network trained on as many images, evaluated on the way: loss = 30 N^-.3 + 30 D^-.3."""
    rows = []
    for run, N in enumerate(params):
        for fraction in np.geomspace(1.0, 1e-3, evaluations)[::-1]:
            D = images * fraction
            rows.append((N, D, 30 * N**-0.3 + 30 * D**-0.3, fraction, run))
    N, D, L, fraction, run = (list(c) for c in zip(*rows, strict=True))
    return Points.build(N, D, L, fid=np.full(len(N), 1.65), fraction=fraction, run=run)


def test_envelope_finds_the_symmetric_law() -> None:
    """A = B, alpha = beta: N* = D* = sqrt(C/k), L* ~ C^-.15. A dense ladder of sizes approaches it."""
    fit = fit_law("approach1", curves(np.geomspace(1e5, 1e8, 60), 1e8), FitOptions(resamples=50, floor=0.0))
    assert fit.status is Status.CONVERGED
    assert fit.parameters["l"] == pytest.approx(-0.15, abs=0.01)
    assert fit.parameters["a"] == pytest.approx(0.5, abs=0.03)
    assert fit.parameters["b"] == pytest.approx(0.5, abs=0.03)
    found = fit.optimum(K * 1e14, 1.65)
    assert found.params is not None
    assert found.loss is not None
    assert found.params.mid == pytest.approx(1e7, rel=0.2)
    assert found.loss.low < 60 * 1e7**-0.3 < found.loss.high


def test_offers_follow_the_published_rules() -> None:
    """Two runs: linear interpolation in FLOPs between evaluations; nothing before the first point; past the
    end its minimum, marked as past."""
    points = Points.build(
        [1e6, 1e6, 1e7, 1e7], [1e6, 3e6, 1e6, 3e6], [1.0, 0.8, 0.9, 0.5], run=["a", "a", "b", "b"]
    )
    offers = Curves.of(points)
    queries = np.exp(offers.ln_queries)
    assert len(queries) == QUERIES
    ends = points.flops.reshape(2, 2)
    inside = (queries >= ends[0, 0]) & (queries <= ends[0, 1])
    share = (queries[inside] - ends[0, 0]) / (ends[0, 1] - ends[0, 0])
    np.testing.assert_allclose(offers.loss[0, inside], 1.0 - 0.2 * share, rtol=1e-9)
    assert np.isinf(offers.loss[1, queries < ends[1, 0] * (1 - 1e-9)]).all()
    past = queries > ends[0, 1] * (1 + 1e-9)
    assert (offers.loss[0, past] == 0.8).all()
    assert (offers.past[0, past] == 1).all()
    assert not offers.past[1].any()


def test_queries_won_past_the_end_or_above_the_running_minimum_do_not_count() -> None:
    offers = Curves.of(
        Points.build(
            [1e6, 1e6, 1e6, 1e7, 1e7],
            [1e6, 2e6, 4e6, 8e5, 2e6],
            [1.0, 0.5, 0.9, 0.95, 0.45],
            run=[0, 0, 0, 1, 1],
        )
    )
    winners, queries = offers._winners(np.array([0, 1]), np.inf)
    assert (offers.past[winners, queries] == 0).all()
    won = offers.loss[winners, queries]
    assert (np.diff(won) <= 0).all(), "the rise of run 0 after its minimum never counts"


def test_fraction_floor_is_applied() -> None:
    points = curves(np.geomspace(1e5, 1e8, 20), 1e8)
    fit = fit_law("approach1", points, FitOptions(resamples=5))
    assert fit.points == int((points.fraction >= 0.5).sum())


def test_without_curves_there_is_no_envelope() -> None:
    points = curves(np.geomspace(1e5, 1e8, 20), 1e8, evaluations=1)
    fit = fit_law("approach1", points)
    assert fit.status is Status.TOO_FEW_POINTS
    assert "curves" in fit.warnings[0]
    assert fit.optimum(1e20, 1.65).loss is None


def test_an_envelope_predicts_no_single_run() -> None:
    fit = fit_law("approach1", curves(np.geomspace(1e5, 1e8, 20), 1e8), FitOptions(resamples=5))
    assert fit.predict(1e6, 1e6, 1.65) is None
