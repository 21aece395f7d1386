"""Inception-v3 as the FID of the papers uses it: the TensorFlow network of 2015-12-05, in our own torch code.

Images uint8 -> 2,048 pooled features. The network is a table; modules carry the names of the PyTorch port's state
dict. What differs from other Inception-v3s (Szegedy et al., arXiv:1512.00567): average pools leave padding out of
the mean, and the last block pools by maximum. Legend: B batch, C channels, H height, W width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

from isoloss.runtime.quality.batches import batched

SIZE = 299
DIMENSIONS = 2048
#: Images per forward pass: about 0.4 GB of activations.
_BATCH = 50


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution without bias, batch norm (eps 1e-3) and ReLU. `padding` None: SAME at stride 1, VALID at
    stride 2."""

    name: str
    outputs: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: tuple[int, int] | None = None

    @property
    def pads(self) -> tuple[int, int]:
        if self.padding is not None:
            return self.padding
        return (self.kernel[0] // 2, self.kernel[1] // 2) if self.stride == 1 else (0, 0)


@dataclass(frozen=True, slots=True)
class Pool:
    """3x3. `mean`: stride 1, padding not counted; `max`: stride 1 with padding, or stride 2 without."""

    kind: str
    stride: int = 1


@dataclass(frozen=True, slots=True)
class Fork:
    """Two convolutions of the same input, side by side."""

    convs: tuple[Conv, Conv]


Step = Conv | Pool | Fork
Branch = tuple[Step, ...]


def _square(name: str, outputs: int, size: int, stride: int = 1) -> Conv:
    return Conv(name, outputs, (size, size), stride)


def _chain(name: str, *steps: tuple[int, tuple[int, int]], stride: int = 1) -> Branch:
    """Convolutions called name_1, name_2, …; `stride` is the last one's."""
    last = len(steps)
    return tuple(
        Conv(f"{name}_{i}", outputs, kernel, stride if i == last else 1)
        for i, (outputs, kernel) in enumerate(steps, 1)
    )


def _fork(name: str, first: str, second: str) -> Fork:
    """A 1x3 and a 3x1 convolution to 384 channels each."""
    return Fork((Conv(f"{name}_{first}", 384, (1, 3)), Conv(f"{name}_{second}", 384, (3, 1))))


def _block_a(pooled: int) -> tuple[Branch, ...]:
    return (
        (_square("branch1x1", 64, 1),),
        _chain("branch5x5", (48, (1, 1)), (64, (5, 5))),
        _chain("branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3))),
        (Pool("mean"), _square("branch_pool", pooled, 1)),
    )


def _block_c(inner: int) -> tuple[Branch, ...]:
    row, column = (1, 7), (7, 1)
    doubled = ((inner, (1, 1)), (inner, column), (inner, row), (inner, column), (192, row))
    return (
        (_square("branch1x1", 192, 1),),
        _chain("branch7x7", (inner, (1, 1)), (inner, row), (192, column)),
        _chain("branch7x7dbl", *doubled),
        (Pool("mean"), _square("branch_pool", 192, 1)),
    )


def _block_e(pool: str) -> tuple[Branch, ...]:
    return (
        (_square("branch1x1", 320, 1),),
        (_square("branch3x3_1", 384, 1), _fork("branch3x3", "2a", "2b")),
        (*_chain("branch3x3dbl", (448, (1, 1)), (384, (3, 3))), _fork("branch3x3dbl", "3a", "3b")),
        (Pool(pool), _square("branch_pool", 192, 1)),
    )


#: The shrinking blocks, 35x35 -> 17x17 and 17x17 -> 8x8.
_BLOCK_B: tuple[Branch, ...] = (
    (_square("branch3x3", 384, 3, stride=2),),
    _chain("branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3)), stride=2),
    (Pool("max", 2),),
)
_BLOCK_D: tuple[Branch, ...] = (
    _chain("branch3x3", (192, (1, 1)), (320, (3, 3)), stride=2),
    _chain("branch7x7x3", (192, (1, 1)), (192, (1, 7)), (192, (7, 1)), (192, (3, 3)), stride=2),
    (Pool("max", 2),),
)

#: The network, first to last. A lone step is a stem layer, a tuple of branches a block.
LAYERS: tuple[tuple[str, Step | tuple[Branch, ...]], ...] = (
    ("Conv2d_1a_3x3", Conv("", 32, (3, 3), 2)),
    ("Conv2d_2a_3x3", Conv("", 32, (3, 3), padding=(0, 0))),
    ("Conv2d_2b_3x3", Conv("", 64, (3, 3))),
    ("maxpool1", Pool("max", 2)),
    ("Conv2d_3b_1x1", Conv("", 80, (1, 1))),
    ("Conv2d_4a_3x3", Conv("", 192, (3, 3), padding=(0, 0))),
    ("maxpool2", Pool("max", 2)),
    ("Mixed_5b", _block_a(32)),
    ("Mixed_5c", _block_a(64)),
    ("Mixed_5d", _block_a(64)),
    ("Mixed_6a", _BLOCK_B),
    ("Mixed_6b", _block_c(128)),
    ("Mixed_6c", _block_c(160)),
    ("Mixed_6d", _block_c(160)),
    ("Mixed_6e", _block_c(192)),
    ("Mixed_7a", _BLOCK_D),
    ("Mixed_7b", _block_e("mean")),
    ("Mixed_7c", _block_e("max")),
)


class _Unit(nn.Module):
    def __init__(self, inputs: int, conv: Conv) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, conv.outputs, conv.kernel, conv.stride, conv.pads, bias=False)
        self.bn = nn.BatchNorm2d(conv.outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x)))


