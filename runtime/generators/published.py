"""NVIDIA's published EDM networks -> files of our own, every parameter used exactly once.

In: a .pkl as it was downloaded. Out: `FILE.pt` that `pretrained(file = …)` names. The published code is not run and not
copied; its parameters' names are facts. Class-conditional SongUNets of both forms are mapped; none was available here:
tested on files that a test makes in the same structure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isoloss.compiler.plan import Component
from isoloss.runtime import disk
from isoloss.runtime.diffusion.geometry import CONDITION
from isoloss.runtime.errors import JobError
from isoloss.runtime.generators.denoiser import SIGMA_DATA
from isoloss.runtime.generators.pickled import Captured, read
from isoloss.runtime.generators.unet import UNet
from isoloss.runtime.generators.weights import save_weights
from isoloss.runtime.models.network import Shape

#: Settings of SongUNet, with the values it has where its maker gave none.
_DEFAULTS: Mapping[str, Any] = {
    "label_dim": 0, "augment_dim": 0, "model_channels": 128, "channel_mult": [1, 2, 2, 2], "channel_mult_emb": 4,
    "num_blocks": 4, "attn_resolutions": [16], "dropout": 0.10, "embedding_type": "positional",
    "channel_mult_noise": 1, "encoder_type": "standard", "decoder_type": "standard", "resample_filter": [1, 1],
}  # fmt: skip
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
    state = renamed(dict(_walk(model)), wanted, len(network["multipliers"]), shape.height, source)
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
    if abs(float(ema.state.get("sigma_data", SIGMA_DATA)) - SIGMA_DATA) > 1e-9:
        raise _other(source, f"it assumes data of deviation {ema.state['sigma_data']}, not {SIGMA_DATA}")
    settings = {**_DEFAULTS, **dict(model.state.get("_init_kwargs") or {})}
    form = next(
        (f for f, rows in _FORMS.items() if all(_same(settings[k], v) for k, v in rows.items())), None
    )
    if form is None or settings["decoder_type"] != "standard" or settings["channel_mult_emb"] != 4:
        raise _other(source, "its embedding, encoder and filter are neither DDPM++'s nor NCSN++'s")
    if not settings["label_dim"] or settings["augment_dim"] not in (0, CONDITION):
        raise _other(source, "it is not conditioned on classes, or on another augmentation")
    size, channels = int(ema.state["img_resolution"]), int(ema.state["img_channels"])
    network = {
        "kind": "unet",
        "channels": int(settings["model_channels"]),
        "multipliers": [int(m) for m in settings["channel_mult"]],
        "blocks": int(settings["num_blocks"]),
        "attention": [int(r) for r in settings["attn_resolutions"]] or None,
        "dropout": float(settings["dropout"]),
        "form": form,
        "condition": int(settings["augment_dim"]),
    }
    return network, Shape(channels, size, size, int(settings["label_dim"])), model


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


def _walk(module: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a captured module and all below it."""
    captured = module if isinstance(module, Captured) else Captured("", getattr(module, "state", {}))
    for name, tensor in captured.tensors().items():
        yield prefix + name, tensor
    for name, child in captured.children().items():
        if child is not None:
            yield from _walk(child, f"{prefix}{name}.")


def _same(left: Any, right: Any) -> bool:
    return list(left) == list(right) if isinstance(right, list) else bool(left == right)


def _other(source: Path, reason: str) -> JobError:
    return JobError(
        "R512", f"the network in {source} can't be used: {reason}",
        "the class-conditional EDM networks for CIFAR-10 can: edm-cifar10-32x32-cond-vp.pkl and …-cond-ve.pkl",
    )  # fmt: skip
