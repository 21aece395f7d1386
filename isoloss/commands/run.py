"""isoloss run: compile and run a study until nothing is left, then print its answers."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from isoloss.inputs.executors import add_executor_options, data_root, executor_maker, slurm_executor
from isoloss.inputs.gates import add_gates, check_gates, gated

if TYPE_CHECKING:
    from isoloss.compiler.plan import Job, Plan
    from isoloss.dsl.study.study import Study
    from isoloss.loop import Ended
    from isoloss.runtime.executors.base import Executor
    from isoloss.runtime.store.store import Store
    from isoloss.runtime.tracking.tracker import Tracker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n"
        "  isoloss run examples/quickstart.study\n"
        "  isoloss run examples/robustness_limits.study --profile laptop --store /tmp/limits\n"
        "  isoloss run limits.study --executor simulate --truth bartoldson2024.approach3 --store /tmp/trial\n"
        "  isoloss run limits.study --executor slurm --slurm partition=gpu --dry-run\n"
        "  isoloss run limits.study --hosts hosts.txt --processes 8 --store /shared/results\n"
        "\nSafe to interrupt (Ctrl-C) and to repeat: a job with a result is not run again."
    )
    parser.add_argument(
        "file", metavar="FILE-or-PLAN", help="a .study file, or a PLAN.json of `isoloss plan`"
    )
    parser.add_argument("--store", metavar="DIR", default="isoloss-store", help="results (./isoloss-store)")
    parser.add_argument("--profile", metavar="P", help="a profile of the study")
    parser.add_argument(
        "--set", action="append", default=[], metavar="K=V", dest="overrides", help="override a value"
    )
    parser.add_argument("--data", metavar="DIR", help="where data sets are (or ISOLOSS_DATA)")
    add_executor_options(parser)
    add_gates(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="slurm: write the batch scripts, say where, submit nothing"
    )
    parser.add_argument(
        "--no-tracking", action="store_true", help="don't write to MLflow; the journal has it all"
    )
    parser.add_argument("--json", action="store_true", help="print the answers as JSON")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.errors import as_user_error
    from isoloss.loop import load
    from isoloss.runtime.errors import JobError
    from isoloss.screens.diagnostics import show_diagnostics

    study, warnings, plan = load(arguments.file, arguments.profile, arguments.overrides)
    if plan is not None or gated(arguments):
        _check_first(study, plan, arguments)
    try:
        make = executor_maker(arguments)
        if arguments.dry_run:
            return _dry_run(study, arguments)
        ended, tracking, report = _run(study, make, arguments)
    except JobError as error:
        raise as_user_error(error) from error
    from isoloss.screens import summary

    if not arguments.json:
        show_diagnostics((*warnings, *ended.diagnostics), arguments)
        print(summary.text(ended, report, tracking))
    else:
        import orjson

        data = summary.as_data(ended, report, tracking)
        sys.stdout.buffer.write(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return ended.exit_code


def _check_first(study: Study, plan: Plan | None, arguments: argparse.Namespace) -> None:
    """Before anything is written or run: the gates, and whether a PLAN.json still says what would be run. Raises
    UserError P110, P111."""
    from isoloss.plans import plan_is_current
    from isoloss.plans.planning import compile_loaded, device_profile, stored_observations
    from isoloss.plans.study_is_current import replanning_commands, study_file
    from isoloss.runtime.store.recovery import study_states
    from isoloss.runtime.store.store import Store
    from isoloss.screens.diagnostics import print_diagnostics

    observations, profile = stored_observations(arguments.store), device_profile(study, arguments.store)
    now, _ = compile_loaded(study, observations, profile)
    if plan is not None:
        path, store = arguments.file, arguments.store
        changes = plan_is_current.changes_since(plan, observations, profile, store)
        begun = bool(observations) and plan.digest in study_states(Store(store, create=False))
        file = study_file(study, path)
        helps = (
            replanning_commands(study, file, path, store)
            if file
            else ("plan the study again, or name the plan's `--store`",)
        )
        print_diagnostics(
            plan_is_current.check_before_run(plan, now, changes, path, begun=begun, helps=helps)
        )
    check_gates(now, arguments)


def _run(
    study: Study, make: Callable[[Study], Executor], arguments: argparse.Namespace
) -> tuple[Ended, str, str | None]:
    from isoloss.inputs.data_there import check_data
    from isoloss.loop import run_study
    from isoloss.runtime.store.store import Store
    from isoloss.runtime.tracking.tracker import Tracker, behind
    from isoloss.screens.diagnostics import print_diagnostics

    store = Store(arguments.store)
    trackers: list[Tracker] = []

    def begin(ready: Sequence[Job]) -> None:
        # Slurm's nodes and other hosts may have files where this machine has none.
        if arguments.executor == "local" and arguments.hosts is None:
            print_diagnostics(check_data(ready, data_root(arguments)))
        track()

    def track() -> None:
        # Started with the first job, or for what an earlier outage left: MLflow takes seconds to load.
        if not trackers and not arguments.no_tracking:
            trackers.append(Tracker(store))

    try:
        ended = run_study(study, store, make, on_start=begin)
        report = _report(store, ended)
        # A store that can't be written, of a finished study, tells MLflow nothing: no promise is made for it.
        if behind(store) and os.access(store.path, os.W_OK):
            track()
    except BaseException:
        for tracker in trackers:
            tracker.abandon()
        raise
    return ended, "" if arguments.no_tracking else _tracking(trackers, store), report


def _report(store: Store, ended: Ended) -> str | None:
    """The report, also of a run that was interrupted or failed. None: it couldn't be drawn, and why is
    said."""
    from isoloss.report import write_report
    from isoloss.runtime.errors import JobError

    if not ended.ran and not ended.exit_code and not os.access(store.path, os.W_OK):
        print(
            f"`{store.path}` can't be written: its report stays what it was",
            file=sys.stderr,
        )
        return None
    try:
        path = write_report(store.path, store.path / "report.html")
    except (JobError, OSError) as error:
        print(f"no report: {error}", file=sys.stderr)
        return None
    if ended.ran or ended.elsewhere:
        with suppress(JobError):
            facts = {"study": ended.plan.digest, "name": ended.study.name, "path": path.name}
            store.journal.append({"event": "file", **facts})
    return str(path)


def _tracking(trackers: list[Tracker], store: Store) -> str:
    """How to look at MLflow; or that it is behind, and that nothing is lost."""
    from isoloss.runtime.tracking.names import tracking_uri
    from isoloss.runtime.tracking.secrets import shown

    uri = shown(tracking_uri(store.path))
    for tracker in trackers:
        reason = tracker.finish()
        if reason:
            later = f"nothing is lost: the next run on this store tells it ({store.path}/logs/tracking.log)"
            return f"R701: {uri} is behind: {reason}\n         {later}"
    return (
        uri
        if uri.startswith(("http://", "https://"))
        else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
    )


def _dry_run(study: Study, arguments: argparse.Namespace) -> int:
    """Scripts of the jobs that are ready now, and where they are."""
    from isoloss.errors import FINE
    from isoloss.loop import startable
    from isoloss.plans.planning import compile_loaded
    from isoloss.runtime.store.store import Store

    executor = slurm_executor(study, arguments)
    store = Store(arguments.store)
    plan, _ = compile_loaded(study, store.observations())
    jobs = startable(plan, store)
    if not jobs:
        print("nothing to submit: every job that is ready has a result")
        return FINE
    submission = executor.prepare(jobs, store, plan.digest)
    arrays = len(submission.groups)
    print(f"{len(jobs)} jobs in {arrays} arrays, nothing submitted: {submission.folder}")
    print(f"submit by hand: {submission.folder / 'submit.sh'}; or the same command without --dry-run")
    return FINE
