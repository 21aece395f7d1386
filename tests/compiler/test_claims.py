"""The claims check: verdicts are computed, known contradictions are found, golden numbers hold."""

from __future__ import annotations

import time

import pytest

from isoloss.compiler.claims.bartoldson2024 import verify
from isoloss.compiler.claims.claim import Claim, printed
from isoloss.compiler.claims.compute import drawn
from isoloss.compiler.claims.tables import optimum_rows


@pytest.fixture(scope="module")
def claims() -> tuple[Claim, ...]:
    return verify()


def one(claims: tuple[Claim, ...], words: str) -> Claim:
    [found] = [c for c in claims if words in c.claim]
    return found


@pytest.mark.parametrize(
    ("paper", "ours", "verdict"),
    [("0.48", 0.4849, "agrees"), ("0.48", 0.4851, "differs"), ("0.5", 0.45, "agrees"),
     ("71.59%", 0.71594, "agrees"),
     ("71.59%", 0.7160, "differs"), ("27", 27.0, "agrees"), ("-0.28", -0.2768, "agrees")],
)  # fmt: skip
def test_verdict_is_by_the_printed_digits(paper: str, ours: float, verdict: str) -> None:
    assert printed("part", "claim", "where", paper, ours).verdict == verdict


def test_table_2_is_reproduced(claims: tuple[Claim, ...]) -> None:
    table = [
        c
        for c in claims
        if c.where == "Table 2" and c.claim.startswith("Approach") and "share" not in c.claim
    ]
    held = [c for c in table if c.verdict == "agrees"]
    assert len(held) == 14
    assert {c.claim for c in table if c.verdict != "agrees"} == {
        "Approach 1, PFGM++: L* at 1e25 FLOPs",
        "Approach 3, PFGM++: E' as the loss of unlimited N and D",
    }


@pytest.mark.parametrize(
    ("words", "verdict", "ours"),
    [
        ("half the optimal size", "differs", "+14.5%"),
        ("share of invalid images", "differs", "27.6531%"),
        ("human performance would require", "differs", "88.63% at 1e30"),
        ("accuracy at 1e30", "finding", "82.86% at FID 1.65, 75.31% at FID 6.79"),
        ("PFGM++: L* at 1e25 from the constants as printed", "differs", "0.6463"),
        ("FID 0: L* at 1e25 from the constants as printed", "differs", "0.5691"),
        ("runs behind Approach 2's base fit", "differs", "28"),
        ("20% (70%)", "differs", "-54.2%"),
        ("7822 N D", "agrees", "7757 to 7866"),
        ("model-dataset combinations", "agrees", "232 + 1"),
        ("network, valid data", "agrees", "79.4888%"),
        ("is exactly its start", "finding", "L301"),
        ("N* at 1e21 FLOPs, FID 1.65, within", "finding", "142.3M to 281.8M"),
        ("B^beta", "agrees", "6.8541"),
    ],
)
def test_known_results(claims: tuple[Claim, ...], words: str, verdict: str, ours: str) -> None:
    found = one(claims, words)
    assert found.verdict == verdict
    assert ours in found.ours


def test_reasons_are_given_where_it_does_not_hold(claims: tuple[Claim, ...]) -> None:
    for claim in claims:
        assert claim.ours
        if claim.verdict in ("differs", "not reproducible"):
            assert claim.note, claim.claim
            assert claim.where


def test_golden_optima() -> None:
    # reference values of the published constants at their printed digits.
    rows = {(r.law, r.fid, r.flops): r for r in optimum_rows()}
    for key, params, images, loss in (
        (("approach2", 0.0, 1e20), 3.024e7, 4.228e8, 0.6874),
        (("approach2", 0.0, 1e25), 7.850e9, 1.629e11, 0.5345),
        (("approach2", 1.65, 1e18), 5.792e6, 2.207e7, 0.8687),
        (("approach2", 1.76, 1e25), 1.423e10, 8.985e10, 0.6097),
        (("approach3", 0.0, 1e20), 3.980e7, 3.212e8, 0.6991),
        (("approach3", 1.65, 1e20), 4.903e7, 2.608e8, 0.7369),
        (("approach3", 1.76, 1e25), 1.695e11, 7.543e9, 0.6336),
    ):
        row = rows[key]
        assert row.params == pytest.approx(params, rel=5e-4)
        assert row.images == pytest.approx(images, rel=5e-4)
        assert row.loss == pytest.approx(loss, abs=5.1e-5)


def test_images_drawn_as_the_code_counts_them() -> None:
    assert [round(drawn(d)) for d in (5, 10, 30, 100)] == [5_017_600, 10_035_200, 30_720_000, 102_400_000]


def test_it_is_quick() -> None:
    begin = time.process_time()
    verify()
    assert time.process_time() - begin < 10.0
