"""Networks of finished jobs and imported files as what samplers ask for: denoisers, and discriminators that guide.

In: a Component of a GenerateSpec, the folders of the jobs it needs, the data root. Out: a denoiser or a log ratio on
flat images, float64 outside, float32 in the network, a few images at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isoloss.compiler.plan import Component
from isoloss.runtime.data.registry import data_root_from_environment, describe
from isoloss.runtime.errors import JobError
from isoloss.runtime.generators.denoiser import Denoiser, Preconditioned
from isoloss.runtime.generators.guidance import Discriminator
from isoloss.runtime.generators.unet import Encoder, Judge, UNet
from isoloss.runtime.generators.weights import DENOISER, DISCRIMINATOR, check_digest, load_network
from isoloss.runtime.models.network import Shape

#: Bytes of what the encoder keeps for the decoder, for the images that a network sees at once. Not what is free just
#: now: results round differently at other sizes, and images must not depend on the hour. The CPU's is about a cache.
AT_ONCE_BYTES: Mapping[str, int] = {"cpu": 4 << 20, "cuda": 8 << 30}
FEWEST_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Place:
    """Where a generator is built: its dataset, and what it may read."""

    dataset: Component
    data_root: Path | None
    device: str
    inputs: Mapping[str, Path]

    @property
    def shape(self) -> Shape:
        row = describe(self.dataset)
        height, width, channels = row.shape
        return Shape(channels, height, width, row.classes)

    def input(self, job: str) -> Path:
        """The folder of a job's result. Raises JobError R207."""
        if job not in self.inputs:
            raise JobError("R207", f"an input has no result: {job}", "run the study again: it will be made")
        return self.inputs[job]


def trained_denoiser(settings: Component, place: Place) -> Denoiser:
    """`unet`: what its denoiser job trained. Raises JobError R510."""
    path = place.input(settings["job"]) / DENOISER
    return _denoiser(path, settings["network"], place)


def pretrained_denoiser(settings: Component, place: Place) -> Denoiser:
    """`pretrained(file, sha256)`: a file below the data root. Raises JobError R401 (no data root), R402 (another
    checksum), R510 (missing, damaged, another network)."""
    root = place.data_root if place.data_root is not None else data_root_from_environment()
    if root is None:
        raise JobError(
            "R401", f"no folder was given for the file `{settings['file']}`",
            "name the folder that holds it: `export ISOLOSS_DATA=FOLDER`",
        )  # fmt: skip
    path = root / settings["file"]
    if not path.resolve().is_relative_to(root.resolve()):
        raise JobError("R510", f"`{settings['file']}` leads out of the data root", "copy the file there")
    check_digest(path, settings["sha256"])
    return _denoiser(path, settings["network"], place)


def _denoiser(path: Path, about: Component, place: Place) -> Denoiser:
    shape = place.shape
    network = load_network(path, about, shape, UNet).to(place.device)
    flat = Flat(network, shape, at_once(network.encoder, shape, place.device))
    return Preconditioned(flat, shape.channels * shape.height * shape.width, shape.classes)


def trained_discriminator(settings: Component, place: Place, pixels: tuple[float, float]) -> Discriminator:
    """What a discriminator job trained, for images whose numbers have the range `pixels`. Raises JobError R510."""
    shape = place.shape
    path = place.input(settings["job"]) / DISCRIMINATOR
    network = load_network(path, settings["network"], shape, Judge).to(place.device)
    size = at_once(network.encoder, shape, place.device)
    return Discriminator(Flat(network, shape, None), pixels, size)


def at_once(encoder: Encoder, shape: Shape, device: str) -> int:
    """How many images a network sees at once on a kind of device."""
    stages = len(encoder.levels[0].blocks) + 1
    kept = sum(
        width * (shape.height >> place // stages) * (shape.width >> place // stages)
        for place, width in enumerate(encoder.widths)
    )
    return max(FEWEST_AT_ONCE, AT_ONCE_BYTES[device.partition(":")[0]] // (4 * kept))


class Flat:
    """A network of images (B, C, H, W) on rows (B, H * W * C), `size` of them at a time (None: all)."""

    def __init__(self, network: nn.Module, shape: Shape, size: int | None) -> None:
        self.network, self.shape, self.size = network, shape, size

    def __call__(self, x_BD: Tensor, noise: Tensor, y_B: Tensor) -> Tensor:
        """`noise` is a scalar, (B,) or (B, 1)."""
        noise_B = noise.to(x_BD.device).flatten().expand(len(x_BD))
        size = self.size or len(x_BD)
        parts = [
            self._part(*rows)
            for rows in zip(*(each.split(size) for each in (x_BD, noise_B, y_B)), strict=True)
        ]
        return torch.cat(parts)

    def _part(self, x_BD: Tensor, noise_B: Tensor, y_B: Tensor) -> Any:
        shape = self.shape
        image = x_BD.view(-1, shape.height, shape.width, shape.channels).permute(0, 3, 1, 2).contiguous()
        out = self.network(image, noise_B, y_B)
        return out if out.ndim == 1 else out.permute(0, 2, 3, 1).reshape(len(out), -1)
