"""Adversarial training step on an NVIDIA GPU: ours against the published kind of loop (peers/trades.py), in images/s
and in shares of what the card's matrix units do on a large bf16 product in the same run.

The same network, images, start and attack noise; TRADES, beta 5, PGD-10, SGD. Wall time between synchronisations, the
median of the steps after two; the compiler's time is told apart. FLOPs are the rule's: 27 forward passes per image.
The published loop runs as its authors run it: TF32, cuDNN's autotuning, no determinism; beside it `free` without TF32,
what determinism gives away, and `deterministic` with our switches, in contiguous memory beside our channels-last.
Losses are compared step by step with the published loop's in the same number format. In fp32 they have to agree within
TOLERANCE (exit status 1); in bf16 every product rounds otherwise and deep networks drift apart: told, not judged.
Run: python benchmarks/train_step_cuda.py [16-1:256 28-10:256 70-16:128] [--steps 4] [--attack eval|train]"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from peers.trades import Published
from train_step import EPSILON, LR, spec_of, trainer

from isoloss.compiler.cost.architectures import count
from isoloss.runtime import attacks
from isoloss.runtime.training.inner_attack import InnerAttack
from isoloss.runtime.training.precision import switched
from isoloss.runtime.training.trainer import Trainer

DEVICE = "cuda:0"
#: How the published loop is run: TF32 and cuDNN's autotuning, or None for our own switches.
PUBLISHED: dict[str, tuple[bool, bool] | None] = {
    "published": (True, True),
    "published, free": (False, True),
    "published, deterministic": None,
}
WARM = 2
PASSES = 27
#: Largest |difference| of a step's loss in fp32. Measured in the first five steps on an H200: 1.2e-4. Assumed.
TOLERANCE = 1e-3


def product_rate(dtype: torch.dtype, size: int = 8192) -> float:
    """FLOP/s of a square product of random numbers."""
    a, b = (torch.randn(size, size, device=DEVICE, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(8):
        with timed(seconds):
            a @ b
    return 2 * size**3 / float(np.median(seconds[2:]))


@contextmanager
def timed(seconds: list[float]) -> Iterator[None]:
    torch.cuda.synchronize()
    start = time.perf_counter()
    yield
    torch.cuda.synchronize()
    seconds.append(time.perf_counter() - start)


@contextmanager
def run_as(how: str) -> Iterator[None]:
    """Torch's switches as the authors of the published loop leave them. Put back by the `switched` around it."""
    found = PUBLISHED.get(how)
    if found is not None:
        tf32, autotuned = found
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, autotuned
        # cuDNN's default; products of matrices stay fp32 by torch's.
        torch.backends.cudnn.allow_tf32 = tf32
    yield


def published(ours: Trainer, attack: str, dtype: str) -> Callable[[], float]:
    peer, index = Published(ours.network, LR, attack), 0

    def step() -> float:
        nonlocal index
        x, y = ours.feed.load(index)
        noise = (ours._noise("attack", index).uniform(x) * 2 - 1) * EPSILON
        index += 1
        with torch.autocast("cuda", torch.bfloat16, enabled=dtype == "bf16"):
            return peer.step(x.contiguous(), y, noise)

    return step


def ours(depth: int, width: int, batch: int, attack: str, dtype: str, how: str) -> Callable[[], float]:
    """`how`: plain, captured, fused, or fused and captured."""
    spec = spec_of(depth, width, batch, attack, dtype)
    made = trainer(spec, DEVICE, fuse="fused" in how)
    if "captured" not in how:
        made.inner = InnerAttack(attacks.build(spec.recipe["attack"]), made.network, attack)
    return made.step


def compared(depth: int, width: int, batch: int, attack: str, steps: int, large: bool) -> bool:
    """Print a table. False where losses are apart."""
    forward = count({"kind": "wrn", "depth": depth, "width": width}, {"kind": "cifar10"}).forward_flops
    peak = product_rate(torch.bfloat16)
    print(f"\nWRN-{depth}-{width}, batch {batch}, {attack}-mode attack, {torch.cuda.get_device_name()}; "
          f"a bf16 product of 8192: {peak / 1e12:.0f} TFLOP/s", flush=True)  # fmt: skip
    cases = [("published, deterministic", "fp32"), ("published, deterministic", "bf16")]
    cases += [("published, free", "fp32"), ("published", "fp32"), ("published", "bf16"), ("captured", "fp32")]
    cases += [(how, "bf16") for how in ("plain", "captured", "fused", "fused, captured")]
    if large:
        cases = [("published, deterministic", "bf16"), ("published", "bf16"), ("plain", "bf16")]
        cases += [("fused, captured", "bf16")]
    base: dict[str, np.ndarray] = {}
    rate: dict[str, float] = {}
    same = True
    for how, dtype in cases:
        spec = spec_of(depth, width, batch, attack, dtype)
        losses, seconds = [], []
        torch.cuda.reset_peak_memory_stats()
        with switched(spec.numerics, DEVICE), run_as(how):
            if how in PUBLISHED:
                step = published(trainer(spec, DEVICE), attack, dtype)
            else:
                step = ours(depth, width, batch, attack, dtype, how)
            for _ in range(WARM + steps):
                with timed(seconds):
                    losses.append(step())
        del step
        images = batch / float(np.median(seconds[WARM:]))
        base.setdefault(dtype, np.array(losses))
        if how == "published":
            rate[dtype] = images
        against = f"{images / rate[dtype]:5.2f} x published {dtype}" if dtype in rate else " " * 22
        delta = np.abs(np.array(losses) - base[dtype]).max()
        # TF32 and autotuned algorithms round otherwise: told, not judged.
        ours_fp32 = dtype == "fp32" and PUBLISHED.get(how) is None
        same = same and (not ours_fp32 or bool(delta <= TOLERANCE))
        print(f"{how:24s} {dtype} {images:9.1f} img/s  {against}  "
              f"{images * PASSES * forward / peak:6.1%} of the product's rate  first step {seconds[0]:6.1f} s  "
              f"{torch.cuda.max_memory_allocated() / 2**30:5.1f} GiB  loss |delta| {delta:.1e}",
              flush=True)  # fmt: skip
        gc.collect()
        torch.cuda.empty_cache()
    return same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=["16-1:256", "28-10:256", "70-16:128"])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--attack", choices=("eval", "train"), default="eval")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing measured")
        return
    same = True
    for each in options.networks:
        name, batch = each.split(":")
        depth, width = map(int, name.split("-"))
        same &= compared(depth, width, int(batch), options.attack, options.steps, depth > 40)
    if not same:
        sys.exit("loss trajectories in fp32 differ by more than their tolerance")


if __name__ == "__main__":
    main()
