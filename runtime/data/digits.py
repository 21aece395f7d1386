"""UCI handwritten digits as scikit-learn ships them: 1,797 real images, 8x8x1, ten classes, no download.

The 900 test images are never seen by a generator, nor are the 97 held out for validation: it is fitted on the
800 others."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from isoloss.compiler.plan import Component
from isoloss.runtime.data.imageset import ImageSet, order_by_digest
from isoloss.runtime.errors import JobError

TEST_IMAGES = 900
#: Names the shuffle; change it and every digits result is another result.
SPLIT_SALT = b"isoloss digits split 1\n"
#: Of the two halves as the split makes them from the published 1,797 images. The order within each is that of
#: the digests: the first images to train on are a sample, whoever wrote them.
DIGESTS = {
    "train": "2d096ba5d1c5b918a7b42c85e6e80a1252808c59c77796c12bb92bd6056c97c0",
    "test": "6c8c3559d7858b0c6e121872e610d915a33b4ff0a4a05f3aefb7cd2aa4cdf3c8",
}


@cache
def _halves() -> dict[str, ImageSet]:
    from sklearn.datasets import load_digits

    published = load_digits()
    # Published pixels count dots, 0..16; a byte holds round(p / 16 * 255), at most half a grey level off.
    images = np.round(published.images / 16.0 * 255.0).astype(np.uint8)[..., np.newaxis]
    labels = published.target.astype(np.int64)
    shuffled = ImageSet(images, labels, classes=10).take(order_by_digest(images, SPLIT_SALT))
    train = len(shuffled) - TEST_IMAGES
    return {"train": shuffled.take(slice(0, train)), "test": shuffled.take(slice(train, None))}


def read_digits(dataset: Component, split: str, data_root: Path | None) -> ImageSet:
    """897 training or 900 test images, classes mixed. Raises JobError R402 if scikit-learn's copy has
    changed."""
    images = _halves()[split]
    if images.digest() != DIGESTS[split]:
        raise JobError(
            "R402",
            f"scikit-learn's digits are not the published ones ({split} split)",
            "reinstall scikit-learn: results on other images can't be compared with earlier ones",
        )
    return images
