"""What can't be answered, before it is paid for: tolerances no affordable plan reaches (B110), and laws that
the whole pool can't tell apart although their answers differ (B111). Each names the cheapest run that would
settle it. Pure; read with the design's own assumptions: misfit and noise as believed now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isoloss.compiler.design.candidates import spread_out
from isoloss.compiler.design.expected_widths import half_widths, least_half_width
from isoloss.compiler.design.situation import Design, Situation
from isoloss.compiler.design.target import Target, optimum
from isoloss.compiler.jobs.factory import short
from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.forms.solve import optimum as frontier
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.study.study import Forecast, Study
from isoloss.dsl.vocabulary.quantity_text import around_text, flop_text, share_text

#: Compute of hypothetical runs, from the dearest cell to the question's own: this many, evenly in the log.
_RUNGS = 33
#: Laws closer than this many standard deviations over the whole pool are not told apart (95 %).
APART = 1.96
_ROWS = 400


@dataclass(frozen=True, slots=True)
class Settling:
    """A run that would settle a question: N, D, FID, FLOP; `name` of the cell where it is one."""

    params: float
    images: float
    fid: float
    flops: float

    def said(self) -> str:
        return (
            f"the cheapest run that would settle it: about N = {_about(self.params)}, D = "
            f"{_about(self.images)} at fid {self.fid:.3g}, {flop_text(self.flops)}"
        )


def _about(count: float) -> str:
    return short(round(float(f"{count:.2g}")))


def infeasible_questions(made: Design, study: Study) -> list[Diagnostic]:
    """B110 and B111 of every forecast, in order."""
    found: list[Diagnostic] = []
    for question in study.forecasts:
        found.extend(_unreachable(made, question))
        found.extend(_indistinct(made, question))
    return found


# Tolerances.


def _unreachable(made: Design, question: Forecast) -> Iterator[Diagnostic]:
    s = made.situation
    if question.within is None or made.stage == "complete":
        return  # complete: the answer itself has its width, and L504 compares it
    widths = {k: w for k, w in half_widths(s, made.foreseen.covariance.V).items() if k[0] == question.name}
    if not widths:
        return
    key, width = max(widths.items(), key=lambda item: item[1])
    if width <= question.within:
        return
    bound = least_half_width(s, key)
    floor = (
        ""
        if bound is None
        else f", and no plan at this budget comes below {around_text(bound)} (seed noise alone)"
    )
    headline = (
        f"`within = {share_text(question.within)}` of forecast `{question.name}` is out of reach: the whole "
        f"budget is expected to leave {around_text(width)} by law `{key[2]}`{floor}"
    )
    run = _cheapest_for_width(made, key, question.within)
    if run is not None:
        helps = (run.said(), "or ask for a wider `within`, or nearer to the grid")
    else:
        noise = _noise_width(s, key)
        helps = (
            f"not even one run at the question's own compute settles it: noise, misfit and the one test set's "
            f"error, {around_text(noise)} together, stay",
            "ask for a wider `within`",
        )
    yield Diagnostic("B110", headline, question.origin.span, help=helps, severity="warning")


def _noise_width(s: Situation, key: tuple[str, str, str]) -> float:
    posterior = next(b for b in s.posteriors if b.name == key[2])
    noise = posterior.noise
    return 1.96 * float(np.sqrt(noise.run**2 + noise.misfit**2 + noise.shared**2))


def _cheapest_for_width(made: Design, key: tuple[str, str, str], within: float) -> Settling | None:
    """The cheapest of the pool's cells, and of optimal runs up to the question's compute, after which the
    answer is within its tolerance by every mode of this law, the whole budget's runs being known as well."""
    s, covariance = made.situation, made.foreseen.covariance
    modes = _modes_of(s, key)
    if not modes:
        return None
    bought = {*s.owned, *made.slice.order, *made.foreseen.order}
    pool_ok = np.ones(len(s.pool), dtype=bool)
    pool_ok[list(bought)] = False
    reduction = covariance.reduction()
    rungs, ladder_ok = _ladder(s, modes[0][1]), np.ones(_RUNGS, dtype=bool)
    for k, t in modes:
        misfit = s.posteriors[s.state.law[k]].noise.misfit
        allowed = (within / 1.96) ** 2 - misfit**2
        pool_ok &= covariance.V[k, t] * (1 - reduction[k, :, t]) <= allowed
        H = _rows_at(s, k, rungs)
        cross = H @ (covariance.P[k] @ s.state.modes.G[k, t])
        var = np.einsum("rd,de,re->r", H, covariance.P[k], H) + s.state.modes.noise[k]
        ladder_ok &= covariance.V[k, t] - cross**2 / var <= allowed
    options = [
        Settling(float(s.cells[i].params), float(s.cells[i].drawn), _fid(s, i), float(s.pool.own[i]))
        for i in (int(row) for row in np.flatnonzero(pool_ok))
    ]
    options += [run for run, ok in zip(rungs, ladder_ok, strict=True) if ok]
    return min(options, key=lambda run: run.flops, default=None)


