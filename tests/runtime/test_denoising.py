"""Training a denoiser: EDM's rules, the loss falls on real digits, a stop and a resume change no bit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch

from isoloss.compiler.cost import flops as cost
from isoloss.runtime.data import load
from isoloss.runtime.diffusion import denoising, loop
from isoloss.runtime.diffusion import perturbation_kernel as kernel
from isoloss.runtime.diffusion.denoising import (
    Denoising,
    HeldOut,
    average_share,
    denoising_loss,
    learning_rate,
)
from isoloss.runtime.errors import JobError, Stopped
from isoloss.runtime.generators.denoiser import Preconditioned
from isoloss.runtime.generators.trained import Flat
from isoloss.runtime.generators.unet import UNet
from isoloss.runtime.generators.weights import load_network
from isoloss.runtime.jobs.denoiser import NAMES, run
from isoloss.runtime.models.network import Shape
from isoloss.runtime.noise import noise_at
from tests.runtime.diffusion_specs import NUMERICS, context, denoiser_spec, network
from tests.runtime.training_specs import DIGITS

torch.set_num_threads(1)
SHAPE = Shape(1, 8, 8, 10)


def trainer(**more: object) -> Denoising:
    return Denoising(denoiser_spec(**more), load(DIGITS, "train"), load(DIGITS, "validation"))  # type: ignore[arg-type]


def test_the_learning_rate_rises_from_zero_over_its_images() -> None:
    assert learning_rate(1e-3, 0, 10_000_000) == 0.0
    assert learning_rate(1e-3, 2_500_000, 10_000_000) == pytest.approx(2.5e-4)
    assert learning_rate(1e-3, 80_000_000, 10_000_000) == 1e-3
    assert learning_rate(1e-3, 128, 0) == 1e-3


def test_half_of_an_average_is_gone_after_its_half_life() -> None:
    kept = average_share(512, 100_000_000, 500_000, 0.05)
    assert kept ** (500_000 / 512) == pytest.approx(0.5)
    # Early on: a twentieth of what was seen; the first step copies.
    assert average_share(512, 1_000_000, 500_000, 0.05) ** (50_000 / 512) == pytest.approx(0.5)
    assert average_share(512, 0, 500_000, 0.05) == 0.0
    assert average_share(512, 0, 500_000, None) == kept


def test_a_fresh_network_says_almost_nothing_and_its_loss_is_about_one() -> None:
    fresh = trainer()
    images = signed_digits(64)
    raw = fresh.network(images, torch.zeros(64), torch.arange(64) % 10)
    assert raw.abs().max() < 1e-3
    # Data of deviation .5 would give exactly 1; the digits have .75 about a mean of -.4.
    assert 0.8 < fresh.test() < 3.0


def signed_digits(count: int) -> torch.Tensor:
    pixels = torch.from_numpy(load(DIGITS, "train").images[:count]).permute(0, 3, 1, 2)
    return denoising.signed(pixels)


def test_the_loss_is_the_weighted_error_of_the_preconditioned_denoiser() -> None:
    """Eq. 8 of arXiv:2206.00364 through the denoiser that samplers follow."""
    torch.manual_seed(0)
    net = UNet(network(), SHAPE).eval()
    torch.nn.init.normal_(net.out.weight)
    clean, sigma = signed_digits(5), torch.tensor([0.01, 0.1, 0.7, 3.0, 40.0])
    noisy, y = clean + sigma[:, None, None, None] * torch.randn(clean.shape), torch.arange(5)
    flat = Preconditioned(Flat(net, SHAPE, None), 64, 10)
    denoised = flat(noisy.permute(0, 2, 3, 1).reshape(5, 64).double(), sigma.double()[:, None], y)
    error = ((denoised - clean.permute(0, 2, 3, 1).reshape(5, 64)) ** 2).sum(1)
    weight = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
    found = denoising_loss(net, clean, noisy, sigma[:, None, None, None], y, None)
    torch.testing.assert_close(found.double(), weight * error, rtol=1e-4, atol=1e-4)


def test_the_held_out_loss_of_an_ideal_denoiser_is_its_law() -> None:
    """A network that knows the image has no loss; one that says nothing has the loss of c_skip x."""
    held_out = HeldOut(load(DIGITS, "validation"), (-1.2, 1.2), kernel.gaussian, "cpu")
    assert held_out(lambda x, noise, y, told: torch.zeros_like(x)) == held_out(
        lambda x, noise, y, told: torch.zeros_like(x)
    )
    logs = held_out._sigma.log().flatten()
    assert float(logs.mean()) == pytest.approx(-1.2, abs=1e-3)
    assert float(logs.std()) == pytest.approx(1.2, abs=0.01)
    assert denoising.HELD_OUT_IMAGES == cost.HELD_OUT_IMAGES
    assert loop.HELD_OUT_TIMES == cost.HELD_OUT_TIMES


@pytest.mark.parametrize("more", [{}, {"augment": 0.5, "condition": 9, "dropout": 0.1}, {"form": "ncsnpp"}])
def test_training_lowers_the_loss(more: dict[str, object]) -> None:
    learner = trainer(steps=100, channels=8, **more)
    losses = [learner.step() for _ in range(100)]
    assert np.mean(losses[-30:]) < 0.75 * np.mean(losses[:10])
    before = HeldOut(load(DIGITS, "validation"), (-1.2, 1.2), kernel.gaussian, "cpu")
    assert learner.test() < 0.75 * before(lambda x, noise, y, told: torch.zeros_like(x))


@pytest.mark.parametrize("form", ["ddpmpp", "ncsnpp"])
def test_bf16_trains_as_fp32_does_to_its_rounding(form: str) -> None:
    """The same start, images and noise: losses a few roundings of 2^-8 apart, and not equal."""
    half = {**NUMERICS, "dtype": "bf16"}
    each = [trainer(steps=30, channels=8, form=form, numerics=numerics) for numerics in (NUMERICS, half)]
    losses = np.array([[learner.step() for _ in range(30)] for learner in each])
    assert (losses[0] != losses[1]).any()
    assert np.abs(losses[1] / losses[0] - 1).max() < 0.05
    assert all(p.dtype == torch.float32 for p in each[1].network.parameters())


def test_a_stopped_job_resumes_to_the_same_bits(tmp_path: Path) -> None:
    spec = denoiser_spec(10, augment=0.3, condition=9, dropout=0.2)
    whole = context(spec, tmp_path / "whole")
    seen = run(whole)
    asked = iter([False] * 3 + [True] + [False] * 10)
    with pytest.raises(Stopped):
        run(context(spec, tmp_path / "cut", stopping=lambda: next(asked)))
    assert list((tmp_path / "cut" / "work").glob("*.ckpt"))
    torch.manual_seed(99)  # another process has another random state
    cut = context(spec, tmp_path / "cut")
    again = run(cut)
    assert (whole.output / "denoiser.pt").read_bytes() == (cut.output / "denoiser.pt").read_bytes()
    timeless = [
        [(o.metric, o.images, o.value) for o in each if o.metric != "images per second"]
        for each in (seen, again)
    ]
    assert timeless[0] == timeless[1]
    curves = [orjson.loads((c.output / "curve.json").read_bytes()) for c in (whole, cut)]
    assert curves[0]["losses"] == curves[1]["losses"]
    assert len(curves[0]["losses"]) == 10


def test_a_job_observes_its_losses_and_leaves_its_average(tmp_path: Path) -> None:
    spec = denoiser_spec(20)
    job = context(spec, tmp_path)
    seen = run(job)
    metrics = {o.metric for o in seen}
    assert metrics == {NAMES.training, NAMES.held_out, "images per second"}
    held_out = [o for o in seen if o.metric == NAMES.held_out]
    assert [o.fraction for o in held_out] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert held_out[-1].images == 320
    loaded = load_network(job.output / "denoiser.pt", spec.network, SHAPE, UNet)
    test = HeldOut(load(DIGITS, "validation"), (-1.2, 1.2), kernel.gaussian, "cpu")
    assert test(loaded) == held_out[-1].value
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_diverging_training_stops(tmp_path: Path) -> None:
    with pytest.raises(JobError) as stopped:
        run(context(denoiser_spec(60, lr=1e30, warmup=0), tmp_path))
    assert stopped.value.code == "R320"
    assert not (tmp_path / "output" / "denoiser.pt").exists()


def test_gradients_that_are_no_numbers_are_repaired() -> None:
    learner = trainer()
    first, second, *_ = learner.network.parameters()
    first.grad, second.grad = torch.full_like(first, math.nan), torch.full_like(second, -math.inf)
    learner._repair_gradients()
    assert not first.grad.any()
    assert (second.grad == -1e5).all()


def test_seeds_differ_and_kernels_start_alike() -> None:
    def first(learner: Denoising) -> torch.Tensor:
        return next(iter(learner.network.parameters())).detach()

    assert not torch.equal(first(trainer()), first(trainer(seed=1)))
    other = trainer(kernel={"kind": "pfgmpp", "dimension": 2048})
    assert torch.equal(first(trainer()), first(other))
    assert trainer().step() != other.step()


# Kernels.


def test_the_heavy_tailed_kernel_has_its_moments() -> None:
    """E R^2 = sigma^2 N D / (D - 2), b of mean N / (N + D) = .6 for D = 2048, N = 3072."""
    sigma, extra = 0.7, 2048
    images = torch.zeros(2000, 3, 32, 32)
    noise = noise_at("a test")
    levels = torch.full((2000, 1, 1, 1), sigma)
    added = kernel.heavy_tailed(extra)(images, levels, noise).flatten(1).double()
    squared = added.square().sum(1)
    assert float(squared.mean()) == pytest.approx(sigma**2 * 3072 * extra / (extra - 2), rel=5e-3)
    share = squared / (squared + sigma**2 * extra)
    assert float(share.mean()) == pytest.approx(0.6, abs=1e-3)
    # Directions are uniform: no pixel stands out.
    assert float(added.mean().abs()) < 1e-3


def test_training_keeps_b_from_its_ends() -> None:
    beta = np.array([1e-9, 0.6, 1 - 1e-12])
    odds = kernel.training_odds(beta, 3072, 2048)
    assert odds[0] == pytest.approx(1e-3 / (1 - 1e-3), rel=1e-4)
    assert odds[1] == pytest.approx(1.5, rel=1e-6)
    assert odds[2] == pytest.approx((1 - 1e-3) / 1e-3, rel=1e-4)
    # 64 pixels and a million dimensions: b is about 6e-5, and stays there.
    natural = np.random.default_rng(0).beta(32, 500_000, 1000)
    np.testing.assert_allclose(kernel.training_odds(natural, 64, 10**6), natural / (1 - natural), rtol=1e-3)


def test_many_dimensions_are_gaussian() -> None:
    images, levels = torch.zeros(4000, 1, 8, 8), torch.ones(4000, 1, 1, 1)
    added = kernel.heavy_tailed(10**7)(images, levels, noise_at("many")).flatten(1)
    assert float(added.std()) == pytest.approx(1.0, abs=0.01)
    lengths = added.square().sum(1)
    assert float(lengths.var()) == pytest.approx(2 * 64, rel=0.1)


def test_each_process_draws_the_rows_it_works_on() -> None:
    images, levels = torch.zeros(6, 1, 8, 8), torch.ones(6, 1, 1, 1)
    perturb = kernel.heavy_tailed(32)
    whole = perturb(images, levels, noise_at("rows", total=6))
    part = perturb(images[:2], levels[:2], noise_at("rows", offset=4, total=6))
    torch.testing.assert_close(part, whole[4:], rtol=0, atol=0)
