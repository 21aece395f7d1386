"""Samplers against straight transcriptions of the published equations, on fixed noise; closed forms against
numerical integration. Two-dimensional mixtures, for which everything can be checked."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from isoloss.runtime.generators import edm, pfgmpp
from isoloss.runtime.generators.denoiser import Preconditioned, loss_weight, precondition, training_sigma
from isoloss.runtime.generators.guidance import Discriminator, Guidance, GuidedFlow
from isoloss.runtime.generators.mixture import MixtureDenoiser
from isoloss.runtime.generators.noise import CHURN, LATENT, BlockNoise
from isoloss.runtime.quality.frechet import Moments, frechet_distance, moments

torch.set_num_threads(1)

WEIGHTS = torch.tensor([[0.3, 0.7], [0.5, 0.5]], dtype=torch.float64)
MEANS = torch.tensor([[[0.2, 0.8], [0.7, 0.3]], [[0.5, 0.5], [0.1, 0.1]]], dtype=torch.float64)
COVARIANCES = torch.tensor(
    [
        [[[0.02, 0.01], [0.01, 0.03]], [[0.01, 0.0], [0.0, 0.05]]],
        [[[0.04, -0.01], [-0.01, 0.01]], [[0.02, 0.0], [0.0, 0.02]]],
    ],
    dtype=torch.float64,
)
MIXTURE = MixtureDenoiser.of(WEIGHTS, MEANS, COVARIANCES)
OTHER = MixtureDenoiser.of(WEIGHTS, MEANS + 0.05, COVARIANCES * 1.3)


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def normals(rows: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, 2)))


def data_density(grid: Tensor, label: int) -> Tensor:
    """p(y | class) by torch's own multivariate normal."""
    parts = [
        WEIGHTS[label, c]
        * torch.distributions.MultivariateNormal(MEANS[label, c], COVARIANCES[label, c]).log_prob(grid).exp()
        for c in range(2)
    ]
    return torch.stack(parts).sum(0)


