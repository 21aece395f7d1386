"""Whether a clean classifier sees the class that was asked for: a generator's labels are what training believes.

In: features and labels. Out: the share that agrees, under the classifier's name, and the same classifier's share on
held-out real images, which bounds what a perfect generator would get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isoloss.runtime.evaluation.intervals import Measured, share

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """`classifier` is its typed name; `held_out` its accuracy on real images that it was not made from."""

    classifier: str
    share: Measured
    held_out: Measured


def nearest_name(space: str) -> str:
    """The classifier that gives an image the label of its nearest real training image."""
    return f"knn(1, {space})"


def agree(classifier: str, generated: tuple[Labels, Labels], held_out: tuple[Labels, Labels]) -> Agreement:
    """Each pair: what the classifier says of the images, and their labels, (n,)."""
    return Agreement(classifier, share(generated[0] == generated[1]), share(held_out[0] == held_out[1]))
