"""Inception-v3 without its weights: the architecture on drawn ones, the published preprocessing, files that aren't it.

What the published weights give is not tested here: no package ships them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from isoloss.compiler.facts.features import FEATURES
from isoloss.runtime.errors import JobError
from isoloss.runtime.quality.features import build
from isoloss.runtime.quality.inception import Inception, InceptionFeatures, resize_tf1
from isoloss.runtime.quality.inception_weights import HEAD, PUBLISHED_SHA256, find_weights, load_weights

Weights = dict[str, torch.Tensor]


def shapes() -> dict[str, torch.Size]:
    with torch.device("meta"):
        network = Inception()
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def drawn_weights() -> Weights:
    """Weights in the range of trained ones, the same on every machine: numpy draws them, in order of names."""
    rng = np.random.default_rng(3)
    made: Weights = {}
    for name, shape in sorted(shapes().items()):
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var"):
            values = rng.uniform(0.75, 1.25, shape)
        elif name.endswith("bn.weight"):
            values = rng.uniform(0.9, 1.1, shape)
        elif ".bn." in name:
            values = rng.normal(0, 0.1, shape)
        else:
            values = rng.standard_normal(shape, dtype=np.float32) * (2 / np.prod(shape[1:])) ** 0.5
        made[name] = torch.from_numpy(np.asarray(values, dtype=np.float32))
    return made


def hollow_weights() -> Weights:
    """All names and shapes of the published file, a number each: files of 100 kB."""
    names = {**{n: tuple(s) for n, s in shapes().items() if "num_batches" not in n}, **HEAD}
    return {name: torch.tensor(0.01).expand(shape) for name, shape in names.items()}


def test_the_network_has_the_published_size_and_the_cost_tables_flops() -> None:
    with torch.device("meta"):
        network, images = Inception().eval(), torch.empty((2, 3, 299, 299))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        features = network(images)
    assert features.shape == (2, 2048)
    assert counter.get_total_flops() == 2 * FEATURES["inception"].forward_flops
    head = sum(int(np.prod(shape)) for shape in HEAD.values())
    # 23.85 M with the classifier of 1,008 classes; 94 convolutions, each with a batch norm.
    assert sum(p.numel() for p in network.parameters()) + head == 23_850_960
    assert sum(isinstance(m, torch.nn.Conv2d) for m in network.modules()) == 94


def test_features_are_those_of_another_implementation() -> None:
    """Expected: torch-fidelity 0.4.0's `inception-v3-compat`, output 2048, on the same weights and images."""
    torch.set_num_threads(1)
    found = InceptionFeatures({**drawn_weights(), **counters()})(two_images())
    assert found.shape == (2, 2048)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[:, ::256], EXPECTED, rtol=1e-3)
    np.testing.assert_allclose(found.mean(1), EXPECTED_MEANS, rtol=1e-4)


def two_images() -> np.ndarray:
    """Noise, and a ramp in one colour each way."""
    noise = np.random.default_rng(4).integers(0, 256, (32, 32, 3))
    y, x = np.mgrid[0:32, 0:32] * 8
    return np.stack([noise, np.stack([x, y, 255 - x], axis=2)]).astype(np.uint8)


EXPECTED = [
    [1.621292, 0.174916, 1.225475, 1.151661, 1.508572, 0.309074, 1.301981, 0.376079],
    [1.141452, 0.139334, 0.97305, 0.945878, 1.176845, 0.277398, 0.971913, 0.389372],
]
EXPECTED_MEANS = [0.469466, 0.370289]


def counters() -> Weights:
    return {name: torch.tensor(0) for name in shapes() if name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (60, 40), (299, 299), (320, 300)])
def test_the_resize_is_tensorflow_1s(size: tuple[int, int]) -> None:
    """Written out pixel by pixel: output i reads old[i x old / new] and its successor, no half pixels."""
    image = np.random.default_rng(0).integers(0, 256, size).astype(np.float32)
    found = resize_tf1(torch.from_numpy(image)[None, None])[0, 0].numpy()
    assert found.shape == (299, 299)
    height, width = size
    for i, j in [(0, 0), (1, 298), (298, 298), (150, 7), (37, 251), (297, 0)]:
        y, x = np.float32(i) * np.float32(height / 299), np.float32(j) * np.float32(width / 299)
        top, left = int(y), int(x)
        below, right = min(top + 1, height - 1), min(left + 1, width - 1)
        dy, dx = y - np.float32(top), x - np.float32(left)
        above_row = image[top, left] + (image[top, right] - image[top, left]) * dx
        below_row = image[below, left] + (image[below, right] - image[below, left]) * dx
        assert found[i, j] == pytest.approx(above_row + (below_row - above_row) * dy, abs=1e-4)
    # The first pixel is the image's own, the last repeats its edge: half-pixel centres would move both.
    assert found[0, 0] == image[0, 0]


