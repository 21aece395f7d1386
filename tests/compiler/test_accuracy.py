"""Loss -> accuracy: the line is found, bad points don't move it, intervals cover and combine."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.compiler.laws.accuracy import BARTOLDSON2024, AccuracyFit, fit_accuracy
from isoloss.compiler.plan import Range


def line(rng: np.random.Generator, n: int = 28, noise: float = 0.003) -> tuple[np.ndarray, np.ndarray]:
    loss = rng.uniform(0.7, 1.1, n)
    return loss, 1.2575 - 0.7496 * loss + rng.normal(0.0, noise, n)


def test_exact_line_is_returned_exactly() -> None:
    loss = np.array([0.7, 0.8, 0.9, 1.0])
    fit = fit_accuracy(loss, 1.25 - 0.75 * loss)
    assert fit is not None
    assert fit.intercept == pytest.approx(1.25, abs=1e-12)
    assert fit.slope == pytest.approx(-0.75, abs=1e-12)
    assert fit.r2 == pytest.approx(1.0)


def test_one_wild_point_moves_the_line_less_than_least_squares() -> None:
    loss, accuracy = line(np.random.default_rng(1))
    accuracy[3] -= 0.2
    fit = fit_accuracy(loss, accuracy)
    assert fit is not None
    ordinary = np.polynomial.polynomial.polyfit(loss, accuracy, 1)
    assert abs(fit.value(0.75) - (1.2575 - 0.7496 * 0.75)) < 0.003
    assert abs(ordinary[0] + ordinary[1] * 0.75 - (1.2575 - 0.7496 * 0.75)) > 0.003


def test_interval_covers_a_new_run() -> None:
    # 95 % nominal; 200 tables give a Monte-Carlo error of 1.5 points, so 90 % is over three of them away.
    rng, inside = np.random.default_rng(7), 0
    for _ in range(200):
        loss, accuracy = line(rng, n=12)
        fit = fit_accuracy(loss, accuracy, resamples=100)
        assert fit is not None
        new = 1.2575 - 0.7496 * 0.6 + rng.normal(0.0, 0.003)
        interval = fit.predict(Range(0.6, 0.6, 0.6))
        inside += interval.low <= new <= interval.high
    assert inside / 200 >= 0.90


def test_runs_are_resampled_whole() -> None:
    # Ten copies of each point in the same run carry no more information than one.
    loss, accuracy = line(np.random.default_rng(2), n=10)
    run = np.repeat(np.arange(10), 10)
    together = fit_accuracy(np.repeat(loss, 10), np.repeat(accuracy, 10), run)
    apart = fit_accuracy(np.repeat(loss, 10), np.repeat(accuracy, 10))
    assert together is not None
    assert apart is not None
    assert together.covariance is not None
    assert apart.covariance is not None
    assert together.covariance[2] > 4 * apart.covariance[2]


def test_test_set_size_widens_the_interval() -> None:
    loss, accuracy = line(np.random.default_rng(3))
    small, large = fit_accuracy(loss, accuracy, count=100), fit_accuracy(loss, accuracy, count=1_000_000)
    assert small is not None
    assert large is not None
    at = Range(0.7, 0.7, 0.7)
    assert small.predict(at).high - small.predict(at).low > 2 * (
        large.predict(at).high - large.predict(at).low
    )


def test_fewer_than_three_losses_make_no_line() -> None:
    assert fit_accuracy([0.7, 0.8], [0.7, 0.6]) is None
    assert fit_accuracy([0.7, 0.7, 0.7, 0.8], [0.7, 0.7, 0.7, 0.6]) is None
    assert fit_accuracy([0.7, 0.8, 0.9], [np.nan, np.nan, np.nan]) is None


def test_published_line() -> None:
    assert BARTOLDSON2024.value(0.4815654985) == pytest.approx(0.89652, abs=5e-6)
    assert BARTOLDSON2024.value(5.0) == 0.0


def test_json_round_trip() -> None:
    loss, accuracy = line(np.random.default_rng(4))
    for fit in (BARTOLDSON2024, fit_accuracy(loss, accuracy, count=10_000)):
        assert fit is not None
        data = orjson.loads(orjson.dumps(fit.to_json()))
        assert AccuracyFit.from_json(data).to_json() == fit.to_json()


@given(st.floats(0.01, 3.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_prediction_is_ordered_and_within_bounds(mid: float, below: float, above: float) -> None:
    answer = BARTOLDSON2024.predict(Range(max(0.0, mid - below), mid, mid + above))
    assert 0.0 <= answer.low <= answer.mid <= answer.high <= 1.0


def test_beyond_its_points_a_line_is_trusted_less() -> None:
    """Half of a bent relation is seen: the straight line misses the rest, its interval must not."""
    rng = np.random.default_rng(3)

    def bent(loss: np.ndarray) -> np.ndarray:
        return np.asarray(0.9 - 0.55 * loss + 0.05 * np.cos(3 * loss))

    loss = rng.uniform(1.7, 2.3, 18)
    fit = fit_accuracy(loss, bent(loss) + rng.normal(0, 0.01, 18), resamples=100)
    assert fit is not None
    true = float(bent(np.array(1.0)))
    far, near = fit.predict(Range(1.0, 1.0, 1.0)), fit.predict(Range(2.0, 2.0, 2.0))
    assert abs(fit.value(1.0) - true) > 0.02
    assert far.low <= true <= far.high
    assert far.high - far.low > 3 * (near.high - near.low)
    assert fit.beyond(1.0)
    assert not fit.beyond(2.0)
