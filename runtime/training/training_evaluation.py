"""Evaluation during training: the averaged network under the recipe's test attack, at fractions below 1.

The final evaluation is a job of its own. On the validation split the best weights are chosen by these, and the end is
looked at too. B images, K classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from isoloss.compiler.plan import EVALUATION_BATCH, TrainSpec, accuracy_metric, exact, loss_metric
from isoloss.runtime import attacks
from isoloss.runtime.data import ImageSet
from isoloss.runtime.evaluation.intervals import Measured, mean, share
from isoloss.runtime.models.network import Network
from isoloss.runtime.noise import noise_at
from isoloss.runtime.training import losses
from isoloss.runtime.training.feed import open_images


def probe_steps(every: float, train_steps: int) -> frozenset[int]:
    """1-based steps after which to evaluate: the nearest to k * every for k = 1, 2, …, fractions below 1
    only."""
    steps = (round(k * every * train_steps) for k in range(1, int(1 / every) + 2))
    return frozenset(step for step in steps if 0 < step < train_steps)


def chooses(spec: TrainSpec) -> bool:
    """Are the best weights chosen by the evaluations of this training? Never on test images."""
    return spec.evaluation is not None and spec.evaluation["split"] == "validation"


class Probe:
    """Made once per run; called on a network in eval mode."""

    def __init__(self, spec: TrainSpec, images: ImageSet, device: str) -> None:
        assert spec.evaluation is not None
        self._split = str(spec.evaluation["split"])
        self.steps = probe_steps(exact(spec.evaluation["every"]), spec.train_steps)
        self.chooses = chooses(spec)
        self.weights: str = spec.evaluation["weights"]
        self._attack_spec = spec.evaluation["attack"]
        #: The metric that is best when highest.
        self.score = accuracy_metric(self._attack_spec, self._split)
        self._attack = attacks.build(self._attack_spec)
        self._loss_spec = spec.recipe["loss"]
        self._loss = losses.build(self._loss_spec)
        self._images = open_images([images], spec.evaluation["images"], device)
        self._seed, self._device = spec.seed, device

    @torch.no_grad()
    def __call__(self, network: Network) -> dict[str, Measured]:
        """Metric name -> value: loss and accuracy under the attack, and clean accuracy. Noise depends on the
        seed alone, so all evaluations of a run start from the same points."""
        view = network.attack_view("eval")
        clean_right: list[Tensor] = []
        robust_right: list[Tensor] = []
        losses_B: list[Tensor] = []
        for start in range(0, len(self._images), EVALUATION_BATCH):
            images, y_B = self._images.take(
                np.arange(start, min(start + EVALUATION_BATCH, len(self._images)))
            )
            x_BCHW = images.float().div_(255.0)
            clean = view(x_BCHW)
            noise = noise_at(self._seed, "probe", start, device=self._device)
            adversarial = view(self._attack(view, x_BCHW, y_B, noise, clean))
            right = clean.argmax(1) == y_B
            clean_right.append(right)
            # An image that is wrong clean counts as broken, whatever the attack did to it.
            robust_right.append(right & (adversarial.argmax(1) == y_B))
            losses_B.append(self._loss.per_image(clean, adversarial, y_B))
        return {
            loss_metric(self._loss_spec, self._attack_spec, self._split): mean(
                torch.cat(losses_B).cpu().numpy()
            ),
            self.score: share(torch.cat(robust_right).cpu().numpy()),
            accuracy_metric({"kind": "none"}, self._split): share(torch.cat(clean_right).cpu().numpy()),
        }


def as_rows(step: int, measured: dict[str, Measured]) -> list[dict[str, Any]]:
    """For the curve and its checkpoint: plain data."""
    return [
        {"step": step, "metric": name, "value": m.value, "low": m.low, "high": m.high, "count": m.count}
        for name, m in measured.items()
    ]
