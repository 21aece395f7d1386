"""What is believed of one law: a stated prior, moved by the finished runs. Prior + points -> theta, covariance.

One state for all: z = (theta about the middle of the pool, w of the misfit GP, c of the shared test set), with
prior block-diag(S0, tau^2 I, sigma_c^2) and observations ln L = f(theta) + phi w + c + noise. Where another law
answers the same question, z has one more coordinate: how far the truth lies from this law towards that. Runs of
one cell share phi w, which replicates can't average away; evaluations of one run share most of its noise. With
no points the posterior is the prior. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from isoloss.compiler.design.candidates import Pool, Smooth, spread_out
from isoloss.compiler.laws.arrays import Bools, Floats, Inputs, Ints
from isoloss.compiler.laws.fitting.neighbours import together
from isoloss.compiler.laws.forms.law import Law
from isoloss.compiler.laws.remembered import Remembered

#: Prior, assumed: exponents and quality terms as published (Bartoldson 2024, Approach 2), terms sized at the
#: middle of the pool as theirs are at the middle of theirs (N 4e7, D 2.2e7). Only ratios matter: the level of
#: the loss is as unknown as everything else.
PRIOR = {"alpha": 0.2443, "beta": 0.2281, "zeta": -0.2768, "epsilon": 0.1555}
SHARES = (0.093, 0.21, 0.48)
#: Its width: a factor of e either way for coefficients; exponents by 60 % of themselves and .1.
COEFFICIENT_SD, EXPONENT_SD = 1.0, (0.6, 0.1)
#: Seed noise and misfit of log loss, each, until residuals say otherwise: the lower end of the published fits'
#: (laws/rolling.py).
ASSUMED_SD = 0.0035
#: Residual scales outside this range are luck, or a law that is wrong altogether.
SD_RANGE = (0.002, 0.1)
#: Points of the pool that the prior is fitted to, at most.
SPREAD = 400
_STEPS = 40


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations of log loss: `run` of single runs, `misfit` of the law, `shared` of the test set."""

    run: float = ASSUMED_SD
    misfit: float = ASSUMED_SD
    shared: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Finished runs of one law, an observation each (or several along a curve): their candidates' rows in the
    pool [k], where they were taken, log losses [k]."""

    rows: Ints
    x: Inputs
    log_loss: Floats

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def runs(self) -> Ints:
        """Rows of the pool, each once."""
        return np.unique(self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a law sees of each candidate at one fraction of its training: where it is evaluated, and the
    misfit's features there [n, m]."""

    x: Inputs
    features: Floats

    @classmethod
    def of(cls, pool: Pool, smooth: Smooth, fraction: float) -> View:
        later = float(np.log(fraction))
        x = Inputs(pool.x.lnN, pool.x.lnD + later, pool.x.fid, pool.x.lnX + later)
        return cls(x, smooth(x))


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """A law's centred theta [p] with its scales: prior sd [p] (0: fixed), T [p, p] (theta = T @ centred),
    `views` of the pool, `member` [n]: candidates that the study fits this law to; `noise`; `points`: finished
    runs behind it; `scatter` of their log losses about it (nan: too few to say)."""

    name: str
    law: Law
    centred: Floats
    sd: Floats
    T: Floats
    views: tuple[View, ...]
    member: Bools
    noise: Noise
    points: int = 0
    scatter: float = float("nan")

    @property
    def theta(self) -> Floats:
        return np.asarray(self.T @ self.centred)

    @property
    def spare(self) -> int:
        """Finished runs beyond its free parameters."""
        return self.points - int(np.sum(self.sd > 0))

    def rows(self, centred: Floats, rivals: Sequence[Posterior] = ()) -> Floats:
        """Observation vectors of all candidates in z, one per view, with independent errors of one size
        [n, views, p + m + 1 + rivals]; zero where the law isn't fitted to them."""
        blocks = []
        for view in self.views:
            J = self.law.jacobian(self.T @ centred, view.x) @ self.T
            mine = self.law.log_prediction(self.theta, view.x)
            others = [(r.law.log_prediction(r.theta, view.x) - mine)[:, None] for r in rivals]
            block = np.concatenate([J, view.features, np.ones((len(J), 1)), *others], axis=1)
            blocks.append(np.where(np.isfinite(block), block, 0.0))
        H = np.stack(blocks, axis=1)
        if len(blocks) > 1:
            whiten = np.linalg.inv(np.linalg.cholesky(together(np.zeros(len(blocks), dtype=np.int64))))
            H = whiten @ H
        return np.asarray(H * self.member[:, None, None])

    def prior(self, doubt: Floats) -> Floats:
        """Variances of z before any run [p + m + 1 + rivals]; `doubt`: of the last, the rivals'."""
        features = self.views[0].features.shape[1]
        noise = self.noise
        return np.concatenate([self.sd**2, np.full(features, noise.misfit**2), [noise.shared**2], doubt])


def at(x: Inputs, rows: Ints) -> Inputs:
    """Some of the points."""
    return Inputs(x.lnN[rows], x.lnD[rows], x.fid[rows], x.lnX[rows])


def surface(pool: Pool) -> Floats:
    """ln L of the assumed prior at the candidates [n]."""
    x, (a, b, e) = pool.x, SHARES
    N, D = x.lnN - x.lnN.mean(), x.lnD - x.lnD.mean()
    terms = [
        np.log(a) - PRIOR["alpha"] * N,
        np.log(b) - PRIOR["beta"] * D + PRIOR["zeta"] * x.lnQ,
        np.log(e) + PRIOR["epsilon"] * x.lnQ,
    ]
    return np.asarray(np.logaddexp.reduce(terms))


