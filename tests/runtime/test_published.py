"""Published networks: every parameter once, and no pickled code is ever run. The pickles are made here, in the
structure of NVIDIA's: none of theirs was at hand."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from isoloss.runtime.errors import JobError
from isoloss.runtime.generators import build
from isoloss.runtime.generators.pickled import read
from isoloss.runtime.generators.published import import_network, published_name
from isoloss.runtime.generators.unet import UNet
from isoloss.runtime.generators.weights import load_network
from isoloss.runtime.models.network import Shape
from tests.runtime.diffusion_specs import edm, network
from tests.runtime.published_pickle import Persistent, published_tree, settings_of, write_pickle
from tests.runtime.training_specs import DIGITS

torch.set_num_threads(1)
SHAPE = Shape(1, 8, 8, 10)


def made(seed: int = 1, **more: Any) -> tuple[UNet, dict[str, Any]]:
    about = dict(network(**{"channels": 8, "blocks": 2, "condition": 9, "dropout": 0.13, **more}))
    torch.manual_seed(seed)
    return UNet(about, SHAPE).eval(), about


@pytest.mark.parametrize("form", ["ddpmpp", "ncsnpp"])
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_published_network_is_the_same_function(form: str, protocol: int, tmp_path: Path) -> None:
    net, about = made(form=form)
    write_pickle(tmp_path / "edm.pkl", published_tree(net, about, SHAPE), protocol)
    found = import_network(tmp_path / "edm.pkl", tmp_path / "edm.pt")
    assert found.params == sum(parameter.numel() for parameter in net.parameters())
    assert found.network == about
    loaded = load_network(tmp_path / "edm.pt", about, SHAPE, UNet)
    x, noise, y = torch.randn(4, 1, 8, 8), torch.randn(4), torch.arange(4)
    assert torch.equal(loaded(x, noise, y), net(x, noise, y))
    assert not Path("ran").exists(), "the wrapper's source was executed"


def test_names_are_the_published_ones() -> None:
    """Of edm-cifar10-32x32-cond-vp and -ve: parameters of a SongUNet of four blocks on three levels."""
    ours = {
        "encoder.stem.weight": "enc.32x32_conv.weight",
        "encoder.levels.0.blocks.0.conv0.weight": "enc.32x32_block0.conv0.weight",
        "encoder.levels.1.enter.skip.bias": "enc.16x16_down.skip.bias",
        "encoder.levels.1.residual.conv.weight": "enc.16x16_aux_residual.weight",
        "encoder.levels.1.blocks.3.attention.qkv.weight": "enc.16x16_block3.qkv.weight",
        "decoder.0.middle.0.attention.norm.weight": "dec.8x8_in0.norm2.weight",
        "decoder.0.middle.1.affine.bias": "dec.8x8_in1.affine.bias",
        "decoder.1.enter.conv0.weight": "dec.16x16_up.conv0.weight",
        "decoder.1.blocks.4.attention.proj.bias": "dec.16x16_block4.proj.bias",
        "decoder.2.blocks.0.norm1.weight": "dec.32x32_block0.norm1.weight",
        "out_norm.weight": "dec.32x32_aux_norm.weight",
        "out.bias": "dec.32x32_aux_conv.bias",
        "embedding.label.weight": "map_label.weight",
        "embedding.augment.weight": "map_augment.weight",
        "embedding.layer1.bias": "map_layer1.bias",
        "embedding.noise.frequencies": "map_noise.freqs",
    }
    assert {name: published_name(name, 3, 32) for name in ours} == ours


def test_the_published_cifar10_network_has_its_names_and_size() -> None:
    about = network(channels=128, multipliers=[2, 2, 2], blocks=4, attention=[16], dropout=0.13, condition=9)
    with torch.device("meta"):
        net = UNet(about, Shape(3, 32, 32, 10))
    names = {published_name(name, 3, 32) for name in net.state_dict()}
    assert len(names) == len(net.state_dict())
    # 55.7 million, as the paper says of DDPM++.
    assert sum(parameter.numel() for parameter in net.parameters()) == 55_735_299


def test_an_imported_network_makes_images(tmp_path: Path) -> None:
    net, about = made()
    write_pickle(tmp_path / "edm.pkl", published_tree(net, about, SHAPE))
    import_network(tmp_path / "edm.pkl", tmp_path / "edm.pt")
    asked = {"kind": "pretrained", "file": "edm.pt", "sha256": None, "network": about}
    images, _ = build(DIGITS, edm(2), asked, seed=0, data_root=tmp_path).images(0, 20)
    assert images.shape == (20, 8, 8, 1)


# What is not such a network.


def refused(path: Path, code: str) -> JobError:
    with pytest.raises(JobError) as found:
        import_network(path, path.with_suffix(".pt"))
    assert found.value.code == code
    assert not path.with_suffix(".pt").exists()
    assert not list(path.parent.glob(".*.draft"))
    return found.value


def test_a_parameter_too_many_or_too_few_is_told(tmp_path: Path) -> None:
    net, about = made()
    tree = published_tree(net, about, SHAPE)
    inner: Any = tree._modules["model"]
    inner.register_parameter("surplus", nn.Parameter(torch.zeros(3)))
    write_pickle(tmp_path / "more.pkl", tree)
    assert "`surplus` besides" in refused(tmp_path / "more.pkl", "R512").message
    del inner._parameters["surplus"]
    del inner._modules["map_layer0"]._parameters["bias"]
    write_pickle(tmp_path / "less.pkl", tree)
    assert "lacks `map_layer0.bias`" in refused(tmp_path / "less.pkl", "R512").message


def test_weights_of_another_shape_or_not_numbers_are_told(tmp_path: Path) -> None:
    net, about = made()
    tree = published_tree(net, about, SHAPE)
    layer: Any = tree._modules["model"]._modules["map_layer1"]  # type: ignore[union-attr]
    layer._parameters["bias"] = nn.Parameter(torch.full((32,), torch.nan))
    write_pickle(tmp_path / "nan.pkl", tree)
    assert "not finite" in refused(tmp_path / "nan.pkl", "R512").message
    layer._parameters["bias"] = nn.Parameter(torch.zeros(31))
    write_pickle(tmp_path / "shape.pkl", tree)
    assert "(31,), not (32,)" in refused(tmp_path / "shape.pkl", "R512").message


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: setattr(tree, "_class_name", "VPPrecond"),
        lambda tree: setattr(tree._modules["model"], "_class_name", "DhariwalUNet"),
        lambda tree: setattr(tree, "sigma_data", 1.0),
        lambda tree: tree._modules["model"]._init_kwargs.update(decoder_type="skip"),
        lambda tree: tree._modules["model"]._init_kwargs.update(label_dim=0),
        lambda tree: tree._modules["model"]._init_kwargs.update(embedding_type="fourier"),
    ],
)
def test_other_networks_are_refused(change: Callable[[Any], object], tmp_path: Path) -> None:
    net, about = made()
    tree = published_tree(net, about, SHAPE)
    change(tree)
    write_pickle(tmp_path / "other.pkl", tree)
    assert refused(tmp_path / "other.pkl", "R512").help


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: setattr(tree, "sigma_data", "half"), "`sigma_data`"),
        (lambda tree: setattr(tree, "img_resolution", 10**30), "`img_resolution`"),
        (lambda tree: tree.__dict__.pop("img_channels"), "`img_channels`"),
        (lambda tree: tree._modules["model"]._init_kwargs.update(channel_mult=5), "`channel_mult`"),
        (lambda tree: tree._modules["model"]._init_kwargs.update(model_channels=-8), "`model_channels`"),
        # What is made of it would never end.
        (lambda tree: tree._modules["model"]._init_kwargs.update(num_blocks=10**7), "`num_blocks`"),
        (lambda tree: setattr(tree._modules["model"], "_init_kwargs", 5), "dictionary"),
        (lambda tree: tree._modules["model"]._modules["map_layer0"].__dict__.update(_parameters=7), "lacks"),
    ],
)
def test_settings_that_no_network_has_are_told(
    change: Callable[[Any], object], said: str, tmp_path: Path
) -> None:
    net, about = made()
    tree = published_tree(net, about, SHAPE)
    change(tree)
    write_pickle(tmp_path / "odd.pkl", tree)
    assert said in refused(tmp_path / "odd.pkl", "R512").message


def test_a_module_below_itself_is_told(tmp_path: Path) -> None:
    net, about = made()
    tree = published_tree(net, about, SHAPE)
    inner: Any = tree._modules["model"]
    shared = nn.ModuleList()
    inner._modules["first"] = inner._modules["second"] = shared
    write_pickle(tmp_path / "twice.pkl", tree)
    assert "in it twice" in refused(tmp_path / "twice.pkl", "R512").message
    shared._modules["again"] = shared
    del inner._modules["second"]
    write_pickle(tmp_path / "endless.pkl", tree)
    assert "in it twice" in refused(tmp_path / "endless.pkl", "R512").message


class Runs:
    """Unpickled, it runs a program."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def hostile(mark: Path) -> dict[str, Any]:
    """Ways to run code, or to reach out, that unpickling offers."""
    return {
        "system": Runs(os.system, f"touch {mark}"),
        "eval": Runs(eval, f"open({str(mark)!r}, 'w')"),
        "open": Runs(open, str(mark), "w"),
        "getattr": Runs(getattr, "", "format"),
        "torch.load": Runs(torch.load, str(mark)),
        "class": Persistent,
    }


