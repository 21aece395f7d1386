"""Real jobs whose process is killed each time at the same place, before they have saved anything to go on from."""

from __future__ import annotations

import os
import signal
from unittest.mock import patch

from isoloss.compiler.plan import Observation
from isoloss.runtime.context import JobContext
from isoloss.runtime.data import shuffle
from isoloss.runtime.jobs import import_, train
from isoloss.runtime.store.leases import Lease
from isoloss.runtime.training.trainer import Trainer
from tests.runtime import fakes


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def training(context: JobContext) -> tuple[Observation, ...]:
    """At its first step."""
    with patch.object(Trainer, "step", die):
        return train.run(context)


def importing(context: JobContext) -> tuple[Observation, ...]:
    """When all images lie in their buckets."""
    with patch.object(shuffle, "_append", die):
        return import_.run(context)


def keeping(context: JobContext) -> tuple[Observation, ...]:
    """When its result is in and said, before its lease is given back."""
    patch.object(Lease, "release", die).start()  # for good: the process ends with this job
    return fakes.generate(context)
