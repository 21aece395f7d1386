"""One printed claim and what we get: where it is printed, the paper's number, ours, and the verdict."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

#: agrees: equal at the printed digits, or to what "about" can mean (the note says so). differs: we get
#: another number from the same inputs. not reproducible: what it takes is not printed or not public.
#: finding: nothing is printed; the number is ours and bears on the paper's conclusions.
Verdict = Literal["agrees", "differs", "not reproducible", "finding"]


@dataclass(frozen=True, slots=True)
class Claim:
    part: str
    claim: str
    where: str  # section, equation, table or figure of the paper; "" for a finding
    paper: str  # as printed; "" if not printed
    ours: str
    verdict: Verdict
    note: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def printed(
    part: str, claim: str, where: str, paper: str, ours: float, note: str = "", unit: float = 1.0
) -> Claim:
    """Compare at the printed digits: `paper` as printed ("0.48", "71.59%"), `ours` in the same unit after
    division by `unit`. Agrees within half a unit of the last printed digit."""
    text = paper.rstrip("%")
    decimals = len(text.partition(".")[2])
    value = ours / unit * (100.0 if paper.endswith("%") else 1.0)
    # A hair above half a unit: 0.125 against a printed 0.13 or 0.12 is not decided by binary rounding.
    agrees = abs(value - float(text)) <= 0.5 * 10.0**-decimals * (1 + 1e-9)
    shown = f"{value:.{decimals + 2}f}" + ("%" if paper.endswith("%") else "")
    return Claim(part, claim, where, paper, shown, "agrees" if agrees else "differs", note)


def stated(
    part: str, claim: str, where: str, paper: str, ours: str, verdict: Verdict, note: str = ""
) -> Claim:
    """A claim in words, whose verdict the caller decides by a computed condition."""
    return Claim(part, claim, where, paper, ours, verdict, note)


def count(value: float) -> str:
    """Six significant digits and a magnitude a person reads: 77.3M, 1.63e+11."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size <= abs(value) < 1000 * size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def percent(ratio: float) -> str:
    """A signed percentage with one decimal: +14.6%."""
    return f"{100 * ratio:+.1f}%" if math.isfinite(ratio) else "not finite"