def _pool(pool: Pool, x: Tensor) -> Tensor:
    if pool.kind == "mean":
        return avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    return max_pool2d(x, 3, pool.stride, 0 if pool.stride == 2 else 1)


class _Block(nn.Module):
    """Branches of one input, their outputs one after the other along C."""

    def __init__(self, inputs: int, branches: Sequence[Branch]) -> None:
        super().__init__()
        self.branches = tuple(branches)
        self.outputs = sum(self._add(inputs, branch) for branch in branches)

    def _add(self, channels: int, branch: Branch) -> int:
        """Make the units of one branch; its number of output channels."""
        for step in branch:
            if isinstance(step, Pool):
                continue
            convs = step.convs if isinstance(step, Fork) else (step,)
            for conv in convs:
                self.add_module(conv.name, _Unit(channels, conv))
            channels = sum(conv.outputs for conv in convs)
        return channels

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._run(branch, x) for branch in self.branches], 1)

    def _run(self, branch: Branch, x: Tensor) -> Tensor:
        for step in branch:
            if isinstance(step, Pool):
                x = _pool(step, x)
            elif isinstance(step, Fork):
                x = torch.cat([self.get_submodule(conv.name)(x) for conv in step.convs], 1)
            else:
                x = self.get_submodule(step.name)(x)
        return x


class Inception(nn.Module):
    """float32 (B, 3, 299, 299) in [-1, 1] -> (B, 2048): the mean of the last block over its 8x8 places."""

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for name, layer in LAYERS:
            if isinstance(layer, Conv):
                self.add_module(name, _Unit(channels, layer))
                channels = layer.outputs
            elif isinstance(layer, tuple):
                block = _Block(channels, layer)
                self.add_module(name, block)
                channels = block.outputs
        assert channels == DIMENSIONS, channels

    def forward(self, x: Tensor) -> Tensor:
        for name, layer in LAYERS:
            x = _pool(layer, x) if isinstance(layer, Pool) else self.get_submodule(name)(x)
        return x.mean((2, 3))


def resize_tf1(x_BCHW: Tensor, size: int = SIZE) -> Tensor:
    """Bilinear resize to size x size as TensorFlow 1 does it: output i lies at i x (old size / new size), no half
    pixels, no antialiasing, the last row and column repeated; first along W, then along H, in float32."""
    for axis in (3, 2):
        old = x_BCHW.shape[axis]
        place = torch.arange(size, dtype=torch.float32, device=x_BCHW.device) * torch.tensor(
            old / size, dtype=torch.float32
        )
        low = place.long()
        share = (place - low).reshape((-1, 1) if axis == 2 else (-1,))
        left = x_BCHW.index_select(axis, low)
        right = x_BCHW.index_select(axis, (low + 1).clamp(max=old - 1))
        x_BCHW = left + (right - left) * share
    return x_BCHW


class InceptionFeatures:
    """Images uint8 (n, H, W, 3) or (n, H, W, 1) of any size -> float64 (n, 2048).

    Preprocessing as published: the uint8 values as float32, resized by TF1's rule, then (x - 128) / 128."""

    def __init__(self, weights: Mapping[str, Tensor], device: str = "cpu") -> None:
        self.device = device
        network = Inception()
        network.load_state_dict(weights, strict=True)
        self.network = network.eval().requires_grad_(False).to(device)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return batched(self._pooled, images, _BATCH, self.device)

    def _pooled(self, images_BCHW: Tensor) -> Tensor:
        features: Tensor = self.network((resize_tf1(images_BCHW) - 128.0) / 128.0)
        return features
