"""From the plan's Components to a generator: dataset + sampler + denoiser -> images [start, stop)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoloss.compiler.plan import Component, exact
from isoloss.runtime.data import load
from isoloss.runtime.data.registry import describe
from isoloss.runtime.errors import JobError
from isoloss.runtime.generators import edm, pfgmpp
from isoloss.runtime.generators.denoiser import Denoiser
from isoloss.runtime.generators.guidance import Guidance, GuidedFlow
from isoloss.runtime.generators.mixture import MixtureDenoiser, fit_mixture
from isoloss.runtime.generators.noise import CHURN, LATENT, BlockNoise, block_size
from isoloss.runtime.generators.trained import (
    Place,
    pretrained_denoiser,
    trained_denoiser,
    trained_discriminator,
)

Made = TypeVar("Made")

#: Walks a block of images from its noise to clean pixels: (noise, labels) -> x_BD.
Sampler = Callable[[BlockNoise, Tensor], Tensor]


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
            x = self.sampler(noise, labels.to(self.device))
            pixels = self.denoiser.to_uint8(x).cpu().numpy()
        return pixels.reshape(rows, *self.shape), labels.numpy()

    def images(self, start: int, stop: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Images uint8 (stop - start, H, W, C) and labels int64 (stop - start,)."""
        parts = [(images, labels) for _, images, labels in self.pieces(start, stop)]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def pieces(
        self, start: int, stop: int, threads: int = 1
    ) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.int64]]]:
        """The same in pieces that fit memory: (index of the first image, images, labels), in order.

        Blocks are made by `threads` threads at once, each using one core: they never wait for one another, as
        the threads inside one matrix product do, and results don't depend on how many there are."""
        if not 0 <= start < stop:
            raise ValueError(f"images [start, stop) need 0 <= start < stop, got [{start}, {stop})")
        size = self.block_images()
        numbers = range(start // size, -(-stop // size))
        for number, (images, labels) in zip(numbers, in_order(self.block, numbers, threads), strict=True):
            low, high = max(start - number * size, 0), min(stop - number * size, size)
            yield number * size + low, images[low:high], labels[low:high]


def in_order(make: Callable[[int], Made], numbers: range, threads: int) -> Iterator[Made]:
    """make(n) for each n, in order, by `threads` single-core threads; at most two waiting results per
    thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(max_workers=threads) as pool:
            waiting: deque[Future[Made]] = deque()
            for number in numbers:
                waiting.append(pool.submit(make, number))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(before)


def _number(settings: Component, name: str, default: float) -> float:
    value = settings.get(name)
    return default if value is None else exact(value)


def edm_sampler(settings: Component, place: Place, denoiser: Denoiser) -> Sampler:
    """`edm(steps, sigma_min, sigma_max, rho)` and churn (`churn, churn_min, churn_max, churn_noise`)."""
    churn = edm.Churn(
        _number(settings, "churn", 0.0),
        _number(settings, "churn_min", 0.0),
        _number(settings, "churn_max", float("inf")),
        _number(settings, "churn_noise", 1.0),
    )
    sigmas = levels(settings, denoiser)

    def sample(noise: BlockNoise, y_B: Tensor) -> Tensor:
        start = sigmas[0] * noise.normal(LATENT).to(y_B.device)
        slope = edm.ProbabilityFlow(denoiser, y_B, churn)
        return edm.heun(slope, start, sigmas, lambda step: noise.normal(CHURN + step).to(y_B.device))

    return sample


def pfgmpp_sampler(settings: Component, place: Place, denoiser: Denoiser) -> Sampler:
    """`pfgmpp(steps, sigma_min, sigma_max, rho, dimension)`. A mixture is averaged over the heavy-tailed
    kernel exactly; a network is taken as trained under that kernel."""
    extra, sigmas = int(settings["dimension"]), levels(settings, denoiser)
    if isinstance(denoiser, MixtureDenoiser):
        denoiser = pfgmpp.HeavyTailed(denoiser, denoiser, extra)

    def sample(noise: BlockNoise, y_B: Tensor) -> Tensor:
        start = pfgmpp.start(noise, float(sigmas[0]), extra).to(y_B.device)
        return edm.heun(edm.ProbabilityFlow(denoiser, y_B), start, sigmas, _no_churn)

    return sample


def _no_churn(step: int) -> Tensor:
    raise AssertionError("a sampler without churn asked for noise")


def dg_sampler(settings: Component, place: Place, denoiser: Denoiser) -> Sampler:
    """`dg(…)`: EDM's steps, corrected by the discriminator that a job has trained. Raises JobError R501 where there
    is none, R510 where its weights can't be used."""
    judge = settings.get("discriminator") or {}
    if "job" not in judge:
        raise JobError(
            "R501",
            "`dg` needs a discriminator, which is trained for a stated denoiser",
            "state the generator's `denoiser`, or its `fid` to plan with it",
        )
    guidance = Guidance(
        first=_number(settings, "weight", 1.0),
        churn=_number(settings, "churn", 4.0),
        churn_period=int(settings.get("churn_every") or 0),
        weight_period=int(settings.get("double_every") or 0),
    )
    discriminator = trained_discriminator(judge, place, denoiser.pixels)
    sigmas = levels(settings, denoiser)

    def sample(noise: BlockNoise, y_B: Tensor) -> Tensor:
        start = sigmas[0] * noise.normal(LATENT).to(y_B.device)
        slope = GuidedFlow(denoiser, y_B, discriminator, guidance)
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


def mixture_denoiser(settings: Component, place: Place) -> Denoiser:
    """`mixture(components, regularization)`, fitted on the dataset's training split."""
    regularization, components = _number(settings, "regularization", 2e-3), int(settings["components"])
    dataset = tuple(sorted(place.dataset.items()))
    return _fitted(dataset, components, regularization, place.data_root).to(place.device)


@lru_cache(maxsize=4)
def _fitted(
    dataset: tuple[tuple[str, Any], ...], components: int, regularization: float, data_root: Path | None
) -> MixtureDenoiser:
    """Kept for the next sampler over the same denoiser: the fit takes longer than 10,000 digits do."""
    return fit_mixture(load(dict(dataset), "train", data_root), components, regularization)


SAMPLERS: Mapping[str, Callable[[Component, Place, Denoiser], Sampler]] = {
    "edm": edm_sampler,
    "pfgmpp": pfgmpp_sampler,
    "dg": dg_sampler,
}
DENOISERS: Mapping[str, Callable[[Component, Place], Denoiser]] = {
    "mixture": mixture_denoiser,
    "unet": trained_denoiser,
    "pretrained": pretrained_denoiser,
}


def build(
    dataset: Component,
    sampler: Component,
    denoiser: Component,
    seed: int,
    *,
    data_root: Path | None = None,
    device: str = "cpu",
    inputs: Mapping[str, Path] | None = None,
) -> Generator:
    """A generator of images like those of `dataset`; `inputs` has the folders of the jobs that trained its networks.

    Raises JobError R501 for a sampler or denoiser that this version cannot run, R510 for weights that can't be used,
    and what reading the dataset raises."""
    for component, table, noun in ((sampler, SAMPLERS, "sampler"), (denoiser, DENOISERS, "denoiser")):
        if component["kind"] not in table:
            raise JobError(
                "R501",
                f"no {noun} `{component['kind']}` that can run here",
                f"a {noun} that runs: {', '.join(sorted(table))}",
            )
    row, place = describe(dataset), Place(dataset, data_root, device, inputs or {})
    followed = DENOISERS[denoiser["kind"]](denoiser, place)
    walk = SAMPLERS[sampler["kind"]](sampler, place, followed)
    return Generator(followed, walk, row.shape, row.classes, seed, device)
