"""What training minimises, and what an evaluation of such a network reports. One registry row per loss.

Each loss says how many forward-equivalents of the network it costs per image with a K-step attack (a backward
pass to the input or to the weights counts one each): the cost rule. B images, K classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from isoloss.compiler.plan import Component, exact
from isoloss.runtime.errors import JobError


class Adversary(Protocol):
    """The recipe's attack on the network being trained: images, labels -> adversarial images."""

    #: Does the attack see what a train-mode forward pass of the batch gives? Then clean logits serve both.
    shares_clean: bool

    def __call__(self, x_BCHW: Tensor, y_B: Tensor, clean_logits_BK: Tensor | None = None) -> Tensor: ...

    def gaussian(self, x_BCHW: Tensor) -> Tensor:
        """N(0, 1) of this step, shaped like the batch."""
        ...

    def halved(self) -> Adversary:
        """The same for a batch of this step's images 1, 3, 5, …"""
        ...


Net = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """(1 - s) NLL + s mean_k(-log p_k) + entropy * H(p), mean over the batch: smoothing as torch and the
    published code define it, the entropy term of Cubuk et al. (arXiv:1711.02846), H(p) = -sum p log p."""

    label_smoothing: float = 0.0
    entropy: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"label_smoothing must be in [0, 1], got {self.label_smoothing}")

    def mean(self, log_BK: Tensor, y_B: Tensor) -> Tensor:
        loss = F.nll_loss(log_BK, y_B)
        if self.label_smoothing:
            loss = (1 - self.label_smoothing) * loss - self.label_smoothing * log_BK.mean()
        return loss + self.entropy * _entropy(log_BK).mean() if self.entropy else loss

    def rows(self, log_BK: Tensor, y_B: Tensor) -> Tensor:
        """The same per image, (B,)."""
        rows = (1 - self.label_smoothing) * F.nll_loss(log_BK, y_B, reduction="none")
        return rows - self.label_smoothing * log_BK.mean(1) + self.entropy * _entropy(log_BK)


class Loss(ABC):
    @abstractmethod
    def training(self, network: Net, x_BCHW: Tensor, y_B: Tensor, adversary: Adversary) -> Tensor:
        """Mean over the batch, scalar, with the graph to the weights. `network` is in train mode; each call
        of it moves batch norm's running statistics once."""

    def per_image(self, clean_BK: Tensor, adversarial_BK: Tensor, y_B: Tensor) -> Tensor:
        """The value an evaluation reports, (B,), float32: never smoothed. Cross-entropy of the adversarial
        image where a loss doesn't say otherwise."""
        return F.cross_entropy(adversarial_BK.float(), y_B, reduction="none")

    @abstractmethod
    def passes(self, attack_steps: int) -> int:
        """Forward-equivalents per image."""


class Natural(Loss):
    """Cross-entropy on clean images."""

    def __init__(self, cross_entropy: CrossEntropy) -> None:
        self.cross_entropy = cross_entropy

    def training(self, network: Net, x_BCHW: Tensor, y_B: Tensor, adversary: Adversary) -> Tensor:
        return self.cross_entropy.mean(_log_softmax(network(x_BCHW)), y_B)

    def passes(self, attack_steps: int) -> int:
        return 3


class GaussianNoise(Natural):
    """Cross-entropy on x + sigma N(0, 1), fresh each step, not clipped to the pixel range."""

    def __init__(self, sigma: float, cross_entropy: CrossEntropy) -> None:
        super().__init__(cross_entropy)
        self.sigma = sigma

    def training(self, network: Net, x_BCHW: Tensor, y_B: Tensor, adversary: Adversary) -> Tensor:
        noisy = torch.add(x_BCHW, adversary.gaussian(x_BCHW), alpha=self.sigma)
        return super().training(network, noisy, y_B, adversary)


class PgdAt(Natural):
    """Cross-entropy on adversarial images only (Madry et al., arXiv:1706.06083, eq. 2.1)."""

    def training(self, network: Net, x_BCHW: Tensor, y_B: Tensor, adversary: Adversary) -> Tensor:
        return super().training(network, adversary(x_BCHW, y_B), y_B, adversary)

    def passes(self, attack_steps: int) -> int:
        return 2 * attack_steps + 3


