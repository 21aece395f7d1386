"""How the recipe's attack sees the network that is being trained: train or eval mode, nothing left moved."""

from __future__ import annotations

import copy

from torch import Tensor

from isoloss.runtime.attacks import Attack
from isoloss.runtime.attacks.base import NetworkLike
from isoloss.runtime.models.batchnorm import frozen
from isoloss.runtime.models.network import Network
from isoloss.runtime.noise import Noise
from isoloss.runtime.training.cuda_graph import Captured, Run
from isoloss.runtime.training.losses import Adversary


class InnerAttack:
    """The Adversary of runtime/training/losses.py, once it is `at` a place's noise.

    `mode` "train": batch statistics, running ones frozen (published); "moving": the same, and every pass moves
    the running ones; "eval": running statistics. `capture`: as CUDA graphs, where nothing moves and nothing is
    exchanged with other processes."""

    def __init__(self, attack: Attack, network: Network, mode: str, capture: bool = False) -> None:
        if mode not in ("train", "eval", "moving"):
            raise ValueError(f"attack mode must be train, eval or moving, got {mode!r}")
        self._attack = attack
        self._network = network
        self._mode = mode
        self.shares_clean = mode == "train" and attack.needs_clean
        self.noise: Noise | None = None
        self._run: Run = Captured(self._attacked, network) if capture else self._attacked

    def __call__(self, x_BCHW: Tensor, y_B: Tensor, clean_logits_BK: Tensor | None = None) -> Tensor:
        assert self.noise is not None  # see `at`
        return self._run(x_BCHW, y_B, self.noise, clean_logits_BK)

    def _attacked(
        self, x_BCHW: Tensor, y_B: Tensor, noise: Noise, clean_logits_BK: Tensor | None = None
    ) -> Tensor:
        if self._mode == "moving":
            return self._attack(self._network, x_BCHW, y_B, noise, clean_logits_BK)
        if self._mode == "train":
            # Built per step: it holds this step's weights.
            view: NetworkLike = self._network.attack_view("train")
            with frozen(self._network.batch_norms()):
                return self._attack(view, x_BCHW, y_B, noise, clean_logits_BK)
        view = self._network.attack_view("eval")
        self._network.eval()
        try:
            return self._attack(view, x_BCHW, y_B, noise, clean_logits_BK)
        finally:
            self._network.train()

    def gaussian(self, x_BCHW: Tensor) -> Tensor:
        assert self.noise is not None
        return self.noise.normal(x_BCHW)

    def halved(self) -> InnerAttack:
        assert self.noise is not None
        return self.at(self.noise.thinned())

    def at(self, noise: Noise) -> InnerAttack:
        """The same with the noise of one place in the run."""
        other = copy.copy(self)
        other.noise = noise
        return other


class Replay:
    """An Adversary that works once per step and gives the same images and noise when it is asked again: a
    perturbation of the weights is found and then trained against on the images of the first pass."""

    def __init__(self, inner: Adversary) -> None:
        self._inner = inner
        self.shares_clean = inner.shares_clean
        self._adversarial: Tensor | None = None
        self._gaussian: Tensor | None = None
        self._halved: Replay | None = None

    def __call__(self, x_BCHW: Tensor, y_B: Tensor, clean_logits_BK: Tensor | None = None) -> Tensor:
        if self._adversarial is None:
            self._adversarial = self._inner(x_BCHW, y_B, clean_logits_BK)
        return self._adversarial

    def gaussian(self, x_BCHW: Tensor) -> Tensor:
        if self._gaussian is None:
            self._gaussian = self._inner.gaussian(x_BCHW)
        return self._gaussian

    def halved(self) -> Replay:
        if self._halved is None:
            self._halved = Replay(self._inner.halved())
        return self._halved
