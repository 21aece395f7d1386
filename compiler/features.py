"""What the compiler must know of a feature space: its size and what an image costs in it. Data in: a name. Data
out: a row of one table.

The extractors are the runtime's; tests hold the tables equal and count the FLOPs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoloss.compiler.datasets import shape

if TYPE_CHECKING:
    from isoloss.compiler.plan import Component


@dataclass(frozen=True, slots=True)
class FeatureShape:
    """`dimensions` of an image's features, None: as many as it has values. `forward_flops` of one image:
    2 x multiply-accumulates of convolutions, exact."""

    dimensions: int | None
    forward_flops: float


#: inception: at 299x299, up to the 2,048 pooled features. resnet18: at 32x32, without its linear layer.
FEATURES: Mapping[str, FeatureShape] = {
    "pixels": FeatureShape(None, 0.0),
    "resnet18": FeatureShape(512, 1_110_835_200.0),
    "inception": FeatureShape(2048, 11_422_336_192.0),
}


def dimensions(features: Component, dataset: Component) -> int | None:
    """Values of one image's features; None for a space without a row."""
    row = FEATURES.get(features["kind"])
    if row is None or row.dimensions is not None:
        return None if row is None else row.dimensions
    pixels = shape(dataset)
    return pixels.channels * pixels.height * pixels.width
