"""The table of model families and the one way to make a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from isoloss.compiler.plan import Component
from isoloss.runtime.data.registry import describe
from isoloss.runtime.errors import JobError
from isoloss.runtime.models.cnn import Cnn
from isoloss.runtime.models.network import Network, Shape
from isoloss.runtime.models.normalize import normalization
from isoloss.runtime.models.wrn import WideResNet

Build = Callable[[Component, Shape], Network]


def _wrn(model: Component, shape: Shape) -> Network:
    return WideResNet(int(model["depth"]), int(model["width"]), shape)


def _cnn(model: Component, shape: Shape) -> Network:
    return Cnn(int(model["width"]), shape)


FAMILIES: Mapping[str, Build] = {"wrn": _wrn, "cnn": _cnn}


def build(model: Component, dataset: Component, normalize: Component | None = None) -> Network:
    """A freshly initialised network for a dataset's images, in train mode.

    Maps float (B, C, H, W) in [0, 1] to logits (B, classes); weights come from torch's global random state.
    `normalize` None leaves pixels as they are. Raises JobError R310 for a family that isn't registered."""
    family = FAMILIES.get(model["kind"])
    if family is None:
        raise JobError("R310", f"no model family `{model['kind']}`", f"known: {', '.join(sorted(FAMILIES))}")
    row = describe(dataset)
    height, width, channels = row.shape
    network = family(model, Shape(channels, height, width, row.classes))
    network.normalize = normalization(normalize, channels)
    return network
