"""What shares of peak and bandwidth published times show, and how well the prior that ships tells them.

Reads published_times.csv (or another table with its columns): times that others measured and our own on an H200, with
the network's forward FLOP, values written by its layers and layers counted from its published shape. Prints the
constants of compiler/cost/efficiency.py that they show; leaving one source out, the share of rows inside 90 % intervals
and their median width; the same of the shipped profile. Of another table the last alone.

    python benchmarks/published_times.py [TABLE.csv]"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from isoloss.compiler.cost.device_table import DEVICES
from isoloss.compiler.cost.efficiency import RESIDUAL, assumed_speed, share_class
from isoloss.compiler.cost.speed import Z90, Work, launch_seconds, work_seconds
from isoloss.compiler.plan import Range

TABLE = Path(__file__).with_name("published_times.csv")
#: What is believed of each constant before any row: median, standard deviation of its log. Wide: libraries' shares of
#: peak lie between .3 and 1.5, an activation is read and written 5 to 50 times in four bytes, a launch is 50 to 200 us.
PRIOR: Mapping[str, tuple[float, float]] = {
    "share plain": (0.9, 0.35),
    "share dual": (0.45, 0.4),
    "share tensor": (0.7, 0.35),
    "bytes residual": (70.0, 0.5),
    "bytes unet": (100.0, 0.5),
    "own bf16": (0.6, 0.35),
    "launch": (1.1e-4, 0.4),
    "graph": (0.5, 0.35),
}
NAMES = tuple(PRIOR)
#: How much of what rows have beyond their class those of one source share.
SOURCE_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Row:
    """One published time. `seconds` by the clock of `devices` devices; `batch` on each of them."""

    source: str
    what: str
    device: str
    devices: int
    precision: str
    layers: str
    work: Work
    seconds: float
    code: str


def read(path: Path = TABLE) -> list[Row]:
    """Raises KeyError for a column or a device that is missing."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_row(each) for each in csv.DictReader(file)]


def _row(cells: Mapping[str, str]) -> Row:
    passes = float(cells["images"]) * float(cells["passes"])
    work = Work(
        passes * float(cells["forward_flops"]),
        passes * float(cells["written"]),
        passes / float(cells["batch"]) * float(cells["executions"]),
    )
    return Row(
        cells["source"], cells["what"], cells["device"], int(cells["devices"]), cells["precision"],
        cells["layers"], work, float(cells["seconds"]), cells["code"],
    )  # fmt: skip


def shipped(row: Row) -> Range:
    """Device-seconds by the prior that plans go by."""
    speed = assumed_speed(DEVICES[row.device], row.precision, row.layers, own=row.layers == "residual")
    waits, works = launch_seconds(speed, row.work), work_seconds(speed, row.work)
    return Range(max(waits.low, works.low), max(waits.mid, works.mid), max(waits.high, works.high))


def predicted(row: Row, constants: NDArray[Any]) -> float:
    """Device-seconds by these log constants; the formula of compiler/cost/speed.py."""
    of = dict(zip(NAMES, np.exp(constants), strict=True))
    device = DEVICES[row.device]
    peak = device.peak_flops[row.precision]
    size, launch = of[f"bytes {row.layers}"], of["launch"]
    if row.code == "own":
        size, launch = size * of["own bf16"], launch * of["graph"]
    arithmetic = row.work.flops / peak / of[f"share {share_class(device, row.precision)}"]
    return float(max(row.work.launches * launch, arithmetic + row.work.values * size / device.bandwidth))


def fitted(rows: Sequence[Row]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Log constants of least squares with the prior, and their covariance."""
    alike = np.array(
        [[a is b or SOURCE_SHARE * (a.source == b.source) for b in rows] for a in rows], dtype=float
    )
    white = np.linalg.inv(np.linalg.cholesky(RESIDUAL**2 * alike))
    middle = np.log([PRIOR[name][0] for name in NAMES])
    sds = np.array([PRIOR[name][1] for name in NAMES])
    measured = np.log([row.seconds * row.devices for row in rows])

    def off(constants: NDArray[Any]) -> NDArray[Any]:
        told = np.log([predicted(row, constants) for row in rows])
        return np.concatenate([white @ (measured - told), (constants - middle) / sds])

    found = min(
        (least_squares(off, middle + shift) for shift in (-0.1, 0.0, 0.1)), key=lambda f: float(f.cost)
    )
    return found.x, np.linalg.inv(found.jac.T @ found.jac)


def interval(row: Row, constants: NDArray[Any], covariance: NDArray[Any]) -> Range:
    """90 %, of the constants' own uncertainty and what a row has beyond its class."""
    step = 1e-4
    slope = np.array(
        [
            math.log(predicted(row, constants + shift) / predicted(row, constants - shift)) / (2 * step)
            for shift in np.eye(len(constants)) * step
        ]
    )
    mid, sd = predicted(row, constants), math.sqrt(slope @ covariance @ slope + RESIDUAL**2)
    return Range(mid * math.exp(-Z90 * sd), mid, mid * math.exp(Z90 * sd))


def told(rows: Sequence[Row], of: Callable[[Row], Range], name: str) -> None:
    """Print one line per row and what is inside in all."""
    inside, widths = 0, []
    print(f"\n{name}")
    for row in rows:
        said, took = of(row), row.seconds * row.devices
        inside += said.low <= took <= said.high
        widths.append(said.high / said.low)
        print(
            f"  {row.source:15.15} {row.what:40.40} {row.device:10} {row.precision:5} {took / 3600:10.4g} h"
            f"  {said.low / 3600:.4g} to {said.high / 3600:.4g}, {took / said.mid:5.2f} x the middle"
            f"{'' if said.low <= took <= said.high else '  OUTSIDE'}"
        )
    print(f"  inside {inside} of {len(rows)} = {inside / len(rows):.0%}, median width {median(widths):.2f} x")


def main(arguments: Sequence[str]) -> None:
    rows = read(Path(arguments[0])) if arguments else read()
    if not arguments:
        constants, covariance = fitted(rows)
        for name, value, sd in zip(NAMES, constants, np.sqrt(np.diag(covariance)), strict=True):
            print(f"{name:15} {math.exp(value):10.4g}   sd of log {sd:.2f}")
        without = {
            source: fitted([row for row in rows if row.source != source])
            for source in dict.fromkeys(row.source for row in rows)
        }
        told(rows, lambda row: interval(row, *without[row.source]), "each source by the others")
    told(rows, shipped, "the shipped profile")


if __name__ == "__main__":
    main(sys.argv[1:])
