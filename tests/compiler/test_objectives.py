"""What an allocation is asked for: golden values of the paper's laws, and what must hold whatever the law."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.compiler.cost.architectures import Architecture
from isoloss.compiler.facts.shards import shards
from isoloss.compiler.laws.published import published
from isoloss.compiler.questions.buildable_networks import Network, buildable
from isoloss.compiler.questions.objectives import Allowed, Chosen, Offer, Search, cheapest, lowest_loss

CIFAR = {"kind": "cifar10"}
TRADES, PGD = {"kind": "trades", "beta": 5.0}, {"kind": "pgd", "steps": 10, "restarts": 1}
GRID = [{"kind": "wrn", "depth": d, "width": w} for d, w in ((28, 4), (58, 12), (82, 16))]
NETWORKS = buildable(GRID, CIFAR, TRADES, PGD)
LAW = published("bartoldson2024.approach2")
#: The paper's two best generators, their images published: nothing is made for a run.
DG = Offer("dg", LAW, 1.65, math.inf, 0.0, 0.0)
PFGMPP = Offer("pfgmpp", LAW, 1.76, math.inf, 0.0, 0.0)


def costing(search: Search, compute: float) -> Allowed:
    """Training and images for so much at most."""
    return lambda offer, images: search.each * images + offer.sampling_flops(images) <= compute


def at_compute(
    offers: list[Offer],
    compute: float,
    overhead: float = 0.0,
    *,
    held: bool = False,
    networks: Sequence[Network] = NETWORKS,
) -> Chosen:
    search = Search(networks, offers, held=held)
    richer = costing(search, compute * (1 + overhead)) if overhead else None
    found = lowest_loss(search, costing(search, compute), richer)
    assert found is not None
    return found


def loss(offer: Offer, network: Network, images: float) -> float:
    found = offer.law.predict(network.params, images, offer.fid)
    assert found is not None
    return found.mid


def test_the_run_has_the_lowest_predicted_loss_of_all_networks() -> None:
    chosen = at_compute([DG], 1e21)
    best = min(loss(DG, n, 1e21 / n.flops_per_image) for n in NETWORKS)
    assert loss(DG, chosen.network, chosen.images) == pytest.approx(best, rel=1e-9)
    # N* of the published constants at 1e21 FLOP and FID 1.65 is 163M, unrounded.
    assert chosen.network.params == pytest.approx(163e6, rel=0.1)
    assert all(28 <= n.model["depth"] <= 82 for n in NETWORKS)


@pytest.mark.parametrize("overhead", [0.05, 0.1, 0.5])
def test_overhead_buys_the_smallest_network_as_good(overhead: float) -> None:
    plain, chosen = at_compute([DG], 1e20), at_compute([DG], 1e20, overhead)
    assert chosen.network.params < plain.network.params
    assert chosen.best == plain.network
    flops = chosen.images * chosen.network.flops_per_image
    assert 1e20 <= flops <= 1e20 * (1 + overhead)
    assert loss(DG, chosen.network, chosen.images) == pytest.approx(
        loss(DG, plain.network, plain.images), rel=1e-6
    )
    smaller = [n for n in NETWORKS if n.params < chosen.network.params]
    as_good = loss(DG, plain.network, plain.images)
    assert all(loss(DG, n, 1e20 * (1 + overhead) / n.flops_per_image) > as_good for n in smaller)


def test_half_the_network_costs_what_equation_6_says() -> None:
    """omega_N = 0.5 costs +14.6 % under law 2, whatever compute and FID; sizes 1 % apart, at
    7822 FLOP per parameter and image."""
    sizes = [int(1e6 * 1.01**i) for i in range(1000)]
    networks = [Network({"kind": "wrn"}, n, 7822.0 * n, Architecture(n, 290.0 * n, 0, 0, 30)) for n in sizes]
    for compute in (1e20, 1e22):
        chosen = at_compute([DG], compute, 0.146, networks=networks)
        assert chosen.network.params == pytest.approx(0.5 * chosen.best.params, rel=0.03)


@pytest.mark.parametrize(("compute", "wanted"), [(1e18, 0.8687), (1e20, 0.7394)])
def test_the_cheapest_run_of_a_loss_is_the_optimum_that_has_it(compute: float, wanted: float) -> None:
    """L*(C) of law 2 at FID 1.65 (golden values), asked the other way round."""
    search = Search(
        buildable([GRID[0], {"kind": "wrn", "depth": 16, "width": 1}], CIFAR, TRADES, PGD), [DG], held=False
    )
    chosen = cheapest(search, [wanted], 0.0)
    assert chosen is not None
    assert chosen.images * chosen.network.flops_per_image == pytest.approx(compute, rel=0.04)
    assert loss(DG, chosen.network, chosen.images) <= wanted * (1 + 1e-9)
    within = cheapest(search, [wanted], 0.1)
    assert within is not None
    assert within.network.params < chosen.network.params
    assert (
        within.images * within.network.flops_per_image
        <= 1.1 * chosen.images * chosen.network.flops_per_image * (1 + 1e-9)
    )


def test_an_unreachable_loss_has_no_run() -> None:
    search = Search(NETWORKS, [DG], held=False)
    # E' of law 2 at FID 1.65 is .5604: no network and number of images comes below.
    assert cheapest(search, [0.55], 0.0) is None
    assert cheapest(search, [0.6], 0.0) is not None


# The generator.


def test_without_other_differences_the_better_quality_is_chosen() -> None:
    chosen = at_compute([PFGMPP, DG], 1e21)
    assert chosen.offer == DG
    assert {r.offer.name for r in chosen.rivals} == {"dg", "pfgmpp"}
    assert [r.value for r in chosen.rivals] == sorted([r.value for r in chosen.rivals], reverse=True)


def test_dear_images_lose_to_cheap_ones() -> None:
    """An image that costs a hundred trainings on it isn't worth a tenth of FID."""
    dear = Offer("dg", LAW, 1.65, math.inf, 0.0, 1e14)
    assert at_compute([dear, PFGMPP], 1e21, held=True).offer == PFGMPP


