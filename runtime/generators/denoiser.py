"""What a sampler asks of a denoiser, and EDM's preconditioning that makes one of a raw network.

Letters: B images, D numbers per image (H*W*C, channels last)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

#: Standard deviation of the data that EDM's preconditioning assumes for images in [-1, 1].
SIGMA_DATA = 0.5


class Denoiser(Protocol):
    """D(x; sigma, y) = E[clean image | x = clean + sigma * noise, class y].

    `pixels` is the range of its images' numbers. `sigma_min` and `sigma_max` bound the noise levels it is good for,
    in its own pixel units; they are the sampler's defaults, because a level of 80 means something else for pixels
    in [0, 1] than in [-1, 1]."""

    @property
    def dimensions(self) -> int: ...
    @property
    def classes(self) -> int: ...
    @property
    def pixels(self) -> tuple[float, float]: ...
    @property
    def sigma_min(self) -> float: ...
    @property
    def sigma_max(self) -> float: ...

    def __call__(self, x_BD: Tensor, sigma: Tensor, y_B: Tensor) -> Tensor:
        """float64 (B, D) from float64 (B, D); `sigma` is a scalar tensor or (B, 1); `y_B` int64."""
        ...

    def to_uint8(self, x_BD: Tensor) -> Tensor:
        """Clean images in this denoiser's units as bytes, clipped."""
        ...


class Preconditioned:
    """A raw network F(x, c_noise, y) as a denoiser of images in [-1, 1] (Karras et al., arXiv:2206.00364,
    Table 1).

    The network runs in float32, the sampler's state stays float64. Noise levels .002 … 80 as published."""

    pixels = (-1.0, 1.0)
    sigma_min, sigma_max = 0.002, 80.0

    def __init__(
        self,
        network: Callable[[Tensor, Tensor, Tensor], Tensor],
        dimensions: int,
        classes: int,
        sigma_data: float = SIGMA_DATA,
    ) -> None:
        self.network, self.dimensions, self.classes, self.sigma_data = (
            network,
            dimensions,
            classes,
            sigma_data,
        )

    def __call__(self, x_BD: Tensor, sigma: Tensor, y_B: Tensor) -> Tensor:
        c_skip, c_out, c_in, c_noise = precondition(sigma, self.sigma_data)
        raw = self.network((c_in * x_BD).float(), c_noise.float(), y_B)
        return c_skip * x_BD + c_out * raw.double()

    def to_uint8(self, x_BD: Tensor) -> Tensor:
        return (x_BD * 127.5 + 128.0).clamp(0, 255).to(torch.uint8)


def precondition(sigma: Tensor, sigma_data: float = SIGMA_DATA) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in, c_noise of arXiv:2206.00364, Table 1, EDM column."""
    total = sigma**2 + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data / total.sqrt(), 1 / total.sqrt(), sigma.log() / 4


def loss_weight(sigma: Tensor, sigma_data: float = SIGMA_DATA) -> Tensor:
    """Weight of the squared error at a noise level: (sigma^2 + s^2) / (sigma s)^2, arXiv:2206.00364, Table
    1."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def training_sigma(normal: Tensor, mean: float = -1.2, spread: float = 1.2) -> Tensor:
    """Noise levels to train at: ln sigma ~ N(-1.2, 1.2^2), from standard normals of any shape."""
    return (normal * spread + mean).exp()
