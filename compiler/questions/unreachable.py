"""Why an allocation has no run: what its law and its generators can come to, and what was asked. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from isoloss.compiler.observed.study_fits import Fitted
from isoloss.compiler.questions.answering import accuracy_line, of_error
from isoloss.compiler.questions.objectives import Offer, Search
from isoloss.compiler.questions.walltime import Clock
from isoloss.dsl.study.study import Allocate
from isoloss.dsl.vocabulary.quantity_text import flop_text, time_text


def why(
    question: Allocate, search: Search, laws: Mapping[str, Sequence[Fitted]], clock: Clock | None
) -> tuple[str, str]:
    """(the reason with its numbers, what would help)."""
    best = {offer.name: lowest(search, offer) for offer in search.offers}
    if not any(map(math.isfinite, best.values())):
        return "its law predicts no single run", "ask a law of N and D: chinchilla, approach2, approach3"
    if question.accuracy is not None:
        return _accuracy(question.accuracy, laws, best)
    if clock is not None:
        least = min(
            float(clock.seconds(offer, np.ones(len(search.networks))).min()) for offer in search.offers
        )
        return (
            f"even one image through the smallest network, and its tests, take {time_text(least)}",
            "give it more time, more devices, or fewer tests",
        )
    least = min(network.flops_per_image for network in search.networks)
    return f"one image through the smallest network costs {flop_text(least)}", "raise its `compute`"


def lowest(search: Search, offer: Offer) -> float:
    """The lowest loss of any network on all the images that a run may draw; inf where the law says nothing."""
    return float(search.losses(offer, np.full(len(search.networks), search.limit(offer))).min())


def loss_of(laws: Sequence[Fitted], accuracy: float) -> float:
    """The loss, or the error, that goes with an accuracy by the laws' line; nan without one that falls."""
    if of_error(laws):
        return 1 - accuracy
    line = accuracy_line(laws)
    if line is None or not line.slope < 0:
        return math.nan
    return (accuracy - line.intercept) / line.slope


def _accuracy(
    wanted: float, laws: Mapping[str, Sequence[Fitted]], best: Mapping[str, float]
) -> tuple[str, str]:
    reached = {}
    for name, loss in best.items():
        line = accuracy_line(laws[name])
        if of_error(laws[name]):
            reached[name] = 1 - loss
        elif line is not None:
            reached[name] = line.value(loss)
    if not reached:
        return (
            "no accuracy goes with the losses of its law: too few finished runs have both",
            "evaluate runs of at least three different losses",
        )
    name = max(reached, key=lambda each: reached[each])
    said = (
        f"accuracy {wanted:.4g} is beyond its law, which comes to {reached[name]:.4g} on `{name}` with every "
        "network and number of images"
    )
    return said, "ask for less, or offer a better generator or more images"
