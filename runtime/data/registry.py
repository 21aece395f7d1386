"""The table of datasets and the one way in: Component, split, data root -> ImageSet.

A data root comes from the command line or the environment variable ISOLOSS_DATA, never from a study: a study
from a stranger cannot name files on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np

from isoloss.compiler.plan import Component
from isoloss.runtime.data.imageset import ImageSet, order_by_digest
from isoloss.runtime.errors import JobError

Split = Literal["train", "validation", "test", "train+validation"]
SPLITS: tuple[str, ...] = get_args(Split)

Reader = Callable[[Component, str, Path | None], ImageSet]
#: (dataset, split, the first so many; None: all of the split)
Maker = Callable[[Component, str, int | None], ImageSet]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Where a dataset's reader is (imported on first use), its image shape (H, W, C) and classes.

    `finder` looks for its files without reading them; None: none are needed.
    `validation` images of its training split are held out; the compiler's table has the same numbers.
    `makes`: there are no files, its images are made when asked for."""

    reader: str  # "module:function"
    shape: tuple[int, int, int]
    classes: int
    validation: int
    makes: bool = False
    finder: str | None = None

    def function(self) -> Callable[..., ImageSet]:
        return cast(Callable[..., ImageSet], _imported(self.reader))


def _imported(name: str) -> Callable[..., object]:
    module, function = name.split(":")
    return cast(Callable[..., object], getattr(import_module(module), function))


#: Which images are held out follows from it and nothing else.
_HELD_OUT = b"isoloss validation 1\n"
_HERE = "isoloss.runtime.data"
DATASETS: Mapping[str, Dataset] = {
    "digits": Dataset(f"{_HERE}.digits:read_digits", (8, 8, 1), 10, 97),
    "cifar10": Dataset(
        f"{_HERE}.cifar:read_cifar10", (32, 32, 3), 10, 1024, finder=f"{_HERE}.cifar:find_cifar10"
    ),
    "cifar100": Dataset(
        f"{_HERE}.cifar:read_cifar100", (32, 32, 3), 100, 1024, finder=f"{_HERE}.cifar:find_cifar100"
    ),
    "svhn": Dataset(f"{_HERE}.svhn:read_svhn", (32, 32, 3), 10, 1024, finder=f"{_HERE}.svhn:find_svhn"),
    "mnist": Dataset(f"{_HERE}.idx:read_mnist", (28, 28, 1), 10, 1024, finder=f"{_HERE}.idx:find_mnist"),
    "fashion_mnist": Dataset(
        f"{_HERE}.idx:read_fashion_mnist", (28, 28, 1), 10, 1024, finder=f"{_HERE}.idx:find_fashion_mnist"
    ),
    "squiggles": Dataset(
        "isoloss.runtime.generators.squiggles.images:make_squiggles", (60, 60, 1), 2, 8192, makes=True
    ),
}


def describe(dataset: Component) -> Dataset:
    """The registry's row, at the resolution the dataset states. Raises JobError R403 for one that has none."""
    row = DATASETS.get(dataset["kind"])
    if row is None:
        raise JobError(
            "R403", f"no reader for the dataset `{dataset['kind']}`", f"known: {', '.join(sorted(DATASETS))}"
        )
    side = dataset.get("resolution")
    return row if side is None else replace(row, shape=(int(side), int(side), row.shape[2]))


def data_root_from_environment() -> Path | None:
    value = os.environ.get("ISOLOSS_DATA")
    return Path(value).expanduser() if value else None


def check_there(dataset: Component, data_root: Path | None) -> None:
    """Look for the files of both splits, read nothing. Raises JobError R401 where one is missing, R403 for an unknown
    dataset."""
    finder = describe(dataset).finder
    if finder is not None:
        root = data_root if data_root is not None else data_root_from_environment()
        for split in ("train", "test"):
            _imported(finder)(split, root)


def load(dataset: Component, split: str, data_root: Path | None = None, limit: int | None = None) -> ImageSet:
    """Images of one split, the first `limit` of them where that is given.

    `test` is as published. The published training split is `validation`, chosen by the images' digests, and `train`,
    the rest in the published order: what is chosen by validation never touches the test set, and nothing is trained
    on either. `train+validation` is all of it, for distances to the published training set. Of a dataset that makes its
    images there is no end of training images: 32,768 of them unless `limit` says otherwise.

    `data_root` None means the folder that ISOLOSS_DATA names. Raises JobError R401 (files missing),
    R402 (damaged) or R403 (unknown dataset); ValueError for a split that isn't one."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    row = describe(dataset)
    if row.makes:
        make: Maker = row.function()
        return make(dataset, split, limit)
    read: Reader = row.function()
    root = data_root if data_root is not None else data_root_from_environment()
    images = read(dataset, "test" if split == "test" else "train", root)
    if split in ("train", "validation"):
        held_out = np.zeros(len(images), bool)
        held_out[order_by_digest(images.images, _HELD_OUT)[: row.validation]] = True
        images = images.take(np.flatnonzero(held_out == (split == "validation")))
    return images if limit is None or limit >= len(images) else images.take(slice(0, limit))
