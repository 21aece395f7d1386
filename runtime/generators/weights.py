"""Files of trained networks: written by the jobs that train and by the import of published ones, read by generate
jobs. Tensors and words only; a stranger's file runs no code (weights_only)."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import torch
from torch import Tensor, nn

from isoloss.compiler.plan import Component
from isoloss.runtime import disk
from isoloss.runtime.errors import JobError
from isoloss.runtime.models.network import Shape

DENOISER, DISCRIMINATOR = "denoiser.pt", "discriminator.pt"
FORMAT = "isoloss.network/1"
#: What a file says of a network that must be so in the study too; dropout and conditions do nothing in sampling.
_AGREED = ("channels", "multipliers", "blocks", "attention", "form")
_BROKEN = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    AttributeError,
    pickle.UnpicklingError,
)


def save_network(path: Path, network: nn.Module, about: Component, shape: Shape, source: str) -> None:
    """`about` is the network Component; `source` says in words where the weights come from."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_weights(path, state, about, shape, source)


def save_weights(
    path: Path, state: Mapping[str, Tensor], about: Component, shape: Shape, source: str
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "format": FORMAT,
            "weights": dict(state),
            "network": orjson.dumps(about, option=orjson.OPT_SORT_KEYS).decode(),
            "shape": [shape.channels, shape.height, shape.width, shape.classes],
            "source": source,
        },
        path,
    )


def load_network(
    path: Path, asked: Component, shape: Shape, make: Callable[[Component, Shape], nn.Module]
) -> nn.Module:
    """The network of a file, in eval mode, on the CPU, its weights fixed. Raises JobError R510: missing, damaged, or
    of another network than `asked` or for other images than `shape`."""
    saved = _read(path)
    about = orjson.loads(saved["network"])
    theirs, ours = [{name: _plain(each[name]) for name in _AGREED} for each in (about, asked)]
    if theirs != ours:
        said = ", ".join(f"{name} = {_words(theirs[name])}" for name in _AGREED if theirs[name] != ours[name])
        raise JobError("R510", f"the network in {path.name} has {said}", f"write so in the study: `{said}`")
    if saved["shape"] != [shape.channels, shape.height, shape.width, shape.classes]:
        channels, height, width, classes = saved["shape"]
        raise JobError(
            "R510",
            f"the network in {path.name} is for images {height}x{width}x{channels} of {classes} classes",
            f"the dataset has {shape.height}x{shape.width}x{shape.channels} and {shape.classes}",
        )
    with torch.random.fork_rng(devices=[]):
        network = make(about, shape)
    try:
        network.load_state_dict(saved["weights"])
    except RuntimeError as error:
        raise _unusable(path, str(error).splitlines()[0]) from error
    return network.requires_grad_(False).eval()


def check_digest(path: Path, sha256: str | None) -> None:
    """Raises JobError R402 where the file is not the one that the study names by its checksum."""
    if sha256 is not None and path.is_file() and disk.sha256(path) != sha256:
        raise JobError(
            "R402", f"{path} has another checksum than the study states", "fetch or import it again"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved["format"] != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        orjson.loads(saved["network"])
        return dict(saved)
    except FileNotFoundError:
        raise JobError(
            "R510", f"no weights at {path}", "`isoloss import WEIGHTS.pkl -o FILE` makes them"
        ) from None
    except _BROKEN as error:
        raise _unusable(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _unusable(path: Path, reason: str) -> JobError:
    return JobError("R510", f"weights in {path} can't be used: {reason}", "train or import them again")


def _plain(value: Any) -> Any:
    return [int(v) for v in value] if isinstance(value, list | tuple) else value or None


def _words(value: Any) -> str:
    return "none" if value is None else str(value)
