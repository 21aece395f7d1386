"""Train a denoiser by EDM's loss (Karras et al., arXiv:2206.00364, eq. 8 and Table 1), under its kernel or PFGM++'s.

In: a DenoiserSpec, images. Out: averaged weights, curves of the training loss and of the loss on held-out images,
both per number of an image: 1 is what a network that says nothing has. Letters: B images, C channels, H rows, W
columns."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoloss.compiler.plan import DenoiserSpec, exact
from isoloss.runtime.data import ImageSet
from isoloss.runtime.diffusion import perturbation_kernel as kernel
from isoloss.runtime.diffusion.stepper import Stepper
from isoloss.runtime.generators import geometry
from isoloss.runtime.generators.denoiser import loss_weight, precondition, training_sigma
from isoloss.runtime.generators.unet import UNet
from isoloss.runtime.models.network import Shape
from isoloss.runtime.noise import key, noise_at
from isoloss.runtime.training import precision
from isoloss.runtime.training.feed import open_images
from isoloss.runtime.training.sampler import Sampler

#: Draws of (held-out image, noise level, noise) that a held-out loss is a mean of, and how many at once.
HELD_OUT_IMAGES, _AT_ONCE = 1024, 256


def shape_of(images: ImageSet) -> Shape:
    height, width, channels = images.images.shape[1:]
    return Shape(channels, height, width, images.classes)


def signed(x_BCHW: Tensor) -> Tensor:
    """uint8 as float32 in [-1, 1]."""
    return (x_BCHW.float() / 127.5 - 1.0).contiguous()


def learning_rate(lr: float, seen: int, warmup: int) -> float:
    """Of the step before which `seen` images were drawn: from 0 at the first, linearly, to `lr`."""
    return lr * min(seen / max(warmup, 1e-8), 1.0)


def average_share(batch: int, seen: int, half_life: int, ramp: float | None) -> float:
    """What an average keeps of itself at a step: half of it is gone after `half_life` images, early on after the
    share `ramp` of the images seen. 0 at the first step: a copy."""
    lasts = float(half_life) if ramp is None else min(float(half_life), seen * ramp)
    return 0.5 ** (batch / max(lasts, 1e-8))


class Denoising(Stepper):
    """The training of one denoiser; `average` holds what generators follow."""

    def __init__(
        self,
        spec: DenoiserSpec,
        fit: ImageSet,
        held_out: ImageSet,
        device: str = "cpu",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        recipe = spec.recipe
        self.spec, self.shape = spec, shape_of(fit)
        # Trainings that differ in their kernel alone share weights, order and noise at their start.
        parts = orjson.dumps(
            [spec.seed, spec.dataset, spec.network, spec.train_steps], option=orjson.OPT_SORT_KEYS
        )
        super().__init__(
            lambda: UNet(spec.network, self.shape), key(parts.decode()), spec.train_steps, int(recipe["batch"]), device,
            rank, world_size,
        )  # fmt: skip
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self._averaged = list(self.average.parameters()), list(self.network.parameters())
        self._images = open_images([fit], None, device)
        self._order = Sampler(self.stream, len(self._images))
        self._augment = geometry.build(exact(recipe["augment"]))
        self._kernel = kernel.build(spec.kernel)
        self._law = exact(recipe["sigma_mean"]), exact(recipe["sigma_spread"])
        self._test = HeldOut(held_out, self._law, self._kernel, device)

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            self.network.parameters(), lr=exact(self.spec.recipe["lr"]), betas=(0.9, 0.999), eps=1e-8, fused=True
        )  # fmt: skip

    def learning_rate(self, index: int) -> float:
        recipe = self.spec.recipe
        return learning_rate(exact(recipe["lr"]), index * self.batch, int(recipe["warmup"]))

    def loss(self, index: int) -> Tensor:
        first = index * self.batch
        drawn = self._order.indices(first, first + self.batch)[self._offset : self._offset + self._share]
        pixels, y_B = self._images.take(drawn)
        noise = self.noise("step", index)
        x_BCHW, told = self._augment(signed(pixels), noise)
        sigma = training_sigma(noise.normal(x_BCHW.new_empty(len(x_BCHW), 1, 1, 1)), *self._law)
        noisy = x_BCHW + self._kernel(x_BCHW, sigma, noise)
        with precision.autocast(self.spec.numerics, self.device):
            return denoising_loss(self.network, x_BCHW, noisy, sigma, y_B, told).mean()

    @property
    def numbers(self) -> int:
        return self.shape.channels * self.shape.height * self.shape.width

    @torch.no_grad()
    def after(self, index: int) -> None:
        recipe, (mine, live) = self.spec.recipe, self._averaged
        ramp = None if recipe["ramp"] is None else exact(recipe["ramp"])
        kept = average_share(self.batch, index * self.batch, int(recipe["ema"]), ramp)
        torch._foreach_lerp_(mine, live, 1.0 - kept)

    def test(self) -> float:
        return self._test(self.average)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "average": self.average.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.average.load_state_dict(state["average"])


def denoising_loss(
    network: Any, x_BCHW: Tensor, noisy_BCHW: Tensor, sigma: Tensor, y_B: Tensor, told: Tensor | None
) -> Tensor:
    """EDM's loss of each image (B,): weight (D - x)^2, added over the image's numbers. `sigma` (B, 1, 1, 1)."""
    c_skip, c_out, c_in, c_noise = precondition(sigma)
    raw = network(c_in * noisy_BCHW, c_noise.flatten(), y_B, told)
    error = c_skip * noisy_BCHW + c_out * raw - x_BCHW
    return (loss_weight(sigma) * error.square()).flatten(1).sum(1)


class HeldOut:
    """The loss on images that are never trained on, at noise that never changes: evenly spread levels of the
    training's law."""

    def __init__(
        self, images: ImageSet, law: tuple[float, float], perturb: kernel.Kernel, device: str
    ) -> None:
        rows = np.arange(HELD_OUT_IMAGES) % len(images)
        self._x = signed(torch.from_numpy(images.images[rows]).to(device).permute(0, 3, 1, 2))
        self._y = torch.from_numpy(images.labels[rows]).to(device)
        middles = (torch.arange(HELD_OUT_IMAGES, dtype=torch.float64) + 0.5) / HELD_OUT_IMAGES
        # Spread over the images: neighbours in the order of levels are far apart in that of images.
        level = torch.special.ndtri(middles)[torch.from_numpy(scattered(HELD_OUT_IMAGES))]
        self._sigma = training_sigma(level, *law).float().to(device)[:, None, None, None]
        noise = noise_at("held-out", device=device)
        self._noisy = self._x + perturb(self._x, self._sigma, noise)

    @torch.no_grad()
    def __call__(self, network: Any) -> float:
        total = 0.0
        for start in range(0, HELD_OUT_IMAGES, _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            losses = denoising_loss(
                network, self._x[part], self._noisy[part], self._sigma[part], self._y[part], None
            )
            total += float(losses.double().sum())
        return total / self._x.numel()


def scattered(count: int) -> NDArray[np.int64]:
    """A permutation of [0, count) that depends on nothing else."""
    return np.random.Generator(np.random.Philox(0)).permutation(count)
