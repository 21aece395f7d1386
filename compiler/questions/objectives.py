"""What an allocation is asked for -> the run that answers it: network, generator and images chosen together.

In: a law or portfolio, networks that can be built, generators on offer, what a run may cost. Out: the run, and
what each generator would have come to. Pure and deterministic. Losses are the law's middles, equal to ten digits
where they are equal: then the smaller network, not a solver's last bit, decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from isoloss.compiler.facts.shards import DOUBLED, FIRST, LARGEST
from isoloss.compiler.laws.arrays import Bools, Floats
from isoloss.compiler.laws.fitting.fitted import LawFit
from isoloss.compiler.laws.portfolio import Portfolio
from isoloss.compiler.questions.buildable_networks import Network
from isoloss.compiler.rounding import rounded

Predictor: TypeAlias = LawFit | Portfolio

#: Where images end that a run may draw: beyond any compute there is.
MOST_IMAGES = 1e18
#: Bisections in ln D: what is left of 41 e-folds is far below one image.
_HALVINGS = 64


@dataclass(frozen=True, slots=True)
class Offer:
    """A generator as a run may draw from it, with the law of its runs. `unique` images it has (inf: no limit),
    `made` of them that the grids' runs draw anyway; `image_flops` makes one more: 0 where images are published
    or no cost is known. `network_flops` and `network_seconds`, one after the other: what is trained before its first
    image, where no run of the grids needs it."""

    name: str
    law: Predictor
    fid: float
    unique: float
    made: float
    image_flops: float
    network_flops: float = 0.0
    network_seconds: float = 0.0

    def sampling_flops(self, images: Floats) -> Floats:
        """FLOPs of the images that are made for runs of so many: whole shards, beyond those made anyway; and of the
        networks that make them."""
        wanted = np.minimum(images, self.unique)
        # shards.py's: doubled up to where each has the most, then by as many.
        doubled = FIRST * 2.0 ** np.ceil(np.log2(np.maximum(wanted / FIRST, 1.0)))
        more = DOUBLED + LARGEST * np.ceil((wanted - DOUBLED) / LARGEST)
        end = np.minimum(np.where(wanted > DOUBLED, more, doubled), self.unique)
        return np.asarray(np.maximum(0.0, end - self.made) * self.image_flops + self.network_flops)


#: (offer, images [n] of the search's networks) -> which of these runs may be.
Allowed: TypeAlias = Callable[[Offer, Floats], Bools]


@dataclass(frozen=True, slots=True)
class Rival:
    """The best run of one generator: `value` is its loss, or its FLOPs where accuracy is bought."""

    offer: Offer
    network: Network
    value: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """`images` before they are made whole steps. `best` is the network that `network` replaces where it is
    smaller and as good; `best_images` are its own. `rivals`: one per generator that has a run at all."""

    offer: Offer
    network: Network
    images: float
    best: Network
    best_images: float
    rivals: tuple[Rival, ...]


class Search:
    """Every network on every generator's images. `held`: no image is drawn twice."""

    def __init__(self, networks: Sequence[Network], offers: Sequence[Offer], *, held: bool) -> None:
        self.networks, self.offers, self.held = networks, offers, held
        self.params = np.array([float(n.params) for n in networks])
        self.each = np.array([n.flops_per_image for n in networks])

    def losses(self, offer: Offer, images: Floats) -> Floats:
        """[n], to ten digits; inf where the law can't say, or no image is drawn."""
        with np.errstate(all="ignore"):
            found = offer.law.mids(self.params, np.maximum(images, 1.0), offer.fid)
        kept = np.isfinite(found) & (images >= 1.0)
        return np.array([rounded(v) if k else math.inf for v, k in zip(found, kept, strict=True)])

    def most(self, offer: Offer, allowed: Allowed) -> Floats:
        """The most images [n] that each network may draw; 0 where not even one."""
        limit = self.limit(offer)
        top = np.full(len(self.networks), math.log(limit))
        found = np.exp(_bisected(np.zeros_like(top), top, lambda lnD: ~allowed(offer, np.exp(lnD)))[0])
        found = np.where(allowed(offer, np.full_like(top, limit)), limit, found)
        return np.where(allowed(offer, np.ones_like(top)), found, 0.0)

    def least(self, offer: Offer, loss: float) -> Floats:
        """The fewest images [n] with which each network comes down to a loss; inf where none are enough."""
        top = np.full(len(self.networks), math.log(self.limit(offer)))

        def enough(lnD: Floats) -> Bools:
            return np.asarray(self.losses(offer, np.exp(lnD)) <= loss)

        found = np.exp(_bisected(np.zeros_like(top), top, enough)[1])
        return np.where(enough(top), found, math.inf)

    def bill(self, offer: Offer, images: Floats) -> Floats:
        """FLOPs [n] of training and of the images made for it, to ten digits; inf where images are."""
        finite = np.isfinite(images)
        drawn = np.where(finite, images, 1.0)
        total = self.each * drawn + offer.sampling_flops(drawn)
        return np.array([rounded(v) if k else math.inf for v, k in zip(total, finite, strict=True)])

    def limit(self, offer: Offer) -> float:
        """The most images that a run may draw, whatever they cost."""
        return min(offer.unique, MOST_IMAGES) if self.held else MOST_IMAGES


