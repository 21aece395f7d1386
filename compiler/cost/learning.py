"""What timed jobs teach about a device: a profile and jobs -> the profile moved to what they took.

One function for calibration and for a study's own finished jobs. Each speed of a profile (compiler/cost/speed.py) has
three unknown factors, on arithmetic, memory and launches, and the start-up has one. Their logs are normal around zero
with the profile's own spread before any job; speeds of like kinds and formats are correlated, so that a job on one
width or of one kind moves the others, less the less they are alike. Pure: the seconds were measured elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from isoloss.compiler.cost.speed import Z90, Work, interpolated, split, width_factor
from isoloss.compiler.plan import DeviceProfile, Range, Speed
from isoloss.compiler.rounding import rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What moves all jobs of a kind together from one run to the next (clocks, neighbours, what else the run does), a
#: standard deviation of the log: benchmarks/calibration.py found medians of kinds 1 to 13 % off, of runs that a
#: calibration had just preceded.
DRIFT = 0.08
#: Standard deviation of the log of one job about the formula, before any is seen, and how many jobs that is worth.
JOB_LOG_SD, JOB_WORTH = 0.10, 4
#: What two speeds share: any two of a device, of one kind of job, of one number format, of one model family. What is
#: left to 1 is a speed's own. Between the terms of one speed: half. Assumed.
_SHARED = {"device": 0.25, "kind": 0.25, "format": 0.15, "family": 0.2}
_TERMS_SHARE = 0.5
#: How far kernels' blocks of channels move a width from the formula, a standard deviation of the log: 0.3 between
#: cnn(8) and cnn(16) on two cores. Widths so close, in the log, are one; a share of arithmetic and memory below which
#: a job says nothing of its width; the most that one width is moved. Assumed.
_WIDTH_LOG_SD, _SAME_WIDTH, _LEAST_SHARE, _MOST_OFF = 0.3, 0.05, 0.3, 1.0
#: Steps towards the most likely factors, at most, and the step after which they are found.
_STEPS, _CLOSE = 40, 1e-4


@dataclass(frozen=True, slots=True)
class Timed:
    """One job that was run. `amounts`: work by the profile's key; `seconds` of wall time, start-up included."""

    name: str
    amounts: tuple[tuple[str, Work], ...]
    seconds: float

    @property
    def work(self) -> str:
        """The key of most of its work, the first."""
        return self.amounts[0][0]


def learn(profile: DeviceProfile, timed: Sequence[Timed], source: str) -> DeviceProfile:
    """The profile with its speeds and start-up moved to what the jobs took, by their logs' most likely values, and its
    intervals to what is left open: that of each factor, of one job about the formula, and DRIFT. Keys of jobs that it
    lacks are added. `source` is said of the speeds that had jobs. Without jobs it is the profile itself."""
    if not timed:
        return profile
    known = replace(
        profile, speeds=_with_keys(profile.speeds, [key for each in timed for key, _ in each.amounts])
    )
    model = _Model(known, timed)
    middle, covariance, noise = model.posterior()
    open_ = [math.sqrt(max(0.0, value) + noise**2 + DRIFT**2) for value in covariance.diagonal()]
    jobs = {key: sum(each.work == key for each in timed) for key in known.speeds}
    speeds = {}
    for index, (key, before) in enumerate(known.speeds.items()):
        at = 1 + 3 * index
        flops, values, launch = (
            _moved(interval, sign * middle[at + term], open_[at + term])
            for term, (interval, sign) in enumerate(
                ((before.flops_per_second, -1), (before.values_per_second, -1), (before.launch_seconds, 1))
            )
        )
        said = f"measured: {source}" if jobs[key] else before.provenance
        speeds[key] = Speed(
            flops, values, launch, said, _widths(before, model.left_over(index, middle, noise))
        )
    start = _moved(known.startup_seconds, middle[0], open_[0])
    provenance = f"measured: {source}; else {profile.provenance}"
    return replace(profile, speeds=speeds, startup_seconds=start, provenance=provenance)


