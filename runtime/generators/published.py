"""NVIDIA's published EDM networks -> files of our own, every parameter used exactly once.

In: a .pkl as it was downloaded. Out: `FILE.pt` that `pretrained(file = …)` names. The published code is not run and not
copied; its parameters' names are facts. Class-conditional SongUNets of both forms are mapped; none was available here:
tested on files that a test makes in the same structure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from isoloss.compiler.plan import Component
from isoloss.runtime import disk
from isoloss.runtime.errors import JobError
from isoloss.runtime.generators.denoiser import SIGMA_DATA
from isoloss.runtime.generators.geometry import CONDITION
from isoloss.runtime.generators.pickled import Captured, read
from isoloss.runtime.generators.unet import UNet
from isoloss.runtime.generators.weights import save_weights
from isoloss.runtime.models.network import Shape

#: Far above any published network; what is made of a file's own words is bounded by them.
_Few = Annotated[int, Field(ge=1, le=64)]
_Many = Annotated[int, Field(ge=1, le=4096)]


@dataclass(frozen=True, slots=True)
class _SongUNet:
    """Settings of SongUNet, with the values it has where its maker gave none."""

    label_dim: Annotated[int, Field(ge=0, le=100_000)] = 0
    augment_dim: int = 0
    model_channels: _Many = 128
    channel_mult: Annotated[list[_Few], Field(min_length=1, max_length=8)] = field(
        default_factory=lambda: [1, 2, 2, 2]
    )
    channel_mult_emb: int = 4
    num_blocks: _Few = 4
    attn_resolutions: Annotated[list[_Many], Field(max_length=8)] = field(default_factory=lambda: [16])
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.10
    embedding_type: str = "positional"
    channel_mult_noise: int = 1
    encoder_type: str = "standard"
    decoder_type: str = "standard"
    resample_filter: list[int] = field(default_factory=lambda: [1, 1])


@dataclass(frozen=True, slots=True)
class _EDMPrecond:
    """What a published network says of its images."""

    img_resolution: _Many
    img_channels: _Few
    sigma_data: float = SIGMA_DATA


#: What makes each of our forms.
_FORMS: Mapping[str, Mapping[str, Any]] = {
    "ddpmpp": {
        "embedding_type": "positional", "channel_mult_noise": 1, "encoder_type": "standard", "resample_filter": [1, 1]
    },
    "ncsnpp": {
        "embedding_type": "fourier", "channel_mult_noise": 2, "encoder_type": "residual",
        "resample_filter": [1, 3, 3, 1],
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Imported:
    """What an imported file holds; `sha256` is the new file's."""

    network: Component
    shape: Shape
    params: int
    sha256: str


def import_network(source: Path, output: Path) -> Imported:
    """Raises JobError R511 (a pickle that holds more than weights, or none), R512 (a network of another kind), OSError
    where `output` can't be written."""
    data = read(source)
    ema = data.get("ema") if isinstance(data, dict) else None
    if not isinstance(ema, Captured):
        raise JobError(
            "R511", f"{source} holds no averaged network `ema`", "name one of NVIDIA's EDM networks"
        )
    network, shape, model = describe_network(ema, source)
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in UNet(network, shape).state_dict().items()}
    theirs = dict(_walk(model, source))
    state = renamed(theirs, wanted, len(network["multipliers"]), shape.height, source)
    draft = output.with_name(f".{output.name}.draft")
    try:
        save_weights(draft, state, network, shape, f"{source.name}, sha256 {disk.sha256(source)}")
        draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)
    params = sum(tensor.numel() for name, tensor in state.items() if "frequencies" not in name)
    return Imported(network, shape, params, disk.sha256(output))


def describe_network(ema: Captured, source: Path) -> tuple[Component, Shape, Captured]:
    """Our Component of a published network, its images, and its inner module. Raises JobError R512."""
    model = ema.children().get("model")
    if ema.name != "EDMPrecond" or not isinstance(model, Captured) or model.name != "SongUNet":
        inner = f" of `{model.name}`" if isinstance(model, Captured) else ""
        raise _other(source, f"it is a `{ema.name}`{inner}, not an `EDMPrecond` of `SongUNet`")
    said = _declared(_EDMPrecond, ema.state, source)
    if abs(said.sigma_data - SIGMA_DATA) > 1e-9:
        raise _other(source, f"it assumes data of deviation {said.sigma_data}, not {SIGMA_DATA}")
    settings = _declared(_SongUNet, model.state.get("_init_kwargs") or {}, source)
    form = next(
        (f for f, rows in _FORMS.items() if all(getattr(settings, k) == v for k, v in rows.items())), None
    )
    if form is None or settings.decoder_type != "standard" or settings.channel_mult_emb != 4:
        raise _other(source, "its embedding, encoder and filter are neither DDPM++'s nor NCSN++'s")
    if not settings.label_dim or settings.augment_dim not in (0, CONDITION):
        raise _other(source, "it is not conditioned on classes, or on another augmentation")
    network = {
        "kind": "unet",
        "channels": settings.model_channels,
        "multipliers": settings.channel_mult,
        "blocks": settings.num_blocks,
        "attention": settings.attn_resolutions or None,
        "dropout": settings.dropout,
        "form": form,
        "condition": settings.augment_dim,
    }
    shape = Shape(said.img_channels, said.img_resolution, said.img_resolution, settings.label_dim)
    return network, shape, model


