"""Pre-activation wide residual networks, as in the adversarial-training code of Gowal, Wang and Bartoldson.

depth = 6n + 4; stem 3x3 to 16 channels; three groups of n blocks with 16k, 32k, 64k channels at strides 1,
2, 2;
block BN-act-conv3x3-BN-act-conv3x3, a 1x1 convolution as shortcut where channels change; final BN, act, mean
pool,
linear with bias. Counts are exact (golden: 14 published sizes)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from isoloss.compiler.cost.architectures.tally import Architecture, Tally
from isoloss.compiler.facts.datasets import DatasetShape

STEM = 16


def count_wrn(arguments: Mapping[str, int], shape: DatasetShape) -> Architecture:
    """Raises ValueError where depth is not 6n + 4 with n >= 1, or width < 1."""
    return _count(
        arguments["depth"], arguments["width"], shape.channels, shape.height, shape.width, shape.classes
    )


@cache
def _count(
    depth: int, width: int, channels: int, height: int, pixels_wide: int, classes: int
) -> Architecture:
    if depth < 10 or (depth - 4) % 6 or width < 1:
        raise ValueError(
            f"depth must be 6n + 4 with n at least 1 and width at least 1, got ({depth}, {width})"
        )
    tally = Tally(height, pixels_wide)
    tally.convolution(channels, STEM, 3)
    inputs = STEM
    for group, stride in enumerate((1, 2, 2)):
        outputs = STEM * 2**group * width
        for block in range((depth - 4) // 6):
            tally.batchnorm(inputs)
            tally.convolution(inputs, outputs, 3, stride if block == 0 else 1)
            tally.batchnorm(outputs)
            tally.convolution(outputs, outputs, 3)
            if inputs != outputs:
                tally.branch(inputs, outputs, 1)
            inputs = outputs
    tally.batchnorm(inputs)
    tally.linear(inputs, classes)
    return tally.result()


def wrn_members() -> Iterator[Mapping[str, int]]:
    """Depths 10 to 124 and widths 1 to 64. The upper ends are ours: beyond them nothing was ever
    published."""
    for depth in range(10, 125, 6):
        for width in range(1, 65):
            yield {"depth": depth, "width": width}
