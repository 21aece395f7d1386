"""Settings of a training beside its loss, each against its definition: steps toward the least likely class, an eps
per image, running statistics that attacks move, number formats, what happens when memory runs out."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from isoloss.runtime import attacks, models
from isoloss.runtime.context import Placement
from isoloss.runtime.errors import JobError, Stopped
from isoloss.runtime.jobs import train
from isoloss.runtime.noise import noise_at
from isoloss.runtime.training import average, layout_choice, losses, precision
from isoloss.runtime.training.layout import Memory, lay_out
from isoloss.runtime.training.trainer import Trainer
from tests.runtime.training_specs import DIGITS, batchnorm, context, pgd, train_spec, trainer_of

torch.set_num_threads(1)

PGD_AT = {"kind": "pgd_at", "label_smoothing": 0, "entropy": 0}


def _network() -> models.Network:
    torch.manual_seed(4)
    network = models.build({"kind": "cnn", "width": 2}, DIGITS)
    network(torch.rand(64, 1, 8, 8))
    return network.eval()


# Attacks.


def test_step_ll_goes_toward_the_class_that_is_least_likely() -> None:
    """x - eps sign(d CE(x, argmin p(x)) / dx), clipped (Kurakin et al., arXiv:1611.01236, section 2.2)."""
    network, x = _network(), torch.rand(12, 1, 8, 8)
    spec = {"kind": "fgsm", "norm": "linf", "eps": "1/10", "loss": "least"}
    ours = attacks.build(spec)(network, x, torch.zeros(12, dtype=torch.long), noise_at(1))
    moving = x.clone().requires_grad_()
    logits = network(moving)
    F.cross_entropy(logits, logits.argmin(1)).backward()
    assert moving.grad is not None
    torch.testing.assert_close(ours, (x - 0.1 * moving.grad.sign()).clamp(0, 1))


def test_each_image_has_an_eps_of_its_own() -> None:
    """|N(0, 8/255)| truncated at 16/255: the share below 8/255 is erf(1 / sqrt 2) / erf(2 / sqrt 2) = .7153;
    4,000 draws, so a deviation of .0071, four are allowed. No pixel of an image moves by another length."""
    network = _network()
    x = torch.full((4000, 1, 8, 8), 0.5)
    spec = {"kind": "fgsm", "norm": "linf", "eps": "16/255", "sigma": "8/255", "loss": "ce"}
    attack = attacks.build(spec)
    moved = (attack(network, x, torch.arange(4000) % 10, noise_at(1)) - x).abs().flatten(1)
    lengths = moved.amax(1)
    assert lengths.max() <= 16 / 255 + 1e-6
    still = moved < 1e-9  # pixels without a gradient
    torch.testing.assert_close(torch.where(still, lengths[:, None], moved), lengths[:, None].expand_as(moved))
    wanted = math.erf(1 / math.sqrt(2)) / math.erf(2 / math.sqrt(2))
    assert float((lengths < 8 / 255).float().mean()) == pytest.approx(wanted, abs=4 * 0.0071)
    assert torch.equal(moved, (attack(network, x, torch.arange(4000) % 10, noise_at(1)) - x).abs().flatten(1))


# Batch norm.


def test_moving_statistics_count_every_pass_of_the_attack() -> None:
    """Madry et al.'s graph: K steps and the outer pass move the averages, K + 1 times a step; `train` once.
    Against the same passes by hand: 1e-5."""
    steps, momentum = 3, 0.1
    spec = train_spec(
        4, 16, loss=PGD_AT, attack=pgd(steps, "ce"), batchnorm=batchnorm("moving", "1/10") | {"first": "1/10"}
    )
    trainer = trainer_of(spec)
    hand = copy.deepcopy(trainer.network)
    hand.set_momentum(momentum)
    (part,) = trainer._parts(0)
    x, y = part.x, part.y
    adversarial = x + (trainer._noise("attack", 0).uniform(x) * 2 - 1) * 0.15
    adversarial = adversarial.clamp(0, 1)
    for _ in range(steps):
        adversarial.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(hand(adversarial), y), adversarial)
        stepped = adversarial.detach() + 3 / 80 * gradient.sign()
        adversarial = torch.min(torch.max(stepped, x - 0.15), x + 0.15).clamp(0, 1)
    hand(adversarial)
    trainer.step()
    once = trainer_of(replace(spec, recipe={**spec.recipe, "batchnorm": batchnorm("train", "1/10")}))
    once.step()
    for ours, theirs, other in zip(
        *(n.batch_norms() for n in (trainer.network, hand, once.network)), strict=True
    ):
        torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=0, atol=1e-5)
        torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=0, atol=1e-5)
        assert not torch.allclose(ours.running_mean, other.running_mean, atol=1e-3)


def test_the_first_step_has_a_momentum_of_its_own() -> None:
    spec = train_spec(3, 16)
    for first in (1, "1/100"):
        trainer = trainer_of(
            replace(spec, recipe={**spec.recipe, "batchnorm": batchnorm() | {"first": first}})
        )
        found = []
        for step in range(2):
            trainer._prepare(step)
            found.append(trainer.network.batch_norms()[0].momentum)
        assert found == [1.0 if first == 1 else 0.01, 0.01]


def test_groups_are_batches_of_their_own() -> None:
    """Statistics and weight gradients of 32 images in four groups: those of four passes of 8, averaged. 1e-5."""
    torch.manual_seed(1)
    whole = models.build({"kind": "wrn", "depth": 10, "width": 1}, DIGITS)
    apart = copy.deepcopy(whole)
    x, y = torch.rand(32, 1, 8, 8), torch.arange(32) % 10
    for norm in whole.batch_norms():
        norm.groups = 4
    F.cross_entropy(whole(x), y).backward()
    means = []
    for rows in range(0, 32, 8):
        for norm in apart.batch_norms():
            norm.running_mean.zero_()
        apart.set_momentum(1.0)
        (F.cross_entropy(apart(x[rows : rows + 8]), y[rows : rows + 8]) / 4).backward()
        means.append(torch.cat([norm.running_mean.clone() for norm in apart.batch_norms()]))
    moved = torch.cat([norm.running_mean for norm in whole.batch_norms()])
    torch.testing.assert_close(moved, 0.01 * torch.stack(means).mean(0), rtol=0, atol=1e-5)
    for one, four in zip(whole.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(one.grad, four.grad, rtol=0, atol=1e-5)


def test_the_average_waits_for_its_own_warm_up() -> None:
    assert [average.decay_at(step, 100, 0.9, 0.5) for step in (49, 50)] == [0.0, 0.1]
    assert average.decay_at(1, 100, 0.9, 0.0) == pytest.approx(2 / 11)


# Number formats.


def test_bf16_stays_near_fp32_and_keeps_its_weights_whole(tmp_path: Path) -> None:
    """Six steps: losses within 5 % of each other (measured: 1 %), not equal; weights, images and statistics are
    float32."""
    curves = []
    for dtype in ("fp32", "bf16"):
        spec = train_spec(6, 32, model={"kind": "wrn", "depth": 10, "width": 1})
        train.run(context(replace(spec, numerics={**spec.numerics, "dtype": dtype}), tmp_path / dtype))
        curve = orjson.loads((tmp_path / dtype / "output" / "curve.json").read_bytes())
        curves.append([value for _, value in curve["losses"]])
        saved = torch.load(tmp_path / dtype / "output" / "weights.pt", weights_only=True)
        assert {tensor.dtype for tensor in saved["live"].values()} == {torch.float32}
    assert curves[0] != curves[1]
    np.testing.assert_allclose(curves[0], curves[1], rtol=0.05)


def test_formats_are_switched_for_a_training_and_back() -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with precision.switched({"dtype": "fp32", "tf32": True, "deterministic": True}, "cpu"):
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
        assert torch.are_deterministic_algorithms_enabled()
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before
    assert not torch.are_deterministic_algorithms_enabled()
    with (
        pytest.raises(JobError) as caught,
        precision.switched({"dtype": "fp8", "tf32": False, "deterministic": True}, "cpu"),
    ):
        pass
    assert caught.value.code == "R325"


def test_emulated_formats_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a V100, where torch says that it supports bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    for numerics in ({"dtype": "bf16", "tf32": False}, {"dtype": "fp32", "tf32": True}):
        with pytest.raises(JobError, match="Tesla V100 has no") as caught:
            precision.check(numerics, "cuda:0")
        assert caught.value.code == "R325"
    precision.check({"dtype": "fp32", "tf32": False}, "cuda:0")


# Memory.


def _losses(folder: Path) -> list[float]:
    curve = orjson.loads((folder / "output" / "curve.json").read_bytes())
    return [value for _, value in curve["losses"]]


def test_a_shortage_goes_on_in_smaller_passes_and_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that holds 8 images at a time: 32 in groups of 8 train as they would at once, and a resumed run
    keeps its passes though memory is free by then."""
    spec = train_spec(6, 32)
    spec = replace(spec, numerics={**spec.numerics, "batchnorm_group": 8})
    train.run(context(spec, tmp_path / "roomy"))
    step, holds = Trainer.step, 8

    def scarce(self: Trainer) -> float:
        if self.layout.micro_batch > holds:
            raise MemoryError
        return step(self)

    monkeypatch.setattr(Trainer, "step", scarce)
    asked: list[int] = []

    def stopping() -> bool:
        asked.append(1)
        return len(asked) == 3

    with pytest.raises(Stopped):
        train.run(context(spec, tmp_path / "scarce", stopping=stopping))
    holds = 32
    train.run(context(spec, tmp_path / "scarce"))
    np.testing.assert_allclose(_losses(tmp_path / "scarce"), _losses(tmp_path / "roomy"), atol=2e-3)
    (layout,) = orjson.loads((tmp_path / "scarce" / "output" / "curve.json").read_bytes())["layouts"]
    assert layout == {"from": 0, "processes": 1, "micro_batch": 8, "zero_stage": 0}


