"""Two hosts on one: network, process and name spaces of their own, a cable between them, one file system.

For tests, never for users. Needs root, iproute2 and util-linux. What isoloss takes for ssh is a script that steps
into a host; killing its process is the host's power cut."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Of the block for documentation (RFC 5737): nobody's.
ADDRESSES = ("192.0.2.1", "192.0.2.2")

_SSH = """\
#!/bin/sh
# HOST LINE, as ssh is called. The host's name is not in any table of names, as on many real ones.
exec ip netns exec {prefix}-$1 unshare --uts --pid --fork --kill-child=KILL --mount-proc \\
    sh -c 'hostname "host-$1"; exec sh -c "$2"' sh "$1" "$2"
"""


def missing() -> str | None:
    """Why no hosts can be made here, or None."""
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    absent = [p for p in ("ip", "unshare") if shutil.which(p) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian packages iproute2 and util-linux)"
    probe = subprocess.run(
        ["unshare", "--net", "--uts", "--pid", "--fork", "true"], capture_output=True, check=False
    )
    return None if probe.returncode == 0 else "namespaces are not allowed here"


@dataclass
class Network:
    """`ssh` is the script for ISOLOSS_SSH."""

    ssh: Path
    prefix: str

    def cut_the_power(self, address: str) -> None:
        """Everything on this host is gone at once, unannounced."""
        hit = 0
        for process in psutil.process_iter(["cmdline"]):
            line = process.info["cmdline"] or []
            if line[:1] == ["unshare"] and "host-$1" in " ".join(line) and address in line:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
                    hit += 1
        assert hit, f"{address} was not running"


@contextmanager
def two_hosts(folder: Path) -> Iterator[Network]:
    prefix = f"iso{os.getpid() % 100000}"
    ssh = folder / "ssh"
    ssh.write_text(_SSH.format(prefix=prefix))
    ssh.chmod(0o755)
    names = [f"{prefix}-{address}" for address in ADDRESSES]
    ends = [f"{prefix}v{n}" for n in range(2)]
    try:
        for name in names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for name, end, address in zip(names, ends, ADDRESSES, strict=True):
            _ip("link", "set", end, "netns", name)
            _ip("-n", name, "address", "add", f"{address}/24", "dev", end)
            _ip("-n", name, "link", "set", end, "up")
        yield Network(ssh, prefix)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
