"""Parts of the diffusion U-Nets: embeddings, resampling, the residual block with attention.

The facts are those of DDPM++ and NCSN++ (Song et al., arXiv:2011.13456) as EDM trains them (Karras et al.,
arXiv:2206.00364): group norm with eps 1e-6, every sum over sqrt 2, second convolutions that start near
zero. Letters: B images, C channels, H rows, W columns, T = H * W, E embedding."""

from __future__ import annotations

from math import pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isoloss.runtime.errors import JobError

MOST_GROUPS, LEAST_GROUP = 32, 4
NORM_EPS = 1e-6
#: Gains of the initial weights: what a block adds begins near zero; attention's queries, keys and values.
NEAR_ZERO, ATTENTION_GAIN = 1e-5, sqrt(0.2)
#: Both branches of a sum have variance 1; so has their sum over sqrt 2.
SUM_SCALE = sqrt(0.5)
#: Longest period of a positional embedding; standard deviation of a Fourier embedding's frequencies.
LONGEST_PERIOD, FOURIER_SCALE = 10_000.0, 16.0


def group_norm(channels: int) -> nn.GroupNorm:
    """Raises JobError R501 for channels that no equal groups hold (a plan that was checked has none)."""
    groups = min(MOST_GROUPS, channels // LEAST_GROUP)
    if groups < 1 or channels % groups:
        raise JobError("R501", f"{channels} channels can't be normalised in groups of at least {LEAST_GROUP}")
    return nn.GroupNorm(groups, channels, eps=NORM_EPS)


def convolution(inputs: int, outputs: int, kernel: int, gain: float = 1.0) -> nn.Conv2d:
    return _started(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), gain)


def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    return _started(nn.Linear(inputs, outputs, bias=bias), 1.0)


def _started(layer: nn.Conv2d | nn.Linear, gain: float) -> nn.Conv2d | nn.Linear:
    """Uniform weights of Glorot & Bengio (2010) times a gain, zero biases."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class PositionalEmbedding(nn.Module):
    """(B,) -> (B, channels): sines, then cosines, of geometric frequencies 1 … 1 / 10,000, both ends
    included."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        exponents = torch.arange(half, dtype=torch.float32) / max(1, half - 1)
        self.register_buffer("frequencies", (1.0 / LONGEST_PERIOD) ** exponents, persistent=False)

    def forward(self, noise_B: Tensor) -> Tensor:
        angles = torch.outer(noise_B, self.frequencies)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class FourierEmbedding(nn.Module):
    """(B,) -> (B, channels): sines, then cosines, of frequencies drawn once and kept with the weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(channels // 2) * FOURIER_SCALE)

    def forward(self, noise_B: Tensor) -> Tensor:
        angles = torch.outer(noise_B, 2 * pi * self.frequencies)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class Resample(nn.Module):
    """Halve (`up` False) or double an image: means and copies of 2 x 2 pixels, or, `smooth`, the filter
    [1, 3, 3, 1] along both axes."""

    def __init__(self, up: bool, smooth: bool) -> None:
        super().__init__()
        self.up, self.smooth = up, smooth
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8.0
        self.register_buffer("filter", torch.outer(row, row)[None, None], persistent=False)

    def forward(self, x_BCHW: Tensor, padding: int = 1) -> Tensor:
        """`padding` is what the smooth filter sees around the image, zeros."""
        channels = x_BCHW.shape[1]
        if not self.smooth:
            return F.interpolate(x_BCHW, scale_factor=2) if self.up else F.avg_pool2d(x_BCHW, 2)
        weight = self.filter.to(x_BCHW.dtype).expand(channels, 1, 4, 4)
        if self.up:
            return F.conv_transpose2d(x_BCHW, 4.0 * weight, groups=channels, stride=2, padding=padding)
        return F.conv2d(x_BCHW, weight, groups=channels, stride=2, padding=padding)


class Attention(nn.Module):
    """Every pixel looks at every other: one head, residual, over sqrt 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.qkv = convolution(channels, 3 * channels, 1, ATTENTION_GAIN)
        self.proj = convolution(channels, channels, 1, NEAR_ZERO)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        batch, channels = x_BCHW.shape[:2]
        # Channel c's query, key and value are neighbours, as in the published weights.
        query, key, value = self.qkv(self.norm(x_BCHW)).reshape(batch, channels, 3, -1).unbind(2)  # (B, C, T)
        weight_BTT = torch.bmm(query.transpose(1, 2), key / sqrt(channels)).softmax(dim=2)
        attended = torch.bmm(value, weight_BTT.transpose(1, 2)).reshape(x_BCHW.shape)
        return (self.proj(attended) + x_BCHW) * SUM_SCALE


class Block(nn.Module):
    """norm, SiLU, (resample,) convolution, + embedding, norm, SiLU, dropout, convolution, + shortcut, over
    sqrt 2; then attention."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        dropout: float,
        *,
        attends: bool = False,
        resample: Resample | None = None,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.resample = resample
        self.norm0 = group_norm(inputs)
        self.conv0 = convolution(inputs, outputs, 3)
        self.affine = linear(embedding, outputs)
        self.norm1 = group_norm(outputs)
        self.conv1 = convolution(outputs, outputs, 3, NEAR_ZERO)
        same = inputs == outputs and resample is None
        self.skip = None if same else convolution(inputs, outputs, 1)
        self.attention = Attention(outputs) if attends else None

    def forward(self, x_BCHW: Tensor, e_BE: Tensor) -> Tensor:
        h = F.silu(self.norm0(x_BCHW))
        if self.resample is not None:
            h, x_BCHW = self.resample(h), self.resample(x_BCHW)
        h = self.conv0(h) + self.affine(e_BE)[:, :, None, None]
        h = F.silu(self.norm1(h))
        h = self.conv1(F.dropout(h, self.dropout, self.training))
        x_BCHW = ((x_BCHW if self.skip is None else self.skip(x_BCHW)) + h) * SUM_SCALE
        return x_BCHW if self.attention is None else self.attention(x_BCHW)
