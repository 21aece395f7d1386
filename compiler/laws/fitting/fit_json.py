"""A LawFit as JSON and back: the contract of `fit --json`, plus `state` for predictions with intervals.

Resamples are kept as base64 of float32 deviations from theta: fit.py rounds them to that when it makes a fit,
so what is read back predicts the same."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.laws.fitting.fitted import LawFit, Note
from isoloss.compiler.laws.fitting.interval_terms import Domain, Misfit
from isoloss.compiler.laws.fitting.options import Status
from isoloss.compiler.laws.forms.registry import LAWS


def fit_to_json(fit: LawFit) -> dict[str, Any]:
    """Numbers that are not known are None; keys in a fixed order."""
    return {
        "law": fit.law.name,
        "parameters": {k: _number(v) for k, v in fit.parameters.items()},
        "intervals": {k: [_number(v) for v in ends] for k, ends in fit.intervals.items()},
        "objective": _number(fit.objective),
        "status": fit.status.value,
        "starts": {"tried": fit.starts, "share_at_best": _number(fit.share_at_best)},
        "points": fit.points,
        "exponents": {k: _number(r.mid) for k, r in fit.exponents.items()},
        "exponent_intervals": {k: [_number(r.low), _number(r.high)] for k, r in fit.exponents.items()},
        "r2": None if fit.r2 is None else _number(fit.r2),
        "held_out": None if fit.held_out is None else {k: _number(v) for k, v in fit.held_out.items()},
        "residual_sigma": _number(fit.residual_sigma),
        "runs": fit.runs,
        "warnings": list(fit.warnings),
        "provenance": fit.provenance,
        "features": fit.features,
        "state": {
            "theta": [_number(v) for v in fit.theta],
            "samples": pack(fit.samples - fit.theta),
            "domain": {k: [_number(v) for v in getattr(fit.domain, k)] for k in Domain.__dataclass_fields__},
            "misfit": {k: getattr(fit.misfit, k) for k in Misfit.__dataclass_fields__},
            "unidentified": list(fit.unidentified),
            "notes": [[n.kind, n.message, list(n.parameters)] for n in fit.notes],
            "seed": fit.seed,
            "settings": dict(fit.settings),
        },
    }


def fit_from_json(data: Mapping[str, Any]) -> LawFit:
    """Raises ValueError naming what is missing or wrong: files come from strangers."""
    try:
        return _read(data)
    except KeyError as missing:
        raise ValueError(f"a law's JSON needs the key {missing}") from None
    except (TypeError, AttributeError) as wrong:
        raise ValueError(f"a law's JSON has a value of the wrong type: {wrong}") from None


def _read(data: Mapping[str, Any]) -> LawFit:
    name = data["law"]
    if name not in LAWS:
        raise ValueError(f"unknown law `{name}`; known: {', '.join(LAWS)}")
    law, state = LAWS[name], data["state"]
    theta = np.array([_value(v) for v in state["theta"]], dtype=np.float64)
    if theta.shape != (len(law.parameters),):
        raise ValueError(f"`state.theta` of {name} must have {len(law.parameters)} numbers, has {theta.size}")
    domain = {k: (_value(v[0]), _value(v[1])) for k, v in state["domain"].items()}
    return LawFit(
        law=law,
        theta=theta,
        samples=unpack(state["samples"], len(theta)) + theta,
        status=Status(data["status"]),
        domain=Domain(**domain),
        misfit=Misfit(**state["misfit"]),
        objective=_value(data["objective"]),
        residual_sigma=_value(data["residual_sigma"]),
        starts=int(data["starts"]["tried"]),
        share_at_best=_value(data["starts"]["share_at_best"]),
        points=int(data["points"]),
        runs=int(data["runs"]),
        r2=data["r2"],
        held_out=data["held_out"],
        unidentified=tuple(state["unidentified"]),
        notes=tuple(Note(kind, message, tuple(names)) for kind, message, names in state["notes"]),
        seed=int(state["seed"]),
        settings=dict(state["settings"]),
        provenance=str(data.get("provenance", "")),
        features=data.get("features"),
    )


def pack(deviation: Floats) -> str:
    return base64.b64encode(np.ascontiguousarray(deviation, dtype="<f4").tobytes()).decode("ascii")


def unpack(text: str, width: int) -> Floats:
    """Raises ValueError for what is no whole number of rows of finite float32."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) % (4 * width):
        raise ValueError("`state.samples` is damaged: not a whole number of resamples")
    rows = np.frombuffer(raw, dtype="<f4").reshape(-1, width).astype(np.float64)
    if not np.isfinite(rows).all():
        raise ValueError("`state.samples` is damaged: a value is not finite")
    return rows


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _value(value: float | None) -> float:
    return float("nan") if value is None else float(value)
