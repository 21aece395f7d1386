"""Diagnostic codes of the stage: units and types."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes.row import Code

_RECIPE = "recipe r {{ loss = trades() attack = pgd(eps = 0.15) batch = {batch} lr = 0.1 }}"

CODES: tuple[Code, ...] = (
    Code(
        "U101",
        "another kind of value is needed",
        "A setting takes a number, a word, a list, a call, a condition … The message says which, and what was found.",
        "study tiny { dataset digits budget { devices = 2 } }",
        "study tiny { dataset digits budget { devices = 2 of cpu } }",
    ),
    Code(
        "U102",
        "a wrong unit",
        "Units are types. A perturbation is a fraction of the pixel range, a budget is FLOP, a walltime is a time. "
        "`k`, `M` and `B` only multiply. The message shows what is asked for and what was found.",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 8 h) } }",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 8/255) } }",
    ),
    Code(
        "U103",
        "two units that don't combine",
        "Sums and comparisons need the same unit on both sides; products and quotients need a plain number on one. "
        "Generators, networks and recipes can be compared for equality only, each with its own kind.",
        "study tiny { dataset digits budget { walltime = 12 h + 1 TFLOP } }",
        "study tiny { dataset digits budget { walltime = 12 h + 30 min } }",
    ),
    Code(
        "U104",
        "a condition is needed",
        "`where`, `if`, `and`, `or` and `not` work on conditions: comparisons of a cell's quantities.",
        f"study tiny {{ dataset digits {_RECIPE.format(batch='64 if images else 128')} }}",
        f"study tiny {{ dataset digits {_RECIPE.format(batch='64 if images <= 10k else 128')} }}",
    ),
    Code(
        "U105",
        "a quantity that isn't known here",
        "Quantities such as `images` differ from cell to cell, so only `where`, `batch` and `lr` can use them; and "
        "`flops`, which depends on the batch, can't decide `batch` or `lr`.",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = images) } }",
        "study tiny { dataset digits evaluate e { attack = pgd(eps = 0.15) } }",
    ),
    Code(
        "U106",
        "an unknown unit",
        "A word after a number is its unit. `k`, `M` and `B` are part of the number and stand right behind it.",
        "study tiny { dataset digits budget { walltime = 12 hours } }",
        "study tiny { dataset digits budget { walltime = 12 h } }",
    ),
)