def test_memory_chooses_passes_and_partitions() -> None:
    """1 MB of state, 10 kB an image: what fits is taken; ZeRO only where state alone doesn't."""

    def chosen(available: float, world_size: int = 1, **wanted: int) -> tuple[int, int]:
        memory = Memory(1e6, 1e4, available)
        layout = lay_out(64, 8, 0, world_size, Placement(**wanted), memory)
        return layout.micro_batch, layout.zero_stage

    assert chosen(1e9) == (64, 0)
    assert chosen(1.35e6) == (32, 0)
    assert chosen(1.05e6) == (8, 0)  # the smallest there is: the device will say whether it fits
    assert chosen(0.9e6) == (8, 0)  # alone, nothing can be shared out
    assert chosen(0.9e6, 4) == (8, 2)
    assert chosen(1e9, 4, zero_stage=1, micro_batch=8) == (8, 1)


def test_a_shortage_of_several_processes_asks_for_another_attempt(tmp_path: Path) -> None:
    spec = train_spec(6, 32)
    spec = replace(spec, numerics={**spec.numerics, "batchnorm_group": 8})
    made = replace(context(spec, tmp_path), world_size=2)
    with pytest.raises(JobError) as caught:
        layout_choice.after_shortage(made, lay_out(32, 8, 0, 2, Placement()), Memory(0, 1e4, 1e5))
    assert (caught.value.code, caught.value.retry) == ("R322", True)
    assert orjson.loads((made.work / layout_choice.FILE).read_bytes())["micro_batch"] == 8


