"""The choice itself: which affordable candidates leave the answers' variance smallest. "Kalman greedy".

In: observation vectors of the candidates in the state z, per mode (a law at one theta), its covariance, the
answers' gradients, costs. Out: chosen candidates, and what every candidate is worth. Variances need no
results, so a batch is planned at once. Pure and deterministic: ties go to the lower index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from isoloss.compiler.design.candidates import Pool
from isoloss.compiler.laws.arrays import Bools, Floats, Ints

#: Gains are divided by cost to these powers; the best final variance wins. 0 buys what tells most whatever it
#: costs, 1 what tells most per FLOP.
POWERS = (0.0, 0.25, 0.4, 0.5, 0.75, 1.0)
#: Buying stops when no remaining run lowers the answers' mean log variance by more than this.
WORTHLESS = 1e-6
#: Swaps tried at the end, at most, over all of the plan: bounds the time.
SWAPS = 120


@dataclass(frozen=True, slots=True, eq=False)
class Modes:
    """Laws at one theta each, padded to one length d of z: `H` [K, n, v, d] observation vectors of what a run
    shows (one number, or v along its curve; padded with zeros, which tell nothing), `P` [K, d, d] covariance
    before any choice, `G` [K, t, d] gradients, `weight` [K, t] summing to 1 (0: not asked of this law), `noise`
    [K] variance of a single observation, independent of all others."""

    H: Floats
    P: Floats
    G: Floats
    weight: Floats
    noise: Floats


class Covariance:
    """The covariance while runs are added: P [K, d, d]; of all candidates var(y) [K, n, v, v] and cov(y, answer)
    [K, n, v, t]; V [K, t] of the answers."""

    def __init__(self, modes: Modes) -> None:
        self.modes = modes
        self.P = modes.P.copy()
        self.cross: Floats
        self.var: Floats
        self.V: Floats
        self._refresh()

    def _refresh(self) -> None:
        m = self.modes
        HP = m.H @ self.P[:, None]
        self.var = HP @ m.H.swapaxes(2, 3)
        self.cross = HP @ m.G.swapaxes(1, 2)[:, None]
        self.V = np.einsum("ktd,kde,kte->kt", m.G, self.P, m.G)

    def copy(self) -> Covariance:
        twin = object.__new__(Covariance)
        twin.modes, twin.P = self.modes, self.P.copy()
        twin.cross, twin.var, twin.V = self.cross.copy(), self.var.copy(), self.V.copy()
        return twin

    def weighing(self, weight: Floats) -> Covariance:
        """The same, with other weights of the answers [K, t]."""
        twin = self.copy()
        twin.modes = replace(self.modes, weight=weight)
        return twin

    def add(self, i: int, sign: float = 1.0) -> None:
        """Condition on a run of candidate i; with `sign` -1 forget one."""
        m = self.modes
        # One observation after the other: their errors are independent.
        for h in m.H[:, i].swapaxes(0, 1):
            u = np.einsum("kde,ke->kd", self.P, h)
            s = m.noise * sign + np.einsum("kd,kd->k", u, h)
            Hu = np.einsum("knvd,kd->knv", m.H, u)
            gu = np.einsum("ktd,kd->kt", m.G, u)
            per = Hu / s[:, None, None]
            self.P -= u[:, :, None] * (u / s[:, None])[:, None, :]
            self.var -= per[:, :, :, None] * Hu[:, :, None, :]
            self.cross -= per[:, :, :, None] * gu[:, None, None, :]
            self.V -= gu**2 / s[:, None]

    def add_all(self, rows: Ints) -> None:
        """Condition on one run of each of these at once."""
        m = self.modes
        H = m.H[:, rows].reshape(len(m.H), -1, m.H.shape[3])
        information = H.swapaxes(1, 2) @ H / m.noise[:, None, None]
        # (I + P M)^-1 P holds where P is singular: fixed parameters and padding stay as they are.
        P = np.linalg.solve(np.eye(self.P.shape[1]) + self.P @ information, self.P)
        self.P = 0.5 * (P + P.swapaxes(1, 2))
        self._refresh()

    def reduction(self) -> Floats:
        """What each candidate takes from the variance of each answer, relatively: [K, n, t] in [0, 1]."""
        floor = np.maximum(self.V, 1e-300)[:, None, :]
        if self.var.shape[2] == 1:
            total = np.maximum(self.var[:, :, 0], 0.0) + self.modes.noise[:, None, None]
            taken = self.cross[:, :, 0] ** 2 / total
        else:
            total = self.var + self.modes.noise[:, None, None, None] * np.eye(self.var.shape[2])
            taken = np.sum(self.cross * np.linalg.solve(total, self.cross), axis=2)
        return np.asarray(np.clip(taken / floor, 0.0, 1.0 - 1e-12))

    def worth(self) -> Floats:
        """Fall of the mean log variance of the answers by each candidate [n]."""
        return np.asarray(-np.einsum("knt,kt->n", np.log1p(-self.reduction()), self.modes.weight))

    def gain(self) -> Floats:
        """Relative variance reduction of the answers by each candidate [n], in [0, 1]."""
        return np.asarray(np.einsum("knt,kt->n", self.reduction(), self.modes.weight))

    def gain_of(self, columns: Sequence[int]) -> Floats:
        """`gain` of these answers alone [n]."""
        mine = list(columns)
        weight = self.modes.weight[:, mine]
        return np.asarray(np.einsum("knt,kt->n", self.reduction()[:, :, mine], weight / weight.sum()))

    def score(self) -> float:
        """Mean log variance of the answers: what a design makes small."""
        return float(np.sum(np.log(np.maximum(self.V, 1e-300)) * self.modes.weight))


class Spending:
    """What candidates still cost: own jobs, and shared ones that nobody has bought yet."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.held = np.zeros(len(pool.shared), dtype=np.int64)
        self.price = pool.own.copy()
        for k, users in enumerate(pool.users):
            self.price[users] += pool.shared[k]
        self.spent = 0.0

    def copy(self) -> Spending:
        twin = object.__new__(Spending)
        twin.pool, twin.held, twin.price, twin.spent = (
            self.pool,
            self.held.copy(),
            self.price.copy(),
            self.spent,
        )
        return twin

    def buy(self, i: int) -> None:
        self.spent += float(self.price[i])
        for k in self.pool.needs[i]:
            self.held[k] += 1
            if self.held[k] == 1:
                self.price[self.pool.users[k]] -= self.pool.shared[k]

    def sell(self, i: int) -> None:
        for k in self.pool.needs[i]:
            self.held[k] -= 1
            if self.held[k] == 0:
                self.price[self.pool.users[k]] += self.pool.shared[k]
        self.spent -= float(self.price[i])


