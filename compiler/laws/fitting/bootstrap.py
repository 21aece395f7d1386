"""Resampling: how often each run is drawn. Runs, never single checkpoints, are the unit: checkpoints of one
run share its luck."""

from __future__ import annotations

import numpy as np

from isoloss.compiler.laws.arrays import Floats, Ints


def run_counts(runs: int, resamples: int, seed: int) -> Floats:
    """[resamples, runs]: how often each run was drawn, with replacement."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(runs, np.full(runs, 1.0 / runs), size=resamples).astype(np.float64)


def run_weights(run: Ints, resamples: int, seed: int) -> Floats:
    """[resamples, n]: the count of each point's run."""
    groups, index = np.unique(run, return_inverse=True)
    return run_counts(len(groups), resamples, seed)[:, index]


def compact(samples: Floats, theta: Floats) -> Floats:
    """Resamples as a file keeps them: float32 deviations from theta (relative error 6e-8 of a deviation)."""
    return np.asarray((samples - theta).astype(np.float32).astype(np.float64) + theta)
