"""The forecast ledger: what was forecast before it was measured, and how that came out.

In: plans, before and after their jobs run. Out: lines of `forecasts.jsonl`, only ever appended. A forecast
that is written down after its measurement is no forecast, so `record` runs before the jobs do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from isoloss.compiler.plan import Answer, Plan, Range
from isoloss.runtime.store import journal


@dataclass(frozen=True, slots=True)
class Score:
    """One forecast against its measurement. `inside`: the measured value lies in the forecast's interval."""

    answer: str
    quantity: str
    forecast: Range
    measured: Range
    inside: bool


def record(path: Path, plan: Plan, starting: Collection[str]) -> int:
    """Write the forecasts of `plan` whose train job is among `starting` and which aren't in the ledger yet.
    Returns how many. Raises JobError R103, R104, R105."""
    written_before = {
        (e.get("study"), e.get("job"), e.get("answer")) for e in _lines(path) if e.get("event") == "forecast"
    }
    ledger = journal.Journal(path)
    written = 0
    try:
        for answer in plan.answers:
            if answer.job not in starting or (plan.digest, answer.job, answer.name) in written_before:
                continue
            values = {k: asdict(v) for k, v in answer.values.items() if v is not None}
            facts = {
                "study": plan.digest,
                "revision": plan.revision,
                "job": answer.job,
                "answer": answer.name,
            }
            ledger.append({"event": "forecast", **facts, "laws": answer.laws, "values": values}, durable=True)
            written += 1
    finally:
        ledger.close()
    return written


def score(path: Path, plan: Plan) -> list[Score]:
    """Compare every forecast of this study in the ledger with what `plan` has measured, and write each
    comparison down once. Raises JobError R103, R104, R105."""
    lines = _lines(path)
    written = {(e.get("job"), e.get("quantity")) for e in lines if e.get("event") == "score"}
    answers: dict[tuple[object, object], Answer] = {(a.job, a.name): a for a in plan.answers if a.job}
    scores = []
    ledger = journal.Journal(path)
    try:
        for line in lines:
            answer = answers.get((line.get("job"), line.get("answer")))
            if line.get("event") != "forecast" or line.get("study") != plan.digest or answer is None:
                continue
            for comparison in _compare(answer, line["values"]):
                scores.append(comparison)
                if (answer.job, comparison.quantity) not in written:
                    facts = {"study": plan.digest, "job": answer.job, **asdict(comparison)}
                    ledger.append({"event": "score", **facts}, durable=True)
    finally:
        ledger.close()
    return scores


def _compare(answer: Answer, values: dict[str, dict[str, float | None]]) -> list[Score]:
    scores = []
    for quantity, measured in answer.measured.items():
        said = values.get(quantity)
        # An interval without ends was not estimated: then there is nothing to be inside of.
        if measured is None or said is None or None in said.values():
            continue
        forecast = Range(**{k: float(v) for k, v in said.items() if v is not None})
        inside = forecast.low <= measured.mid <= forecast.high
        scores.append(Score(answer.name, quantity, forecast, measured, inside))
    return scores


def _lines(path: Path) -> list[dict[str, Any]]:
    return journal.read(path)[0]
