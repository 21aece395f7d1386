"""Timed jobs -> a measured DeviceProfile: start-up, launch and arithmetic rates, with held-out intervals.

Pure: the front door measured the seconds. The model is price.py's, seconds = start-up + launches x launch +
FLOP / rate, one start-up for all jobs, a launch and a rate per kind of work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from isoloss.compiler.plan import DeviceProfile, Range
from isoloss.compiler.rounding import rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What moves all jobs of a kind together from one run to the next (clocks, neighbours, what else the run does), a
#: standard deviation of the log: benchmarks/calibration.py found medians of kinds 1 to 13 % off, of runs that a
#: calibration had just preceded.
DRIFT = 0.08
#: A rate that the jobs don't show (arithmetic too small to see) is not faster than this, per device.
FASTEST = 1e18


@dataclass(frozen=True, slots=True)
class Timed:
    """One job that was run to be timed. `work` is the profile's key: a kind ("evaluate") or a kind and a model
    family ("train/wrn"); `flops` its rule count, evaluation included; `seconds` of wall time, start-up too."""

    work: str
    name: str
    launches: float
    flops: float
    seconds: float


def measured_profile(assumed: DeviceProfile, timed: Sequence[Timed], provenance: str) -> DeviceProfile:
    """The profile that the timed jobs show; what they don't (memory, watts, other kinds) stays as assumed.

    Least squares of relative errors with non-negative terms; only arithmetic of a kind with one or two jobs, or whose
    jobs all have as many launches per FLOP. The interval of a kind comes from its jobs, each predicted by a fit that
    left it out: log-residuals with median m and root mean square s about it give exp(m +- w), w the root of the squares
    of t s sqrt(1 + 1/n), t of Student at 97.5 % and n - 1 degrees, and of 1.96 DRIFT; fewer than three jobs of a kind
    borrow all jobs' residuals. Raises ValueError without jobs."""
    if not timed:
        raise ValueError("a calibration needs timed jobs")
    works = list(dict.fromkeys(each.work for each in timed))
    whole = _solve(timed, works)
    residuals = _held_out(timed, works)
    everything = [r for rs in residuals.values() for r in rs]
    rates, launches = dict(assumed.flops_per_second), dict(assumed.launch_seconds)
    for index, work in enumerate(works):
        own = residuals[work] if len(residuals[work]) >= 3 else everything
        slow, mid, fast = _band(own)
        launch, inverse = whole[1 + 2 * index], max(whole[2 + 2 * index], 1 / FASTEST)
        rates[work] = Range(*(rounded(1 / (inverse * factor)) for factor in (slow, mid, fast)))
        launches[work] = Range(*(rounded(launch * factor) for factor in (fast, mid, slow)))
    slow, mid, fast = _band(everything)
    startup = Range(*(rounded(whole[0] * factor) for factor in (fast, mid, slow)))
    return replace(
        assumed,
        flops_per_second=rates,
        launch_seconds=launches,
        startup_seconds=startup,
        provenance=provenance,
    )


def predicted(profile: DeviceProfile, each: Timed) -> Range:
    """What the profile says of a timed job, as price.py would."""
    rate, launch, start = (
        profile.flops_per_second[each.work],
        profile.launch_seconds[each.work],
        profile.startup_seconds,
    )
    return Range(
        start.low + each.launches * launch.low + each.flops / rate.high,
        start.mid + each.launches * launch.mid + each.flops / rate.mid,
        start.high + each.launches * launch.high + each.flops / rate.low,
    )


def accuracy(profile: DeviceProfile, timed: Sequence[Timed]) -> dict[str, Any]:
    """How well a profile tells jobs that were run: the median of |planned / measured - 1|, and the share of
    jobs inside their interval."""
    pairs = [(predicted(profile, each), each.seconds) for each in timed]
    return {
        "jobs": len(pairs),
        "median_error": rounded(median(abs(said.mid / seconds - 1) for said, seconds in pairs)),
        "inside": rounded(sum(said.low <= seconds <= said.high for said, seconds in pairs) / len(pairs)),
    }


def _held_out(timed: Sequence[Timed], works: Sequence[str]) -> Mapping[str, list[float]]:
    """Per work the log of measured over predicted, of each job by a fit without it."""
    result: dict[str, list[float]] = {work: [] for work in works}
    for index, each in enumerate(timed):
        rest = [other for place, other in enumerate(timed) if place != index]
        if not any(other.work == each.work for other in rest):
            continue
        solved = _solve(rest, works)
        place = 1 + 2 * works.index(each.work)
        said = solved[0] + each.launches * solved[place] + each.flops * solved[place + 1]
        result[each.work].append(math.log(each.seconds / max(said, 1e-6)))
    return result


def _solve(timed: Sequence[Timed], works: Sequence[str]) -> NDArray[Any]:
    """[start-up, launch and seconds per FLOP of each work ...], non-negative."""
    import numpy as np
    from scipy.optimize import nnls

    table = np.zeros((len(timed), 1 + 2 * len(works)))
    table[:, 0] = 1.0
    shown = {work for work in works if _shows_launches([each for each in timed if each.work == work])}
    for row, each in enumerate(timed):
        place = 1 + 2 * works.index(each.work)
        table[row, place] = each.launches if each.work in shown else 0.0
        table[row, place + 1] = each.flops
    # Each row over its seconds: relative errors count alike. Columns to one size, so that none is lost.
    table /= np.array([each.seconds for each in timed])[:, None]
    sizes = np.abs(table).max(axis=0)
    sizes[sizes == 0] = 1.0
    solved, _ = nnls(table / sizes, np.ones(len(timed)))
    return np.asarray(solved / sizes)


def _shows_launches(jobs: Sequence[Timed]) -> bool:
    """Whether jobs of a kind can tell a launch from arithmetic; else all their time is arithmetic's."""
    ratios = [each.launches / max(each.flops, 1.0) for each in jobs]
    return len(jobs) > 2 and max(ratios) > 1.5 * min(ratios)


def _band(residuals: Sequence[float]) -> tuple[float, float, float]:
    """Factors on predicted seconds: slow, mid, fast."""
    from scipy.special import ndtri, stdtrit

    if len(residuals) < 2:
        # One job says where, none how far: a factor of two, as wide as the assumed profiles.
        centre = residuals[0] if residuals else 0.0
        return math.exp(centre + math.log(2)), math.exp(centre), math.exp(centre - math.log(2))
    n, centre = len(residuals), median(residuals)
    own = math.sqrt(sum((r - centre) ** 2 for r in residuals) / (n - 1))
    width = math.hypot(float(stdtrit(n - 1, 0.975)) * own * math.sqrt(1 + 1 / n), float(ndtri(0.975)) * DRIFT)
    return math.exp(centre + width), math.exp(centre), math.exp(centre - width)
