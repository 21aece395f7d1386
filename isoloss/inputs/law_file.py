"""A law named on the command line: a fit's JSON or a published one -> LawFit and its loss-to-accuracy line.

Used by `isoloss optimum` and `isoloss forecast`. Every fault is a diagnostic of the user's file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoloss.compiler.laws.accuracy import BARTOLDSON2024, AccuracyFit
from isoloss.compiler.laws.arrays import FLOPS_PER_IMAGE_AND_PARAMETER, Floats
from isoloss.compiler.laws.fitting.fit_json import fit_from_json
from isoloss.compiler.laws.fitting.fitted import LawFit
from isoloss.compiler.laws.portfolio import Portfolio
from isoloss.compiler.laws.published import PUBLISHED, published
from isoloss.errors import UserError, fault
from isoloss.inputs.law_shape import check_shape

#: A fit's JSON with 4000 resamples is under a megabyte; a stranger's larger file is not one.
LIMIT_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class NamedLaw:
    """`flops_constant`: training FLOP per parameter and image in the law's own currency; `constant_source`
    says whose: of the fitted table, or the paper's 7822. `weight`: in the portfolio that it was read from; None: it
    stands by itself."""

    name: str
    fit: LawFit
    accuracy: AccuracyFit | None
    flops_constant: float
    constant_source: str
    weight: float | None = None

    def flops_per_image(self, params: Floats) -> Floats:
        """FLOP per image of networks of these sizes."""
        return self.flops_constant * params


def load_law(argument: str) -> NamedLaw:
    """One law. Raises UserError for an unknown name, for a file that isn't a fit, and for a portfolio."""
    laws = load_laws(argument)
    if len(laws) > 1:
        names = ", ".join(law.fit.law.name for law in laws)
        help = "fit one: `isoloss fit RUNS.csv --law powersum -o law.json`"
        raise fault("L210", f"`{argument}` is a portfolio ({names}), and one law is asked for", help)
    return laws[0]


def load_laws(argument: str) -> list[NamedLaw]:
    """A law, or the members of a portfolio that `fit` made of a table. Raises UserError as `load_law`."""
    if argument in PUBLISHED:
        accuracy = BARTOLDSON2024 if argument.startswith("bartoldson2024.") else None
        constant = FLOPS_PER_IMAGE_AND_PARAMETER
        return [NamedLaw(argument, published(argument), accuracy, constant, "the paper")]
    text, data = _read_json(argument)
    try:
        check_shape(text, portfolio=data.get("law") == "any")
        members = data["members"] if data.get("law") == "any" else [data]
        return [_named(argument, member, len(members) > 1) for member in members]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise fault(
            "L210", f"`{argument}` is not a fit of this version: {error}",
            "make it anew: `isoloss fit RUNS.csv -o fit.json`",
        ) from None  # fmt: skip


def model_of(laws: Sequence[NamedLaw]) -> LawFit | Portfolio:
    """What answers for them: the law, or a portfolio with the weights it was read with."""
    if len(laws) == 1:
        return laws[0].fit
    weights = [law.weight for law in laws]
    given = None if None in weights else [w for w in weights if w is not None]
    return Portfolio([law.fit for law in laws], given)


def _named(argument: str, data: Mapping[str, Any], member: bool) -> NamedLaw:
    fit = fit_from_json(data)
    accuracy = AccuracyFit.from_json(data["accuracy"]) if data.get("accuracy") else None
    if not set(fit.unidentified) <= set(fit.law.parameters):
        raise ValueError("`state.unidentified` names a parameter that the law doesn't have")
    rule = data.get("flops_rule") or {}
    constant = float(rule.get("constant", FLOPS_PER_IMAGE_AND_PARAMETER))
    if not 0 < constant < float("inf"):
        raise ValueError(f"`flops_rule.constant` must be positive, got {constant}")
    if not fit.usable:
        raise fault("L213", f"`{argument}` holds a failed fit (status {fit.status.value})", *fit.warnings)
    source = "the fitted table" if rule.get("given") else "assumed"
    name = f"{argument}: {fit.law.name}" if member else argument
    return NamedLaw(name, fit, accuracy, constant, source, float(data["weight"]) if member else None)


def _read_json(argument: str) -> tuple[bytes, Mapping[str, Any]]:
    import orjson

    path = Path(argument)
    try:
        if path.stat().st_size > LIMIT_BYTES:
            raise fault("L210", f"`{argument}` is too large to be a fit")
        text = path.read_bytes()
        data = orjson.loads(text)
    except FileNotFoundError:
        raise _unknown(argument) from None
    except (OSError, ValueError) as error:
        raise fault("L210", f"`{argument}` can't be read as a fit: {error}") from None
    if not isinstance(data, dict):
        raise fault("L210", f"`{argument}` is JSON, but not a fit: it holds no object")
    return text, data


def _unknown(argument: str) -> UserError:
    near = difflib.get_close_matches(argument, PUBLISHED, 1, 0.5)
    help = [f"`{near[0]}` is close"] if near else []
    help.append("a law is a fit's JSON (`isoloss fit RUNS.csv -o fit.json`) or " + " or ".join(PUBLISHED))
    return fault("L210", f"no law `{argument}`: neither a file nor a published one", *help)