@dataclass(frozen=True, slots=True, eq=False)
class Bought:
    """Candidates in the order of buying; the state after them."""

    order: tuple[int, ...]
    covariance: Covariance
    spending: Spending

    @property
    def score(self) -> float:
        return self.covariance.score()


def buy(
    modes: Modes,
    spending: Spending,
    open: Bools,
    limit: float,
    powers: Sequence[float] = POWERS,
    covariance: Covariance | None = None,
    *,
    swaps: bool = True,
) -> Bought:
    """The best of greedy choices under all powers, then improved by swaps. What `spending` holds is bought
    already and counts in `limit`; only candidates in `open` [n] may be added. `covariance`: the covariance to start
    from, if not that of `modes`."""
    covariance = Covariance(modes) if covariance is None else covariance
    found = [_greedy(covariance, spending, open, limit, power) for power in powers]
    best = min(found, key=lambda b: b.score)
    return _swap(best, open, limit) if swaps else best


def _greedy(covariance: Covariance, spending: Spending, open: Bools, limit: float, power: float) -> Bought:
    covariance, spending = covariance.copy(), spending.copy()
    left = open.copy()
    order: list[int] = []
    # Large pools are bought in small batches: their neighbours are alike, and the time stays bounded.
    batch = max(1, len(left) // 1500)
    while True:
        affordable = left & (spending.spent + spending.price <= limit)
        worth = covariance.worth()
        # What tells nothing never ranks, however little it costs.
        worth = np.where(affordable & (worth >= WORTHLESS), worth, 0.0)
        if not worth.any():
            break
        rate = worth / np.maximum(spending.price, 1.0) ** power
        # Rounded, so that equal candidates (seeds of one cell) tie whatever the last bits say.
        ranked = np.argsort(-np.round(rate / rate.max(), 10), kind="stable")[:batch]
        for i in (int(r) for r in ranked):
            if worth[i] > 0 and spending.spent + spending.price[i] <= limit:
                covariance.add(i)
                spending.buy(i)
                order.append(i)
                left[i] = False
    return Bought(tuple(order), covariance, spending)


def _swap(bought: Bought, open: Bools, limit: float) -> Bought:
    """Pairwise exchange: sell each run in turn and buy the affordable one that helps most instead."""
    order, covariance, spending = list(bought.order), bought.covariance.copy(), bought.spending.copy()
    left = open.copy()
    left[order] = False
    # The time of a swap grows with the pool: large ones get fewer.
    tries = max(8, SWAPS * 500 // max(500, len(left)))
    position, since = 0, 0
    while order and tries > 0 and since < len(order):
        tries -= 1
        i = order[position % len(order)]
        before = covariance.score()
        without, cheaper = covariance.copy(), spending.copy()
        without.add(i, -1.0)
        cheaper.sell(i)
        allowed = left & (cheaper.spent + cheaper.price <= limit)
        worth = np.where(allowed, without.worth(), -1.0)
        j = int(np.argmax(worth))
        if worth[j] > 0 and without.score() - worth[j] < before - 1e-9:
            without.add(j)
            cheaper.buy(j)
            order[position % len(order)] = j
            left[i], left[j] = True, False
            covariance, spending, since = without, cheaper, 0
        else:
            since += 1
        position += 1
    return Bought(tuple(order), covariance, spending)


def without_each(bought: Bought, columns: Sequence[int]) -> Floats:
    """For each bought run, in order: the share of the variance of these answers that it takes, as if it had been
    bought last [k], in [0, 1]."""
    mine, values = list(columns), []
    weight = bought.covariance.modes.weight[:, mine]
    for i in bought.order:
        covariance = bought.covariance.copy()
        covariance.add(i, -1.0)
        taken = 1.0 - bought.covariance.V[:, mine] / np.maximum(covariance.V[:, mine], 1e-300)
        values.append(float(np.sum(taken * weight) / weight.sum()))
    return np.asarray(np.clip(np.array(values), 0.0, 1.0))
