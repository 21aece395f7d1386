"""Three deaths without advance: what counts as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoloss.runtime.executors.tries import TRIES, Tries
from isoloss.runtime.store.store import Store

JOB = "0" * 20


@pytest.mark.parametrize(
    ("states", "deaths"),
    [
        ("000", 3),  # nothing saved
        ("01212121", 5),  # round and round
        ("0123456", None),  # each further
        ("0112233", None),
        ("0111", 4),
    ],
)
def test_a_job_ends_after_three_deaths_at_states_it_had(states: str, deaths: int | None) -> None:
    tries = Tries()
    tries.begins("0")
    ended = next((n for n, state in enumerate(states, 1) if not tries.dies(state)), None)
    assert ended == deaths
    assert TRIES == 3


def test_a_newer_file_is_no_advance_and_other_contents_are(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    work = store.work_folder(JOB)
    states = [store.saved(JOB)]
    for contents in (b"40", b"60", b"60", b"40"):
        (work / "done").unlink(missing_ok=True)
        (work / "done").write_bytes(contents)
        (work / ".images.npy").write_bytes(contents)  # a draft
        states.append(store.saved(JOB))
    (work / "step-000000000100.ckpt").write_bytes(b"a")
    with_a_step = store.saved(JOB)
    (work / "step-000000000100.ckpt").write_bytes(b"b")
    assert store.saved(JOB) == with_a_step
    assert states[2] == states[3]
    assert states[1] == states[4]
    assert len({*states, with_a_step}) == 4
