"""The device profile that `isoloss calibrate` left in a store -> DeviceProfile. Read whenever a plan is made.

`profile.json` says on which machine it was measured: another machine's is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isoloss.compiler.plan import DeviceProfile
from isoloss.errors import fault

if TYPE_CHECKING:
    from isoloss.runtime.executors.calibration import Machine


FORMAT = "isoloss.profile/2"


FILE = "profile.json"


def stored_profile(store: str | Path | None, kind: str) -> DeviceProfile | None:
    """The calibration in a store, if it has one for this kind of device. Raises UserError P107 for another
    machine's, P108 for a file that is no calibration."""
    path = Path(store) / FILE if store is not None else None
    if path is None or not path.exists():
        return None
    profile, machine = read_profile(path)
    if profile.device != kind:
        return None
    from isoloss.runtime.executors.calibration import this_machine

    here = this_machine()
    for what, theirs, ours in (("host", machine.host, here.host), ("processor", machine.cpu, here.cpu)):
        if theirs != ours:
            raise fault(
                "P107",
                f"`{path}` was measured on another machine: {what} `{theirs}`, this is `{ours}`",
                "measure this one: `isoloss calibrate`, with the same `--store`",
                f"or delete `{path}`: plans then assume a speed",
            )
    return profile


def read_profile(path: Path) -> tuple[DeviceProfile, Machine]:
    """A profile.json and its machine. Raises UserError P108."""
    import orjson
    from pydantic import TypeAdapter

    from isoloss.runtime.executors.calibration import Machine

    try:
        data = orjson.loads(path.read_bytes())
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ValueError(f"its format is not `{FORMAT}`")
        return (
            TypeAdapter(DeviceProfile).validate_python(data.get("profile")),
            TypeAdapter(Machine).validate_python(data.get("machine")),
        )
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise fault(
            "P108",
            f"`{path}` can't be read as a calibration: {why}",
            f"measure again: `isoloss calibrate --store {path.parent}`",
        ) from None
