"""A user's file -> the weights of Inception-v3, each checked and used exactly once.

In: a path below the data root. Out: tensors by name, the file's SHA-256, and what is to be said about it. Nothing
in the file is run: it is read as tensors only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from isoloss.runtime import disk
from isoloss.runtime.data.below import file_below
from isoloss.runtime.data.registry import data_root_from_environment
from isoloss.runtime.errors import JobError
from isoloss.runtime.models.load import is_plain
from isoloss.runtime.quality.inception import DIMENSIONS, Inception

#: The network of 2015-12-05 as the PyTorch ports of FID have it, all with one digest: 95,628,359 bytes.
PUBLISHED_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SOURCE = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
#: The network's classifier: in the file, checked, and not needed for features.
HEAD = {"fc.weight": (1008, DIMENSIONS), "fc.bias": (1008,)}
#: A state dict of this network is 96 MB in float32; a file many times that isn't one.
LIMIT_BYTES = 1 << 30


def find_weights(name: str, data_root: Path | None) -> Path:
    """The file `name` below the data root. Raises JobError R401 that says what to fetch and where to put it, R407 for
    what would lie elsewhere."""
    root = data_root if data_root is not None else data_root_from_environment()
    return file_below(root, name, dataset="inception", source=SOURCE)


def load_weights(path: Path, sha256: str | None = None) -> tuple[dict[str, Tensor], str, tuple[str, ...]]:
    """Tensors for `Inception`, the file's digest, and a note where it isn't the published file.

    Raises JobError R521 for a file that isn't this network's weights: not a file of tensors, names missing or
    unknown, other shapes, values that aren't finite; and where `sha256` is given and another."""
    digest = _digest(path, sha256)
    weights = _read(path)
    expected: dict[str, tuple[int, ...]] = dict(HEAD)
    with torch.device("meta"):
        expected |= {name: tuple(t.shape) for name, t in Inception().state_dict().items()}
    # Counters of batches that batch norm keeps for training: older files have none.
    counters = {name for name in expected if name.endswith(".num_batches_tracked")}
    _check(path, weights, expected, counters)
    notes = () if digest == PUBLISHED_SHA256 else (f"weights {digest[:8]}: not the published file",)
    features = {name: t.float() for name, t in weights.items() if name not in HEAD and name not in counters}
    return {**features, **{name: torch.tensor(0) for name in counters}}, digest, notes


def _digest(path: Path, wanted: str | None) -> str:
    if path.stat().st_size > LIMIT_BYTES:
        raise _not_weights(path, f"it has {path.stat().st_size:,} bytes")
    digest = disk.sha256(path)
    if wanted is not None and digest != wanted:
        raise _not_weights(path, f"its SHA-256 is {digest}, the study says {wanted}")
    return digest


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        # Whatever torch's reader meets in a stranger's bytes, it says the same: these aren't weights. Its own words
        # help nobody here, and some advise to load the file with its code.
        reason = "it is damaged, or holds more than tensors; nothing in it was run"
        raise _not_weights(path, reason) from None
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    ):
        raise _not_weights(path, "it holds something else than named tensors")
    return found


def _check(
    path: Path, weights: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], optional: set[str]
) -> None:
    missing = sorted(expected.keys() - weights.keys() - optional)
    unknown = sorted(weights.keys() - expected.keys())
    if missing or unknown:
        said = [f"it lacks {_listed(missing)}"] if missing else []
        said += [f"it has {_listed(unknown)}, which this network lacks"] if unknown else []
        raise _not_weights(path, " and ".join(said))
    for name, tensor in weights.items():
        if tensor.is_nested or (name not in optional and not is_plain(tensor)):
            raise _not_weights(path, f"{name} is no plain array of real numbers")
        if tuple(tensor.shape) != expected[name]:
            raise _not_weights(path, f"{name} is {tuple(tensor.shape)}, not {expected[name]}")
        if name not in optional and not bool(torch.isfinite(tensor).all()):
            raise _not_weights(path, f"{name} holds values that are no finite numbers")


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _not_weights(path: Path, reason: str) -> JobError:
    return JobError(
        "R521",
        f"{path} is not the weights of Inception-v3: {reason}",
        f"fetch {SOURCE}",
        f"its SHA-256 is {PUBLISHED_SHA256}",
    )
