"""A fitted law -> lines: parameters with intervals, status, residuals, error on held-out runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isoloss.compiler.laws.fitting.pooled import DRIFT
from isoloss.compiler.plan import frechet_metric
from isoloss.dsl.vocabulary.quantity_text import decimal_text, interval_text

if TYPE_CHECKING:
    from isoloss.compiler.laws.fitting.fitted import LawFit
    from isoloss.compiler.tables import RunTable

#: How each form reads; names as in `parameters`.
FORMULAS: Mapping[str, str] = {
    "chinchilla": "L = A/N^alpha + B/D^beta + E",
    "approach2": "L = A/N^alpha + B (1+FID)^zeta / D^beta + E (1+FID)^epsilon",
    "approach3": "L = A/N^alpha + (B/D + (Q FID)^(kappa/beta))^beta + E + epsilon ln(1+FID)",
    "powerlaw": "L = A x^B",
    "powersum": "L = E + (A/N^alpha + B/D^beta)^gamma",
}


def fit_screen(fit: LawFit, table: RunTable, data: Mapping[str, Any]) -> str:
    """Several lines without a final newline."""
    protocol = data["protocol"]
    chosen = {"best": "lowest loss per run", "final": "last of each run", "curve": "all"}[protocol["points"]]
    lines = [f"{fit.law.name} fitted to {fit.points} points of {fit.runs} runs: {table.source}"]
    if fit.law.name in FORMULAS:
        lines.append(f"  {FORMULAS[fit.law.name]}")
    floor = f", at or after {protocol['floor']:.0%} of training" if protocol["floor"] > 0 else ""
    lines.append(f"  points: {chosen}{floor}" + (f", where {protocol['where']}" if protocol["where"] else ""))
    if "base" in protocol:
        rest = f"where {protocol['quality']}" if protocol["quality"] else "all others"
        lines.append(f"  stages: base, where {protocol['base']}; then zeta and epsilon, {rest}")
    if fit.features is not None:
        lines.append(f"  quality: {frechet_metric(fit.features)}")
    lines += [f"  note: {note}" for note in table.notes]
    lines += ["", f"  {'':<12} {'estimate':>12}   95% interval"]
    rows = {name: (value, data["intervals"].get(name)) for name, value in data["parameters"].items()}
    # Approach 1 has its exponents among its parameters.
    rows |= {n: (v, data["exponent_intervals"].get(n)) for n, v in data["exponents"].items()}
    for name, (value, ends) in rows.items():
        grows = {"a": "N* ~ C^a", "b": "D* ~ C^b"}.get(name, "") if name in data["exponents"] else ""
        lines.append(f"  {name:<12} {decimal_text(value):>12}   {interval_text(ends):<20} {grows}".rstrip())
    lines += ["", *_quality(fit)]
    accuracy = data["accuracy"]
    if accuracy:
        lines.append(
            f"  accuracy    {accuracy['intercept']:.4f} {accuracy['slope']:+.4f} x loss, R2"
            f" {accuracy['r2']:.3f}, "
            f"{accuracy['points']} points"
        )
    return "\n".join(lines)


def portfolio_screen(fits: Sequence[LawFit], table: RunTable, data: Mapping[str, Any]) -> str:
    """Which laws the table holds, how much each counts, and what each says; parameters are for `--law NAME`."""
    protocol, first = data["protocol"], fits[0]
    lines = [f"{len(fits)} laws fitted to {first.points} points of {first.runs} runs: {table.source}"]
    lines += [f"  where {protocol['where']}"] if protocol["where"] else []
    lines += [f"  note: {note}" for note in table.notes]
    for fit, member in zip(fits, data["members"], strict=True):
        lines += ["", f"  {fit.law.name}, weight {member['weight']:.2f}"]
        lines += [f"  {FORMULAS[fit.law.name]}"] if fit.law.name in FORMULAS else []
        lines += [f"  {line}" for line in _quality(fit) if "objective" not in line]
    if len(fits) == 1:
        lines += ["", "  the other laws say the same of these runs, or can't be fitted to them"]
    lines += ["", "  one law with its parameters: --law NAME"]
    return "\n".join(lines)


def _quality(fit: LawFit) -> list[str]:
    share = (
        ""
        if math.isnan(fit.share_at_best)
        else f"; {fit.share_at_best:.0%} of {fit.starts} starts at the best"
    )
    lines = [f"  status      {fit.status.value}{share}"]
    if math.isfinite(fit.objective):
        lines.append(f"  objective   {fit.objective:.10g} (sum of Huber losses of log residuals)")
    if fit.errors is not None:
        lines.append(f"  errors      {fit.errors}")
    if math.isfinite(fit.residual_sigma):
        r2 = "" if fit.r2 is None else f"; R2 {fit.r2:.4f}"
        lines.append(f"  residuals   {100 * fit.residual_sigma:.2g}% of the loss (standard deviation){r2}")
    if fit.held_out and math.isfinite(fit.held_out.get("rms_log_error", math.nan)):
        error = fit.held_out["rms_log_error"]
        lines.append(f"  held out    {100 * error:.2g}% off on costlier runs, predicted from cheaper ones")
    if fit.misfit.drift:
        drift, pooled = 100 * fit.misfit.drift, 100 * DRIFT
        whose = (
            "public tables"
            if math.isclose(drift, pooled, rel_tol=0.005)
            else f"public tables {pooled:.2g}%, and own"
        )
        lines.append(f"  beyond      {drift:.2g}% of the loss per e-fold of compute ({whose})")
    return lines
