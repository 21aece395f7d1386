"""The published fits through our lint: what the released constants and procedure show about themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator

from isoloss.compiler.claims.claim import Claim, stated
from isoloss.compiler.claims.laws import law
from isoloss.compiler.claims.rounding import PRINTED2, PRINTED3
from isoloss.compiler.laws.forms.approach2 import to_base
from isoloss.compiler.laws.lint import lint_rounded, lint_stuck
from isoloss.dsl.diagnostics.diagnostic import Diagnostic

PART = "Lint of the published fits"

#: Appendix H.3.1: starting values, natural units.
STARTS3 = {"A": (5, 6, 7), "B": (6500, 7000, 7500), "E": (0.6, 0.5), "Q": (0.01, 0.5),
           "alpha": (0.1, 0.2, 0.3), "beta": (0.1, 0.2, 0.3),
           "kappa": (0.8, 0.6), "epsilon": (0.01,)}  # fmt: skip
#: Appendix H.2.1: starts of log A and log B.
LOG_STARTS2 = (0, 1, 2, 5, 10)
#: A logarithm that stayed this close to a start: steps of the search are of order one.
NEAR = 0.15


def claims() -> Iterator[Claim]:
    for number, diagnostics in (
        (3, lint_stuck(law(3).parameters, STARTS3)),
        (2, lint_rounded({k: float(v) for k, v in PRINTED2.items()})),
        (3, lint_rounded({k: float(v) for k, v in PRINTED3.items()})),
    ):
        yield from (_found(number, d) for d in diagnostics)
    yield _near_starts()
    yield stated(
        PART, "the loss of each run is its lowest over checkpoints", "Appendix H.2.2, code", "", "L307",
        "finding", "chosen on the test set: biased low, by how much takes the released table",
    )  # fmt: skip
    yield stated(
        PART, "uncertainty of the fitted constants", "Appendix H", "", "none printed", "not reproducible",
        "no interval, no residuals per point; the runs' table is not part of the paper",
    )  # fmt: skip


def _found(number: int, diagnostic: Diagnostic) -> Claim:
    return stated(
        PART, f"Approach {number}: {diagnostic.headline}", f"Appendix H.{number}", "", diagnostic.code,
        "finding", "; ".join(diagnostic.help),
    )  # fmt: skip


def _near_starts() -> Claim:
    """The code's base form is what its optimiser moved."""
    base = to_base(law(2).parameters)
    logs = {name: math.log(base[name]) for name in ("A", "B")}
    near = {n: min(LOG_STARTS2, key=lambda s: abs(s - v)) for n, v in logs.items()}
    stayed = all(abs(near[n] - v) < NEAR for n, v in logs.items())
    shown = ", ".join(f"log {n} = {v:.3f} (start {near[n]})" for n, v in logs.items())
    return stated(
        PART, "Approach 2: where log A and log B ended", "Appendix H.2.1", "", shown, "finding",
        ("both lie by the start 2, the mark of an optimiser that stopped early: " if stayed else "")
        + "an inference, since the runs' table is not public here",
    )  # fmt: skip
