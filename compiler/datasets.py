"""What the compiler must know of a dataset: shapes and sizes. Data in: a name. Data out: a row of one table.

The loaders are the runtime's; a test holds the two tables equal. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from isoloss.dsl.frozen import dataclass

if TYPE_CHECKING:
    from isoloss.compiler.plan import Component


@dataclass(frozen=True, slots=True)
class DatasetShape:
    """`epoch_images` is E, the declared epoch size by which images drawn are counted (ARCHITECTURE.md);
    `test_images` is the size of the split that evaluations use."""

    channels: int
    height: int
    width: int
    classes: int
    epoch_images: int
    test_images: int

    @property
    def image_bytes(self) -> int:
        """One stored uint8 image with its int64 label."""
        return self.channels * self.height * self.width + 8


#: digits: scikit-learn's UCI digits, 897 images for generators, 900 for tests; its epoch of 1,000 is our
#: convention. The others: the published splits, an epoch being the training split.
SHAPES: Mapping[str, DatasetShape] = {
    "digits": DatasetShape(1, 8, 8, 10, 1_000, 900),
    "cifar10": DatasetShape(3, 32, 32, 10, 50_000, 10_000),
    "cifar100": DatasetShape(3, 32, 32, 100, 50_000, 10_000),
    "svhn": DatasetShape(3, 32, 32, 10, 73_257, 26_032),
    "mnist": DatasetShape(1, 28, 28, 10, 60_000, 10_000),
    "fashion_mnist": DatasetShape(1, 28, 28, 10, 60_000, 10_000),
}


def shape(dataset: Component) -> DatasetShape:
    """The row of `dataset["kind"]`. Raises KeyError for a dataset without a row."""
    return SHAPES[dataset["kind"]]
