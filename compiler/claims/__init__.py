"""A paper's printed numbers, recomputed: published constants -> a list of `Claim`s with verdicts.

Runs for `isoloss verify`; pure, no data files. One module per part of the paper."""
