"""What an attack climbs: logits -> a loss per image, and that loss's gradient in the logits.

The gradient is written out, so that an attack's backward pass starts at the logits: softmax and log are never
differentiated by autograd. B images, K classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

ALL = slice(None)


class Objective(ABC):
    """`prepare` once per batch (labels, and for KL the clean logits), then `seed` and `value` per step.

    `rows` are those of the batch whose logits are given, where a network works through it in parts."""

    needs_clean = False

    @abstractmethod
    def prepare(self, labels_B: Tensor, clean_logits_BK: Tensor | None) -> None: ...

    @abstractmethod
    def seed(self, logits_BK: Tensor, rows: slice = ALL) -> Tensor:
        """d loss_b / d logits_bk, (B, K), float32."""

    @abstractmethod
    def value(self, logits_BK: Tensor) -> Tensor:
        """Loss per image, (B,)."""


class KlFromClean(Objective):
    """KL(p_clean || p_adversarial): the inner objective of TRADES (arXiv:1901.08573)."""

    needs_clean = True

    def prepare(self, labels_B: Tensor, clean_logits_BK: Tensor | None) -> None:
        if clean_logits_BK is None:
            raise ValueError("the KL objective needs the clean logits")
        self.clean_BK = torch.softmax(clean_logits_BK.detach().float(), 1)

    def seed(self, logits_BK: Tensor, rows: slice = ALL) -> Tensor:
        return torch.softmax(logits_BK.float(), 1) - self.clean_BK[rows]

    def value(self, logits_BK: Tensor) -> Tensor:
        return F.kl_div(F.log_softmax(logits_BK.float(), 1), self.clean_BK, reduction="none").sum(1)


class CrossEntropy(Objective):
    """-log p_y."""

    def prepare(self, labels_B: Tensor, clean_logits_BK: Tensor | None) -> None:
        self.labels_B = labels_B
        self.one_hot_BK: Tensor | None = None

    def seed(self, logits_BK: Tensor, rows: slice = ALL) -> Tensor:
        if self.one_hot_BK is None:
            self.one_hot_BK = F.one_hot(self.labels_B, logits_BK.shape[1]).float()
        return torch.softmax(logits_BK.float(), 1) - self.one_hot_BK[rows]

    def value(self, logits_BK: Tensor) -> Tensor:
        return F.cross_entropy(logits_BK.float(), self.labels_B, reduction="none")


class Margin(Objective):
    """CW (Carlini & Wagner): -max(z_y - max_{j != y} z_j + kappa, 0).

    At kappa = 0, as Bartoldson et al. use it, the gradient vanishes once an image is fooled."""

    def __init__(self, kappa: float = 0.0) -> None:
        self.kappa = kappa

    def prepare(self, labels_B: Tensor, clean_logits_BK: Tensor | None) -> None:
        self.column_B1 = labels_B[:, None]

    def _margin(self, logits_BK: Tensor, column_B1: Tensor) -> tuple[Tensor, Tensor]:
        """z_y - z_j + kappa (B, 1) and the runner-up j (B, 1)."""
        others = logits_BK.float().scatter(1, column_B1, -torch.inf)
        best, runner_up = others.max(1, keepdim=True)
        return logits_BK.float().gather(1, column_B1) - best + self.kappa, runner_up

    def seed(self, logits_BK: Tensor, rows: slice = ALL) -> Tensor:
        column_B1 = self.column_B1[rows]
        margin, runner_up = self._margin(logits_BK, column_B1)
        active = (margin > 0).float()
        seed = torch.zeros_like(logits_BK, dtype=torch.float32)
        return seed.scatter(1, runner_up, active).scatter_(1, column_B1, -active)

    def value(self, logits_BK: Tensor) -> Tensor:
        return -self._margin(logits_BK, self.column_B1)[0].clamp(min=0).squeeze(1)


class SquaredDistance(Objective):
    """sum_k (p_k - p_clean,k)^2: the inner objective of SCORE (arXiv:2202.10103, published code)."""

    needs_clean = True

    def prepare(self, labels_B: Tensor, clean_logits_BK: Tensor | None) -> None:
        if clean_logits_BK is None:
            raise ValueError("the squared distance needs the clean logits")
        self.clean_BK = torch.softmax(clean_logits_BK.detach().float(), 1)

    def seed(self, logits_BK: Tensor, rows: slice = ALL) -> Tensor:
        p_BK = torch.softmax(logits_BK.float(), 1)
        apart_BK = p_BK - self.clean_BK[rows]
        return 2 * p_BK * (apart_BK - (p_BK * apart_BK).sum(1, keepdim=True))

    def value(self, logits_BK: Tensor) -> Tensor:
        return (torch.softmax(logits_BK.float(), 1) - self.clean_BK).square().sum(1)


class LeastLikely(Objective):
    """log p of the class that is least likely on the clean image: step l.l. (Kurakin et al.,
    arXiv:1611.01236)."""

    needs_clean = True

    def prepare(self, labels_B: Tensor, clean_logits_BK: Tensor | None) -> None:
        if clean_logits_BK is None:
            raise ValueError("the least likely class is one of the clean logits")
        self.target_B = clean_logits_BK.argmin(1)
        self.one_hot_BK = F.one_hot(self.target_B, clean_logits_BK.shape[1]).float()

    def seed(self, logits_BK: Tensor, rows: slice = ALL) -> Tensor:
        return self.one_hot_BK[rows] - torch.softmax(logits_BK.float(), 1)

    def value(self, logits_BK: Tensor) -> Tensor:
        return -F.cross_entropy(logits_BK.float(), self.target_B, reduction="none")


OBJECTIVES: Mapping[str, Callable[[], Objective]] = {
    "kl": KlFromClean,
    "ce": CrossEntropy,
    "cw": Margin,
    "lse": SquaredDistance,
    "least": LeastLikely,
}
