"""Diagnostic codes of fits and questions to laws, L201 to L218."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes.law_tables import GOOD, GOOD_ROWS, table
from isoloss.dsl.diagnostics.codes.row import Code

_FIT = "$ isoloss fit runs.csv --law "
_LAW = "$ isoloss optimum bartoldson2024.approach2 --compute "
ASK = _LAW + "1e21"


def with_columns(names: str, *cells: str, command: str) -> str:
    """The good table with more columns, the same cells on every row."""
    rows = [f"{GOOD_ROWS[0]},{names}", *(f"{row},{','.join(cells)}" for row in GOOD_ROWS[1:])]
    return table(*rows, command=command)


def accuracies(command: str, first: str = "") -> str:
    """A table with accuracies in place of losses, from the published line."""
    rows = [row.split(",") for row in GOOD_ROWS[1:]]
    cells = [f"{n},{d},{1.2575 - 0.7496 * float(loss):.4f}" for n, d, loss in rows]
    if first:
        cells[0] = cells[0].rsplit(",", 1)[0] + "," + first
    return table("params,images,accuracy", *cells, command=command)


def mixed(command: str) -> str:
    """The good table at FID 1 and, 5 % worse, at FID 5."""
    rows = [row.split(",") for row in GOOD_ROWS[1:]]
    cells = [
        f"{n},{d},{fid},{float(loss) * worse:.4f}"
        for fid, worse in ((1, 1.0), (5, 1.05))
        for n, d, loss in rows
    ]
    return table("params,images,fid,loss", *cells, command=command)


def spaces(command: str) -> str:
    """The good table twice, at two qualities measured in pixels; then one run of a paper's."""
    rows = [row.split(",") for row in GOOD_ROWS[1:]]
    cells = [
        f"{n},{d},{fid},pixels,ours,{float(loss) * worse:.4f}"
        for fid, worse in ((0.1, 1.0), (0.5, 1.05))
        for n, d, loss in rows
    ]
    n, d, loss = rows[0]
    cells.append(f"{n},{d},1.65,inception,paper,{loss}")
    return table("params,images,fid,features,generator,loss", *cells, command=command)


def failed_fit() -> str:
    """Shell lines that ask a file which is JSON but no fit."""
    return "$ echo '{}' > fit.json\n$ isoloss optimum fit.json --compute 1e21"


