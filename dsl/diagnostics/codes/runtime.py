"""Diagnostic codes of the stage: runtime. R1xx store, R2xx running, R7xx tracking here; training, data,
generators and evaluation in runtime_jobs.py.

Most need a broken disk, device or process to appear, which no study text has: their examples are the shell lines
that bring them about, or that a person would have typed."""

from __future__ import annotations

from isoloss.dsl.diagnostics.codes.row import Code
from isoloss.dsl.diagnostics.codes.runtime_jobs import CODES as JOB_CODES

_SLURM = "$ isoloss run limits.study --executor slurm --store results"
_RUN = "$ isoloss run limits.study --store results"

STORE: tuple[Code, ...] = (
    Code(
        "R101",
        "no store there",
        "A command that only reads wants a store that exists. `isoloss run` makes one, in `./isoloss-store` unless "
        "`--store` says otherwise; perhaps the command runs in another folder than the study did.",
        "$ isoloss status --store nowhere",
        "$ isoloss status --store results",
    ),
    Code(
        "R102",
        "a folder that is not a store",
        "A store is a folder of its own, marked by `isoloss.json`. A folder with other files in it is never made into "
        "one, so that nothing of its owner's is touched.",
        "$ mkdir thesis && touch thesis/chapter1.tex\n$ isoloss status --store thesis",
        "$ isoloss status --store results",
    ),
    Code(
        "R103",
        "no space left",
        "The disk or the quota is full. Nothing is lost: a result is published only when it is whole, checkpoints stay. "
        "After making room the same command goes on. The largest parts of a store are generated images and weights; "
        "`isoloss plan` estimates them beforehand.",
        "$ isoloss run limits.study --store /full/disk/results",
        "$ isoloss run limits.study --store /large/disk/results",
    ),
    Code(
        "R104",
        "the store can't be written",
        "The folder or its disk is read-only for this user. `isoloss status` and `isoloss report -o OUT.html` read a "
        "store without writing into it; `run` needs one of its own.",
        "$ isoloss run limits.study --store /read/only/results",
        _RUN,
    ),
    Code(
        "R105",
        "the store can't be read",
        "The operating system failed to read or write a file for another reason than space and permission: a broken "
        "disk, a network file system that went away. What it said is in the message.",
        "$ isoloss status --store /broken/mount/results",
        "$ isoloss status --store results",
    ),
    Code(
        "R106",
        "simulated and measured results would mix",
        "`--executor simulate` draws results from a law; they look like measured ones and must never be taken for "
        "them. A store holds one kind only, for ever.",
        "$ isoloss run limits.study --store results --executor simulate --truth bartoldson2024.approach3",
        "$ isoloss run limits.study --store trial --executor simulate --truth bartoldson2024.approach3",
    ),
    Code(
        "R107",
        "a damaged result",
        "A checksum differs from the one that was written with the result. It was moved to `damaged/` in the store, a "
        "line in the journal says so, and the job counts as not done: the next `isoloss run` makes it again.",
        "$ printf x >> results/0123456789abcdef0123/images.npy",
        _RUN,
    ),
    Code(
        "R108",
        "a store of another version",
        "The store was made by a later version of isoloss, whose layout this one doesn't know.",
        _RUN,
        "$ pip install --upgrade isoloss",
    ),
    Code(
        "R109",
        "a plan is resolved already",
        "A PLAN.json holds its study with profile and `--set` applied. To change either, start from the study.",
        "$ isoloss run PLAN.json --profile laptop",
        "$ isoloss run limits.study --profile laptop",
    ),
    Code(
        "R110",
        "a store that leads out of its folder",
        "A store holds files and folders alone, and what its files name lies below it: it can be copied, moved and "
        "given away, and one from a stranger reads and writes nothing else. A link, a pipe or a device in it, or a name "
        "that leads elsewhere, is refused. A store on another disk is named whole: `--store /disk/results`.",
        "$ ln -s /scratch/work results/work\n$ isoloss run limits.study --store results",
        "$ isoloss run limits.study --store /scratch/results",
    ),
    Code(
        "R111",
        "a file of the store that is not what it should be",
        "The file can be read and doesn't say what a store's file of that name says: it was edited, or another program "
        "wrote it. Lines of the journal and plans that make no sense are passed over; `isoloss status --verify` counts "
        "them.",
        "$ echo '[1, 2]' > results/origin\n$ isoloss run limits.study --store results",
        "$ isoloss status --store results --verify",
    ),
)

