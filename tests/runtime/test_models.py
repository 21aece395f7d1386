"""Networks: counted as published, counted as the compiler counts, and seen alike by every attack view."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from isoloss.compiler.cost import architectures
from isoloss.runtime import models
from isoloss.runtime.attacks.base import input_gradient
from isoloss.runtime.attacks.objectives import OBJECTIVES
from isoloss.runtime.errors import JobError
from isoloss.runtime.models.batchnorm import BatchNorm, frozen
from isoloss.runtime.models.wrn import pad_same

torch.set_num_threads(1)

DIGITS, CIFAR = {"kind": "digits"}, {"kind": "cifar10"}
#: reference: all trainable weights of the published networks.
PUBLISHED = {
    (28, 4): 5_849_050, (40, 4): 8_949_210, (82, 4): 19_799_770, (28, 12): 52_517_850, (58, 12): 122_217_690,
    (82, 12): 177_977_562, (70, 16): 266_796_506, (82, 16): 316_356_058, (82, 8): 79_125_466,
    (94, 16): 365_915_610, (28, 10): 36_479_194, (28, 2): 1_467_610, (28, 1): 369_498, (16, 1): 175_066,
}  # fmt: skip


def _wrn(depth: int, width: int) -> dict[str, object]:
    return {"kind": "wrn", "depth": depth, "width": width}


def _cnn(width: int) -> dict[str, object]:
    return {"kind": "cnn", "width": width}


@pytest.mark.parametrize("size", PUBLISHED, ids=str)
def test_wide_resnets_have_the_published_weights(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        network = models.build(_wrn(*size), CIFAR)
    assert network.num_params() == PUBLISHED[size]
    assert architectures.count(_wrn(*size), CIFAR).params == PUBLISHED[size]


@pytest.mark.parametrize(("width", "params"), [(2, 944), (4, 2_382), (8, 6_770), (16, 21_594)])
def test_small_networks_have_the_references_weights(width: int, params: int) -> None:
    assert models.build(_cnn(width), DIGITS).num_params() == params


@pytest.mark.parametrize(
    ("model", "dataset"),
    [(_wrn(16, 1), CIFAR), (_wrn(10, 2), CIFAR), (_cnn(1), DIGITS), (_cnn(8), DIGITS), (_cnn(3), CIFAR)],
)
def test_the_compiler_counts_what_torch_counts(model: dict[str, object], dataset: dict[str, str]) -> None:
    with torch.device("meta"):
        network = models.build(model, dataset).eval()
        shape = network.shape
        image = torch.empty(1, shape.channels, shape.height, shape.width)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    counted = architectures.count(model, dataset)
    assert counted.params == network.num_params()
    assert counted.forward_flops == pytest.approx(counter.get_total_flops(), rel=1e-9)


def test_registries_agree() -> None:
    assert set(models.FAMILIES) == set(architectures.FAMILIES)


def _trained(
    model: dict[str, object], dataset: dict[str, str], normalize: dict[str, object]
) -> models.Network:
    """Weights and running statistics away from their initial values."""
    torch.manual_seed(0)
    network = models.build(model, dataset, normalize)
    for norm in network.batch_norms():
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.uniform_(norm.bias, -0.3, 0.3)
    network.set_momentum(0.3)
    network(torch.rand(32, network.shape.channels, network.shape.height, network.shape.width))
    return network


MEAN_STD = {"kind": "mean_std", "mean": ["1/2"], "std": [0.25]}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    ("model", "dataset", "groups"),
    [
        (_cnn(1), DIGITS, 1),
        (_cnn(4), DIGITS, 4),
        (_cnn(16), DIGITS, 1),
        (_wrn(10, 2), DIGITS, 1),
        # The published depth and images; groups; sides that are odd at the second stride.
        (_wrn(16, 1), {"kind": "cifar10"}, 1),
        (_wrn(10, 1), {"kind": "cifar10"}, 4),
        (_wrn(10, 1), {"kind": "mnist"}, 1),
    ],
)
def test_every_view_is_the_network(
    model: dict[str, object], dataset: dict[str, str], groups: int, mode: str
) -> None:
    """Logits and input gradients of an attack's view against the plain network by autograd, float32: equal to
    1e-4 of their scale, and nothing of the network moves."""
    network = _trained(model, dataset, MEAN_STD).train(mode == "train")
    for norm in network.batch_norms():
        norm.groups = groups
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    x = torch.rand(16, network.shape.channels, network.shape.height, network.shape.width)
    objective = OBJECTIVES["ce"]()
    objective.prepare(torch.arange(16) % 10, None)
    with frozen(network.batch_norms()):
        view = network.attack_view(mode)
        logits, gradient = view(x), input_gradient(view, x, objective)
        reference = x.clone().requires_grad_()
        plain = network(reference)
        F.cross_entropy(plain, torch.arange(16) % 10, reduction="sum").backward()
    assert reference.grad is not None
    torch.testing.assert_close(logits, plain, rtol=0, atol=1e-4 * float(plain.detach().abs().max()))
    scale = float(reference.grad.abs().max())
    torch.testing.assert_close(gradient, reference.grad, rtol=0, atol=1e-4 * scale)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_matrices_are_convolutions(training: bool) -> None:
    """The same network with and without its matrices: logits and weight gradients equal to 1e-5."""
    network = _trained(_cnn(4), DIGITS, {"kind": "none"}).train(training)
    x, y = torch.rand(16, 1, 8, 8), torch.arange(16) % 10
    found = []
    for dense in (network.dense, None):
        network.dense = dense
        network.zero_grad()
        with frozen(network.batch_norms()):
            logits = network(x)
        F.cross_entropy(logits, y).backward()
        found.append((logits.detach(), [p.grad.clone() for p in network.parameters()]))  # type: ignore[union-attr]
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-5)
    for matrix, convolution in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(matrix, convolution, rtol=0, atol=1e-5)


def test_same_padding_is_tensorflows() -> None:
    """Stride 2 on even sizes pads right and below only; stride 1 both sides; odd sizes at stride 2 both."""
    image = torch.ones(1, 1, 4, 4)
    assert pad_same(image, 3, 2)[0, 0].sum(1).tolist() == [4, 4, 4, 4, 0]
    assert pad_same(image, 3, 1)[0, 0].sum(1).tolist() == [0, 4, 4, 4, 4, 0]
    assert pad_same(torch.ones(1, 1, 5, 5), 3, 2)[0, 0].sum(1).tolist() == [0, 5, 5, 5, 5, 5, 0]


def test_batch_norm_is_torchs() -> None:
    ours, theirs = BatchNorm(3, 0.2), torch.nn.BatchNorm2d(3, momentum=0.2)
    x = torch.randn(8, 3, 4, 4)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_var, theirs.running_var)
    with frozen([ours]):
        ours(x + 1)
    assert torch.equal(ours.running_mean, theirs.running_mean)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_initial_weights_are_the_published_ones() -> None:
    """He by fan-out: standard deviation sqrt(2 / (k² out)); within 5 % over 36,864 draws."""
    torch.manual_seed(1)
    network = models.build(_wrn(10, 4), CIFAR)
    weight = network.blocks[0].conv2.weight
    assert float(weight.detach().std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.05)
    assert int(network.head.bias.count_nonzero()) == 0
    assert network.blocks[0].shortcut is not None
    assert models.build(_wrn(10, 1), CIFAR).blocks[0].shortcut is None


def test_unknown_words_are_job_errors() -> None:
    with pytest.raises(JobError, match="no model family `mlp`"):
        models.build({"kind": "mlp"}, DIGITS)
    with pytest.raises(JobError, match="3 channels, the images 1"):
        models.build(_cnn(1), DIGITS, {"kind": "cifar10"})
