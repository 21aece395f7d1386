"""One least-squares problem: a law, points and options in centred coordinates, solved from all starts and for all
resamples at once.

In: what fit.py and staged.py choose. Out: Solutions; refits of the same law on other points. Pure."""

from __future__ import annotations

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Inputs, Ints
from isoloss.compiler.laws.fitting.bootstrap import run_weights
from isoloss.compiler.laws.fitting.correlated import Box, Correlated, Errors, fit_correlated, refit_correlated
from isoloss.compiler.laws.fitting.descend import Solution, descend
from isoloss.compiler.laws.fitting.fitted import LawFit
from isoloss.compiler.laws.fitting.options import FitOptions
from isoloss.compiler.laws.fitting.residuals import Kernel, kernel_for
from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.laws.points import Points

#: Wide Huber thresholds on the way to the wanted one. With residuals far outside delta the objective is
#: almost a sum of absolute values, whose valleys Newton descends kink by kink; wide thresholds smooth them.
_HOMOTOPY = (0.1, 0.01, 1e-3, 1e-4, 1e-6)
#: Taken from the best points again where few starts agreed.
_FINE = (0.01, 6e-3, 4e-3, 2.5e-3, 1.5e-3, 1e-3, 5e-4, 2e-4, 1e-4, 1e-5, 1e-6, 1e-7)
#: Starts count as agreeing when their objective is within this of the best, relatively.
AGREE = 1e-6
#: Points per free parameter below which a refit tells of its own noise, not of the law.
FEWEST_HELD = 2
#: A log residual of 1e-10 is rounding: below its square per point, objectives don't differ.
EXACT = 1e-20


def inputs_of(law: Law, points: Points, options: FitOptions) -> Inputs:
    """Unknown FIDs, if all are unknown, count as 0: law.unidentified then fixes what they'd determine."""
    x = points.inputs(options.x)
    if law.uses_fid and np.isnan(x.fid).all():
        x = Inputs(x.lnN, x.lnD, np.zeros_like(x.fid), x.lnX)
    return x


