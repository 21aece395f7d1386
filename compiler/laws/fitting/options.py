"""How a law is fitted: every default has its source."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What became of a fit. Only CONVERGED (and PUBLISHED) is free of reservations; the worst one wins."""

    CONVERGED = "CONVERGED"
    LACK_OF_FIT = "LACK_OF_FIT"  # runs lie far off the law, or it explains little of what they differ in
    START_DEPENDENT = "START_DEPENDENT"  # few of the starts reach the best optimum
    AT_BOUND = "AT_BOUND"  # a parameter lies at the edge of its range
    ILL_CONDITIONED = "ILL_CONDITIONED"  # the data hardly determine some combination of parameters
    NOT_IDENTIFIED = "NOT_IDENTIFIED"  # the design can't determine some parameter at all
    NOT_CONVERGED = "NOT_CONVERGED"
    TOO_FEW_POINTS = "TOO_FEW_POINTS"  # no fit
    PUBLISHED = "PUBLISHED"  # constants of a paper, not fitted here


@dataclass(frozen=True, slots=True)
class FitOptions:
    """`delta`: Huber threshold on log residuals; 1e-3 is Chinchilla's and Bartoldson's, 1e-8 is least
    absolute deviations in effect. `resamples`: bootstrap refits over runs (Epoch used 4000 on 240 points;
    1000 gives 95 % ends to about 5 % of the width). `seed` of the resampling. `points`: "best", "final",
    "curve" or "as given"; `floor`: least fraction of training. `x`: column a power law reads. `test_images`:
    size of the test set behind every loss, whose sampling error all runs share; None: not known, no such
    term. `rolling`: score the law on held-out largest-compute runs, which also sizes the misfit term.
    `joint`: fit quality terms of approach2 with the rest, not after it; where not, the first stage takes
    the runs named `base_runs` (None: the rows of `base_fid`, itself None: of the lowest fid) and the second
    those named `quality_runs` (None: the others). `features`: the space that the points' FIDs are distances
    in; None: not known, or the law has no use for them. `errors`: "independent", as the papers fit, or
    "correlated", where neighbouring runs share the law's misfit (correlated.py; then `delta` only finds the
    start)."""

    delta: float = 1e-3
    resamples: int = 1000
    seed: int = 0
    points: str = "as given"
    floor: float = 0.5
    x: str = "images"
    test_images: int | None = None
    rolling: bool = True
    joint: bool = True
    base_fid: float | None = None
    base_runs: frozenset[str] | None = None
    quality_runs: frozenset[str] | None = None
    features: str | None = None
    max_starts: int = 24
    errors: str = "independent"
