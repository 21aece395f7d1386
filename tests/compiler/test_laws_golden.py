"""Published laws at full precision, against digits recomputed from the paper's constants (reference
values)."""

from __future__ import annotations

import numpy as np
import pytest

from isoloss.compiler.laws.fitting.tradeoff import tradeoff
from isoloss.compiler.laws.forms.approach2 import from_base, to_base
from isoloss.compiler.laws.published import PUBLISHED, published

GOLDEN = [
    # law, FID, C, N*, D*, L*: printed digits
    (2, 0.0, 1e20, 3.024e7, 4.228e8, 0.6874),
    (2, 0.0, 1e25, 7.850e9, 1.629e11, 0.5345),
    (2, 1.65, 1e18, 5.792e6, 2.207e7, 0.8687),
    (2, 1.65, 1e20, 5.352e7, 2.389e8, 0.7394),
    (2, 1.76, 1e25, 1.423e10, 8.985e10, 0.6097),
    (3, 0.0, 1e20, 3.980e7, 3.212e8, 0.6991),
    (3, 0.0, 1e25, 9.265e9, 1.380e11, 0.5643),
    (3, 1.65, 1e20, 4.903e7, 2.608e8, 0.7369),
    (3, 1.76, 1e25, 1.695e11, 7.543e9, 0.6336),
]


@pytest.mark.parametrize(("law", "fid", "flops", "params", "images", "loss"), GOLDEN)
def test_optimum_of_published_laws(
    law: int, fid: float, flops: float, params: float, images: float, loss: float
) -> None:
    found = published(f"bartoldson2024.approach{law}").optimum(flops, fid)
    assert found.params is not None
    assert found.images is not None
    assert found.loss is not None
    assert f"{found.params.mid:.3e}" == f"{params:.3e}"
    assert f"{found.images.mid:.3e}" == f"{images:.3e}"
    assert f"{found.loss.mid:.4f}" == f"{loss:.4f}"
    assert np.isnan(found.loss.low), "no interval was published, none may be shown"


@pytest.mark.parametrize("flops", [1e18, 1e20, 1e25])
@pytest.mark.parametrize("fid", [0.0, 1.65, 6.79])
def test_search_agrees_with_the_closed_form(flops: float, fid: float) -> None:
    law = published("bartoldson2024.approach2")
    closed = law.optimum(flops, fid)
    searched = law.optimum(flops, fid, lambda params: 7822.0 * params)
    assert closed.params is not None
    assert searched.params is not None
    assert searched.params.mid == pytest.approx(closed.params.mid, rel=1e-5)


def test_conversion_between_base_fid_and_fid_zero() -> None:
    law = published("bartoldson2024.approach2").parameters
    assert law["B"] == pytest.approx(9.890, abs=5e-4)
    assert law["E"] == pytest.approx(0.4816, abs=5e-5)
    base = to_base(law, 1.65)
    assert base["B"] == pytest.approx(7.551688897933183, rel=1e-14)
    assert base["E"] == pytest.approx(0.5603731625795364, rel=1e-14)
    assert from_base(base, 1.65) == pytest.approx(law, rel=1e-14)


@pytest.mark.parametrize(
    ("fid", "floor", "slope"),
    [
        (1.4, 0.5518, 7.762),
        (1.76, 0.5639, 7.467),
        (2.48, 0.5846, 7.003),
        (6.7908, 0.6627, 5.603),
        (35.54, 0.8428, 3.653),
    ],
)
def test_e_and_b_by_fid(fid: float, floor: float, slope: float) -> None:
    values = to_base(published("bartoldson2024.approach2").parameters, fid)
    assert f"{values['E']:.4f}" == f"{floor:.4f}"
    assert f"{values['B']:.3f}" == f"{slope:.3f}"


def test_exponents() -> None:
    a = published("bartoldson2024.approach2").exponents
    assert (f"{a['a'].mid:.5f}", f"{a['b'].mid:.5f}") == ("0.48286", "0.51714")
    a = published("bartoldson2024.approach3").exponents
    assert (f"{a['a'].mid:.3f}", f"{a['b'].mid:.3f}") == ("0.473", "0.527")


def test_floor_of_approach3_includes_the_quality_term() -> None:
    limit = published("bartoldson2024.approach3").limits(1.76).asymptote
    assert limit is not None
    assert f"{limit.mid:.3f}" == "0.619"  # not the .55 of the paper's Table 2


def test_approach3_at_bad_quality_asks_for_a_huge_network() -> None:
    found = published("bartoldson2024.approach3").optimum(1e20, 35.5).params
    assert found is not None
    assert f"{found.mid:.1e}" == "2.9e+09"


@pytest.mark.parametrize(("size", "overhead"), [(0.5, 0.1455), (2.0, 0.1028)])
def test_tradeoff_of_approach2(size: float, overhead: float) -> None:
    """Halving the network costs 14.55 % more training, doubling it 10.28 %: independent of compute and
    FID."""
    law = published("bartoldson2024.approach2")
    p = law.parameters
    ratio = p["beta"] / p["alpha"]
    images = (1 - (size ** -p["alpha"] - 1) * ratio) ** (-1 / p["beta"])
    for flops, fid in ((1e18, 0.0), (2.14e20, 1.65), (1e25, 6.79)):
        found = tradeoff(law, size, flops, fid, None)
        assert found is not None
        assert found.overhead.mid == pytest.approx(overhead, abs=5e-4)
        assert found.images.mid == pytest.approx(images, rel=1e-9)


def test_tradeoff_says_when_no_data_suffices() -> None:
    assert tradeoff(published("bartoldson2024.approach2"), 1e-4, 1e20, 0.0) is None


def test_envelope_line_of_pfgmpp() -> None:
    """Table 2, PFGM++: a .56, b .43, L*(1e25) .50."""
    found = published("bartoldson2024.approach1").optimum(1e25, 1.76)
    assert found.loss is not None
    assert found.loss.mid == pytest.approx(0.50, abs=0.01)
    assert (found.exponents["a"].mid, found.exponents["b"].mid) == (0.56, 0.43)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_law_states_its_source_and_that_it_has_no_intervals(name: str) -> None:
    law = published(name)
    assert "arXiv:" in law.provenance
    assert law.status == "PUBLISHED"
    assert law.intervals == {}
    assert any("without intervals" in w for w in law.warnings)