def accuracy(profile: DeviceProfile, timed: Sequence[Timed]) -> dict[str, Any]:
    """How well a profile tells jobs that were run: the median of |planned / measured - 1|, and the share of
    jobs inside their interval."""
    pairs = [(split(profile, each.amounts).total, each.seconds) for each in timed]
    return {
        "jobs": len(pairs),
        "median_error": rounded(median(abs(told.mid / seconds - 1) for told, seconds in pairs)),
        "inside": rounded(sum(told.low <= seconds <= told.high for told, seconds in pairs) / len(pairs)),
    }


def parent(key: str, speeds: Mapping[str, Speed]) -> str:
    """The speed that a key without one starts from: its kind's in its format, else its kind's."""
    work, at, number = key.partition("@")
    kind = work.partition("/")[0]
    return next(k for k in (f"{kind}{at}{number}", work, kind) if k in speeds)


def _with_keys(speeds: Mapping[str, Speed], wanted: Sequence[str]) -> dict[str, Speed]:
    known = dict(speeds)
    for key in wanted:
        if key not in known:
            known[key] = speeds[parent(key, speeds)]
    return known


def _moved(interval: Range, log_factor: float, log_sd: float) -> Range:
    mid = interval.mid * math.exp(log_factor)
    return Range(*(rounded(mid * math.exp(side * Z90 * log_sd)) for side in (-1, 0, 1)))


