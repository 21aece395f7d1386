"""Moments of real images: measured on a training split, or read from a user's file.

In: a FeatureSet, or the path of a `.npz` with `mu` (F,) and `sigma` (F, F) as the published ones have. Out: a
`Reference` to measure distances to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isoloss.runtime.data.below import file_below
from isoloss.runtime.data.registry import data_root_from_environment
from isoloss.runtime.errors import JobError
from isoloss.runtime.quality.frechet import Moments, Reference, scatter
from isoloss.runtime.quality.sets import FeatureSet
from isoloss.runtime.store.arrays import read_archive

#: Moments of 2,048 features are 34 MB in float64; of as many again in both directions, 134 MB.
LIMIT_BYTES = 1 << 30


def measured(real: FeatureSet) -> Reference:
    """Of all images of a set."""
    return Reference(scatter(real.pieces()).moments())


def from_file(name: str, data_root: Path | None, features: int, space: str) -> Reference:
    """The moments in the file `name` below the data root. Raises JobError R401 where it isn't there, R407 where it
    would lie elsewhere, R522 where it is no such file or of another space: its `mu` and `sigma` have another size than
    `features`."""
    root = data_root if data_root is not None else data_root_from_environment()
    source = "where the statistics were published"
    path = file_below(root, name, dataset=f"features = {space}", source=source)
    if path.stat().st_size > LIMIT_BYTES:
        raise _not_moments(path, f"it has {path.stat().st_size:,} bytes")
    try:
        file = read_archive(path, 2 * LIMIT_BYTES)
        arrays = [file[key] for key in ("mu", "sigma")]
        if any(array.dtype.kind not in "fiu" for array in arrays):
            raise TypeError("dates and complex numbers turn into float64 too")
        mean, covariance = (array.astype(np.float64) for array in arrays)
    except KeyError as missing:
        raise _not_moments(path, f"it has no array {missing}") from None
    except Exception:
        # A stranger's bytes make numpy fail in any way they like; its own words advise to load them with its code.
        raise _not_moments(path, "it is no `.npz` of numbers") from None
    _check(path, mean, covariance, features, space)
    return Reference(Moments(mean, covariance, 0))


def _check(path: Path, mean: np.ndarray, covariance: np.ndarray, features: int, space: str) -> None:
    if mean.shape != (features,) or covariance.shape != (features, features):
        reason = f"`mu` is {mean.shape} and `sigma` {covariance.shape}, `{space}` has {features} features"
        raise _not_moments(path, f"{reason}: statistics of another space")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise _not_moments(path, "it holds values that are no finite numbers")
    scale = max(float(np.abs(covariance).max()), 1e-300)
    if float(np.abs(covariance - covariance.T).max()) > 1e-6 * scale:
        raise _not_moments(path, "`sigma` is not symmetric")
    if float(np.linalg.eigvalsh(covariance)[0]) < -1e-6 * scale * features:
        raise _not_moments(path, "`sigma` is no covariance: an eigenvalue is below 0")


def _not_moments(path: Path, reason: str) -> JobError:
    return JobError(
        "R522",
        f"{path} doesn't hold the moments of real images: {reason}",
        "a `.npz` has `mu` (F,) and `sigma` (F, F), of the training split in the same features",
        "or leave `reference` out: they are then measured on the training split",
    )
