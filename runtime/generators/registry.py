"""From the plan's Components to a generator: dataset + sampler + denoiser -> images [start, stop)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoloss.compiler.plan import Component, exact
from isoloss.runtime.data import load
from isoloss.runtime.data.registry import describe
from isoloss.runtime.errors import JobError
from isoloss.runtime.generators import edm
from isoloss.runtime.generators.denoiser import Denoiser
from isoloss.runtime.generators.mixture import fit_mixture
from isoloss.runtime.generators.noise import CHURN, LATENT, BlockNoise, block_size

#: Walks a block of images from its noise to clean pixels: (denoiser, noise, labels) -> x_BD.
Sampler = Callable[[Denoiser, BlockNoise, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Generator:
    """Makes labelled images; image i has class i mod classes and depends on (seed, i) alone."""

    denoiser: Denoiser
    sampler: Sampler
    shape: tuple[int, int, int]
    classes: int
    seed: int
    device: str = "cpu"

    def block_images(self) -> int:
        return block_size(self.classes)

    def block(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Images uint8 (block, H, W, C) and labels int64 (block,) of one aligned block, always made whole:
        matrix products round differently for other sizes, so a part of a block is cut from all of it."""
        rows = self.block_images()
        labels = torch.arange(rows) % self.classes
        noise = BlockNoise(self.seed, number, rows, self.denoiser.dimensions)
        with torch.no_grad():
            x = self.sampler(self.denoiser, noise, labels.to(self.device))
            pixels = self.denoiser.to_uint8(x).cpu().numpy()
        return pixels.reshape(rows, *self.shape), labels.numpy()

    def images(self, start: int, stop: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Images uint8 (stop - start, H, W, C) and labels int64 (stop - start,)."""
        parts = [(images, labels) for _, images, labels in self.pieces(start, stop)]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.int64]]]:
        """The same in pieces that fit memory: (index of the first image, images, labels), in order."""
        if not 0 <= start < stop:
            raise ValueError(f"images [start, stop) need 0 <= start < stop, got [{start}, {stop})")
        size = self.block_images()
        for number in range(start // size, -(-stop // size)):
            images, labels = self.block(number)
            low, high = max(start - number * size, 0), min(stop - number * size, size)
            yield number * size + low, images[low:high], labels[low:high]


def _number(settings: Component, name: str, default: float) -> float:
    value = settings.get(name)
    return default if value is None else exact(value)


def edm_sampler(settings: Component) -> Sampler:
    """`edm(steps, sigma_min, sigma_max, rho)` and churn (`churn, churn_min, churn_max, churn_noise`)."""
    churn = edm.Churn(
        _number(settings, "churn", 0.0),
        _number(settings, "churn_min", 0.0),
        _number(settings, "churn_max", float("inf")),
        _number(settings, "churn_noise", 1.0),
    )

    def sample(denoiser: Denoiser, noise: BlockNoise, y_B: Tensor) -> Tensor:
        sigmas = levels(settings, denoiser)
        start = sigmas[0] * noise.normal(LATENT).to(y_B.device)
        slope = edm.ProbabilityFlow(denoiser, y_B, churn)
        return edm.heun(slope, start, sigmas, lambda step: noise.normal(CHURN + step).to(y_B.device))

    return sample


def levels(settings: Component, denoiser: Denoiser) -> Tensor:
    """The schedule a sampler's settings ask for; levels not stated are the denoiser's own."""
    return edm.schedule(
        int(settings["steps"]),
        _number(settings, "sigma_min", denoiser.sigma_min),
        _number(settings, "sigma_max", denoiser.sigma_max),
        _number(settings, "rho", 7.0),
    )


def mixture_denoiser(
    settings: Component, dataset: Component, data_root: Path | None, device: str
) -> Denoiser:
    """`mixture(components, regularization)`, fitted on the dataset's training split."""
    real = load(dataset, "train", data_root)
    fitted = fit_mixture(real, int(settings["components"]), _number(settings, "regularization", 2e-3))
    return fitted.to(device)


SAMPLERS: Mapping[str, Callable[[Component], Sampler]] = {"edm": edm_sampler}
DENOISERS: Mapping[str, Callable[[Component, Component, Path | None, str], Denoiser]] = {
    "mixture": mixture_denoiser
}


def build(
    dataset: Component,
    sampler: Component,
    denoiser: Component,
    seed: int,
    *,
    data_root: Path | None = None,
    device: str = "cpu",
) -> Generator:
    """A generator of images like those of `dataset`. Raises JobError R501 for a sampler or denoiser that this
    version cannot run, and what reading the dataset raises."""
    for component, table, noun in ((sampler, SAMPLERS, "sampler"), (denoiser, DENOISERS, "denoiser")):
        if component["kind"] not in table:
            raise JobError(
                "R501",
                f"no {noun} `{component['kind']}` that can run here",
                f"a {noun} that runs: {', '.join(sorted(table))}",
            )
    row = describe(dataset)
    fitted = DENOISERS[denoiser["kind"]](denoiser, dataset, data_root, device)
    return Generator(fitted, SAMPLERS[sampler["kind"]](sampler), row.shape, row.classes, seed, device)