# Squared distances in place of logarithms.


def test_lse_is_its_formula() -> None:
    """Pang et al. 2022, arXiv:2202.10103, published code, image by image; gradients to 2e-5."""
    network = _network().train()
    x, x_adv, y = torch.rand(16, 1, 8, 8), torch.rand(16, 1, 8, 8), torch.arange(16) % 10

    class Fixed:
        shares_clean = False

        def __call__(self, x_BCHW: Tensor, y_B: Tensor, clean_logits_BK: Tensor | None = None) -> Tensor:
            return x_adv

    def straight() -> Tensor:
        clean, adversarial = network(x).softmax(1), network(x_adv).softmax(1)
        total = torch.zeros(())
        for p, q, label in zip(clean, adversarial, y.tolist(), strict=True):
            target = torch.full((10,), 0.1 / 9)
            target[label] = 0.9
            total = total + ((p - target) ** 2).sum() + 4 * F.relu(((q - p) ** 2).sum() - 0.05)
        return total / len(y)

    loss = losses.build({"kind": "lse", "beta": 4, "label_smoothing": "1/10", "slack": "1/20"})
    found = []
    for compute in (straight, lambda: loss.training(network, x, y, Fixed())):  # type: ignore[arg-type]
        network.zero_grad()
        value = compute()
        value.backward()
        found.append((value.detach(), [p.grad.clone() for p in network.parameters()]))  # type: ignore[union-attr]
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=0)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)
