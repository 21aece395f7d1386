"""N*, D* and L* of the published laws at round budgets: what the paper only plots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from isoloss.compiler.claims.laws import law, mid


@dataclass(frozen=True, slots=True)
class OptimumRow:
    law: str
    fid: float
    flops: float
    params: float
    images: float
    loss: float


def optimum_rows() -> Iterator[OptimumRow]:
    """Approaches 2 and 3 at FID 0, 1.65 (DG) and 1.76 (PFGM++), 1e18 to 1e25 FLOPs; 7822 FLOP per N D."""
    for number in (2, 3):
        for fid in (0.0, 1.65, 1.76):
            for flops in (1e18, 1e20, 1e21, 1e25):
                best = law(number).optimum(flops, fid)
                yield OptimumRow(
                    f"approach{number}", fid, flops, mid(best.params), mid(best.images), mid(best.loss)
                )
