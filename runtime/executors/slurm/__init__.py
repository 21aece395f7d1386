"""Jobs on a Slurm cluster: scripts, arrays, the task that a node starts."""