class Problem:
    """One fit in centred coordinates: the engine's view of law, points and options."""

    def __init__(
        self,
        law: Law,
        x: Inputs,
        y: Floats,
        weight: Floats,
        fixed: dict[str, tuple[float, str]],
        options: FitOptions,
    ) -> None:
        self.law, self.y, self.weight, self.options = law, y, weight, options
        self.x, self.T = law.centre(x)
        self.lower, self.upper = (b.copy() for b in law.bounds(self.x, y))
        for name, (value, _) in fixed.items():
            i = law.parameters.index(name)
            self.lower[i] = self.upper[i] = value
        self.kernel: Kernel = kernel_for(law, self.x, y)

    def natural(self, theta: Floats) -> Floats:
        """theta in the law's own coordinates, from centred ones."""
        return np.asarray(theta @ self.T.T)

    def solve(self) -> tuple[Solution, float, int]:
        """The best of all starts, the share of starts that reach it, and how many there were."""
        starts = np.clip(self.law.starts(self.x, self.y, self.weight), self.lower, self.upper)
        starts = starts[: self.options.max_starts]
        found = self._descend(starts, self.weight, self._down(_HOMOTOPY), passes=25)
        if np.mean(found.value <= found.value.min() * (1 + AGREE)) < 0.5:
            ranked = found.theta[np.argsort(found.value, kind="stable")]
            found = self._descend(ranked, self.weight, self._down(_FINE), passes=60)
        first = found.theta[int(np.nanargmin(found.value))][None, :]
        best = self._polish(first)
        share = float(np.mean(found.value <= best.value * (1 + AGREE) + EXACT * len(self.y)))
        return best, share, len(starts)

    def rough(self, near: Floats) -> Floats:
        """The best of a few starts, one of them `near` (natural coordinates), without polish."""
        grid = self.law.starts(self.x, self.y, self.weight)[:3]
        starts = np.vstack([np.linalg.solve(self.T, near), grid])
        starts = np.clip(starts, self.lower, self.upper)
        found = self._descend(starts, self.weight, self._down((0.1, 0.01)), passes=25, tolerance=1e-7)
        return np.asarray(found.theta[int(np.nanargmin(found.value))])

    @property
    def box(self) -> Box:
        return Box(self.law, self.x, self.lower, self.upper)

    def correlated(self, start: Floats, points: Points) -> Correlated:
        """The optimum of correlated errors near the one of independent ones."""
        options = self.options
        errors = Errors(points, inputs_of(self.law, points, options))
        return fit_correlated(self.box, errors, self.y, start, options.resamples, options.seed)

    def resample(self, best: Solution, run: Ints) -> Floats:
        """Refits [r, p] with runs drawn with replacement, as weights on the same points."""
        return self.resample_with(
            best, run_weights(run, self.options.resamples, self.options.seed) * self.weight
        )

    def resample_with(self, best: Solution, draws: Floats) -> Floats:
        """Refits [r, p] with these weights [r, n]."""
        if not len(draws):
            return np.empty((0, len(best.theta[0])))
        starts = np.repeat(best.theta, len(draws), axis=0)
        return self._descend(starts, draws, self._down((0.01,)), passes=30, tolerance=1e-8).theta

    def _polish(self, theta: Floats) -> Solution:
        """The tight descent. A coefficient that creeps towards zero (its log towards minus infinity, through
        ever flatter ground) is tried at its bound."""
        best = self._descend(theta, self.weight, (self.options.delta,), passes=300, tolerance=1e-13)
        if best.converged[0]:
            return best
        slope = self.kernel(best.theta, self.weight, self.options.delta).gradient[0]
        creeping = [i for i in self.law.coefficients if slope[i] > 0 and self.lower[i] < self.upper[i]]
        trials = np.repeat(best.theta, len(creeping) + 1, axis=0)
        for row, i in enumerate(creeping):
            trials[row, i] = self.lower[i]
        tried = self._descend(trials, self.weight, (self.options.delta,), passes=600, tolerance=1e-13)
        k = int(np.argmin(tried.value))
        return Solution(tried.theta[k : k + 1], tried.value[k : k + 1], tried.converged[k : k + 1])

    def descend_between(self, starts: Floats, weight: Floats, bounds: tuple[Floats, Floats]) -> Solution:
        """From each start within its own bounds [b, p]: a stage that freezes what an earlier one found."""
        deltas = self._down((0.1, 0.01))
        return descend(self.kernel, starts, weight, bounds, deltas, tolerance=1e-11, max_passes=100)

    def _down(self, homotopy: tuple[float, ...]) -> tuple[float, ...]:
        """From wide thresholds to the wanted one."""
        return (*(d for d in homotopy if d > self.options.delta), self.options.delta)

    def _descend(
        self, starts: Floats, weight: Floats, deltas: tuple[float, ...], passes: int, tolerance: float = 1e-9
    ) -> Solution:
        return descend(self.kernel, starts, weight, (self.lower, self.upper), deltas, tolerance, passes)

    def at_bound(self, theta: Floats) -> tuple[str, ...]:
        """Names of free parameters at the edge of their range."""
        width = self.upper - self.lower
        touching = (theta <= self.lower + 1e-9 * width) | (theta >= self.upper - 1e-9 * width)
        return tuple(n for n, t, w in zip(self.law.parameters, touching, width, strict=True) if t and w > 0)


def refit(fit: LawFit, points: Points, options: FitOptions) -> Floats | None:
    """theta [p] of the same law on other points, roughly (relative objective 1e-6): for scoring on held-out
    runs. From the given fit and the best grid starts, so that what only the dearest runs showed can be
    unlearnt. None where the points are too few."""
    x = inputs_of(fit.law, points, options)
    fixed = fit.law.unidentified(x)
    if len(points) < FEWEST_HELD * (len(fit.theta) - len(fixed)):
        return None
    problem = Problem(fit.law, x, np.log(points.loss), points.weight, fixed, options)
    near = problem.rough(fit.theta)
    if options.errors == "correlated":
        near = refit_correlated(problem.box, Errors(points, x), problem.y, near, fit.settings["misfit_share"])
    return problem.natural(near)
