"""Plans on disk: a file compiled or a PLAN.json read, and whether it still says what would be run."""
