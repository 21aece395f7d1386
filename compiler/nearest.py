"""N* and D* -> a network that exists: search the family's real members at their exact cost per image.

In: a law (or portfolio), a compute budget, candidate networks. Out: the best one, or within an allowed
overhead
the smallest that reaches the same loss. Pure and deterministic. Legend: N parameters, C FLOPs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoloss.compiler import passes as cost_rule
from isoloss.compiler.architectures import count, members
from isoloss.compiler.laws.fitted import LawFit
from isoloss.compiler.plan import Component
from isoloss.compiler.portfolio import Portfolio

Predictor = LawFit | Portfolio
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Network:
    """A member of a family with what it costs to train, per image drawn."""

    model: Component
    params: int
    flops_per_image: float


def buildable(
    models: Sequence[Component],
    dataset: Component,
    loss: Component,
    attack: Component,
    perturb: Component = cost_rule.NO_PERTURB,
) -> tuple[Network, ...]:
    """Members of the grids' families shaped like the grids' networks, by size.

    A law in N and D knows nothing of shape: depths stay within those of the grids. Sizes are free upwards and
    go down to the grids' smallest. The grids' own networks are always among them."""
    found: dict[str, Network] = {}
    rule = cost_rule.passes(loss, attack, perturb)
    smallest = min(count(m, dataset).params for m in models)
    for kind in dict.fromkeys(m["kind"] for m in models):
        mine = [m for m in models if m["kind"] == kind]
        depths = [int(m["depth"]) for m in mine if "depth" in m]
        for model in (*mine, *members(kind)):
            if depths and not min(depths) <= int(model["depth"]) <= max(depths):
                continue
            counted = count(model, dataset)
            if counted.params >= smallest:
                network = Network(model, counted.params, rule * counted.forward_flops)
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


@dataclass(frozen=True, slots=True)
class Allocation:
    """`network` trained for `flops` <= compute (1 + overhead). `best` is the network of lowest predicted
    loss at
    the plain compute, which `network` replaces when it is smaller and as good."""

    network: Network
    flops: float
    best: Network


def allocate(
    law: Predictor, networks: Sequence[Network], compute: float, fid: float, overhead: float
) -> Allocation | None:
    """None where the law predicts no loss for any network."""
    losses = _losses(law, networks, compute, fid)
    if not np.isfinite(losses).any():
        return None
    # Losses equal to ten digits are equal: then the smaller network, not the solver's last bit, decides.
    keys = [float(f"{v:.10g}") if math.isfinite(v) else math.inf for v in losses]
    at = min(range(len(networks)), key=lambda i: (keys[i], networks[i].params, i))
    best = networks[at]
    if overhead <= 0:
        return Allocation(best, compute, best)
    richer = _losses(law, networks, compute * (1 + overhead), fid)
    for i, network in enumerate(networks):
        if network.params < best.params and richer[i] <= keys[at]:
            return Allocation(network, _enough(law, network, keys[at], compute, overhead, fid), best)
    return Allocation(best, compute, best)


def nearest(networks: Sequence[Network], params: float) -> Network:
    """The network whose size is closest to `params` in ratio: for laws that predict no single run."""
    return min(networks, key=lambda n: (abs(math.log(n.params / params)), n.params))


def _losses(law: Predictor, networks: Sequence[Network], flops: float, fid: float) -> Floats:
    params = np.array([float(n.params) for n in networks])
    each = np.array([n.flops_per_image for n in networks])
    with np.errstate(all="ignore"):
        return np.asarray(law.predict_many(params, flops / each, fid).mid, dtype=np.float64)


def _enough(
    law: Predictor, network: Network, loss: float, compute: float, overhead: float, fid: float
) -> float:
    """The least compute in [compute, compute (1 + overhead)] at which this network reaches `loss`:
    bisection."""
    low, high = compute, compute * (1 + overhead)
    for _ in range(40):
        middle = 0.5 * (low + high)
        if _losses(law, [network], middle, fid)[0] <= loss:
            high = middle
        else:
            low = middle
    return high