class Half(Natural):
    """Images 1, 3, 5, … of a batch are attacked, all pass together: (sum CE(clean) + weight sum
    CE(adversarial)) / (m - k + weight k), k of m attacked (Kurakin et al., arXiv:1611.01236, eq. 4).

    Every second one, not the second half: where processes share a batch, each has its k = m / 2. An attack in
    train mode sees the batch statistics of the attacked images alone."""

    def __init__(self, weight: float, cross_entropy: CrossEntropy) -> None:
        super().__init__(cross_entropy)
        if weight < 0:
            raise ValueError(f"weight must be at least 0, got {weight}")
        self.weight = weight

    def training(self, network: Net, x_BCHW: Tensor, y_B: Tensor, adversary: Adversary) -> Tensor:
        mixed = x_BCHW.clone()
        if len(x_BCHW) > 1:
            mixed[1::2] = adversary.halved()(x_BCHW[1::2], y_B[1::2])
        rows = self.cross_entropy.rows(_log_softmax(network(mixed)), y_B)
        weights = torch.ones_like(rows)
        weights[1::2] = self.weight
        return (weights * rows).sum() / weights.sum()

    def passes(self, attack_steps: int) -> int:
        return attack_steps + 3


class Trades(Loss):
    """CE_smooth(clean, y) + beta * KL(p_clean || p_adversarial), batch means (arXiv:1901.08573, eq. 5), in
    the published variant of Wang et al. and Bartoldson et al.: the gradient flows through both arguments of
    KL unless `detach` stops it at the clean one; only the clean cross-entropy is smoothed; clean and
    adversarial batches pass separately."""

    def __init__(self, beta: float, cross_entropy: CrossEntropy, detach: bool = False) -> None:
        if beta < 0:
            raise ValueError(f"beta must be at least 0, got {beta}")
        self.beta = beta
        self.cross_entropy = cross_entropy
        self.detach = detach

    def training(self, network: Net, x_BCHW: Tensor, y_B: Tensor, adversary: Adversary) -> Tensor:
        log_clean, log_adversarial = _both(network, x_BCHW, y_B, adversary)
        target = log_clean.detach() if self.detach else log_clean
        divergence = F.kl_div(log_adversarial, target, reduction="batchmean", log_target=True)
        return self.cross_entropy.mean(log_clean, y_B) + self.beta * divergence

    def per_image(self, clean_BK: Tensor, adversarial_BK: Tensor, y_B: Tensor) -> Tensor:
        log_clean, log_adversarial = _log_softmax(clean_BK), _log_softmax(adversarial_BK)
        divergence = F.kl_div(log_adversarial, log_clean, reduction="none", log_target=True).sum(1)
        return F.nll_loss(log_clean, y_B, reduction="none") + self.beta * divergence

    def passes(self, attack_steps: int) -> int:
        return 2 * attack_steps + 7


class Mart(Loss):
    """BCE(p_adversarial, y) + beta * KL(p_clean || p_adversarial) * (1 - p_clean,y), batch means, with
    BCE = -log p_y - log(1.0001 - max over k != y of p_k) (Wang et al. 2020, published code): the gradient
    flows through everything, the weights 1 - p_clean,y too."""

    #: Keeps the second logarithm finite where another class has it all.
    MARGIN = 1.0001

    def __init__(self, beta: float) -> None:
        if beta < 0:
            raise ValueError(f"beta must be at least 0, got {beta}")
        self.beta = beta

    def training(self, network: Net, x_BCHW: Tensor, y_B: Tensor, adversary: Adversary) -> Tensor:
        return self._rows(*_both(network, x_BCHW, y_B, adversary), y_B).mean()

    def per_image(self, clean_BK: Tensor, adversarial_BK: Tensor, y_B: Tensor) -> Tensor:
        return self._rows(_log_softmax(clean_BK), _log_softmax(adversarial_BK), y_B)

    def _rows(self, log_clean_BK: Tensor, log_adversarial_BK: Tensor, y_B: Tensor) -> Tensor:
        column = y_B[:, None]
        other = log_adversarial_BK.scatter(1, column, -torch.inf).amax(1).exp()
        boosted = F.nll_loss(log_adversarial_BK, y_B, reduction="none") - torch.log(self.MARGIN - other)
        divergence = F.kl_div(log_adversarial_BK, log_clean_BK, reduction="none", log_target=True).sum(1)
        unsure = 1 - log_clean_BK.gather(1, column).squeeze(1).exp()
        return boosted + self.beta * divergence * unsure

    def passes(self, attack_steps: int) -> int:
        return 2 * attack_steps + 6


