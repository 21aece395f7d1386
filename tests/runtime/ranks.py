"""Several real processes on loopback, for tests: gloo between them, forked from one that has loaded torch and
DeepSpeed already."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from typing import Any

PRELOAD = ["isoloss.runtime.worker.preload", "deepspeed.runtime.zero.stage_1_and_2"]


def _context() -> ForkServerContext:
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_ranks(world_size: int, work: Callable[..., None], *arguments: Any, ends: int = 0) -> None:
    """`work(rank, world_size, *arguments)` in so many processes at once; all have to end well, or with the exit
    code `ends`."""
    context, port = _context(), free_port()
    ranks = [
        context.Process(target=_rank, args=(work, rank, world_size, port, arguments))
        for rank in range(world_size)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [ends] * world_size


def _rank(
    work: Callable[..., None], rank: int, world_size: int, port: int, arguments: tuple[Any, ...]
) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    work(rank, world_size, *arguments)
