"""Train a discriminator: is a noisy image made of a real one or of a generated one? (Kim et al., arXiv:2211.17091)

In: a DiscriminatorSpec, real and generated images. Out: weights, curves of the cross-entropy in training and on images
held out of it: ln 2 is what a network that can't tell has. Images are in [-1, 1], scaled to the variance-preserving
space in which guidance asks; noise levels are log-uniform, which is the published importance sampling of times from
1e-5 to 1. Letters: B images, C channels, H rows, W columns."""

from __future__ import annotations

from math import expm1, log

import numpy as np
import orjson
import torch
import torch.nn.functional as F
from torch import Tensor

from isoloss.compiler.plan import DiscriminatorSpec, exact
from isoloss.runtime.data import ImageSet
from isoloss.runtime.diffusion.denoising import HELD_OUT_IMAGES, scattered, shape_of, signed
from isoloss.runtime.diffusion.stepper import Stepper
from isoloss.runtime.generators.guidance import Discriminator
from isoloss.runtime.generators.unet import Judge
from isoloss.runtime.noise import key, noise_at
from isoloss.runtime.training import precision
from isoloss.runtime.training.feed import open_images
from isoloss.runtime.training.sampler import Sampler

LEAST_TIME = 1e-5
#: Share of the generated images that is held out, as the validation slice is of the real ones.
HELD_OUT_SHARE = 0.1


def log_levels(uniform: Tensor) -> Tensor:
    """ln sigma, uniform between the levels at times 1e-5 and 1, from uniforms of any shape.

    The published density of times is that of a uniform ln(exp(B(t)) - 1), B the integral of beta; and that is
    2 ln sigma."""
    low, high = (
        0.5 * log(expm1(Discriminator.beta_0 * t + (Discriminator.beta_1 - Discriminator.beta_0) * t * t / 2))
        for t in (LEAST_TIME, 1.0)
    )
    return low + (high - low) * uniform


class Judging(Stepper):
    """The training of one discriminator."""

    def __init__(
        self,
        spec: DiscriminatorSpec,
        real: tuple[ImageSet, ImageSet],
        generated: ImageSet,
        device: str = "cpu",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """`real`: to learn from, and held out."""
        self.spec, self.shape = spec, shape_of(real[0])
        parts = orjson.dumps(
            [spec.seed, spec.network, spec.generated, spec.train_steps], option=orjson.OPT_SORT_KEYS
        )
        super().__init__(
            lambda: Judge(spec.network, self.shape), key(parts.decode()), spec.train_steps,
            int(spec.recipe["batch"]), device, rank, world_size,
        )  # fmt: skip
        kept = max(1, int(len(generated) * HELD_OUT_SHARE))
        learnt = generated.take(slice(0, len(generated) - kept))
        self._num_real = len(real[0])
        self._images = open_images([real[0], learnt], None, device)
        self._orders = (
            Sampler(self.stream, self._num_real, "real"),
            Sampler(self.stream, len(learnt), "generated"),
        )
        self._test = _HeldOut(real[1], generated.take(slice(len(generated) - kept, None)), device)

    def make_optimizer(self) -> torch.optim.Optimizer:
        recipe = self.spec.recipe
        return torch.optim.Adam(
            self.network.parameters(), lr=exact(recipe["lr"]), weight_decay=exact(recipe["weight_decay"]), fused=True
        )  # fmt: skip

    def learning_rate(self, index: int) -> float:
        return exact(self.spec.recipe["lr"])

    def loss(self, index: int) -> Tensor:
        half = self.batch // 2
        real = self._orders[0].indices(index * half, (index + 1) * half)
        rest = self.batch - half
        generated = self._orders[1].indices(index * rest, (index + 1) * rest) + self._num_real
        drawn = np.concatenate([real, generated])[self._offset : self._offset + self._share]
        pixels, y_B = self._images.take(drawn)
        noise = self.noise("step", index)
        x_BCHW = signed(pixels)
        sigma = log_levels(noise.uniform(x_BCHW.new_empty(len(x_BCHW), 1, 1, 1))).exp()
        is_real = torch.from_numpy(drawn < self._num_real).to(x_BCHW)
        noisy = x_BCHW + sigma * noise.normal(x_BCHW)
        with precision.autocast(self.spec.numerics, self.device):
            return judging_loss(self.network, noisy, sigma, y_B, is_real)

    def test(self) -> float:
        self.network.eval()
        tested = self._test(self.network)
        self.network.train()
        return tested


def judging_loss(network: Judge, noisy_BCHW: Tensor, sigma: Tensor, y_B: Tensor, is_real_B: Tensor) -> Tensor:
    """Mean cross-entropy of P(real); `sigma` (B, 1, 1, 1)."""
    logits_B = network(noisy_BCHW / (1 + sigma**2).sqrt(), Discriminator.time(sigma).flatten(), y_B)
    return F.binary_cross_entropy_with_logits(logits_B, is_real_B)


class _HeldOut:
    """The loss on images that are never trained on, as many real as generated, at noise that never changes."""

    def __init__(self, real: ImageSet, generated: ImageSet, device: str) -> None:
        half = HELD_OUT_IMAGES // 2
        parts = [each.take(np.arange(half) % len(each)) for each in (real, generated)]
        pixels = torch.from_numpy(np.concatenate([part.images for part in parts])).to(device)
        self._y = torch.from_numpy(np.concatenate([part.labels for part in parts])).to(device)
        middles = (torch.arange(HELD_OUT_IMAGES, dtype=torch.float64) + 0.5) / HELD_OUT_IMAGES
        level = log_levels(middles)[torch.from_numpy(scattered(HELD_OUT_IMAGES))].exp()
        self._sigma = level.float().to(device)[:, None, None, None]
        x_BCHW = signed(pixels.permute(0, 3, 1, 2))
        self._noisy = x_BCHW + self._sigma * noise_at("held-out", device=device).normal(x_BCHW)
        self._is_real = (torch.arange(HELD_OUT_IMAGES, device=device) < half).to(x_BCHW)

    @torch.no_grad()
    def __call__(self, network: Judge) -> float:
        return float(judging_loss(network, self._noisy, self._sigma, self._y, self._is_real))
