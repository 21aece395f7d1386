"""Real jobs whose process is killed each time at the same place, before they have saved anything to go on from."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

from isoloss.compiler.plan import Observation
from isoloss.runtime.context import JobContext
from isoloss.runtime.data import shuffle
from isoloss.runtime.jobs import generate, import_, train
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


def publishing(context: JobContext) -> tuple[Observation, ...]:
    """When a part of its shard is moved to its output already, on a file system without links."""
    made = np.zeros((10, 2, 2, 1), np.uint8), np.zeros(10, np.int64)
    pieces = [(n, made[0][n : n + 2], made[1][n : n + 2]) for n in range(0, 10, 2)]
    source = SimpleNamespace(shape=(2, 2, 1), pieces=lambda start, stop, threads: pieces)
    count, moved = 0, generate.shutil.move

    def move(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        return moved(*arguments) if count == 1 else die()

    with patch.object(generate.shutil, "move", move), patch.object(generate.os, "link", side_effect=OSError):
        generate.write_shard(source, 0, 10, context.work, context.output, context.progress)
    raise AssertionError("it lived")
