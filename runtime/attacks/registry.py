"""The table of attacks that are ours, by the word of the language. AutoAttack is an evaluation, not a row
here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from isoloss.compiler.plan import Component, exact
from isoloss.runtime.attacks.base import Attack, NetworkLike
from isoloss.runtime.attacks.fgsm import Fgsm
from isoloss.runtime.attacks.norms import NORMS, Ball, Norm
from isoloss.runtime.attacks.objectives import OBJECTIVES, Objective
from isoloss.runtime.attacks.pgd import Pgd
from isoloss.runtime.errors import JobError
from isoloss.runtime.noise import Noise


class Clean(Attack):
    """`none`: the images as they are."""

    def run(
        self,
        network: NetworkLike,
        x_BCHW: Tensor,
        y_B: Tensor,
        ball: Ball,
        noise: Noise,
        clean_BK: Tensor | None,
    ) -> Tensor:
        return x_BCHW

    def score(self, logits_BK: Tensor, y_B: Tensor, clean_BK: Tensor | None) -> Tensor:
        return logits_BK.new_zeros(len(logits_BK))


def _pgd(attack: Component) -> Attack:
    return Pgd(
        _norm(attack),
        exact(attack["eps"]),
        exact(attack["step"]),
        int(attack["steps"]),
        _objective(attack),
        int(attack.get("restarts", 1)),
        str(attack.get("start", "uniform")),
    )


def _fgsm(attack: Component) -> Attack:
    sigma = attack.get("sigma")
    own = None if sigma is None else exact(sigma)
    return Fgsm(_norm(attack), exact(attack["eps"]), _objective(attack, "ce"), sigma=own)


def _rfgsm(attack: Component) -> Attack:
    epsilon = exact(attack["eps"])
    # Tramèr et al. use alpha = epsilon / 2; Madry et al. give none.
    alpha = attack.get("alpha")
    return Fgsm(
        _norm(attack), epsilon, _objective(attack, "ce"), epsilon / 2 if alpha is None else exact(alpha)
    )


ATTACKS: Mapping[str, Callable[[Component], Attack]] = {
    "none": lambda attack: Clean(NORMS["linf"], 0.0),
    "pgd": _pgd,
    "fgsm": _fgsm,
    "rfgsm": _rfgsm,
}


def build(attack: Component) -> Attack:
    """The attack a Component names. Raises JobError R313 for a kind, norm or loss that isn't registered."""
    make = ATTACKS.get(attack["kind"])
    if make is None:
        raise JobError("R313", f"no attack `{attack['kind']}`", f"known: {', '.join(sorted(ATTACKS))}")
    return make(attack)


def _norm(attack: Component) -> Norm:
    name = str(attack.get("norm", "linf"))
    if name not in NORMS:
        raise JobError("R313", f"no norm `{name}` for attacks", f"known: {', '.join(sorted(NORMS))}")
    return NORMS[name]


def _objective(attack: Component, default: str = "kl") -> Objective:
    name = str(attack.get("loss", default))
    if name not in OBJECTIVES:
        raise JobError("R313", f"no attack loss `{name}`", f"known: {', '.join(sorted(OBJECTIVES))}")
    return OBJECTIVES[name]()
