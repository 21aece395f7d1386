"""What a training pays around its maths: our step against a bare loop of the same maths, and a step's log line.

The bare loop has the same feed, noise, attack, loss, optimiser and average, and nothing else: no DeepSpeed, schedule,
ledger, curve, checks or log. CPU time of one thread, steps interleaved, the median of the ratios of neighbours.
Run: python benchmarks/step_overhead.py [--steps 8] [--depth 16] [--width 1] [--batch 64] [--attack eval|train]"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from train_step import spec_of, trainer

from isoloss.compiler.plan import exact
from isoloss.runtime.noise import noise_at
from isoloss.runtime.store.journal import Journal, MetricBuffer
from isoloss.runtime.training.optimizers import make_optimizer
from isoloss.runtime.training.trainer import Trainer

LOGGED = 50_000


def bare(ours: Trainer) -> Callable[[], float]:
    """The loop, around a second Trainer's network, attack and average."""
    recipe, network, step = ours.spec.recipe, ours.network, 0
    optimizer = make_optimizer(recipe["optimizer"], network, recipe["lr"])
    momentum = exact(recipe["batchnorm"]["momentum"])

    def run() -> float:
        nonlocal step
        network.set_momentum(1.0 if step == 0 else momentum)
        x, y = ours.feed.load(step)
        noise = noise_at(ours._stream, "attack", step * ours.feed.batch, total=ours.feed.batch)
        loss = ours.loss.training(network, x, y, ours.inner.at(noise))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if ours.average is not None:
            ours.average.update(step)
        return float(loss.detach())

    return run


def log_seconds(folder: Path) -> float:
    """CPU seconds of a point in a job's log, its share of the journal's lines included."""
    log = MetricBuffer(Journal(folder / "journal.jsonl"), "0" * 20)
    start = time.process_time()
    for step in range(LOGGED):
        log("train loss trades(5)", 1.25, step)
    log.flush()
    return (time.process_time() - start) / LOGGED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--attack", choices=("eval", "train"), default="eval")
    options = parser.parse_args()
    torch.set_num_threads(1)
    spec = spec_of(options.depth, options.width, options.batch, options.attack)
    steps = {"ours": trainer(spec).step, "bare": bare(trainer(spec))}
    times: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(options.steps):
        # In turns, so that neither always has the cache of the other.
        for name in sorted(steps, reverse=bool(turn % 2)):
            start = time.process_time()
            losses[name].append(steps[name]())
            times[name].append(time.process_time() - start)
    ratios = np.divide(times["ours"][1:], times["bare"][1:])
    with tempfile.TemporaryDirectory() as folder:
        logged = log_seconds(Path(folder))
    seconds = float(np.median(times["ours"][1:]))
    apart = np.abs(np.subtract(losses["ours"], losses["bare"])).max()
    print(f"WRN-{options.depth}-{options.width}, batch {options.batch}, {options.attack}-mode attack, "
          f"{options.steps} steps, one thread; load {os.getloadavg()[0]:.1f}")  # fmt: skip
    print(f"overhead over the bare loop {np.median(ratios) - 1:+.2%} (quartiles {np.quantile(ratios, 0.25) - 1:+.2%} "
          f"to {np.quantile(ratios, 0.75) - 1:+.2%}), loss |delta| max {apart:.1e}")  # fmt: skip
    print(f"a logged point {logged * 1e6:.1f} us, {logged / seconds:.4%} of a step of {seconds * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
