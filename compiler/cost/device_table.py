"""The devices that plans can name: what their makers state of each, one row per device.

Facts alone; what a device reaches of its peak is efficiency.py's. A study's own device is a row of the same type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GIB = 2.0**30

#: The lowest compute capability that the torch wheels of PyPI have kernels for (built with CUDA 13), and of those
#: built with CUDA 12.6, which torch publishes up to 2.14 (pytorch/pytorch#172352, #190385).
DEFAULT_WHEELS_FROM = (7, 5)
LEGACY_WHEELS_FROM = (5, 0)
LEGACY_WHEELS = "https://download.pytorch.org/whl/cu126"


@dataclass(frozen=True, slots=True)
class Device:
    """One kind of device. `peak_flops` by number format: the maker's dense peak in FLOP/s, with sums in fp32; a
    format that it can't multiply in is absent. `bandwidth` in bytes/s; `board_watts` is the maker's limit.
    `card` is what its driver calls it, in lower case; `capability` NVIDIA's compute capability."""

    peak_flops: Mapping[str, float]
    bandwidth: float
    memory_bytes: float
    board_watts: float
    capability: tuple[int, int]
    card: str


def _row(
    card: str,
    peaks: Mapping[str, float],
    gb_per_second: float,
    gib: float,
    watts: float,
    capability: tuple[int, int],
) -> Device:
    """`peaks` in TFLOP/s."""
    flops = {number: peak * 1e12 for number, peak in peaks.items()}
    # From Ampere on fp16 is multiplied as fast as bf16.
    flops |= {"fp16": flops["bf16"]} if "bf16" in flops else {}
    return Device(flops, gb_per_second * 1e9, gib * GIB, watts, capability, card)


#: NVIDIA's data sheets and architecture white papers. fp16 is no `precision` of the language: it is what published
#: mixed-precision times on cards without bf16 were measured in.
DEVICES: Mapping[str, Device] = {
    "p100": _row("p100", {"fp32": 9.3}, 732, 16, 250, (6, 0)),
    "gtx1080ti": _row("gtx 1080 ti", {"fp32": 11.34}, 484, 11, 250, (6, 1)),
    "v100": _row("v100", {"fp32": 15.7, "fp16": 125}, 900, 32, 300, (7, 0)),
    "t4": _row("t4", {"fp32": 8.1, "fp16": 65}, 320, 16, 70, (7, 5)),
    "rtx2080ti": _row("rtx 2080 ti", {"fp32": 13.45, "fp16": 53.8}, 616, 11, 250, (7, 5)),
    "a100": _row("a100", {"fp32": 19.5, "tf32": 156, "bf16": 312}, 2039, 80, 400, (8, 0)),
    "rtx3080ti": _row("rtx 3080 ti", {"fp32": 34.1, "tf32": 34.1, "bf16": 68.2}, 912, 12, 350, (8, 6)),
    "rtx3090": _row("rtx 3090", {"fp32": 35.6, "tf32": 35.6, "bf16": 71.2}, 936, 24, 350, (8, 6)),
    "a6000": _row("rtx a6000", {"fp32": 38.7, "tf32": 77.4, "bf16": 154.8}, 768, 48, 300, (8, 6)),
    "rtx4090": _row("rtx 4090", {"fp32": 82.6, "tf32": 82.6, "bf16": 165.2}, 1008, 24, 450, (8, 9)),
    "l40s": _row("l40s", {"fp32": 91.6, "tf32": 183, "bf16": 362}, 864, 48, 350, (8, 9)),
    "h100": _row("h100", {"fp32": 67, "tf32": 494, "bf16": 989}, 3350, 80, 700, (9, 0)),
    "h200": _row("h200", {"fp32": 67, "tf32": 494, "bf16": 989}, 4800, 141, 700, (9, 0)),
    "b200": _row("b200", {"fp32": 75, "tf32": 1100, "bf16": 2200}, 8000, 180, 1000, (10, 0)),
    "rtx5090": _row("rtx 5090", {"fp32": 104.8, "tf32": 104.8, "bf16": 209.5}, 1792, 32, 575, (12, 0)),
}


def device_of_card(name: str) -> str | None:
    """The table's word for a card, by what its driver calls it; the longest match. None: no row."""
    words = f" {name.lower().replace('-', ' ')} "
    found = [kind for kind, device in DEVICES.items() if f" {device.card} " in words]
    return max(found, key=lambda kind: len(DEVICES[kind].card), default=None)


def wheels_advice(capability: tuple[int, int]) -> str | None:
    """What to install on a card that the default torch wheels no longer run on; None where they do."""
    if capability >= DEFAULT_WHEELS_FROM:
        return None
    return (
        f"`pip install torch --index-url {LEGACY_WHEELS}`: CUDA 12.6 builds up to torch 2.14, the last for it"
    )
