"""y = A x^B, a straight line on log-log paper.

Of loss in images, params or FLOPs (`FitOptions.x`), or of adversarial error in the perturbation bound: Cubuk
et al. 2017 (arXiv:1711.02846) find error(eps) = clean accuracy - accuracy(eps) ~ A eps^B at small eps, B
about .9 to 1.3. They state no fitting procedure: declare the window (`window` keeps lo <= x <= hi and y above
a count of `least` examples) and report how B moves with it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs
from isoloss.compiler.laws.forms.law import TermLaw
from isoloss.compiler.laws.points import Points


class PowerLaw(TermLaw):
    name = "powerlaw"
    parameters = ("A", "B")
    logs = frozenset({"A"})
    two_dimensional = False
    term_of = (0, 0)
    intercepts = (0,)
    slope_bounds: ClassVar = {"B": (-10.0, 10.0)}

    def features(self, x: Inputs) -> list[Floats]:
        return [np.ones_like(x.lnX), x.lnX]

    def centre(self, x: Inputs) -> tuple[Inputs, Floats]:
        m = float(np.mean(x.lnX))
        T = np.eye(2)
        T[0, 1] = -m
        return Inputs(x.lnN, x.lnD, x.fid, x.lnX - m), T

    def starts(self, x: Inputs, y: Floats, weight: Floats) -> Floats:
        """Weighted least squares in logs: exact for least squares, and the engine goes on from there."""
        total = weight.sum()
        mx, my = float(x.lnX @ weight / total), float(y @ weight / total)
        spread = float((x.lnX - mx) ** 2 @ weight)
        slope = float((x.lnX - mx) * (y - my) @ weight / spread) if spread > 0 else 0.0
        return np.array([[my - slope * mx, slope]])

    def unidentified(self, x: Inputs) -> dict[str, tuple[float, str]]:
        if np.ptp(x.lnX) < 1e-9:
            return {"B": (0.0, "every point has the same x")}
        return {}


def window(
    points: Points, low: float, high: float, *, examples: int | None = None, least: int = 20
) -> Points:
    """Points with low <= x <= high, and where `examples` says how many test images are behind each value,
    those with value * examples >= `least`: below, counting noise bends the line."""
    keep = (points.x >= low) & (points.x <= high)
    if examples is not None:
        keep &= points.loss * examples >= least
    return points.select(keep)
