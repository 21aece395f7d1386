"""A checked table of runs, column by column: what every later step may rely on.

Made by build.py. Units: params and images plain counts, flops in FLOP, accuracies and fractions in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from isoloss.compiler.laws.arrays import Bools, Floats, Ints
from isoloss.compiler.laws.points import Points

#: The columns every row has, in canonical order; `planned` is the run's whole length in images.
COLUMNS = ("params", "images", "planned", "fid", "flops", "fraction", "loss", "accuracy")


@dataclass(frozen=True, slots=True)
class Labels:
    """Text per row, stored once per distinct text: `names[codes[i]]`."""

    codes: Ints
    names: tuple[str, ...]


@dataclass(frozen=True)
class RunTable:
    """n observations. Positive and finite: params, images, planned, fraction. nan where unknown: fid, flops,
    loss, accuracy (one of the last two is known everywhere). `run` groups the rows of one training run, ids
    from 0 in order of appearance; `line` is the row's place in the file. `texts`: `model`, `generator`, and
    `features`, the space that a row's fid is a distance in (empty: not known)."""

    source: str
    word: str  # what `line` counts: "line" of a CSV, "row" of a Parquet file
    params: Floats
    images: Floats
    planned: Floats
    fid: Floats
    flops: Floats
    fraction: Floats
    loss: Floats
    accuracy: Floats
    run: Ints
    run_names: tuple[str, ...]
    line: Ints
    texts: Mapping[str, Labels]
    layout: str | None
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.params)

    @property
    def num_runs(self) -> int:
        return len(np.unique(self.run))

    @property
    def spaces(self) -> tuple[str, ...]:
        """The feature spaces that its FIDs are known to be of; a FID of 0 is real data in every space."""
        labels = self.texts.get("features")
        if labels is None:
            return ()
        used = np.unique(labels.codes[np.isfinite(self.fid) & (self.fid != 0)])
        return tuple(name for name in (labels.names[int(code)] for code in used) if name)

    @property
    def has_loss(self) -> bool:
        return bool(np.isfinite(self.loss).all()) and len(self) > 0

    def take(self, rows: Bools | Ints) -> RunTable:
        """The same table with only these rows (a mask or indices). Run ids keep their meaning."""
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        texts = {key: Labels(labels.codes[rows], labels.names) for key, labels in self.texts.items()}
        return replace(self, **columns, run=self.run[rows], line=self.line[rows], texts=texts)

    def to_points(self) -> Points:
        """What a law is fitted to: every row; runs keep their names. Needs `has_loss`. FLOPs that the table
        doesn't give for every row are the rule count 7822 N D."""
        known = bool(np.isfinite(self.flops).all())
        return Points.build(
            self.params,
            self.images,
            self.loss,
            fid=self.fid,
            flops=self.flops if known else None,
            fraction=self.fraction,
            accuracy=self.accuracy,
            run=[self.run_names[i] for i in self.run],
        )

    def with_error_as_loss(self) -> RunTable:
        """Robust error 1 - accuracy in place of the loss, for tables that have no loss. Assumed to follow the
        same forms; the caller says so."""
        return replace(self, loss=1.0 - self.accuracy)
