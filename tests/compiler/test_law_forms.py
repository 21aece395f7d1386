"""Every form: Jacobian against finite differences, names there and back, limits, and what a design can't
tell."""

from __future__ import annotations

import numpy as np
import pytest
from law_worlds import TRUE, points_of

from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.fitting.fit import fit_law
from isoloss.compiler.laws.fitting.options import FitOptions, Status
from isoloss.compiler.laws.forms import registry
from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.laws.forms.powerlaw import window
from isoloss.compiler.laws.forms.registry import LAWS
from isoloss.compiler.laws.points import Points
from isoloss.compiler.laws.published import published

FORMS = tuple(TRUE)
ALONE = FitOptions(resamples=0, rolling=False)


@pytest.mark.parametrize("law", FORMS)
def test_jacobian_agrees_with_finite_differences(law: str) -> None:
    form = LAWS[law]
    x, _ = form.centre(points_of("approach2", fids=np.array([0.0, 1.65, 6.79])).inputs())
    rng = np.random.default_rng(1)
    for _ in range(5):
        theta = form.from_paper(TRUE[law])
        theta = theta * (1 + 0.05 * rng.standard_normal(len(theta)))
        # In centred coordinates the terms are of the order of the loss.
        theta = np.linalg.solve(form.centre(points_of("approach2").inputs())[1], theta)
        J = form.jacobian(theta, x)
        for j in range(len(theta)):
            step = np.zeros(len(theta))
            step[j] = 1e-6
            ahead, behind = form.log_prediction(theta + step, x), form.log_prediction(theta - step, x)
            np.testing.assert_allclose(J[:, j], (ahead - behind) / 2e-6, atol=2e-8)


def test_curvature_of_approach3_agrees_with_finite_differences() -> None:
    form = LAWS["approach3"]
    x, T = form.centre(points_of("approach2", fids=np.array([0.0, 1.65, 6.79])).inputs())
    theta = np.linalg.solve(T, form.from_paper(TRUE["approach3"]))[None, :]
    weights = np.random.default_rng(0).standard_normal((1, x.lnN.size))
    curvature = form.local(theta, x)[2]
    assert curvature is not None
    H = curvature(weights)[0]
    for j in range(8):
        step = np.zeros((1, 8))
        step[0, j] = 1e-6
        difference = form.local(theta + step, x)[1] - form.local(theta - step, x)[1]
        np.testing.assert_allclose(H[:, j], (difference[0] @ weights[0]) / 2e-6, atol=1e-6)


@pytest.mark.parametrize("law", FORMS)
def test_paper_names_round_trip(law: str) -> None:
    form = LAWS[law]
    back = form.to_paper(form.from_paper(TRUE[law]))
    assert {k: float(v) for k, v in back.items()} == pytest.approx(TRUE[law], rel=1e-12)


@pytest.mark.parametrize("law", FORMS)
def test_centring_changes_coordinates_only(law: str) -> None:
    form = LAWS[law]
    x = points_of("approach2").inputs()
    centred, T = form.centre(x)
    theta = form.from_paper(TRUE[law])
    direct = form.log_prediction(theta, x)
    np.testing.assert_allclose(form.log_prediction(np.linalg.solve(T, theta), centred), direct, atol=1e-11)


@pytest.mark.parametrize("law", FORMS)
def test_noiseless_recovery(law: str) -> None:
    fit = fit_law(law, points_of(law), ALONE)
    # A prior draws the fit off the truth by what one run would.
    known = LAWS[law].penalty(fit.theta[None, :]) is not None
    assert fit.parameters == pytest.approx(TRUE[law], rel=2e-2 if known else 1e-6)
    assert fit.objective < (1e-5 if known else 1e-15)


def test_one_fid_leaves_the_quality_terms_open() -> None:
    fit = fit_law("approach2", points_of("approach2", fids=np.array([1.65])), ALONE)
    assert fit.status is Status.NOT_IDENTIFIED
    assert set(fit.unidentified) == {"zeta", "epsilon"}
    assert np.isnan(fit.parameters["zeta"])
    assert fit.predict(1e8, 1e8, 1.65) is not None
    assert fit.predict(1e8, 1e8, 0.0) is None, "nothing was learnt about other qualities"
    assert fit.optimum(1e20, 0.0).loss is None


