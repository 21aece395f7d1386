"""What the compiler must know of a dataset: shapes and sizes. Data in: a name. Data out: a row of one table.

The loaders are the runtime's; a test holds the two tables equal. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isoloss.compiler.plan import Component


@dataclass(frozen=True, slots=True)
class DatasetShape:
    """`epoch_images` is E, the declared epoch size by which images drawn are counted (ARCHITECTURE.md).
    `train_images` are the real ones that may be trained on, without the held-out `validation_images`; None: as
    many as asked for. `test_images` is the size of the test split."""

    channels: int
    height: int
    width: int
    classes: int
    epoch_images: int
    train_images: int | None
    validation_images: int
    test_images: int

    @property
    def pixel_bytes(self) -> int:
        """One stored uint8 image."""
        return self.channels * self.height * self.width

    @property
    def image_bytes(self) -> int:
        """One stored uint8 image with its int64 label."""
        return self.pixel_bytes + 8

    def tested(self, images: int | None, split: str) -> int:
        """Images that an evaluation looks at: so many, or all of its split."""
        return images or (self.validation_images if split == "validation" else self.test_images)


#: The validation slice is 1,024 training images, as many as Gowal et al. 2020 hold out, and Bartoldson et al. 2024
#: after them (CIFAR-10 leaves 48,976 to train on), chosen by the images' digests. digits: scikit-learn's UCI digits,
#: 897 images to learn from, 97 of them held out; 900 for tests; its epoch of 1,000 is our convention. The others:
#: the published splits, an epoch being the training split. squiggles: the paper's three test shards of 32,768, one
#: of which is an epoch (its 129,600 steps of 512 are 2,025 of them); the size of its validation split is ours.
SHAPES: Mapping[str, DatasetShape] = {
    "digits": DatasetShape(1, 8, 8, 10, 1_000, 800, 97, 900),
    "cifar10": DatasetShape(3, 32, 32, 10, 50_000, 48_976, 1_024, 10_000),
    "cifar100": DatasetShape(3, 32, 32, 100, 50_000, 48_976, 1_024, 10_000),
    "svhn": DatasetShape(3, 32, 32, 10, 73_257, 72_233, 1_024, 26_032),
    "mnist": DatasetShape(1, 28, 28, 10, 60_000, 58_976, 1_024, 10_000),
    "fashion_mnist": DatasetShape(1, 28, 28, 10, 60_000, 58_976, 1_024, 10_000),
    "squiggles": DatasetShape(1, 60, 60, 2, 32_768, None, 8_192, 98_304),
}


#: AutoAttack's targeted losses rank this many classes (DLR: the first, and the third to fourth).
AUTOATTACK_CLASSES = 4


def shape(dataset: Component) -> DatasetShape:
    """The row of `dataset["kind"]`, at the resolution it states. Raises KeyError for a dataset without a row."""
    row = SHAPES[dataset["kind"]]
    side = dataset.get("resolution")
    return row if side is None else _resized(dataset["kind"], side)


@cache
def _resized(kind: str, side: int) -> DatasetShape:
    return replace(SHAPES[kind], height=side, width=side)
