"""How the recipe's attack sees the network that is being trained: train or eval mode, nothing left moved."""

from __future__ import annotations

from torch import Tensor

from isoloss.runtime.attacks import Attack
from isoloss.runtime.attacks.base import NetworkLike
from isoloss.runtime.models.batchnorm import frozen
from isoloss.runtime.models.network import Network
from isoloss.runtime.noise import Noise


class InnerAttack:
    """The Adversary of runtime/losses.py for one step's noise.

    `mode` "train": batch statistics, running ones frozen (published); "eval": running statistics."""

    def __init__(self, attack: Attack, network: Network, mode: str) -> None:
        if mode not in ("train", "eval"):
            raise ValueError(f"attack mode must be train or eval, got {mode!r}")
        self._attack = attack
        self._network = network
        self._mode = mode
        self.shares_clean = mode == "train" and attack.needs_clean
        self.noise: Noise | None = None

    def __call__(self, x_BCHW: Tensor, y_B: Tensor, clean_logits_BK: Tensor | None = None) -> Tensor:
        assert self.noise is not None  # set by the trainer before every step
        if self._mode == "train":
            # Built per step: it holds this step's weights.
            view: NetworkLike = self._network.attack_view("train")
            with frozen(self._network.batch_norms()):
                return self._attack(view, x_BCHW, y_B, self.noise, clean_logits_BK)
        view = self._network.attack_view("eval")
        self._network.eval()
        try:
            return self._attack(view, x_BCHW, y_B, self.noise, clean_logits_BK)
        finally:
            self._network.train()
