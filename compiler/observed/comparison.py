"""Groups of trained networks, each tested on the same images -> how they differ, with simultaneous intervals.

In: per group the tests of its networks, matched over groups by everything else that was swept and the seed. Out: means
over seeds and paired differences. A group's mean has two errors: networks differ from seed to seed, and the test images
are a sample. The first falls with the number of seeds, the second doesn't: all networks see the same images. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import stats

from isoloss.compiler.laws.arrays import Bools, Floats
from isoloss.compiler.plan import Observation

#: Chance that any interval of a family misses, all together.
ALPHA = 0.05
#: Half-widths of normal 95 % intervals in standard errors.
_Z = 1.959963984540054
#: No plan asks for more seeds than that of one pair.
MOST_SEEDS = 1000

Verdict = Literal["better", "worse", "same", "open"]


def right_images(packed: str, count: int) -> Bools | None:
    """[count] of an observation's `right`; None where it isn't one of so many images."""
    try:
        bits = np.frombuffer(bytes.fromhex(packed), np.uint8)
    except ValueError:
        return None
    return np.unpackbits(bits)[:count].astype(bool) if len(bits) == -(-count // 8) else None


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One network under one evaluation: `value` a share of `tested` images that are right (or a mean loss, with its
    standard error over images), `right` [tested] which, where it is known."""

    value: float
    tested: int
    right: Bools | None = None
    image_error: float | None = None

    @classmethod
    def of(cls, o: Observation) -> Scored:
        """An accuracy or a loss with what its observation knows of its test images."""
        if o.metric.startswith("accuracy ") and o.count is not None:
            return cls(o.value, o.count, None if o.right is None else right_images(o.right, o.count))
        # A simulated value has no test images: seeds are all that moves it.
        low, high = (o.value, o.value) if o.low is None or o.high is None else (o.low, o.high)
        return cls(o.value, o.count or 1, None, (high - low) / (2 * _Z))

    @property
    def image_variance(self) -> float:
        """Variance of the value because its test images are a sample."""
        if self.image_error is not None:
            return self.image_error**2
        # A share of 0 or 1 is known to about one image.
        share = (self.value * self.tested + 0.5) / (self.tested + 1)
        return share * (1 - share) / self.tested


@dataclass(frozen=True, slots=True)
class Mean:
    """Of the networks of one group: mean, standard deviation over seeds (None at one network) and the 95 % interval of
    the mean for new seeds and new test images (of one network: for new test images)."""

    value: float
    sd: float | None
    low: float
    high: float
    seeds: int


@dataclass(frozen=True, slots=True)
class Difference:
    """`a` minus `b` over pairs of networks that differ in nothing else. The interval is None at one pair: how networks
    differ from seed to seed isn't known then. `more_seeds`: how many further pairs would settle an open one if the
    difference stays as it is; None: none would, or not estimated."""

    a: str
    b: str
    value: float
    low: float | None
    high: float | None
    pairs: int
    verdict: Verdict
    more_seeds: int | None


def mean_of(group: Sequence[Scored]) -> Mean:
    """Mean over networks (one per seed) with both errors in its interval."""
    values = np.array([one.value for one in group])
    count, value = len(values), float(values.mean())
    images = float(np.mean([one.image_variance for one in group]))
    sd = float(values.std(ddof=1)) if count > 1 else None
    half = _half_width(0.0 if sd is None else sd**2 / count, max(count - 1, 1), images, ALPHA)
    return Mean(value, sd, value - half, value + half, count)


