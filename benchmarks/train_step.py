"""Adversarial training step on a CPU: ours against two plain PyTorch loops (peers/trades.py): one written as
published repositories write theirs, one as a careful author would.

All train the same WideResNet on the same synthetic 32x32 images from the same start with the same attack noise:
TRADES, beta 5, PGD-10, SGD. CPU time of one thread, steps interleaved. Loss trajectories are compared step by step and
have to agree within TOLERANCE: in fp32 up to rounding, whose signs an attack turns into whole steps; bf16 is another
rounding of every product. Exit status 1 where they don't.
Run: python benchmarks/train_step.py [--steps 8] [--width 1] [--batch 64] [--attack eval|train] [--bf16]"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from peers.trades import EPSILON, Careful, Published

from isoloss.compiler.plan import TrainSpec
from isoloss.runtime.data import ImageSet
from isoloss.runtime.training.feed import Feed, open_source
from isoloss.runtime.training.trainer import Trainer

LR, IMAGES = 0.05, 1024
#: Largest |difference| of a step's loss from the published loop's. Measured in the first 4 steps of WRN-16-1 and -2:
#: 4e-5 in fp32, 1e-3 in bf16; it grows with their number. The bounds are assumed.
TOLERANCE = {"ours fp32": 1e-3, "careful": 1e-3, "ours bf16": 0.05, "published": 0.0}


def spec_of(depth: int, width: int, batch: int, attack: str, dtype: str = "fp32") -> TrainSpec:
    pgd = {"kind": "pgd", "norm": "linf", "eps": "8/255", "step": "2/255", "steps": 10, "loss": "kl",
           "restarts": 1, "start": "uniform"}  # fmt: skip
    recipe = {
        "loss": {"kind": "trades", "beta": 5, "label_smoothing": "1/10"},
        "attack": pgd,
        "optimizer": {"kind": "sgd", "momentum": "9/10", "nesterov": True, "weight_decay": 5e-4},
        "schedule": {"kind": "constant"},
        "average": {"kind": "ema", "decay": "199/200", "warmup": 0.025},
        "augment": {"kind": "none"},
        "normalize": {"kind": "cifar10"},
        "batchnorm": {"kind": "batchnorm", "attack": attack, "momentum": "1/100", "first": 1},
        "batch": batch,
        "lr": LR,
        "clip": None,
    }
    numerics = {"dtype": dtype, "tf32": False, "deterministic": True, "batchnorm_group": batch}
    model = {"kind": "wrn", "depth": depth, "width": width}
    images = {"kind": "real", "images": None}
    return TrainSpec({"kind": "cifar10"}, model, images, recipe, 10**6, 1000, None, 1, numerics)


def images(count: int = IMAGES) -> ImageSet:
    """Ten noisy colour patterns: learnable, made here."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, count)
    patterns = rng.uniform(0.2, 0.8, (10, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    pixels = patterns[labels] + rng.normal(0, 0.15, (count, 32, 32, 3))
    return ImageSet((pixels.clip(0, 1) * 255).astype(np.uint8), labels.astype(np.int64), 10)


def trainer(spec: TrainSpec, device: str = "cpu", fuse: bool = False) -> Trainer:
    data = images()
    feed = Feed([open_source([data], len(data), 1, device)], int(spec.recipe["batch"]), device)
    return Trainer(spec, feed, device, fuse=fuse)


def fed(peer: Published | Careful, ours: Trainer) -> Callable[[], float]:
    """The peer's step on our images and noise, in the memory layout that it would have."""
    index = 0

    def step() -> float:
        nonlocal index
        x, y = ours.feed.load(index)
        x = x.contiguous()
        noise = (ours._noise("attack", index).uniform(x) * 2 - 1) * EPSILON
        index += 1
        return peer.step(x, y, noise)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--attack", choices=("eval", "train"), default="eval")
    parser.add_argument("--bf16", action="store_true", help="slow where the CPU has no AVX512-BF16 or AMX")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shape = options.depth, options.width, options.batch, options.attack
    ours = trainer(spec_of(*shape))
    steps: dict[str, Callable[[], float]] = {"ours fp32": ours.step}
    if options.bf16:
        steps["ours bf16"] = trainer(spec_of(*shape, "bf16")).step
    steps["published"] = fed(Published(ours.network, LR, options.attack), ours)
    steps["careful"] = fed(Careful(ours.network, LR, options.attack), ours)
    times: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.steps):
        for name, step in steps.items():
            start = time.process_time()
            losses[name].append(step())
            times[name].append(time.process_time() - start)
    seconds = {name: float(np.median(taken[1:])) for name, taken in times.items()}
    print(f"WRN-{options.depth}-{options.width}, batch {options.batch}, {options.attack}-mode attack, "
          f"{options.steps} steps, one thread, median CPU time; load {os.getloadavg()[0]:.1f}")  # fmt: skip
    apart = False
    for name in steps:
        delta = np.abs(np.subtract(losses[name], losses["published"]))
        print(f"{name:10s} {options.batch / seconds[name]:7.1f} img/s  "
              f"{seconds['published'] / seconds[name]:5.2f} x published  "
              f"{seconds['careful'] / seconds[name]:5.2f} x careful  "
              f"loss |delta| mean {delta.mean():.2e} max {delta.max():.2e} "
              f"of {TOLERANCE[name]:g}")  # fmt: skip
        apart = apart or bool(delta.max() > TOLERANCE[name])
    if apart:
        sys.exit("the loss trajectories differ by more than their tolerance")


if __name__ == "__main__":
    main()
