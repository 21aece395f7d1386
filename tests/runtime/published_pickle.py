"""Pickles in the structure of NVIDIA's published EDM networks, made of a network of ours: the persistence wrapper with
source code in it, torch's own containers, tensors pickled by themselves, numpy scalars among the settings."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from isoloss.compiler.plan import Component
from isoloss.runtime.generators.published import published_name
from isoloss.runtime.generators.unet import UNet
from isoloss.runtime.models.network import Shape

#: What the wrapper carries to be executed. Whoever runs it leaves a trace.
SOURCE = "import pathlib; pathlib.Path('ran').touch()\n"


def _reconstruct_persistent_obj(meta: Mapping[str, Any]) -> Any:
    raise AssertionError("the pickle's own code was run")


class EasyDict(dict):  # type: ignore[type-arg]
    """dnnlib's, by its name."""


class Persistent(nn.Module):
    """An object of a class that pickles its source beside its state."""

    def __init__(self, class_name: str, kwargs: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._class_name, self._init_args, self._init_kwargs = class_name, (), dict(kwargs or {})

    def __reduce__(self) -> tuple[Any, ...]:
        state = {key: value for key, value in self.__dict__.items() if key != "_class_name"}
        meta = {
            "type": "class",
            "version": 6,
            "module_src": SOURCE,
            "class_name": self._class_name,
            "state": state,
        }
        return _reconstruct_persistent_obj, (meta,), None

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self.__reduce__()


@contextmanager
def _published_modules() -> Iterator[None]:
    """The names under which the published files look for their wrapper."""
    made = {"torch_utils": ModuleType("torch_utils"), "dnnlib": ModuleType("dnnlib")}
    made["torch_utils.persistence"] = ModuleType("torch_utils.persistence")
    made["dnnlib.util"] = ModuleType("dnnlib.util")
    for place, thing in (("torch_utils.persistence", _reconstruct_persistent_obj), ("dnnlib.util", EasyDict)):
        setattr(made[place], thing.__name__, thing)
    before = _reconstruct_persistent_obj.__module__, EasyDict.__module__
    _reconstruct_persistent_obj.__module__, EasyDict.__module__ = "torch_utils.persistence", "dnnlib.util"
    sys.modules.update(made)
    try:
        yield
    finally:
        _reconstruct_persistent_obj.__module__, EasyDict.__module__ = before
        for name in made:
            del sys.modules[name]


def settings_of(network: Component, classes: int) -> dict[str, Any]:
    """SongUNet's keyword arguments for a network of ours."""
    smooth = network["form"] == "ncsnpp"
    return {
        "label_dim": classes, "augment_dim": network["condition"], "model_channels": network["channels"],
        "channel_mult": list(network["multipliers"]), "num_blocks": network["blocks"],
        "attn_resolutions": list(network["attention"] or []), "dropout": network["dropout"],
        "embedding_type": "fourier" if smooth else "positional", "channel_mult_noise": 2 if smooth else 1,
        "encoder_type": "residual" if smooth else "standard", "decoder_type": "standard",
        "resample_filter": [1, 3, 3, 1] if smooth else [1, 1],
    }  # fmt: skip


def published_tree(network: UNet, about: Component, shape: Shape, **outer: Any) -> Persistent:
    """The network as an EDMPrecond around a SongUNet, module by module under the published names."""
    model = Persistent("SongUNet", settings_of(about, shape.classes))
    model.skip_scale = np.sqrt(0.5)
    model.add_module("enc", nn.ModuleDict())
    model.add_module("dec", nn.ModuleDict())
    buffers = dict(network.named_buffers())
    for ours, tensor in network.state_dict().items():
        *path, leaf = published_name(ours, len(about["multipliers"]), shape.height).split(".")
        module: Any = model
        for step in path:
            if step not in module._modules:
                module.add_module(step, Persistent("UNetBlock" if "block" in step else "Conv2d"))
            module = module._modules[step]
        if ours in buffers:
            module.register_buffer(leaf, tensor.clone())
        else:
            module.register_parameter(leaf, nn.Parameter(tensor.clone(), requires_grad=False))
    # Filters stand beside the weights of resampling layers, and None beside those of others.
    for name, block in model._modules["enc"].items():  # type: ignore[union-attr]
        if "_down" in name:
            row = torch.tensor(model._init_kwargs["resample_filter"]).float()
            block._modules["conv0"].register_buffer("resample_filter", torch.outer(row, row)[None, None])
            block._modules["conv1"].register_buffer("resample_filter", None)
    ema = Persistent("EDMPrecond")
    for key, value in {
        "img_resolution": shape.height, "img_channels": shape.channels, "label_dim": shape.classes, "use_fp16": False,
        "sigma_min": 0, "sigma_max": float("inf"), "sigma_data": 0.5, **outer,
    }.items():  # fmt: skip
        setattr(ema, key, value)
    ema.add_module("model", model)
    return ema.eval()


def write_pickle(path: Path, ema: Any, protocol: int = 4) -> None:
    """As the published training loop writes it: the average beside its loss, augmentation and data."""
    loss = Persistent("EDMLoss")
    loss.P_mean = np.float64(-1.2)
    data = {
        "ema": ema,
        "loss_fn": loss,
        "augment_pipe": None,
        "dataset_kwargs": EasyDict(path="cifar10", use_labels=True),
    }
    with _published_modules(), path.open("wb") as file:
        pickle.dump(data, file, protocol=protocol)
