"""Diagnostic codes of run tables, L101 to L120: what is wrong with the numbers a law is fitted to."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes.row import Code

_FIT = "$ isoloss fit runs.csv --law chinchilla"

#: Ten runs that follow 6/N^.25 + 8/D^.22 + .5: a table that every law of N and D can be fitted to.
GOOD_ROWS = (
    "params,images,loss",
    "6e6,5e6,0.890",
    "6e6,30e6,0.802",
    "20e6,5e6,0.858",
    "20e6,30e6,0.771",
    "20e6,100e6,0.729",
    "80e6,5e6,0.832",
    "80e6,30e6,0.745",
    "80e6,100e6,0.702",
    "300e6,30e6,0.727",
    "300e6,100e6,0.685",
)


def table(*rows: str, command: str = _FIT) -> str:
    """Shell lines that write `runs.csv` and run `command` on it."""
    return "$ printf '" + "\\n".join(rows).replace("%", "%%") + "\\n' > runs.csv\n" + command


GOOD = table(*GOOD_ROWS)


def with_row(row: str, command: str = _FIT) -> str:
    """The good table and one more row."""
    return table(*GOOD_ROWS, row, command=command)


def renamed(header: str, command: str = _FIT) -> str:
    """The good table under another header."""
    return table(header, *GOOD_ROWS[1:], command=command)


CODES: tuple[Code, ...] = (
    Code(
        "L101",
        "a table or law file can't be opened",
        "The file does not exist, is a folder, or may not be read.",
        "$ isoloss fit nowhere.csv --law chinchilla",
        GOOD,
    ),
    Code(
        "L102",
        "a table has no rows",
        "A table has a header line and one row per observation. Rows at fraction 0, evaluated before"
        " training,"
        " are left out; a table of only those is empty too.",
        table("params,images,loss"),
        GOOD,
    ),
    Code(
        "L103",
        "a table is too large to be one of runs",
        "Tables over 64 MiB, about 900,000 rows, are refused before they are read. A law is"
        " fitted to one"
        " point per run, or to the evaluations of each run; logs of every training step don't belong here.",
        "$ truncate -s 300M runs.csv\n" + _FIT,
        GOOD,
    ),
    Code(
        "L104",
        "a table is not UTF-8 text, or a damaged Parquet file",
        "CSV is read as UTF-8, with or without a byte-order mark. A table that a spreadsheet saved in another"
        " encoding is saved again as UTF-8 CSV.",
        "$ printf 'params,images,l\\351ss\\n1,2,3\\n' > runs.csv\n" + _FIT,
        GOOD,
    ),
    Code(
        "L105",
        "a line is not valid CSV",
        "Usually a quote that is opened and never closed.",
        table("params,images,loss", '"6e6,5e6,0.9'),
        GOOD,
    ),
    Code(
        "L106",
        "a header names a column twice",
        "Which of the two is meant can't be known, so neither is used.",
        table("params,images,loss,loss", "6e6,5e6,0.9,0.8"),
        GOOD,
    ),
    Code(
        "L107",
        "a table has no header",
        "The first line holds the names of the columns. Columns are found by name, never by position.",
        table("6e6,5e6,0.890", "6e6,30e6,0.802"),
        GOOD,
    ),
    Code(
        "L108",
        "a row has more or fewer cells than the header",
        "A missing comma would shift every later cell under a wrong name.",
        with_row("6e6,5e6"),
        GOOD,
    ),
    Code(
        "L109",
        "Parquet needs the package pyarrow",
        "pyarrow comes with mlflow. Without it, tables are CSV.",
        "",
        GOOD,
    ),
    Code(
        "L110",
        "`--columns` can't be understood",
        "It is a list `quantity=formula`, separated by commas. A formula is a column, or columns and numbers"
        " joined by * and /: `params=N*1e6,images=Training FLOP/6/Model Size,accuracy=acc/100`.",
        GOOD + " --columns parms=N",
        renamed("N,D,L", _FIT + " --columns params=N,images=D,loss=L"),
    ),
    Code(
        "L111",
        "`--columns` names a column that the table doesn't have",
        "The message lists the columns there are.",
        GOOD + " --columns loss=tset_loss",
        renamed("params,images,test_loss", _FIT + " --columns loss=test_loss"),
    ),
    Code(
        "L112",
        "a required column is missing",
        "A law needs `params`, `images` and `loss` (or `accuracy`). Common names (N, D, L, C, FID, ...)"
        " and two"
        " published tables are recognised; other names are stated with `--columns`.",
        renamed("size,images,loss"),
        renamed("size,images,loss", _FIT + " --columns params=size"),
    ),
    Code(
        "L113",
        "a cell is not a number",
        "Cells hold plain numbers with a decimal point, without thousands separators, units or percent"
        " signs.",
        with_row("6e6,5M,0.89"),
        with_row("6e6,10e6,0.852"),
    ),
    Code(
        "L114",
        "a required cell is empty or NaN",
        "A run that diverged has no loss and is no point of a law: leave its row out. `fid`, `flops` and"
        " `accuracy` may be empty where they are unknown.",
        with_row("6e6,10e6,nan"),
        with_row("6e6,10e6,0.852"),
    ),
    Code(
        "L115",
        "a value is one that no run has: zero, negative, infinite or absurd",
        "Laws are fitted to logarithms: params, images, flops and loss are positive. A FID is 0 (real"
        " data) or"
        " positive.",
        with_row("6e6,10e6,0"),
        with_row("6e6,10e6,0.852"),
    ),
    Code(
        "L116",
        "a column looks like millions",
        "Every value of `params` or `images` is below 2,000, so the column is probably in millions, and a law"
        " fitted to it would be wrong by powers of a million without any sign of it. The factor is"
        " stated once:"
        " `--columns 'params=params*1e6'`. If the networks really are so small, `--columns"
        " params=params` says so.",
        table("params,images,loss", "5.8,5e6,0.89", "8.9,5e6,0.87", "19.8,5e6,0.85"),
        table(
            "N,images,loss",
            *(f"{float(row.split(',')[0]) / 1e6:g},{row.split(',', 1)[1]}" for row in GOOD_ROWS[1:]),
            command=_FIT + " --columns 'params=N*1e6'",
        ),
    ),
    Code(
        "L117",
        "an accuracy or fraction is above 1",
        "Both are in [0, 1]. Percentages are stated: `--columns accuracy=acc/100`.",
        table("params,images,loss,accuracy", "6e6,5e6,0.89,59.1"),
        table(
            *(row + (",acc" if i == 0 else f",{60 + i}") for i, row in enumerate(GOOD_ROWS)),
            command=_FIT + " --columns accuracy=acc/100",
        ),
    ),
    Code(
        "L118",
        "one checkpoint of one run has two values",
        "Two rows of the same run at the same number of images differ. Replicates with other seeds are other"
        " runs and need their own `run` name.",
        table("run,params,images,loss", "a,6e6,5e6,0.89", "a,6e6,5e6,0.91", "a,6e6,9e6,0.86"),
        GOOD,
    ),
    Code(
        "L119",
        "rows are repeated",
        "Rows equal in run, params, images, fid and value are counted once: twice would weigh a point"
        " twice and"
        " narrow the intervals. A warning.",
        with_row("6e6,5e6,0.890"),
        GOOD,
    ),
    Code(
        "L120",
        "flops, params and images don't fit together",
        "Training takes between 0.5 and 10 million FLOP per parameter and image (6 for language models,"
        " 7822 for"
        " ten-step adversarial training of wide ResNets). Outside that, a column is in other units.",
        table("params,images,flops,loss", "6e6,5e6,0.23,0.89"),
        table(
            "params,images,flops,loss",
            *(
                f"{p},{d},{7822 * float(p) * float(d):.4g},{loss}"
                for p, d, loss in (row.split(",") for row in GOOD_ROWS[1:])
            ),
        ),
    ),
)
