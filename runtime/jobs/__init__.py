"""One module per job kind; `JOBS` is the worker's table. Modules load when a job of their kind runs."""

from __future__ import annotations

from importlib import import_module

from isoloss.runtime.context import JobFunction

MODULES = {"generate": "generate", "fid": "fid", "train": "train", "evaluate": "evaluate"}


def job_function(kind: str) -> JobFunction:
    """The function that performs jobs of `kind`: `run` of `runtime/jobs/<kind>.py`. Raises KeyError."""
    function: JobFunction = import_module(f"isoloss.runtime.jobs.{MODULES[kind]}").run
    return function
