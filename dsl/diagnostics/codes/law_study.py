"""Diagnostic codes of a study's fits and answers, L501 to L507: what its laws can't be asked."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes.row import Code
from isoloss.dsl.diagnostics.codes.shell import GRID, planned

_FIT = "fit f { law = chinchilla }"
_TWO = (
    "recipe r { loss = trades(beta = 5) attack = pgd(eps = 0.15) batch = 64 lr = 0.1 evaluate = robust at every 50% }\n"
    "  recipe q { loss = trades(beta = 6) attack = pgd(eps = 0.15) batch = 64 lr = 0.1 evaluate = robust at every 50% }"
)
_MEASURED = "generator coarse { sampler = edm(steps = 5) } generator fine { sampler = edm(steps = 9) }"
_MIXED = _MEASURED + "\n  generator paper { sampler = edm(steps = 7) fid = 1.65 }"
_THREE = "grid runs { model in [cnn(2), cnn(4)] generator in [coarse, fine, paper] images in [4k, 8k] }"
_OF_TWO = _THREE.replace(", paper", "")
_LAW2 = "fit f { law = approach2 }"
_BOTH = "grid runs { model in [cnn(2), cnn(4)] generator = g images in [4k, 8k] recipe in [r, q] }"

CODES: tuple[Code, ...] = (
    Code(
        "L501",
        "a fit over losses of different types",
        "A law is about one measure. Losses with different TRADES weights, or under different attacks, are different "
        "quantities however alike their numbers look.",
        planned("fit f { law = chinchilla to = runs }", recipe=_TWO, grid=_BOTH),
        planned("fit f { law = chinchilla to = (runs where recipe == r) }", recipe=_TWO, grid=_BOTH),
    ),
    Code(
        "L502",
        "a fit over runs that nobody evaluates",
        "The study declares no `evaluate`, so its runs have no test loss that a law could be fitted to.",
        planned(_FIT, test=""),
        planned(_FIT),
    ),
    Code(
        "L503",
        "a fit without runs",
        "No chosen run passes the fit's `where`: the filter keeps none, or the budget bought none of them.",
        planned("fit f { law = chinchilla to = (runs where images > 1M) }"),
        planned("fit f { law = chinchilla to = (runs where images > 1k) }", grid=GRID),
    ),
    Code(
        "L504",
        "an answer wider than wanted",
        "All runs are finished, and the forecast's 95 % interval is wider than its `within`. The law extrapolates too "
        "far for what these runs can tell: run nearer to the forecast's compute, or replicate with seeds.",
        "",
        planned(_FIT, "forecast c { law = f fid = 0.1 compute = 1 TFLOP within = 50% }"),
    ),
    Code(
        "L505",
        "runs of a table that the study doesn't have",
        "A row of `--runs` belongs to the cell with its parameters (within 1 %), its planned images (within 3 %) and its "
        "fid. Other rows teach this study nothing.",
        "",
        planned(_FIT),
    ),
    Code(
        "L506",
        "a fit over qualities of different feature spaces",
        "A FID is a distance in one space of features: pixels, a CIFAR-10 network's, Inception's. Its numbers, and the "
        "constants of laws fitted to them, mean nothing in another space. A stated `fid` is Inception's unless "
        "`features` says otherwise; a measured one is of the generator's `features`. 0 is real data in every space.",
        planned(_LAW2, data=_MIXED, grid=_THREE),
        planned("fit f { law = approach2 to = (runs where generator != paper) }", data=_MIXED, grid=_THREE),
    ),
    Code(
        "L507",
        "a question in another feature space than its law's",
        "The law is fitted to FIDs of one space, the question states a quality of another, or names a generator that "
        "is measured in another.",
        planned(_LAW2, "forecast c { law = f fid = 0.5 compute = 1 TFLOP }", data=_MEASURED, grid=_OF_TWO),
        planned(
            _LAW2,
            "forecast c { law = f fid = 0.5 features = pixels compute = 1 TFLOP }",
            data=_MEASURED,
            grid=_OF_TWO,
        ),
    ),
)
