"""The human study's arithmetic (Section 3, Appendix I, Table 4): counts -> printed percentages."""

from __future__ import annotations

from collections.abc import Iterator

from isoloss.compiler.claims.claim import Claim, Verdict, printed, stated

PART = "Human study"

# Counts as printed in Section 3 and Appendix I.
TEST, RIGHT, WRONG, VALID, INVALID, GPT4_RIGHT = 10_000, 7_371, 2_629, 1_902, 727, 1_160


def claims() -> Iterator[Claim]:
    """Every percentage that follows from printed counts."""
    assert RIGHT + WRONG == TEST
    assert VALID + INVALID == WRONG
    kept = TEST - INVALID
    yield printed(PART, "network, all data", "Table 4", "73.71%", RIGHT / TEST)
    yield printed(PART, "network, valid data", "Table 4", "79.49%", RIGHT / kept, f"{RIGHT}/{kept}")
    yield printed(
        PART, "share of invalid images", "Figure 19, caption", "27.87%", INVALID / WRONG,
        f"{INVALID}/{WRONG}; the printed share would be {round(0.2787 * WRONG)} images",
    )  # fmt: skip
    yield printed(PART, "GPT-4 on attacked images", "Section 3.1", "44.12%", GPT4_RIGHT / WRONG)
    yield printed(PART, "GPT-4 over the test set", "Section 3.1", "85.31%", (RIGHT + GPT4_RIGHT) / TEST)
    yield _average("average human, all data", "90.46%", TEST, WRONG)
    yield _average("average human, valid data", "96.46%", kept, VALID)
    yield stated(
        PART, "benchmark attacks make 10% of the test images invalid", "Appendix I.5", "10%",
        f"{100 * INVALID / TEST:.2f}%", "differs",
        f"{INVALID} of {TEST:,}; 10 % is the human error, which includes valid images answered wrongly",
    )  # fmt: skip
    half = 1.96 * (0.9046 * (1 - 0.9046) / TEST) ** 0.5
    yield stated(
        PART, "test-set sampling error of the human 90.46 %", "", "", f"+-{100 * half:.2f} points", "finding",
        "95 %, binomial, 10,000 images; three raters' own spread comes on top",
    )  # fmt: skip


def _average(claim: str, paper: str, images: int, asked: int) -> Claim:
    """The raters' average count isn't printed: what integer does the percentage imply?"""
    right = round(float(paper.rstrip("%")) / 100 * images) - RIGHT
    back = f"{100 * (RIGHT + right) / images:.2f}%"
    verdict: Verdict = "not reproducible" if back == paper else "differs"
    return Claim(
        PART, claim, "Table 4", paper, back, verdict,
        f"the average count isn't printed; {paper} implies {right} of {asked} ({100 * right / asked:.1f}%)",
    )  # fmt: skip