@pytest.mark.parametrize("way", ["system", "eval", "open", "getattr", "torch.load", "class"])
@pytest.mark.parametrize("place", ["alone", "inside"])
def test_a_pickle_that_would_run_code_runs_none(way: str, place: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "hostile.pkl"
    thing = hostile(mark)[way]
    if place == "alone":
        path.write_bytes(pickle.dumps({"ema": thing}))
    else:
        net, about = made()
        tree = published_tree(net, about, SHAPE)
        tree._modules["model"]._init_kwargs["trap"] = thing  # type: ignore[union-attr]
        write_pickle(path, tree)
    error = refused(path, "R511")
    assert "was refused: it asks for" in error.message
    assert not mark.exists()
    assert not Path("ran").exists()


def test_code_inside_a_tensors_own_file_is_refused(tmp_path: Path) -> None:
    """A tensor is pickled as a file within the file: that one is guarded too."""
    import io

    inner = io.BytesIO()
    torch.save(Runs(os.system, f"touch {tmp_path / 'ran'}"), inner, _use_new_zipfile_serialization=False)
    path = tmp_path / "nested.pkl"
    path.write_bytes(pickle.dumps({"ema": Runs(torch.storage._load_from_bytes, inner.getvalue())}))
    assert "more than numbers" in refused(path, "R511").message
    assert not (tmp_path / "ran").exists()


def test_a_tensor_larger_than_its_numbers_is_refused(tmp_path: Path) -> None:
    flat = torch.zeros(4).storage()
    huge = Runs(torch._utils._rebuild_tensor_v2, flat, 0, (10**12,), (0,), False, {})
    (tmp_path / "huge.pkl").write_bytes(pickle.dumps({"ema": huge}))
    assert "more numbers" in refused(tmp_path / "huge.pkl", "R511").message
    beyond = Runs(torch._utils._rebuild_tensor_v2, flat, 3, (2,), (1,), False, {})
    (tmp_path / "beyond.pkl").write_bytes(pickle.dumps({"ema": beyond}))
    refused(tmp_path / "beyond.pkl", "R511")


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\x80\x04.", pickle.dumps([1, 2]), pickle.dumps({"ema": 3})]
)
def test_what_is_no_pickle_of_a_network_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "no.pkl"
    path.write_bytes(content)
    refused(path, "R511")


def test_a_truncated_or_missing_file_is_told(tmp_path: Path) -> None:
    net, about = made()
    path = tmp_path / "cut.pkl"
    write_pickle(path, published_tree(net, about, SHAPE))
    path.write_bytes(path.read_bytes()[:-1000])
    refused(path, "R511")
    refused(tmp_path / "none.pkl", "R511")


def test_a_pickle_is_read_as_data(tmp_path: Path) -> None:
    net, about = made()
    write_pickle(tmp_path / "edm.pkl", published_tree(net, about, SHAPE))
    data = read(tmp_path / "edm.pkl")
    assert data["dataset_kwargs"] == {"path": "cifar10", "use_labels": True}
    assert data["loss_fn"].state["P_mean"] == -1.2
    model = data["ema"].children()["model"]
    assert model.state["skip_scale"] == pytest.approx(np.sqrt(0.5))
    assert dict(model.state["_init_kwargs"]) == settings_of(about, 10)
