"""The points a law is fitted to: columns of equal length, one row per observation.

In: run tables or observations. Out: `Points`, filtered by the caller. Frozen; no file access."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from isoloss.compiler.laws.arrays import FLOPS_PER_IMAGE_AND_PARAMETER, Bools, Floats, Inputs, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Columns [n]. `params` N, `images` D seen so far, `fid` (nan: unknown), `flops` C so far, `fraction` of
    that run's training in (0, 1], `loss` > 0, `accuracy` in [0, 1] (nan: unknown), `run` group id of the run
    (the unit of resampling), `weight` >= 0, `x` abscissa of a power law (nan: not given)."""

    params: Floats
    images: Floats
    fid: Floats
    flops: Floats
    fraction: Floats
    loss: Floats
    accuracy: Floats
    run: Ints
    run_names: tuple[str, ...]
    weight: Floats
    x: Floats

    def __len__(self) -> int:
        return len(self.loss)

    @classmethod
    def build(
        cls,
        params: ArrayLike,
        images: ArrayLike,
        loss: ArrayLike,
        *,
        fid: ArrayLike | None = None,
        flops: ArrayLike | None = None,
        fraction: ArrayLike | None = None,
        accuracy: ArrayLike | None = None,
        run: Sequence[object] | None = None,
        weight: ArrayLike | None = None,
        x: ArrayLike | None = None,
    ) -> Points:
        """Fill what is not given: fid and accuracy unknown, flops 7822 N D, fraction and weight 1, every row
        its own run. Raises ValueError, naming column and row, for what no law can be fitted to: lengths that
        differ, values that are not finite, params, images, flops or loss not above 0, fid below 0."""
        columns: dict[str, Floats] = {
            "params": _column(params),
            "images": _column(images),
            "loss": _column(loss),
        }
        n = len(columns["loss"])
        defaults = {"fid": np.nan, "fraction": 1.0, "accuracy": np.nan, "weight": 1.0, "x": np.nan}
        given = {"fid": fid, "fraction": fraction, "accuracy": accuracy, "weight": weight, "x": x}
        for name, values in given.items():
            columns[name] = np.full(n, defaults[name]) if values is None else _column(values)
        rule = FLOPS_PER_IMAGE_AND_PARAMETER
        columns["flops"] = rule * columns["params"] * columns["images"] if flops is None else _column(flops)
        for name, values in columns.items():
            if len(values) != n:
                raise ValueError(f"column `{name}` has {len(values)} rows, `loss` has {n}")
        _refuse_impossible(columns)
        keys = list(range(n)) if run is None else list(run)
        if len(keys) != n:
            raise ValueError(f"column `run` has {len(keys)} rows, `loss` has {n}")
        order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        ids = np.array([order[key] for key in keys], dtype=np.int64)
        return cls(run=ids, run_names=tuple(str(key) for key in order), **columns)

    def select(self, keep: Bools | Ints) -> Points:
        """The rows where `keep` is true, or with these indices; group ids are kept."""
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "run_names"}
        return Points(run_names=self.run_names, **{name: values[keep] for name, values in columns.items()})

    def inputs(self, x: str = "images") -> Inputs:
        """Where the law is evaluated; `x` names the column that a power law reads."""
        return Inputs.of(self.params, self.images, self.fid, getattr(self, x))

    def best_per_run(self, floor: float = 0.5) -> Points:
        """One point per run: its lowest loss among rows with fraction >= `floor` (the published rule, floor
        .5; it selects on the test loss). Runs without such a row are left out."""
        rows = np.flatnonzero(self.fraction >= floor)
        rows = rows[np.lexsort((self.loss[rows], self.run[rows]))]
        _, first = np.unique(self.run[rows], return_index=True)
        return self.select(np.sort(rows[first]))

    def final_per_run(self, floor: float = 0.0) -> Points:
        """One point per run: its row of largest fraction, if that is at least `floor`."""
        rows = np.flatnonzero(self.fraction >= floor)
        rows = rows[np.lexsort((-self.images[rows], -self.fraction[rows], self.run[rows]))]
        _, first = np.unique(self.run[rows], return_index=True)
        return self.select(np.sort(rows[first]))

    def curves(self, floor: float = 0.0) -> Points:
        """Every row with fraction >= `floor`."""
        return self.select(self.fraction >= floor)


def _column(values: ArrayLike) -> Floats:
    return np.atleast_1d(np.asarray(values, dtype=np.float64)).copy()


def _refuse_impossible(columns: dict[str, Floats]) -> None:
    for name in ("params", "images", "loss", "flops", "fraction"):
        bad = np.flatnonzero(~(np.isfinite(columns[name]) & (columns[name] > 0)))
        if bad.size:
            value = columns[name][bad[0]]
            raise ValueError(f"column `{name}` must be finite and above 0; row {bad[0] + 1} has {value:g}")
    for name in ("fid", "weight"):
        bad = np.flatnonzero((columns[name] < 0) | np.isinf(columns[name]))
        if bad.size:
            value = columns[name][bad[0]]
            raise ValueError(
                f"column `{name}` must be finite and not below 0; row {bad[0] + 1} has {value:g}"
            )
