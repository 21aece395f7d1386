"""A train job's folder -> its network, ready to be attacked."""

from __future__ import annotations

from pathlib import Path

import torch

from isoloss.compiler.plan import Component
from isoloss.runtime.errors import JobError
from isoloss.runtime.models.network import Network
from isoloss.runtime.models.registry import build

WEIGHTS_FILE = "weights.pt"


def load_trained(
    folder: Path, model: Component, dataset: Component, normalize: Component, weights: str = "average"
) -> Network:
    """The trained network of a store folder, in eval mode, on the CPU, needing no gradients of its weights.

    `weights` is `average` or `live`; a run without averaging has only live weights, and `average` gives
    those. Raises JobError R312 when the file is missing, damaged or of another network."""
    if weights not in ("average", "live"):
        raise ValueError(f"weights must be average or live, got {weights!r}")
    path = folder / WEIGHTS_FILE
    try:
        # weights_only: a store from a stranger can't run code.
        saved = torch.load(path, map_location="cpu", weights_only=True)
        with torch.random.fork_rng(devices=[]):
            network = build(model, dataset, normalize)
        network.load_state_dict(saved["live" if saved["average"] is None else weights])
    except FileNotFoundError:
        raise JobError("R312", f"no weights in {folder}", "the train job has to finish first") from None
    except (RuntimeError, KeyError, TypeError, EOFError, ValueError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise JobError("R312", f"weights in {folder} can't be used: {first}") from error
    return network.requires_grad_(False).eval()
