"""The engine: it agrees with another solver, with itself, and says so where data don't hold a law."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_worlds import IMAGES, PARAMS, TRUE, points_of
from scipy.optimize import minimize

from isoloss.compiler.laws.arrays import Inputs
from isoloss.compiler.laws.fitting.fit import fit_law
from isoloss.compiler.laws.fitting.fit_json import fit_from_json, fit_to_json
from isoloss.compiler.laws.fitting.options import FitOptions, Status
from isoloss.compiler.laws.fitting.pooled import DRIFT, drift_of
from isoloss.compiler.laws.fitting.residuals import huber
from isoloss.compiler.laws.forms.registry import LAWS
from isoloss.compiler.laws.points import Points

ALONE = FitOptions(resamples=0, rolling=False)
QUICK = FitOptions(resamples=200)


def objective(law: str, theta: np.ndarray, points: Points, delta: float) -> float:
    residual = LAWS[law].log_prediction(theta, points.inputs()) - np.log(points.loss)
    return float(huber(residual, points.weight, delta)[0])


@pytest.mark.parametrize("law", ["chinchilla", "approach2", "approach3"])
@pytest.mark.parametrize("noise", [0.003, 0.02])
def test_scipy_finds_nothing_better(law: str, noise: float) -> None:
    """An independent descent of the scaled objective, from around the optimum, ends there."""
    points = points_of(law, noise)
    fit = fit_law(law, points, ALONE)
    form, y = LAWS[law], np.log(points.loss)
    x, T = form.centre(points.inputs())
    centre = np.linalg.solve(T, fit.theta)

    def scaled(theta: np.ndarray) -> tuple[float, np.ndarray]:
        residual = form.log_prediction(theta, x) - y
        gradient = np.clip(residual, -1e-3, 1e-3) @ form.jacobian(theta, x)
        return 1e6 * float(huber(residual, points.weight, 1e-3)[0]), 1e6 * gradient

    rng = np.random.default_rng(0)
    best = np.inf
    for _ in range(4):
        start = centre + 0.05 * rng.standard_normal(len(centre))
        result = minimize(scaled, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
        best = min(best, result.fun / 1e6)
    assert fit.objective <= best * (1 + 1e-9)
    # From near by it gets there too: the optimum is one, not an artefact of our steps.
    assert best <= fit.objective * (1 + 1e-3)


@pytest.mark.parametrize("delta", [1e-1, 1e-3, 1e-8])
def test_threshold_down_to_least_absolute_deviations(delta: float) -> None:
    points = points_of("chinchilla", 0.01)
    fit = fit_law("chinchilla", points, FitOptions(resamples=0, rolling=False, delta=delta))
    rng = np.random.default_rng(2)
    for _ in range(200):
        near = fit.theta * (1 + 1e-4 * rng.standard_normal(5))
        assert objective("chinchilla", near, points, delta) >= fit.objective * (1 - 1e-9)


def test_duplicate_points_are_weights() -> None:
    points = points_of("chinchilla", 0.01)
    rng = np.random.default_rng(3)
    count = rng.integers(1, 4, len(points))
    rows = np.repeat(np.arange(len(points)), count)
    weighted = Points.build(points.params, points.images, points.loss, fid=points.fid, weight=count)
    one, other = fit_law("chinchilla", points.select(rows), ALONE), fit_law("chinchilla", weighted, ALONE)
    assert one.theta == pytest.approx(other.theta, rel=1e-6)
    assert one.objective == pytest.approx(other.objective, rel=1e-10)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_order_of_points_is_irrelevant(seed: int) -> None:
    points = points_of("chinchilla", 0.01, fids=np.array([1.65]))
    shuffled = points.select(np.random.default_rng(seed).permutation(len(points)))
    one, other = fit_law("chinchilla", points, ALONE), fit_law("chinchilla", shuffled, ALONE)
    assert one.objective == pytest.approx(other.objective, rel=1e-9)
    assert one.theta == pytest.approx(other.theta, rel=1e-4, abs=1e-4)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.floats(17, 26), st.floats(0.01, 3))
def test_larger_budget_never_predicts_worse(seed: int, exponent: float, more: float) -> None:
    fit = fit_law("chinchilla", points_of("chinchilla", 0.02, seed, fids=np.array([1.65])), ALONE)
    small, large = fit.optimum(10**exponent, 1.65).loss, fit.optimum(10 ** (exponent + more), 1.65).loss
    assert small is not None
    assert large is not None
    assert large.mid <= small.mid * (1 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_points_give_a_fit_or_a_status(data: st.DataObject) -> None:
    """Garbage in: never an exception, never an unmarked number."""
    n = data.draw(st.integers(1, 12))
    column = st.lists(st.sampled_from([1.0, 900.0, 2e4, 1e6, 3e8]), min_size=n, max_size=n)
    losses = data.draw(st.lists(st.floats(1e-6, 1e6), min_size=n, max_size=n))
    fids = data.draw(st.lists(st.sampled_from([0.0, 1.65, 35.0, float("nan")]), min_size=n, max_size=n))
    points = Points.build(data.draw(column), data.draw(column), losses, fid=fids)
    law = data.draw(st.sampled_from(["chinchilla", "approach1", "approach2", "approach3", "powerlaw"]))
    fit = fit_law(law, points, FitOptions(resamples=20))
    assert fit.usable or fit.status is Status.TOO_FEW_POINTS
    if fit.status not in (Status.CONVERGED, Status.PUBLISHED):
        assert fit.warnings
    json.dumps(fit_to_json(fit), allow_nan=False)
    fit.optimum(1e20, 1.65)
    fit.predict(1e6, 1e6, 0.0)


def test_miniature_noise_says_what_it_does_not_know() -> None:
    """40 points, 5 % residuals, capacity binding hardly at all: intervals must be wide and warnings there."""
    rng = np.random.default_rng(5)
    N, D = (m.ravel() for m in np.meshgrid([944.0, 2382, 6770, 21594], [4096.0, 8192, 16384, 32768] * 2))
    loss = (0.43 + 60 * D**-0.5 + 0.02 * (944 / N)) * np.exp(0.05 * rng.standard_normal(len(N)))
    fit = fit_law("chinchilla", Points.build(N, D, loss), QUICK)
    low, high = fit.intervals["alpha"]
    assert high - low > 0.3
    assert fit.residual_sigma == pytest.approx(0.05, rel=0.5)
    forecast = fit.predict(1e5, 1e6, 0.0)
    assert forecast is not None
    assert forecast.high / forecast.low > 1.1


def test_too_few_points() -> None:
    fit = fit_law("chinchilla", Points.build([1e6, 2e6], [1e6, 2e6], [1.0, 0.9]))
    assert fit.status is Status.TOO_FEW_POINTS
    assert fit.predict(1e6, 1e6, 0.0) is None
    assert fit.optimum(1e20, 0.0).loss is None
    assert "too few" in fit.warnings[0]


def test_constant_loss_is_said() -> None:
    N, D = (m.ravel() for m in np.meshgrid(PARAMS, IMAGES))
    fit = fit_law("chinchilla", Points.build(N, D, np.full(len(N), 0.7)), QUICK)
    assert fit.status is not Status.CONVERGED
    assert any("same" in w for w in fit.warnings)


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [("loss", np.nan, "loss"), ("params", 0.0, "params"), ("images", -1.0, "images"), ("fid", -0.1, "fid")],
)
def test_impossible_values_name_column_and_row(column: str, value: float, match: str) -> None:
    table = {"params": [1e6, 2e6], "images": [1e6, 2e6], "loss": [1.0, 0.9], "fid": [0.0, 0.0]}
    table[column] = [table[column][0], value]
    with pytest.raises(ValueError, match=f"`{match}`.*row 2"):
        Points.build(**table)  # type: ignore[arg-type]


@pytest.mark.parametrize("law", ["chinchilla", "approach2", "approach3", "powerlaw"])
def test_json_round_trip_keeps_every_answer(law: str) -> None:
    fit = fit_law(law, points_of(law, 0.01), FitOptions(resamples=50))
    text = json.dumps(fit_to_json(fit), allow_nan=False)
    back = fit_from_json(json.loads(text))
    assert back.predict(1e9, 1e9, 1.65) == fit.predict(1e9, 1e9, 1.65)
    assert back.optimum(1e22, 1.65) == fit.optimum(1e22, 1.65)
    assert json.dumps(fit_to_json(back), allow_nan=False) == text


@pytest.mark.parametrize("damage", ["law", "state", "theta", "samples"])
def test_damaged_json_is_refused_with_words(damage: str) -> None:
    data = fit_to_json(fit_law("chinchilla", points_of("chinchilla", 0.01), FitOptions(resamples=5)))
    if damage == "law":
        data["law"] = "nonsense"
    elif damage == "state":
        del data["state"]
    elif damage == "theta":
        data["state"]["theta"] = [1.0]
    else:
        data["state"]["samples"] = "AAAA"
    with pytest.raises(ValueError):
        fit_from_json(data)


def test_same_seed_same_intervals() -> None:
    points = points_of("approach2", 0.01)
    one, other = (fit_to_json(fit_law("approach2", points, QUICK)) for _ in range(2))
    assert one == other


def test_intervals_are_drawn_over_runs_not_checkpoints() -> None:
    """Ten copies of every point, as checkpoints of one run, must not shrink an interval; as runs they do."""
    points = points_of("chinchilla", 0.01, fids=np.array([1.65]))
    rows = np.repeat(np.arange(len(points)), 10)
    N, D, L = points.params[rows], points.images[rows], points.loss[rows]
    width = {}
    for name, run in (("runs", None), ("checkpoints", list(rows))):
        low, high = fit_law("chinchilla", Points.build(N, D, L, run=run), QUICK).intervals["alpha"]
        width[name] = high - low
    assert width["checkpoints"] > 2 * width["runs"]


def test_two_stages_recover_the_law_and_its_base_form() -> None:
    fit = fit_law("approach2", points_of("approach2"), FitOptions(resamples=20, rolling=False, joint=False))
    assert fit.parameters == pytest.approx(TRUE["approach2"], rel=1e-6)
    assert fit.settings["base_fid"] == 1.65
    noisy = points_of("approach2", 0.004)
    staged = fit_law("approach2", noisy, FitOptions(resamples=100, joint=False))
    assert staged.status is Status.CONVERGED
    for name in ("zeta", "epsilon", "E"):
        low, high = staged.intervals[name]
        assert low < TRUE["approach2"][name] < high
    # Stage one knows nothing of the other qualities.
    alone = fit_law("chinchilla", noisy.select(noisy.fid == 1.65), ALONE)
    assert staged.parameters["alpha"] == pytest.approx(alone.parameters["alpha"], rel=1e-6)


def test_two_stages_need_a_base() -> None:
    points = points_of("approach2", 0.004)
    few = points.select((points.fid > 2) | (np.arange(len(points)) < 12))
    fit = fit_law("approach2", few, FitOptions(resamples=5, joint=False))
    assert fit.status is Status.TOO_FEW_POINTS
    assert "base quality" in fit.warnings[0]


def test_the_stages_are_the_runs_that_are_named() -> None:
    """A base other than the lowest fid, and a quality set that leaves a fid out."""
    points = points_of("approach2", 0.004)
    named = [
        frozenset(points.run_names[run] for run in points.run[np.isin(points.fid, fids)])
        for fids in ((6.79,), (1.65,))
    ]
    options = replace(ALONE, resamples=0, joint=False, base_runs=named[0], quality_runs=named[1])
    fit = fit_law("approach2", points, options)
    assert fit.settings["base_fid"] == 6.79
    assert fit.points == np.isin(points.fid, (6.79, 1.65)).sum()
    alone = fit_law("chinchilla", points.select(points.fid == 6.79), ALONE)
    assert fit.parameters["alpha"] == pytest.approx(alone.parameters["alpha"], rel=1e-6)
    for bad, says in (
        (replace(options, base_runs=named[0] | named[1]), "of one quality"),
        (replace(options, quality_runs=named[0]), "second stage"),
        (replace(options, base_runs=frozenset()), "base quality"),
    ):
        refused = fit_law("approach2", points, bad)
        assert refused.status is Status.TOO_FEW_POINTS
        assert says in refused.warnings[0]


def test_an_exponent_of_the_second_stage_at_its_edge_is_told() -> None:
    """Losses of nearly the same quality that are a fifth higher: no exponent in its range says so."""
    points = points_of("approach2", fids=np.array([1.65, 1.70]))
    worse = replace(points, loss=points.loss * np.where(points.fid > 1.65, 1.2, 1.0))
    fit = fit_law("approach2", worse, FitOptions(resamples=20, rolling=False, joint=False))
    assert fit.status is Status.AT_BOUND
    assert {"zeta", "epsilon"} <= {name for note in fit.notes for name in note.parameters}


def test_an_interval_that_ends_where_the_range_does_is_told() -> None:
    """Nearly the same images everywhere, and noise: beta is somewhere, its interval nowhere in particular."""
    rng = np.random.default_rng(1)
    N, D = (a.ravel() for a in np.meshgrid([6e6, 3e7, 3e8], [2e7, 2.5e7, 3e7, 3.5e7]))
    clean = 6 / N**0.25 + 8 / D**0.22 + 0.5
    noisy = Points.build(N, D, clean * np.exp(rng.normal(0, 0.02, len(N))))
    fit = fit_law("chinchilla", noisy, FitOptions(resamples=100, rolling=False))
    assert fit.intervals["beta"][1] == pytest.approx(3.0, abs=1e-5)
    (note,) = (note for note in fit.notes if note.kind == "open_interval")
    assert "beta" in note.parameters
    # Where data hold every parameter there is no such note.
    held = fit_law("chinchilla", points_of("chinchilla", 1e-3), FitOptions(resamples=100, rolling=False))
    assert "open_interval" not in {note.kind for note in held.notes}


def test_drift_is_pooled_with_own_held_out_errors() -> None:
    """Nothing held out beyond what is kept: what the public tables say. Own errors move it, a little."""
    assert drift_of([], [], 0.01, 0) == DRIFT
    assert drift_of([0.5, 0.5], [1.0, 1.0], 0.0, 2) == pytest.approx(
        np.sqrt((7 * DRIFT**2 + 0.5 * 0.25) / 7.5)
    )
    # What scatter explains is no drift, and a quiet table isn't believed to be without any.
    assert DRIFT > drift_of([0.01, -0.01], [2.0, 3.0], 0.02, 3) > 0.9 * DRIFT
    rng = np.random.default_rng(8)
    N, D = (a.ravel() for a in np.meshgrid([6e6, 3e8], [5e6, 2e7, 4e7, 1e8]))
    loss = (6 / N**0.25 + 8 / D**0.22 + 0.5) * np.exp(rng.normal(0, 0.05, len(N)))
    fit = fit_law("chinchilla", Points.build(N, D, loss), FitOptions(resamples=20))
    assert fit.misfit.quality == pytest.approx(max(fit.residual_sigma, fit.misfit.drift))
    seen = fit_law("chinchilla", points_of("chinchilla", 0.004), FitOptions(resamples=20))
    assert seen.held_out is not None
    assert seen.held_out["beyond"] > 0.5


def test_a_run_of_more_compute_inside_the_box_is_beyond() -> None:
    """IsoFLOP designs: the dearest N with the most D lies in no one's data, though each was seen."""
    N, D = np.array([1e6, 1e7, 1e8]), np.array([1e9, 1e8, 1e7])
    fit = fit_law(
        "chinchilla",
        Points.build(np.tile(N, 2), np.tile(D, 2), np.linspace(2, 1, 6)),
        FitOptions(resamples=0),
    )
    far = fit.domain.beyond(Inputs.of([1e7, 1e8, 1e9], [1e8, 1e9, 1e9], [0.0, 0.0, 0.0]))
    assert far[0] == pytest.approx([0.0, np.log(100), np.log(1000)])
    assert fit.misfit.scale(far)[1] == pytest.approx(
        np.hypot(fit.misfit.base, fit.misfit.drift * np.log(100))
    )
