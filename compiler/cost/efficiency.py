"""What share of a device's peak and bandwidth training reaches, by class of layers, number format and device: the
shipped prior.

Estimated by benchmarks/published_times.py from the rows of benchmarks/published_times.csv;
docs/costs.md says how well it tells rows that it hasn't seen. A class without a row is wider. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot, sqrt

from isoloss.compiler.cost.device_table import Device
from isoloss.compiler.cost.speed import spread
from isoloss.compiler.plan import Range, Speed
from isoloss.compiler.rounding import rounded

#: Median share of the peak of arithmetic alone, and the standard deviation of its log. plain: fp32 before Ampere, where
#: libraries choose algorithms that skip multiplications (shares above 1). dual: fp32 where makers count two units that
#: seldom work at once, and tf32 is off (own runs on an H200, deterministic). tensor: tf32, bf16, fp16.
SHARES: Mapping[str, tuple[float, float]] = {
    "plain": (1.27, 0.15),
    "dual": (0.395, 0.22),
    "tensor": (1.06, 0.28),
}
#: Bytes read and written, forwards and backwards, for every value that a layer writes in a pass: convolution, norm,
#: activation, casts; U-Nets have more between their convolutions.
BYTES: Mapping[str, tuple[float, float]] = {"residual": (86.4, 0.14), "unet": (103.0, 0.19)}
#: Our bf16 training of residual networks against loops as published: values stay in bf16, compiled where it pays.
OWN_BF16 = 0.428
#: Seconds of a layer's execution, eager, and the part of it where the attack is one CUDA graph.
LAUNCH, LAUNCH_LOG_SD = 1.45e-4, 0.14
GRAPH = 0.433
#: Standard deviation of the log of what one source or job has more than its class; and of a training of ours, whose
#: interval reaches from our loop to loops as published.
RESIDUAL, OWN = 0.30, 0.36
#: The same of classes without a row, beyond the one they borrow from: A100s in fp32, fp32 of consumer cards, all
#: forward-only classes (sampling, features), kinds of job that nobody published times of.
UNSEEN = 0.35


def share_class(device: Device, number: str) -> str:
    """Which shares a number format of a device goes by."""
    if number != "fp32":
        return "tensor"
    return "plain" if device.capability < (8, 0) else "dual"


def assumed_speed(device: Device, number: str, layers: str, *, own: bool = False, seen: bool = True) -> Speed:
    """The prior for networks of such `layers` ("residual" or "unet") in a number format; `own`: trainings of ours,
    whose attack is a graph and whose bf16 values are halved, as well as others' loops, both within the interval;
    `seen`: there are rows of the class. Raises KeyError for a format that the device lacks."""
    share, share_sd = SHARES[share_class(device, number)]
    size, size_sd = BYTES[layers]
    more = 0.0 if seen else UNSEEN
    launch, launch_sd = LAUNCH, hypot(LAUNCH_LOG_SD, RESIDUAL)
    # Arithmetic and memory are added low with low: their constants' errors, which are apart, count half each.
    share_sd, size_sd = share_sd * sqrt(0.5), size_sd * sqrt(0.5)
    if number == "fp32" and (8, 0) <= device.capability < (9, 0):
        if device.capability == (8, 0):
            # One unit and no row: between the two classes that have some.
            share = sqrt(SHARES["dual"][0] * SHARES["plain"][0])
        share_sd = hypot(share_sd, UNSEEN)
    memory_sd = hypot(size_sd, RESIDUAL, more)
    if own:
        # In the middle between published loops and ours.
        launch, launch_sd = launch * sqrt(GRAPH), OWN
        if number == "bf16" and layers == "residual":
            size, memory_sd = size * sqrt(OWN_BF16), OWN
    rows = "published times" if seen else "published times of other classes"
    return Speed(
        _rounded(spread(device.peak_flops[number] * share, hypot(share_sd, RESIDUAL, more))),
        _rounded(spread(device.bandwidth / size, memory_sd)),
        _rounded(spread(launch, hypot(launch_sd, more))),
        f"assumed: {rows}",
    )


def _rounded(interval: Range) -> Range:
    return Range(rounded(interval.low), rounded(interval.mid), rounded(interval.high))
