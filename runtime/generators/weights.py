"""Files of trained networks: written by the jobs that train and by the import of published ones, read by generate
jobs. Tensors and words only; a stranger's file runs no code (weights_only)."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import orjson
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from isoloss.compiler.plan import Component
from isoloss.runtime import disk
from isoloss.runtime.errors import JobError, first_line
from isoloss.runtime.models.load import is_plain
from isoloss.runtime.models.network import Shape

DENOISER, DISCRIMINATOR = "denoiser.pt", "discriminator.pt"
FORMAT = "isoloss.network/1"
#: What a file says of a network that must be so in the study too; dropout and conditions do nothing in sampling.
_AGREED = ("channels", "multipliers", "blocks", "attention", "form")


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
    theirs, ours = ({name: _plain(each[name]) for name in _AGREED} for each in (asdict(saved.network), asked))
    if theirs != ours:
        said = ", ".join(f"{name} = {_words(theirs[name])}" for name in _AGREED if theirs[name] != ours[name])
        raise JobError("R510", f"the network in {path.name} has {said}", f"write so in the study: `{said}`")
    channels, height, width, classes = saved.shape
    if Shape(channels, height, width, classes) != shape:
        raise JobError(
            "R510",
            f"the network in {path.name} is for images {height}x{width}x{channels} of {classes} classes",
            f"the dataset has {shape.height}x{shape.width}x{shape.channels} and {shape.classes}",
        )
    with torch.random.fork_rng(devices=[]):
        network = make({**asked, "condition": saved.network.condition}, shape)
    for name, tensor in saved.weights.items():
        if not is_plain(tensor):
            raise _unusable(path, f"`{name}` is no plain array of real numbers")
    try:
        network.load_state_dict(saved.weights)
    except RuntimeError as error:
        raise _unusable(path, first_line(error)) from error
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise _unusable(path, f"`{name}` holds numbers that are not finite")
    return network.requires_grad_(False).eval()


def check_digest(path: Path, sha256: str | None) -> None:
    """Raises JobError R402 where the file is not the one that the study names by its checksum."""
    if sha256 is not None and path.is_file() and disk.sha256(path) != sha256:
        raise JobError(
            "R402", f"{path} has another checksum than the study states", "fetch or import it again"
        )


@dataclass(frozen=True, slots=True)
class _Network:
    channels: int
    multipliers: list[int]
    blocks: int
    attention: list[int] | None
    form: str
    condition: Literal[0, 9]  # geometry.CONDITION


@dataclass(frozen=True, slots=True)
class _Saved:
    """What a file must hold."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}
    weights: dict[str, Tensor]
    network: _Network
    shape: tuple[int, int, int, int]


def _read(path: Path) -> _Saved:
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise JobError(
            "R510", f"no weights at {path}", "`isoloss import WEIGHTS.pkl -o FILE` makes them"
        ) from None
    except pickle.UnpicklingError as error:
        # torch's own words advise to load it with its code.
        raise _unusable(
            path, "it holds more than tensors and words, or is damaged; nothing was run"
        ) from error
    except Exception as error:
        # A stranger's bytes make torch's reader fail in any way they like.
        why = "" if isinstance(error, KeyError) else f" ({first_line(error)})"
        raise _unusable(path, f"it is no file of weights, or damaged{why}") from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise _unusable(path, f"its format is not {FORMAT}")
    try:
        return TypeAdapter(_Saved).validate_python({**saved, "network": orjson.loads(saved["network"])})
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise _unusable(path, f"`{place}`: {fault['msg']}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable(path, f"its `network` can't be read ({first_line(error)})") from error


def _unusable(path: Path, reason: str) -> JobError:
    return JobError("R510", f"weights in {path} can't be used: {reason}", "train or import them again")


def _plain(value: Any) -> Any:
    return [int(v) for v in value] if isinstance(value, list | tuple) else value or None


def _words(value: Any) -> str:
    return "none" if value is None else str(value)
