"""Small real trainings for tests: a TrainSpec on the digits, a context in a folder, no worker."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from isoloss.compiler.plan import Component, Cost, Facts, Job, Origin, TrainSpec
from isoloss.runtime.context import JobContext
from isoloss.runtime.errors import Stopped
from isoloss.runtime.jobs import train
from isoloss.runtime.training.feed import Feed
from isoloss.runtime.training.trainer import Trainer

DIGITS = {"kind": "digits"}
TRADES = {"kind": "trades", "beta": 5, "label_smoothing": "1/10"}


def pgd(steps: int = 3, loss: str = "kl", eps: str = "3/20", **more: Any) -> Component:
    base = {"kind": "pgd", "norm": "linf", "eps": eps, "step": "3/80", "steps": steps, "loss": loss}
    return base | {"restarts": 1, "start": "uniform"} | more


def batchnorm(attack: str = "train", momentum: str = "1/100") -> Component:
    return {"kind": "batchnorm", "attack": attack, "momentum": momentum, "first": 1}


EVALUATION = {"attack": pgd(5, "cw"), "weights": "average", "split": "test", "images": 100, "every": 0.25}


def train_spec(steps: int = 8, batch: int = 16, lr: float = 0.1, **more: Any) -> TrainSpec:
    """cnn(2) on the digits under TRADES; keyword arguments replace parts of the recipe or of the spec."""
    recipe: dict[str, Any] = {
        "loss": TRADES,
        "attack": pgd(),
        "optimizer": {"kind": "sgd", "momentum": "9/10", "nesterov": True, "weight_decay": 5e-4},
        "schedule": {"kind": "cosine", "warmup": "1/40", "per": "step", "cycle_momentum": False},
        "average": {"kind": "ema", "decay": "199/200", "warmup": 0.025},
        "augment": {"kind": "none"},
        "normalize": {"kind": "none"},
        "batchnorm": batchnorm(),
        "batch": batch,
        "lr": lr,
        "clip": None,
        "perturb": {"kind": "none"},
    }
    recipe |= {name: more.pop(name) for name in list(more) if name in recipe}
    numerics = {"dtype": "fp32", "tf32": False, "deterministic": True, "batchnorm_group": batch}
    whole: dict[str, Any] = {
        "dataset": DIGITS,
        "model": {"kind": "cnn", "width": 2},
        "data": {"kind": "real", "images": None},
        "recipe": recipe,
        "train_steps": steps,
        "steps_per_epoch": 4,
        "evaluation": None,
        "seed": 3,
        "numerics": numerics,
    }
    return TrainSpec(**(whole | more))


class Log:
    """A MetricLog that remembers."""

    def __init__(self) -> None:
        self.points: list[tuple[str, float, int]] = []

    def __call__(self, metric: str, value: float, step: int) -> None:
        self.points.append((metric, value, step))

    def flush(self) -> None:
        pass


def context(
    spec: TrainSpec,
    folder: Path,
    stopping: Callable[[], bool] = lambda: False,
    inputs: Mapping[str, Path] | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> JobContext:
    facts = Facts(params=944, images=spec.train_steps * spec.recipe["batch"], flops_per_image=1000.0)
    job = Job("1" * 20, "train", "a run", (), spec, Origin(), Cost(), "ready", "a test", facts)
    for name in ("output", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return JobContext(
        job=job,
        output=folder / "output",
        work=folder / "work",
        inputs=inputs or {},
        device="cpu",
        threads=1,
        data_root=None,
        log=Log(),
        progress=progress,
        stopping=stopping,
    )


def in_parts(job: Callable[[Callable[[], bool]], object]) -> None:
    """Do a job, given what it asks whether to stop, that is stopped at every third question until it is done; it has
    to take more than two attempts."""
    for attempt in range(1, 9):
        asked: list[int] = []

        def stopping(asked: list[int] = asked) -> bool:
            asked.append(1)
            return len(asked) == 3

        try:
            job(stopping)
        except Stopped:
            torch.manual_seed(attempt)  # whatever happens between must not matter
        else:
            assert attempt > 2
            return
    raise AssertionError("never done")


def feed_of(spec: TrainSpec) -> Feed:
    """The digits' real images, which need nothing of a job's folder."""
    with tempfile.TemporaryDirectory() as folder:
        return train.open_feed(spec, context(spec, Path(folder)))


def trainer_of(spec: TrainSpec, **more: Any) -> Trainer:
    """A trainer on the digits' real images."""
    return Trainer(spec, feed_of(spec), **more)