RUNNING: tuple[Code, ...] = (
    Code(
        "R201",
        "a worker was killed",
        "The process of a job ended by a signal or without a report: killed by hand, by a batch system, by a crash in "
        "native code. The job was begun again from its last checkpoint and this came back three times with nothing "
        "new saved between. Its log is named. Other jobs went on; the same command tries once more.",
        "$ kill -9 WORKER",
        _RUN,
    ),
    Code(
        "R202",
        "a worker was killed for its memory",
        "The kernel's out-of-memory killer ended the worker (its counter went up at that time). Fewer jobs at once "
        "(`budget.devices`), a smaller batch or a smaller network need less; `isoloss explain` shows the planned memory.",
        "$ isoloss run limits.study --set budget.devices='64 of cpu'",
        "$ isoloss run limits.study --set budget.devices='2 of cpu'",
    ),
    Code(
        "R203",
        "a job ran out of memory",
        "An allocation failed, on the device or on the host. The batch decides most of it: activations of an "
        "adversarial step grow with it, and a changed batch is another job.",
        "$ isoloss run limits.study --set recipe.trades.batch=8192",
        "$ isoloss run limits.study --set recipe.trades.batch=512",
    ),
    Code(
        "R204",
        "the budget's devices are not here",
        "The local executor runs on this machine, and the study's budget names devices that it lacks. "
        "CUDA_VISIBLE_DEVICES counts: an empty one hides every device.",
        "$ isoloss run limits.study",
        "$ isoloss run limits.study --profile laptop",
    ),
    Code(
        "R205",
        "a job reported nothing usable",
        "Every job yields at least one observation, its own and finite. A job function that gives none, another job's, "
        "or a value that isn't a number has a bug; the result is not stored.",
        _RUN,
        _RUN,
    ),
    Code(
        "R206",
        "another process took the job",
        "A worker holds a lease on its job and renews it every few seconds. This one was silent for a minute (asleep, "
        "or its file system was), another host took the job over, and this one stepped back.",
        _RUN,
        _RUN,
    ),
    Code(
        "R207",
        "an input has no result",
        "The result that a job needs was there when the job was planned and is gone now: set aside as damaged, or "
        "removed by hand. The next plan makes it again.",
        "$ rm -r results/0123456789abcdef0123",
        _RUN,
    ),
    Code(
        "R208",
        "no job function for a kind",
        "The plan has a job of a kind that this installation can't run, for example of a plug-in that isn't installed.",
        "$ isoloss run PLAN.json",
        "$ isoloss run limits.study",
    ),
    Code(
        "R209",
        "workers can't be started",
        "The process that forks workers could not be started, or was killed. Its log is `logs/fork_server.log` in the "
        "store.",
        _RUN,
        _RUN,
    ),
    Code(
        "R210",
        "a simulation needs a law and a noise",
        "`--executor simulate` draws losses from a law: `--truth` names a fit's JSON or a published law, `--noise` the "
        "relative scatter of runs. Neither has a meaning for real runs.",
        "$ isoloss run limits.study --executor simulate",
        "$ isoloss run limits.study --executor simulate --truth bartoldson2024.approach3 --noise 0.5%",
    ),
    Code(
        "R211",
        "the law says nothing about a job",
        "A simulation asked its law for a loss that it doesn't give: the quality of the images is unknown and the law "
        "needs it, or the plan has no metric to draw.",
        "$ isoloss run limits.study --executor simulate --truth fit.json",
        "$ isoloss run limits.study --executor simulate --truth bartoldson2024.approach3",
    ),
    Code(
        "R212",
        "another process of a job went away",
        "A training of several processes (`--processes`) can't go on when one of them is gone. Why it went is told of "
        "that one; where nobody saw it die, its connection broke. The others stop, and the job goes on from its last "
        "checkpoint, by itself a few times and with the same command after that.",
        "$ isoloss run limits.study --store results --processes 2",
        "$ isoloss run limits.study --store results --processes 2",
    ),
    Code(
        "R213",
        "more processes than device slots",
        "A training gets as many device slots at once as its plan names, or as `--processes N` says. There are as many slots as the study's "
        "`budget.devices` and the machine allow, or the host file, whichever is less.",
        "$ isoloss run limits.study --processes 64",
        "$ isoloss run limits.study --processes 2 --set budget.devices='2 of cpu'",
    ),
    Code(
        "R214",
        "a host file that can't be used",
        "`--hosts` names a text file with a line `name slots=N` for each host, as DeepSpeed reads it: N device slots, "
        "a name by which the other hosts reach it. `#` begins a comment.",
        "$ printf 'node1: 4\\n' > hosts.txt && isoloss run limits.study --hosts hosts.txt",
        "$ printf 'node1 slots=4\\n' > hosts.txt && isoloss run limits.study --hosts hosts.txt --store /shared/results",
    ),
    Code(
        "R215",
        "a host that went away",
        "A host of `--hosts` could not be reached, does not see the store, has other versions, or fell silent for a "
        "minute. It is left out and told; its jobs go on elsewhere, from their last checkpoints, once their leases "
        "have expired. With no host left the run ends.",
        "$ isoloss run limits.study --hosts hosts.txt --store /tmp/results",
        "$ isoloss run limits.study --hosts hosts.txt --store /shared/results",
    ),
    Code(
        "R220",
        "no Slurm that answers",
        "`--executor slurm` needs `sbatch`, `squeue`, `scancel` and `scontrol`, and a controller that answers them. A "
        "controller that is away for some minutes is waited for. Jobs in the queue go on without the front door; the "
        "same command attaches to them again.",
        _SLURM,
        "$ isoloss run limits.study --executor slurm --dry-run",
    ),
    Code(
        "R221",
        "a submission that Slurm refused",
        "`sbatch` said no, and its words are shown: often a partition, account or limit that has to be named with "
        "`--slurm`. What was submitted before the refusal is cancelled, so that nothing waits for what never comes.",
        _SLURM,
        "$ isoloss run limits.study --executor slurm --slurm partition=gpu --slurm account=robust",
    ),
    Code(
        "R222",
        "a task that Slurm lost",
        "The task ended without a result and without a reason of its own: its node failed and Slurm did not requeue "
        "it, or its process was killed. Slurm's state and the task's log are named; checkpoints are kept.",
        _SLURM,
        _SLURM,
    ),
    Code(
        "R223",
        "a walltime that is too short",
        "Before its walltime ends a task is asked for a checkpoint and goes back into the queue, so that a long job "
        "is a chain of attempts. This one had saved nothing that a further attempt could start from, could not be "
        "requeued, or did not save in time. Trainings save at every step they are asked to; an evaluation has to fit "
        "into one walltime.",
        "$ isoloss run limits.study --executor slurm --set budget.walltime='1 min'",
        "$ isoloss run limits.study --executor slurm --set budget.walltime='12 h'",
    ),
    Code(
        "R224",
        "a task ended by Slurm for its memory",
        "The task used more main memory than was asked for. `--slurm mem=32G` asks for more; a smaller batch needs "
        "less.",
        _SLURM,
        "$ isoloss run limits.study --executor slurm --slurm mem=32G",
    ),
    Code(
        "R225",
        "a task was cancelled in Slurm",
        "Somebody cancelled the task with `scancel`, not this command with Ctrl-C. It saved a checkpoint if it could; "
        "the same command goes on from it.",
        "$ scancel 1234_5",
        _SLURM,
    ),
    Code(
        "R226",
        "an option that an executor can't have",
        "`--slurm NAME=VALUE` passes an option to `sbatch`. Those that isoloss sets itself (arrays, dependencies, "
        "signals, requeueing, logs, walltime) can't be changed; the walltime is the study's. `--slurm` and `--dry-run` "
        "mean nothing to other executors, `--hosts` nothing to Slurm, `--processes` nothing to a simulation.",
        "$ isoloss run limits.study --executor slurm --slurm time=1:00:00",
        "$ isoloss run limits.study --executor slurm --set budget.walltime='1 h'",
    ),
    Code(
        "R299",
        "an internal error",
        "A bug of ours, or of a plug-in: an exception that nobody expected. The traceback is in the file named, the "
        "job counts as failed, everything else goes on.",
        _RUN,
        _RUN,
    ),
)

TRACKING: tuple[Code, ...] = (
    Code(
        "R701",
        "the tracking store is behind",
        "MLflow mirrors the store's journal. It could not be reached, or refused; no job waited for it and nothing is "
        "lost: the journal has everything, and the next run on this store tells MLflow from where it stopped. The "
        "reasons are in `logs/tracking.log` in the store.",
        "$ MLFLOW_TRACKING_URI=http://127.0.0.1:1 isoloss run limits.study",
        _RUN,
    ),
)

CODES: tuple[Code, ...] = (*STORE, *RUNNING, *JOB_CODES, *TRACKING)
