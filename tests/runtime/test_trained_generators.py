"""Images from trained networks: the same however a range is cut, guided or not, and only from sound files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from isoloss.compiler.plan import Component
from isoloss.runtime.errors import JobError
from isoloss.runtime.generators import Generator, build
from isoloss.runtime.generators.guidance import Discriminator
from isoloss.runtime.generators.noise import BlockNoise
from isoloss.runtime.generators.trained import Flat, at_once
from isoloss.runtime.generators.unet import Judge, UNet
from isoloss.runtime.generators.weights import save_network
from isoloss.runtime.jobs.generate import run as generate
from isoloss.runtime.models.network import Shape
from tests.runtime.diffusion_specs import context, edm, generate_spec, network
from tests.runtime.training_specs import DIGITS

torch.set_num_threads(1)
SHAPE = Shape(1, 8, 8, 10)
UNTRAINED = "0" * 20
JUDGE = "1" * 20
TRAINED: Component = {"kind": "unet", "job": UNTRAINED, "network": network()}
MIXTURE: Component = {"kind": "mixture", "components": 1, "regularization": 2e-3}
GUIDED: Component = {
    **{k: v for k, v in edm(3).items() if k != "kind"}, "kind": "dg", "weight": 1.0, "churn": 4.0, "churn_every": 5,
    "double_every": 2, "discriminator": {"kind": "encoder", "job": JUDGE, "network": network("encoder")},
}  # fmt: skip
PFGMPP: Component = {**edm(3), "kind": "pfgmpp", "dimension": 64}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 100 images, so that a test of their borders takes milliseconds."""
    monkeypatch.setattr("isoloss.runtime.generators.noise.BLOCK_IMAGES", 100)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Networks with random weights, as their jobs would leave them."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    denoiser, judge = UNet(network(), SHAPE), Judge(network("encoder"), SHAPE)
    torch.nn.init.normal_(denoiser.out.weight, std=0.05)
    save_network(folder / UNTRAINED / "denoiser.pt", denoiser, network(), SHAPE, "a test")
    save_network(folder / JUDGE / "discriminator.pt", judge, network("encoder"), SHAPE, "a test")
    return {job: folder / job for job in (UNTRAINED, JUDGE)}


def made(inputs: dict[str, Path], sampler: Component, denoiser: Component = TRAINED) -> Generator:
    return build(DIGITS, sampler, denoiser, seed=0, inputs=inputs)


@pytest.mark.parametrize(
    "sampler", [edm(3), edm(3, churn=2.0), PFGMPP, GUIDED], ids=["edm", "churn", "pfgmpp", "dg"]
)
def test_images_do_not_depend_on_the_cut(inputs: dict[str, Path], sampler: Component) -> None:
    generator = made(inputs, sampler)
    whole, labels = generator.images(0, 210)
    part, part_labels = generator.images(95, 206)
    np.testing.assert_array_equal(part, whole[95:206])
    np.testing.assert_array_equal(part_labels, labels[95:206])
    assert whole.shape == (210, 8, 8, 1)
    assert whole.std() > 0


def test_guidance_moves_images_by_its_gradient(inputs: dict[str, Path]) -> None:
    plain, guided = made(inputs, edm(3)).images(0, 30)[0], made(inputs, GUIDED).images(0, 30)[0]
    assert (plain != guided).any()
    unweighted = {**GUIDED, "weight": 0.0}
    np.testing.assert_array_equal(made(inputs, unweighted).images(0, 30)[0], plain)


def test_a_mixture_is_guided_too(inputs: dict[str, Path]) -> None:
    plain, guided = (
        made(inputs, edm(3), MIXTURE).images(0, 30)[0],
        made(inputs, GUIDED, MIXTURE).images(0, 30)[0],
    )
    assert (plain != guided).any()


def test_a_discriminator_sees_all_pixels_in_one_range() -> None:
    """Asked about an image in [0, 1] it says what it says of the same image in [-1, 1]; the gradient is per unit."""
    torch.manual_seed(0)
    weights = torch.randn(64)
    signed, unit = (
        Discriminator(lambda x, tau, y: x @ weights, pixels) for pixels in ((-1.0, 1.0), (0.0, 1.0))
    )
    x, y = torch.rand(5, 64, dtype=torch.float64), torch.arange(5)
    gradient, ratio = unit(x, torch.tensor(0.4, dtype=torch.float64), y)
    other_gradient, other_ratio = signed(2 * x - 1, torch.tensor(0.8, dtype=torch.float64), y)
    torch.testing.assert_close(ratio, other_ratio)
    torch.testing.assert_close(gradient, 2 * other_gradient)


def test_a_network_sees_a_few_images_at_once_and_says_the_same() -> None:
    torch.manual_seed(0)
    net = UNet(network(), SHAPE).eval()
    x, noise, y = torch.randn(37, 64), torch.randn(37), torch.arange(37) % 10
    with torch.no_grad():
        torch.testing.assert_close(Flat(net, SHAPE, 8)(x, noise, y), Flat(net, SHAPE, None)(x, noise, y))
    assert at_once(net.encoder, SHAPE, "cpu") >= 16
    assert at_once(net.encoder, SHAPE, "cuda:0") > at_once(net.encoder, SHAPE, "cpu")


