"""Networks: a model Component and a dataset Component -> a torch Module from images in [0, 1] to logits.

One registry row per family; a family is one file. Normalisation is part of the network, so that every attack
works on pixels in [0, 1]."""

from __future__ import annotations

from isoloss.runtime.models.load import WEIGHTS_FILE, load_trained
from isoloss.runtime.models.network import Network
from isoloss.runtime.models.registry import FAMILIES, build

__all__ = ["FAMILIES", "WEIGHTS_FILE", "Network", "build", "load_trained"]
