"""Digits per second of generators: `python benchmarks/generate.py [THREADS]`.

1. The closed-form mixture. Goal: 8,000 per second at 20 steps on a pair of cores.
2. A small U-Net, against the plain loop that published repositories sample with: one host generator per image, batches
   of 64, all threads on one batch. Same network, same schedule.

Prints wall time and, for machines with other work, CPU time."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from isoloss.runtime.generators import Generator, build
from isoloss.runtime.generators.denoiser import precondition
from isoloss.runtime.generators.edm import schedule
from isoloss.runtime.generators.unet import UNet
from isoloss.runtime.generators.weights import save_network
from isoloss.runtime.models.network import Shape

MIXTURE_IMAGES, NETWORK_IMAGES = 40_000, 4_000
LEVELS = {"sigma_min": 0.002, "sigma_max": 10.0, "rho": 7.0}
SAMPLERS = {
    "edm(20)": {"kind": "edm", "steps": 20, **LEVELS},
    "edm(4)": {"kind": "edm", "steps": 4, **LEVELS},
    "pfgmpp(18)": {"kind": "pfgmpp", "steps": 18, **LEVELS, "dimension": 2048},
}
NETWORK = {
    "kind": "unet", "channels": 16, "multipliers": [1, 2], "blocks": 1, "attention": [4], "dropout": 0.0,
    "form": "ddpmpp", "condition": 0,
}  # fmt: skip
SHAPE = Shape(1, 8, 8, 10)


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def drain(generator: Generator, images: int, threads: int) -> None:
    for _ in generator.pieces(0, images, threads):
        pass


def say(name: str, images: int, wall: float, cpu: float, threads: int) -> None:
    print(f"{name:28} {threads} threads: {images / wall:8,.0f} digits/s, {images / cpu:8,.0f} per CPU s")


def mixtures(threads: int) -> None:
    for name, sampler in SAMPLERS.items():
        denoiser = {"kind": "mixture", "components": 4, "regularization": 2e-3}
        generator = build({"kind": "digits"}, sampler, denoiser, seed=0)
        images = MIXTURE_IMAGES // 5 if name.startswith("pfgmpp") else MIXTURE_IMAGES
        # Threads and matrix library start outside the measurement.
        drain(generator, 1, threads)
        say(f"mixture, {name}", images, *timed(lambda g=generator, n=images: drain(g, n, threads)), threads)


def plain(network: UNet, images: int) -> np.ndarray:
    """EDM's deterministic sampler as published repositories write it."""
    made = []
    for start in range(0, images, 64):
        count = min(64, images - start)
        latents = torch.stack(
            [torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(start + i)) for i in range(count)]
        )
        y = torch.arange(start, start + count) % 10
        sigmas = schedule(20, LEVELS["sigma_min"], LEVELS["sigma_max"], LEVELS["rho"])

        def denoise(x: torch.Tensor, sigma: torch.Tensor, y: torch.Tensor = y) -> torch.Tensor:
            c_skip, c_out, c_in, c_noise = precondition(sigma)
            raw = network((c_in * x).float(), c_noise.float().expand(len(x)), y)
            return c_skip * x + c_out * raw.double()

        x = latents.double() * sigmas[0]
        for i in range(20):
            slope = (x - denoise(x, sigmas[i])) / sigmas[i]
            following = x + (sigmas[i + 1] - sigmas[i]) * slope
            if i < 19:
                again = (following - denoise(following, sigmas[i + 1])) / sigmas[i + 1]
                following = x + (sigmas[i + 1] - sigmas[i]) * (slope + again) / 2
            x = following
        made.append((x * 127.5 + 128).clamp(0, 255).to(torch.uint8).numpy())
    return np.concatenate(made)


def networks(threads: int) -> None:
    torch.manual_seed(0)
    network = UNet(NETWORK, SHAPE).eval().requires_grad_(False)
    torch.nn.init.normal_(network.out.weight, std=0.05)
    with tempfile.TemporaryDirectory() as folder:
        save_network(Path(folder) / "denoiser.pt", network, NETWORK, SHAPE, "a benchmark")
        denoiser = {"kind": "unet", "job": "a benchmark", "network": NETWORK}
        generator = build(
            {"kind": "digits"}, SAMPLERS["edm(20)"], denoiser, seed=0, inputs={"a benchmark": Path(folder)}
        )
    ours, theirs = [], []
    torch.set_num_threads(threads)
    with torch.no_grad():
        drain(generator, 1, threads)
        plain(network, 64)
        for _ in range(3):  # interleaved: a busy machine slows both
            ours.append(timed(lambda: drain(generator, NETWORK_IMAGES, threads)))
            theirs.append(timed(lambda: plain(network, NETWORK_IMAGES)))
    (our_wall, our_cpu), (wall, cpu) = (min(each, key=lambda t: t[1]) for each in (ours, theirs))
    say("U-Net of 189k, edm(20)", NETWORK_IMAGES, our_wall, our_cpu, threads)
    say("the same by a plain loop", NETWORK_IMAGES, wall, cpu, threads)
    print(f"ours in {our_wall / wall:.2f} of its wall time and {our_cpu / cpu:.2f} of its CPU time")


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    mixtures(number)
    networks(number)
