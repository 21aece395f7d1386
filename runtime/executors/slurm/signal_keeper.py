"""Keep srun from hearing what is meant for its ranks.

In: srun's command line. Out: its exit status. Preemption and `scancel` send SIGTERM to the batch script and to every
rank; each rank then saves, for which it has Slurm's KillWait. But srun, when it hears the signal too, kills them all
at once (srun(1), SIGNALS). So this process is the batch script, takes the signal and does nothing with it, and srun
runs below it in a session of its own. That keeps it from srun where Slurm tracks processes by cgroup or by process
group; proctrack/linuxproc signals every descendant. Run as a file by a bare interpreter; imports nothing of ours."""

import signal
import subprocess
import sys

if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGUSR1):
        # A handler, not SIG_IGN, which srun would inherit.
        signal.signal(number, lambda *_: None)
    sys.exit(subprocess.Popen(sys.argv[1:], start_new_session=True).wait() % 256)