def lowest_loss(search: Search, allowed: Allowed, richer: Allowed | None = None) -> Chosen | None:
    """The run of lowest loss that is allowed. With `richer`, what is allowed with an overhead: the smallest
    network that comes to the same loss within it, on the fewest images. None where the law says nothing."""
    tables = [(offer, search.most(offer, allowed)) for offer in search.offers]
    losses = [search.losses(offer, images) for offer, images in tables]
    place = _first(losses, search.networks)
    if place is None:
        return None
    index, at = place
    loss, best = float(losses[index][at]), search.networks[at]
    rivals = _rivals(search, losses)
    images = float(tables[index][1][at])
    plain = Chosen(search.offers[index], best, images, best, images, rivals)
    if richer is None:
        return plain
    bounds = [search.most(offer, richer) for offer in search.offers]
    as_good = [
        search.losses(offer, bound) <= loss for offer, bound in zip(search.offers, bounds, strict=True)
    ]
    for i, network in enumerate(search.networks):
        if network.params >= best.params:
            break
        for j, offer in enumerate(search.offers):
            if as_good[j][i]:
                needed = float(search.least(offer, loss)[i])
                return Chosen(offer, network, min(needed, float(bounds[j][i])), best, images, rivals)
    return plain


def cheapest(search: Search, losses: Sequence[float], overhead: float) -> Chosen | None:
    """The run of least FLOPs, training and images made for it, that comes down to the loss of its offer; with an
    overhead, the smallest network within it. None where no run does."""
    needed = [search.least(offer, loss) for offer, loss in zip(search.offers, losses, strict=True)]
    costs = [search.bill(offer, images) for offer, images in zip(search.offers, needed, strict=True)]
    place = _first(costs, search.networks)
    if place is None:
        return None
    index, at = place
    best, least, rivals = search.networks[at], float(needed[index][at]), _rivals(search, costs)
    limit = float(costs[index][at]) * (1 + overhead)
    for i, network in enumerate(search.networks[:at]):
        j = min(range(len(costs)), key=lambda j: costs[j][i])
        if network.params < best.params and costs[j][i] <= limit:
            return Chosen(search.offers[j], network, float(needed[j][i]), best, least, rivals)
    return Chosen(search.offers[index], best, least, best, least, rivals)


def _first(values: Sequence[Floats], networks: Sequence[Network]) -> tuple[int, int] | None:
    """(offer, network) of the least value; among equal ones the smaller network, then the offer named first."""
    places = [(j, i) for j, row in enumerate(values) for i in range(len(row)) if math.isfinite(row[i])]
    return min(places, key=lambda p: (values[p[0]][p[1]], networks[p[1]].params, p), default=None)


def _rivals(search: Search, values: Sequence[Floats]) -> tuple[Rival, ...]:
    found = []
    for offer, row in zip(search.offers, values, strict=True):
        place = _first([row], search.networks)
        if place is not None:
            found.append(Rival(offer, search.networks[place[1]], float(row[place[1]])))
    return tuple(found)


def _bisected(low: Floats, high: Floats, above: Callable[[Floats], Bools]) -> tuple[Floats, Floats]:
    """The ends of a bracket around where `above` turns from false to true, elementwise."""
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        over = above(middle)
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return low, high
