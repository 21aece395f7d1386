"""Diagnostic codes of a study's fits and answers, L501 to L504: what its laws can't be asked."""

from __future__ import annotations

from isoloss.dsl.codes.row import Code
from isoloss.dsl.codes.shell import GRID, planned

_FIT = "fit f { law = chinchilla }"
_TWO = (
    "recipe r { loss = trades(beta = 5) attack = pgd(eps = 0.15) batch = 64 lr = 0.1 evaluate = robust at every 50% }\n"
    "  recipe q { loss = trades(beta = 6) attack = pgd(eps = 0.15) batch = 64 lr = 0.1 evaluate = robust at every 50% }"
)
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
)
