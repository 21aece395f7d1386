"""What is done to training images, on their device, keyed by their position in the run. (B, C, H, W)
floats."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from isoloss.compiler.plan import Component
from isoloss.runtime.errors import JobError
from isoloss.runtime.noise import Noise

Augment = Callable[[Tensor, Noise], Tensor]


def keep(x_BCHW: Tensor, noise: Noise) -> Tensor:
    return x_BCHW


def pad_crop_flip(pad: int) -> Augment:
    """Zero-pad by `pad` pixels, crop back at a random place, mirror half of the images."""

    def augment(x_BCHW: Tensor, noise: Noise) -> Tensor:
        count, _, height, width = x_BCHW.shape
        device = x_BCHW.device
        places = noise.integers(2 * pad + 1, count, 2).to(device)
        mirrored = noise.integers(2, count, 1).to(device).bool()
        rows_BH = places[:, :1] + torch.arange(height, device=device)
        columns_BW = places[:, 1:] + torch.arange(width, device=device)
        columns_BW = torch.where(mirrored, columns_BW.flip(1), columns_BW)
        padded = F.pad(x_BCHW, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
        batch = torch.arange(count, device=device)[:, None, None]
        cropped = padded[batch, rows_BH[:, :, None], columns_BW[:, None, :]]
        return cropped.permute(0, 3, 1, 2)

    return augment


def build(augment: Component) -> Augment:
    """Raises JobError R317 for an unregistered augmentation."""
    if augment["kind"] == "none":
        return keep
    if augment["kind"] != "pad_crop_flip":
        raise JobError("R317", f"no augmentation `{augment['kind']}`", "known: none, pad_crop_flip")
    return pad_crop_flip(int(augment["pad"]))
