"""Designs and true parameters that the law tests share."""

from __future__ import annotations

import numpy as np

from isoloss.compiler.laws.arrays import Floats
from isoloss.compiler.laws.forms.registry import LAWS
from isoloss.compiler.laws.points import Points

PARAMS = np.array([5.849e6, 8.949e6, 1.98e7, 5.25e7, 1.222e8, 1.78e8, 2.668e8, 3.164e8])
IMAGES = np.array([5e6, 1e7, 3e7, 7e7, 1e8])
FIDS = np.array([1.65, 2.48, 6.79, 14.26])

TRUE: dict[str, dict[str, float]] = {
    "chinchilla": {"A": 6.69, "alpha": 0.24, "B": 9.89, "beta": 0.23, "E": 0.48},
    "approach2": {
        "A": 6.69, "alpha": 0.24, "B": 9.89, "beta": 0.23, "zeta": -0.28, "E": 0.48, "epsilon": 0.16
    },
    "approach3": {
        "A": 6.0, "alpha": 0.24, "B": 7000.0, "beta": 0.217, "Q": 0.0066, "kappa": 0.6,
        "E": 0.515, "epsilon": 0.036,
    },
    "powerlaw": {"A": 3.79, "B": -0.21},
    "powersum": {"A": 2500.0, "alpha": 0.6, "B": 3000.0, "beta": 0.55, "E": 0.5, "gamma": 0.5},
}  # fmt: skip


def design(fids: Floats = FIDS) -> tuple[Floats, Floats, Floats]:
    """Every N x D x FID of the paper's kind."""
    mesh = np.meshgrid(PARAMS, IMAGES, fids, indexing="ij")
    N, D, F = (m.ravel() for m in mesh)
    return N, D, F


def points_of(
    law: str, noise: float = 0.0, seed: int = 0, fids: Floats = FIDS, runs: Floats | None = None
) -> Points:
    """Noisy losses of a true law on the design."""
    N, D, F = design(fids)
    form = LAWS[law]
    theta = form.from_paper(TRUE[law])
    blank = Points.build(N, D, np.ones(len(N)), fid=F)
    log_loss = form.log_prediction(theta, blank.inputs())
    rng = np.random.default_rng(seed)
    return Points.build(N, D, np.exp(log_loss + noise * rng.standard_normal(len(N))), fid=F, run=runs)
