"""What commands print: plans, fits, answers, progress, the end of a run."""
