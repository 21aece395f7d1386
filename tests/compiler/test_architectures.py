"""Counts of networks against the published table."""

from __future__ import annotations

import pytest

from isoloss.compiler.cost import flops as cost
from isoloss.compiler.cost import passes as cost_rule
from isoloss.compiler.cost.architectures import FAMILIES, count, members

CIFAR, DIGITS = {"kind": "cifar10"}, {"kind": "digits"}
TRADES = {"kind": "trades", "beta": 5, "label_smoothing": 0.1}
PGD10 = {"kind": "pgd", "steps": 10, "restarts": 1}

#: depth, width, N, forward GFLOPs, 27 forward / N: the reference table of 14 networks, N exact.
PUBLISHED = [
    (28, 4, 5_849_050, 1.691, 7807),
    (40, 4, 8_949_210, 2.597, 7836),
    (82, 4, 19_799_770, 5.768, 7866),
    (28, 12, 52_517_850, 15.09, 7757),
    (58, 12, 122_217_690, 35.47, 7836),
    (82, 12, 177_977_562, 51.78, 7855),
    (70, 16, 266_796_506, 77.53, 7846),
    (82, 16, 316_356_058, 92.02, 7854),
    (82, 8, 79_125_466, 23.03, 7858),
    (94, 16, 365_915_610, 106.52, 7860),
    (28, 10, 36_479_194, 10.49, 7762),
    (28, 2, 1_467_610, 0.429, 7887),
    (28, 1, 369_498, 0.110, 8033),
    (16, 1, 175_066, 0.053, 8223),
]


@pytest.mark.parametrize(("depth", "width", "params", "gflops", "ratio"), PUBLISHED)
def test_wide_residual_networks(depth: int, width: int, params: int, gflops: float, ratio: int) -> None:
    network = count({"kind": "wrn", "depth": depth, "width": width}, CIFAR)
    assert network.params == params
    digits = len(str(gflops).split(".")[1])
    assert round(network.forward_flops / 1e9, digits) == pytest.approx(gflops)
    assert round(27 * network.forward_flops / network.params) == ratio


@pytest.mark.parametrize(("width", "params"), [(2, 944), (4, 2_382), (8, 6_770), (16, 21_594)])
def test_miniature_family(width: int, params: int) -> None:
    assert count({"kind": "cnn", "width": width}, DIGITS).params == params


@pytest.mark.parametrize(("depth", "width"), [(row[0], row[1]) for row in PUBLISHED])
def test_paper_constant_holds_in_its_domain(depth: int, width: int) -> None:
    model = {"kind": "wrn", "depth": depth, "width": width}
    params = count(model, CIFAR).params
    each = cost_rule.flops_per_image(model, CIFAR, TRADES, PGD10)
    applies = cost.paper_constant_applies(model, CIFAR, TRADES, PGD10)
    assert applies == (params >= 1_000_000)
    if applies:
        assert each / params == pytest.approx(cost.PAPER_CONSTANT, rel=0.01)
    else:
        assert abs(each / params / cost.PAPER_CONSTANT - 1) > 0.01


def test_paper_constant_is_refused_outside_its_domain() -> None:
    wrn = {"kind": "wrn", "depth": 28, "width": 10}
    assert not cost.paper_constant_applies(wrn, CIFAR, TRADES, {"kind": "pgd", "steps": 7, "restarts": 1})
    assert not cost.paper_constant_applies(wrn, CIFAR, {"kind": "pgd_at"}, PGD10)
    assert not cost.paper_constant_applies({"kind": "cnn", "width": 64}, CIFAR, TRADES, PGD10)
    assert not cost.paper_constant_applies(wrn, DIGITS, TRADES, PGD10)


def test_passes_rule() -> None:
    assert cost_rule.passes(TRADES, PGD10) == 27
    assert cost_rule.passes({"kind": "pgd_at"}, PGD10) == 23
    assert cost_rule.passes({"kind": "natural"}, {"kind": "none"}) == 3
    assert cost_rule.passes({"kind": "natural"}, PGD10) == 3


@pytest.mark.parametrize("depth", [9, 27, 4, 11])
def test_impossible_depths_are_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="6n"):
        count({"kind": "wrn", "depth": depth, "width": 2}, CIFAR)


@pytest.mark.parametrize("kind", sorted(FAMILIES))
def test_members_are_buildable(kind: str) -> None:
    every = [count(model, CIFAR).params for model in list(members(kind))[::97]]
    assert len(every) >= 3
    assert all(params > 0 for params in every)
