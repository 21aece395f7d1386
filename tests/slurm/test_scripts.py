"""Arrays and scripts, without a Slurm."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from isoloss import cli
from isoloss.compiler.plan import Cost, Job
from isoloss.compiler.plan import Placement as Planned
from isoloss.runtime.context import Placement
from isoloss.runtime.errors import JobError
from isoloss.runtime.executors.base import Resources
from isoloss.runtime.executors.slurm import executor as slurm
from isoloss.runtime.executors.slurm import task as slurm_task
from isoloss.runtime.executors.slurm.executor import SlurmExecutor
from isoloss.runtime.executors.slurm.job_arrays import MAX_TASKS, Group, arrange
from isoloss.runtime.executors.slurm.scripts import lead_seconds, parse_option
from isoloss.runtime.store.store import Store
from tests.runtime.fakes import FUNCTIONS, follow_job, generate_job, train_job
from tests.runtime.training_specs import train_spec

ROOT = Path(__file__).parents[2]


def names(group: Group) -> list[str]:
    return [job.name for _, job in sorted(group.tasks.items())]


def test_equal_jobs_are_one_array_and_needs_become_dependencies() -> None:
    jobs = [generate_job(n) for n in range(4)]
    together = follow_job(*jobs)
    first, second = arrange([together, *jobs], {})
    assert names(first) == [job.name for job in jobs]
    assert [place.index for place in second.after] == [0, 1, 2, 3]


def test_one_need_each_is_one_array_index_by_index() -> None:
    jobs = [generate_job(n) for n in range(4)]
    users = [follow_job(job) for job in jobs[1:]]
    first, second = arrange([*jobs, *users], {})
    assert second.like == first.name
    for index, user in second.tasks.items():
        assert user.needs == (first.tasks[index].id,)


def test_many_users_of_one_job_are_one_array() -> None:
    job = generate_job(1)
    users = [follow_job(job, behaviour=str(n)) for n in range(5)]
    _, second = arrange([job, *users], {})
    assert second.like is None
    assert len(second.tasks) == 5
    assert [place.index for place in second.after] == [0]


def test_jobs_in_the_queue_are_needed_by_their_ids() -> None:
    job, other = generate_job(1), generate_job(2)
    (group,) = arrange([follow_job(job)], {job.id: "77_3"})
    assert group.after_slurm == ("77_3",)
    first, second = arrange([other, follow_job(job, other)], {job.id: "77_3"})
    assert second.after_slurm == ("77_3",)
    assert second.after[0].group == first.name


def test_arrays_stay_within_slurms_limit() -> None:
    groups = arrange([generate_job(n) for n in range(MAX_TASKS + 5)], {})
    assert [len(group.tasks) for group in groups] == [MAX_TASKS, 5]


def test_a_placement_reaches_the_task(tmp_path: Path) -> None:
    job, placement = generate_job(1), Placement(16, 2)
    executor = SlurmExecutor(Resources("cpu", 1, placement=placement), functions=FUNCTIONS)
    written = executor.prepare([job], Store(tmp_path / "store"), "0" * 64)
    assert slurm_task._task(slurm_task.read_tasks(written.folder), "0-generate", "0").placement == placement


@pytest.mark.parametrize(
    ("state", "reason", "again"),
    [
        ("NODE_FAIL", "None", True),
        ("FAILED", "JobLaunchFailure", True),
        ("FAILED", "NonZeroExitCode", False),
        ("TIMEOUT", "None", False),
    ],
)
def test_what_was_lost_with_a_node_gets_another_attempt(
    tmp_path: Path, state: str, reason: str, again: bool
) -> None:
    watched = slurm._Watched(
        generate_job(1), "7_0", "0-generate", tmp_path, started=True, state=state, reason=reason
    )
    assert slurm._lost(watched).retry == again


@pytest.mark.parametrize("rank", [0, 1])
def test_what_an_attempt_says_is_not_what_an_earlier_one_said(tmp_path: Path, rank: int) -> None:
    """Stopped by its walltime, then killed: it was not cancelled. Rank 1 comes too late, to nothing to do."""
    job = train_job(train_spec(1, 32)) if rank else generate_job(1, behaviour="die")
    executor = SlurmExecutor(Resources("cpu", 2), processes=2, functions=FUNCTIONS)
    folder = executor.prepare([job], Store(tmp_path / "store"), "study").folder
    report = folder / "reports" / f"{job.id}{'.rank1' if rank else ''}.json"
    report.write_text('{"outcome": "stopped", "seconds": 9.0, "failure": null}')
    (folder / "rendezvous" / "7-1").write_text("over")
    environment = {
        "SLURM_JOB_ID": "7",
        "SLURM_RESTART_COUNT": "1",
        "SLURM_PROCID": str(rank),
        "PYTHONPATH": str(ROOT),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "isoloss.runtime.executors.slurm.task", str(folder), f"0-{job.kind}", "0"],
        env={**os.environ, **environment}, check=False,
    )  # fmt: skip
    assert ended.returncode == (0 if rank else -signal.SIGKILL)
    assert not report.exists()


def test_three_deaths_without_advance_end_what_slurm_requeues(tmp_path: Path) -> None:
    job = generate_job(1, behaviour="die")
    executor = SlurmExecutor(Resources("cpu", 1), functions=FUNCTIONS)
    folder = executor.prepare([job], Store(tmp_path / "store"), "study").folder
    statuses = []
    for attempt in range(4):
        environment = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(attempt), "PYTHONPATH": str(ROOT)}
        command = [
            sys.executable,
            "-m",
            "isoloss.runtime.executors.slurm.task",
            str(folder),
            "0-generate",
            "0",
        ]
        statuses.append(
            subprocess.run(command, env={**os.environ, **environment}, check=False, timeout=60).returncode
        )
    assert statuses == [-signal.SIGKILL] * 3 + [slurm_task.FAILED]
    assert '"code":"R201"' in (folder / "reports" / f"{job.id}.json").read_text()


def test_a_dry_run_writes_scripts_to_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "my store")
    jobs = [generate_job(1), generate_job(2)]
    executor = SlurmExecutor(
        Resources("cpu", 3), functions=FUNCTIONS, walltime_seconds=43200, options=[("partition", "main")]
    )
    written = executor.prepare([*jobs, follow_job(*jobs)], store, "0123456789abcdef" * 4)
    text = (written.folder / "0-generate.sh").read_text()
    python, guard = shlex.quote(sys.executable), ROOT / "runtime" / "executors" / "slurm" / "hold_signals.py"
    for found, name in (
        (str(written.folder), "FOLDER"), (written.name, "NAME"), (python, "PYTHON"), (jobs[0].id, "ID1"),
        (jobs[1].id, "ID2"),
    ):  # fmt: skip
        text = text.replace(found, name)
    text = re.sub(r"-S \S*hold_signals.py", "-S GUARD", text)
    assert guard.exists()
    assert text == GOLDEN
    assert (written.folder / "submit.sh").read_text().splitlines()[-2:] == [
        "array_0_generate=$(sbatch --parsable 0-generate.sh | cut -d';' -f1)",
        'array_1_fid=$(sbatch --parsable --dependency="afterok:${array_0_generate}_0:${array_0_generate}_1" '
        "1-fid.sh | cut -d';' -f1)",
    ]
    for script in written.folder.glob("*.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True)


GOLDEN = """\
#!/bin/bash
# 2 generate jobs of study 0123456789abcdef0123; index, job, what it is:
#     0  ID1  generate 1
#     1  ID2  generate 2
#SBATCH --job-name=isoloss-NAME.0-generate
#SBATCH --array=0-1%3
#SBATCH --output="FOLDER/logs/0-generate.%a.log"
#SBATCH --open-mode=append
#SBATCH --chdir="FOLDER"
#SBATCH --requeue
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --signal=B:USR1@300
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --time=0-12:00:00
#SBATCH --partition=main
export OMP_NUM_THREADS=1
export CUDA_VISIBLE_DEVICES=
export DS_ACCELERATOR=cpu

