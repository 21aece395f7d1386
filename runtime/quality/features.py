"""Spaces to compare images in. A distance measured in one is never compared with one measured in another, so
each names its metric: `fid @ pixels`, `fd @ resnet18`, `fid @ inception`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isoloss.compiler.plan import Component
from isoloss.runtime.errors import JobError

Floats = NDArray[np.float64]
Extract = Callable[[NDArray[np.uint8]], Floats]


@dataclass(frozen=True, slots=True)
class Features:
    """`extract` maps images uint8 (n, H, W, C) to float64 (n, F); `metric` names distances measured in it."""

    metric: str
    extract: Extract


def pixels(images: NDArray[np.uint8]) -> Floats:
    """The pixels themselves in [0, 1]: for small images only, where they are few enough to be
    Gaussian-fitted."""
    return images.reshape(len(images), -1) / 255.0


def _pixels(settings: Component, data_root: Path | None, device: str) -> Features:
    return Features("fid @ pixels", pixels)


def _resnet18(settings: Component, data_root: Path | None, device: str) -> Features:
    from isoloss.runtime.quality.resnet18 import Resnet18Features

    # Not Inception, so not FID: another name, another scale.
    return Features("fd @ resnet18", Resnet18Features(device))


def _inception(settings: Component, data_root: Path | None, device: str) -> Features:
    raise JobError(
        "R502",
        "this version can't measure FID in Inception features",
        "state the published value: `fid = 1.82` in the generator block",
        "or measure with the CIFAR-10 network that comes along: features `resnet18`, another scale than FID",
    )


FEATURES: Mapping[str, Callable[[Component, Path | None, str], Features]] = {
    "pixels": _pixels,
    "resnet18": _resnet18,
    "inception": _inception,
}


def build(features: Component, data_root: Path | None = None, device: str = "cpu") -> Features:
    """The feature space a Component names. Raises JobError R502 for one that can't be computed here."""
    make = FEATURES.get(features["kind"])
    if make is None:
        raise JobError(
            "R502", f"no feature space `{features['kind']}`", f"known: {', '.join(sorted(FEATURES))}"
        )
    return make(features, data_root, device)
