"""The end of a run -> its closing screen, and the same as data for scripts.

Measured FIDs, fitted laws, forecasts with intervals and their measurements, planned and measured cost, and where the
report and MLflow are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from isoloss.compiler.plan import Answer, Range, frechet_space
from isoloss.dsl.vocabulary.quantity_text import NOT_ESTIMATED, decimal_text, interval_text, time_text, writer
from isoloss.measured.rows import rows_of_plan
from isoloss.runtime.store.result import Result
from isoloss.screens.plan_answers import pair_lines
from isoloss.screens.results_table import results_lines

if TYPE_CHECKING:
    from isoloss.loop import Ended


def text(ended: Ended, report: str | None, tracking: str) -> str:
    """The closing screen, in paragraphs."""
    results = _results(ended)
    paragraphs = [
        list(_state(ended)),
        list(_data_alarms(ended, results)),
        list(_qualities(ended, results)),
        list(results_lines(rows)) if (rows := rows_of_plan(ended.plan, results)) else [],
        list(_laws(ended)),
        list(_answers(ended)),
        list(_checks(ended)),
        list(_cost(results)),
        list(_places(ended, report, tracking)),
    ]
    return "\n\n".join("\n".join(lines) for lines in paragraphs if lines)


def as_data(ended: Ended, report: str | None, tracking: str) -> dict[str, Any]:
    """The closing screen's content as JSON-ready data."""
    plan, results = ended.plan, _results(ended)
    planned, measured = _seconds(results)
    return {
        "study": ended.study.name,
        "digest": plan.digest,
        "revision": plan.revision,
        "exit_code": ended.exit_code,
        "interrupted": ended.interrupted,
        "ran": ended.ran,
        "jobs": {"done": len(results), "planned": len(plan.jobs)},
        "failed": [
            {"job": id, "name": job.name, "origin": asdict(job.origin), "code": f.code, "message": f.message}
            for id, (job, f) in ended.failed.items()
        ],
        "skipped": ended.skipped,
        "results": [row.as_data() for row in rows_of_plan(plan, results)],
        "fids": {name: {"metric": metric, "value": value} for name, metric, value in _fids(ended, results)},
        "laws": {name: {k: v for k, v in law.items() if k != "state"} for name, law in plan.laws.items()},
        "answers": [asdict(answer) for answer in plan.answers],
        "checks": [asdict(score) for score in ended.scores],
        "seconds": {"planned": planned, "measured": measured},
        "report": report,
        "tracking": tracking,
    }


def _results(ended: Ended) -> Mapping[str, Result]:
    ids = {job.id for job in ended.plan.jobs}
    return {r.job: r for r in ended.store.results() if r.job in ids}


def _state(ended: Ended) -> Iterator[str]:
    jobs = len(ended.plan.jobs)
    if ended.interrupted:
        yield "interrupted; finished jobs are kept, checkpoints too: the same command goes on from here"
    elif ended.failed or ended.skipped:
        yield f"{len(ended.failed)} jobs failed, {len(ended.skipped)} others need them; the rest is done"
    elif not ended.ran and not ended.elsewhere:
        yield f"nothing to run: all {jobs} jobs have a result in {ended.store.path}"
        yield "(a job runs again when its meaning changes, see `isoloss explain`, or with another `--store`)"
    else:
        others = f" and {ended.elsewhere} by another process" if ended.elsewhere else ""
        yield f"done: {ended.ran} jobs run{others}, {jobs} of {jobs} have a result"


def _fids(ended: Ended, results: Mapping[str, Result]) -> Iterator[tuple[str, str, float]]:
    """Generator, typed name and value of every measured distance."""
    for job in ended.plan.jobs:
        if job.kind == "fid" and job.id in results:
            for seen in results[job.id].observations:
                if frechet_space(seen.metric) is not None:
                    yield job.facts.generator or job.name, seen.metric, seen.value


def _qualities(ended: Ended, results: Mapping[str, Result]) -> Iterator[str]:
    spaces: dict[str, list[str]] = {}
    for name, metric, value in _fids(ended, results):
        spaces.setdefault(metric, []).append(f"  {name:<12} {decimal_text(value)}")
    for metric, lines in spaces.items():
        yield f"measured quality ({metric}; lower is better)"
        yield from lines


