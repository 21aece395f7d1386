"""The lint of fits: each reservation is raised by what it is about, and by nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isoloss.compiler.laws.fitting.fit import FitOptions, fit_law
from isoloss.compiler.laws.fitting.fitted import LawFit, Note
from isoloss.compiler.laws.lint import (
    NOTE_CODES,
    OTHER_NOTE,
    lint_exclusions,
    lint_extrapolation,
    lint_fit,
    lint_rounded,
    lint_selection,
    lint_stuck,
    significant_digits,
)
from isoloss.compiler.laws.points import Points
from isoloss.compiler.laws.published import published
from isoloss.dsl.diagnostics.codes import codes

FAST = FitOptions(resamples=50, rolling=False)


def grid(noise: float = 0.002, bend: float = 0.0) -> Points:
    """A 5 x 5 design under the published law 2 at FID 0; `bend` lifts small networks on much data."""
    rng = np.random.default_rng(5)
    N, D = (a.ravel() for a in np.meshgrid([6e6, 2e7, 5e7, 1.2e8, 3e8], [5e6, 1e7, 3e7, 7e7, 1e8]))
    loss = 6.687 / N**0.2443 + 9.89 / D**0.2281 + 0.4816
    loss = loss * np.exp(rng.normal(0, noise, len(N))) * (1 + bend * ((N < 6e7) & (D > 2e7)))
    return Points.build(N, D, loss)


@pytest.fixture(scope="module")
def fit() -> LawFit:
    return fit_law("chinchilla", grid(), FAST)


def test_a_good_fit_has_no_reservation(fit: LawFit) -> None:
    assert lint_fit(fit) == []


@pytest.mark.parametrize(("kind", "code"), [*NOTE_CODES.items(), ("something_new", OTHER_NOTE)])
def test_every_note_has_a_code_with_a_story(fit: LawFit, kind: str, code: str) -> None:
    noted = replace(fit, notes=(Note(kind, "the message"),))
    [found] = lint_fit(noted)
    assert (found.code, found.headline, found.severity) == (code, "the message", "warning")
    assert code in codes()


def test_one_size_can_not_hold_its_exponent() -> None:
    points = grid()
    flat = fit_law("chinchilla", points.select(points.params == 6e6), FAST)
    assert "L309" in {d.code for d in lint_fit(flat)}


def test_published_laws_carry_their_reservations() -> None:
    found = {n: {d.code for d in lint_fit(published(f"bartoldson2024.approach{n}"))} for n in (1, 2, 3)}
    assert "L305" in found[1]
    assert {"L303", "L313"} <= found[2]
    assert {"L301", "L313"} <= found[3]


def test_stuck_at_start() -> None:
    starts = {"B": (6500, 7000, 7500), "A": (5, 6, 7)}
    [found] = lint_stuck({"B": 7000.0, "A": 6.00080741}, starts)
    assert found.code == "L301"
    assert "`B` = 7000" in found.headline
    assert lint_stuck({"B": 7000.1}, starts) == []


def test_rounded_constants() -> None:
    [found] = lint_rounded({"A": 6.69, "alpha": 0.24, "E": 0.48})
    assert found.code == "L305"
    assert lint_rounded({"A": 6.69, "alpha": 0.24434519315396275}) == []
    assert lint_rounded({}) == []
    for value, digits in ((0.24, 2), (7000.0, 1), (0.244345, 6), (-0.28, 2), (1e-7, 1), (1.25e22, 3)):
        assert significant_digits(value) == digits


def test_exclusions_that_matter_are_named() -> None:
    bent = grid(bend=0.03)
    kept = bent.select(~((bent.params < 6e7) & (bent.images > 2e7)))
    [found] = lint_exclusions(fit_law("chinchilla", kept, FAST), fit_law("chinchilla", bent, FAST), 9)
    assert found.code == "L306"
    assert "`" in found.headline


def test_exclusions_that_don_t_matter_are_not() -> None:
    points = grid()
    kept = points.select(points.params > 7e6)
    assert lint_exclusions(fit_law("chinchilla", kept, FAST), fit_law("chinchilla", points, FAST), 5) == []


def curves(last: float) -> Points:
    """Three runs of two checkpoints; the last is `last` times the first."""
    N, D = np.repeat([6e6, 2e7, 5e7], 2), np.tile([5e6, 1e7], 3)
    return Points.build(
        N, D, np.tile([1.0, last], 3), fraction=np.tile([0.5, 1.0], 3), run=np.repeat([0, 1, 2], 2).tolist()
    )


def test_selection_on_the_test_set_is_measured() -> None:
    [found] = lint_selection(curves(1.02), "best", 0.5)
    assert found.code == "L307"
    assert "2% below" in found.headline
    assert lint_selection(curves(0.9), "best", 0.5) == []
    assert lint_selection(curves(1.02), "final", 0.5) == []
    assert lint_selection(grid(), "best", 0.5) == []


def test_extrapolation_factor(fit: LawFit) -> None:
    largest = fit.domain.flops[1]
    assert lint_extrapolation(9.9 * largest, fit) == []
    [found] = lint_extrapolation(250 * largest, fit)
    assert found.code == "L308"
    assert "250 times" in found.headline
