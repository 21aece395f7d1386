"""Noise that a denoiser is trained under: EDM's Gaussian, or PFGM++'s heavy-tailed kernel.

In: images, noise levels, the batch's random numbers. Out: what is added. Letters: B images, N numbers per image, D
extra dimensions (`extra`)."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoloss.compiler.plan import Component
from isoloss.runtime.errors import JobError
from isoloss.runtime.noise import Noise

#: (images (B, C, H, W), sigma (B, 1, 1, 1), noise) -> what is added to the images.
Kernel = Callable[[Tensor, Tensor, Noise], Tensor]

#: In training only (published code): b is kept this far from 0 and 1, and this is added to its odds.
CLIP, TINY = 1e-3, 1e-8


def build(kernel: Component) -> Kernel:
    """Raises JobError R501 for a kernel that isn't registered."""
    if kernel["kind"] == "edm":
        return gaussian
    if kernel["kind"] == "pfgmpp":
        return heavy_tailed(int(kernel["dimension"]))
    raise JobError("R501", f"no kernel `{kernel['kind']}`", "known: edm, pfgmpp")


def gaussian(x_BCHW: Tensor, sigma: Tensor, noise: Noise) -> Tensor:
    return sigma * noise.normal(x_BCHW)


def heavy_tailed(extra: int) -> Kernel:
    """R times a uniform direction: R = sigma sqrt(D) sqrt(b / (1 - b)), b ~ Beta(N / 2, D / 2) (Xu et al.,
    arXiv:2302.04265)."""

    def perturb(x_BCHW: Tensor, sigma: Tensor, noise: Noise) -> Tensor:
        direction = noise.normal(x_BCHW).flatten(1)
        dimensions = direction.shape[1]
        odds_B = training_odds(noise.beta(len(x_BCHW), dimensions / 2, extra / 2), dimensions, extra)
        radius_B = torch.from_numpy(np.sqrt(odds_B) * sqrt(extra)).to(direction)
        length_B = direction.norm(dim=1)
        return sigma * (direction * (radius_B / length_B)[:, None]).view_as(x_BCHW)

    return perturb


def training_odds(beta: NDArray[np.float64], dimensions: int, extra: int) -> NDArray[np.float64]:
    """b / (1 - b), kept from its ends as published. Where b lives near an end (D far above N, or N above D), the
    published margin would move all of it: the margin is then a tenth of its mean's distance."""
    mean = dimensions / (dimensions + extra)
    inside = np.clip(beta, min(CLIP, mean / 10), 1 - min(CLIP, (1 - mean) / 10))
    odds: NDArray[np.float64] = inside / (1.0 - inside + TINY) + TINY
    return odds
