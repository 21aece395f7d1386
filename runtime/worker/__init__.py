"""What happens inside a worker process: one job, its lease, its inputs, its result; ranks above 0."""
