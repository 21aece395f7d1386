"""What devices achieve: built-in profiles, labelled as assumed, and what finished jobs teach about them.

Pure: measured seconds come in as observations. Rates count rule FLOPs (cost.py), per device, low/mid/high 95
%."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median, stdev

from isoloss.compiler.plan import KINDS, DeviceProfile, Range
from isoloss.compiler.rounding import rounded

GIB = 2.0**30


#: Low, mid, high.
_Row = tuple[float, float, float]
#: FLOP/s by a training's number format; all other jobs compute in fp32.
_Rates = Mapping[str, _Row]


def _profile(
    name: str, rates: _Rates, startup: _Row, launch: _Row, memory_gib: float, watts: _Row, source: str
) -> DeviceProfile:
    # Floats: a plan holds its profile, and is read back with the same bytes.
    start, each, power = (Range(*map(float, row)) for row in (startup, launch, watts))
    flops = dict.fromkeys(KINDS, Range(*map(float, rates["fp32"])))
    flops |= {f"train@{number}": Range(*map(float, row)) for number, row in rates.items() if number != "fp32"}
    return DeviceProfile(
        device=name,
        flops_per_second=flops,
        startup_seconds=start,
        memory_bytes=memory_gib * GIB,
        watts=power,
        provenance=f"assumed: {source}",
        launch_seconds=dict.fromkeys(flops, each),
    )


#: Start-up and launch seconds of a job on a GPU. Start-up: beside a job that is done a second, for an interpreter and
#: a context of its own tens (seen on an H200: 0.4 to 1.4 s of jobs without training, in all). A few kernels a layer.
_GPU = ((0.5, 5.0, 40.0), (5e-6, 2e-5, 6e-5))
_SHARES = "10-65 % of the vendor's peak in the job's number format"
#: Sustained rates of small-image convolution, well below the vendors' dense peaks in TFLOP/s: fp32 T4 8.1, V100 15.7,
#: L40S 91.6, A100 19.5, H100 and H200 SXM 67, B200 75; TF32 L40S 183, A100 156, H100 and H200 494, B200 1,100; bf16
#: twice TF32's (T4 and V100 compute in neither). One of these was measured by us, with benchmarks/train_step_cuda.py:
#: WRN-28-10 on an H200, 2.3e13 in fp32 and 3.8e14 in bf16 (WRN-16-4 2.0e14, WRN-70-16 5.4e14); the others are taken
#: to reach like shares. cpu: one core of a current server; bf16 is faster where the processor multiplies it, else
#: slower.
_RATES: Mapping[str, _Rates] = {
    "cpu": {"fp32": (1.5e10, 4e10, 8e10), "bf16": (0.5e10, 4e10, 12e10)},
    "t4": {"fp32": (1e12, 2.5e12, 5e12)},
    "v100": {"fp32": (3e12, 7e12, 10e12)},
    "l40s": {"fp32": (12e12, 25e12, 45e12), "tf32": (18e12, 45e12, 85e12), "bf16": (36e12, 100e12, 180e12)},
    "a100": {"fp32": (4e12, 7e12, 10e12), "tf32": (15e12, 45e12, 70e12), "bf16": (31e12, 110e12, 170e12)},
    "h100": {
        "fp32": (13e12, 22e12, 33e12),
        "tf32": (50e12, 150e12, 240e12),
        "bf16": (100e12, 330e12, 540e12),
    },
    "h200": {
        "fp32": (15e12, 23e12, 33e12),
        "tf32": (50e12, 160e12, 250e12),
        "bf16": (100e12, 380e12, 560e12),
    },
    "b200": {
        "fp32": (15e12, 26e12, 40e12),
        "tf32": (110e12, 300e12, 550e12),
        "bf16": (220e12, 700e12, 1200e12),
    },
}
BUILT_IN: Mapping[str, DeviceProfile] = {
    name: _profile(name, _RATES[name], *row)
    for name, row in {
        "cpu": ((0.03, 1, 12), (8e-6, 3e-5, 1.2e-4), 4, (5, 15, 40), "one core, fp32"),
        "t4": (*_GPU, 16, (40, 60, 70), _SHARES),
        "v100": (*_GPU, 32, (180, 260, 300), _SHARES),
        "l40s": (*_GPU, 48, (200, 280, 350), _SHARES),
        "a100": (*_GPU, 80, (220, 330, 400), _SHARES),
        "h100": (*_GPU, 80, (350, 550, 700), _SHARES),
        "h200": (*_GPU, 141, (350, 550, 700), _SHARES),
        "b200": (*_GPU, 180, (500, 800, 1000), _SHARES),
    }.items()
}
#: Number formats that a kind of GPU can't multiply in. A CPU takes all: its tf32 is fp32.
LACKING: Mapping[str, frozenset[str]] = {
    name: frozenset({"tf32", "bf16"} - rates.keys()) for name, rates in _RATES.items() if name != "cpu"
}


@dataclass(frozen=True, slots=True)
class Timing:
    """One finished job: what it was predicted to take beyond start-up, and what it took, start-up included. `work`
    is the profile's key that it went by."""

    work: str
    predicted_seconds: float
    measured_seconds: float


