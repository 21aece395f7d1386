"""What devices achieve: built-in profiles, labelled as assumed, and what finished jobs teach about them.

Pure: measured seconds come in as observations. Rates count rule FLOPs (cost.py), per device, low/mid/high 95
%."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean, median, stdev

from isoloss.compiler.plan import KINDS, DeviceProfile, Range

GIB = 2.0**30


def _profile(
    name: str,
    rates: tuple[float, float, float],
    startup: tuple[float, float, float],
    launch: tuple[float, float, float],
    memory_gib: float,
    watts: tuple[float, float, float],
    source: str,
) -> DeviceProfile:
    # Floats: a plan holds its profile, and is read back with the same bytes.
    rate, start, each, power = (Range(*map(float, row)) for row in (rates, startup, launch, watts))
    return DeviceProfile(
        device=name,
        flops_per_second=dict.fromkeys(KINDS, rate),
        startup_seconds=start,
        memory_bytes=memory_gib * GIB,
        watts=power,
        provenance=f"assumed: {source}",
        launch_seconds=dict.fromkeys(KINDS, each),
    )


#: Start-up and launch seconds of a job on a GPU: interpreter, CUDA context, warm-up; a few kernels a layer.
_GPU = ((10.0, 25.0, 60.0), (3e-6, 1e-5, 4e-5))
#: Sustained rates of small-image convolution, well below peak; none was measured by us on these devices.
#: Peaks are the vendors' (V100 fp32 15.7, A100 TF32 156, H100/H200 SXM TF32 494 TFLOP/s dense); the assumed
#: share
#: is 20-60 % of fp32 on V100 and 10-40 % of TF32 on the others. cpu: one core of a current server, 20-80
#: GFLOP/s.
BUILT_IN: Mapping[str, DeviceProfile] = {
    name: _profile(name, *row)
    for name, row in {
        "cpu": ((1.5e10, 4e10, 8e10), (1.5, 4, 12), (8e-6, 3e-5, 1.2e-4), 4, (5, 15, 40), "one core, fp32"),
        "t4": ((1e12, 2.5e12, 5e12), *_GPU, 16, (40, 60, 70), "fp32, 12-60 % of peak"),
        "v100": ((3e12, 7e12, 10e12), *_GPU, 32, (180, 260, 300), "fp32, 20-60 % of peak"),
        "l40s": ((15e12, 40e12, 80e12), *_GPU, 48, (200, 280, 350), "TF32, 8-45 % of peak"),
        "a100": ((15e12, 40e12, 65e12), *_GPU, 80, (220, 330, 400), "TF32, 10-40 % of peak"),
        "h100": ((50e12, 110e12, 200e12), *_GPU, 80, (350, 550, 700), "TF32, 10-40 % of peak"),
        "h200": ((50e12, 120e12, 210e12), *_GPU, 141, (350, 550, 700), "TF32, 10-40 % of peak"),
        "b200": ((80e12, 200e12, 400e12), *_GPU, 180, (500, 800, 1000), "TF32, 7-35 % of peak"),
    }.items()
}


@dataclass(frozen=True, slots=True)
class Timing:
    """One finished job: what it was predicted to take beyond start-up, and what it took, start-up
    included."""

    kind: str
    predicted_seconds: float
    measured_seconds: float


#: Relative spread assumed where too few jobs finished to show their own: a factor of about 1.5 either way.
_PRIOR_SPREAD = 0.2


def refine(profile: DeviceProfile, timings: Iterable[Timing]) -> DeviceProfile:
    """The profile with the rates of every kind that has finished jobs moved to what they took.

    Per kind the log-ratio measured/predicted has median m and spread s; the next job's ratio lies in
    exp(m +- 2 s sqrt(1 + 1/n)), s pooled with a prior spread of 0.2 worth four jobs."""
    by_kind: dict[str, list[float]] = {}
    for timing in timings:
        work = max(timing.measured_seconds - profile.startup_seconds.low, 1e-3)
        by_kind.setdefault(timing.kind, []).append(math.log(work / max(timing.predicted_seconds, 1e-6)))
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
        for key in [key for key in rates if key.split("/", 1)[0] == kind]:
            rate, launch = profile.flops_per_second[key].mid, profile.launch_seconds[key].mid
            rates[key] = Range(*(_rounded(rate / x) for x in (slow, mid, fast)))
            launches[key] = Range(*(_rounded(launch * x) for x in (fast, mid, slow)))
    total = sum(len(logs) for logs in by_kind.values())
    said = f"measured: {total} finished jobs ({', '.join(sorted(by_kind))}); else {profile.provenance}"
    return replace(profile, flops_per_second=rates, launch_seconds=launches, provenance=said)


def _rounded(value: float) -> float:
    """Ten digits: a plan's bytes must not hang on the last bit of a logarithm."""
    return float(f"{value:.10g}")
