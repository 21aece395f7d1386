"""Spaces to compare images in, by name: a Component and a data root -> a `Space`.

A distance measured in one is never compared with one measured in another: each names its metrics
(`fid @ pixels`, `fd @ resnet18`, `fid @ inception`)."""

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
class Space:
    """`extract` maps images uint8 (n, H, W, C) to float64 (n, F). `identity` says what the numbers depend on
    besides the images (a network's weights, a version of our code); None: they cost less than keeping them.
    `notes` go with every number measured here."""

    name: str
    extract: Extract
    identity: str | None = None
    notes: tuple[str, ...] = ()


def pixels(images: NDArray[np.uint8]) -> Floats:
    """The pixels themselves in [0, 1]: for small images only, where they are few enough to be
    Gaussian-fitted."""
    return images.reshape(len(images), -1) / 255.0


def _pixels(settings: Component, data_root: Path | None, device: str) -> Space:
    return Space("pixels", pixels)


def _resnet18(settings: Component, data_root: Path | None, device: str) -> Space:
    from isoloss.runtime.quality.resnet18 import Resnet18

    network = Resnet18(device)
    return Space("resnet18", network.features, f"resnet18 1 {network.sha256}")


def _inception(settings: Component, data_root: Path | None, device: str) -> Space:
    from isoloss.runtime.quality.inception import InceptionFeatures
    from isoloss.runtime.quality.inception_weights import find_weights, load_weights

    path = find_weights(settings["weights"], data_root)
    weights, sha256, notes = load_weights(path, settings.get("sha256"))
    return Space("inception", InceptionFeatures(weights, device), f"inception 1 {sha256}", notes)


FEATURES: Mapping[str, Callable[[Component, Path | None, str], Space]] = {
    "pixels": _pixels,
    "resnet18": _resnet18,
    "inception": _inception,
}


def build(features: Component, data_root: Path | None = None, device: str = "cpu") -> Space:
    """The feature space a Component names. Raises JobError R502 for one that can't be computed here, R401
    where its weights file is missing, R521 for a weights file that isn't one."""
    make = FEATURES.get(features["kind"])
    if make is None:
        raise JobError(
            "R502", f"no feature space `{features['kind']}`", f"known: {', '.join(sorted(FEATURES))}"
        )
    return make(features, data_root, device)