def differences(
    groups: Mapping[str, Mapping[Hashable, Scored]], within: float | None = None
) -> list[Difference]:
    """Every pair of groups, over the keys (other settings and seed) that both have; in the order of the groups.

    Holm's procedure (1979): of m pairs the clearest has an interval at level alpha / m, the next at alpha / (m - 1),
    and once a pair isn't told apart no later one is. `within`: two groups are the same where the whole interval lies
    inside plus or minus it. Pairs without a common key are left out."""
    made = [
        pair for a, b in combinations(groups, 2) if (pair := _pair(a, b, groups[a], groups[b])) is not None
    ]
    pooled = _pooled([pair for pair in made if len(pair.values) > 1])
    order = sorted(range(len(made)), key=lambda i: made[i].p_value(pooled))
    found: dict[int, Difference] = {}
    telling = True
    for rank, i in enumerate(order):
        alpha = ALPHA / (len(made) - rank)
        telling = telling and made[i].p_value(pooled) < alpha
        found[i] = made[i].judged(pooled, alpha, telling, within)
    return [found[i] for i in range(len(made))]


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    a: str
    b: str
    values: Floats  # [pairs] differences of matched networks
    image_variance: float

    def spread(self, pooled: tuple[float, int]) -> tuple[float, int]:
        """Variance of one difference over seeds and its degrees of freedom: the pair's own or the pairs' together,
        whichever is larger, for few seeds say little about their own spread."""
        own = float(self.values.var(ddof=1)) if len(self.values) > 1 else 0.0
        return max(own, pooled[0]), max(pooled[1], len(self.values) - 1)

    def p_value(self, pooled: tuple[float, int]) -> float:
        """Two-sided, of no difference; 1 where seeds don't tell their spread."""
        if len(self.values) < 2:
            return 1.0
        variance, freedom = self.spread(pooled)
        seeds = variance / len(self.values)
        total = seeds + self.image_variance
        if not total > 0:
            return 0.0 if self.values.mean() else 1.0
        t = abs(float(self.values.mean())) / np.sqrt(total)
        return float(2 * stats.t.sf(t, _freedom(seeds, freedom, self.image_variance)))

    def judged(
        self, pooled: tuple[float, int], alpha: float, telling: bool, within: float | None
    ) -> Difference:
        value, count = float(self.values.mean()), len(self.values)
        if count < 2:
            return Difference(self.a, self.b, value, None, None, count, "open", None)
        variance, freedom = self.spread(pooled)
        half = _half_width(variance / count, freedom, self.image_variance, alpha)
        verdict: Verdict = "open"
        if within is not None and abs(value) + half <= within:
            verdict = "same"
        elif telling and abs(value) > half:
            verdict = "better" if value > 0 else "worse"
        more = self._more(variance, alpha, within) if verdict == "open" else None
        return Difference(self.a, self.b, value, value - half, value + half, count, verdict, more)

    def _more(self, variance: float, alpha: float, within: float | None) -> int | None:
        """The least number of further pairs after which the interval is expected to decide."""
        value, count = abs(float(self.values.mean())), len(self.values)
        room = max(value, 0.0 if within is None else within - value)
        for seeds in range(count + 1, MOST_SEEDS):
            if _half_width(variance / seeds, seeds - 1, self.image_variance, alpha) < room:
                return seeds - count
        return None


def _pair(a: str, b: str, one: Mapping[Hashable, Scored], other: Mapping[Hashable, Scored]) -> _Pair | None:
    keys = [key for key in one if key in other]
    if not keys:
        return None
    values = np.array([one[key].value - other[key].value for key in keys])
    return _Pair(a, b, values, _shared_variance([(one[key], other[key]) for key in keys]))


def _shared_variance(pairs: Sequence[tuple[Scored, Scored]]) -> float:
    """Variance of a mean difference because its test images are a sample. Exact from which images were right in each
    network; else the sum of both, which it doesn't exceed where both find the same images hard."""
    right = [(one.right, other.right) for one, other in pairs]
    known = [(a.astype(float), b.astype(float)) for a, b in right if a is not None and b is not None]
    if len(known) == len(pairs) and len({len(side) for pair in known for side in pair}) == 1:
        per_image = np.mean([a - b for a, b in known], axis=0)
        # One image's worth where all agree: that no image differs isn't known of the next ones.
        return max(float(per_image.var()), 1.0 / len(per_image)) / len(per_image)
    return float(np.mean([one.image_variance + other.image_variance for one, other in pairs]))


def _pooled(pairs: Sequence[_Pair]) -> tuple[float, int]:
    """Variance of a difference over seeds from all pairs, and its degrees of freedom: those of a design in blocks,
    where every group is tested under every key."""
    if not pairs:
        return 0.0, 1
    freedoms = np.array([len(pair.values) - 1 for pair in pairs])
    variances = np.array([pair.values.var(ddof=1) for pair in pairs])
    groups = len({name for pair in pairs for name in (pair.a, pair.b)})
    blocks = int(freedoms.max())
    return float(freedoms @ variances / freedoms.sum()), max((groups - 1) * blocks, 1)


def _half_width(seeds: float, freedom: int, images: float, alpha: float) -> float:
    total = seeds + images
    return float(stats.t.ppf(1 - alpha / 2, _freedom(seeds, freedom, images)) * np.sqrt(total))


def _freedom(seeds: float, freedom: int, images: float) -> float:
    """Welch and Satterthwaite: the image part's variance is as good as known."""
    return 1e6 if not seeds > 0 else float((seeds + images) ** 2 / (seeds**2 / freedom))
