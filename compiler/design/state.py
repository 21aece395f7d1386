"""Beliefs -> modes: each law at its most probable theta and one standard deviation to either side, in the
direction of the question. A design is averaged over them, so that it doesn't hang on one guess. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from isoloss.compiler.design.greedy import Modes
from isoloss.compiler.design.posterior import Posterior
from isoloss.compiler.design.questions import AskedLaw
from isoloss.compiler.design.target import Target, gradients, optimum
from isoloss.compiler.laws.arrays import Floats, FlopsPerImage, Ints
from isoloss.compiler.laws.portfolio import evidence

#: Pools above this size are planned at the most probable theta alone.
LARGE = 3000
#: How far a mode may lie from the posterior's centre, in prior standard deviations: half of the prior's width
#: keeps exponents above zero and optima where networks are.
_FURTHEST = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """`modes` of all laws. Per mode: index of its law, its centred theta, whether it is the most probable;
    per answer [t]: its target."""

    modes: Modes
    law: tuple[int, ...]
    centred: tuple[Floats, ...]
    middle: tuple[bool, ...]
    targets: tuple[Target, ...]

    @property
    def questions(self) -> Ints:
        """Which question each answer belongs to [t], numbered from 0; a question may ask for a loss and a size."""
        names = [(target.question, target.what) for target in self.targets]
        first = list(dict.fromkeys(names))
        return np.array([first.index(name) for name in names])


#: Law, theta, H [n, v, d], P [d, d], gradients per target, most probable.
_Found: TypeAlias = tuple[int, Floats, Floats, Floats, dict[int, Floats], bool]


class Optima:
    """Optima at a theta, each sought once."""

    def __init__(self, rule: FlopsPerImage) -> None:
        self.rule = rule
        self._known: dict[tuple[str, bytes, float, float], tuple[float, float, float]] = {}

    def __call__(self, posterior: Posterior, theta: Floats, target: Target) -> tuple[float, float, float]:
        """ln N*, ln D*, ln L*, or nan."""
        key = (posterior.law.name, theta.tobytes(), target.flops, target.fid)
        if key not in self._known:
            self._known[key] = optimum(posterior.law, theta, target, self.rule)
        return self._known[key]

    def value(self, posterior: Posterior, target: Target) -> float:
        """The most probable answer."""
        lnN, _, lnL = self(posterior, posterior.theta, target)
        return lnN if target.what == "size" else lnL

    def gradients(self, posterior: Posterior, centred: Floats, target: Target) -> Floats | None:
        theta = posterior.T @ centred
        at = None if target.what == "fit" else self(posterior, theta, target)
        return gradients(posterior.law, theta, posterior.T, target, at)


def state(
    laws: Sequence[AskedLaw], posteriors: Sequence[Posterior], finished: Sequence[Ints], rule: FlopsPerImage
) -> State | None:
    """None where no law has an answer to any question at its posterior. `finished` rows per law."""
    found: list[_Found] = []
    targets: list[Target] = []
    optima, credit = Optima(rule), list[float]()
    for k, (each, posterior) in enumerate(zip(laws, posteriors, strict=True)):
        slots = {}
        for t in each.targets:
            slots[len(targets)] = t
            targets.append(t)
        large = len(posterior.member) > LARGE
        rivals = _rivals(k, laws, posteriors)
        # Of two laws one is nearer the truth: the way from one to the other is 0 or 1, with these odds.
        odds = evidence(
            [posterior.scatter, *(r.scatter for r in rivals)], [posterior.spare, *(r.spare for r in rivals)]
        )
        chance = odds[1:] / (odds[0] + odds[1:])
        prior = posterior.prior(chance * (1.0 - chance))
        credit.append(float(odds[0] / odds.sum()))
        middle = _mode(posterior, posterior.centred, rivals, prior, finished[k])
        direction = _direction(posterior, middle[1], each, optima)
        thetas = [posterior.centred]
        if direction is not None and not large:
            thetas += [posterior.centred + direction, posterior.centred - direction]
        for i, theta in enumerate(thetas):
            H, P = middle if i == 0 else _mode(posterior, theta, rivals, prior, finished[k])
            G = _gradients(posterior, theta, slots, optima, H.shape[2])
            _disagree(G, slots, posterior, rivals, optima)
            if G:
                found.append((k, theta, H, P, G, i == 0))
    if not found:
        return None
    return _stack(found, targets, posteriors, credit)


def _rivals(k: int, laws: Sequence[AskedLaw], posteriors: Sequence[Posterior]) -> list[Posterior]:
    """Laws that answer a question of law k too. Before any run they are images of one prior: none."""
    mine = {(t.question, t.what) for t in laws[k].targets}
    return [
        posteriors[o]
        for o, other in enumerate(laws)
        if o != k
        and min(posteriors[o].points, posteriors[k].points) > 0
        and mine & {(t.question, t.what) for t in other.targets}
    ]


def _disagree(
    G: dict[int, Floats],
    slots: dict[int, Target],
    posterior: Posterior,
    rivals: Sequence[Posterior],
    optima: Optima,
) -> None:
    """Adds to the gradients [1, d] what each answer would change by were a rival true: its last coordinates."""
    for t, g in G.items():
        if slots[t].what == "fit":
            continue
        for r, rival in enumerate(rivals):
            gap = optima.value(rival, slots[t]) - optima.value(posterior, slots[t])
            if np.isfinite(gap):
                g[0, r - len(rivals)] = gap


def _mode(
    posterior: Posterior, centred: Floats, rivals: Sequence[Posterior], prior: Floats, finished: Ints
) -> tuple[Floats, Floats]:
    """Observation vectors [n, v, d] and the covariance [d, d] after the finished runs."""
    H = posterior.rows(centred, rivals)
    free = prior > 0
    P = np.zeros((len(prior), len(prior)))
    mine = H[finished].reshape(-1, len(prior))[:, free]
    precision = np.diag(1.0 / prior[free]) + mine.T @ mine / posterior.noise.run**2
    P[np.ix_(free, free)] = np.linalg.inv(precision)
    return H, P


def _direction(posterior: Posterior, P: Floats, each: AskedLaw, optima: Optima) -> Floats | None:
    """One standard deviation of theta along the first question [p]."""
    p = len(posterior.centred)
    for target in each.targets:
        g = optima.gradients(posterior, posterior.centred, target)
        if g is not None and len(g) == 1:
            Pg = P[:p, :p] @ g[0]
            step = Pg / np.sqrt(max(float(g[0] @ Pg), 1e-300))
            furthest = _FURTHEST * posterior.sd
            return np.asarray(np.clip(step, -furthest, furthest))
    return None


def _gradients(
    posterior: Posterior, centred: Floats, slots: dict[int, Target], optima: Optima, d: int
) -> dict[int, Floats]:
    """Per answer, gradients in z [k, d]: those that theta has an answer to."""
    found = {}
    for t, target in slots.items():
        g = optima.gradients(posterior, centred, target)
        if g is not None:
            g = g[posterior.sd[: g.shape[1]] > 0] if target.what == "fit" and len(g) > 1 else g
            found[t] = np.concatenate([g, np.zeros((len(g), d - g.shape[1]))], axis=1)
    return found


def _stack(
    found: Sequence[_Found],
    targets: Sequence[Target],
    posteriors: Sequence[Posterior],
    credit: Sequence[float],
) -> State:
    n, K = len(found[0][2]), len(found)
    v, d = (max(entry[2].shape[axis] for entry in found) for axis in (1, 2))
    # A law's parameters as a question are several answers; each gets a column.
    columns = [
        (t, j)
        for t in range(len(targets))
        for j in range(max((len(e[4][t]) for e in found if t in e[4]), default=0))
    ]
    H, P = np.zeros((K, n, v, d)), np.zeros((K, d, d))
    G, weight = np.zeros((K, len(columns), d)), np.zeros((K, len(columns)))
    questions = list(dict.fromkeys((targets[t].question, targets[t].what) for t, _ in columns))
    for k, (law, _, Hk, Pk, Gk, _) in enumerate(found):
        views, have = Hk.shape[1:]
        H[k, :, :views, :have], P[k, :have, :have] = Hk, Pk
        for column, (t, j) in enumerate(columns):
            if t in Gk and j < len(Gk[t]):
                G[k, column, :have] = Gk[t][j]
                weight[k, column] = credit[law]
    # Each question counts the same, however many laws, modes and parameters speak to it: a law as much as it is
    # believed among its rivals.
    for question in questions:
        mine = [c for c, (t, _) in enumerate(columns) if (targets[t].question, targets[t].what) == question]
        weight[:, mine] /= max(weight[:, mine].sum(), 1e-300) * len(questions)
    noise = np.array([posteriors[entry[0]].noise.run ** 2 for entry in found])
    return State(
        Modes(H, P, G, weight, noise),
        tuple(entry[0] for entry in found),
        tuple(entry[1] for entry in found),
        tuple(entry[5] for entry in found),
        tuple(targets[t] for t, _ in columns),
    )
