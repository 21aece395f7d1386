"""Which share of the test images AutoAttack must go on with to its end: the robust accuracy under the same norm and
epsilon, as far as it is known.

Knowledge -> a function of AutoAttack jobs. Pure. Of the network itself where it was tested by another attack; else
the mean over networks that were; else assumed (cost.py). An upper bound either way: AutoAttack breaks more."""

from __future__ import annotations

from statistics import fmean

from isoloss.compiler.cost.flops import SURVIVORS
from isoloss.compiler.observed.runs import Knowledge
from isoloss.compiler.plan import EvaluateSpec, Observation, Range, attack_name
from isoloss.compiler.rounding import rounded


class Survivors:
    """Called with an AutoAttack job's spec: the share of its images, in [0, 1], an interval while it is assumed."""

    def __init__(self, knowledge: Knowledge) -> None:
        #: (threat, run) -> the lowest accuracy at the latest point of its training.
        self._of_run: dict[tuple[str, str], tuple[float, float]] = {}
        for seen in knowledge.observations:
            self._note(seen)
        means: dict[str, list[float]] = {}
        for (threat, _), (_, accuracy) in self._of_run.items():
            means.setdefault(threat, []).append(accuracy)
        self._means = {threat: rounded(fmean(values)) for threat, values in means.items()}

    def __call__(self, spec: EvaluateSpec) -> Range:
        threat = _threat(attack_name(spec.attack))
        own = self._of_run.get((threat, spec.network))
        share = own[1] if own is not None else self._means.get(threat)
        return SURVIVORS if share is None else Range(share, share, share)

    def _note(self, seen: Observation) -> None:
        what, _, attack = seen.metric.partition(" @ ")
        # Of whichever split.
        threat = _threat(attack.partition(" on ")[0])
        if what != "accuracy" or not threat or seen.run is None:
            return
        key, fraction = (threat, seen.run), seen.fraction or 0.0
        known = self._of_run.get(key)
        if known is None or fraction > known[0]:
            self._of_run[key] = fraction, seen.value
        elif fraction == known[0]:
            self._of_run[key] = fraction, min(known[1], seen.value)


def _threat(attack: str) -> str:
    """`linf, 8/255` of `pgd(40, cw, linf, 8/255)` and of `autoattack(linf, 8/255)`; empty for others."""
    kind, _, arguments = attack.removesuffix(")").partition("(")
    return ", ".join(arguments.split(", ")[-2:]) if kind in ("pgd", "autoattack") else ""
