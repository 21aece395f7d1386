"""Signs that an attack failed rather than that a network is robust (Athalye et al., arXiv:1802.00420;
Carlini et al., arXiv:1902.06705). Alarms warn; they do not fail a job.

Cheap: a small part of the test set, about 35 passes per image."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import cross_entropy

from isoloss.compiler.plan import Component, exact
from isoloss.runtime.attacks import build
from isoloss.runtime.attacks.base import input_gradient
from isoloss.runtime.attacks.objectives import CrossEntropy
from isoloss.runtime.evaluation.scoring import Subject, attack_all
from isoloss.runtime.noise import noise_at

#: Images looked at.
PART = 128
#: Two accuracies on the part must differ by more than this to alarm: 3 of 128 images.
MARGIN = 0.02
#: Logits of two passes may differ by this share of their size (as AutoAttack's own check).
DETERMINISTIC = 1e-4
#: Half the pixel range: this ball holds the uniform grey image for every image.
HUGE = 0.5


def network_alarms(subject: Subject) -> Iterator[str]:
    """Alarms that need no attack: random outputs, probabilities in place of logits, gradients that are
    zero."""
    part = subject.first(PART)
    once, again = part.logits(part.x), part.logits(part.x)
    if float(((once - again).norm(dim=1) / (once.norm(dim=1) + 1e-10)).max()) > DETERMINISTIC:
        yield "alarm: outputs are random"
    if float(once.min()) >= 0 and float((once.sum(1) - 1).abs().max()) < 1e-4:
        yield "alarm: outputs look like probabilities, not logits"
    objective = CrossEntropy()
    objective.prepare(part.y.to(part.device), None)
    gradient = input_gradient(part.network, part.x.to(part.device), objective)
    zero = float((gradient.flatten(1).abs().amax(1) == 0).float().mean())
    if zero > 0.01:
        yield f"alarm: the gradient is zero at {zero:.0%} of images"


def attack_alarms(subject: Subject, adversarial_nCHW: Tensor, attack: Component, seed: int) -> Iterator[str]:
    """Alarms about an iterated attack `pgd`: one step, plain noise or a huge ball must not look better or
    worse than they can."""
    part, adversarial = subject.first(PART), adversarial_nCHW[:PART]
    epsilon, norm = exact(attack["eps"]), str(attack["norm"])
    if epsilon == 0:
        return
    clean, attacked = part.logits(part.x), part.logits(adversarial)
    right = clean.argmax(1) == part.y
    accuracy = _accuracy(right, attacked, part.y)
    if bool(right.any()) and cross_entropy(attacked, part.y) <= cross_entropy(clean, part.y):
        yield "alarm: the attack does not raise the loss"
    one_step = attack_all(part, build({"kind": "fgsm", "norm": norm, "eps": epsilon, "loss": "ce"}), seed)
    if _accuracy(right, part.logits(one_step), part.y) < accuracy - MARGIN:
        yield "alarm: one step beats many"
    if _accuracy(right, part.logits(_noise(part, norm, epsilon, seed)), part.y) < accuracy - MARGIN:
        yield "alarm: noise beats the gradient"
    if norm == "linf" and epsilon < HUGE:
        huge = build(
            {
                "kind": "pgd",
                "norm": "linf",
                "eps": HUGE,
                "step": 0.1,
                "steps": 15,
                "loss": "ce",
                "start": "uniform",
            }
        )
        survived = _accuracy(right, part.logits(attack_all(part, huge, seed)), part.y)
        # A network that always gives one class survives there with that class's share: no mask.
        if survived > max(2 / subject.classes, accuracy / 2):
            yield f"alarm: {survived:.0%} survive a perturbation of half the pixel range"


def _accuracy(right: Tensor, logits: Tensor, y: Tensor) -> float:
    return float((right & (logits.argmax(1) == y)).float().mean())


def _noise(part: Subject, norm: str, epsilon: float, seed: int) -> Tensor:
    """Random directions of full size: corners of the linf ball, points on the l2 sphere."""
    drawn = noise_at(seed, "alarm noise").normal(part.x)
    if norm == "linf":
        delta = epsilon * drawn.sign()
    else:
        delta = epsilon * drawn / drawn.flatten(1).norm(dim=1)[:, None, None, None]
    return (part.x + delta).clamp(0, 1)
