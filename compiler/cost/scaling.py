"""What several devices make of a job: seconds on w devices are those on one over w^0.95. Pure."""

from __future__ import annotations

from isoloss.compiler.plan import Cost, Range

#: On w devices seconds are divided by w to this power: 5 % lost per e-fold (assumed: no job was measured on
#: several devices).
SCALING = 0.95
LOSS_PER_E_FOLD = 0.05


def widened(alone: Range, devices: int) -> Range:
    """Device-seconds on so many devices of what takes `alone` on one."""
    factor: float = devices ** (1 - SCALING)
    return Range(alone.low * factor, alone.mid * factor, alone.high * factor)


def alone_seconds(device_seconds: float, devices: int) -> float:
    """The seconds on one device of what takes so many device-seconds on `devices`."""
    return float(device_seconds / devices ** (1 - SCALING))


def fewest(cost: Cost) -> int:
    """Devices that the job takes at least."""
    return 1 if cost.placement is None else cost.placement.devices


def wall_seconds(cost: Cost) -> float | None:
    """Seconds by the clock on its fewest devices; None: not estimated."""
    return None if cost.seconds is None else cost.seconds.mid / fewest(cost)


def widest_job(device: str, devices: int) -> int:
    """Devices that one job may have: all of an accelerator; a CPU's cores take a job each, since bits depend
    on the thread count."""
    return 1 if device == "cpu" else devices
