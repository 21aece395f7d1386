"""Fits with correlated errors: the best linear estimate under a shared misfit, and what follows from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from law_worlds import TRUE, points_of

from isoloss.compiler.laws.fitting.correlated import Box, Errors, fit_correlated
from isoloss.compiler.laws.fitting.fit import Problem, fit_law
from isoloss.compiler.laws.fitting.fit_json import fit_from_json, fit_to_json
from isoloss.compiler.laws.fitting.neighbours import CURVE, alike, coordinates_of, together
from isoloss.compiler.laws.fitting.options import FitOptions, Status
from isoloss.compiler.laws.forms.registry import LAWS
from isoloss.compiler.laws.points import Points

CORRELATED = FitOptions(resamples=0, rolling=False, errors="correlated")
INDEPENDENT = replace(CORRELATED, errors="independent")


def clustered(seed: int, replicates: int = 6, misfit: float = 0.01, noise: float = 0.004) -> Points:
    """Chinchilla's law on a grid whose corner was replicated; drawn with a misfit that replicates share."""
    rng = np.random.default_rng(seed)
    N, D = (m.ravel() for m in np.meshgrid(np.geomspace(6e6, 3e8, 5), np.geomspace(5e6, 1e8, 4)))
    corner = np.repeat(0, replicates)
    N, D = np.concatenate([N, N[corner]]), np.concatenate([D, D[corner]])
    points = Points.build(N, D, np.ones_like(N), fid=np.zeros_like(N))
    at = coordinates_of(points.inputs())
    K = alike(at, at)
    law = LAWS["chinchilla"]
    y = law.log_prediction(law.from_paper(TRUE["chinchilla"]), points.inputs())
    y = y + misfit * np.linalg.cholesky(K + 1e-9 * np.eye(len(K))) @ rng.standard_normal(len(K))
    return replace(points, loss=np.exp(y + noise * rng.standard_normal(len(y))))


def box_of(law: str, points: Points) -> tuple[Box, Problem]:
    problem = Problem(LAWS[law], points.inputs(), np.log(points.loss), points.weight, {}, CORRELATED)
    return problem.box, problem


def test_exact_data_give_the_law_back() -> None:
    points = points_of("approach2", 0.0)
    fit = fit_law("approach2", points, CORRELATED)
    for name, value in TRUE["approach2"].items():
        assert fit.parameters[name] == pytest.approx(value, rel=1e-4)


def test_nothing_near_has_smaller_whitened_residuals() -> None:
    points = clustered(1)
    box, problem = box_of("chinchilla", points)
    start = problem.solve()[0].theta[0]
    errors = Errors(points, points.inputs())
    found = fit_correlated(box, errors, problem.y, start, 0, 0)
    assert found.converged
    assert not found.outliers.any()
    at = coordinates_of(points.inputs())
    weight = np.linalg.inv(found.share * alike(at, at) + (1 - found.share) * np.eye(len(at)))

    def squared(theta: np.ndarray) -> float:
        r = problem.y - box.law.log_prediction(theta, box.x)
        return float(r @ weight @ r)

    rng = np.random.default_rng(0)
    least = squared(found.theta)
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(20):
            assert squared(found.theta + size * rng.standard_normal(5)) >= least * (1 - 1e-7)


def test_replicates_count_once_where_misfit_is_shared() -> None:
    """Fifteen draws: the estimate of ln L far beyond the data scatters less than that of independent errors."""
    far = clustered(0).inputs()
    at = type(far)(np.array([np.log(3e9)]), np.array([np.log(2e9)]), np.zeros(1), np.zeros(1))
    law = LAWS["chinchilla"]
    truth = law.log_prediction(law.from_paper(TRUE["chinchilla"]), at)[0]
    misses = {"correlated": [], "independent": []}  # type: dict[str, list[float]]
    for seed in range(15):
        points = clustered(seed, replicates=40)
        for options in (CORRELATED, INDEPENDENT):
            theta = fit_law(law, points, options).theta
            misses[options.errors].append(float(law.log_prediction(theta, at)[0] - truth))
    rms = {name: np.sqrt(np.mean(np.square(values))) for name, values in misses.items()}
    assert rms["correlated"] < 0.9 * rms["independent"]


def test_the_misfits_share_is_found() -> None:
    shares = {}
    for name, misfit, noise in (("noise", 0.0005, 0.01), ("misfit", 0.01, 0.002)):
        shares[name] = [
            fit_law("chinchilla", clustered(s, 20, misfit, noise), CORRELATED).settings["misfit_share"]
            for s in range(8)
        ]
    assert np.median(shares["noise"]) <= 0.3
    assert np.median(shares["misfit"]) >= 0.7