def test_channels_come_last_in_an_image() -> None:
    """Row (h, w, c) of a flat image is pixel (c, h, w) of the network's."""
    shape = Shape(3, 4, 5, 10)
    flat = Flat(torch.nn.Identity(), shape, None)
    flat.network = lambda image, noise, y: image * torch.tensor([1.0, 2.0, 3.0])[:, None, None]  # type: ignore[assignment]
    x = torch.ones(2, 60)
    out = flat(x, torch.zeros(()), torch.zeros(2, dtype=torch.int64)).view(2, 4, 5, 3)
    assert (out == torch.tensor([1.0, 2.0, 3.0])).all()


def test_the_generate_job_reads_its_networks(inputs: dict[str, Path], tmp_path: Path) -> None:
    job = context(generate_spec(GUIDED, TRAINED, 20), tmp_path, inputs)
    (seen,) = generate(job)
    assert seen.value == 20
    images = np.load(job.output / "images.npy")
    np.testing.assert_array_equal(images, made(inputs, GUIDED).images(0, 20)[0])


THREE_STEPS = edm(3)


def refused(
    code: str, sampler: Component = THREE_STEPS, denoiser: Component = TRAINED, **more: object
) -> JobError:
    with pytest.raises(JobError) as found:
        build(DIGITS, sampler, denoiser, seed=0, **more)  # type: ignore[arg-type]
    assert found.value.code == code
    return found.value


def test_missing_or_foreign_weights_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    refused("R207", inputs={})
    refused("R510", inputs={UNTRAINED: tmp_path})
    wider = {**TRAINED, "network": network(channels=8)}
    assert "channels = 4" in refused("R510", denoiser=wider, inputs=inputs).help[0]
    # torch's reader fails in ways of its own: a missing number of its memo, an end too early, ...
    for content in (b"not a network", b"hello", b"", b"PK\x03\x04"):
        (tmp_path / "denoiser.pt").write_bytes(content)
        assert "damaged" in refused("R510", inputs={UNTRAINED: tmp_path}).message
    with pytest.raises(JobError) as other_images:
        build({"kind": "mnist"}, edm(3), TRAINED, seed=0, inputs=inputs)
    assert other_images.value.code == "R510"
    no_judge = {name: value for name, value in GUIDED.items() if name != "discriminator"}
    refused("R501", sampler=no_judge, inputs=inputs)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"format": "other/1"}, "its format is not"),
        ({"network": "{}"}, "`network.channels`"),
        ({"network": "[]"}, "`network`"),
        ({"network": 5}, "can't be used"),
        ({"weights": [1]}, "`weights`"),
        ({"weights": {}}, "can't be used"),
        ({"shape": None}, "`shape`"),
        ({"weights": "not finite"}, "not finite"),
        ({"weights": Path()}, "nothing was run"),
        ({"weights": {"out.bias": torch.ones(1).to_sparse()}}, "no plain array"),
        ({"weights": {"out.bias": torch.ones(1, dtype=torch.complex64)}}, "no plain array"),
    ],
)
def test_a_file_that_is_no_network_is_told(
    part: dict[str, object], said: str, inputs: dict[str, Path], tmp_path: Path
) -> None:
    saved = torch.load(inputs[UNTRAINED] / "denoiser.pt", weights_only=True)
    if part.get("weights") == "not finite":
        part = {"weights": {name: tensor / 0.0 for name, tensor in saved["weights"].items()}}
    torch.save({**saved, **part}, tmp_path / "denoiser.pt")
    message = refused("R510", inputs={UNTRAINED: tmp_path}).message
    assert said in message
    assert "trust" not in message


def test_a_file_below_the_data_root_is_followed(inputs: dict[str, Path], tmp_path: Path) -> None:
    from isoloss.runtime import disk

    root, outside = tmp_path / "data", tmp_path / "outside.pt"
    (root / "edm").mkdir(parents=True)
    file = root / "edm" / "digits.pt"
    file.write_bytes((inputs[UNTRAINED] / "denoiser.pt").read_bytes())
    outside.write_bytes(file.read_bytes())
    asked = {"kind": "pretrained", "file": "edm/digits.pt", "sha256": None, "network": network()}
    np.testing.assert_array_equal(
        build(DIGITS, edm(3), asked, seed=0, data_root=root).images(0, 30)[0],
        made(inputs, edm(3)).images(0, 30)[0],
    )
    build(DIGITS, edm(3), {**asked, "sha256": disk.sha256(file)}, seed=0, data_root=root)
    refused("R402", denoiser={**asked, "sha256": "0" * 64}, data_root=root)
    refused("R510", denoiser={**asked, "file": "edm/none.pt"}, data_root=root)
    (root / "leak.pt").symlink_to(outside)
    refused("R510", denoiser={**asked, "file": "leak.pt"}, data_root=root)


def test_it_says_how_to_name_a_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISOLOSS_DATA", raising=False)
    asked = {"kind": "pretrained", "file": "x.pt", "sha256": None, "network": network()}
    assert "ISOLOSS_DATA" in refused("R401", denoiser=asked).help[0]


def test_blocks_are_balanced_and_noise_is_keyed(inputs: dict[str, Path]) -> None:
    generator = made(inputs, edm(3))
    _, labels = generator.block(1)
    assert np.bincount(labels).tolist() == [10] * 10
    first, second = (BlockNoise(0, block, 2, 3).normal(0) for block in (0, 1))
    assert not torch.equal(first, second)
