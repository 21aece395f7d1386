"""512 pooled features of the CIFAR-10 ResNet-18 that `pyautoattack` 0.2.0 ships (11.17 M weights, not
robust), and its classes.

A real CIFAR-10 network on every machine without a download. Distances in it are FD-ResNet18, never FID."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, relu

from isoloss.runtime import disk
from isoloss.runtime.errors import JobError
from isoloss.runtime.quality.batches import batched

#: Images per forward pass: bounds memory at 0.2 GB, and larger is not faster on a CPU.
_BATCH = 128


@cache
def _network() -> tuple[torch.nn.Module, str]:
    """The network and its weights' SHA-256."""
    try:
        from pyautoattack.examples.resnet import ResNet18

        found = find_spec("pyautoattack")
        assert found is not None
        assert found.origin is not None
        weights = Path(found.origin).parent / "examples" / "model_test.pt"
        network = ResNet18()
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        digest = disk.sha256(weights)
    except (ImportError, OSError, RuntimeError) as error:
        raise JobError(
            "R502",
            f"the network behind FD-ResNet18 can't be loaded: {error}",
            "install `pyautoattack==0.2.0`, which ships it",
        ) from error
    return network.eval().requires_grad_(False), digest


class Resnet18:
    """Images uint8 (n, 32, 32, 3) or (n, 32, 32, 1) (repeated to colour) -> features float64 (n, 512).

    Other sizes are refused (JobError R502), not resized: a resize would make another feature space."""

    def __init__(self, device: str = "cpu") -> None:
        network, self.sha256 = _network()
        self.device = device
        self.network = network.to(device)

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        if images.shape[1:3] != (32, 32):
            raise JobError(
                "R502",
                f"FD-ResNet18 takes images of 32x32 pixels, these are {images.shape[1]}x{images.shape[2]}",
                "use features `pixels` for small images",
            )
        return batched(self._pooled, images, _BATCH, self.device)

    def classes(self, features: NDArray[np.float64]) -> NDArray[np.int64]:
        """The network's class of images by their features: argmax of its linear layer, in float64."""
        head = self.network.linear
        weight, bias = (p.detach().double().cpu().numpy() for p in (head.weight, head.bias))
        found: NDArray[np.int64] = (features @ weight.T + bias).argmax(1)
        return found

    def _pooled(self, images_BCHW: Tensor) -> Tensor:
        net = self.network
        x = relu(net.bn1(net.conv1(images_BCHW / 255.0)))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return avg_pool2d(x, 4).flatten(1)
