"""What is believed of one law: a stated prior, moved by the finished runs. Prior + points -> theta, covariance.

One state for all: z = (theta about the middle of the pool, w of the misfit GP, c of the shared test set), with
prior block-diag(S0, tau^2 I, sigma_c^2) and observations ln L = f(theta) + phi w + c + noise. With no points
the belief is the prior. Pure; source: planning.md Q1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoloss.compiler.design.pool import Pool
from isoloss.compiler.laws.arrays import Bools, Floats, Inputs, Ints
from isoloss.compiler.laws.law import Law

#: Prior, assumed: exponents and quality terms as published (Bartoldson 2024, Approach 2), terms sized at the
#: middle of the pool as theirs are at the middle of theirs (N 4e7, D 2.2e7). Only ratios matter: the level of
#: the loss is as unknown as everything else.
PRIOR = {"alpha": 0.2443, "beta": 0.2281, "zeta": -0.2768, "epsilon": 0.1555}
SHARES = (0.093, 0.21, 0.48)
#: Its width: a factor of e either way for coefficients; exponents by 60 % of themselves and .1.
COEFFICIENT_SD, EXPONENT_SD = 1.0, (0.6, 0.1)
#: Seed noise and misfit of log loss, each (planning.md F6), until residuals say otherwise.
ASSUMED_SD = 0.0035
#: Residual scales outside this range are luck, or a law that is wrong altogether.
SD_RANGE = (0.002, 0.1)
_STEPS = 40


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations of log loss: `run` of single runs, `misfit` of the law, `shared` of the test set."""

    run: float = ASSUMED_SD
    misfit: float = ASSUMED_SD
    shared: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Finished runs of one law: their candidates' rows in the pool [k], mean log losses [k]."""

    rows: Ints
    log_loss: Floats

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """A law's centred theta [p] with its scales: prior sd [p] (0: fixed), T [p, p] (theta = T @ centred),
    `member` [n]: candidates that the study fits this law to; `noise`; `points` behind it."""

    name: str
    law: Law
    centred: Floats
    sd: Floats
    T: Floats
    x: Inputs
    member: Bools
    noise: Noise
    points: int

    @property
    def theta(self) -> Floats:
        return np.asarray(self.T @ self.centred)

    def rows(self, centred: Floats, features: Floats) -> Floats:
        """Observation vectors of all candidates in z [n, p + m + 1]; zero where the law isn't fitted to
        them."""
        J = self.law.jacobian(centred, self.x)
        J = np.where(np.isfinite(J), J, 0.0)
        H = np.concatenate([J, features, np.ones((len(J), 1))], axis=1)
        return H * self.member[:, None]

    def prior(self, features: int) -> Floats:
        """Variances of z before any run [p + m + 1]."""
        noise = self.noise
        return np.concatenate([self.sd**2, np.full(features, noise.misfit**2), [noise.shared**2]])


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


def believe(
    name: str, law: Law, pool: Pool, member: Bools, seen: Seen, features: Floats, shared: float
) -> Belief:
    """The law's belief after the finished runs `seen`."""
    centred_x, T = law.centre(pool.x)
    y = surface(pool)
    use = member if member.sum() > len(law.parameters) else np.ones(len(pool), dtype=bool)
    some = Inputs(centred_x.lnN[use], centred_x.lnD[use], pool.x.fid[use], centred_x.lnX[use])
    fixed = law.unidentified(Inputs(pool.x.lnN[use], pool.x.lnD[use], pool.x.fid[use], pool.x.lnX[use]))
    start = np.array(law.starts(some, y[use], np.ones(int(use.sum())))[0])
    sd = np.array(
        [
            COEFFICIENT_SD if j in law.coefficients else EXPONENT_SD[0] * abs(v) + EXPONENT_SD[1]
            for j, v in enumerate(start)
        ]
    )
    for parameter, (value, _) in fixed.items():
        j = law.parameters.index(parameter)
        start[j], sd[j] = value, 0.0
    belief = Belief(name, law, start, sd, T, centred_x, member, Noise(shared=shared), 0)
    if not len(seen):
        return belief
    # The level of the loss first: the prior knows ratios only.
    shift = float(np.mean(seen.log_loss - y[seen.rows]))
    centre = start.copy()
    for j in law.coefficients:
        if sd[j] > 0:
            centre[j] += shift
    return _Descent(belief, centre, seen, features, y.min(), y.max()).run()


class _Descent:
    """The most probable z, by Levenberg-Marquardt on whitened residuals; then the noise its residuals show,
    and once more with that."""

    def __init__(
        self, belief: Belief, centre: Floats, seen: Seen, features: Floats, low: float, high: float
    ) -> None:
        self.belief, self.centre, self.seen = belief, centre, seen
        self.free = np.flatnonzero(belief.sd > 0)
        self.phi = np.concatenate([features[seen.rows], np.ones((len(seen), 1))], axis=1)
        x = belief.x
        self.x = Inputs(x.lnN[seen.rows], x.lnD[seen.rows], x.fid[seen.rows], x.lnX[seen.rows])
        shift = float(seen.log_loss.mean())
        bounds = belief.law.bounds(belief.x, np.array([low, high]) - 0.5 * (low + high) + shift)
        self.lower, self.upper = (b[self.free] for b in bounds)

    def run(self) -> Belief:
        b, p = self.belief, len(self.free)
        noise, theta = b.noise, self.centre
        for _ in range(2):
            theta, residual = self._solve(noise, theta)
            spare = len(self.seen) - p
            if spare >= 4:
                # Half of the scatter about the law alone is taken for noise, half for misfit (assumed).
                total = float(np.sqrt(residual @ residual / spare))
                sd = float(np.clip(total / np.sqrt(2.0), *SD_RANGE))
                noise = Noise(sd, sd, b.noise.shared)
        return Belief(b.name, b.law, theta, b.sd, b.T, b.x, b.member, noise, len(self.seen))

    def _solve(self, noise: Noise, start: Floats) -> tuple[Floats, Floats]:
        """(theta, residuals of the law alone [k])."""
        b, free = self.belief, self.free
        sd = np.concatenate([np.full(self.phi.shape[1] - 1, noise.misfit), [max(noise.shared, 1e-9)]])
        # w and c are linear: marginalised, they make the residuals' covariance.
        covariance = (self.phi * sd**2) @ self.phi.T + noise.run**2 * np.eye(len(self.seen))
        whiten = np.linalg.inv(np.linalg.cholesky(covariance))
        theta, damping = start.copy(), 1e-2
        theta[free] = np.clip(theta[free], self.lower, self.upper)
        residual, value = self._value(theta, whiten)
        for _ in range(_STEPS):
            J = whiten @ b.law.jacobian(theta, self.x)[:, free]
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
        residual = self.seen.log_loss - self.belief.law.log_prediction(theta, self.x)
        white = whiten @ residual
        free = self.free
        pull = (theta[free] - self.centre[free]) / self.belief.sd[free]
        value = float(white @ white + pull @ pull)
        return residual, value if np.isfinite(value) else float("inf")
