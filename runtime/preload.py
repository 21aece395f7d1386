"""What every worker needs, loaded once before workers are forked: importing this module is its whole work.

On a GPU machine deepspeed is left to the workers: its import looks for the accelerator, and a process that
has touched CUDA can't be forked."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib import import_module

from isoloss.compiler.plan import observations_from_json
from isoloss.runtime.jobs import JOBS

import_module("torch")
if os.environ.get("DS_ACCELERATOR") == "cpu":
    import_module("deepspeed")
    for place in JOBS.values():
        # A job module that can't be loaded fails in its own job, where it can be told.
        with suppress(Exception):
            import_module(place.partition(":")[0])
observations_from_json(b"[]")  # builds pydantic's validator, once
