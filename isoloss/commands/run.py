"""isoloss run: compile and run a study until nothing is left, then print its answers."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from isoloss.inputs.gates import add_gates, check_gates, gated

if TYPE_CHECKING:
    from isoloss.compiler.plan import Plan
    from isoloss.dsl.study.study import Study
    from isoloss.loop import Ended
    from isoloss.runtime.executors.base import Executor, Resources
    from isoloss.runtime.executors.slurm.executor import SlurmExecutor
    from isoloss.runtime.store.store import Store
    from isoloss.runtime.tracking.tracker import Tracker

EXECUTORS = ("local", "slurm", "simulate")


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
    parser.add_argument(
        "--executor", choices=EXECUTORS, default="local", help="where jobs run (default: local)"
    )
    parser.add_argument("--store", metavar="DIR", default="isoloss-store", help="results (./isoloss-store)")
    parser.add_argument("--profile", metavar="P", help="a profile of the study")
    parser.add_argument(
        "--set", action="append", default=[], metavar="K=V", dest="overrides", help="override a value"
    )
    parser.add_argument("--data", metavar="DIR", help="where data sets are (or ISOLOSS_DATA)")
    parser.add_argument(
        "--truth", metavar="LAW", help="simulate: draw losses from this law (a fit's JSON or a name)"
    )
    parser.add_argument(
        "--noise", metavar="P", default="0.5%", help="simulate: relative noise of losses (0.5%%)"
    )
    parser.add_argument(
        "--slurm", action="append", default=[], metavar="NAME=VALUE",
        help="slurm: an option of sbatch, for example partition=gpu or account=robust; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--processes", type=positive, metavar="N",
        help="processes per training, one device each (1); results don't depend on it beyond rounding",
    )  # fmt: skip
    parser.add_argument(
        "--micro-batch", type=positive, metavar="N",
        help="images of a training that pass at a time on a device (as many as memory holds); the results don't "
        "depend on it beyond rounding",
    )  # fmt: skip
    parser.add_argument(
        "--zero", type=int, choices=range(4), metavar="STAGE",
        help="what DeepSpeed takes apart over a training's processes, 0 to 2 (0, or 2 where memory asks for it)",
    )  # fmt: skip
    parser.add_argument(
        "--hosts", metavar="FILE",
        help="local: run on these hosts, a line `name slots=N` each; reached by ssh, all see the store",
    )  # fmt: skip
    add_gates(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="slurm: write the batch scripts, say where, submit nothing"
    )
    parser.add_argument(
        "--no-tracking", action="store_true", help="don't write to MLflow; the journal has it all"
    )
    parser.add_argument("--json", action="store_true", help="print the answers as JSON")


def positive(text: str) -> int:
    """An argument that counts something: at least 1. argparse names the mistake (exit code 2)."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1, got {number}")
    return number