class Lse(Loss):
    """sum (p_clean - target)^2 + beta * max(sum (p_adversarial - p_clean)^2 - slack, 0), batch means; the target is
    1 - s for the label and s / (K - 1) for the others (Pang et al. 2022, arXiv:2202.10103, published code)."""

    def __init__(self, beta: float, label_smoothing: float, slack: float) -> None:
        if beta < 0 or slack < 0 or not 0 <= label_smoothing <= 1:
            raise ValueError(
                f"lse needs beta, slack >= 0 and smoothing in [0, 1], got {beta}, {slack}, {label_smoothing}"
            )
        self.beta, self.label_smoothing, self.slack = beta, label_smoothing, slack

    def training(self, network: Net, x_BCHW: Tensor, y_B: Tensor, adversary: Adversary) -> Tensor:
        log_clean, log_adversarial = _both(network, x_BCHW, y_B, adversary)
        return self._rows(log_clean, log_adversarial, y_B, self.label_smoothing, self.slack).mean()

    def per_image(self, clean_BK: Tensor, adversarial_BK: Tensor, y_B: Tensor) -> Tensor:
        return self._rows(_log_softmax(clean_BK), _log_softmax(adversarial_BK), y_B, 0.0, 0.0)

    def _rows(
        self, log_clean_BK: Tensor, log_adversarial_BK: Tensor, y_B: Tensor, smoothing: float, slack: float
    ) -> Tensor:
        clean_BK, classes = log_clean_BK.exp(), log_clean_BK.shape[1]
        target = torch.full_like(clean_BK, smoothing / (classes - 1))
        target.scatter_(1, y_B[:, None], 1 - smoothing)
        apart = (log_adversarial_BK.exp() - clean_BK).square().sum(1)
        return (clean_BK - target).square().sum(1) + self.beta * (apart - slack).clamp(min=0)

    def passes(self, attack_steps: int) -> int:
        return 2 * attack_steps + 7


def _both(network: Net, x_BCHW: Tensor, y_B: Tensor, adversary: Adversary) -> tuple[Tensor, Tensor]:
    """Log-probabilities (B, K), clean and adversarial, of two separate passes in this order."""
    if adversary.shares_clean:
        # One forward pass instead of two: the attack's clean logits are these (27 passes become 26).
        clean = network(x_BCHW)
        adversarial = network(adversary(x_BCHW, y_B, clean.detach()))
    else:
        x_adversarial = adversary(x_BCHW, y_B)
        clean = network(x_BCHW)
        adversarial = network(x_adversarial)
    return _log_softmax(clean), _log_softmax(adversarial)


def _log_softmax(logits_BK: Tensor) -> Tensor:
    return torch.log_softmax(logits_BK.float(), 1)


def _entropy(log_BK: Tensor) -> Tensor:
    return -(log_BK.exp() * log_BK).sum(1)


def _cross_entropy(loss: Component) -> CrossEntropy:
    return CrossEntropy(exact(loss.get("label_smoothing", 0)), exact(loss.get("entropy", 0)))


LOSSES: Mapping[str, Callable[[Component], Loss]] = {
    "trades": lambda loss: Trades(exact(loss["beta"]), _cross_entropy(loss), bool(loss.get("detach", False))),
    "pgd_at": lambda loss: PgdAt(_cross_entropy(loss)),
    "mart": lambda loss: Mart(exact(loss["beta"])),
    "lse": lambda loss: Lse(
        exact(loss["beta"]), exact(loss.get("label_smoothing", 0)), exact(loss.get("slack", 0))
    ),
    "half": lambda loss: Half(exact(loss["weight"]), _cross_entropy(loss)),
    "noise": lambda loss: GaussianNoise(exact(loss["sigma"]), _cross_entropy(loss)),
    "natural": lambda loss: Natural(_cross_entropy(loss)),
}


def build(loss: Component) -> Loss:
    """The loss a Component names. Raises JobError R314 for a kind that isn't registered."""
    make = LOSSES.get(loss["kind"])
    if make is None:
        raise JobError("R314", f"no loss `{loss['kind']}`", f"known: {', '.join(sorted(LOSSES))}")
    return make(loss)
