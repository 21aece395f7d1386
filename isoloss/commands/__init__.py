"""One module per command. Each has `add_arguments(parser)` and `run(arguments) -> int`; heavy imports
belong inside `run`, so that `check` never pays for torch."""
