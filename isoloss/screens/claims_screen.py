"""A paper's claims recomputed -> the screen of `isoloss verify`, and its page in Markdown."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isoloss.compiler.claims.claim import Claim
    from isoloss.compiler.claims.tables import OptimumRow


MARKS = {"agrees": "ok", "differs": "DIFFERS", "not reproducible": "?", "finding": "+"}


def summary(claims: tuple[Claim, ...]) -> str:
    """ "33 agree, 11 differ, ..." """
    counts = Counter(c.verdict for c in claims)
    return (
        f"{counts['agrees']} agree, {counts['differs']} differ, {counts['not reproducible']} can't be"
        f" reproduced, "
        f"{counts['finding']} findings of ours"
    )


def screen(claims: tuple[Claim, ...]) -> str:
    """All claims part by part, the reasons of those that don't hold."""
    from isoloss.compiler.claims.bartoldson2024 import TITLE

    lines, part = [TITLE], ""
    for claim in claims:
        if claim.part != part:
            part = claim.part
            lines += ["", part]
        paper = f"paper {claim.paper}, " if claim.paper else ""
        place = f" [{claim.where}]" if claim.where else ""
        lines.append(f"  {MARKS[claim.verdict]:<8}{claim.claim}{place}: {paper}ours {claim.ours}")
        if claim.note and claim.verdict != "agrees":
            lines.append(f"          {claim.note}")
    return "\n".join([*lines, "", summary(claims)])


def markdown(claims: tuple[Claim, ...], rows: tuple[OptimumRow, ...]) -> str:
    """The page docs/verify_bartoldson2024.md; a test keeps it current."""
    from isoloss.compiler.claims.bartoldson2024 import TITLE
    from isoloss.dsl.vocabulary.quantity_text import count_text

    lines = [
        "# What of the paper can be recomputed",
        "",
        f"{TITLE} (ICML 2024, arXiv:2404.09349).",
        "Written by `isoloss verify bartoldson2024 -o docs/verify_bartoldson2024.md`; don't edit.",
        "",
        f"**{summary(claims)}.** Laws use the constants of the authors' released code, unrounded;"
        f" networks are"
        " counted layer by layer; human-study figures follow from the printed counts.",
        "*Differs*: the same inputs give another number. *Not reproducible*: what it takes isn't printed or"
        " public. *Finding*: not printed in the paper, computed here, and it bears on what the paper"
        " concludes.",
    ]
    part = ""
    for claim in claims:
        if claim.part != part:
            part = claim.part
            lines += [
                "",
                f"## {part}",
                "",
                "| claim | where | paper | ours | verdict | why |",
                "|---|---|---|---|---|---|",
            ]
        cells = (claim.claim, claim.where, claim.paper, claim.ours, _bold(claim.verdict), claim.note)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", "## N*, D* and L* of the published laws", "", "7822 FLOP per parameter and image.", ""]
    lines += ["| law | FID | FLOPs | N* | D* | L* |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {r.law} | {r.fid:g} | {r.flops:.0e} | {count_text(r.params)} | {count_text(r.images)} |"
        f" {r.loss:.4f} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def _bold(verdict: str) -> str:
    return f"**{verdict}**" if verdict == "differs" else verdict
