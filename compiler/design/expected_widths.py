"""How well a design will know each answer: 95 % half-widths now, after its slice, with the whole budget, and the one
that no plan can beat.

In: a Design. Out: half-widths of log loss, ln N* or an exponent, and PLAN.json's `budget.design`. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from isoloss.compiler.design.bound import COLUMNS, least_sd
from isoloss.compiler.design.candidates import spread_out
from isoloss.compiler.design.posterior import Posterior
from isoloss.compiler.design.situation import Design, Situation
from isoloss.compiler.laws.arrays import Floats


def half_widths(made: Situation, V: Floats) -> dict[tuple[str, str, str], float]:
    """(question, what, law) -> 95 % half-width of log loss, ln N* or an exponent, mean over modes [K, t]:
    what the law's parameters leave open, and for a loss its misfit at the answer."""
    s = made.state
    found: dict[tuple[str, str, str], list[float]] = {}
    for k in range(len(s.law)):
        noise = made.posteriors[s.law[k]].noise
        for t, target in enumerate(s.targets):
            if s.modes.weight[k, t] > 0:
                extra = noise.misfit**2 if target.what == "loss" else 0.0
                key = (target.question, target.what, target.fit)
                found.setdefault(key, []).append(1.96 * float(np.sqrt(max(V[k, t], 0.0) + extra)))
    return {key: float(np.mean(values)) for key, values in found.items()}


def least_half_width(made: Situation, key: tuple[str, str, str]) -> float | None:
    """The 95 % half-width below which no plan of this pool can bring an answer with the whole budget, by
    seed noise alone and without prior knowledge. None where it isn't one number, or no plan determines it."""
    s = made.state
    for k in range(len(s.law)):
        if not s.middle[k]:
            continue
        for t, target in enumerate(s.targets):
            if (target.question, target.what, target.fit) != key or s.modes.weight[k, t] == 0:
                continue
            posterior = made.posteriors[s.law[k]]
            free = posterior.sd > 0
            p = len(posterior.sd)
            rows = spread_out(np.flatnonzero(posterior.member), made.pool.coordinates, COLUMNS)
            views = len(posterior.views)
            f = s.modes.H[k, rows, :views, :p].reshape(-1, p)[:, free]
            # A run's observations bought one by one, each at its share of the cost: no plan does better.
            cost = np.repeat(made.pool.own[rows] / views, views)
            sd = least_sd(f, cost, s.modes.G[k, t, :p][free], posterior.noise.run, made.available)
            return None if sd is None else 1.96 * sd
    return None


def facts(made: Design) -> dict[str, Any]:
    """PLAN.json's `budget.design`. Half-widths are 95 %, of log loss, ln N* or an exponent; `below` as
    `least_half_width`."""
    s = made.situation
    covariance, spending = s.before()
    now, after = half_widths(s, covariance.V), half_widths(s, made.slice.covariance.V)
    end = half_widths(s, made.foreseen.covariance.V)
    return {
        "stage": made.stage,
        "slice_runs": len(made.slice.order),
        "slice_flops": made.slice.spending.spent - spending.spent,
        "foreseen_runs": len(set(made.foreseen.order) - set(made.slice.order)),
        "assumed_fids": {g: s.pool.fids[g] for g in s.pool.assumed},
        "laws": {b.name: _posterior(b) for b in s.posteriors},
        "answers": [
            {
                "question": key[0],
                "what": key[1],
                "law": key[2],
                "now": three_digits(now[key]),
                "after_slice": three_digits(after[key]),
                "whole_budget": three_digits(end[key]),
                "no_plan_below": None if (least := least_half_width(s, key)) is None else three_digits(least),
            }
            for key in now
        ],
    }


def _posterior(b: Posterior) -> dict[str, Any]:
    return {
        "form": b.law.name,
        "runs": b.points,
        "from": "a prior, assumed" if b.points == 0 else "a prior, assumed, and finished runs",
        "noise": three_digits(b.noise.run),
        "misfit": three_digits(b.noise.misfit),
        "shared": three_digits(b.noise.shared),
    }


def three_digits(value: float) -> float:
    """What machines agree on: the last bits of their sums differ."""
    return float(f"{value:.3g}")
