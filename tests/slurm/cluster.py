"""A real Slurm of two virtual nodes on this host, without systemd: for tests, never for users.

Debian's slurmd runs several nodes on one host (`slurmd -N`). Private sockets, ports and keys in one folder;
every daemon is ended with the cluster. Needs root, and the packages slurm-wlm and munge."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "sinfo")

_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool.%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
AuthType=auth/munge
AuthInfo=socket={run}/munge.sock,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
KillWait=5
MinJobAge=600
JobRequeue=1
NodeName=n[0-1] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{second}] CPUs=2 RealMemory=4000
PartitionName=main Nodes=n[0-1] Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=n[0-1] MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


_CGROUP_CONF = """\
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
CgroupPlugin=cgroup/v1
"""


def tracks_by_cgroup() -> bool:
    """Can Slurm track processes here as it does on most clusters? Needs the first version's freezer."""
    return os.access("/sys/fs/cgroup/freezer/tasks", os.W_OK)


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    if os.geteuid() != 0:
        return "starting Slurm's daemons needs root"
    absent = [p for p in PROGRAMS if shutil.which(p, path=_path()) is None]
    return f"not installed: {', '.join(absent)} (Debian packages slurm-wlm and munge)" if absent else None


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@dataclass
class Cluster:
    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, timeout: float = 30) -> str:
        """A client command's output. Raises CalledProcessError with it."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        return done.stdout

    def fail_node(self, node: str, *pids: int) -> None:
        """A node goes away with its daemons and what runs on it; the controller is told, as its own timeout would. The
        daemons go first: one that sees a task die says so, and the task has failed where a lost one is requeued."""
        steps = [
            parent.pid
            for pid in pids
            if psutil.pid_exists(pid)
            for parent in psutil.Process(pid).parents()
            if parent.name().startswith("slurmstepd")
        ]
        daemon = int((self.folder / "run" / f"slurmd.{node}.pid").read_text())
        for pid in (daemon, *steps, *pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def mend_node(self, node: str) -> None:
        _detached("slurmd", "-f", str(self.folder / "slurm.conf"), "-N", node, environment=self.environment)
        # ReturnToService=2: it may have come back by itself, and can't be resumed then.
        with suppress(subprocess.CalledProcessError):
            self.run("scontrol", "update", f"nodename={node}", "state=resume")

    def stop(self) -> None:
        with suppress(subprocess.SubprocessError, OSError):
            self.run("scancel", "--full", "--user=root")
        # Read before the first signal: a daemon may remove its file and then hang on its way out.
        pids = []
        for pid_file in sorted((self.folder / "run").glob("*.pid"), reverse=True):
            with suppress(OSError, ValueError):
                pids.append(int(pid_file.read_text()))
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids:
                with suppress(OSError):
                    os.kill(pid, number)
            time.sleep(0.3)


def start(folder: Path) -> Cluster:
    """Two idle nodes, or RuntimeError with the logs' ends."""
    for name in ("state", "log", "run", "spool.n0", "spool.n1"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    host = socket.gethostname().split(".")[0]
    port = _free_ports(1)[0]
    first = _adjacent_ports()
    run = folder / "run"
    conf = folder / "slurm.conf"
    proctrack = "cgroup" if tracks_by_cgroup() else "linuxproc"
    conf.write_text(
        _CONF.format(
            host=host, port=port, run=run, folder=folder, first=first, second=first + 1, proctrack=proctrack
        )
    )
    (folder / "cgroup.conf").write_text(_CGROUP_CONF)
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(os.urandom(128))
    environment = {**os.environ, "PATH": _path(), "SLURM_CONF": str(conf)}
    cluster = Cluster(folder, environment)
    cluster.run(
        "munged", "--force", f"--key-file={key}", f"--socket={run}/munge.sock",
        f"--pid-file={run}/munged.pid", f"--log-file={folder}/log/munged.log",
        f"--seed-file={run}/munge.seed",
    )  # fmt: skip
    _detached("slurmctld", "-f", str(conf), "-c", environment=environment)
    for node in ("n0", "n1"):
        _detached("slurmd", "-f", str(conf), "-N", node, environment=environment)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(subprocess.SubprocessError):
            if cluster.run("sinfo", "-h", "-p", "main", "-o", "%T %D").strip() == "idle 2":
                return cluster
        time.sleep(0.1)
    logs = "\n".join(p.read_text(errors="replace")[-1500:] for p in (folder / "log").glob("*.log"))
    cluster.stop()
    raise RuntimeError(f"the test cluster did not come up:\n{logs}")


def _adjacent_ports() -> int:
    """A port whose successor is free too: the two nodes' ports are a Slurm range."""
    for port in range(17001, 17999, 2):
        with socket.socket() as a, socket.socket() as b, suppress(OSError):
            a.bind(("127.0.0.1", port))
            b.bind(("127.0.0.1", port + 1))
            return port
    raise RuntimeError("no two adjacent free ports")


def _detached(*command: str, environment: dict[str, str]) -> None:
    # Daemons inherit no pipe of ours, or a test runner waiting for its end would wait for theirs.
    subprocess.run(
        command, env=environment, check=True, timeout=30,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
