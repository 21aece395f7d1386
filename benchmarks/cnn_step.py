"""The miniature's training step: images per second by width, what matrices buy, what the engine costs.

CPU time of one thread, best of five interleaved rounds. TRADES with PGD-10, batch 64, 8x8 digits.
Run: python benchmarks/cnn_step.py [--widths 1 2 4 8] [--attack train|eval]"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from isoloss.compiler.plan import TrainSpec
from isoloss.runtime.data import load
from isoloss.runtime.training.feed import Feed, open_source
from isoloss.runtime.training.trainer import Trainer

ROUNDS, STEPS, BATCH = 5, 20, 64


def spec_of(width: int, attack: str) -> TrainSpec:
    pgd = {"kind": "pgd", "norm": "linf", "eps": "3/20", "step": "3/80", "steps": 10, "loss": "kl"}
    recipe = {
        "loss": {"kind": "trades", "beta": 5, "label_smoothing": "1/10"},
        "attack": pgd | {"restarts": 1, "start": "uniform"},
        "optimizer": {"kind": "sgd", "momentum": "9/10", "nesterov": True, "weight_decay": 5e-4},
        "schedule": {"kind": "constant"},
        "average": {"kind": "ema", "decay": "199/200", "warmup": 0.025},
        "augment": {"kind": "none"},
        "normalize": {"kind": "none"},
        "batchnorm": {"kind": "batchnorm", "attack": attack, "momentum": "1/100", "first": 1},
        "batch": BATCH,
        "lr": 0.1,
        "clip": None,
    }
    numerics = {"dtype": "fp32", "tf32": False, "deterministic": True, "batchnorm_group": BATCH}
    model = {"kind": "cnn", "width": width}
    return TrainSpec(
        {"kind": "digits"}, model, {"kind": "real", "images": None}, recipe, 10**6, 16, None, 1, numerics
    )


class BareEngine:
    """What DeepSpeed does for one process, without it."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()


def best(runners: dict[str, Callable[[], object]]) -> dict[str, float]:
    """CPU seconds per call, the best round of each; rounds interleaved."""
    found = dict.fromkeys(runners, float("inf"))
    for _ in range(ROUNDS):
        for name, call in runners.items():
            start = time.process_time()
            for _ in range(STEPS):
                call()
            found[name] = min(found[name], (time.process_time() - start) / STEPS)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--attack", choices=("train", "eval"), default="train")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load({"kind": "digits"}, "train")
    print(f"TRADES PGD-10, batch {BATCH}, {options.attack}-mode attack, one thread; img/s by CPU time")
    print("width     ours  conv form  ratio  bare engine  overhead")
    for width in options.widths:
        trainers = {}
        for name in ("ours", "conv", "bare"):
            feed = Feed([open_source([data], len(data), 1)], BATCH)
            trainers[name] = Trainer(spec_of(width, options.attack), feed)
        trainers["conv"].network.dense = None
        trainers["bare"].engine = BareEngine(trainers["bare"].optimizer)  # type: ignore[assignment]
        seconds = best({name: trainer.step for name, trainer in trainers.items()})
        ours, conv, bare = (BATCH / seconds[name] for name in ("ours", "conv", "bare"))
        print(f"{width:5d} {ours:8.0f} {conv:10.0f} {ours / conv:6.2f} {bare:12.0f} {bare / ours - 1:9.1%}")


if __name__ == "__main__":
    main()
