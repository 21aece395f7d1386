"""What goes wrong while running, as a value a person can act on.

Raised anywhere below the worker; the worker stores it with the job's origin line; the front door prints it
with its code (rows of `dsl/diagnostics/codes/runtime.py`)."""

from __future__ import annotations

#: What a process of a job says when another one is gone or went its own way: never the cause, worth another try.
LOST_PEER = "R212"
#: Help for a job that was killed, cancelled or lost.
AGAIN = "the same command goes on from its last checkpoint"


class JobError(Exception):
    """A job can't go on. `code` is an R code; `help` says what to do; `retry`: another attempt goes on."""

    def __init__(self, code: str, message: str, *help: str, retry: bool = False) -> None:
        self.code = code
        self.message = message
        self.help = help
        self.retry = retry
        super().__init__(message)


def first_line(error: BaseException) -> str:
    """What an exception of a library says, as a part of our own message: its first line; its class where it says
    nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


class Stopped(Exception):  # noqa: N818 - not an error: the job did as it was asked
    """The job was asked to stop, has saved what it needs to go on later, and did not finish."""