Declared = TypeVar("Declared")


def _declared(form: type[Declared], values: Any, source: Path) -> Declared:
    """What a file says of its network, if it is what `form` has; what else it says is left out. Raises JobError
    R512."""
    try:
        return TypeAdapter(form).validate_python(values)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise _other(source, f"`{place}`: {fault['msg']}") from error


def renamed(
    theirs: Mapping[str, Tensor], wanted: Mapping[str, Any], levels: int, size: int, source: Path
) -> dict[str, Tensor]:
    """The published tensors under our names, each used once; filters are not weights: ours are made anew. Raises
    JobError R512 where one is missing, left over or of another shape."""
    names = {ours: published_name(ours, levels, size) for ours in wanted}
    left = {name for name in theirs if not name.endswith("resample_filter")} - set(names.values())
    missing = set(names.values()) - set(theirs)
    if left or missing:
        what = f"lacks `{min(missing)}`" if missing else f"has `{min(left)}` besides"
        raise _other(source, f"its network {what}")
    for ours, name in names.items():
        if theirs[name].shape != wanted[ours]:
            raise _other(source, f"`{name}` is {tuple(theirs[name].shape)}, not {tuple(wanted[ours])}")
        if not bool(torch.isfinite(theirs[name]).all()):
            raise _other(source, f"`{name}` holds numbers that are not finite")
    return {ours: theirs[name].float().contiguous() for ours, name in names.items()}


_TOPS = {
    "embedding.noise.frequencies": "map_noise.freqs",
    "embedding.label": "map_label",
    "embedding.augment": "map_augment",
    "embedding.layer0": "map_layer0",
    "embedding.layer1": "map_layer1",
}
_IN_BLOCKS = {"attention.norm": "norm2", "attention.qkv": "qkv", "attention.proj": "proj"}


def published_name(ours: str, levels: int, size: int) -> str:
    """`encoder.levels.1.blocks.0.conv0.weight` -> `enc.16x16_block0.conv0.weight`, of an image of 32 rows."""
    for mine, theirs in _TOPS.items():
        if ours.startswith(mine):
            return theirs + ours[len(mine) :]
    for mine, theirs in (("encoder.stem", "conv"), ("out_norm", "aux_norm"), ("out", "aux_conv")):
        if ours.startswith(f"{mine}."):
            side = "enc" if mine == "encoder.stem" else "dec"
            return f"{side}.{size}x{size}_{theirs}{ours[len(mine) :]}"
    side, rest = ours.split(".", 1)
    number, part, rest = rest.removeprefix("levels.").split(".", 2)
    level = int(number) if side == "encoder" else levels - 1 - int(number)
    stage = {"enter": "down" if side == "encoder" else "up", "residual": "aux_residual"}.get(part, "")
    if not stage:
        place, rest = rest.split(".", 1)
        stage = {"blocks": "block", "middle": "in"}[part] + place
    rest = rest.removeprefix("conv.") if part == "residual" else rest
    for mine, theirs in _IN_BLOCKS.items():
        if rest.startswith(mine):
            rest = theirs + rest[len(mine) :]
    here = size >> level
    return f"{side[:3]}.{here}x{here}_{stage}.{rest}"


def _walk(module: Any, source: Path) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a captured module and all below it. Raises JobError R512 for a module that is there
    twice: one below itself would have no end."""
    waiting, seen = [("", module)], {id(module)}
    while waiting:
        prefix, each = waiting.pop()
        captured = each if isinstance(each, Captured) else Captured("", getattr(each, "state", {}))
        for name, tensor in captured.tensors().items():
            yield f"{prefix}{name}", tensor
        for name, child in captured.children().items():
            if child is None:
                continue
            if id(child) in seen:
                raise _other(source, f"its module `{prefix}{name}` is in it twice")
            seen.add(id(child))
            waiting.append((f"{prefix}{name}.", child))


def _other(source: Path, reason: str) -> JobError:
    return JobError(
        "R512", f"the network in {source} can't be used: {reason}",
        "the class-conditional EDM networks for CIFAR-10 can: edm-cifar10-32x32-cond-vp.pkl and …-cond-ve.pkl",
    )  # fmt: skip