def _fid(s: Situation, i: int) -> float:
    return float(s.pool.x.fid[i])


def _modes_of(s: Situation, key: tuple[str, str, str]) -> list[tuple[int, int]]:
    return [
        (k, t)
        for k in range(len(s.state.law))
        for t, target in enumerate(s.state.targets)
        if (target.question, target.what, target.fit) == key and s.state.modes.weight[k, t] > 0
    ]


def _ladder(s: Situation, t: int) -> list[Settling]:
    """Optimal runs at the question's FID from the dearest cell's compute to the question's."""
    target = s.state.targets[t]
    posterior = next(b for b in s.posteriors if b.name == target.fit)
    top = max(c.flops for c in s.cells)
    runs = []
    for flops in np.geomspace(min(top, target.flops), target.flops, _RUNGS):
        lnN, lnD, _ = frontier(posterior.law, posterior.theta[None, :], float(flops), target.fid, s.rule)
        runs.append(Settling(float(np.exp(lnN[0])), float(np.exp(lnD[0])), target.fid, float(flops)))
    return runs


def _inputs(runs: list[Settling]) -> Inputs:
    columns = [[r.params for r in runs], [r.images for r in runs], [r.fid for r in runs]]
    return Inputs.of(*columns)


def _rows_at(s: Situation, k: int, runs: list[Settling]) -> Floats:
    """Observation vectors of hypothetical runs in mode k's z, padded; a run nowhere tells nothing."""
    posterior, x = s.posteriors[s.state.law[k]], _inputs(runs)
    J = posterior.law.jacobian(posterior.T @ s.state.centred[k], x) @ posterior.T
    H = np.zeros((len(runs), s.state.modes.H.shape[3]))
    rows = np.concatenate([J, s.smooth(x), np.ones((len(runs), 1))], axis=1)
    H[:, : rows.shape[1]] = np.where(np.isfinite(rows), rows, 0.0)
    return H


# Laws that can't be told apart.


def _indistinct(made: Design, question: Forecast) -> Iterator[Diagnostic]:
    s = made.situation
    posteriors = {b.name: (k, b) for k, b in enumerate(s.posteriors)}
    mine = [t for t in s.state.targets if t.question == question.name and t.what == "loss"]
    for a_index, a in enumerate(mine):
        for b in mine[a_index + 1 :]:
            if posteriors[a.fit][1].points == 0 or posteriors[b.fit][1].points == 0:
                continue  # two images of one prior: their difference says nothing
            yield from _compare(made, question, a, b)