def integrated_mean(x: Tensor, label: int, kernel: object) -> Tensor:
    """E[y | x] on a grid that covers the data; `kernel(squared distance)` is unnormalised."""
    axis = torch.linspace(-1.5, 2.5, 801, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    weight = data_density(grid, label) * kernel(((grid - x) ** 2).sum(1))  # type: ignore[operator]
    return (weight[:, None] * grid).sum(0) / weight.sum()


@pytest.mark.parametrize("sigma", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("label", [0, 1])
def test_the_mixtures_denoiser_is_the_posterior_mean(sigma: float, label: int) -> None:
    x = torch.tensor([[0.4, 0.6], [0.9, -0.2]], dtype=torch.float64)
    found = MIXTURE(x, scalar(sigma), torch.tensor([label, label]))
    for row, denoised in zip(x, found, strict=True):
        expected = integrated_mean(row, label, lambda q: torch.exp(-q / (2 * sigma**2)))
        torch.testing.assert_close(denoised, expected, rtol=0, atol=1e-6)


def test_the_score_is_the_gradient_of_the_noisy_density() -> None:
    x, y, sigma = normals(5), torch.tensor([0, 1, 0, 0, 1]), 0.4
    score, density = MIXTURE.score(x, scalar(sigma), y)
    for row in range(5):
        point = x[row].clone().requires_grad_()
        noisy = [
            WEIGHTS[y[row], c].log()
            + torch.distributions.MultivariateNormal(
                MEANS[y[row], c], COVARIANCES[y[row], c] + sigma**2 * torch.eye(2, dtype=torch.float64)
            ).log_prob(point)
            for c in range(2)
        ]
        log_density = torch.stack(noisy).logsumexp(0)
        (gradient,) = torch.autograd.grad(log_density, point)
        torch.testing.assert_close(score[row], gradient, rtol=1e-10, atol=1e-10)
        assert density[row].item() == pytest.approx(log_density.item(), abs=1e-10)


def test_noise_levels_may_differ_by_image() -> None:
    x, y = normals(6), torch.tensor([0, 1, 1, 1, 0, 1])
    sigmas = torch.tensor([[0.1], [0.2], [0.1], [3.0], [0.2], [0.7]], dtype=torch.float64)
    together = MIXTURE(x, sigmas, y)
    for row in range(6):
        alone = MIXTURE(x[row : row + 1], sigmas[row, 0], y[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-12, atol=1e-12)


def test_the_schedule_is_the_published_one() -> None:
    levels = edm.schedule(18, 0.002, 80.0, 7.0)
    assert levels[:8].tolist() == pytest.approx(
        [80, 57.59, 40.79, 28.37, 19.35, 12.91, 8.401, 5.315], rel=2e-4
    )
    assert levels[-2:].tolist() == pytest.approx([0.002, 0.0])
    assert edm.network_evaluations(18) == 35
    with pytest.raises(ValueError, match="steps"):
        edm.schedule(1, 0.002, 80.0, 7.0)


def transcribed_edm(
    label: int, noise: np.ndarray, steps: int, churn: float, churn_noise: list[np.ndarray]
) -> np.ndarray:
    """Algorithm 2 of arXiv:2206.00364 for one image, as printed."""
    rho, low, high = 7.0, 0.002, 10.0
    t = [
        (high ** (1 / rho) + i / (steps - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho
        for i in range(steps)
    ]
    t.append(0.0)

    def denoise(x: np.ndarray, sigma: float) -> np.ndarray:
        out, total = np.zeros(2), 0.0
        for c in range(2):
            mu, cov = MEANS[label, c].numpy(), COVARIANCES[label, c].numpy()
            noisy = cov + sigma**2 * np.eye(2)
            inverse = np.linalg.inv(noisy)
            weight = (
                float(WEIGHTS[label, c])
                * np.exp(-0.5 * (x - mu) @ inverse @ (x - mu))
                / math.sqrt(np.linalg.det(noisy))
            )
            out += weight * (mu + cov @ inverse @ (x - mu))
            total += weight
        return out / total

    x = t[0] * noise
    for i in range(steps):
        gamma = min(churn / steps, math.sqrt(2) - 1)
        t_hat = t[i] + gamma * t[i]
        x_hat = x + math.sqrt(t_hat**2 - t[i] ** 2) * churn_noise[i]
        d = (x_hat - denoise(x_hat, t_hat)) / t_hat
        x = x_hat + (t[i + 1] - t_hat) * d
        if t[i + 1] != 0:
            d_next = (x - denoise(x, t[i + 1])) / t[i + 1]
            x = x_hat + (t[i + 1] - t_hat) * (d / 2 + d_next / 2)
    return x


@pytest.mark.parametrize("churn", [0.0, 3.0])
def test_the_edm_sampler_is_its_transcription(churn: float) -> None:
    steps, y = 7, torch.tensor([0, 1, 0, 1])
    noise = BlockNoise(seed=3, block=0, rows=4, dimensions=2)
    sigmas = edm.schedule(steps, 0.002, 10.0, 7.0)
    slope = edm.ProbabilityFlow(MIXTURE, y, edm.Churn(churn))
    found = edm.heun(slope, sigmas[0] * noise.normal(LATENT), sigmas, lambda step: noise.normal(CHURN + step))
    for row in range(4):
        drawn = [noise.normal(CHURN + i)[row].numpy() for i in range(steps)]
        expected = transcribed_edm(int(y[row]), noise.normal(LATENT)[row].numpy(), steps, churn, drawn)
        np.testing.assert_allclose(found[row].numpy(), expected, rtol=0, atol=1e-6)


def mixture_moments(label: int) -> Moments:
    mean = (WEIGHTS[label, :, None] * MEANS[label]).sum(0)
    spread = MEANS[label] - mean
    outer = COVARIANCES[label] + spread[:, :, None] * spread[:, None, :]
    return Moments(mean.numpy(), (WEIGHTS[label, :, None, None] * outer).sum(0).numpy(), 0)


@pytest.mark.parametrize("churn", [0.0, 10.0])
def test_more_steps_recover_the_distribution(churn: float) -> None:
    y, noise = torch.zeros(4000, dtype=torch.int64), BlockNoise(seed=2, block=0, rows=4000, dimensions=2)
    flow = edm.ProbabilityFlow(MIXTURE, y, edm.Churn(churn))
    distances = []
    for steps in (3, 5, 30):
        sigmas = edm.schedule(steps, 0.002, 10.0, 7.0)
        start = sigmas[0] * noise.normal(LATENT)
        x = edm.heun(flow, start, sigmas, lambda step: noise.normal(CHURN + step))
        distances.append(frechet_distance(moments(x.numpy()), mixture_moments(0)))
    assert distances[0] > 3 * distances[1] > 3 * distances[2]
    # What 4,000 draws of the mixture itself scatter by: about (variances) / n.
    assert distances[2] < 1e-3


def test_the_preconditioning_scales_inputs_and_targets_to_one() -> None:
    sigma = torch.tensor([0.01, 0.5, 7.0], dtype=torch.float64)
    c_skip, c_out, c_in, c_noise = precondition(sigma)
    torch.testing.assert_close(c_in**2 * (sigma**2 + 0.25), torch.ones_like(sigma))
    # Variance of (y - c_skip x) / c_out is 1: arXiv:2206.00364, eq. 115.
    torch.testing.assert_close(
        ((1 - c_skip) ** 2 * 0.25 + c_skip**2 * sigma**2) / c_out**2, torch.ones_like(sigma)
    )
    torch.testing.assert_close(loss_weight(sigma) * c_out**2, torch.ones_like(sigma))
    torch.testing.assert_close(c_noise, sigma.log() / 4)
    assert training_sigma(torch.zeros(1)).item() == pytest.approx(math.exp(-1.2))
    # Gaussian data of deviation .5 needs no network: F = 0 is exact.
    denoiser = Preconditioned(lambda x, noise, y: torch.zeros_like(x), dimensions=2, classes=1)
    x = normals(3)
    torch.testing.assert_close(denoiser(x, scalar(2.0), torch.zeros(3)), x * 0.25 / 4.25)
    assert denoiser.to_uint8(torch.tensor([[-1.2, 0.0, 1.0]])).tolist() == [[0, 128, 255]]


def test_the_kernel_of_pfgmpp_has_its_published_moments() -> None:
    noise = BlockNoise(seed=0, block=0, rows=20_000, dimensions=3072)
    beta, sigma, extra = noise.beta(1, 3072 / 2, 2048 / 2), 0.7, 2048
    assert beta.mean() == pytest.approx(0.6, abs=1e-3)
    squared = pfgmpp.perturbation_radius(beta, sigma, extra) ** 2
    assert squared.mean() == pytest.approx(sigma**2 * 3072 * extra / (extra - 2), rel=2e-3)
    small = BlockNoise(seed=0, block=0, rows=500, dimensions=6)
    radius = pfgmpp.perturbation_radius(small.beta(1, 3, 32), 10.0, 64)
    torch.testing.assert_close(pfgmpp.start(small, 10.0, 64).norm(dim=1).numpy(), radius)


@pytest.mark.parametrize(("extra", "sigma"), [(8, 0.3), (32, 0.1), (32, 1.0), (2048, 0.3)])
def test_the_heavy_tailed_denoiser_is_the_posterior_mean(extra: int, sigma: float) -> None:
    denoiser = pfgmpp.HeavyTailed(MIXTURE, MIXTURE, extra)
    x = torch.tensor([[0.4, 0.6], [0.9, -0.2]], dtype=torch.float64)
    found = denoiser(x, scalar(sigma), torch.tensor([0, 0]))
    squared_radius = sigma**2 * extra
    for row, denoised in zip(x, found, strict=True):
        # (q + r^2)^(-(N + D) / 2), scaled so that it doesn't underflow.
        expected = integrated_mean(
            row, 0, lambda q: torch.exp(-(2 + extra) / 2 * torch.log1p(q / squared_radius))
        )
        torch.testing.assert_close(denoised, expected, rtol=0, atol=1e-5)


def test_pfgmpp_of_many_dimensions_is_edm() -> None:
    x, y = normals(4), torch.tensor([0, 1, 1, 0])
    denoiser = pfgmpp.HeavyTailed(MIXTURE, MIXTURE, 10**9)
    torch.testing.assert_close(denoiser(x, scalar(0.5), y), MIXTURE(x, scalar(0.5), y), rtol=0, atol=1e-8)


@pytest.mark.parametrize("extra", [32, 256, 2048])
def test_pfgmpp_recovers_the_distribution(extra: int) -> None:
    """Nearer and nearer as steps grow, whatever the kernel's tail."""
    noise, y = BlockNoise(seed=1, block=0, rows=2000, dimensions=2), torch.zeros(2000, dtype=torch.int64)
    flow = edm.ProbabilityFlow(pfgmpp.HeavyTailed(MIXTURE, MIXTURE, extra), y)
    distances = []
    for steps in (3, 5, 25):
        sigmas = edm.schedule(steps, 0.002, 10.0, 7.0)
        x = edm.heun(flow, pfgmpp.start(noise, 10.0, extra), sigmas, lambda _: noise.normal(CHURN))
        distances.append(frechet_distance(moments(x.numpy()), mixture_moments(0)))
    assert distances[0] > 2 * distances[1] > 2 * distances[2]
    assert distances[2] < 2e-3


def transcribed_pfgmpp(
    label: int, noise: BlockNoise, row: int, sigmas: list[float], extra: int
) -> np.ndarray:
    """PFGM++ for one image in r, as printed (arXiv:2302.04265): R = r_max sqrt(b / (1 - b)) in a uniform direction,
    then Heun's method on dx/dr = (x - E[y | x]) / r, the mean under p_r integrated on a grid."""
    r = [sigma * math.sqrt(extra) for sigma in sigmas]
    beta, gaussian = noise.beta(1, 2 / 2, extra / 2)[row], noise.normal(LATENT)[row].numpy()
    x = r[0] * math.sqrt(beta / (1 - beta)) * gaussian / np.linalg.norm(gaussian)

    def slope(x: np.ndarray, radius: float) -> np.ndarray:
        mean = integrated_mean(
            torch.from_numpy(x), label, lambda q: torch.exp(-(2 + extra) / 2 * torch.log1p(q / radius**2))
        )
        return (x - mean.numpy()) / radius

    for now, following in pairwise(r):
        first = slope(x, now)
        predicted = x + (following - now) * first
        x = predicted if following == 0 else x + (following - now) * (first + slope(predicted, following)) / 2
    return x


@pytest.mark.parametrize("extra", [32, 2048])
def test_the_pfgmpp_sampler_is_its_transcription(extra: int) -> None:
    y, noise = torch.tensor([0, 1, 1]), BlockNoise(seed=7, block=0, rows=3, dimensions=2)
    # No lower level than the integral's grid can tell.
    sigmas = edm.schedule(5, 0.05, 10.0, 7.0)
    flow = edm.ProbabilityFlow(pfgmpp.HeavyTailed(MIXTURE, MIXTURE, extra, nodes=80), y)
    found = edm.heun(flow, pfgmpp.start(noise, 10.0, extra), sigmas, lambda _: noise.normal(CHURN))
    for row in range(3):
        expected = transcribed_pfgmpp(int(y[row]), noise, row, sigmas.tolist(), extra)
        np.testing.assert_allclose(found[row].numpy(), expected, rtol=0, atol=1e-6)


def exact_ratio(x: Tensor, sigma: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The best discriminator's log ratio where OTHER is real and MIXTURE generated."""
    real, generated = OTHER.score(x, sigma, y), MIXTURE.score(x, sigma, y)
    return real[0] - generated[0], real[1] - generated[1]


def test_perfect_guidance_samples_the_real_distribution() -> None:
    y, sigmas = torch.tensor([0, 1, 1, 0]), edm.schedule(9, 0.002, 10.0, 7.0)
    everywhere = Guidance(first=1.0, second=1.0, churn_period=0, weight_period=0)
    guided = edm.heun(GuidedFlow(MIXTURE, y, exact_ratio, everywhere), 10 * normals(4), sigmas, normals)
    real = edm.heun(edm.ProbabilityFlow(OTHER, y), 10 * normals(4), sigmas, normals)
    torch.testing.assert_close(guided, real, rtol=0, atol=1e-9)


def test_guidance_recovers_the_real_distribution_as_steps_grow() -> None:
    """Images of MIXTURE's denoiser, corrected by the exact log ratio at both slopes, are OTHER's."""
    y = torch.zeros(4000, dtype=torch.int64)
    spread = 1.3 * COVARIANCES[0]
    mean = (WEIGHTS[0, :, None] * (MEANS[0] + 0.05)).sum(0)
    apart = MEANS[0] + 0.05 - mean
    outer = spread + apart[:, :, None] * apart[:, None, :]
    real = Moments(mean.numpy(), (WEIGHTS[0, :, None, None] * outer).sum(0).numpy(), 0)
    everywhere = Guidance(first=1.0, second=1.0, churn_period=0, weight_period=0)
    distances = []
    for steps in (3, 5, 30):
        sigmas = edm.schedule(steps, 0.002, 10.0, 7.0)
        x = edm.heun(GuidedFlow(MIXTURE, y, exact_ratio, everywhere), 10 * normals(4000), sigmas, normals)
        distances.append(frechet_distance(moments(x.numpy()), real))
    assert distances[0] > 3 * distances[1] > 3 * distances[2]
    assert distances[2] < 1e-3
    # Unguided images are of another distribution, however many steps they take.
    x = edm.heun(edm.ProbabilityFlow(MIXTURE, y), 10 * normals(4000), sigmas, normals)
    assert frechet_distance(moments(x.numpy()), real) > 5 * distances[2]


def test_boosted_guidance_is_its_transcription() -> None:
    steps, y = 11, torch.tensor([0, 1, 1, 0, 1, 0])
    sigmas, drawn = edm.schedule(steps, 0.002, 10.0, 7.0), [normals(6, seed=50 + i) for i in range(11)]
    found = edm.heun(
        GuidedFlow(MIXTURE, y, exact_ratio, Guidance()), 10 * normals(6), sigmas, lambda i: drawn[i]
    )
    churned = 0
    for row in range(6):
        label, x, ratio = y[row : row + 1], 10 * normals(6)[row : row + 1], float("inf")
        for i in range(steps):
            t, following = float(sigmas[i]), float(sigmas[i + 1])
            t_hat = t
            if i % 5 == 0 and ratio < 0:
                t_hat = t * (1 + min(4 / steps, math.sqrt(2) - 1))
                x = x + math.sqrt(t_hat**2 - t**2) * drawn[i][row : row + 1]
                churned += 1
            c, log_ratio = exact_ratio(x, scalar(t_hat), label)
            ratio = float(log_ratio)
            if i % 2 == 0 and ratio < 0:
                c = 2 * c
            d = (x - MIXTURE(x, scalar(t_hat), label)) / t_hat - t_hat * c
            x_next = x + (following - t_hat) * d
            if i < steps - 1:
                d_next = (x_next - MIXTURE(x_next, scalar(following), label)) / following
                x_next = x + (following - t_hat) * (d + d_next) / 2
            x = x_next
        torch.testing.assert_close(found[row : row + 1], x, rtol=0, atol=1e-9)
    assert churned > 0, "no image was boosted: the test shows nothing"


def test_a_discriminators_gradient_is_the_gradient_of_its_log_ratio() -> None:
    weights = torch.tensor([0.4, -1.1])
    discriminator = Discriminator(lambda x, tau, y: x @ weights + tau)
    x, y, sigma = normals(3), torch.zeros(3, dtype=torch.int64), 0.8
    gradient, ratio = discriminator(x, scalar(sigma), y)
    expected = (weights.double() / math.sqrt(1 + sigma**2)).expand(3, 2)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)
    tau = float(discriminator.time(scalar(sigma)))
    torch.testing.assert_close(
        ratio, (x @ weights.double()) / math.sqrt(1 + sigma**2) + tau, rtol=1e-4, atol=1e-4
    )
    # As noisy as the variance-preserving process at tau: beta(s) = .1 + 19.9 s integrates to ln(1 + sigma^2).
    assert 0.1 * tau + 19.9 * tau**2 / 2 == pytest.approx(math.log(1 + sigma**2), rel=1e-12)


def test_a_discriminator_is_silent_where_it_was_not_trained() -> None:
    discriminator = Discriminator(lambda x, tau, y: x.sum(1))
    for sigma in (1e-3, 1e6):
        gradient, ratio = discriminator(normals(2), scalar(sigma), torch.zeros(2, dtype=torch.int64))
        assert gradient.abs().max() == 0
        assert ratio.abs().max() == 0
    mixed = torch.tensor([[1e-3], [0.8]], dtype=torch.float64)
    gradient, _ = discriminator(normals(2), mixed, torch.zeros(2, dtype=torch.int64))
    assert gradient[0].abs().max() == 0
    assert gradient[1].abs().min() > 0
