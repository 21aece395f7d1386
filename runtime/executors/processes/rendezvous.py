"""Where the processes of one job find each other: the variables that torch.distributed reads.

In: the address and port of rank 0, a rank. Out: this process's environment. Loads no torch."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port of this host that nobody listens at. Rank 0 listens there moments later."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def join(address: str, port: int, rank: int, world_size: int) -> None:
    """Set what torch.distributed and DeepSpeed look for."""
    # Each process sees its own device only: it is the first.
    os.environ.update(MASTER_ADDR=address, MASTER_PORT=str(port), LOCAL_RANK="0")
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size))
    found = interface_to(address)
    if found is not None:
        # Left alone, gloo listens where the host's own name leads, which on many hosts is loopback.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", found)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", f"={found}")


def interface_to(address: str) -> str | None:
    """The network interface whose address this host shows to `address`: "eth0". None: not found, or several
    ways lead there."""
    import psutil

    with suppress(OSError):
        family, _, _, _, place = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(place)  # datagrams: nothing is sent, the route is looked up
            ours = probe.getsockname()[0]
        for name, addresses in psutil.net_if_addrs().items():
            if any(known.address.partition("%")[0] == ours for known in addresses):
                return str(name)
    return None
