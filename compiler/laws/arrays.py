"""Array types of the law room, and the points at which a law is asked for its value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

#: N (array) -> training FLOP per image (array of that shape): the rule count of one recipe and model family.
FlopsPerImage: TypeAlias = Callable[[Floats], Floats]

#: Training FLOP per image and parameter for WRN at 32x32 under TRADES with PGD-10; within 1 % for N >= 1M
#: (Bartoldson 2024, released code; 27 forward-equivalents).
FLOPS_PER_IMAGE_AND_PARAMETER = 7822.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where a law is evaluated. Arrays broadcast against each other; their last axis runs over points.

    `lnN`, `lnD` natural logs of parameters and images; `fid` >= 0 (nan: unknown); `lnX` log of a power law's
    own abscissa (nan elsewhere)."""

    lnN: Floats  # noqa: N815 (the papers' N)
    lnD: Floats  # noqa: N815
    fid: Floats
    lnX: Floats  # noqa: N815

    @property
    def lnQ(self) -> Floats:
        """q = ln(1 + FID)."""
        return np.log1p(self.fid)

    @classmethod
    def of(cls, params: ArrayLike, images: ArrayLike, fid: ArrayLike, x: ArrayLike | None = None) -> Inputs:
        """From plain quantities, all positive except `fid` >= 0."""
        with np.errstate(divide="ignore"):
            lnN = np.log(np.atleast_1d(np.asarray(params, dtype=np.float64)))
            lnD = np.log(np.atleast_1d(np.asarray(images, dtype=np.float64)))
            lnX = lnD if x is None else np.log(np.atleast_1d(np.asarray(x, dtype=np.float64)))
        return cls(lnN, lnD, np.atleast_1d(np.asarray(fid, dtype=np.float64)), lnX)
