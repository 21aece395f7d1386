"""Every claim of Bartoldson et al. 2024 (arXiv:2404.09349) that arithmetic can check, in the paper's"
" order."""

from __future__ import annotations

from collections.abc import Iterable

from isoloss.compiler.claims import compute, human, laws, limits, lint, rounding
from isoloss.compiler.claims.claim import Claim

TITLE = "Bartoldson et al. 2024, Adversarial Robustness Limits via Scaling-Law and Human-Alignment Studies"


def verify() -> tuple[Claim, ...]:
    """All claims, part by part. Pure; under a second."""
    parts: tuple[Iterable[Claim], ...] = (
        laws.claims(),
        limits.claims(),
        rounding.claims(),
        lint.claims(),
        compute.claims(),
        human.claims(),
    )
    return tuple(claim for part in parts for claim in part)
