"""`--max-cost` and `--max-flops`: a plan beyond them is refused, for scripts that plan before they spend.

A Plan and the command's options -> nothing, or UserError P110. Costs are held at their upper end: a gate is there to
keep surprises out. What isn't estimated can't be held to a bound of money, and is said."""

from __future__ import annotations

import argparse

from isoloss.compiler.plan import Plan
from isoloss.dsl.diagnostics.diagnostic import Diagnostic


def add_gates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-cost",
        metavar="M",
        help="refuse a plan that may cost more, by the upper end of its 90 %% interval: 500, '500 USD'",
    )
    parser.add_argument("--max-flops", metavar="C", help="refuse a plan of more compute: 1e21, '1 ZFLOP'")


def gated(arguments: argparse.Namespace) -> bool:
    """Whether the options bound anything."""
    return arguments.max_cost is not None or arguments.max_flops is not None


def check_gates(plan: Plan, arguments: argparse.Namespace) -> None:
    """Raises UserError P110 where the plan goes beyond a bound, or can't be held to it."""
    from isoloss.compiler.plans.totals import bill_flops
    from isoloss.dsl.vocabulary.quantity_text import flop_text, money_text
    from isoloss.errors import UserError, fault

    all_jobs = plan.totals["all"]
    problems: list[Diagnostic] = []
    if arguments.max_flops is not None:
        from isoloss.inputs.arguments import compute_flops

        limit = compute_flops(arguments.max_flops)
        needed = bill_flops(all_jobs) + plan.budget["waiting_flops"]
        if needed > limit:
            problem = f"the plan comes to {flop_text(needed)}, `--max-flops` allows {flop_text(limit)}"
            problems.extend(
                fault("P110", problem, "lower the budget's `compute`, or raise the gate").diagnostics
            )
    if arguments.max_cost is not None:
        currency = str(plan.budget["currency"])
        most = _money(arguments.max_cost, currency)
        allocated = _kept_money(plan)
        if all_jobs.usd is None or allocated is None:
            problem = "`--max-cost` can't be held: the plan's cost is not estimated"
            problems.extend(fault("P110", problem, "state `devices` and a `price` in the budget").diagnostics)
        elif (high := all_jobs.usd.high + allocated) > most:
            more = f", {money_text(allocated)} of it for what `allocate` will train" if allocated else ""
            cost, allowed = money_text(high, currency), money_text(most)
            end = "by the upper end of the 90 % interval"
            problem = f"the plan may cost up to {cost} {end}{more}; `--max-cost` allows {allowed}"
            problems.extend(fault("P110", problem, "plan less, or raise the gate").diagnostics)
    if problems:
        raise UserError(problems)


def _kept_money(plan: Plan) -> float | None:
    """The upper end of what `allocate` will train, of which only its FLOPs are known: at what the plan's own
    trainings cost per FLOP (assumed). None where that isn't estimated."""
    from isoloss.compiler.plans.totals import bill_flops

    flops, train = float(plan.budget["waiting_flops"]), plan.totals.get("train")
    if not flops:
        return 0.0
    if train is None or train.usd is None or not bill_flops(train):
        return None
    return flops * train.usd.high / bill_flops(train)


def _money(text: str, currency: str) -> float:
    from isoloss.errors import fault

    number, _, named = text.strip().partition(" ")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf") or named.strip() not in ("", currency):
        raise fault(
            "P110",
            f"`--max-cost {text}` is no amount of {currency}",
            f"for example `--max-cost 500`, or '500 {currency}'",
        )
    return value