def posterior_of(
    name: str,
    law: Law,
    pool: Pool,
    member: Bools,
    seen: Seen,
    smooth: Smooth,
    shared: float,
    starts: Remembered[Floats],
    fractions: tuple[float, ...] = (1.0,),
) -> Posterior:
    """The law's posterior after the finished runs `seen`. `fractions` of training at which it looks at a run;
    `starts`: of the priors, from earlier plans of the same pool."""
    centred_x, T = law.centre(pool.x)
    y = surface(pool)
    use = np.flatnonzero(member if member.sum() > len(law.parameters) else np.ones(len(pool), dtype=bool))
    fixed = law.unidentified(at(pool.x, use))
    start = _start(law, pool, centred_x, y, use, starts)
    sd = np.array(
        [
            COEFFICIENT_SD if j in law.coefficients else EXPONENT_SD[0] * abs(v) + EXPONENT_SD[1]
            for j, v in enumerate(start)
        ]
    )
    for parameter, (value, _) in fixed.items():
        j = law.parameters.index(parameter)
        start[j], sd[j] = value, 0.0
    views = tuple(View.of(pool, smooth, fraction) for fraction in fractions)
    posterior = Posterior(name, law, start, sd, T, views, member, Noise(shared=shared))
    if not len(seen):
        return posterior
    # The level of the loss first: the prior knows ratios only.
    level = float(np.mean(seen.log_loss - y[seen.rows]))
    centre = start.copy()
    for j in law.coefficients:
        if sd[j] > 0:
            centre[j] += level
    middle = float(seen.log_loss.mean()) - 0.5 * (y.min() + y.max())
    bounds = law.bounds(centred_x, np.array([y.min(), y.max()]) + middle)
    return _Descent(posterior, centre, seen, smooth(seen.x), bounds).run()


def _start(
    law: Law, pool: Pool, centred_x: Inputs, y: Floats, use: Ints, starts: Remembered[Floats]
) -> Floats:
    """Centred theta [p] of the law on the assumed surface at these candidates."""
    # Replicates say nothing new about where the prior lies, nor do thousands of neighbours.
    use = use[np.unique(pool.coordinates[use], axis=0, return_index=True)[1]]
    use = np.sort(spread_out(use, pool.coordinates, SPREAD))
    some = at(centred_x, use)
    key = (law.name, some.lnN.tobytes(), some.lnD.tobytes(), some.fid.tobytes(), y[use].tobytes())
    return starts.get(key, lambda: np.array(law.starts(some, y[use], np.ones(len(use)))[0])).copy()


class _Descent:
    """The most probable z, by Levenberg-Marquardt on whitened residuals; then the noise its residuals show,
    and once more with that. `features`: of the misfit where they were seen [k, m]; `bounds` [p] of centred
    theta."""

    def __init__(
        self,
        posterior: Posterior,
        centre: Floats,
        seen: Seen,
        features: Floats,
        bounds: tuple[Floats, Floats],
    ) -> None:
        self.posterior, self.centre, self.seen = posterior, centre, seen
        self.free = np.flatnonzero(posterior.sd > 0)
        self.phi = np.concatenate([features, np.ones((len(seen), 1))], axis=1)
        self.lower, self.upper = (b[self.free] for b in bounds)

    def run(self) -> Posterior:
        b, p = self.posterior, len(self.free)
        noise, theta, total = b.noise, self.centre, float("nan")
        for _ in range(2):
            theta, residual = self._solve(noise, theta)
            spare = len(self.seen) - p
            if spare >= 4:
                # Half of the scatter about the law alone is taken for noise, half for misfit (assumed).
                total = float(np.sqrt(residual @ residual / spare))
                sd = float(np.clip(total / np.sqrt(2.0), *SD_RANGE))
                noise = Noise(sd, sd, b.noise.shared)
        return replace(b, centred=theta, noise=noise, points=len(self.seen.runs), scatter=total)

    def _solve(self, noise: Noise, start: Floats) -> tuple[Floats, Floats]:
        """(theta, residuals of the law alone [k])."""
        b, free = self.posterior, self.free
        sd = np.concatenate([np.full(self.phi.shape[1] - 1, noise.misfit), [max(noise.shared, 1e-9)]])
        # w and c are linear: marginalised, they make the residuals' covariance.
        covariance = (self.phi * sd**2) @ self.phi.T + noise.run**2 * together(self.seen.rows)
        whiten = np.linalg.inv(np.linalg.cholesky(covariance))
        theta, damping = start.copy(), 1e-2
        theta[free] = np.clip(theta[free], self.lower, self.upper)
        residual, value = self._value(theta, whiten)
        for _ in range(_STEPS):
            J = whiten @ (b.law.jacobian(b.T @ theta, self.seen.x) @ b.T)[:, free]
            white = whiten @ residual
            pull = (self.centre[free] - theta[free]) / b.sd[free] ** 2
            A = J.T @ J + np.diag(b.sd[free] ** -2.0)
            step = np.linalg.solve(A + damping * np.diag(np.diag(A)), J.T @ white + pull)
            tried = theta.copy()
            tried[free] = np.clip(theta[free] + step, self.lower, self.upper)
            new, better = self._value(tried, whiten)
            if better < value:
                small = value - better < 1e-9 * (1.0 + value)
                theta, residual, value, damping = tried, new, better, max(damping / 10, 1e-9)
                if small:
                    break
            else:
                damping *= 10
                if damping > 1e8:
                    break
        return theta, residual

    def _value(self, theta: Floats, whiten: Floats) -> tuple[Floats, float]:
        b = self.posterior
        residual = self.seen.log_loss - b.law.log_prediction(b.T @ theta, self.seen.x)
        white = whiten @ residual
        free = self.free
        pull = (theta[free] - self.centre[free]) / b.sd[free]
        value = float(white @ white + pull @ pull)
        return residual, value if np.isfinite(value) else float("inf")