def _data_alarms(ended: Ended, results: Mapping[str, Result]) -> Iterator[str]:
    """What is wrong with images and labels that networks were trained on."""
    for job in ended.plan.jobs:
        if job.kind in ("fid", "import", "generate") and job.id in results:
            flags = (flag for seen in results[job.id].observations for flag in seen.flags)
            for alarm in dict.fromkeys(flag for flag in flags if flag.startswith("alarm: ")):
                yield f"! {job.name}: {alarm.removeprefix('alarm: ')}"


def _laws(ended: Ended) -> Iterator[str]:
    if ended.plan.laws:
        yield "fitted laws (95 % intervals)"
    for name, law in ended.plan.laws.items():
        yield f"  {name} ({law['law']}): {law['status']}, {law['points']} points, {law['runs']} runs"
        for parameter, value in law["parameters"].items():
            if value is None:
                yield f"    {parameter:<8} not identified by these runs"
            else:
                yield f"    {parameter:<8} {decimal_text(value):<10} [{interval_text(law['intervals'].get(parameter))}]"
        yield from (f"    note: {warning}" for warning in law.get("warnings", ()))


def _status(answer: Answer) -> str:
    return "answered, wider than asked" if answer.status == "wide" else answer.status


def _answers(ended: Ended) -> Iterator[str]:
    shown = [answer for answer in ended.plan.answers if answer.kind != "fit"]
    if shown:
        yield "answers"
    for answer in shown:
        laws = f" under {', '.join(answer.laws)}" if answer.laws else ""
        yield f"  {answer.kind} {answer.name}{laws}: {_status(answer)}"
        if any(value is not None for value in answer.values.values()):
            yield from (
                f"    {quantity:<12} {_estimated(value, quantity)}"
                for quantity, value in answer.values.items()
            )
        yield from (f"    {line}" for line in pair_lines(answer))
        yield from (f"    note: {note}" for note in answer.notes)


def _estimated(value: Range | None, quantity: str) -> str:
    """The middle and, where it was estimated, its interval."""
    if value is None:
        return NOT_ESTIMATED
    show = writer(quantity)
    if value.low == value.high:
        return show(value.mid)
    return f"{show(value.mid):<10} [{interval_text((value.low, value.high), show)}]"


def _checks(ended: Ended) -> Iterator[str]:
    """Forecasts of this run, written down before it trained, beside their measurements."""
    scored = {score.answer for score in ended.scores}
    if ended.scores:
        yield "forecasts checked by training"
    for score in ended.scores:
        verdict = "inside" if score.inside else "OUTSIDE"
        yield f"  {score.answer} {score.quantity}: forecast {_estimated(score.forecast, score.quantity)}"
        yield f"    measured {_estimated(score.measured, score.quantity)}: {verdict} the interval"
    waiting = [a for a in ended.plan.answers if a.kind == "allocate" and a.name not in scored]
    yield from (f"  {answer.name}: {_why_unchecked(answer)}" for answer in waiting)


def _why_unchecked(answer: Answer) -> str:
    if any(value is not None for value in answer.measured.values()):
        return "measured, but its forecast had no interval to be inside of"
    return "not checked yet: its run is not trained"


def _seconds(results: Mapping[str, Result]) -> tuple[list[float], float]:
    """Planned low, mid, high and measured, of jobs that have both."""
    both = [r.run for r in results.values() if r.run.planned_seconds is not None]
    planned = [sum(run.planned_seconds[i] for run in both if run.planned_seconds) for i in range(3)]
    return planned, sum(run.device_seconds for run in both)


def _cost(results: Mapping[str, Result]) -> Iterator[str]:
    if not results or all(r.run.simulated for r in results.values()):
        return
    planned, measured = _seconds(results)
    inside = [
        r.run.planned_seconds[0] <= r.run.device_seconds <= r.run.planned_seconds[2]
        for r in results.values()
        if r.run.planned_seconds is not None
    ]
    yield "cost (device time of all jobs)"
    spread = f"[{time_text(planned[0])} .. {time_text(planned[2])}]"
    yield f"  planned  {time_text(planned[1])} {spread}, as each job was priced when it started"
    yield f"  measured {time_text(measured)}; {sum(inside)} of {len(inside)} jobs inside their own interval"


def _places(ended: Ended, report: str | None, tracking: str) -> Iterator[str]:
    if report:
        yield f"report   {report}"
    yield f"store    {ended.store.path}"
    if tracking:
        yield f"mlflow   {tracking}"
