"""Which networks exist: the real members of the grids' families, or of named ones, at their exact cost per image.

In: the grids' networks, a recipe. Out: candidates for what an allocation may train (objectives.py). Pure.
Legend: N parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.compiler.cost import passes as cost_rule
from isoloss.compiler.cost.architectures import Architecture, count, members
from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.plan import Component


@dataclass(frozen=True, slots=True)
class Network:
    """A member of a family with what it costs to train, per image drawn; `counted` of one image, forward."""

    model: Component
    params: int
    flops_per_image: float
    counted: Architecture


def buildable(
    models: Sequence[Component],
    dataset: Component,
    loss: Component,
    attack: Component,
    perturb: Component = cost_rule.NO_PERTURB,
    families: Sequence[str] = (),
) -> tuple[Network, ...]:
    """Members of `families`, or of those of the grids' networks, shaped like the latter, by size.

    A law in N and D knows nothing of shape: depths stay within those of the grids; a family that they don't
    have is taken as it is. Sizes are free upwards and go down to the grids' smallest. The grids' own networks
    of these families are always among them."""
    found: dict[str, Network] = {}
    rule = cost_rule.passes(loss, attack, perturb)
    smallest = min(count(m, dataset).params for m in models)
    for kind in families or dict.fromkeys(m["kind"] for m in models):
        mine = [m for m in models if m["kind"] == kind]
        depths = [int(m["depth"]) for m in mine if "depth" in m]
        for model in (*mine, *members(kind)):
            if depths and not min(depths) <= int(model["depth"]) <= max(depths):
                continue
            counted = count(model, dataset)
            if counted.params >= smallest:
                network = Network(model, counted.params, rule * counted.forward_flops, counted)
                found.setdefault(str(sorted(model.items())), network)
    return tuple(sorted(found.values(), key=lambda n: (n.params, n.flops_per_image, str(n.model))))


def per_image_rule(networks: Sequence[Network]) -> Callable[[Floats], Floats]:
    """N -> FLOPs per image of a typical network of that size: the ratio to N interpolated in ln N over
    medians of
    narrow classes of size (5 %), constant beyond the family's ends."""
    sizes = np.log([n.params for n in networks])
    ratios = np.array([n.flops_per_image / n.params for n in networks])
    classes = np.floor(sizes / 0.05)
    groups = [np.flatnonzero(classes == c) for c in np.unique(classes)]
    knots = np.array([np.median(sizes[g]) for g in groups])
    levels = np.array([np.median(ratios[g]) for g in groups])

    def rule(params: Floats) -> Floats:
        N = np.asarray(params, dtype=np.float64)
        return np.asarray(N * np.interp(np.log(N), knots, levels))

    return rule


def nearest(networks: Sequence[Network], params: float) -> Network:
    """The network whose size is closest to `params` in ratio: for laws that predict no single run."""
    return min(networks, key=lambda n: (abs(math.log(n.params / params)), n.params))
