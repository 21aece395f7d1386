"""Adversarial training step on a CPU: ours against a plain PyTorch TRADES loop of the published kind.

Both train WRN-16-1 on the same synthetic 32x32 images from the same start with the same attack noise: TRADES,
beta 5, PGD-10, eval-mode attack, SGD. CPU time of one thread, steps of A and B interleaved; the loss
trajectories are compared. Run: python benchmarks/train_step.py [--steps 8] [--width 1] [--batch 64]
[--attack eval|train]"""

from __future__ import annotations

import argparse
import copy
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torch.nn.functional as F

from isoloss.compiler.plan import TrainSpec
from isoloss.runtime.data import ImageSet
from isoloss.runtime.training.feed import Feed, Source, open_images
from isoloss.runtime.training.sampler import Sampler
from isoloss.runtime.training.trainer import Trainer

EPSILON, STEP_SIZE, ATTACK_STEPS, BETA = 8 / 255, 2 / 255, 10, 5.0


def plain_step(network, optimizer, x, y, noise, mode):
    """One TRADES step as published repositories write it: autograd through softmax and KL, contiguous memory,
    batch norm unfolded, `.backward()` outside only."""
    if mode == "eval":
        network.eval()
    for norm in network.batch_norms():
        norm.frozen = True
    criterion = torch.nn.KLDivLoss(reduction="sum")
    with torch.no_grad():
        p_natural = F.softmax(network(x), dim=1)
    x_adv = (x + noise).clamp(0.0, 1.0)
    for _ in range(ATTACK_STEPS):
        x_adv.requires_grad_()
        with torch.enable_grad():
            loss = criterion(F.log_softmax(network(x_adv), dim=1), p_natural)
        gradient = torch.autograd.grad(loss, [x_adv])[0]
        x_adv = x_adv.detach() + STEP_SIZE * torch.sign(gradient.detach())
        x_adv = torch.min(torch.max(x_adv, x - EPSILON), x + EPSILON)
        x_adv = torch.clamp(x_adv, 0.0, 1.0)
    for norm in network.batch_norms():
        norm.frozen = False
    network.train()
    optimizer.zero_grad()
    natural, adversarial = network(x), network(x_adv)
    loss = F.cross_entropy(natural, y, label_smoothing=0.1) + BETA / len(x) * criterion(
        F.log_softmax(adversarial, dim=1), F.softmax(natural, dim=1)
    )
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def spec_of(options, dtype: str) -> TrainSpec:
    attack = {"kind": "pgd", "norm": "linf", "eps": "8/255", "step": "2/255", "steps": ATTACK_STEPS,
              "loss": "kl", "restarts": 1, "start": "uniform"}  # fmt: skip
    recipe = {
        "loss": {"kind": "trades", "beta": 5, "label_smoothing": "1/10"},
        "attack": attack,
        "optimizer": {"kind": "sgd", "momentum": "9/10", "nesterov": True, "weight_decay": 5e-4},
        "schedule": {"kind": "constant"},
        "average": {"kind": "none"},
        "augment": {"kind": "none"},
        "normalize": {"kind": "cifar10"},
        "batchnorm": {"kind": "batchnorm", "attack": options.attack, "momentum": "1/100"},
        "batch": options.batch,
        "lr": 0.05,
        "clip": None,
    }
    numerics = {"dtype": dtype, "tf32": False, "deterministic": True, "batchnorm_group": options.batch}
    model = {"kind": "wrn", "depth": options.depth, "width": options.width}
    return TrainSpec({"kind": "cifar10"}, model, {"kind": "real"}, recipe, 10**6, 1000, None, 1, numerics)


def images(count: int) -> ImageSet:
    """Ten noisy colour patterns: learnable, made here."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, count)
    patterns = rng.uniform(0.2, 0.8, (10, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    pixels = patterns[labels] + rng.normal(0, 0.15, (count, 32, 32, 3))
    return ImageSet((pixels.clip(0, 1) * 255).astype(np.uint8), labels.astype(np.int64), 10)


class Plain:
    """The plain loop, fed with our sampler's images and our noise so that only the step differs."""

    def __init__(self, trainer: Trainer, spec: TrainSpec, feed: Feed) -> None:
        self.network = copy.deepcopy(trainer.network).to(memory_format=torch.contiguous_format)
        norms = {id(p) for norm in self.network.batch_norms() for p in norm.parameters()}
        groups = [
            {"params": [p for p in self.network.parameters() if id(p) not in norms]},
            {"params": [p for p in self.network.parameters() if id(p) in norms], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
        self.trainer, self.spec, self.feed, self.index = trainer, spec, feed, 0

    def step(self) -> float:
        x, y = self.feed.load(self.feed.indices(self.index), 0, self.feed.batch)
        x = x.contiguous()
        noise = (self.trainer._noise("attack", self.index).uniform(x) * 2 - 1) * EPSILON
        self.network.set_momentum(1.0 if self.index == 0 else 0.01)
        self.index += 1
        return plain_step(self.network, self.optimizer, x, y, noise, self.spec.recipe["batchnorm"]["attack"])


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
    data = images(1024)
    runners: dict[str, Trainer | Plain] = {}
    modes = [("ours fp32", "fp32"), *([("ours bf16", "bf16")] if options.bf16 else [])]
    for name, dtype in modes:
        spec = spec_of(options, dtype)
        feed = Feed([Source(open_images([data], None, "cpu"), Sampler(1, 1024), options.batch)])
        runners[name] = Trainer(spec, feed)
    spec = spec_of(options, "fp32")
    fp32 = runners["ours fp32"]
    assert isinstance(fp32, Trainer)
    runners["plain"] = Plain(fp32, spec, fp32.feed)
    times: dict[str, list[float]] = {name: [] for name in runners}
    losses: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(options.steps):
        for name, runner in runners.items():
            start = time.process_time()
            losses[name].append(runner.step())
            times[name].append(time.process_time() - start)
    base = float(np.median(times["plain"][1:]))
    print(f"WRN-{options.depth}-{options.width}, batch {options.batch}, {options.attack}-mode attack, "
          f"{options.steps} steps, one thread, median CPU time")  # fmt: skip
    for name in runners:
        seconds = float(np.median(times[name][1:]))
        delta = np.abs(np.subtract(losses[name], losses["plain"]))
        print(f"{name:10s} {options.batch / seconds:7.1f} img/s  {base / seconds:5.2f} x plain  "
              f"loss |delta| mean {delta.mean():.2e} max {delta.max():.2e}")  # fmt: skip


if __name__ == "__main__":
    main()