def _widths(before: Speed, points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """A speed's factors by width times those of `points`, (log width, log factor), ascending."""
    if not points:
        return before.widths
    known = [(math.log(width), math.log(factor)) for width, factor in before.widths] or [(0.0, 0.0)]
    places = sorted({*(at for at, _ in points), *(math.log(width) for width, _ in before.widths)})
    logs = ((at, interpolated(known, at) + interpolated(points, at)) for at in places)
    return tuple((rounded(math.exp(at)), rounded(math.exp(log))) for at, log in logs)


def _log_sd(interval: Range) -> float:
    """Of a factor, given a 90 % interval for the next job: what one job adds to it is taken off."""
    whole = math.log(interval.high / interval.low) / (2 * Z90)
    return math.sqrt(max(whole**2 - JOB_LOG_SD**2 - DRIFT**2, 1e-4))


class _Model:
    """Unknowns x: the log factor on seconds of start-up, then of arithmetic, memory and launches of each speed."""

    def __init__(self, profile: DeviceProfile, timed: Sequence[Timed]) -> None:
        import numpy as np

        self.queues = profile.queues
        keys = {key: index for index, key in enumerate(profile.speeds)}
        self.start = profile.startup_seconds.mid
        # Jobs that do the same are one row: their mean, and how many they are.
        same: dict[tuple[tuple[str, Work], ...], list[float]] = {}
        for each in timed:
            same.setdefault(each.amounts, []).append(math.log(max(each.seconds, 1e-3)))
        self.mains = [a[0][1] for a in same]
        self.amounts = [[(keys[k], self._seconds(profile.speeds[k], work)) for k, work in a] for a in same]
        self.measured = np.array([median(logs) for logs in same.values()])
        self.counts = np.array([len(logs) for logs in same.values()], dtype=float)
        self.prior = self._prior(profile)

    @staticmethod
    def _seconds(speed: Speed, work: Work) -> tuple[float, float, float]:
        factor = width_factor(speed, work)
        return (
            factor * work.flops / speed.flops_per_second.mid,
            factor * work.values / speed.values_per_second.mid,
            work.launches * speed.launch_seconds.mid,
        )

    @staticmethod
    def _prior(profile: DeviceProfile) -> NDArray[Any]:
        import numpy as np

        named = [_names(key) for key in profile.speeds]
        alike = np.array([[_likeness(a, b) for b in named] for a in named])
        terms = np.full((3, 3), _TERMS_SHARE) + (1 - _TERMS_SHARE) * np.eye(3)
        sds = np.array(
            [
                _log_sd(interval)
                for speed in profile.speeds.values()
                for interval in (speed.flops_per_second, speed.values_per_second, speed.launch_seconds)
            ]
        )
        whole = np.zeros((len(sds) + 1, len(sds) + 1))
        whole[1:, 1:] = np.kron(alike, terms) * np.outer(sds, sds)
        whole[0, 0] = _log_sd(profile.startup_seconds) ** 2
        return whole

    def posterior(self) -> tuple[NDArray[Any], NDArray[Any], float]:
        """(x, its covariance, standard deviation of one job's log)."""
        import numpy as np

        x, noise, before = np.zeros(len(self.prior)), JOB_LOG_SD, np.linalg.inv(self.prior)
        for _ in range(_STEPS):
            told, slopes = self._told(x)
            off = self.measured - told
            # A job that is far off (a neighbour, a swapped page) counts for less.
            weight = np.minimum(1.0, 3 * noise / np.maximum(np.abs(off), 1e-12))
            told_by = slopes.T * (self.counts * weight / noise**2)
            covariance = np.linalg.inv(before + told_by @ slopes)
            step = covariance @ told_by @ (off + slopes @ x) - x
            x = x + np.clip(0.7 * step, -1.0, 1.0)
            fitted = float(np.trace(told_by @ slopes @ covariance))
            left = max(0.0, len(off) - fitted)
            noise = math.sqrt((JOB_WORTH * JOB_LOG_SD**2 + float(off @ (weight * off))) / (JOB_WORTH + left))
            if float(np.abs(step).max()) < _CLOSE:
                break
        return x, covariance, noise

    def left_over(self, index: int, x: NDArray[Any], noise: float) -> list[tuple[float, float]]:
        """(log width, log factor) of the networks that a speed's jobs had: what the formula leaves of their work's
        seconds, less as they are fewer, none for widths that say nothing of work."""
        told, slopes = self._told(x)
        sums: dict[float, list[float]] = {}
        for row, work in enumerate(self.mains):
            own = slopes[row, 1 + 3 * index : 3 + 3 * index].sum()
            if self.amounts[row][0][0] == index and work.flops and work.values and own > _LEAST_SHARE:
                off = max(-_MOST_OFF, min(_MOST_OFF, float(self.measured[row] - told[row]) / float(own)))
                place = round(math.log(work.flops / work.values) / _SAME_WIDTH) * _SAME_WIDTH
                sums.setdefault(place, []).extend([off] * int(self.counts[row]))
        worth = (noise / _WIDTH_LOG_SD) ** 2
        return [(place, sum(offs) / (len(offs) + worth)) for place, offs in sorted(sums.items())]

    def _told(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Log seconds of each row, and their slopes."""
        import numpy as np

        told, slopes = np.zeros(len(self.amounts)), np.zeros((len(self.amounts), len(x)))
        for row, amounts in enumerate(self.amounts):
            each = np.zeros(len(x))
            each[0] = self.start * math.exp(x[0])
            for index, seconds in amounts:
                at = 1 + 3 * index
                terms = np.array(seconds) * np.exp(x[at : at + 3])
                if self.queues:
                    terms[2 if terms[2] < terms[0] + terms[1] else slice(0, 2)] = 0.0
                each[at : at + 3] += terms
            total = float(each.sum())
            told[row], slopes[row] = math.log(total), each / total
        return told, slopes


def _names(key: str) -> tuple[str, str, str]:
    """Kind, family and format of `train/wrn@bf16`."""
    work, _, number = key.partition("@")
    kind, _, family = work.partition("/")
    return kind, family, number


def _likeness(a: tuple[str, str, str], b: tuple[str, str, str]) -> float:
    if a == b:
        return 1.0
    same = {"device": True, "kind": a[0] == b[0], "format": a[2] == b[2], "family": a[1] == b[1]}
    return sum(share for name, share in _SHARED.items() if same[name])
