"""The design's mathematics against closed forms: gradients, the envelope theorem, misfit, the bound."""

from __future__ import annotations

import numpy as np
import pytest

from isoloss.compiler.design import bound
from isoloss.compiler.design.candidates import Smooth
from isoloss.compiler.design.target import Target, gradients
from isoloss.compiler.design.target import optimum as best
from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.fitting.neighbours import LENGTHS
from isoloss.compiler.laws.forms.solve import constant_rule
from isoloss.compiler.laws.published import published


@pytest.mark.parametrize("fid", [0.0, 1.65])
def test_gradients_have_law_2s_closed_form(fid: float) -> None:
    law, theta = published("bartoldson2024.approach2").law, published("bartoldson2024.approach2").theta
    a, alpha, b, beta, zeta, _, _ = theta
    s, q, lnM = alpha + beta, np.log1p(fid), np.log(1e21 / 7822)
    lnN = (np.log(alpha) + a - np.log(beta) - (b + zeta * q) + beta * lnM) / s
    expected = [
        1 / s, (1 / alpha - lnN) / s, -1 / s, (-1 / beta + lnM - lnN) / s, -q / s, 0.0, 0.0
    ]  # fmt: skip
    target = Target("x", "size", "f", 1e21, fid)
    found = gradients(law, theta, np.eye(7), target, best(law, theta, target, constant_rule))
    assert found is not None
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=3e-4)


@pytest.mark.parametrize("name", ["bartoldson2024.approach2", "bartoldson2024.approach3"])
def test_the_envelope_theorem_holds(name: str) -> None:
    from isoloss.compiler.laws.forms.solve import optimum

    law, theta = published(name).law, published(name).theta
    target = Target("x", "loss", "f", 1e22, 1.65)
    found = gradients(law, theta, np.eye(len(theta)), target, best(law, theta, target, constant_rule))
    assert found is not None
    for j in range(len(theta)):
        step = 1e-5 * max(1.0, abs(theta[j])) * np.eye(len(theta))[j]
        up, down = (optimum(law, (theta + sign * step)[None], 1e22, 1.65, None)[2][0] for sign in (1, -1))
        assert found[0][j] == pytest.approx((up - down) / (2 * step[j]), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("fid", [0.0, 1.65])
def test_sizes_move_as_the_search_says(fid: float) -> None:
    """Law 3 has no closed form: the implicit derivative against differences of the search."""
    law, theta = published("bartoldson2024.approach3").law, published("bartoldson2024.approach3").theta
    target = Target("x", "size", "f", 1e21, fid)
    found = gradients(law, theta, np.eye(8), target, best(law, theta, target, constant_rule))
    assert found is not None
    for j, step in enumerate(1e-3 * np.eye(8)):
        up, down = (best(law, theta + sign * step, target, constant_rule)[0] for sign in (1, -1))
        assert found[0][j] == pytest.approx((up - down) / 2e-3, rel=2e-3, abs=2e-3)


def test_the_misfit_has_unit_variance_and_fades() -> None:
    points = np.stack(np.meshgrid(np.arange(4.0), np.arange(4.0), [0.0, 1.0]), axis=-1).reshape(-1, 3)

    def at(places: Floats) -> Inputs:
        lnN, lnD, lnQ = (places * LENGTHS).T
        return Inputs(lnN, lnD, np.expm1(lnQ), lnD)

    smooth = Smooth.over(points)
    K = smooth(at(points)) @ smooth(at(points)).T
    square = np.sum((points[:, None] - points[None]) ** 2, axis=2)
    np.testing.assert_allclose(K, np.exp(-0.5 * square), atol=0.05)
    assert np.abs(smooth(at(points + 50.0))).max() < 1e-12
    assert np.abs(smooth(at(points + np.array([0.0, np.inf, 0.0])))).max() < 1e-12


def test_the_bound_is_the_textbooks_for_a_line() -> None:
    """Intercept of a line from two ends x = 1, 2 at equal cost: g = 2 f(1) - f(2), so 3 sigma / sqrt(B)."""
    f = np.array([[1.0, 1.0], [1.0, 1.5], [1.0, 2.0]])
    sd = bound.least_sd(f, np.ones(3), np.array([1.0, 0.0]), 0.1, 16.0)
    assert sd == pytest.approx(0.1 * 3 / 4)
    assert bound.least_sd(f[:1], np.ones(1), np.array([1.0, 0.0]), 0.1, 16.0) is None
    # No plan beats it: nine runs spread any way.
    for counts in ([6, 0, 3], [3, 3, 3], [5, 2, 2]):
        M = (f * np.array(counts)[:, None]).T @ f
        assert 0.1 * np.sqrt(np.linalg.inv(M)[0, 0]) >= bound.least_sd(
            f, np.ones(3), np.array([1.0, 0.0]), 0.1, 9.0
        )  # type: ignore[operator]
