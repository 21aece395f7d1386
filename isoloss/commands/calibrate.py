"""`isoloss calibrate`: measure this machine's speed, for the seconds and the money of plans."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from isoloss.errors import fault

if TYPE_CHECKING:
    pass

EXAMPLE = """examples:
  isoloss calibrate
  isoloss calibrate --store /scratch/limits --device cuda
  isoloss calibrate -o PROFILE.json

Takes about half a minute: real jobs, as many at once as the machine has devices (of the CPU: cores). Plans and
runs on that store use what it finds. Measure while nothing else runs, or what else runs is measured too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("--store", metavar="DIR", default="isoloss-store", help="keep the profile here")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="what to measure (cpu)")
    parser.add_argument("-o", "--output", metavar="PROFILE.json", help="write it here too")
    parser.add_argument("--json", action="store_true", help="print the profile as JSON")


def run(arguments: argparse.Namespace) -> int:
    from isoloss.calibrating import calibrate
    from isoloss.errors import as_user_error
    from isoloss.plans.planning import write_text
    from isoloss.plans.stored_profile import FILE
    from isoloss.runtime.errors import JobError
    from isoloss.runtime.store.store import Store
    from isoloss.screens.calibration_screen import calibration_lines
    from isoloss.screens.progress import Progress

    progress = Progress()
    try:
        store = Store(arguments.store)
        kind = "cpu" if arguments.device == "cpu" else _accelerator()
        calibration = calibrate(kind, progress, progress.expect)
    except JobError as error:
        raise as_user_error(error) from error
    finally:
        progress.close()
    for path in (str(Path(store.path) / FILE), arguments.output):
        if path:
            write_text(path, calibration.to_json())
    if arguments.json:
        sys.stdout.write(calibration.to_json().decode())
        return 0
    print("\n".join(calibration_lines(calibration)))
    print(f"\nkept in {store.path / FILE}: plans and runs on this store use it")
    return 0


def _accelerator() -> str:
    """The language's name of this machine's GPU. Raises UserError B109 for one without."""
    from isoloss.compiler.cost.device_table import DEVICES, device_of_card
    from isoloss.runtime.executors.calibration import gpu_name

    name = gpu_name()
    kind = device_of_card(name)
    if kind is not None:
        return kind
    known = ", ".join(f"`{kind}`" for kind in DEVICES)
    raise fault("B109", f"no profile of the device `{name}`", f"devices with a profile: {known}")
