"""What training minimises, and what an evaluation of such a network reports. One registry row per loss.

Each loss says how many forward-equivalents of the network it costs per image with a K-step attack (a backward
pass to the input or to the weights counts one each): the cost rule. B images, K classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
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


Net = Callable[[Tensor], Tensor]


class Loss(ABC):
    def __init__(self, label_smoothing: float = 0.0) -> None:
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.label_smoothing = label_smoothing

    @abstractmethod
    def training(self, network: Net, x_BCHW: Tensor, y_B: Tensor, adversary: Adversary) -> Tensor:
        """Mean over the batch, scalar, with the graph to the weights. `network` is in train mode; each call
        of it moves batch norm's running statistics once."""

    @abstractmethod
    def per_image(self, clean_BK: Tensor, adversarial_BK: Tensor, y_B: Tensor) -> Tensor:
        """The value an evaluation reports, (B,), float32: never smoothed."""

    @abstractmethod
    def passes(self, attack_steps: int) -> int:
        """Forward-equivalents per image."""


class Natural(Loss):
    """Cross-entropy on clean images."""

    def training(self, network: Net, x_BCHW: Tensor, y_B: Tensor, adversary: Adversary) -> Tensor:
        return _smoothed(network(x_BCHW), y_B, self.label_smoothing)

    def per_image(self, clean_BK: Tensor, adversarial_BK: Tensor, y_B: Tensor) -> Tensor:
        return F.cross_entropy(adversarial_BK.float(), y_B, reduction="none")

    def passes(self, attack_steps: int) -> int:
        return 3


class PgdAt(Loss):
    """Cross-entropy on adversarial images only (Madry et al., arXiv:1706.06083, eq. 2.1)."""

    def training(self, network: Net, x_BCHW: Tensor, y_B: Tensor, adversary: Adversary) -> Tensor:
        return _smoothed(network(adversary(x_BCHW, y_B)), y_B, self.label_smoothing)

    def per_image(self, clean_BK: Tensor, adversarial_BK: Tensor, y_B: Tensor) -> Tensor:
        return F.cross_entropy(adversarial_BK.float(), y_B, reduction="none")

    def passes(self, attack_steps: int) -> int:
        return 2 * attack_steps + 3


class Trades(Loss):
    """CE_smooth(clean, y) + beta * KL(p_clean || p_adversarial), batch means (arXiv:1901.08573, eq. 5), in
    the published variant of Wang et al. and Bartoldson et al.: the gradient flows through both arguments of
    KL; only the clean cross-entropy is smoothed; clean and adversarial batches pass separately."""

    def __init__(self, beta: float, label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing)
        if beta < 0:
            raise ValueError(f"beta must be at least 0, got {beta}")
        self.beta = beta

    def training(self, network: Net, x_BCHW: Tensor, y_B: Tensor, adversary: Adversary) -> Tensor:
        if adversary.shares_clean:
            # One forward pass instead of two: the attack's clean logits are these (27 passes become 26).
            clean = network(x_BCHW)
            adversarial = network(adversary(x_BCHW, y_B, clean.detach()))
        else:
            x_adversarial = adversary(x_BCHW, y_B)
            clean = network(x_BCHW)
            adversarial = network(x_adversarial)
        log_clean, log_adversarial = _log_softmax(clean), _log_softmax(adversarial)
        divergence = F.kl_div(log_adversarial, log_clean, reduction="batchmean", log_target=True)
        return _smoothed_nll(log_clean, y_B, self.label_smoothing) + self.beta * divergence

    def per_image(self, clean_BK: Tensor, adversarial_BK: Tensor, y_B: Tensor) -> Tensor:
        log_clean, log_adversarial = _log_softmax(clean_BK), _log_softmax(adversarial_BK)
        divergence = F.kl_div(log_adversarial, log_clean, reduction="none", log_target=True).sum(1)
        return F.nll_loss(log_clean, y_B, reduction="none") + self.beta * divergence

    def passes(self, attack_steps: int) -> int:
        return 2 * attack_steps + 7


def _log_softmax(logits_BK: Tensor) -> Tensor:
    return torch.log_softmax(logits_BK.float(), 1)


def _smoothed(logits_BK: Tensor, y_B: Tensor, smoothing: float) -> Tensor:
    return _smoothed_nll(_log_softmax(logits_BK), y_B, smoothing)


def _smoothed_nll(log_probabilities_BK: Tensor, y_B: Tensor, smoothing: float) -> Tensor:
    """(1 - s) NLL + s mean_k(-log p_k): smoothing as torch and the published code define it."""
    nll = F.nll_loss(log_probabilities_BK, y_B)
    if not smoothing:
        return nll
    return (1 - smoothing) * nll - smoothing * log_probabilities_BK.mean()


def _smoothing(loss: Component) -> float:
    return exact(loss.get("label_smoothing", 0))


LOSSES: Mapping[str, Callable[[Component], Loss]] = {
    "natural": lambda loss: Natural(_smoothing(loss)),
    "pgd_at": lambda loss: PgdAt(_smoothing(loss)),
    "trades": lambda loss: Trades(exact(loss["beta"]), _smoothing(loss)),
}


def build(loss: Component) -> Loss:
    """The loss a Component names. Raises JobError R314 for a kind that isn't registered."""
    make = LOSSES.get(loss["kind"])
    if make is None:
        raise JobError("R314", f"no loss `{loss['kind']}`", f"known: {', '.join(sorted(LOSSES))}")
    return make(loss)
