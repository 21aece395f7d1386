"""WideResNet with SiLU, pre-activation: the published networks of Bartoldson et al. (arXiv:2404.09349), after
Gowal et al. (2010.03593) and Zagoruyko & Komodakis (1605.07146). depth = 6n + 4.

Exact, by the weight counts of Bartoldson et al.'s code: WRN-28-10 has 36,479,194. Letters as in network.py."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from isoloss.runtime.models.batchnorm import BatchNorm
from isoloss.runtime.models.network import Network, Shape, compiler, init_weights
from isoloss.runtime.models.wrn_view import WideResNetView

STEM_CHANNELS = 16


def pad_same(x_BCHW: Tensor, kernel: int, stride: int) -> Tensor:
    """Zero padding as TensorFlow's SAME does it: what is odd goes right and below. At stride 2 on even sizes
    a 3x3 kernel gets (0, 1), where torch's `padding=1` would shift the grid by a pixel."""
    height, width = x_BCHW.shape[-2:]
    bottom = max((-(-height // stride) - 1) * stride + kernel - height, 0)
    right = max((-(-width // stride) - 1) * stride + kernel - width, 0)
    return F.pad(x_BCHW, (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2))


class Conv(nn.Conv2d):
    """Bias-free convolution with SAME padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2 if stride == 1 else 0, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return same_conv(x_BCHW, self.weight, None, self.stride[0])


def same_conv(x_BCHW: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    kernel = weight.shape[-1]
    if stride == 1:
        return F.conv2d(x_BCHW, weight, bias, 1, kernel // 2)
    if kernel > 1:
        x_BCHW = pad_same(x_BCHW, kernel, stride)
    return F.conv2d(x_BCHW, weight, bias, stride)


class Block(nn.Module):
    """BN-SiLU-conv3x3-BN-SiLU-conv3x3 plus a shortcut: the raw input, or where channels change a 1x1
    convolution of the *activated* input (WRN-d-1 therefore has none in its first group)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = BatchNorm(inputs)
        self.conv1 = Conv(inputs, outputs, 3, stride)
        self.norm2 = BatchNorm(outputs)
        self.conv2 = Conv(outputs, outputs, 3)
        self.shortcut = Conv(inputs, outputs, 1, stride) if inputs != outputs else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        activated = F.silu(self.norm1(x_BCHW))
        shortcut = x_BCHW if self.shortcut is None else self.shortcut(activated)
        hidden = F.silu(self.norm2(self.conv1(activated)))
        return self.conv2(hidden) + shortcut


class WideResNet(Network):
    def __init__(self, depth: int, width: int, shape: Shape) -> None:
        super().__init__(shape)
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth must be 6n + 4 and at least 10, got {depth}")
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        self.stem = Conv(shape.channels, STEM_CHANNELS, 3)
        blocks: list[Block] = []
        inputs = STEM_CHANNELS
        for outputs, stride in ((16 * width, 1), (32 * width, 2), (64 * width, 2)):
            for index in range((depth - 4) // 6):
                blocks.append(Block(inputs, outputs, stride if index == 0 else 1))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.norm = BatchNorm(inputs)
        self.head = nn.Linear(inputs, shape.classes)
        self.fused = False
        init_weights(self)

    def logits(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.stem(x_BCHW)
        for block in self.blocks:
            x_BCHW = block(x_BCHW)
        # The published 8x8 mean pool is the mean over all of 32x32 images' last maps.
        return self.head(F.silu(self.norm(x_BCHW)).mean((2, 3)))

    def attack_view(self, mode: str) -> Callable[[Tensor], Tensor]:
        return WideResNetView(self, mode == "train")

    def fuse(self) -> None:
        self.fused = True
        compiled = compiler()
        for block in self.blocks:
            block.forward = compiled(block.forward, dynamic=False)

    def hidden_size(self) -> int:
        """Numbers per image that the norms of a forward pass put out."""
        height, width, total = self.shape.height, self.shape.width, 0
        for block in self.blocks:
            total += block.norm1.weight.numel() * height * width
            height, width = (-(-side // block.conv1.stride[0]) for side in (height, width))
            total += block.norm2.weight.numel() * height * width
        return total + self.norm.weight.numel() * height * width