#: Relative spread assumed where too few jobs finished to show their own: a factor of about 1.5 either way.
_PRIOR_SPREAD = 0.2


def refine(profile: DeviceProfile, timings: Iterable[Timing]) -> DeviceProfile:
    """The profile with the rates of every kind that has finished jobs moved to what they took; of trainings in
    each number format apart.

    No start-up is longer than the jobs that it begins: at its middle it is at most half of the median job of the kind
    that is done soonest, at its highest the longest of these. Per kind the log-ratio measured/predicted beyond start-up
    has median m and spread s; the next job's ratio lies in exp(m +- 2 s sqrt(1 + 1/n)), s pooled with a prior spread of
    0.2 worth four jobs."""
    measured: dict[str, list[Timing]] = {}
    for timing in timings:
        measured.setdefault(_kind(timing.work), []).append(timing)
    start = _startup(profile.startup_seconds, measured.values())
    by_kind: dict[str, list[float]] = {}
    for kind, jobs in measured.items():
        # Of a job that is hardly longer than a start-up a part is work all the same.
        works = ((max(j.measured_seconds - start.mid, 0.1 * j.measured_seconds), j) for j in jobs)
        by_kind[kind] = [math.log(max(work, 1e-3) / max(j.predicted_seconds, 1e-6)) for work, j in works]
    if not by_kind:
        return profile
    rates, launches = dict(profile.flops_per_second), dict(profile.launch_seconds)
    for kind, logs in by_kind.items():
        centre, n = median(logs), len(logs)
        own = stdev(logs, fmean(logs)) if n > 1 else 0.0
        spread = math.sqrt((4 * _PRIOR_SPREAD**2 + (n - 1) * own**2) / (n + 3))
        width = 2 * spread * math.sqrt(1 + 1 / n)
        slow, mid, fast = math.exp(centre + width), math.exp(centre), math.exp(centre - width)
        # Families measured apart ("train/wrn") move with their kind.
        for key in [key for key in rates if _kind(key) == kind]:
            rate, launch = profile.flops_per_second[key].mid, profile.launch_seconds[key].mid
            rates[key] = Range(*(rounded(rate / x) for x in (slow, mid, fast)))
            launches[key] = Range(*(rounded(launch * x) for x in (fast, mid, slow)))
    total = sum(len(logs) for logs in by_kind.values())
    said = f"measured: {total} finished jobs ({', '.join(sorted(by_kind))}); else {profile.provenance}"
    return replace(
        profile, flops_per_second=rates, launch_seconds=launches, startup_seconds=start, provenance=said
    )


def _startup(known: Range, measured: Collection[Sequence[Timing]]) -> Range:
    """Of jobs, given what those of each kind took."""
    if not measured:
        return known
    took = min(([j.measured_seconds for j in jobs] for jobs in measured), key=median)
    mid, high = min(known.mid, median(took) / 2), min(known.high, max(took))
    return Range(rounded(min(known.low, mid)), rounded(mid), rounded(max(mid, high)))


def _kind(key: str) -> str:
    """Of `train/wrn@bf16`, `train@bf16`."""
    work, at, number = key.partition("@")
    return work.partition("/")[0] + at + number