def test_images_made_anyway_are_free() -> None:
    dear = Offer("dg", LAW, 1.65, math.inf, 0.0, 1e13)
    made = Offer("dg", LAW, 1.65, 1e8, 1e8, 1e13)
    assert at_compute([dear, PFGMPP], 1e20, held=True).offer == PFGMPP
    assert at_compute([made], 1e19, held=True).images > at_compute([dear], 1e19, held=True).images


def test_few_images_lose_to_many() -> None:
    few = Offer("dg", LAW, 1.65, 1e6, 0.0, 0.0)
    chosen = at_compute([few, PFGMPP], 1e21, held=True)
    assert chosen.offer == PFGMPP
    alone = at_compute([few], 1e21, held=True)
    assert alone.images <= 1e6
    assert alone.network.params > chosen.network.params


@pytest.mark.parametrize("limit", [None, 4_000, 10_000, 70_000, 100_000, 5_500_000])
def test_images_are_priced_by_whole_shards(limit: int | None) -> None:
    offer = Offer("g", LAW, 1.0, math.inf if limit is None else limit, 0.0, 1.0)
    small = (1, 9_999, 10_000, 10_001, 39_999, 40_001, 70_000)
    for images in (*small, 1_280_000, 1_280_001, 2_280_000, 5_000_000, 100_000_000):
        wanted = min(images, limit or images)
        *_, (_, stop) = shards(wanted, limit)
        assert offer.sampling_flops(np.array([float(images)]))[0] == stop


# What holds whatever is offered.

offers = st.builds(
    lambda name, fid, unique, made, flops: Offer(name, LAW, fid, unique, min(made, unique), flops),
    st.text("abc", min_size=1, max_size=3),
    st.floats(0.0, 40.0),
    st.floats(1e5, 1e9) | st.just(math.inf),
    st.floats(0.0, 1e7),
    st.floats(0.0, 1e12),
)
computes = st.floats(17.0, 24.0).map(lambda exponent: 10.0**exponent)
LIGHT = settings(max_examples=15, deadline=None)


def best_loss(some: list[Offer], compute: float) -> float:
    chosen = at_compute(some, compute, held=True)
    return loss(chosen.offer, chosen.network, chosen.images)


@LIGHT
@given(st.lists(offers, min_size=1, max_size=3), computes, st.floats(1.0, 100.0))
def test_more_compute_never_predicts_worse(some: list[Offer], compute: float, factor: float) -> None:
    assert best_loss(some, compute * factor) <= best_loss(some, compute) * (1 + 1e-9)


@LIGHT
@given(st.lists(offers, min_size=1, max_size=2), offers, computes, st.floats(0.6, 2.0))
def test_a_superset_of_generators_is_never_worse(
    some: list[Offer], more: Offer, compute: float, wanted: float
) -> None:
    assert best_loss([*some, more], compute) <= best_loss(some, compute) * (1 + 1e-9)
    few, many = (
        cheapest(Search(NETWORKS, each, held=True), [wanted] * len(each), 0.0)
        for each in (some, [*some, more])
    )
    if few is not None:
        assert many is not None
        assert bill(many) <= bill(few) * (1 + 1e-9)


def bill(chosen: Chosen) -> float:
    images = np.array([chosen.images])
    return float(chosen.network.flops_per_image * images[0] + chosen.offer.sampling_flops(images)[0])
