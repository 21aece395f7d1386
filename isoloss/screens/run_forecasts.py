"""Laws asked for the loss and accuracy of given runs, each with an interval for a new run: a screen, and data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isoloss.compiler.plan import Range
from isoloss.dsl.vocabulary.quantity_text import accuracy_text, count_text, decimal_text, interval_text
from isoloss.inputs.given_runs import GivenRuns
from isoloss.inputs.law_file import NamedLaw, model_of

#: Runs that a screen shows; `--json` has all.
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class RunForecast:
    """One run's loss and accuracy as a new measurement would find them; None where no law can say."""

    params: float
    images: float
    fid: float
    loss: Range | None
    accuracy: Range | None


def forecast_runs(laws: Sequence[NamedLaw], runs: GivenRuns) -> list[RunForecast]:
    """In the order of the runs; several laws are a portfolio."""
    model = model_of(laws)
    line = next((law.accuracy for law in laws if law.accuracy is not None), None)
    band = model.predict_many(runs.params, runs.images, runs.fid, new_run=True)
    found = []
    for row in zip(runs.params, runs.images, runs.fid, band.low, band.mid, band.high, strict=True):
        params, images, fid, low, mid, high = map(float, row)
        loss = Range(low, mid, high) if math.isfinite(mid) else None
        known = loss is not None and math.isfinite(low) and math.isfinite(high)
        accuracy = line.predict(loss) if line is not None and loss is not None and known else None
        found.append(RunForecast(params, images, fid, loss, accuracy))
    return found


def as_objects(found: Sequence[RunForecast]) -> list[dict[str, Any]]:
    """The contract of `forecast --runs --json`; what isn't determined is null."""
    return [
        {
            "params": one.params, "images": one.images, "fid": one.fid,
            "loss": None if one.loss is None else one.loss.mid, "interval": _ends(one.loss),
            "accuracy": None if one.accuracy is None else one.accuracy.mid,
            "accuracy_interval": _ends(one.accuracy),
            "status": "not determined" if one.loss is None else "answered",
            "reason": "no law says anything at this FID, N or D" if one.loss is None else None,
        }
        for one in found
    ]  # fmt: skip


def forecast_screen(laws: Sequence[NamedLaw], found: Sequence[RunForecast]) -> str:
    """A line per run."""
    lines = [f"{' + '.join(law.name for law in laws)}: a new run's loss and accuracy, 95 % intervals"]
    for one in found[:_SHOWN]:
        run = f"N {count_text(one.params)}, D {count_text(one.images)}, FID {one.fid:g}"
        if one.loss is None:
            lines.append(f"  {run}: not determined")
            continue
        text = f"  {run}: loss {decimal_text(one.loss.mid)} [{interval_text(_ends(one.loss))}]"
        if one.accuracy is not None:
            ends = interval_text(_ends(one.accuracy), accuracy_text)
            text += f", accuracy {accuracy_text(one.accuracy.mid)} [{ends}]"
        lines.append(text)
    if len(found) > _SHOWN:
        lines.append(f"  and {len(found) - _SHOWN} more: `--json`")
    return "\n".join(lines)


def _ends(value: Range | None) -> list[float] | None:
    if value is None or not (math.isfinite(value.low) and math.isfinite(value.high)):
        return None
    return [value.low, value.high]
