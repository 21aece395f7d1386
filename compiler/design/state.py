"""Beliefs -> modes: each law at its most probable theta and one standard deviation to either side, in the
direction of the question. A design is averaged over them, so that it doesn't hang on one guess. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from isoloss.compiler.design.ask import Asked
from isoloss.compiler.design.belief import Belief
from isoloss.compiler.design.greedy import Modes
from isoloss.compiler.design.target import Target, gradients
from isoloss.compiler.laws.arrays import Floats, FlopsPerImage, Ints

#: Pools above this size are planned at the most probable theta alone.
LARGE = 3000
#: How far a mode may lie from the belief's centre, in prior standard deviations: half of the prior's width
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


#: Law, theta, H [n, d], P [d, d], gradients per target, most probable.
_Found: TypeAlias = tuple[int, Floats, Floats, Floats, dict[int, Floats], bool]


def state(
    laws: Sequence[Asked],
    beliefs: Sequence[Belief],
    features: Floats,
    finished: Sequence[Ints],
    rule: FlopsPerImage,
) -> State | None:
    """None where no law has an answer to any question at its belief. `finished` rows per law."""
    found: list[_Found] = []
    targets: list[Target] = []
    large = len(features) > LARGE
    for k, (each, belief) in enumerate(zip(laws, beliefs, strict=True)):
        slots = {}
        for t in each.targets:
            slots[len(targets)] = t
            targets.append(t)
        prior = belief.prior(features.shape[1])
        middle = _mode(belief, belief.centred, prior, features, finished[k])
        direction = _direction(belief, middle[1], each, rule)
        thetas = [belief.centred]
        if direction is not None and not large:
            thetas += [belief.centred + direction, belief.centred - direction]
        for i, theta in enumerate(thetas):
            H, P = middle if i == 0 else _mode(belief, theta, prior, features, finished[k])
            G = _gradients(belief, theta, slots, rule, H.shape[1])
            if G:
                found.append((k, theta, H, P, G, i == 0))
    if not found:
        return None
    return _stack(found, targets, beliefs)


def _mode(
    belief: Belief, centred: Floats, prior: Floats, features: Floats, finished: Ints
) -> tuple[Floats, Floats]:
    """Observation vectors [n, d] and the covariance [d, d] after the finished runs."""
    H = belief.rows(centred, features)
    free = prior > 0
    P = np.zeros((len(prior), len(prior)))
    mine = H[finished][:, free]
    precision = np.diag(1.0 / prior[free]) + mine.T @ mine / belief.noise.run**2
    P[np.ix_(free, free)] = np.linalg.inv(precision)
    return H, P


def _direction(belief: Belief, P: Floats, each: Asked, rule: FlopsPerImage) -> Floats | None:
    """One standard deviation of theta along the first question [p]."""
    p = len(belief.centred)
    for target in each.targets:
        g = gradients(belief.law, belief.theta, belief.T, target, rule)
        if g is not None and len(g) == 1:
            Pg = P[:p, :p] @ g[0]
            step = Pg / np.sqrt(max(float(g[0] @ Pg), 1e-300))
            furthest = _FURTHEST * belief.sd
            return np.asarray(np.clip(step, -furthest, furthest))
    return None


def _gradients(
    belief: Belief, centred: Floats, slots: dict[int, Target], rule: FlopsPerImage, d: int
) -> dict[int, Floats]:
    """Per answer, gradients in z [k, d]: those that theta has an answer to."""
    found = {}
    for t, target in slots.items():
        g = gradients(belief.law, belief.T @ centred, belief.T, target, rule)
        if g is not None:
            g = g[belief.sd[: g.shape[1]] > 0] if target.what == "fit" and len(g) > 1 else g
            found[t] = np.concatenate([g, np.zeros((len(g), d - g.shape[1]))], axis=1)
    return found


def _stack(found: Sequence[_Found], targets: Sequence[Target], beliefs: Sequence[Belief]) -> State:
    d = max(entry[2].shape[1] for entry in found)
    n, K = len(found[0][2]), len(found)
    # A law's parameters as a question are several answers; each gets a column.
    columns = [
        (t, j)
        for t in range(len(targets))
        for j in range(max((len(e[4][t]) for e in found if t in e[4]), default=0))
    ]
    H, P = np.zeros((K, n, d)), np.zeros((K, d, d))
    G, weight = np.zeros((K, len(columns), d)), np.zeros((K, len(columns)))
    questions = list(dict.fromkeys((targets[t].question, targets[t].what) for t, _ in columns))
    for k, (_, _, Hk, Pk, Gk, _) in enumerate(found):
        have = Hk.shape[1]
        H[k, :, :have], P[k, :have, :have] = Hk, Pk
        for column, (t, j) in enumerate(columns):
            if t in Gk and j < len(Gk[t]):
                G[k, column, :have] = Gk[t][j]
                weight[k, column] = 1.0
    # Each question counts the same, however many laws, modes and parameters speak to it.
    for question in questions:
        mine = [c for c, (t, _) in enumerate(columns) if (targets[t].question, targets[t].what) == question]
        weight[:, mine] /= max(weight[:, mine].sum(), 1.0) * len(questions)
    noise = np.array([beliefs[entry[0]].noise.run ** 2 for entry in found])
    return State(
        Modes(H, P, G, weight, noise),
        tuple(entry[0] for entry in found),
        tuple(entry[1] for entry in found),
        tuple(entry[5] for entry in found),
        tuple(targets[t] for t, _ in columns),
    )
