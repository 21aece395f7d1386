"""Images through a network, batch by batch, in full float32: uint8 NHWC in, float64 features out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoloss.runtime.training import precision


def batched(
    network: Callable[[Tensor], Tensor], images: NDArray[np.uint8], size: int, device: str
) -> NDArray[np.float64]:
    """`network` on float32 (b, 3, H, W) in [0, 255], `size` images at a time; grey images (n, H, W, 1) are
    repeated to colour. Its outputs (b, F) as float64 (n, F)."""
    precision.set_rounding(precision.FULL)
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), size):
            batch = torch.from_numpy(np.ascontiguousarray(images[start : start + size])).to(device)
            x = batch.permute(0, 3, 1, 2).float()
            if x.shape[1] == 1:
                x = x.expand(-1, 3, -1, -1)
            parts.append(network(x).double().cpu().numpy())
    return np.concatenate(parts)
