"""Discriminator guidance (Kim et al., arXiv:2211.17091): a classifier of real against generated corrects the
score.

In: a denoiser and the log ratio ln(d / (1 - d)) of a discriminator d = P(real), with its gradient c in the
image. Out: a slope for `edm.heun`: (x - D) / sigma - w sigma c. Letters: B images, D numbers per image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isoloss.runtime.generators.denoiser import Denoiser
from isoloss.runtime.generators.edm import Churn

#: (x_BD, sigma, y_B) -> gradient c (B, D) and log ratio (B,).
LogRatio = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Guidance:
    """Weights of predictor and corrector, and boosting of images the discriminator takes for generated (log
    ratio below 0): every `churn_period` steps they get churn `churn`, every `weight_period` steps their
    guidance doubles. Period 0: never. Defaults are those of class-conditional CIFAR-10."""

    first: float = 1.0
    second: float = 0.0
    churn: float = 4.0
    churn_period: int = 5
    weight_period: int = 2


class GuidedFlow:
    """A `Slope` for one block of images. It remembers the last log ratio, which decides the next step's
    churn."""

    def __init__(self, denoiser: Denoiser, y_B: Tensor, log_ratio: LogRatio, guidance: Guidance) -> None:
        self.denoiser, self.y_B, self.log_ratio, self.guidance = denoiser, y_B, log_ratio, guidance
        # Before the first look nothing is taken for generated.
        self.last_ratio_B = torch.full((len(y_B),), float("inf"), dtype=torch.float64, device=y_B.device)

    def churn(self, x_BD: Tensor, sigma: float, step: int, steps: int) -> tuple[Tensor | None, float]:
        period = self.guidance.churn_period
        if not period or step % period:
            return None, 1.0
        gamma = Churn(self.guidance.churn).gamma(sigma, steps)
        chosen = (self.last_ratio_B < 0)[:, None]
        return (gamma * chosen.double() if bool(chosen.any()) else None), 1.0

    def __call__(self, x_BD: Tensor, sigma: Tensor, step: int, *, second: bool) -> Tensor:
        slope = (x_BD - self.denoiser(x_BD, sigma, self.y_B)) / sigma
        weight = self.guidance.second if second else self.guidance.first
        if not weight:
            return slope
        gradient_BD, self.last_ratio_B = self.log_ratio(x_BD, sigma, self.y_B)
        period = self.guidance.weight_period
        if not second and period and step % period == 0:
            doubled = 1.0 + (self.last_ratio_B < 0).double()
            gradient_BD = gradient_BD * doubled[:, None]
        return slope - weight * sigma * gradient_BD


class Discriminator:
    """A network's logit of P(real), asked where the published discriminators live: in variance-preserving
    space, of images in [-1, 1].

    x_vp = x / sqrt(1 + sigma^2) at time tau(sigma), beta from .1 to 20; probabilities are clipped to
    [1e-5, 1 - 1e-5]; outside tau in [.01, 1] there is no guidance. `pixels` is the range of the images it is asked
    about: other images are moved there, and the gradient back."""

    beta_0, beta_1 = 0.1, 20.0
    least_time, most_time = 0.01, 1.0
    clip = 1e-5

    def __init__(
        self,
        network: Callable[[Tensor, Tensor, Tensor], Tensor],
        pixels: tuple[float, float] = (-1.0, 1.0),
        at_once: int | None = None,
    ) -> None:
        """`network(x_vp_BD, tau_B, y_B)` gives logits (B,); float32 in, any float out. It sees `at_once` images
        (None: all)."""
        self.network, self.at_once = network, at_once
        self._middle, self._half = (pixels[0] + pixels[1]) / 2, (pixels[1] - pixels[0]) / 2

    @classmethod
    def time(cls, sigma: Tensor) -> Tensor:
        """tau with the variance-preserving process as noisy as sigma: beta(s) integrates to ln(1 +
        sigma^2)."""
        span = cls.beta_1 - cls.beta_0
        return ((cls.beta_0**2 + 2 * span * torch.log1p(sigma**2)).sqrt() - cls.beta_0) / span

    def __call__(self, x_BD: Tensor, sigma: Tensor, y_B: Tensor) -> tuple[Tensor, Tensor]:
        sigma_B = sigma.expand(len(x_BD), 1).flatten() if sigma.ndim else sigma.expand(len(x_BD))
        sigma_B = sigma_B.to(x_BD.device) / self._half
        tau_B = self.time(sigma_B)
        off_B = (tau_B < self.least_time) | (tau_B > self.most_time)
        if bool(off_B.all()):
            return torch.zeros_like(x_BD), x_BD.new_zeros(len(x_BD))
        x_BD = (x_BD - self._middle) / self._half
        size = self.at_once or len(x_BD)
        parts = [
            self._judge(*rows)
            for rows in zip(*(each.split(size) for each in (x_BD, sigma_B, tau_B, y_B)), strict=True)
        ]
        gradient_BD, ratio_B = (torch.cat(each) for each in zip(*parts, strict=True))
        return gradient_BD / self._half * ~off_B[:, None], ratio_B * ~off_B

    def _judge(self, x_BD: Tensor, sigma_B: Tensor, tau_B: Tensor, y_B: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient and log ratio of some images."""
        with torch.enable_grad():
            x = x_BD.detach().requires_grad_()
            x_vp = x / (1 + sigma_B**2).sqrt()[:, None]
            logits_B = self.network(x_vp.float(), tau_B.float(), y_B).double()
            real_B = logits_B.sigmoid().clamp(self.clip, 1 - self.clip)
            ratio_B = real_B.log() - (1 - real_B).log()
            (gradient_BD,) = torch.autograd.grad(ratio_B.sum(), x)
        return gradient_BD, ratio_B.detach()