def test_fid_zero_leaves_q_and_kappa_open() -> None:
    fit = fit_law("approach3", points_of("approach3", fids=np.array([0.0])), ALONE)
    assert {"Q", "kappa", "epsilon"} == set(fit.unidentified)
    assert fit.parameters["alpha"] == pytest.approx(0.24, rel=1e-6)
    assert fit.parameters["E"] == pytest.approx(0.515, rel=1e-6)


def test_one_n_leaves_alpha_open() -> None:
    points = points_of("chinchilla", noise=0.003)
    one = points.select(points.params == points.params[0])
    fit = fit_law("chinchilla", one, ALONE)
    assert {"A", "alpha"} == set(fit.unidentified)
    assert fit.optimum(1e20, 0.0).params is None
    assert fit.predict(float(one.params[0]), 5e7, 1.65) is not None
    assert fit.predict(1e9, 5e7, 1.65) is None


@pytest.mark.parametrize("law", ["approach2", "approach3"])
def test_unknown_fids(law: str) -> None:
    points = points_of("chinchilla", noise=0.003)
    unknown = Points.build(points.params, points.images, points.loss)
    fit = fit_law(law, unknown, ALONE)
    assert fit.status is Status.NOT_IDENTIFIED
    assert fit.predict(1e8, 5e7, float("nan")) is not None


def test_limits_are_where_predictions_go() -> None:
    law = published("bartoldson2024.approach2")
    far = law.predict(1e300, 1e300, 1.65)
    limit = law.limits(1.65, params=1e8, images=1e8)
    assert far is not None
    assert limit.asymptote is not None
    assert limit.params is not None
    assert limit.images is not None
    assert limit.asymptote.mid == pytest.approx(far.mid, rel=1e-9)
    assert limit.asymptote.mid < min(limit.params.mid, limit.images.mid)


def test_powerlaw_in_epsilon_with_a_window() -> None:
    """Cubuk's error = A eps^B, bent at large eps, which the window leaves out; tiny counts too."""
    eps = np.geomspace(0.01, 10, 40)
    error = 0.05 * eps**1.1 / (1 + eps)
    points = Points.build(np.ones(40), np.ones(40), error, x=eps)
    inside = window(points, 0.01, 0.05, examples=100_000)
    assert (inside.loss * 100_000 >= 20).all()
    fit = fit_law("powerlaw", inside, FitOptions(resamples=100, rolling=False, x="x"))
    assert fit.parameters["B"] == pytest.approx(1.1, abs=0.05)


def test_registry_lists_ours_and_refuses_the_unknown() -> None:
    assert {"chinchilla", "approach1", "approach2", "approach3", "powerlaw"} <= set(LAWS)
    with pytest.raises(KeyError):
        LAWS["nonsense"]


class LogLinear(Law):
    """A third party's form in one file: ln L = c - s ln D. No second derivatives, no closed forms."""

    name = "log_linear"
    parameters = ("c", "s")

    def log_prediction(self, theta: Floats, x: Inputs) -> Floats:
        return theta[..., :1] - theta[..., 1:] * x.lnD

    def jacobian(self, theta: Floats, x: Inputs) -> Floats:
        shape = (*theta.shape[:-1], x.lnD.size)
        return np.stack([np.ones(shape), np.broadcast_to(-x.lnD, shape)], axis=-1)

    def starts(self, x: Inputs, y: Floats, weight: Floats) -> Floats:
        return np.array([[0.0, 0.1], [1.0, 0.3]])

    def bounds(self, x: Inputs, y: Floats) -> tuple[Floats, Floats]:
        return np.array([-50.0, 0.0]), np.array([50.0, 5.0])


def test_a_third_partys_form_needs_five_things(monkeypatch: pytest.MonkeyPatch) -> None:
    D = np.geomspace(1e5, 1e8, 20)
    points = Points.build(np.full(20, 1e6), D, 3.0 * D**-0.07)
    fit = fit_law(LogLinear(), points, FitOptions(resamples=20))
    assert fit.parameters == pytest.approx({"c": np.log(3.0), "s": 0.07}, rel=1e-6)
    assert fit.predict(1e6, 1e9, 0.0) is not None

    class Point:
        value = "somebody.laws:LogLinear"

        def load(self) -> type[LogLinear]:
            return LogLinear

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point()])
    registry._third_parties.cache_clear()
    assert "log_linear" in registry.LAWS
    assert isinstance(registry.LAWS["log_linear"], LogLinear)
    registry._third_parties.cache_clear()