def test_an_outlier_is_named_and_hardly_moves_the_law() -> None:
    points = clustered(3, misfit=0.001, noise=0.004)
    loss = points.loss.copy()
    loss[7] *= 1.5
    clean, spoilt = (fit_law("chinchilla", p, CORRELATED) for p in (points, replace(points, loss=loss)))
    (note,) = [n for n in spoilt.notes if n.kind == "outliers"]
    assert note.parameters == ("7",)
    assert not [n for n in clean.notes if n.kind == "outliers"]
    x = points.inputs()
    moved = spoilt.law.log_prediction(spoilt.theta, x) - clean.law.log_prediction(clean.theta, x)
    assert np.abs(moved).max() < 0.02


@pytest.mark.parametrize("name", ["A", "alpha", "E"])
def test_resamples_scatter_as_estimates_do(name: str) -> None:
    """Over 40 draws of the world: intervals of 95 % hold the truth in 34 at least, and are no wider than six times
    the scatter of the estimates."""
    held, estimates, widths = 0, [], []
    for seed in range(40):
        points = clustered(seed, misfit=0.003, noise=0.003)
        fit = fit_law("chinchilla", points, replace(CORRELATED, resamples=100))
        low, high = fit.intervals[name]
        held += low <= TRUE["chinchilla"][name] <= high
        estimates.append(fit.parameters[name])
        widths.append(high - low)
    assert held >= 34
    assert np.median(widths) < 6 * np.std(estimates)


def test_whitening_is_that_of_the_covariance() -> None:
    """Against dense matrices, with several evaluations of a run, weights and trust."""
    points = replace(clustered(4), run=np.arange(26) // 2 % 7, weight=np.linspace(0.5, 2.0, 26))
    errors, trust, share = Errors(points, points.inputs()), np.linspace(0.3, 1.0, 26), 0.3
    at = coordinates_of(points.inputs())
    scale = np.diag(1.0 / np.sqrt(points.weight * trust))
    D = (1 - share) * scale @ together(points.run) @ scale
    C = share * alike(at, at) + D
    white = errors.whitener(share, trust)
    M = white(np.eye(26))
    np.testing.assert_allclose(M @ C @ M.T, np.eye(26), atol=1e-4)
    residual = np.random.default_rng(0).standard_normal(26)
    np.testing.assert_allclose(white.own(residual), D @ np.linalg.solve(C, residual), atol=1e-4)
    drawn = white.draw(np.random.default_rng(1), 200_000)
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn), C, atol=0.03)
    assert white.log_volume + 0.5 * np.linalg.slogdet(together(points.run))[1] == pytest.approx(
        0.5 * np.linalg.slogdet(C)[1], abs=1e-4
    )


def test_evaluations_of_one_run_share_its_noise() -> None:
    R = together(np.array([0, 0, 1]))
    assert R[0, 1] == CURVE
    assert R[0, 2] == 0.0
    assert (np.diag(R) == 1.0).all()


def test_the_same_seed_gives_the_same_fit_and_json_keeps_it() -> None:
    points = clustered(5)
    options = FitOptions(resamples=50, errors="correlated", seed=3)
    one, two = (fit_law("approach3", points, options) for _ in range(2))
    assert one.theta.tobytes() == two.theta.tobytes()
    assert one.samples.tobytes() == two.samples.tobytes()
    assert fit_from_json(fit_to_json(one)).settings == one.settings


@pytest.mark.parametrize("rows", [4, 6, 7])
def test_few_points_are_fitted_or_refused_as_ever(rows: int) -> None:
    points = clustered(2).select(np.arange(0, 20, 3)[:rows])
    fit = fit_law("chinchilla", points, replace(CORRELATED, resamples=20, rolling=True))
    assert (fit.status is Status.TOO_FEW_POINTS) == (rows < 6)
    if fit.usable:
        assert fit.settings["misfit_share"] == 0.5
        assert np.isfinite(fit.samples).all()


def test_what_has_no_single_runs_or_has_stages_is_refused() -> None:
    with pytest.raises(ValueError, match="single runs"):
        fit_law("approach1", clustered(0), CORRELATED)
    with pytest.raises(ValueError, match="one stage"):
        fit_law("approach2", clustered(0), replace(CORRELATED, joint=False))
    with pytest.raises(ValueError, match="errors must be"):
        fit_law("approach2", clustered(0), replace(CORRELATED, errors="related"))