# The guard holds signals back until the worker listens.
exec PYTHON -I -S GUARD \\
  PYTHON -m isoloss.runtime.executors.slurm.task \\
  'FOLDER' 0-generate "$SLURM_ARRAY_TASK_ID"
"""


def test_ranks_are_started_by_srun_below_the_keeper(tmp_path: Path) -> None:
    executor = SlurmExecutor(Resources("h100", 8), functions=FUNCTIONS, processes=4)
    written = executor.prepare(
        [train_job(train_spec(1, 32)), generate_job(1)], Store(tmp_path / "store"), "study"
    )
    train = next(path for path in written.folder.glob("*-train.sh")).read_text()
    command = train[train.index("exec ") :].replace("\\\n", "").split()
    assert [Path(word).name for word in command if word.endswith(".py")] == [
        "signal_keeper.py",
        "hold_signals.py",
    ]
    srun = command[command.index("srun") :]
    assert srun[1:4] == ["--kill-on-bad-exit=1", "--ntasks=4", "--cpus-per-task=4"]
    assert "#SBATCH --signal=USR1@" in train, "to the ranks, not to the batch script"
    assert "#SBATCH --array=0%2\n" in train, "8 devices: two trainings of 4 at once"
    other = next(path for path in written.folder.glob("*-generate.sh")).read_text()
    assert "srun --" not in other


def placed(seed: int, devices: int) -> Job:
    job = train_job(replace(train_spec(seed, 32), seed=seed))
    return replace(job, cost=Cost(placement=Planned(devices, 8, 0, 1.0, True)))


def test_each_training_gets_the_devices_that_its_plan_names(tmp_path: Path) -> None:
    """Trainings of equal width share an array, and each array is held to what the budget's devices take of its jobs."""
    jobs = [placed(1, 1), placed(2, 4), placed(3, 4), placed(4, 16), generate_job(1)]
    executor = SlurmExecutor(Resources("h100", 16), functions=FUNCTIONS)
    written = executor.prepare(jobs, Store(tmp_path / "store"), "study")
    asked = {}
    for group in written.groups:
        text = (written.folder / f"{group.name}.sh").read_text()
        (count,) = re.findall(r"#SBATCH --ntasks=(\d+)\n", text)
        asked |= {job.id: int(count) for job in group.tasks.values()}
        assert f"%{16 // group.devices}\n" in text
        assert ("srun --" in text) == (group.devices > 1)
    assert [asked[job.id] for job in jobs] == [1, 4, 4, 16, 1]
    assert len(written.groups) == 4