# Weights files.


def save(folder: Path, change: Callable[[Weights], object] = lambda weights: weights) -> Path:
    weights = hollow_weights()
    changed = change(weights)
    torch.save(weights if changed is None else changed, folder / "w.pth")
    return folder / "w.pth"


def test_a_file_with_the_networks_tensors_is_taken_and_a_stranger_is_noted(tmp_path: Path) -> None:
    path = save(tmp_path)
    weights, digest, notes = load_weights(path)
    InceptionFeatures(weights)
    assert not set(HEAD) & set(weights)
    assert notes == (f"weights {digest[:8]}: not the published file",)
    assert load_weights(path, digest)[1] == digest
    space = build({"kind": "inception", "weights": "w.pth", "sha256": digest}, tmp_path)
    assert space.notes == notes
    assert digest in (space.identity or "")


def drop(weights: Weights) -> None:
    del weights["Mixed_7b.branch3x3_2a.conv.weight"]


def add(weights: Weights) -> None:
    weights["AuxLogits.fc.weight"] = torch.zeros(3)


def reshape(weights: Weights) -> None:
    weights["fc.weight"] = torch.zeros(1).expand(1000, 2048)  # torchvision's 1,000 classes


def spoil(weights: Weights) -> None:
    weights["Conv2d_1a_3x3.bn.running_var"] = torch.full((32,), float("nan"))


def whole_numbers(weights: Weights) -> None:
    weights["Conv2d_1a_3x3.bn.bias"] = torch.zeros(32, dtype=torch.int64)


def sparse(weights: Weights) -> None:
    weights["Conv2d_1a_3x3.bn.bias"] = torch.zeros(32).to_sparse()


def without_data(weights: Weights) -> None:
    weights["Conv2d_1a_3x3.bn.bias"] = torch.zeros(32, device="meta")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop, "it lacks `Mixed_7b.branch3x3_2a.conv.weight`"),
        (add, "it has `AuxLogits.fc.weight`, which this network lacks"),
        (reshape, "fc.weight is (1000, 2048), not (1008, 2048)"),
        (spoil, "no finite numbers"),
        (whole_numbers, "no plain array of real numbers"),
        (sparse, "no plain array of real numbers"),
        (without_data, "no plain array of real numbers"),
        (lambda weights: [1, 2], "something else than named tensors"),
        (lambda weights: {"state_dict": weights}, "something else than named tensors"),
    ],
)
def test_other_weights_are_refused(change: Callable[[Weights], object], said: str, tmp_path: Path) -> None:
    with pytest.raises(JobError) as refused:
        load_weights(save(tmp_path, change))
    assert refused.value.code == "R521"
    assert said in refused.value.message
    assert PUBLISHED_SHA256 in " ".join(refused.value.help)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('ran code')",))


@pytest.mark.parametrize("kind", ["text", "empty", "truncated", "code", "zip"])
def test_files_that_are_no_weights_are_refused_and_run_nothing(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    if kind == "truncated":
        whole = save(tmp_path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "code":
        torch.save({"conv": Evil()}, path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", b"not a pickle")
    else:
        path.write_bytes(b"<!doctype html>" if kind == "text" else b"")
    with pytest.raises(JobError) as refused:
        load_weights(path)
    assert refused.value.code == "R521"


def test_another_digest_than_stated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError) as refused:
        load_weights(save(tmp_path), PUBLISHED_SHA256)
    assert refused.value.code == "R521"
    assert "the study says" in refused.value.message


def test_a_missing_file_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISOLOSS_DATA", raising=False)
    for root in (None, tmp_path):
        with pytest.raises(JobError) as refused:
            find_weights("pt_inception-2015-12-05-6726825d.pth", root)
        assert refused.value.code == "R401"
        assert "https://github.com/mseitzer/pytorch-fid" in " ".join(refused.value.help)
