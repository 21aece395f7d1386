"""How well could any choice of cells do? A bound for `benchmarks/design.py`, by convex relaxation.

    python benchmarks/design_bound.py --seeds 8

An oracle that knows the law's form and constants, and how large noise and misfit are, buys candidates, fractions of
them too, and answers by the best linear estimate. Log variances of answers are convex in what is bought, so that by
Lagrange's duality every weighing of the two questions gives a bound: no choice at this budget leaves max(sd loss /
whole grid's, sd ln N* / whole grid's) below it. Standard deviations, linearised at the truth; the planner knows none
of it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).parent))
from design_draws import FIRST, SHARES
from paper_grid import (
    ALLOCATE,
    FID,
    FORECAST,
    REPLICATES,
    World,
    columns,
    correlation,
    designed,
    draw,
    grid,
    of_cell,
    paper,
    places,
    whole,
)
from universes import UNIVERSES

from isoloss.compiler.design.target import Target, gradients, optimum
from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.laws.fitting.fit import fit_law
from isoloss.compiler.laws.fitting.options import FitOptions
from isoloss.compiler.laws.forms.solve import constant_rule
from isoloss.compiler.laws.points import Points

#: Weights of the loss that are tried; 1 and 0 bound one question alone.
WEIGHTS = (0.0, 0.5, 0.65, 0.75, 0.85, 1.0)
LAWS = ("approach2", "approach3")
#: Eigenvalues of the misfit's correlation that matter, as shares of the largest.
_MATTERS = 1e-5
#: Prior sd of centred parameters: wide, so that the oracle's data decide.
_WIDE = 3.0


@dataclass(frozen=True, eq=False)
class Oracle:
    """`H` [n, d] observation vectors, `prior` [d] variances, `G` [2, d] gradients of loss and ln N*, `noise`
    variance, `cost` [n] as shares of the grid's."""

    H: Floats
    prior: Floats
    G: Floats
    noise: float
    cost: Floats

    @classmethod
    def of(cls, world: World, universe: int) -> Oracle:
        """Raises ValueError where the universe's law is none of LAWS."""
        if universe >= len(LAWS):
            raise ValueError(f"universe {universe} has no law of ours")
        rows = list(places())
        N, D, F = (c[rows] for c in columns(paper()[1]))
        points = Points.build(N, D, np.exp(world.exact[rows]), fid=F)
        fit = fit_law(LAWS[universe], points, FitOptions(resamples=0, max_starts=6, rolling=False))
        x = points.inputs()
        _, T = fit.law.centre(x)
        asked = (Target("loss", "loss", "", FORECAST, 0.0), Target("size", "size", "", ALLOCATE, FID))
        found = [
            gradients(fit.law, fit.theta, T, t, optimum(fit.law, fit.theta, t, constant_rule)) for t in asked
        ]
        values, vectors = np.linalg.eigh(correlation())
        keep = values > _MATTERS * values.max()
        features = vectors[:, keep] * np.sqrt(values[keep])
        H = np.concatenate([fit.law.jacobian(fit.theta, x) @ T, features], axis=1)
        p = H.shape[1] - features.shape[1]
        G = np.zeros((2, H.shape[1]))
        for t, g in enumerate(found):
            assert g is not None, "the truth has an optimum"
            G[t, :p] = g[0]
        prior = np.concatenate([np.full(p, _WIDE**2), np.full(features.shape[1], world.misfit**2)])
        flops = np.array([paper()[2][i].flops for i in rows])
        return cls(H, prior, G, world.noise**2, flops / whole())

    def variances(self, bought: Floats) -> tuple[Floats, Floats]:
        """Of the two answers [2] for what is bought of each cell [n], and their derivatives [n, 2]."""
        precision = np.diag(1.0 / self.prior) + (self.H.T * bought) @ self.H / self.noise
        PG = np.linalg.solve(precision, self.G.T)
        return np.einsum("td,dt->t", self.G, PG), -((self.H @ PG) ** 2) / self.noise

    def least(self, share: float, weight: float, most: Floats) -> float:
        """Bound of weight * ln V(loss) + (1 - weight) * ln V(ln N*) for any choice within this share that buys at most
        so many of each cell [n]."""
        w = np.array([weight, 1.0 - weight])
        x, low, high, best = np.full(len(self.cost), share), -2.0, 3.0, -np.inf
        for _ in range(9):
            price = 10.0 ** (0.5 * (low + high))

            def value(x: Floats, price: float = price) -> tuple[float, Floats]:
                V, dV = self.variances(x)
                return float(w @ np.log(V) + price * (self.cost @ x - share)), dV @ (
                    w / V
                ) + price * self.cost

            found = minimize(
                value,
                x,
                jac=True,
                method="L-BFGS-B",
                bounds=[(0, m) for m in most],
                options={"maxiter": 80},
            )
            # Its linear lower bound at the point reached: convex, so that unfinished descents bound too.
            slope = value(found.x)[1]
            best = max(
                best,
                float(found.fun)
                - float(np.sum(np.where(slope > 0, slope * found.x, slope * (found.x - most)))),
            )
            x = found.x
            if self.cost @ x > share:
                low = np.log10(price)
            else:
                high = np.log10(price)
        return best


def bounds(world: World, universe: int, share: float) -> Floats:
    """Ratios of standard deviations over the whole grid's: least for loss alone, for ln N* alone, for the worse of
    both, for that from the grid alone, then those of the planner's own choice [6]."""
    oracle = Oracle.of(world, universe)
    whole_grid = np.isin(places(), grid()).astype(float)
    once = oracle.variances(whole_grid)[0]
    least, alone = (
        np.array(
            [
                0.5 * (oracle.least(share, w, most) - w * np.log(once[0]) - (1 - w) * np.log(once[1]))
                for w in WEIGHTS
            ]
        )
        for most in (np.full(len(whole_grid), float(REPLICATES)), whole_grid)
    )
    mine = np.bincount(of_cell()[designed(world, share)], minlength=len(oracle.cost)).astype(float)
    planned = np.sqrt(oracle.variances(mine)[0] / once)
    return np.array([*np.exp([least[-1], least[0], least.max(), alone.max()]), *planned])


def table(seeds: int, first: int, shares: Sequence[float] = SHARES) -> str:
    """Means over seeds."""
    lines = [
        "| law | FLOPs / grid's | loss alone | ln N* alone | the worse of both | from the grid alone "
        "| choice of `design`: loss | ln N* |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for universe in range(len(LAWS)):
        for share in shares:
            each = [bounds(draw(universe, first + s), universe, share) for s in range(seeds)]
            shown = " | ".join(f"{v:.2f}" for v in np.mean(each, axis=0))
            lines.append(f"| {UNIVERSES[universe].name} | {share:.0%} | {shown} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--share", type=float, action="append", help="of the grid's FLOPs; may be repeated")
    arguments = parser.parse_args()
    print(table(arguments.seeds, FIRST, arguments.share or SHARES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