def _compare(made: Design, question: Forecast, a: Target, b: Target) -> Iterator[Diagnostic]:
    s = made.situation
    first = next(x for x in s.posteriors if x.name == a.fit)
    second = next(x for x in s.posteriors if x.name == b.fit)
    one, two = (optimum(x.law, x.theta, t, s.rule)[2] for x, t in ((first, a), (second, b)))
    gap = abs(one - two)
    wanted = 2 * question.within if question.within is not None else _joint_width(made, question, (a, b))
    if not np.isfinite(gap) or gap <= wanted:
        return
    apart = _distance(s, a, b)
    if apart >= APART:
        return
    headline = (
        f"laws `{a.fit}` and `{b.fit}` answer `{question.name}` {share_text(gap)} apart ({np.exp(one):.3g} and "
        f"{np.exp(two):.3g}), but all cells together would tell them apart by {apart:.2g} standard deviations"
    )
    run = _cheapest_to_tell(made, a, b)
    settles = run.said() if run is not None else "no run up to the question's compute tells them apart"
    helps = (settles, "or state which law is believed: `law = NAME` in the forecast")
    yield Diagnostic("B111", headline, question.origin.span, help=helps, severity="warning")


def _joint_width(made: Design, question: Forecast, both: tuple[Target, Target]) -> float:
    widths = half_widths(made.situation, made.foreseen.covariance.V)
    first, second = (widths.get((question.name, t.what, t.fit), 0.0) for t in both)
    return float(np.hypot(first, second))


def _distance(s: Situation, a: Target, b: Target) -> float:
    """Standard deviations between the laws over cells of the whole pool, after refitting the second to the
    first's predictions there: what it can imitate counts nothing."""
    names = [x.name for x in s.posteriors]
    first, second = s.posteriors[names.index(a.fit)], s.posteriors[names.index(b.fit)]
    rows = spread_out(np.flatnonzero(first.member & second.member), s.pool.coordinates, _ROWS)
    if not len(rows):
        return 0.0
    x = Inputs(s.pool.x.lnN[rows], s.pool.x.lnD[rows], s.pool.x.fid[rows], s.pool.x.lnX[rows])
    d = first.law.log_prediction(first.theta, x) - second.law.log_prediction(second.theta, x)
    J = second.law.jacobian(second.theta, x) @ second.T
    noise = second.noise
    features = np.concatenate([s.smooth(x), np.ones((len(rows), 1))], axis=1)
    sd = np.concatenate([np.full(s.smooth.size, noise.misfit), [max(noise.shared, 1e-6)]])
    whiten = np.linalg.inv(
        np.linalg.cholesky((features * sd**2) @ features.T + noise.run**2 * np.eye(len(rows)))
    )
    known = np.isfinite(d) & np.isfinite(J).all(axis=1)
    d, J = np.where(known, d, 0.0), np.where(known[:, None], J, 0.0)
    white, basis = whiten @ d, whiten @ J[:, second.sd > 0]
    step = np.linalg.lstsq(basis, white, rcond=1e-8)[0]
    return float(np.linalg.norm(white - basis @ step))


def _cheapest_to_tell(made: Design, a: Target, b: Target) -> Settling | None:
    """The cheapest optimal run at which the laws differ by more than their errors and one run's noise."""
    s = made.situation
    names = [x.name for x in s.posteriors]
    keys = [(t.question, t.what, t.fit) for t in (a, b)]
    chosen = [next(((k, t) for k, t in _modes_of(s, key) if s.state.middle[k]), None) for key in keys]
    if chosen[0] is None or chosen[1] is None:
        return None
    rungs = _ladder(s, chosen[0][1])
    x = _inputs(rungs)
    predictions, variance = [], np.zeros(len(rungs))
    for pick, target in zip(chosen, (a, b), strict=True):
        assert pick is not None
        posterior = s.posteriors[names.index(target.fit)]
        predictions.append(posterior.law.log_prediction(posterior.theta, x))
        H = _rows_at(s, pick[0], rungs)
        variance += np.einsum("rd,de,re->r", H, made.foreseen.covariance.P[pick[0]], H)
        variance += 0.5 * (posterior.noise.run**2 + posterior.noise.misfit**2)
    far = np.abs(predictions[0] - predictions[1]) >= APART * np.sqrt(np.maximum(variance, 0.0))
    return next((run for run, tells in zip(rungs, far, strict=True) if tells), None)
