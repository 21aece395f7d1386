"""Diagnostic codes of the lint of fits, L301 to L315. All are warnings: the number stands, with its"
" reservation."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes.law_tables import GOOD, GOOD_ROWS, table
from isoloss.dsl.diagnostics.codes.row import Code

_PUBLISHED = "$ isoloss optimum bartoldson2024.approach{} --compute 1e21 --fid 1.65"
_FIT = "$ isoloss fit runs.csv --law chinchilla"

_CURVES = table(
    "run,params,images,loss",
    *(
        f"r{i},{n},{share * float(d):g},{float(loss) * factor:.5f}"
        for i, (n, d, loss) in enumerate(row.split(",") for row in GOOD_ROWS[1:])
        for share, factor in ((0.5, 1.05), (0.9, 1.0), (1.0, 1.01))
    ),
)

_SIZES = (("6e6", 1.739), ("20e6", 1.415), ("80e6", 1.101), ("300e6", 0.904))
_WILD = ((0.91, 0.76, 0.73), (0.67, 0.92, 0.82), (0.81, 0.80, 0.72), (0.77, 0.80, 0.66))
#: Images change nothing after the first step: no power of D is steep enough.
_NO_SLOPE = table(
    "params,images,loss",
    *(
        f"{n},{d},{loss}"
        for n, loss in _SIZES
        for d, loss in (("5e6", loss + 0.3), ("30e6", loss), ("100e6", loss))
    ),
)
#: Two sizes: what is the slope in N, and what the floor?
_TWO_SIZES = table(
    "params,images,loss",
    *(row for row in GOOD_ROWS[1:] if row.startswith(("6e6", "300e6"))),
    "6e6,100e6,0.760",
    "6e6,10e6,0.853",
    "300e6,5e6,0.816",
)
_TINY = ("1e6,5e6,1.50", "1e6,30e6,1.45", "1e6,100e6,1.44")
#: Losses that scatter by a tenth, under least absolute deviations: kinks, and a flat direction.
_SCATTER = table(
    "params,images,loss",
    *(
        f"{n},{d},{loss}"
        for n, row in zip(("6e6", "20e6", "80e6", "300e6"), _WILD, strict=True)
        for d, loss in zip(("5e6", "30e6", "100e6"), row, strict=True)
    ),
    command=_FIT + " --delta 1e-8",
)
_THREE_CURVES = table(
    "run,params,images,flops,fraction,loss",
    *(
        f"r{i},{n}e6,{d * share:g}e6,{7822e12 * n * d * share:g},{share},{6 / (n * 1e6) ** 0.25 + 8 / (d * share * 1e6) ** 0.22 + 0.5:.4f}"
        for i, (n, d) in enumerate(((6, 5), (20, 30), (80, 100)))
        for share in (0.5, 0.75, 1.0)
    ),
    command="$ isoloss fit runs.csv --law approach1",
)
_WIDE_ROWS = tuple(
    f"{n}e6,{d}e6,{6 / (n * 1e6) ** 0.25 + 8 / (d * 1e6) ** 0.22 + 0.5:.4f}"
    for n in (6, 20, 80, 300)
    for d in (5, 10, 30, 100)
)
_WIDE = table("params,images,loss", *_WIDE_ROWS)
#: The last run diverged, and went on.
_SPIKE = table(
    "params,images,loss", *_WIDE_ROWS[:-1], "300e6,100e6,0.950", command=_FIT + " --errors correlated"
)

CODES: tuple[Code, ...] = (
    Code(
        "L301",
        "a parameter never left its start",
        "A solver leaves a starting value by far more than its tolerance. A fitted value that equals a"
        " start to"
        " six digits was never fitted: it is a fixed prior that no interval shows. Published example: B ="
        " 7000.00000 of Approach 3, one of its starts 6500, 7000, 7500.",
        _PUBLISHED.format(3),
        GOOD,
    ),
    Code(
        "L302",
        "a parameter lies at the edge of its range",
        "The data would push it further: they don't determine it. Read predictions inside the data only.",
        _NO_SLOPE,
        GOOD,
    ),
    Code(
        "L303",
        "the optimum depends on the start",
        "Few starts reach the best objective, or the solver stopped near its start. A lower optimum may"
        " exist,"
        " and parameters may be those of the start. Published example: Approach 2's A and B near e^2,"
        " the start.",
        _PUBLISHED.format(2),
        GOOD,
    ),
    Code(
        "L304",
        "the data hardly determine a combination of parameters",
        "The condition number of the scaled Jacobian is large: parameters trade against each other, so single"
        " values and their products are uncertain though predictions inside the data are not.",
        _TWO_SIZES,
        GOOD,
    ),
    Code(
        "L305",
        "constants are rounded",
        "Exponents act on numbers like 1e8: three digits leave N* uncertain by a factor of two. Chinchilla's"
        " printed law was biased by it. Keep full precision, as `isoloss fit --json` does.",
        _PUBLISHED.format(1),
        _PUBLISHED.format(2),
    ),
    Code(
        "L306",
        "what the filter leaves out matters",
        "The fit to all rows has a parameter outside this fit's 95 % interval. The exclusion is part of the"
        " result and belongs beside it.",
        table(*GOOD_ROWS, *_TINY, command=_FIT + " --where 'params > 2M'"),
        table(*GOOD_ROWS, command=_FIT + " --where 'params < 1B'"),
    ),
    Code(
        "L307",
        "checkpoints are chosen on the test set",
        "The lowest of several test losses per run is lower than what the run would show on new images. The"
        " published protocol does this; `--points final` doesn't.",
        _CURVES,
        _CURVES + " --points final",
    ),
    Code(
        "L308",
        "far beyond the largest run",
        "The question's compute is over ten times that of the largest run behind the law. Its interval"
        " rests on"
        " the form of the law, which nothing measured there.",
        "$ isoloss optimum bartoldson2024.approach2 --compute 1e25",
        "$ isoloss optimum bartoldson2024.approach2 --compute 1e21",
    ),
    Code(
        "L309",
        "the design can't determine a parameter",
        "The runs don't vary what it depends on: quality terms need several FIDs. It is fixed, and what would"
        " need it is refused.",
        table(
            "params,images,loss,fid",
            *(row + ",1.65" for row in GOOD_ROWS[1:]),
            command="$ isoloss fit runs.csv --law approach2",
        ),
        GOOD,
    ),
    Code(
        "L310",
        "the solver stopped early",
        "It ran out of steps before its tolerance. Treat the numbers as provisional.",
        _SCATTER,
        GOOD,
    ),
    Code(
        "L311",
        "rows with unknown fid were left out",
        "The law needs a FID on every row; those without one were left out of the fit.",
        table(
            "params,images,loss,fid",
            *(row + f",{fid}" for row, fid in zip(GOOD_ROWS[1:], "1511511511", strict=True)),
            "150e6,70e6,0.71,",
            command="$ isoloss fit runs.csv --law approach2",
        ),
        GOOD,
    ),
    Code(
        "L312",
        "a reservation of the fit",
        "What this law's form says about the fit; the message is the whole story.",
        _THREE_CURVES,
        GOOD,
    ),
    Code(
        "L313",
        "no interval is known",
        "The law was published without uncertainty, so its predictions are points.",
        _PUBLISHED.format(2),
        GOOD,
    ),
    Code(
        "L315",
        "a run far off the law",
        "With `--errors correlated` a run whose own error, beyond what its neighbours share, exceeds three standard "
        "deviations counts less, as under Huber's loss, and is named. With independent errors `--delta` bounds every "
        "run's pull, and a run is named that lies more than eight robust standard deviations and a fifth off the law: "
        "its training diverged or collapsed, it is of another experiment, or a column is wrong. The fit's status is "
        "then LACK_OF_FIT.",
        _SPIKE,
        GOOD,
    ),
)