def test_processes_on_the_command_line_replace_those_of_the_plan(tmp_path: Path) -> None:
    executor = SlurmExecutor(Resources("h100", 16), functions=FUNCTIONS, processes=2)
    (group,) = executor.prepare([placed(1, 1), placed(2, 16)], Store(tmp_path / "store"), "study").groups
    assert group.devices == 2


def test_a_dry_run_of_the_paper_s_study_gives_every_job_its_planned_devices(tmp_path: Path) -> None:
    study = str(ROOT / "examples" / "robustness_limits.study")
    assert cli.main(["run", study, "--executor", "slurm", "--dry-run", "--store", str(tmp_path)]) == 0
    (tasks,) = tmp_path.glob("slurm/*/tasks.json")
    data = json.loads(tasks.read_text())
    widths = set()
    for group, jobs in data["groups"].items():
        script = tasks.with_name(f"{group}.sh").read_text()
        for job in jobs.values():
            placement = job["cost"]["placement"]
            planned = placement["devices"] if placement and job["kind"] == "train" else 1
            assert f"#SBATCH --ntasks={planned}\n" in script
            assert data["processes"][group] == planned
            widths.add(planned)
    assert max(widths) > 1


def test_gpus_are_asked_for_by_task(tmp_path: Path) -> None:
    executor = SlurmExecutor(Resources("h100", 8), functions=FUNCTIONS)
    written = executor.prepare([generate_job(1)], Store(tmp_path / "store"), "study")
    text = (written.folder / "0-generate.sh").read_text()
    assert "#SBATCH --gpus-per-task=1\n" in text
    assert "CUDA_VISIBLE_DEVICES" not in text


@pytest.mark.parametrize(
    "text", ["time=1:00", "array=1-9", "Partition=x", "partition=a b", "wrap=rm", "mem=$(id)", "x\n=1"]
)
def test_options_that_cant_be_passed_are_refused(text: str) -> None:
    with pytest.raises(JobError) as raised:
        parse_option(text)
    assert raised.value.code == "R226"


def test_options_pass_as_they_are() -> None:
    assert parse_option("partition=gpu") == ("partition", "gpu")
    assert parse_option("--gres=gpu:a100:2") == ("gres", "gpu:a100:2")
    assert parse_option("exclusive") == ("exclusive", "")


def test_a_path_that_slurm_cant_read_is_refused(tmp_path: Path) -> None:
    executor = SlurmExecutor(Resources("cpu", 1), functions=FUNCTIONS)
    with pytest.raises(JobError, match="can't read the path") as raised:
        executor.prepare([generate_job(1)], Store(tmp_path / "50%"), "study")
    assert raised.value.code == "R226"


def test_the_warning_comes_in_time() -> None:
    assert lead_seconds(43200) == 300
    assert lead_seconds(3600) == 180
    assert lead_seconds(60) == 20
    assert lead_seconds(None) == 120


def test_without_slurm_the_command_says_so_and_dry_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    study = str(ROOT / "examples" / "first.study")
    where = ["--executor", "slurm", "--store", str(tmp_path / "store")]
    assert cli.main(["run", study, *where, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "nothing submitted" in said
    assert len(list((tmp_path / "store" / "slurm").glob("*/submit.sh"))) == 1
    assert cli.main(["run", study, *where, "--no-tracking"]) == 1
    assert "error[R220]" in capsys.readouterr().err
    assert cli.main(["run", study, "--dry-run", "--store", str(tmp_path / "other")]) == 2
    assert "error[R226]" in capsys.readouterr().err
