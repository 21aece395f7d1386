"""What every worker needs, loaded once before workers are forked: importing this module is its whole work.

On a GPU machine deepspeed is left to the workers: its import looks for the accelerator, and a process that
has touched CUDA can't be forked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module

from isoloss.compiler.plan import observations_from_json
from isoloss.runtime.jobs import JOBS

#: What torch and the digits load at first use: about 2 s of CPU, once here or again in every job.
AT_FIRST_USE = ("sympy", "sklearn.datasets", "torch.utils.serialization.config")
#: The same, of modules that may look for a device while they load.
ON_CPU = (
    "torch._dynamo",
    "torch.fx.experimental.symbolic_shapes",
    "torch.distributed.tensor",
    "deepspeed",
    "deepspeed.module_inject",
    "deepspeed.ops.op_builder.all_ops",
)


def load(names: Iterable[str]) -> None:
    """Import what can be imported; the rest fails in the job that needs it, where it can be told."""
    for name in names:
        with suppress(Exception):
            import_module(name)


import_module("torch")
load(AT_FIRST_USE)
if os.environ.get("DS_ACCELERATOR") == "cpu":
    load(ON_CPU)
    load(place.partition(":")[0] for place in JOBS.values())
observations_from_json(b"[]")  # builds pydantic's validator, once