def run(arguments: argparse.Namespace) -> int:
    from isoloss.cli import show
    from isoloss.loop import as_user_error, load
    from isoloss.runtime.errors import JobError

    study, warnings, plan = load(arguments.file, arguments.profile, arguments.overrides)
    if plan is not None or gated(arguments):
        _check_first(study, plan, arguments)
    try:
        make = _maker(arguments)
        if arguments.dry_run:
            return _dry_run(study, arguments)
        ended, tracking, report = _run(study, make, arguments)
    except JobError as error:
        raise as_user_error(error) from error
    from isoloss.screens import summary

    if not arguments.json:
        show((*warnings, *ended.diagnostics), arguments)
        print(summary.text(ended, report, tracking))
    else:
        import orjson

        data = summary.as_data(ended, report, tracking)
        sys.stdout.buffer.write(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return ended.exit_code


def _check_first(study: Study, plan: Plan | None, arguments: argparse.Namespace) -> None:
    """Before anything is written or run: the gates, and whether a PLAN.json still says what would be run. Raises
    UserError P110, P111."""
    from isoloss.cli import tell
    from isoloss.plans import plan_is_current as basis
    from isoloss.plans.planning import compile_loaded, device_profile, stored_observations
    from isoloss.plans.study_is_current import again, study_file
    from isoloss.runtime.store.recovery import study_states
    from isoloss.runtime.store.store import Store

    known, profile = stored_observations(arguments.store), device_profile(study, arguments.store)
    now, _ = compile_loaded(study, known, profile)
    if plan is not None:
        path, store = arguments.file, arguments.store
        found = basis.since(plan, known, profile, store)
        begun = bool(known) and plan.digest in study_states(Store(store, create=False))
        file = study_file(study, path)
        helps = (
            again(study, file, path, store)
            if file
            else ("plan the study again, or name the plan's `--store`",)
        )
        tell(basis.to_run(plan, now, found, path, begun=begun, helps=helps))
    check_gates(now, arguments)


def _run(
    study: Study, make: Callable[[Study], Executor], arguments: argparse.Namespace
) -> tuple[Ended, str, str | None]:
    from isoloss.loop import run_study
    from isoloss.runtime.store.store import Store
    from isoloss.runtime.tracking.tracker import Tracker, behind

    store = Store(arguments.store)
    trackers: list[Tracker] = []

    def track() -> None:
        # Started with the first job, or for what an earlier outage left: MLflow takes seconds to load.
        if not trackers and not arguments.no_tracking:
            trackers.append(Tracker(store))

    try:
        ended = run_study(study, store, make, on_start=track)
        report = _report(store, ended)
        if behind(store):
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

    try:
        path = write_report(store.path, store.path / "report.html")
    except (JobError, OSError) as error:
        print(f"no report: {error}", file=sys.stderr)
        return None
    if ended.ran or ended.elsewhere:
        with suppress(JobError):
            facts = {"study": ended.plan.digest, "name": ended.study.name, "path": str(path)}
            store.journal.append({"event": "file", **facts})
    return str(path)


def _tracking(trackers: list[Tracker], store: Store) -> str:
    """How to look at MLflow; or that it is behind, and that nothing is lost."""
    from isoloss.runtime.tracking.names import shown, tracking_uri

    uri = shown(tracking_uri(store.path))
    for tracker in trackers:
        reason = tracker.finish()
        if reason:
            later = f"nothing is lost: the next run on this store tells it ({store.path}/logs/tracking.log)"
            return f"R701: {uri} is behind: {reason}\n         {later}"
    return uri if uri.startswith(("http://", "https://")) else f"mlflow ui --backend-store-uri {uri}"


def _maker(arguments: argparse.Namespace) -> Callable[[Study], Executor]:
    _refuse_others_options(arguments)
    if arguments.executor == "simulate":
        return _simulator(arguments)
    if arguments.executor == "slurm":
        return lambda study: _slurm(study, arguments)
    return lambda study: _local(study, arguments)


def _local(study: Study, arguments: argparse.Namespace) -> Executor:
    from isoloss.runtime.executors.hosts.executor import HostsExecutor, read_hosts
    from isoloss.runtime.executors.local.executor import LocalExecutor

    processes = arguments.processes or 1
    if arguments.hosts is None:
        return LocalExecutor(_resources(study, arguments), processes=processes)
    return HostsExecutor(read_hosts(Path(arguments.hosts)), _resources(study, arguments), processes=processes)


def _resources(study: Study, arguments: argparse.Namespace) -> Resources:
    from isoloss.runtime.context import Placement
    from isoloss.runtime.executors.base import Resources

    root = arguments.data or os.environ.get("ISOLOSS_DATA")
    devices = study.budget.devices
    placement = Placement(arguments.micro_batch, arguments.zero)
    return Resources(devices.kind, devices.count, Path(root).absolute() if root else None, placement)


def _slurm(study: Study, arguments: argparse.Namespace) -> SlurmExecutor:
    from isoloss.errors import WRONG_USAGE, fault
    from isoloss.runtime.errors import JobError
    from isoloss.runtime.executors.slurm.executor import SlurmExecutor
    from isoloss.runtime.executors.slurm.scripts import parse_option

    try:
        options = [parse_option(text) for text in arguments.slurm]
    except JobError as error:
        raise fault(error.code, error.message, *error.help, exit_code=WRONG_USAGE) from error
    return SlurmExecutor(
        _resources(study, arguments),
        options=options,
        processes=arguments.processes or 1,
        walltime_seconds=study.budget.walltime_seconds,
    )


def _dry_run(study: Study, arguments: argparse.Namespace) -> int:
    """Scripts of the jobs that are ready now, and where they are."""
    from isoloss.errors import FINE
    from isoloss.loop import startable
    from isoloss.plans.planning import compile_loaded
    from isoloss.runtime.store.store import Store

    executor = _slurm(study, arguments)
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


#: option -> executors that it means something to.
_OPTIONS = {
    "--slurm": ("slurm",),
    "--dry-run": ("slurm",),
    "--processes": ("local", "slurm"),
    "--micro-batch": ("local", "slurm"),
    "--zero": ("local", "slurm"),
    "--hosts": ("local",),
    "--truth": ("simulate",),
}


def _refuse_others_options(arguments: argparse.Namespace) -> None:
    from isoloss.errors import WRONG_USAGE, fault

    for option, executors in _OPTIONS.items():
        given = getattr(arguments, option.removeprefix("--").replace("-", "_"))
        if given and arguments.executor not in executors:
            code = "R210" if option == "--truth" else "R226"
            named = " or ".join(f"`--executor {name}`" for name in executors)
            raise fault(
                code, f"`{option}` is for {named}", "add it, or leave the option out", exit_code=WRONG_USAGE
            )


def _simulator(arguments: argparse.Namespace) -> Callable[[Study], Executor]:
    from isoloss.errors import WRONG_USAGE, fault
    from isoloss.inputs.law_file import load_law
    from isoloss.simulation import Truth, noise_share

    if arguments.truth is None:
        raise fault(
            "R210",
            "`--executor simulate` needs a law to draw from",
            "for example `--truth bartoldson2024.approach3`",
            exit_code=WRONG_USAGE,
        )
    truth = Truth(load_law(arguments.truth), noise_share(arguments.noise))

    def simulated(study: Study) -> Executor:
        from isoloss.runtime.executors.simulate.executor import SimulateExecutor

        return SimulateExecutor(truth.draw)

    return simulated
