"""Ctrl-C as a count: an executor decides at its own pace what the first and the second one mean.

In: whoever counts. Out: signal handlers, put back afterwards."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Counting(Protocol):
    interrupts: int


@contextmanager
def interruptible(state: Counting) -> Iterator[None]:
    """Ctrl-C and SIGTERM are counted instead of raised, so that no state is lost half-way."""

    def count(*_: object) -> None:
        state.interrupts += 1

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
