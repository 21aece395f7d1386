"""What printing two digits costs: every constant anywhere within its rounding -> range of the answers.

Corners of the box of constants suffice: each answer is monotone in each constant over so small a box."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np

from isoloss.compiler.claims.claim import Claim, count, printed, stated
from isoloss.compiler.claims.laws import DG, PFGMPP, law, mid
from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.laws.forms import solve
from isoloss.compiler.laws.forms.registry import LAWS

PART = "Rounding"

#: As printed in Appendix H.2.1 and H.3.1.
PRINTED2 = {"A": "6.69", "B": "9.89", "E": "0.48", "alpha": "0.24", "beta": "0.23",
            "epsilon": "0.16", "zeta": "-0.28"}  # fmt: skip
PRINTED3 = {"A": "6.0", "B": "7000.0", "E": "0.52", "Q": "0.007", "alpha": "0.24", "beta": "0.22",
            "kappa": "0.6", "epsilon": "0.04"}  # fmt: skip
UNFILTERED2 = {"A": "7.6", "B": "9.70", "E": "0.49", "alpha": "0.25", "beta": "0.23",
               "epsilon": "0.14", "zeta": "-0.25"}  # fmt: skip


def claims() -> Iterator[Claim]:
    rounded3 = theta("approach3", PRINTED3)
    for fid, paper, name in ((PFGMPP, "0.63", "PFGM++"), (0.0, "0.56", "FID 0")):
        loss = float(np.exp(solve.optimum(LAWS["approach3"], rounded3, 1e25, fid, None)[2][0]))
        yield printed(
            PART, f"Approach 3, {name}: L* at 1e25 from the constants as printed", "Table 2, Appendix H.3.1",
            paper, loss, "Table 2 needs the unrounded constants, which only the code has",
        )  # fmt: skip
    yield from _ranges()
    yield _exclusion()


def theta(name: str, printed_values: Mapping[str, str]) -> Floats:
    """[1, p]"""
    return LAWS[name].from_paper({k: float(v) for k, v in printed_values.items()})[None, :]


def corners(name: str, printed_values: Mapping[str, str]) -> Floats:
    """[2^p, p]: each constant half a unit of its last printed digit up or down."""
    ends = []
    for value in printed_values.values():
        half = 0.5 * 10.0 ** -len(value.partition(".")[2])
        ends.append((float(value) - half, float(value) + half))
    return np.array(
        [LAWS[name].from_paper(dict(zip(printed_values, c, strict=True))) for c in product(*ends)]
    )


def _ranges() -> Iterator[Claim]:
    lnN = solve.optimum(LAWS["approach2"], corners("approach2", PRINTED2), 1e21, DG, None)[0]
    exact = mid(law(2).optimum(1e21, DG).params)
    low, high = (count(float(np.exp(v))) for v in (lnN.min(), lnN.max()))
    yield stated(
        PART, "Approach 2: N* at 1e21 FLOPs, FID 1.65, within the printed digits", "Appendix H.2.1", "",
        f"{low} to {high}", "finding", f"unrounded {count(exact)}: a factor of two lies in the rounding",
    )  # fmt: skip
    lnL = solve.optimum(LAWS["approach3"], corners("approach3", PRINTED3), 1e25, PFGMPP, None)[2]
    low, high = (f"{float(np.exp(v)):.3f}" for v in (np.nanmin(lnL), np.nanmax(lnL)))
    yield stated(
        PART, "Approach 3: L* at 1e25 FLOPs, FID 1.76, within the printed digits", "Appendix H.3.1", "",
        f"{low} to {high}", "finding", "",
    )  # fmt: skip


def _exclusion() -> Claim:
    """Is "not change much" true of the answers, not only of the constants? Both sets as printed."""
    ours = [solve.optimum(LAWS["approach2"], theta("approach2", p), 1e21, DG, None)
            for p in (PRINTED2, UNFILTERED2)]  # fmt: skip
    sizes = [float(np.exp(o[0][0])) for o in ours]
    losses = [float(np.exp(o[2][0])) for o in ours]
    shift = sizes[1] / sizes[0] - 1
    return stated(
        PART, "without the exclusion the fit does not change much", "Appendix H.2.1", "not much",
        f"N* at 1e21: {count(sizes[0])} -> {count(sizes[1])}; L*: {losses[0]:.3f} -> {losses[1]:.3f}",
        "agrees" if abs(shift) < 0.25 else "differs",
        f"{100 * shift:+.0f}% in N*, both from printed digits, whose own rounding allows a factor of two",
    )  # fmt: skip
