"""The small network of the miniature study: four 3x3 convolutions and a linear layer.

conv-BN-SiLU at widths w, w, 2w (stride 2), 2w; flatten; linear with bias. On 8x8x1 with ten classes that is
944, 2,382, 6,770 and 21,594 weights for w = 2, 4, 8, 16. Letters as in network.py."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isoloss.runtime.models.batchnorm import BatchNorm
from isoloss.runtime.models.dense import DenseView, dense_convs, dense_logits
from isoloss.runtime.models.network import Network, Shape, init_weights


class Cnn(Network):
    """Where the matrices are small (models/dense.py) and the device is a CPU, convolutions run as
    products."""

    def __init__(self, width: int, shape: Shape) -> None:
        super().__init__(shape)
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        channels = [shape.channels, width, width, 2 * width, 2 * width]
        strides = [1, 1, 2, 1]
        self.convs = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], 3, stride=strides[i], padding=1, bias=False)
            for i in range(4)
        )
        self.norms = nn.ModuleList(BatchNorm(c) for c in channels[1:])
        rows, columns = (shape.height + 1) // 2, (shape.width + 1) // 2
        self.head = nn.Linear(2 * width * rows * columns, shape.classes)
        self.dense = dense_convs(self.convs, shape.height, shape.width)
        init_weights(self)

    def logits(self, x_BCHW: Tensor) -> Tensor:
        if self.dense is not None and self._on_cpu():
            return dense_logits(x_BCHW, self.dense, self.convs, self.norms, self.head)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x_BCHW = F.silu(norm(conv(x_BCHW)))
        return self.head(x_BCHW.flatten(1))

    def attack_view(self, mode: str) -> Callable[[Tensor], Tensor]:
        if self.dense is not None and self._on_cpu():
            return DenseView(self.dense, self.convs, self.norms, self.head, self.normalize, mode == "train")
        return super().attack_view(mode)

    def _on_cpu(self) -> bool:
        # Under autocast the convolutions' own low-precision kernels are what was asked for.
        return self.head.weight.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
