"""Options of `isoloss run` -> the executor of a study: local processes, hosts, Slurm or a simulation.

An option that the chosen executor doesn't know is refused (R210, R226) before anything is compiled or written."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from isoloss.errors import WRONG_USAGE, fault

if TYPE_CHECKING:
    from isoloss.dsl.study.study import Study
    from isoloss.runtime.executors.base import Executor, Resources
    from isoloss.runtime.executors.slurm.executor import SlurmExecutor

EXECUTORS = ("local", "slurm", "simulate")


def add_executor_options(parser: argparse.ArgumentParser) -> None:
    """Where jobs run, and how a training lies on its devices."""
    parser.add_argument(
        "--executor", choices=EXECUTORS, default="local", help="where jobs run (default: local)"
    )
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
        help="processes per training, one device each (as many as the plan places it on); results don't depend on it "
        "beyond rounding",
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


def positive(text: str) -> int:
    """An argument that counts something: at least 1. argparse names the mistake (exit code 2)."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1, got {number}")
    return number


def executor_maker(arguments: argparse.Namespace) -> Callable[[Study], Executor]:
    _refuse_others_options(arguments)
    if arguments.executor == "simulate":
        return _simulator(arguments)
    if arguments.executor == "slurm":
        return lambda study: slurm_executor(study, arguments)
    return lambda study: _local(study, arguments)


def _local(study: Study, arguments: argparse.Namespace) -> Executor:
    from isoloss.runtime.executors.hosts.executor import HostsExecutor, read_hosts
    from isoloss.runtime.executors.local.executor import LocalExecutor

    processes = arguments.processes
    if arguments.hosts is None:
        return LocalExecutor(_resources(study, arguments), processes=processes)
    return HostsExecutor(read_hosts(Path(arguments.hosts)), _resources(study, arguments), processes=processes)


def data_root(arguments: argparse.Namespace) -> Path | None:
    """Where datasets are looked for: `--data`, else ISOLOSS_DATA."""
    root = arguments.data or os.environ.get("ISOLOSS_DATA")
    return Path(root).absolute() if root else None


def _resources(study: Study, arguments: argparse.Namespace) -> Resources:
    from isoloss.runtime.context import Placement
    from isoloss.runtime.executors.base import Resources

    devices = study.budget.devices
    placement = Placement(arguments.micro_batch, arguments.zero)
    return Resources(devices.kind, devices.count, data_root(arguments), placement)


def slurm_executor(study: Study, arguments: argparse.Namespace) -> SlurmExecutor:
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
        processes=arguments.processes,
        walltime_seconds=study.budget.walltime_seconds,
    )


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

    for option, executors in _OPTIONS.items():
        given = getattr(arguments, option.removeprefix("--").replace("-", "_"))
        if given and arguments.executor not in executors:
            code = "R210" if option == "--truth" else "R226"
            named = " or ".join(f"`--executor {name}`" for name in executors)
            raise fault(
                code, f"`{option}` is for {named}", "add it, or leave the option out", exit_code=WRONG_USAGE
            )


def _simulator(arguments: argparse.Namespace) -> Callable[[Study], Executor]:
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
