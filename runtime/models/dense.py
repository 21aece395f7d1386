"""Small convolutions as matrix products: for networks so small that calling a convolution costs more than
computing it.

On 8x8 images with a handful of channels a 3x3 convolution is a matrix of a few hundred rows and columns. Its
product does several times the multiplications, and a whole training step is still 3.3 (one channel) to 1.06
times (eight) as fast on a CPU: measured by benchmarks/cnn_step.py on two AVX2 cores.
Equal to the convolution up to the order of summation.

Letters: B images; I, O flattened (C, H, W) going in and coming out; L = H * W coming out; K classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isoloss.runtime.models.batchnorm import BatchNorm, Kept
from isoloss.runtime.models.normalize import Normalize

#: Most matrix entries a network may need for this to pay (measured: cnn(8) on 8x8 has 491,520, cnn(16) four
#: times as many, where convolutions win).
MAX_ENTRIES = 600_000


class DenseConv:
    """Where the weights of a bias-free 3x3 convolution with padding 1 stand in its matrix.

    `rows` (I) and `columns` (O) are flattened (C, H, W); only the entries inside the image exist, so padding
    costs nothing."""

    def __init__(self, conv: nn.Conv2d, height: int, width: int) -> None:
        inputs, outputs, stride = conv.in_channels, conv.out_channels, conv.stride[0]
        self.height, self.width = (height - 1) // stride + 1, (width - 1) // stride + 1
        self.channels = outputs
        self.positions = self.height * self.width
        self.rows, self.columns = inputs * height * width, outputs * self.positions
        # On the CPU whatever the default device is: matrices are for CPUs only.
        co, ci, ky, kx, oy, ox = torch.meshgrid(
            *(torch.arange(n, device="cpu") for n in (outputs, inputs, 3, 3, self.height, self.width)),
            indexing="ij",
        )
        iy, ix = oy * stride + ky - 1, ox * stride + kx - 1
        inside = (iy >= 0) & (iy < height) & (ix >= 0) & (ix < width)
        row = (ci * height + iy) * width + ix
        column = (co * self.height + oy) * self.width + ox
        # Which weight, and which entry of the flattened (I, O) matrix.
        self._weight = (((co * inputs + ci) * 3 + ky) * 3 + kx)[inside]
        self._entry = (row * self.columns + column)[inside]

    def matrix(self, weight: Tensor) -> Tensor:
        """(I, O), differentiable in `weight` (out, in, 3, 3)."""
        entries = weight.reshape(-1).index_select(0, self._weight)
        flat = weight.new_zeros(self.rows * self.columns).index_copy(0, self._entry, entries)
        return flat.view(self.rows, self.columns)


def dense_convs(convs: nn.ModuleList, height: int, width: int) -> list[DenseConv] | None:
    """The convolutions as matrices, or None where that would not pay."""
    made: list[DenseConv] = []
    entries = 0
    for conv in convs:
        # Counted before anything is made: for a large network the tables alone would fill the memory.
        after = ((height - 1) // conv.stride[0] + 1) * ((width - 1) // conv.stride[0] + 1)
        entries += conv.in_channels * height * width * conv.out_channels * after
        if entries > MAX_ENTRIES:
            return None
        made.append(DenseConv(conv, height, width))
        height, width = made[-1].height, made[-1].width
    return made


def dense_logits(
    x_BCHW: Tensor, dense: list[DenseConv], convs: nn.ModuleList, norms: nn.ModuleList, head: nn.Linear
) -> Tensor:
    """conv-BN-SiLU for each layer, then the head: logits (B, K), with the graph to the weights."""
    hidden = x_BCHW.flatten(1)
    for layer, conv, norm in zip(dense, convs, norms, strict=True):
        z_BCL = (hidden @ layer.matrix(conv.weight)).view(-1, layer.channels, layer.positions)
        hidden = F.silu(norm(z_BCL)).flatten(1)
    return F.linear(hidden, head.weight, head.bias)


@dataclass(frozen=True, slots=True)
class _Layer:
    matrix: Tensor
    shift: Tensor  # eval mode: what batch norm adds
    norm: BatchNorm
    channels: int
    positions: int


class DenseView:
    """A network of conv-BN-SiLU layers as an attack sees it while the weights stand still: matrices made
    once, and the input gradient written out, so that autograd records nothing."""

    def __init__(
        self,
        dense: list[DenseConv],
        convs: nn.ModuleList,
        norms: nn.ModuleList,
        head: nn.Linear,
        normalize: Normalize,
        training: bool,
    ) -> None:
        self._training = training
        self._normalize = normalize
        self._head_weight, self._head_bias = head.weight.detach(), head.bias.detach()
        self._layers = [
            _layer(layer, conv.weight.detach(), norm, training)
            for layer, conv, norm in zip(dense, convs, norms, strict=True)
        ]

    @torch.no_grad()
    def __call__(self, x_BCHW: Tensor) -> Tensor:
        return self._forward(x_BCHW, [])

    @torch.no_grad()
    def input_gradient(self, x_BCHW: Tensor, seed: Callable[[Tensor], Tensor]) -> Tensor:
        """d sum(loss) / d x, where `seed` gives d loss / d logits (B, K) from logits."""
        kept: list[tuple[Tensor, Kept | None]] = []
        gradient = seed(self._forward(x_BCHW, kept)) @ self._head_weight
        for layer, saved in zip(reversed(self._layers), reversed(kept), strict=True):
            gradient = self._backward(layer, gradient, *saved)
        gradient = gradient.view_as(x_BCHW)
        return gradient / self._normalize.std if self._normalize.active else gradient

    def _forward(self, x_BCHW: Tensor, kept: list[tuple[Tensor, Kept | None]]) -> Tensor:
        hidden = self._normalize(x_BCHW).flatten(1)
        for layer in self._layers:
            if self._training:
                z_BCL = (hidden @ layer.matrix).view(-1, layer.channels, layer.positions)
                kept.append(layer.norm.normalize(z_BCL))
            else:
                kept.append((torch.addmm(layer.shift, hidden, layer.matrix), None))
            hidden = F.silu(kept[-1][0]).flatten(1)
        return torch.addmm(self._head_bias, hidden, self._head_weight.t())

    def _backward(self, layer: _Layer, gradient_BO: Tensor, normed: Tensor, saved: Kept | None) -> Tensor:
        gradient = torch.ops.aten.silu_backward(gradient_BO.view_as(normed), normed)
        if saved is not None:
            gradient = layer.norm.input_gradient(gradient, saved)
        return gradient.flatten(1) @ layer.matrix.t()


def _layer(layer: DenseConv, weight: Tensor, norm: BatchNorm, training: bool) -> _Layer:
    if training:
        return _Layer(layer.matrix(weight), norm.bias, norm, layer.channels, layer.positions)
    scale, shift = norm.affine()
    matrix = layer.matrix(weight * scale[:, None, None, None])
    return _Layer(matrix, shift.repeat_interleave(layer.positions), norm, layer.channels, layer.positions)
