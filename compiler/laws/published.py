"""Laws that papers printed, at the full precision of their released code, as LawFits.

In: a name. Out: a LawFit with status PUBLISHED: no intervals (none were published), domain and provenance
stated. Rounded constants don't reproduce the paper's own Table 2 (law 3 rounded gives .646 for .63)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from isoloss.compiler.laws.arrays import FLOPS_PER_IMAGE_AND_PARAMETER
from isoloss.compiler.laws.fitting.fitted import LawFit, Note
from isoloss.compiler.laws.fitting.interval_terms import Domain
from isoloss.compiler.laws.fitting.options import Status
from isoloss.compiler.laws.forms.approach2 import from_base
from isoloss.compiler.laws.forms.registry import LAWS

_BARTOLDSON = "Bartoldson, Diffenderfer, Parasyris, Kailkhura 2024 (ICML; arXiv:2404.09349)"
#: Grid of the paper: WRN-28-4 to 82-16, nominal 5M to 100M images, FID 1.65 (DG) to 35.54 (EDM, 5 steps).
_DOMAIN = Domain(
    params=(5_849_050.0, 316_356_058.0),
    images=(5_017_600.0, 102_400_000.0),
    flops=(2.3e17, 2.53e20),
    fid=(1.65, 35.54),
    work=(2.3e17 / FLOPS_PER_IMAGE_AND_PARAMETER, 2.53e20 / FLOPS_PER_IMAGE_AND_PARAMETER),
)
_PFGMPP = replace(_DOMAIN, flops=(1.9e17, _DOMAIN.flops[1]), fid=(1.76, 1.76))

_APPROACH2_AT_BASE = {
    "A": 6.686980024164729,
    "alpha": 0.24434519315396275,
    "B": 7.551688897933183,
    "beta": 0.2281458937440602,
    "zeta": -0.2767735799358655,
    "E": 0.5603731625795364,
    "epsilon": 0.15552449537214338,
}
_APPROACH3 = {
    "A": 6.00080741,
    "alpha": 0.241841188,
    "B": 7000.0,
    "beta": 0.217406245,
    "Q": 0.00659350845,
    "kappa": 0.604209556,
    "E": 0.515022255,
    "epsilon": 0.0357334903,
}

#: name -> (law, parameters in the FID = 0 form, domain, provenance).
_TABLE: Mapping[str, tuple[str, Mapping[str, float], Domain, str]] = {
    "bartoldson2024.approach1": (
        "approach1",
        {"L0": 3.79, "l": -0.035, "N0": 10**-3.12, "a": 0.56, "D0": 10**-0.76, "b": 0.43},
        _PFGMPP,
        f"{_BARTOLDSON}, envelope of the PFGM++ runs, rounded as in the notebook (R2 .991, .846, .765)",
    ),
    "bartoldson2024.approach2": (
        "approach2",
        from_base(_APPROACH2_AT_BASE, 1.65),
        _DOMAIN,
        f"{_BARTOLDSON}, scaling-law notebook, unrounded; B and E converted from FID 1.65 to FID 0",
    ),
    "bartoldson2024.approach3": (
        "approach3",
        _APPROACH3,
        _DOMAIN,
        f"{_BARTOLDSON}, scaling-law notebook, unrounded",
    ),
}

_NOTES: Mapping[str, tuple[Note, ...]] = {
    "approach1": (
        Note("rounded_constants", "two or three digits were published: an extrapolation inherits that"),
    ),
    "approach2": (
        Note(
            "early_stop",
            "A and B lie near the solver's start (e^2): it stopped early, and E and a are uncertain",
            ("A", "B"),
        ),
    ),
    "approach3": (
        Note("stuck_at_start", "B = 7000 is exactly a starting value: the solver never moved it", ("B",)),
    ),
}
#: The FIDs of all of them are Inception's.
FEATURES = "inception"
PUBLISHED: tuple[str, ...] = tuple(_TABLE)


@cache
def published(name: str) -> LawFit:
    """The law of that name. Raises KeyError."""
    law_name, parameters, domain, provenance = _TABLE[name]
    law = LAWS[law_name]
    notes = (Note("no_intervals", "published without intervals: none are estimated"), *_NOTES[law_name])
    theta = law.from_paper(parameters)
    return LawFit(
        law=law,
        theta=theta,
        samples=np.empty((0, len(theta))),
        status=Status.PUBLISHED,
        domain=domain,
        notes=notes,
        provenance=provenance,
        features=FEATURES if law.uses_fid else None,
    )
