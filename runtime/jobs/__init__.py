"""Job kinds -> the functions that run them. A kind's module is imported only by the worker that runs it.

In: a kind's name. Out: its `run(context) -> observations`. Tests and third parties register their own."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from isoloss.runtime.context import JobFunction
from isoloss.runtime.errors import JobError

#: kind -> "module:function". Names, so that listing the kinds loads no torch.
JOBS: dict[str, str] = {
    "denoiser": "isoloss.runtime.jobs.denoiser:run",
    "discriminator": "isoloss.runtime.jobs.discriminator:run",
    "generate": "isoloss.runtime.jobs.generate:run",
    "import": "isoloss.runtime.jobs.import_:run",
    "fid": "isoloss.runtime.jobs.fid:run",
    "train": "isoloss.runtime.jobs.train:run",
    "evaluate": "isoloss.runtime.jobs.evaluate:run",
}


def job_function(kind: str, table: Mapping[str, str] = JOBS) -> JobFunction:
    """The function that runs jobs of `kind`. Raises JobError R208 if there is none.

    `table` maps kinds to "module:function"; it comes from our registry or a test, never from a plan."""
    place = table.get(kind)
    if place is None:
        known = ", ".join(sorted(table))
        raise JobError("R208", f"no job function for kind `{kind}`", f"known kinds: {known}")
    module, _, name = place.partition(":")
    return cast(JobFunction, getattr(import_module(module), name))
