"""The miniature family: conv3x3-BN-SiLU four times with (w, w, 2w at stride 2, 2w) channels, flatten, linear.

Convolutions without bias, linear with. On 8x8x1 and 10 classes N = 63 w^2 + 341 w + 10: 944, 2,382, 6,770 and
21,594 for w = 2, 4, 8, 16. Counts are exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from isoloss.compiler.cost.architectures.tally import Architecture, Tally
from isoloss.compiler.facts.datasets import DatasetShape


def count_cnn(arguments: Mapping[str, int], shape: DatasetShape) -> Architecture:
    """Raises ValueError where width < 1."""
    return _count(arguments["width"], shape.channels, shape.height, shape.width, shape.classes)


@cache
def _count(width: int, channels: int, height: int, pixels_wide: int, classes: int) -> Architecture:
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    tally = Tally(height, pixels_wide)
    inputs = channels
    for outputs, stride in ((width, 1), (width, 1), (2 * width, 2), (2 * width, 1)):
        tally.convolution(inputs, outputs, 3, stride)
        tally.batchnorm(outputs)
        inputs = outputs
    tally.linear(inputs * tally.height * tally.width, classes)
    return tally.result()


def cnn_members() -> Iterator[Mapping[str, int]]:
    """Widths 1 to 256."""
    for width in range(1, 257):
        yield {"width": width}
