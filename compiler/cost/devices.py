"""The shipped profile of every device of the table, and of a CPU core: labelled as assumed.

Pure. learning.py moves a profile by what calibration and finished jobs took."""

from __future__ import annotations

import math
from collections.abc import Mapping

from isoloss.compiler.cost.device_table import DEVICES, Device
from isoloss.compiler.cost.efficiency import assumed_speed
from isoloss.compiler.plan import KINDS, DeviceProfile, Range, Speed
from isoloss.dsl.study.study import DeclaredDevice

#: Seconds before a job does anything. Beside a job that is done a second, for an interpreter and a context of its own
#: tens (seen on an H200: 0.4 to 1.4 s of jobs without training, in all).
_GPU_STARTUP = Range(0.5, 5.0, 40.0)
#: Of a board's limit, what training draws: assumed.
_WATTS = (0.6, 0.85, 1.0)
#: Kinds of job on U-Nets; on those that only pass forwards nobody published times.
_UNETS = ("denoiser", "discriminator", "generate")
_UNSEEN = ("discriminator", "generate", "import", "fid")

#: Number formats that recipes can ask for beside fp32.
FORMATS = ("tf32", "bf16")


def assumed_profile(name: str, device: Device) -> DeviceProfile:
    """What the shipped prior says of a device of the table, or of one that a study describes."""
    speeds: dict[str, Speed] = {}
    for kind in KINDS:
        layers = "unet" if kind in _UNETS else "residual"
        own, seen = kind == "train", kind not in _UNSEEN
        numbers = ("fp32", *FORMATS) if kind in ("train", "denoiser", "discriminator") else ("fp32",)
        for number in numbers:
            if number in device.peak_flops:
                key = kind if number == "fp32" else f"{kind}@{number}"
                speeds[key] = assumed_speed(device, number, layers, own=own, seen=seen)
    low, mid, high = (share * device.board_watts for share in _WATTS)
    return DeviceProfile(
        device=name,
        speeds=speeds,
        startup_seconds=_GPU_STARTUP,
        memory_bytes=device.memory_bytes,
        watts=Range(low, mid, high),
        provenance="assumed: shares of the maker's peak and bandwidth that published times show",
        queues=True,
    )


def declared_profile(declared: DeclaredDevice) -> DeviceProfile:
    """Of a device that a study declares. What it doesn't state is taken from the shipped device whose fp32 peak is
    nearest in ratio."""
    like = min(DEVICES.values(), key=lambda row: abs(math.log(row.peak_flops["fp32"] / declared.fp32)))
    peaks = {"fp32": declared.fp32, "tf32": declared.tf32, "bf16": declared.bf16}
    device = Device(
        peak_flops={number: peak for number, peak in peaks.items() if peak is not None},
        bandwidth=declared.bandwidth or like.bandwidth,
        memory_bytes=declared.memory_bytes,
        board_watts=declared.watts or like.board_watts,
        capability=like.capability,
        card=declared.name,
    )
    return assumed_profile(declared.name, device)


def _core() -> DeviceProfile:
    """One core of a current server. bf16 is faster where the processor multiplies it, else slower."""
    single = Speed(
        Range(2e10, 6e10, 1.8e11), Range(1e8, 5e8, 2.5e9), Range(8e-6, 3e-5, 1.2e-4), "assumed: one core"
    )
    half = Speed(
        Range(0.5e10, 6e10, 3.6e11), single.values_per_second, single.launch_seconds, "assumed: one core"
    )
    return DeviceProfile(
        device="cpu",
        speeds={**dict.fromkeys(KINDS, single), **{f"{kind}@bf16": half for kind in ("train", *_UNETS[:2])}},
        startup_seconds=Range(0.03, 1.0, 12.0),
        memory_bytes=4 * 2.0**30,
        watts=Range(5.0, 15.0, 40.0),
        provenance="assumed: one core, fp32",
        queues=False,
    )


BUILT_IN: Mapping[str, DeviceProfile] = {
    "cpu": _core(),
    **{name: assumed_profile(name, device) for name, device in DEVICES.items()},
}
#: Number formats that a kind of GPU can't multiply in. A CPU takes all: its tf32 is fp32.
LACKING: Mapping[str, frozenset[str]] = {
    name: frozenset(FORMATS) - device.peak_flops.keys() for name, device in DEVICES.items()
}
