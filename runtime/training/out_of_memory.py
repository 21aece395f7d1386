"""Memory that ran out: how to tell, on every device.

In: an exception; two readings of the kernel's counter. Out: was it memory? Loads no torch."""

from __future__ import annotations

from pathlib import Path


def ran_out(error: BaseException) -> bool:
    """Did an allocation fail, on the device or on the host? Torch's CPU allocator raises a plain RuntimeError."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = "allocate memory", "not enough memory"
    return isinstance(error, RuntimeError) and any(each in str(error) for each in words)


def kernel_kills() -> int:
    """How many processes the kernel killed for memory since boot, or in this cgroup; compare two readings."""
    total = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return total
