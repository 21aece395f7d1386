"""What to distrust in a fit: LawFit (+ its points) or published constants -> diagnostics L301 to L315.

Runs after fit.py for `isoloss fit`, and on printed constants for `isoloss verify`. Every lint is a warning:
the numbers stand, with their reservation beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from isoloss.compiler.laws.fitting.fitted import LawFit
from isoloss.compiler.laws.points import Points
from isoloss.dsl.diagnostics.diagnostic import Diagnostic
from isoloss.dsl.vocabulary.quantity_text import flop_text

#: What review.py and the forms note on a fit, as codes.
NOTE_CODES: Mapping[str, str] = {
    "at_bound": "L302",
    "open_interval": "L302",
    "start_dependent": "L303",
    "ill_conditioned": "L304",
    "not_identified": "L309",
    "not_converged": "L310",
    "unknown_fid": "L311",
    "stuck_at_start": "L301",
    "early_stop": "L303",
    "rounded_constants": "L305",
    "no_intervals": "L313",
    "outliers": "L315",
}
OTHER_NOTE = "L312"

HELP: Mapping[str, str] = {
    "L301": "it is a fixed value, not an estimate: no interval shows it",
    "L305": "keep full precision, as `isoloss fit --json` does",
    "L302": "don't read this parameter; a design with more contrast would free it",
    "L303": "the reported optimum is the best of all starts; a lower one may exist",
    "L304": "read the law's predictions inside the data, not these parameters",
    "L309": "predictions that would need it are refused; vary what it depends on",
    "L310": "treat every number of this fit as provisional",
    "L313": "fit the law to your own runs for an interval; a portfolio shows how far laws disagree",
    "L315": "look at its training: a spike, another recipe, a wrong column; `--where` leaves runs out",
    "L311": "fill in `fid` for these rows, or fit a law without it",
}

#: A fitted value this close to a start never moved: solvers leave a start by far more than their tolerance.
STUCK = 1e-6
#: Significant digits below which constants are called rounded: three-digit exponents biased Chinchilla's law.
FEW_DIGITS = 3
#: A forecast over ten times the largest run's compute leaves what held-out checks of most tables can support.
FAR_COMPUTE = 10.0
#: Optimism of choosing the best checkpoint on the test set that is worth a word: 0.1 % of the loss.
OPTIMISM = 1e-3


def lint_fit(fit: LawFit) -> list[Diagnostic]:
    """The reservations that the engine noted on this fit, each with its code."""
    found = []
    for note in fit.notes:
        code = NOTE_CODES.get(note.kind, OTHER_NOTE)
        help = (HELP[code],) if code in HELP else ()
        found.append(_warning(code, note.message, *help))
    return found


def lint_stuck(parameters: Mapping[str, float], starts: Mapping[str, Sequence[float]]) -> list[Diagnostic]:
    """Parameters that equal one of their starts: the solver never moved them. Natural units on both sides."""
    found = []
    for name, value in parameters.items():
        hits = [s for s in starts.get(name, ()) if abs(value - s) <= STUCK * max(abs(s), 1e-300)]
        if hits:
            headline = f"`{name}` = {value:.10g} is exactly its start {hits[0]:g}: the fit never moved it"
            help = "it is a fixed value, not an estimate; fit its logarithm, or scale it to the others"
            found.append(_warning("L301", headline, help))
    return found


def lint_rounded(parameters: Mapping[str, float]) -> list[Diagnostic]:
    """All constants printed with at most three significant digits."""
    known = {name: value for name, value in parameters.items() if math.isfinite(value) and value != 0}
    if not known or any(significant_digits(value) > FEW_DIGITS for value in known.values()):
        return []
    names = ", ".join(f"`{name}`" for name in known)
    headline = f"constants are rounded to {FEW_DIGITS} digits or fewer: {names}"
    help = "N* may be off by a factor of two: keep full precision, as `isoloss fit --json` does"
    return [_warning("L305", headline, help)]


def significant_digits(value: float) -> int:
    """Digits of the shortest decimal that is this float: 0.24 has 2, 7000.0 has 1, 0.244345 has 6."""
    mantissa = f"{value:.16e}" if value == 0 else repr(abs(value)).partition("e")[0]
    return len(mantissa.replace(".", "").strip("0")) or 1


def lint_exclusions(fit: LawFit, everything: LawFit, left_out: int) -> list[Diagnostic]:
    """Does what a filter left out change the answer? Compares parameters with those of all rows: a warning
    where one leaves the other fit's 95 % interval."""
    if not everything.usable or left_out == 0:
        return []
    moved = []
    theirs, ours = everything.parameters, fit.parameters
    for name, (low, high) in fit.intervals.items():
        value = theirs.get(name, math.nan)
        if math.isfinite(value) and not low <= value <= high:
            moved.append(f"`{name}` {ours[name]:.4g} -> {value:.4g}")
    if not moved:
        return []
    headline = f"the filter matters: with the {left_out} rows it leaves out, {', '.join(moved)}"
    help = "say in the paper what was left out and why; report both fits"
    return [_warning("L306", headline, help)]


def lint_selection(points: Points, rule: str, floor: float) -> list[Diagnostic]:
    """The lowest of several test losses is chosen on the test set. `points`: all rows. Says by how much that
    lowers the loss, the median over runs with several rows of ln(last / best)."""
    if rule != "best":
        return []
    best, last = points.best_per_run(floor), points.final_per_run(floor)
    final = dict(zip(last.run.tolist(), last.loss.tolist(), strict=True))
    counts = np.bincount(points.run)
    gaps = [
        math.log(final[run] / loss)
        for run, loss in zip(best.run.tolist(), best.loss.tolist(), strict=True)
        if counts[run] > 1
    ]
    if not gaps or float(np.mean(gaps)) < OPTIMISM:
        return []
    below = f"{100 * float(np.mean(gaps)):.2g}% below the last, on average over {len(gaps)} runs"
    headline = f"checkpoints are chosen on the test set: the lowest loss per run lies {below}"
    return [_warning("L307", headline, "fit `--points final`, or choose on images held out from the test")]


def lint_extrapolation(compute_flops: float, fit: LawFit) -> list[Diagnostic]:
    """How far beyond the largest run a question reaches."""
    largest = fit.domain.flops[1]
    if not math.isfinite(largest) or compute_flops <= FAR_COMPUTE * largest:
        return []
    factor = compute_flops / largest
    headline = f"{flop_text(compute_flops)} is {factor:,.0f} times the largest run behind `{fit.law.name}`"
    help = "the interval assumes that the law's form holds that far; ask several laws: `isoloss forecast A B`"
    return [_warning("L308", headline, help)]


def lints(*groups: Iterator[Diagnostic] | list[Diagnostic]) -> list[Diagnostic]:
    """All of them, each message once."""
    seen: dict[tuple[str, str], Diagnostic] = {}
    for group in groups:
        for item in group:
            seen.setdefault((item.code, item.headline), item)
    return list(seen.values())


def _warning(code: str, headline: str, *help: str) -> Diagnostic:
    return Diagnostic(code, headline, help=help, severity="warning")
