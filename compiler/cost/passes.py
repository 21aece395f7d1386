"""How many forward passes an image costs in training: loss, attack, perturbation -> passes, FLOPs per image.

The tables of the cost rule, apart from the bills (cost.py) because `check` counts cells with them and no plan.
Pure; K attack steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from isoloss.compiler.cost.architectures import count
from isoloss.compiler.facts.components import component

if TYPE_CHECKING:
    from isoloss.compiler.plan import Component
    from isoloss.dsl.study.study import Recipe

#: Outer passes per loss, and the share of images that its attack runs on: clean and adversarial forwards and
#: their backwards. trades: 2 forwards + 4 for backwards through both, after an attack of 2K and its clean
#: forward (CLEAN): 2K + 7. pgd_at: 2K, then one forward + backward: 2K + 3. natural: 3. Source: Bartoldson et
#: al. 2024, section 3; 27 forwards at K = 10 is the FLOP count behind 7822 N D (reference notebook). Exact but
#: for the stem's input gradient (26.97 counted by torch on WRN-16-1). mart: as trades, its attack (cross-entropy)
#: needs no clean forward: 2K + 6. half: one pass of all, every second image attacked: K + 3. noise: 3.
OUTER_PASSES: Mapping[str, tuple[int, float]] = {
    "trades": (6, 1.0),
    "lse": (6, 1.0),
    "pgd_at": (3, 1.0),
    "mart": (6, 1.0),
    "half": (3, 0.5),
    "noise": (3, 0.0),
    "natural": (3, 0.0),
}

#: What an attack climbs that is measured from the clean prediction: one more forward. And what one climbs that
#: doesn't say (the language always does).
CLEAN = ("kl", "lse", "least")
CLIMBED: Mapping[str, str] = {"trades": "kl", "lse": "lse"}

#: Input gradients of one try of an attack; `None`: its own `steps`. An attack without a row is priced by its
#: `steps`.
GRADIENTS: Mapping[str, int | None] = {"none": 0, "fgsm": 1, "rfgsm": 1, "pgd": None}

#: What a perturbation of the weights adds in an active step: one more forward and backward of the outer loss,
#: on images already attacked.
PERTURBED_PASSES: Mapping[str, int] = {
    "trades": 6,
    "lse": 6,
    "pgd_at": 3,
    "mart": 6,
    "half": 3,
    "noise": 3,
    "natural": 3,
}
PERTURBS = ("none", "awp")
NO_PERTURB: Component = {"kind": "none"}


def passes(loss: Component, attack: Component, perturb: Component = NO_PERTURB) -> float:
    """Forward-equivalents that one image costs in one training step, on average over the training. Raises
    KeyError for a loss without a row."""
    outer, attacked = OUTER_PASSES[loss["kind"]]
    clean = attack["kind"] != "none" and attack.get("loss", CLIMBED.get(loss["kind"])) in CLEAN
    return outer + attacked * (attack_passes(attack) + clean) + _perturbed(loss, perturb)


def of_recipe(recipe: Recipe) -> float:
    """The passes of a declared recipe."""
    return passes(component(recipe.loss), component(recipe.attack), component(recipe.perturb))


def _perturbed(loss: Component, perturb: Component) -> float:
    if perturb["kind"] == "none":
        return 0.0
    from isoloss.compiler.plan import exact

    return (1.0 - exact(perturb["warmup"])) * PERTURBED_PASSES[loss["kind"]]


def attack_passes(attack: Component) -> int:
    """Forward-equivalents of an attack's own steps, 2 each (forward, backward to the input), all restarts."""
    gradients = GRADIENTS.get(attack["kind"])
    if gradients is None:
        gradients = int(attack["steps"])
    return 2 * gradients * int(attack.get("restarts", 1))


def flops_per_image(
    model: Component,
    dataset: Component,
    loss: Component,
    attack: Component,
    perturb: Component = NO_PERTURB,
) -> float:
    """Training FLOPs per image drawn: passes x forward FLOPs."""
    return passes(loss, attack, perturb) * count(model, dataset).forward_flops
