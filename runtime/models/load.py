"""A train job's folder -> its network, ready to be attacked."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from isoloss.compiler.plan import Component
from isoloss.runtime.errors import JobError, first_line
from isoloss.runtime.models.network import Network
from isoloss.runtime.models.registry import build

WEIGHTS_FILE = "weights.pt"


def load_trained(
    folder: Path, model: Component, dataset: Component, normalize: Component, weights: str = "average"
) -> Network:
    """The trained network of a store folder, in eval mode, on the CPU, needing no gradients of its weights.

    `weights` is `average`, `live` or `best`; a run without averaging has only live weights, and `average` gives
    those. Raises JobError R312 when the file is missing, damaged, of another network or has no best weights."""
    if weights not in ("average", "live", "best"):
        raise ValueError(f"weights must be average, live or best, got {weights!r}")
    path = folder / WEIGHTS_FILE
    try:
        # weights_only: a store from a stranger can't run code.
        saved = torch.load(path, map_location="cpu", weights_only=True)
        with torch.random.fork_rng(devices=[]):
            network = build(model, dataset, normalize)
        chosen = "live" if weights == "average" and saved["average"] is None else weights
        network.load_state_dict(saved[chosen])
    except FileNotFoundError:
        raise JobError("R312", f"no weights in {folder}", "the train job has to finish first") from None
    except pickle.UnpicklingError as error:
        # torch's own words advise to load it with its code.
        reason = "they hold more than tensors and words, or are damaged; nothing was run"
        raise JobError("R312", f"weights in {folder} can't be used: {reason}") from error
    except (RuntimeError, KeyError, TypeError, EOFError, ValueError, OSError) as error:
        raise JobError("R312", f"weights in {folder} can't be used: {first_line(error)}") from error
    return network.requires_grad_(False).eval()


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor of a stranger's file is an array of real numbers, all of them there: neither sparse, nested,
    quantised nor without data. Others fail in ways of their own wherever they are first looked at."""
    return (
        not tensor.is_nested
        and tensor.layout is torch.strided
        and not tensor.is_meta
        and tensor.is_floating_point()
    )