CODES: tuple[Code, ...] = (
    Code(
        "L201",
        "unknown law",
        "Laws are the rows of one registry: chinchilla, approach1, approach2, approach3, powerlaw, and"
        " those of"
        " installed packages.",
        table(*GOOD_ROWS, command=_FIT + "chinchila"),
        GOOD,
    ),
    Code(
        "L202",
        "too few points for the law",
        "A law with p free parameters needs more than p runs that differ in params and images; with"
        " fewer, many"
        " laws pass through the points and none is known.",
        table(*GOOD_ROWS[:3]),
        GOOD,
    ),
    Code(
        "L203",
        "params or images don't vary",
        "With one network size, the effect of size can't be told from a constant, and any exponent fits.",
        table("params,images,loss", "6e6,5e6,0.89", "6e6,10e6,0.85", "6e6,30e6,0.80", "6e6,70e6,0.77"),
        GOOD,
    ),
    Code(
        "L204",
        "every loss is the same",
        "There is nothing to fit. Usually the wrong column was taken for the loss.",
        table("params,images,loss", "6e6,5e6,1", "9e6,10e6,1", "20e6,30e6,1", "80e6,70e6,1"),
        GOOD,
    ),
    Code(
        "L205",
        "the law needs `fid` and no row has it",
        "Approaches 2 and 3 describe how loss depends on the quality of generated images. Real data has"
        " FID 0.",
        table(*GOOD_ROWS, command=_FIT + "approach2"),
        GOOD,
    ),
    Code(
        "L206",
        "the law needs `flops` and a row lacks it",
        "Approach 1 follows training curves over FLOPs, several evaluations per run.",
        table(*GOOD_ROWS, command=_FIT + "approach1"),
        GOOD,
    ),
    Code(
        "L207",
        "robust error is fitted in place of the loss",
        "The table has accuracies and no losses. 1 - accuracy then stands for the loss; that it follows"
        " the same"
        " forms is assumed. A warning.",
        accuracies(_FIT + "chinchilla"),
        GOOD,
    ),
    Code(
        "L208",
        "a filter keeps nothing, or can't be decided",
        "`--where` uses the language's conditions over params, images (planned), fid, flops (planned) and"
        " generator. It must be true or false for every run: `fid < 10` can't be decided where fid is"
        " unknown.",
        table(*GOOD_ROWS, command=_FIT + "chinchilla --where 'fid < 10'"),
        table(*GOOD_ROWS, command=_FIT + "chinchilla --where 'not (params < 10M and images > 50M)'"),
    ),
    Code(
        "L209",
        "how budgets become params and images is assumed",
        "N* and D* at a budget need FLOP = constant x params x images. The constant is the table's own"
        " where it"
        " has `flops`; else the paper's 7822, which holds for ten-step TRADES of wide ResNets on 32x32 images"
        " only. A warning.",
        GOOD,
        with_columns("x", "1", command=_FIT + "chinchilla --columns 'flops=7822*params*images'"),
    ),
    Code(
        "L210",
        "no such law, or a file that is no fit",
        "A law is a published one (bartoldson2024.approach2, ...) or the JSON that `isoloss fit -o` writes.",
        failed_fit(),
        ASK,
    ),
    Code(
        "L211",
        "a value on the command line is out of range or in the wrong unit",
        "Compute is a positive amount: `1e21`, `1e21 FLOP`, `'1 ZFLOP'`. A FID is 0 or above.",
        _LAW + "'3 h'",
        _LAW + "'1 ZFLOP'",
    ),
    Code(
        "L212",
        "the law has no optimum there",
        "Some laws predict no best size: a power law in one quantity has none, and others leave the range of"
        " networks that exist (10 to 1e16 parameters) at extreme budgets.",
        table(*GOOD_ROWS, command=_FIT + "powerlaw -o fit.json\n$ isoloss optimum fit.json --compute 1e21"),
        ASK,
    ),
    Code(
        "L213",
        "the file holds a fit that failed",
        "Its status says why. It predicts nothing.",
        "",
        ASK,
    ),
    Code(
        "L214",
        "an output can't be written",
        "The folder does not exist or may not be written to, or the output would overwrite its own input.",
        table(*GOOD_ROWS, command="$ isoloss import runs.csv -o nowhere/out.csv"),
        table(*GOOD_ROWS, command="$ isoloss import runs.csv -o out.csv"),
    ),
    Code(
        "L215",
        "the laws of a portfolio count FLOPs differently",
        "One law's table has 6 FLOP per parameter and image, another's 7822: the same budget is another run.",
        with_columns("x", "1", command=_FIT + "chinchilla --columns 'flops=6*params*images' -o fit.json\n"
                     "$ isoloss forecast fit.json bartoldson2024.approach2 --compute 1e21"),
        "$ isoloss forecast bartoldson2024.approach2 bartoldson2024.approach3 --compute 1e21",
    ),
    Code(
        "L216",
        "data of several qualities under a law that knows none",
        "chinchilla, approach1 and powerlaw describe runs on one data set. Fitted to runs on generators of"
        " different FID, their parameters describe none of them. A warning.",
        mixed(_FIT + "chinchilla"),
        mixed(_FIT + "chinchilla --where 'fid == 1'"),
    ),
    Code(
        "L217",
        "fids of different feature spaces in one table",
        "The column `features` says what space a row's `fid` is a distance in: a FID of 2 may be poor in one and"
        " excellent in another. A law of quality, or a filter that reads `fid`, needs one space. Rows of fid 0 are real"
        " data in every space; rows without an entry are taken as they are.",
        spaces(_FIT + "approach2"),
        spaces(_FIT + "approach2 --where 'generator != paper'"),
    ),
    Code(
        "L218",
        "a quality in another feature space than the law's",
        "A law's constants hold for FIDs of the space it was fitted in. `--fid` means Inception's, the papers', unless"
        " it names another: `--fid '0.2 @ pixels'`. Laws of different spaces can't be asked together.",
        _LAW + "1e21 --fid '0.2 @ pixels'",
        _LAW + "1e21 --fid 1.65",
    ),
)  # fmt: skip
