"""What every network is: a Module that normalises its own input, and how attacks look at it.

Letters of shapes: B images, C channels, H rows, W columns, K classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from isoloss.runtime.models.batchnorm import BatchNorm
from isoloss.runtime.models.normalize import Normalize

#: Forms that one function may be compiled for: sizes, number formats, modes.
FORMS = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """What a network is made for: image channels, rows, columns, and classes."""

    channels: int
    height: int
    width: int
    classes: int


class Network(nn.Module):
    """Images float (B, C, H, W) in [0, 1] -> logits (B, K). Subclasses write `features_to_logits`."""

    normalize: Normalize

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.normalize = Normalize(None, None)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.logits(self.normalize(x_BCHW))

    @abstractmethod
    def logits(self, x_BCHW: Tensor) -> Tensor:
        """Logits (B, K) of normalised images."""

    def batch_norms(self) -> list[BatchNorm]:
        return [module for module in self.modules() if isinstance(module, BatchNorm)]

    def num_params(self) -> int:
        """N: all trainable weights, batch-norm affine and head included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def attack_view(self, mode: str) -> Callable[[Tensor], Tensor]:
        """What an attack calls instead of the network while its weights stand still: same logits up to
        rounding, cheaper input gradients. `mode` is train (batch statistics; the caller freezes the running
        ones) or eval. Families override it; the network itself is always a valid view."""
        return self

    def fuse(self) -> None:
        """Have torch.compile join what lies between products, here and in attack views made from now on: for
        trainings that last longer than the compiler. Rounds otherwise than before. Families override it; the others
        stay as they are."""

    def set_momentum(self, momentum: float) -> None:
        """Momentum of running statistics in torch's sense: weight of the newest batch, in (0, 1]."""
        for norm in self.batch_norms():
            norm.momentum = momentum


def compiler() -> Callable[..., Any]:
    """torch.compile, for functions that it will meet in more forms than it expects. Importing it takes a second."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(FORMS, torch._dynamo.config.recompile_limit)
    return torch.compile


def init_weights(network: nn.Module) -> None:
    """Convolutions N(0, sqrt(2 / (k² out))), batch norm 1 and 0, linear default weight and zero bias: as in
    the published code of Gowal et al. (arXiv:2010.03593), Wang et al. (2302.04638) and Bartoldson et al.
    (2404.09349)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, std=(2.0 / fan_out) ** 0.5)
        elif isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
